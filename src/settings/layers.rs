//! Where the values of options come from, and which one holds.
//!
//! From the weakest to the strongest: the option's own default, the manifest of the tree,
//! configuration files, the environment, the command line. Every value remembers its origin, so
//! that a wrong one is shown where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ini::{self, Entry, Ini};
use super::options::{Effect, Fallback, Kind, OPTIONS, Opt, option};
use super::sources::{self, Section};
use super::users;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result, nearest};
use crate::tree::{Manifest, Preset};

/// The section of a file that options stand in.
const OPTION_SECTION: &str = "DEFAULT";

/// The section that adds and redefines profiles.
const PROFILE_SECTION: &str = "profiles";

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The option's own default.
    Default,
    /// The manifest of the tree.
    Manifest,
    /// A configuration file.
    File(Place),
    /// The environment variable of this name.
    Environment(String),
    /// The command line, as this flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Manifest => f.write_str("tree"),
            Self::File(place) => write!(f, "{}:{}", place.path, place.line_number()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// As it was written.
    pub value: String,
    /// Where.
    pub origin: Origin,
}

impl Given {
    /// An error about this value, shown where it was written.
    pub fn refuse(&self, message: impl Into<String>) -> Diagnostic {
        let diagnostic = Diagnostic::new(message);
        match &self.origin {
            Origin::Default => diagnostic,
            Origin::Manifest => diagnostic.note("the value comes from [defaults] in tree.toml"),
            Origin::File(place) => diagnostic.at(place.clone()),
            Origin::Environment(name) => diagnostic.note(format!("the value comes from ${name}")),
            Origin::Flag(flag) => diagnostic.note(format!("the value comes from {flag}")),
        }
    }
}

type Layer = BTreeMap<&'static str, Vec<Given>>;

/// All that was given from outside the tree.
#[derive(Debug, Default)]
pub struct Layers {
    files: Layer,
    environment: Layer,
    flags: Layer,
    profiles: BTreeMap<String, Given>,
    sources: BTreeMap<String, Section>,
    users: BTreeMap<String, Section>,
    variables: BTreeMap<String, String>,
}

impl Layers {
    /// Gathers the values of `flags` (by option name), of the configuration `files` and of the
    /// `environment`.
    ///
    /// # Errors
    /// When a file can't be read or says something that is no option.
    pub fn gather(
        flags: BTreeMap<&'static str, Vec<String>>,
        files: &[PathBuf],
        environment: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let (layers, errors) = Self::gather_all(flags, files, environment);
        if errors.is_empty() { Ok(layers) } else { Err(Diagnostics(errors)) }
    }

