//! Layers of values of options, and the precedence between them.
//!
//! From the weakest to the strongest: the option's own default, the manifest of the tree,
//! configuration files, the environment, the command line. Every value keeps its origin, so that a
//! wrong one is shown where it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::convert::SEPARATOR;
use super::ini::{self, Entry, Ini};
use super::options::{Authority, Effect, Fallback, Kind, OPTIONS, Opt, option};
use super::sources;
use super::users;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result, nearest};
use crate::files::{self, MOST_OF_CONFIGURATION};
use crate::image::SourceName;
use crate::tree::{Manifest, PresetValue};

/// Section of a file that contains the options.
const OPTION_SECTION: &str = "DEFAULT";

/// Section that adds and redefines profiles.
pub(super) const PROFILE_SECTION: &str = "profiles";

/// Origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The option's own default.
    Default,
    /// The manifest of the tree, at this place if it is a file.
    Manifest(Option<Place>),
    /// A configuration file.
    File(Place),
    /// A configuration file that was found in the checkout with this top folder.
    Checkout(Place, Arc<Path>),
    /// The environment variable of this name.
    Environment(String),
    /// The command line, as this flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Manifest(_) => f.write_str("tree"),
            Self::File(place) | Self::Checkout(place, _) => {
                write!(f, "{}:{}", place.path, place.line_number())
            }
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl Origin {
    /// Returns the authority of whoever set the value.
    pub fn authority(&self) -> Authority {
        match self {
            Self::Default | Self::File(_) | Self::Environment(_) | Self::Flag(_) => Authority::User,
            Self::Checkout(..) => Authority::Checkout,
            Self::Manifest(_) => Authority::Tree,
        }
    }

    /// Returns the place in a file, if the value was written in one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) | Self::Checkout(place, _) => Some(place),
            Self::Manifest(place) => place.as_ref(),
            Self::Default | Self::Environment(_) | Self::Flag(_) => None,
        }
    }
}

/// Value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Value as it was written.
    pub value: String,
    /// Origin of the value.
    pub origin: Origin,
}

impl Given {
    /// Returns an error about this value, shown where it was written.
    pub fn refuse(&self, message: impl Into<String>) -> Diagnostic {
        let diagnostic = Diagnostic::new(message);
        match &self.origin {
            Origin::Default => diagnostic,
            Origin::Manifest(None) => diagnostic.note("the value comes from the tree"),
            Origin::Manifest(Some(place)) | Origin::File(place) | Origin::Checkout(place, _) => {
                diagnostic.at(place.clone())
            }
            Origin::Environment(name) => diagnostic.note(format!("the value comes from ${name}")),
            Origin::Flag(flag) => diagnostic.note(format!("the value comes from {flag}")),
        }
    }
}

type Layer = BTreeMap<&'static str, Vec<Given>>;

/// Values of a section, by key.
pub(super) type Section = BTreeMap<String, Given>;

/// Sections by their names in lower case, each with its name as it was written first.
#[derive(Debug, Default, Clone)]
pub(super) struct Sections(BTreeMap<String, (String, Section)>);

impl Sections {
    /// Returns the section called `name`, ignoring case.
    pub(super) fn get(&self, name: &str) -> Option<&Section> {
        self.0.get(&normalized(name)).map(|(_, section)| section)
    }

    /// Returns the names, as they were written, of the sections that are not in `known`.
    pub(super) fn names_beside<'a>(
        &self,
        known: impl Iterator<Item = &'a (impl AsRef<str> + 'a)>,
    ) -> impl Iterator<Item = &String> {
        let known: BTreeSet<String> = known.map(|name| normalized(name.as_ref())).collect();
        self.0.iter().filter(move |(name, _)| !known.contains(*name)).map(|(_, (name, _))| name)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Given> {
        self.0.values_mut().flat_map(|(_, section)| section.values_mut())
    }

    /// Returns the section called `name`, and creates it if it does not exist.
    fn entry(&mut self, name: &str) -> &mut Section {
        let new = || (name.to_owned(), Section::new());
        &mut self.0.entry(normalized(name)).or_insert_with(new).1
    }
}

/// Returns a section's name in the form in which names are compared: in lower case, except for the
/// section of the options.
fn normalized(section: &str) -> String {
    if section == OPTION_SECTION { section.to_owned() } else { section.to_lowercase() }
}

/// All values that were given outside of the tree.
#[derive(Debug, Default, Clone)]
pub struct Layers {
    files: Layer,
    environment: Layer,
    flags: Layer,
    profiles: BTreeMap<String, Given>,
    sources: Sections,
    users: Sections,
    variables: BTreeMap<String, String>,
}

