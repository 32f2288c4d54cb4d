//! The service users: what the tree says, changed and added to by sections of configuration files.

use std::collections::BTreeMap;

use super::layers::Layers;
use crate::diagnostic::Diagnostic;
use crate::tree::{Manifest, UserVariables};

/// The keys of a section that describes a user.
pub(super) const KEYS: [&str; 3] = ["uid", "gid", "group"];

/// The ending of such a section's name.
const SUFFIX: &str = "-user";

/// The user that the section called `section` describes.
pub(super) fn of(section: &str) -> Option<&str> {
    section.strip_suffix(SUFFIX).filter(|name| !name.is_empty())
}

/// All users, by name. What is wrong is added to `errors`.
pub(super) fn users(
    layers: &Layers,
    manifest: &Manifest,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, UserVariables> {
    let mut users = manifest.user_variables();
    for (name, section) in layers.users() {
        let unknown = || UserVariables { uid: None, gid: None, group: Some(name.clone()) };
        let user = users.entry(name.clone()).or_insert_with(unknown);
        for (key, given) in section {
            if key == "group" {
                user.group = Some(given.value.clone());
                continue;
            }
            let Ok(id) = given.value.trim().parse() else {
                let message = format!("'{}' is no {key} of a user", given.value);
                errors.push(given.refuse(message).help("it is a whole number"));
                continue;
            };
            match key.as_str() {
                "uid" => user.uid = Some(id),
                _ => user.gid = Some(id),
            }
        }
    }
    users
}