    /// The same, with what is wrong beside what can be used.
    pub fn gather_all(
        flags: BTreeMap<&'static str, Vec<String>>,
        files: &[PathBuf],
        environment: &BTreeMap<String, String>,
    ) -> (Self, Vec<Diagnostic>) {
        let mut layers = Self { variables: environment.clone(), ..Self::default() };
        let mut errors = Vec::new();
        for path in files {
            match layers.read_file(path) {
                Ok(()) => {}
                Err(found) => errors.extend(found.0),
            }
        }
        for option in OPTIONS {
            let name = option.environment();
            if let Some(value) = environment.get(&name) {
                let value = value.clone();
                let given = Given { value, origin: Origin::Environment(name) };
                layers.environment.insert(option.name, vec![given]);
            }
        }
        for (name, values) in flags {
            let spelled = match (option(name).kind, values.as_slice()) {
                (Kind::Positional, _) => option(name).value.to_owned(),
                (Kind::Bool, [value]) if value == "false" => format!("--no{}", option(name).flag),
                _ => format!("--{}", option(name).flag),
            };
            let given = values
                .into_iter()
                .map(|value| Given { value, origin: Origin::Flag(spelled.clone()) });
            layers.flags.insert(name, given.collect());
        }
        (layers, errors)
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            Diagnostic::new(format!("the configuration file '{shown}' can't be read: {error}"))
        })?;
        let ini = ini::parse(&text, &shown)?;
        let file = File { path: &shown, text: text.as_str().into() };
        let mut errors = file.empty_sections(&ini);
        for entry in ini.entries {
            match entry.section.as_str() {
                OPTION_SECTION => match OPTIONS.iter().find(|option| option.name == entry.key) {
                    Some(option) => {
                        let earlier = self.files.entry(option.name).or_default();
                        if !matches!(option.kind, Kind::Many | Kind::Paths | Kind::Positional) {
                            earlier.clear();
                        }
                        earlier.push(file.given(entry));
                    }
                    None => errors.push(file.unknown_key(&entry)),
                },
                PROFILE_SECTION => {
                    self.profiles.insert(entry.key.clone(), file.given(entry));
                }
                section
                    if users::KEYS.contains(&entry.key.as_str())
                        && users::of(section).is_some() =>
                {
                    let name = users::of(section).unwrap_or_default().to_owned();
                    let section = self.users.entry(name).or_default();
                    section.insert(entry.key.clone(), file.given(entry));
                }
                _ if sources::KEYS.contains(&entry.key.as_str()) => {
                    let section = self.sources.entry(entry.section.clone()).or_default();
                    section.insert(entry.key.clone(), file.given(entry));
                }
                _ => errors.push(file.unknown_in_section(&entry)),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
    }

    /// The profiles that files define.
    pub fn profiles(&self) -> &BTreeMap<String, Given> {
        &self.profiles
    }

    /// The sections of files that describe sources, by name.
    pub(super) fn sources(&self) -> &BTreeMap<String, Section> {
        &self.sources
    }

    /// The value of an option before the tree is known.
    pub fn early(&self, name: &str) -> Option<Given> {
        self.strongest(option(name)).and_then(|values| values.last().cloned())
    }

    /// A line for each option that is given and has no effect, with the reason.
    pub fn without_effect(&self) -> Vec<String> {
        let line = |option: &Opt| {
            let Effect::Nothing(reason) = option.effect else { return None };
            let origin = self.early(option.name)?.origin;
            Some(format!("{} ({origin}) has no effect: {reason}", option.name))
        };
        OPTIONS.iter().filter_map(line).collect()
    }

    /// All values of an option that adds up.
    pub fn all(&self, name: &str) -> Vec<Given> {
        let option = option(name);
        if !option.adds_up() {
            return self.strongest(option).cloned().unwrap_or_default();
        }
        [&self.files, &self.environment, &self.flags]
            .into_iter()
            .filter_map(|layer| layer.get(option.name))
            .flatten()
            .cloned()
            .collect()
    }

    /// The value of an option that has one value, given what the tree's manifest asks for.
    pub fn one(&self, name: &str, manifest: &Manifest) -> Option<Given> {
        self.early(name)
            .or_else(|| {
                let Preset::Text(value) = manifest.defaults.get(name)? else { return None };
                Some(Given { value: value.clone(), origin: Origin::Manifest })
            })
            .or_else(|| match option(name).default {
                Fallback::Is(value) => {
                    Some(Given { value: value.to_owned(), origin: Origin::Default })
                }
                Fallback::Unset | Fallback::OfTree | Fallback::Found(_) => None,
            })
    }

    /// The values of an option whose values are separated by commas.
    pub fn list(&self, name: &str, manifest: &Manifest) -> Vec<String> {
        match (self.early(name), manifest.defaults.get(name)) {
            (Some(given), _) => split_list(&given.value),
            (None, Some(Preset::List(values))) => values.clone(),
            (None, Some(Preset::Text(value))) => split_list(value),
            (None, None) => Vec::new(),
        }
    }

    /// A variable of the environment that is no option.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The sections of files that describe users, by the user's name.
    pub(super) fn users(&self) -> &BTreeMap<String, Section> {
        &self.users
    }

    fn strongest(&self, option: &Opt) -> Option<&Vec<Given>> {
        [&self.flags, &self.environment, &self.files]
            .into_iter()
            .filter_map(|layer| layer.get(option.name))
            .find(|values| !values.is_empty())
    }
}

/// The values in a list, as oslo.config takes them apart.
fn split_list(text: &str) -> Vec<String> {
    let text = text.trim().trim_end_matches(',');
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|value| value.trim().to_owned()).collect()
}

/// A configuration file, for messages.
struct File<'a> {
    path: &'a str,
    text: Arc<str>,
}

impl File<'_> {
    fn given(&self, entry: Entry) -> Given {
        let place = Place::new(self.path, self.text.clone(), entry.value_span);
        Given { value: entry.value, origin: Origin::File(place) }
    }

    /// A section of any name may describe a source, but then it says something.
    fn empty_sections(&self, ini: &Ini) -> Vec<Diagnostic> {
        let known = [OPTION_SECTION, PROFILE_SECTION];
        ini.sections
            .iter()
            .filter(|section| !known.contains(&section.name.as_str()))
            .filter(|section| !ini.entries.iter().any(|entry| entry.section == section.name))
            .map(|section| {
                Diagnostic::new(format!("there is no section [{}]", section.name))
                    .at(Place::new(self.path, self.text.clone(), section.span.clone()))
                    .suggest(&section.name, known)
            })
            .collect()
    }

    /// A key that a source does not have, in a section that is no other: one of the two is wrong.
    fn unknown_in_section(&self, entry: &Entry) -> Diagnostic {
        let diagnostic = Diagnostic::new(format!(
            "there is no key '{}' in a section like [{}], which describes a source",
            entry.key, entry.section
        ))
        .at(Place::new(self.path, self.text.clone(), entry.key_span.clone()));
        let sections = [OPTION_SECTION, PROFILE_SECTION];
        match nearest(&entry.section, &sections) {
            Some(section) => diagnostic.help(format!("did you mean the section [{section}]?")),
            None => diagnostic.suggest(&entry.key, sources::KEYS),
        }
    }

    fn unknown_key(&self, entry: &Entry) -> Diagnostic {
        let diagnostic = Diagnostic::new(format!("there is no option '{}'", entry.key))
            .at(Place::new(self.path, self.text.clone(), entry.key_span.clone()));
        match OPTIONS.iter().find(|option| option.flag == entry.key) {
            Some(option) => diagnostic.help(format!("in a file it is called '{}'", option.name)),
            None => diagnostic.suggest(&entry.key, OPTIONS.iter().map(|option| option.name)),
        }
    }
}