impl Layers {
    /// Collects the values of `flags` (by option name), of the configuration `files` and of the
    /// `environment`.
    ///
    /// # Errors
    /// When a file can't be read or contains something unknown.
    pub fn gather(
        flags: BTreeMap<&'static str, Vec<String>>,
        files: &[PathBuf],
        environment: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let (layers, errors) = Self::gather_all(flags, files, environment);
        if errors.is_empty() { Ok(layers) } else { Err(Diagnostics(errors)) }
    }

    /// Does the same as [`Layers::gather`], but returns the errors together with the usable values.
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
            let values = match option(name).kind {
                Kind::Several => vec![values.join(SEPARATOR)],
                _ => values,
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
        let text = files::read_named_text(path, MOST_OF_CONFIGURATION).map_err(|error| {
            Diagnostic::new(format!("the configuration file '{shown}' can't be read: {error}"))
        })?;
        let ini = ini::parse(&text, &shown)?;
        let file = File { path: &shown, text: text.as_str().into() };
        let mut errors = file.misspelt_sections(&ini);
        errors.extend(file.misnamed_sources(&ini));
        for user in ini.sections.iter().filter_map(|section| users::of(&section.name)) {
            self.users.entry(user);
        }
        errors.extend(ini.entries.iter().filter_map(|entry| self.take(&file, entry).err()));
        if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
    }

    fn take(&mut self, file: &File<'_>, entry: &Entry) -> std::result::Result<(), Diagnostic> {
        let (section, key) = (entry.section.as_str(), entry.key.as_str());
        let given = file.given(entry);
        match normalized(section).as_str() {
            OPTION_SECTION => {
                let option = OPTIONS.iter().find(|option| option.name == key);
                let option = option.ok_or_else(|| file.unknown_key(entry))?;
                let earlier = self.files.entry(option.name).or_default();
                if !matches!(option.kind, Kind::Many | Kind::Paths | Kind::Positional) {
                    earlier.clear();
                }
                earlier.push(given);
            }
            PROFILE_SECTION => {
                self.profiles.insert(key.to_owned(), given);
            }
            _ => match users::of(section) {
                Some(user) if users::kind_of(key).is_some() => {
                    self.users.entry(user).insert(key.to_owned(), given);
                }
                _ if sources::kind_of(key).is_some() => {
                    self.sources.entry(section).insert(key.to_owned(), given);
                }
                _ => return Err(file.unknown_in_section(entry)),
            },
        }
        Ok(())
    }

    /// Returns the profiles that files define.
    pub fn profiles(&self) -> &BTreeMap<String, Given> {
        &self.profiles
    }

    /// Returns the sections of files that describe sources, by name.
    pub(super) fn sources(&self) -> &Sections {
        &self.sources
    }

    /// Returns all values of files.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut Given> {
        let of_sections =
            [&mut self.sources, &mut self.users].into_iter().flat_map(Sections::all_mut);
        self.files.values_mut().flatten().chain(self.profiles.values_mut()).chain(of_sections)
    }

    /// Returns the values that files give to an option.
    pub(super) fn of_files(&self, option: &Opt) -> impl Iterator<Item = &Given> {
        self.files.get(option.name).into_iter().flatten()
    }

    /// Returns the value of an option without regard to the tree, which need not be known yet.
    pub fn early(&self, name: &str) -> Option<Given> {
        self.strongest(option(name)).and_then(|values| values.last().cloned())
    }

    /// Returns a line with the reason for each option that is given and has no effect.
    pub fn without_effect(&self) -> Vec<String> {
        let line = |option: &Opt| {
            let Effect::Nothing(reason) = option.effect else { return None };
            let origin = self.early(option.name)?.origin;
            Some(format!("{} ({origin}) has no effect: {reason}", option.name))
        };
        OPTIONS.iter().filter_map(line).collect()
    }

    /// Returns the values of all layers for an option that adds up, and those of the strongest
    /// layer for another one.
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

    /// Returns the value of an option that has a single value: the given one, else the default of
    /// the tree's manifest, of its dialect, or of the option.
    pub fn one(&self, name: &str, manifest: &Manifest) -> Option<Given> {
        self.early(name)
            .or_else(|| {
                let (PresetValue::Text(value), origin) = of_tree(name, manifest)? else {
                    return None;
                };
                Some(Given { value: value.clone(), origin })
            })
            .or_else(|| {
                let value = manifest.dialect?.default_of(name)?.to_owned();
                Some(Given { value, origin: Origin::Default })
            })
            .or_else(|| match option(name).default {
                Fallback::Is(value) => {
                    Some(Given { value: value.to_owned(), origin: Origin::Default })
                }
                Fallback::Unset | Fallback::OfTree | Fallback::Found(_) => None,
            })
    }

    /// Returns the same layers, with one word for each of these options in place of its values.
    pub(super) fn narrowed(&self, chosen: impl IntoIterator<Item = (&'static str, Given)>) -> Self {
        let mut layers = self.clone();
        layers.flags.extend(chosen.into_iter().map(|(name, given)| (name, vec![given])));
        layers
    }

    /// Returns a variable of the environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the sections of files that describe users, by the user's name.
    pub(super) fn users(&self) -> &Sections {
        &self.users
    }

    fn strongest(&self, option: &Opt) -> Option<&Vec<Given>> {
        [&self.flags, &self.environment, &self.files]
            .into_iter()
            .filter_map(|layer| layer.get(option.name))
            .find(|values| !values.is_empty())
    }
}

