//! Selection of images.

use super::resolver::Resolver;
use crate::image::ImageLocation;
use crate::name_pattern::NamePattern;
use crate::settings::profiles::Profiles;
use crate::settings::types::SelectionSettings;

impl Resolver<'_> {
    /// Returns the settings of the selection.
    pub(super) fn selection(&mut self, profiles: &Profiles) -> SelectionSettings {
        SelectionSettings {
            patterns: self.patterns(profiles),
            enable_unbuildable: self.flag("enable_unbuildable"),
            changed_since: self.text("changed_since"),
            skip_existing: self.flag("skip_existing"),
            skip_unchanged: match self.choice("skip_unchanged").as_str() {
                "engine" => Some(ImageLocation::Engine),
                "registry" => Some(ImageLocation::Registry),
                _ => None,
            },
            skip_parents: self.flag("skip_parents"),
            allowed_to_fail: self.list("allowed_to_fail"),
        }
    }

    /// Returns the patterns on the command line or in a file, else those of the chosen profiles;
    /// `None` if neither is given.
    fn patterns(&mut self, profiles: &Profiles) -> Option<Vec<NamePattern>> {
        let asked = self.all("regex");
        let chosen = self.all("profile");
        if asked.is_empty() && chosen.is_empty() {
            return None;
        }
        let mut patterns = Vec::new();
        for given in &asked {
            let told = |what: &str| given.refuse(format!("'{}' {what}", given.value));
            match NamePattern::new(&given.value, told) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.errors.push(error),
            }
        }
        for given in chosen.iter().filter(|_| asked.is_empty()) {
            match profiles.patterns(given, self.references()) {
                Ok(found) => patterns.extend(found),
                Err(found) => self.errors.extend(found.0),
            }
        }
        Some(patterns)
    }
}
