//! Profiles: named lists of patterns, from files beside the tree and from `[profiles]` sections.

use std::collections::BTreeMap;

use regex::Regex;

use super::convert::list;
use super::given::Given;
use super::layers::Layers;
use super::references::References;
use super::sections::PROFILES;
use crate::diagnostic::{Diagnostic, Result, collect};

/// All profiles, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, Profile>);

/// Patterns of a profile, by their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Profile {
    /// File beside the tree.
    File(Vec<String>),
    /// Section of a configuration file: a list in which references have not been replaced yet.
    Section(Given),
}

impl Profiles {
    /// Returns the profiles in `files` (text by name; one pattern a line, `#` begins a comment),
    /// together with those of configuration files, which replace profiles of the same name.
    pub fn new(files: BTreeMap<String, String>, layers: &Layers) -> Self {
        let of_files = files.into_iter().map(|(name, text)| {
            let lines = text.lines().map(str::trim);
            let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            (name, Profile::File(patterns.map(str::to_owned).collect()))
        });
        let of_sections = layers
            .profiles()
            .into_iter()
            .flatten()
            .map(|(name, given)| (name.clone(), Profile::Section(given.clone())));
        Self(of_files.chain(of_sections).collect())
    }

    /// Returns the patterns of the profile that `asked` names.
    ///
    /// # Errors
    /// When there is no such profile, it is empty, or one of its patterns is wrong.
    pub(super) fn patterns(&self, asked: &Given, references: References<'_>) -> Result<Vec<Regex>> {
        let name = &asked.value;
        let Some(profile) = self.0.get(name) else {
            let names = self.0.keys().map(String::as_str);
            return Err(asked
                .refuse(format!("there is no profile '{name}'"))
                .suggest(name, names)
                .into());
        };
        let patterns = profile.compiled(name, references)?;
        if patterns.is_empty() {
            return Err(asked.refuse(format!("the profile '{name}' names no image")).into());
        }
        Ok(patterns)
    }

    /// Returns the patterns of all profiles that are files beside the tree.
    ///
    /// # Errors
    /// All wrong patterns.
    pub fn of_tree(files: BTreeMap<String, String>) -> Result<Vec<Regex>> {
        let profiles = Self::new(files, &Layers::default());
        let compiled = profiles.0.iter().map(|(name, profile)| match profile {
            Profile::File(patterns) => Ok(compiled(name, patterns, Diagnostic::new)?),
            Profile::Section(_) => Ok(Vec::new()),
        });
        Ok(collect(compiled)?.concat())
    }

    /// Returns the errors of all profiles in configuration files, including those that are not
    /// chosen.
    pub(super) fn wrong(&self, references: References<'_>) -> Vec<Diagnostic> {
        let written = self.0.iter().filter(|(_, profile)| matches!(profile, Profile::Section(_)));
        written.filter_map(|(name, profile)| profile.compiled(name, references).err()).collect()
    }
}

impl Profile {
    fn compiled(
        &self,
        name: &str,
        references: References<'_>,
    ) -> std::result::Result<Vec<Regex>, Diagnostic> {
        let patterns = match self {
            Self::File(patterns) => patterns.clone(),
            Self::Section(given) => {
                let given = references.interpolated_in(PROFILES.only, name, given.clone())?;
                // An empty pattern would match every image.
                list(&given.value).into_iter().filter(|pattern| !pattern.is_empty()).collect()
            }
        };
        compiled(name, &patterns, |message| match self {
            Self::Section(given) => given.refuse(message),
            Self::File(_) => Diagnostic::new(message),
        })
    }
}

/// Compiles the patterns of the profile called `name`; `refuse` makes an error of a message.
fn compiled(
    name: &str,
    patterns: &[String],
    refuse: impl Fn(String) -> Diagnostic,
) -> std::result::Result<Vec<Regex>, Diagnostic> {
    let compiled = patterns.iter().map(|pattern| {
        Regex::new(pattern).map_err(|error| {
            let message =
                format!("'{pattern}' in the profile '{name}' is not a regular expression");
            refuse(message).note(last_line(&error))
        })
    });
    compiled.collect()
}

/// Returns the error for a pattern that is not a regular expression.
pub(super) fn bad_regex(given: &Given, error: &regex::Error) -> Diagnostic {
    given.refuse(format!("'{}' is not a regular expression", given.value)).note(last_line(error))
}

/// Returns the part of a regular expression's error that says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
