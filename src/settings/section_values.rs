//! Values of options and of keys of sections, as far as other values may refer to them.

use super::given::{Given, Origin};
use super::layers::Layers;
use super::option_definition::{Authority, Kind};
use super::options::OPTIONS;
use super::sections::{PROFILES, SOURCES, USERS};
use crate::tree::Manifest;

/// Key of a source's location, which may contain a password.
const LOCATION: &str = "location";

/// Kind and value of an option, or of a key of a section.
pub(super) struct OptionValue {
    pub(super) kind: Kind,
    /// Value as it was written, if it was given or there is a default.
    pub(super) text: Option<Text>,
    /// True if every author may refer to it, whoever gave it.
    pub(super) is_public: bool,
}

/// Value as it was written, with its author.
pub(super) struct Text {
    pub(super) value: String,
    pub(super) author: Authority,
}

impl Text {
    /// Returns a value of the tree or of Kiln itself.
    pub(super) fn of_tree(value: String) -> Self {
        Self { value, author: Authority::Tree }
    }
}

impl From<Given> for Text {
    fn from(given: Given) -> Self {
        let author = match given.origin {
            Origin::Default => Authority::Tree,
            _ => given.origin.authority(),
        };
        Self { value: given.value, author }
    }
}

/// Returns the kind and value of a key in a section, or of an option; `None` if there is none.
pub(super) fn lookup(
    layers: &Layers,
    manifest: &Manifest,
    section: Option<&str>,
    key: &str,
) -> Option<OptionValue> {
    let Some(section) = section else { return of_option(layers, manifest, key) };
    if PROFILES.only == Some(section) {
        return of_profile(layers, key);
    }
    match (USERS.subject)(section) {
        Some(user) => of_user(layers, manifest, user, key),
        None => of_source(layers, manifest, section, key),
    }
}

fn of_option(layers: &Layers, manifest: &Manifest, name: &str) -> Option<OptionValue> {
    let option = OPTIONS.iter().find(|option| option.name == name)?;
    let given = layers.one(name, manifest);
    let text = given.filter(|given| !given.value.is_empty()).map(Text::from);
    Some(OptionValue { kind: option.kind, text, is_public: option.is_for_trees() })
}

fn of_profile(layers: &Layers, key: &str) -> Option<OptionValue> {
    let is_known = layers.profiles().is_some_and(|profiles| profiles.contains_key(key));
    is_known.then_some(OptionValue { kind: Kind::List, text: None, is_public: true })
}

/// Returns the kind and value of a key of the source called `name`; `None` if there is no such key
/// or source.
fn of_source(layers: &Layers, manifest: &Manifest, name: &str, key: &str) -> Option<OptionValue> {
    let kind = SOURCES.kind_of(key)?;
    let (entry, section) = (manifest.sources.get(name), layers.sections(&SOURCES).get(name));
    if entry.is_none() && section.is_none() {
        return None;
    }
    let given = section.and_then(|section| section.get(key)).cloned().map(Text::from);
    let of_tree = || match key {
        "type" => entry.map(|entry| entry.r#type.clone()),
        "location" => entry.map(|entry| entry.location.clone()),
        "reference" => entry.and_then(|entry| entry.reference.clone()),
        "version" => entry.and_then(|entry| entry.version.clone()),
        "enabled" => Some(entry.and_then(|entry| entry.enabled).unwrap_or(true).to_string()),
        _ => None,
    };
    let text = given.or_else(|| of_tree().map(Text::of_tree));
    Some(OptionValue { kind, text, is_public: key != LOCATION })
}

/// Returns the kind and value of a key of a user; `None` if there is no such key.
fn of_user(layers: &Layers, manifest: &Manifest, user: &str, key: &str) -> Option<OptionValue> {
    let kind = USERS.kind_of(key)?;
    let given = layers.sections(&USERS).get(user).and_then(|section| section.get(key));
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
    Some(OptionValue { kind, text, is_public: true })
}
