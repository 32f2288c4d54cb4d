//! Service users: those of the tree, changed and extended by sections of configuration files.

use std::collections::BTreeMap;

use super::convert::{integer, strip};
use super::given::Given;
use super::layers::Layers;
use super::references::References;
use super::sections::{USER_SUFFIX, USERS};
use crate::diagnostic::Diagnostic;
use crate::tree::{Manifest, UserVariables};

/// Returns all users, by name. Errors are added to `errors`.
pub(super) fn users(
    layers: &Layers,
    manifest: &Manifest,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, UserVariables> {
    let mut users = manifest.user_variables();
    for name in layers.sections(&USERS).names_beside(manifest.users.keys()) {
        let user = UserVariables { uid: None, gid: None, group: Some(name.clone()) };
        users.insert(name.clone(), user);
    }
    let references = References::new(layers, manifest);
    for (name, user) in &mut users {
        for (key, given) in layers.sections(&USERS).get(name).into_iter().flatten() {
            let section = format!("{name}{USER_SUFFIX}");
            let completed = references.interpolated_in(Some(&section), key, given.clone());
            if let Err(error) = completed.and_then(|given| change(user, key, &given)) {
                errors.push(error);
            }
        }
    }
    users
}

/// Changes a key of a user to the value of its section.
fn change(user: &mut UserVariables, key: &str, given: &Given) -> Result<(), Diagnostic> {
    if key == "group" {
        user.group = Some(given.value.clone());
        return Ok(());
    }
    let id = integer(&given.value);
    if id.is_none() && !strip(&given.value).is_empty() {
        let message = format!("'{}' is not a {key} of a user", given.value);
        return Err(given.refuse(message).help("write a whole number"));
    }
    match key {
        "uid" => user.uid = id,
        _ => user.gid = id,
    }
    Ok(())
}
