//! Service users: those of the tree, changed and extended by sections of configuration files.

use std::collections::BTreeMap;

use super::convert::{integer, strip};
use super::layers::{Given, Layers};
use super::options::Kind;
use super::references::{Held, References, Text};
use crate::diagnostic::Diagnostic;
use crate::tree::{Manifest, UserVariables};

/// Keys of a section that describes a user.
const KEYS: [(&str, Kind); 3] =
    [("uid", Kind::Count(0)), ("gid", Kind::Count(0)), ("group", Kind::Text)];

/// Suffix of such a section's name.
const SUFFIX: &str = "-user";

/// Returns the name of the user that a section describes; `None` for another section.
pub(super) fn of(section: &str) -> Option<&str> {
    let (name, suffix) = section.split_at_checked(section.len().checked_sub(SUFFIX.len())?)?;
    (suffix.eq_ignore_ascii_case(SUFFIX) && !name.is_empty()).then_some(name)
}

/// Returns the kind of the key's values; `None` if there is no such key.
pub(super) fn kind_of(key: &str) -> Option<Kind> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// Returns the kind and value of a key of a user; `None` if there is no such key.
pub(super) fn held(layers: &Layers, manifest: &Manifest, user: &str, key: &str) -> Option<Held> {
    let kind = kind_of(key)?;
    let given = layers.users().get(user).and_then(|section| section.get(key));
    let of_tree = || {
        let users = manifest.user_variables();
        let known = users.get(user)?;
        match key {
            "group" => known.group.clone(),
            "uid" => known.uid.map(|id| id.to_string()),
            _ => known.gid.map(|id| id.to_string()),
        }
    };
    let name = || (key == "group").then(|| user.to_owned());
    let of_tree = || of_tree().or_else(name).map(Text::of_tree);
    let text = given.cloned().map(Text::from).or_else(of_tree);
    Some(Held { kind, text, is_public: true })
}

/// Returns all users, by name. Errors are added to `errors`.
pub(super) fn users(
    layers: &Layers,
    manifest: &Manifest,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, UserVariables> {
    let mut users = manifest.user_variables();
    for name in layers.users().names_beside(manifest.users.keys()) {
        let user = UserVariables { uid: None, gid: None, group: Some(name.clone()) };
        users.insert(name.clone(), user);
    }
    let references = References::new(layers, manifest);
    for (name, user) in &mut users {
        for (key, given) in layers.users().get(name).into_iter().flatten() {
            let section = format!("{name}{SUFFIX}");
            let completed = references.complete_in(Some(&section), key, given.clone());
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