/// Returns the default of the tree's manifest for an option, if trees may set that option.
pub(super) fn of_tree<'a>(name: &str, manifest: &'a Manifest) -> Option<(&'a PresetValue, Origin)> {
    let preset = manifest.defaults.get(name).filter(|_| option(name).is_for_trees())?;
    Some((&preset.value, Origin::Manifest(preset.place.clone())))
}

/// Configuration file, for messages.
struct File<'a> {
    path: &'a str,
    text: Arc<str>,
}

impl File<'_> {
    fn given(&self, entry: &Entry) -> Given {
        let place = Place::new(self.path, self.text.clone(), entry.value_span.clone());
        Given { value: entry.value.clone(), origin: Origin::File(place) }
    }

    /// Returns errors for empty sections whose names are similar to that of a known section. Others
    /// are accepted: a section of any name may describe a source.
    fn misspelt_sections(&self, ini: &Ini) -> Vec<Diagnostic> {
        ini.sections
            .iter()
            .filter(|section| !ini.entries.iter().any(|entry| entry.section == section.name))
            .filter_map(|section| {
                let meant = meant(&section.name)?;
                let message = format!("there is no section [{}]", section.name);
                let place = Place::new(self.path, self.text.clone(), section.span.clone());
                Some(Diagnostic::new(message).at(place).help(format!("did you mean [{meant}]?")))
            })
            .collect()
    }

    /// Returns errors for sections that describe sources and whose names are invalid for a source.
    fn misnamed_sources(&self, ini: &Ini) -> Vec<Diagnostic> {
        let is_of_source = |entry: &Entry| {
            let (section, key) = (normalized(&entry.section), entry.key.as_str());
            let is_another = section == OPTION_SECTION || section == PROFILE_SECTION;
            let is_of_user = users::of(&entry.section).is_some() && users::kind_of(key).is_some();
            !is_another && !is_of_user && sources::kind_of(key).is_some()
        };
        let named: BTreeSet<&str> = ini
            .entries
            .iter()
            .filter(|entry| is_of_source(entry))
            .map(|entry| entry.section.as_str())
            .collect();
        let sections = ini.sections.iter().filter(|section| named.contains(section.name.as_str()));
        sections
            .filter_map(|section| {
                let error = SourceName::new(&section.name).err()?;
                let place = Place::new(self.path, self.text.clone(), section.span.clone());
                Some(Diagnostic::new(error.to_string()).at(place))
            })
            .collect()
    }

    /// Returns an error for an unknown key in a section of a source: either the key or the name of
    /// the section is wrong.
    fn unknown_in_section(&self, entry: &Entry) -> Diagnostic {
        let diagnostic = Diagnostic::new(format!(
            "there is no key '{}' in a section like [{}], which describes a source",
            entry.key, entry.section
        ))
        .at(Place::new(self.path, self.text.clone(), entry.key_span.clone()));
        match meant(&entry.section) {
            Some(section) => diagnostic.help(format!("did you mean the section [{section}]?")),
            None => diagnostic.suggest(&entry.key, sources::KEYS.map(|(key, _)| key)),
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

/// Returns the known section that a misspelt name probably means.
fn meant(section: &str) -> Option<&'static str> {
    let known = [OPTION_SECTION, PROFILE_SECTION];
    if known.contains(&normalized(section).as_str()) {
        return None;
    }
    let spelt_alike = known.into_iter().find(|known| known.eq_ignore_ascii_case(section.trim()));
    spelt_alike.or_else(|| nearest(section, &known))
}
