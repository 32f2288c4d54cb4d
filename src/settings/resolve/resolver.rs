//! Reader of the typed values of options, which collects the errors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::axes::AxisLabel;
use crate::diagnostic::Diagnostic;
use crate::settings::convert::{self, words};
use crate::settings::given::Given;
use crate::settings::layers::{self, Layers};
use crate::settings::option_definition::Kind;
use crate::settings::options::{OPTIONS, option};
use crate::settings::references::References;
use crate::settings::trust;
use crate::tree::{Manifest, PresetValue};

/// Reader of typed values; collects the errors.
pub(super) struct Resolver<'a> {
    pub(super) layers: &'a Layers,
    pub(super) manifest: &'a Manifest,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) label: AxisLabel,
    /// True if a required option may be missing.
    pub(super) is_partial: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(layers: &'a Layers, manifest: &'a Manifest) -> Self {
        Self {
            layers,
            manifest,
            errors: Vec::new(),
            label: AxisLabel::default(),
            is_partial: false,
        }
    }

    pub(super) fn references(&self) -> References<'a> {
        References::new(self.layers, self.manifest)
    }

    /// Returns the value of an option, with its references to other options replaced.
    pub(super) fn given(&mut self, name: &str) -> Option<Given> {
        let given = self.layers.one(name, self.manifest)?;
        Some(self.interpolated(name, given))
    }

    /// Returns all values of an option that adds up, with their references replaced.
    pub(super) fn all(&mut self, name: &str) -> Vec<Given> {
        let given = self.layers.all(name).into_iter();
        given.map(|given| self.interpolated(name, given)).collect()
    }

    /// Returns a value of the option `name`, with its references to other options replaced.
    fn interpolated(&mut self, name: &str, given: Given) -> Given {
        let completed = self.references().interpolated(name, given.clone()).and_then(|completed| {
            if option(name).is_path() {
                trust::check_path(name, &completed)?;
            }
            Ok(completed)
        });
        completed.unwrap_or_else(|error| {
            self.refuse(error);
            given
        })
    }

    /// Records an error, unless it is recorded already: an option may be read more than once.
    pub(super) fn refuse(&mut self, error: Diagnostic) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Reads every option, including those that have no effect because of others.
    pub(super) fn check_all(&mut self) {
        for option in OPTIONS {
            match option.kind {
                Kind::Bool => drop(self.flag(option.name)),
                Kind::Count(_) => drop(self.count(option.name)),
                Kind::Choice(_) | Kind::OptionalChoice(_) => drop(self.choice(option.name)),
                Kind::Dict => drop(self.dictionary(option.name)),
                Kind::List => drop(self.list(option.name)),
                Kind::Text | Kind::Path | Kind::CommaList => drop(self.given(option.name)),
                Kind::Repeated | Kind::Paths | Kind::Positional => drop(self.all(option.name)),
            }
        }
    }

    /// Returns the values of an option that takes a list, with their references replaced.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        if self.layers.explicit(name).is_none()
            && let Some((PresetValue::List(values), _)) = layers::of_tree(name, self.manifest)
        {
            return values.clone();
        }
        self.given(name).map(|given| convert::list(&given.value)).unwrap_or_default()
    }

    /// Returns the value of an option, or the value derived from other options if it is not given.
    pub(super) fn text_or_derived(&mut self, name: &str) -> String {
        let given = self.text(name);
        given.or_else(|| self.references().derived(name)).unwrap_or_default()
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.given(name).map(|given| given.value).filter(|value| !value.is_empty())
    }

    /// Returns the words of an option that takes several.
    pub(super) fn words(&mut self, name: &str) -> Vec<String> {
        let given = self.given(name);
        given.map(|given| words(&given.value).map(str::to_owned).collect()).unwrap_or_default()
    }

    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Returns the value of an option that either the tree's manifest or the user has to set.
    pub(super) fn required(&mut self, name: &str) -> Option<Given> {
        let given = self.given(name).filter(|given| !given.value.is_empty());
        if given.is_none() && !self.is_partial {
            let flag = option(name).flag;
            self.refuse(
                Diagnostic::new(format!(
                    "--{flag} is not given, and the tree has no default for it"
                ))
                .help(format!("give --{flag}, or set {name} under [defaults] in tree.toml")),
            );
        }
        given
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        let Some(given) = self.given(name) else { return false };
        match convert::boolean(&given.value) {
            Some(value) => value,
            None => {
                let message = format!("{name} can't be '{}'", given.value);
                self.refuse(given.refuse(message).help("write true or false"));
                false
            }
        }
    }

    pub(super) fn count(&mut self, name: &str) -> usize {
        let Kind::Count(least) = option(name).kind else { unreachable!("{name} is no count") };
        let Some(given) = self.given(name) else { return least };
        let count = convert::integer(&given.value).and_then(|count| usize::try_from(count).ok());
        match count {
            Some(count) if count >= least => count,
            _ => {
                let message = format!("{name} can't be '{}'", given.value);
                self.refuse(
                    given.refuse(message).help(format!("write a whole number of at least {least}")),
                );
                least
            }
        }
    }

    pub(super) fn choice(&mut self, name: &str) -> String {
        let (Kind::Choice(words) | Kind::OptionalChoice(words)) = option(name).kind else {
            unreachable!("{name} is no choice")
        };
        let Some(given) = self.given(name) else { return words[0].to_owned() };
        if !words.contains(&given.value.as_str()) {
            let message = format!("{name} can't be '{}'", given.value);
            self.refuse(given.refuse(message).help(format!("choose one of: {}", words.join(", "))));
        }
        given.value
    }

    /// Returns the `name:value` pairs of an option.
    pub(super) fn dictionary(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some(given) = self.given(name) else { return BTreeMap::new() };
        match convert::dictionary(&given.value) {
            Ok(pairs) => pairs,
            Err(wrong) => {
                // Neither the value nor its line is shown if it may contain a secret.
                let error = if convert::names_a_secret(&given.value) {
                    Diagnostic::new(format!("{name} of {} has an invalid pair", given.origin))
                } else {
                    given.refuse(format!("'{wrong}' in {name} is not a pair"))
                };
                self.refuse(error.help("write name:value, name:value"));
                BTreeMap::new()
            }
        }
    }
}
