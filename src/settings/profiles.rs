//! Profiles: named lists of patterns, from files beside the tree and from `[profiles]` sections.

use std::collections::BTreeMap;

use super::convert::list;
use super::given::Given;
use super::layers::Layers;
use super::references::References;
use super::sections::PROFILES;
use crate::diagnostic::{Diagnostic, Place, Result, collect};
use crate::name_pattern::NamePattern;
use crate::tree::ProfileFile;

/// All profiles, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, Profile>);

/// Patterns of a profile, by their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Profile {
    /// File beside the tree.
    File(ProfileFile),
    /// Section of a configuration file: a list in which references have not been replaced yet.
    Section(Given),
}

impl Profiles {
    /// Returns the profiles in `files`, by name, together with those of configuration files, which
    /// replace profiles of the same name.
    pub fn new(files: BTreeMap<String, ProfileFile>, layers: &Layers) -> Self {
        let of_files = files.into_iter().map(|(name, file)| (name, Profile::File(file)));
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
    pub(super) fn patterns(
        &self,
        asked: &Given,
        references: References<'_>,
    ) -> Result<Vec<NamePattern>> {
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
    pub fn of_tree(files: BTreeMap<String, ProfileFile>) -> Result<Vec<NamePattern>> {
        let profiles = Self::new(files, &Layers::default());
        let compiled = profiles.0.iter().map(|(name, profile)| match profile {
            Profile::File(file) => Ok(compiled_file(name, file)?),
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
    ) -> std::result::Result<Vec<NamePattern>, Diagnostic> {
        match self {
            Self::File(file) => compiled_file(name, file),
            Self::Section(given) => {
                let replaced = references.interpolated_in(PROFILES.only, name, given.clone())?;
                // An empty pattern would match every image.
                let patterns = list(&replaced.value).into_iter().filter(|one| !one.is_empty());
                patterns
                    .map(|pattern| compiled(name, &pattern, |message| given.refuse(message)))
                    .collect()
            }
        }
    }
}

/// Compiles the patterns of a file: one a line, `#` begins a comment.
fn compiled_file(
    name: &str,
    ProfileFile { path, text }: &ProfileFile,
) -> std::result::Result<Vec<NamePattern>, Diagnostic> {
    let lines = text.lines().map(str::trim).zip(1..);
    let patterns = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let compiled = patterns.map(|(pattern, number)| {
        compiled(name, pattern, |message| match path {
            Some(path) => {
                Diagnostic::new(message).at(Place::line(path.as_str(), text.as_str(), number))
            }
            None => Diagnostic::new(message).note("the profile comes from the tree"),
        })
    });
    compiled.collect()
}

/// Compiles a pattern of the profile called `name`; `refuse` makes an error of a message.
fn compiled(
    name: &str,
    pattern: &str,
    refuse: impl Fn(String) -> Diagnostic,
) -> std::result::Result<NamePattern, Diagnostic> {
    NamePattern::new(pattern, |told| refuse(format!("'{pattern}' in the profile '{name}' {told}")))
}
