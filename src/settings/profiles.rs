//! Profiles: named lists of patterns, from files beside the tree and from `[profiles]` sections.

use std::collections::BTreeMap;

use regex::Regex;

use super::layers::{Given, Layers};
use crate::diagnostic::{Diagnostic, Diagnostics, Result};

/// All profiles there are, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, Vec<String>>);

impl Profiles {
    /// The profiles in `files` (text by name; one pattern a line, `#` begins a comment), with
    /// those that configuration files define added, or put in their place where the name is the
    /// same.
    pub fn new(files: BTreeMap<String, String>, layers: &Layers) -> Self {
        let of_files = files.into_iter().map(|(name, text)| {
            let lines = text.lines().map(str::trim);
            let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            (name, patterns.map(str::to_owned).collect())
        });
        let of_sections = layers.profiles().iter().map(|(name, given)| {
            let patterns = given.value.split(',').map(str::trim).filter(|p| !p.is_empty());
            (name.clone(), patterns.map(str::to_owned).collect())
        });
        Self(of_files.chain(of_sections).collect())
    }

    /// The patterns of the profile that `asked` names.
    ///
    /// # Errors
    /// When there is no such profile, it is empty, or one of its patterns is wrong.
    pub(super) fn patterns(&self, asked: &Given) -> Result<Vec<Regex>> {
        let name = &asked.value;
        let Some(patterns) = self.0.get(name) else {
            let names = self.0.keys().map(String::as_str);
            return Err(asked
                .refuse(format!("there is no profile '{name}'"))
                .suggest(name, names)
                .into());
        };
        if patterns.is_empty() {
            return Err(asked.refuse(format!("the profile '{name}' names no image")).into());
        }
        let compiled = patterns.iter().map(|pattern| {
            Regex::new(pattern).map_err(|error| {
                Diagnostic::new(format!(
                    "'{pattern}' in the profile '{name}' is not a regular expression"
                ))
                .note(last_line(&error))
                .into()
            })
        });
        compiled.collect::<std::result::Result<_, Diagnostics>>()
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
