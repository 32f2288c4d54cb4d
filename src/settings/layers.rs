//! Layers of values of options, and the precedence between them.
//!
//! From the weakest to the strongest: the option's own default, the manifest of the tree,
//! configuration files, the environment, the command line. Every value keeps its origin, so that a
//! wrong one is shown where it was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::convert::SEPARATOR;
use super::given::{Given, Origin};
use super::ini::{self, Entry, Ini};
use super::option_definition::{Effect, Kind, Opt, OptionDefault};
use super::options::{OPTIONS, option};
use super::sections::{
    Keys, PROFILES, SECTION_KINDS, Section, SectionKind, Sections, candidates, classify, meant,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};
use crate::files::{self, MOST_OF_CONFIGURATION};
use crate::tree::{Manifest, PresetValue};

type Layer = BTreeMap<&'static str, Vec<Given>>;

/// All values that were given outside of the tree.
#[derive(Debug, Default, Clone)]
pub struct Layers {
    files: Layer,
    environment: Layer,
    flags: Layer,
    sections: BTreeMap<&'static str, Sections>,
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
                Kind::CommaList => vec![values.join(SEPARATOR)],
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
        errors.extend(file.misnamed_sections(&ini));
        for section in &ini.sections {
            self.declare(&section.name);
        }
        errors.extend(ini.entries.iter().filter_map(|entry| self.take(&file, entry).err()));
        if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
    }

    /// Adds a section that describes something even without keys.
    fn declare(&mut self, section: &str) {
        let kinds = candidates(SECTION_KINDS, section);
        for (kind, subject) in kinds.filter(|(kind, _)| kind.may_be_empty) {
            self.sections.entry(kind.name).or_default().entry(subject);
        }
    }

    fn take(&mut self, file: &File<'_>, entry: &Entry) -> std::result::Result<(), Diagnostic> {
        let given = file.given(entry);
        let Some((kind, subject)) = classify(SECTION_KINDS, &entry.section, &entry.key) else {
            return Err(file.unknown_in_section(entry));
        };
        if let Keys::Options = kind.keys {
            let option = OPTIONS.iter().find(|option| option.name == entry.key);
            self.add(option.ok_or_else(|| file.unknown_key(entry))?, given);
        } else {
            let sections = self.sections.entry(kind.name).or_default();
            sections.entry(subject).insert(entry.key.clone(), given);
        }
        Ok(())
    }

    /// Adds a value that a file gives to an option.
    fn add(&mut self, option: &Opt, given: Given) {
        let earlier = self.files.entry(option.name).or_default();
        if !matches!(option.kind, Kind::Repeated | Kind::Paths | Kind::Positional) {
            earlier.clear();
        }
        earlier.push(given);
    }

    /// Returns the profiles that files define.
    pub(super) fn profiles(&self) -> Option<&Section> {
        self.sections(&PROFILES).get(PROFILES.name)
    }

    /// Returns the sections of files that are of this kind.
    pub(super) fn sections(&self, kind: &SectionKind) -> &Sections {
        static NONE: Sections = Sections::none();
        self.sections.get(kind.name).unwrap_or(&NONE)
    }

    /// Returns all values of files.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut Given> {
        let of_sections = self.sections.values_mut().flat_map(Sections::all_mut);
        self.files.values_mut().flatten().chain(of_sections)
    }

    /// Returns the values that files give to an option.
    pub(super) fn of_files(&self, option: &Opt) -> impl Iterator<Item = &Given> {
        self.files.get(option.name).into_iter().flatten()
    }

    /// Returns the value of an option without regard to the tree, which need not be known yet.
    pub fn explicit(&self, name: &str) -> Option<Given> {
        self.strongest(option(name)).and_then(|values| values.last().cloned())
    }

    /// Returns a line with the reason for each option that is given and has no effect.
    pub fn without_effect(&self) -> Vec<String> {
        let line = |option: &Opt| {
            let Effect::Nothing(reason) = option.effect else { return None };
            let origin = self.explicit(option.name)?.origin;
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
        self.explicit(name)
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
                OptionDefault::Value(value) => {
                    Some(Given { value: value.to_owned(), origin: Origin::Default })
                }
                OptionDefault::Unset | OptionDefault::FromTree | OptionDefault::Computed(_) => None,
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
                let meant = meant(SECTION_KINDS, &section.name)?;
                let message = format!("there is no section [{}]", section.name);
                let place = Place::new(self.path, self.text.clone(), section.span.clone());
                Some(Diagnostic::new(message).at(place).help(format!("did you mean [{meant}]?")))
            })
            .collect()
    }

    /// Returns errors for sections with keys whose names are invalid for their kind.
    fn misnamed_sections(&self, ini: &Ini) -> Vec<Diagnostic> {
        let invalid = |section: &ini::Section| {
            let entries = ini.entries.iter().filter(|entry| entry.section == section.name);
            let mut kinds =
                entries.filter_map(|entry| classify(SECTION_KINDS, &entry.section, &entry.key));
            let reason = kinds.find_map(|(kind, subject)| (kind.invalid_name)(subject))?;
            let place = Place::new(self.path, self.text.clone(), section.span.clone());
            Some(Diagnostic::new(reason).at(place))
        };
        ini.sections.iter().filter_map(invalid).collect()
    }

    /// Returns an error for a key that belongs into no section of that name: either the key or the
    /// name of the section is wrong.
    fn unknown_in_section(&self, entry: &Entry) -> Diagnostic {
        let kind = candidates(SECTION_KINDS, &entry.section).next_back().map(|(kind, _)| kind);
        let about = kind.map(|kind| format!(", which {}", kind.describes)).unwrap_or_default();
        let diagnostic = Diagnostic::new(format!(
            "there is no key '{}' in a section like [{}]{about}",
            entry.key, entry.section
        ))
        .at(Place::new(self.path, self.text.clone(), entry.key_span.clone()));
        match meant(SECTION_KINDS, &entry.section) {
            Some(section) => diagnostic.help(format!("did you mean the section [{section}]?")),
            None => {
                let keys = kind.into_iter().flat_map(SectionKind::known_keys);
                diagnostic.suggest(&entry.key, keys.map(|(key, _)| *key))
            }
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
