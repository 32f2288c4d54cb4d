//! Profiles: named lists of patterns, from files beside the tree and from `[profiles]` sections.

use std::collections::BTreeMap;

use regex::Regex;

use super::layers::{Given, Layers};
use crate::diagnostic::{Diagnostic, Result};

/// All profiles there are, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, Profile>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Profile {
    patterns: Vec<String>,
    /// What a configuration file says, if the profile is of one.
    written: Option<Given>,
}

impl Profiles {
    /// The profiles in `files` (text by name; one pattern a line, `#` begins a comment), with
    /// those that configuration files define added, or put in their place where the name is the
    /// same.
    pub fn new(files: BTreeMap<String, String>, layers: &Layers) -> Self {
        let of_files = files.into_iter().map(|(name, text)| {
            let lines = text.lines().map(str::trim);
            let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            (name, Profile { patterns: patterns.map(str::to_owned).collect(), written: None })
        });
        let of_sections = layers.profiles().iter().map(|(name, given)| {
            let patterns = given.value.split(',').map(str::trim).filter(|p| !p.is_empty());
            let patterns = patterns.map(str::to_owned).collect();
            (name.clone(), Profile { patterns, written: Some(given.clone()) })
        });
        Self(of_files.chain(of_sections).collect())
    }

    /// The patterns of the profile that `asked` names.
    ///
    /// # Errors
    /// When there is no such profile, it is empty, or one of its patterns is wrong.
    pub(super) fn patterns(&self, asked: &Given) -> Result<Vec<Regex>> {
        let name = &asked.value;
        let Some(profile) = self.0.get(name) else {
            let names = self.0.keys().map(String::as_str);
            return Err(asked
                .refuse(format!("there is no profile '{name}'"))
                .suggest(name, names)
                .into());
        };
        if profile.patterns.is_empty() {
            return Err(asked.refuse(format!("the profile '{name}' names no image")).into());
        }
        Ok(profile.compiled(name)?)
    }

    /// What is wrong with those that configuration files define, whether they are chosen or not.
    pub(super) fn wrong(&self) -> Vec<Diagnostic> {
        let written = self.0.iter().filter(|(_, profile)| profile.written.is_some());
        written.filter_map(|(name, profile)| profile.compiled(name).err()).collect()
    }
}

impl Profile {
    fn compiled(&self, name: &str) -> std::result::Result<Vec<Regex>, Diagnostic> {
        let compiled = self.patterns.iter().map(|pattern| {
            Regex::new(pattern).map_err(|error| {
                let message =
                    format!("'{pattern}' in the profile '{name}' is not a regular expression");
                let diagnostic = match &self.written {
                    Some(given) => given.refuse(message),
                    None => Diagnostic::new(message),
                };
                diagnostic.note(last_line(&error))
            })
        });
        compiled.collect()
    }
}

/// The error for a pattern that is none.
pub(super) fn bad_regex(given: &Given, error: &regex::Error) -> Diagnostic {
    given.refuse(format!("'{}' is not a regular expression", given.value)).note(last_line(error))
}

/// The part of a pattern's error that says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
