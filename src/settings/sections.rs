//! Sections of configuration files: a table of their kinds, and their values.

use std::collections::{BTreeMap, BTreeSet};

use super::given::Given;
use super::option_definition::Kind;
use crate::diagnostic::nearest;
use crate::image::SourceName;

/// Kind of sections, which all describe the same sort of thing.
pub(super) struct SectionKind {
    /// Name of the kind, by which its sections are found again.
    pub(super) name: &'static str,
    /// Description of such a section, after "a section that".
    pub(super) describes: &'static str,
    /// The one section of this kind; `None` if there may be several.
    pub(super) only: Option<&'static str>,
    /// Returns the name of the thing that a section describes; `None` for a section of another kind.
    pub(super) subject: fn(&str) -> Option<&str>,
    /// Keys of such a section.
    pub(super) keys: Keys,
    /// True if a section of this kind can't be of another one, whatever its keys are.
    pub(super) is_exclusive: bool,
    /// True if a section without keys describes something, too.
    pub(super) may_be_empty: bool,
    /// Returns the reason why the name of a section is invalid.
    pub(super) invalid_name: fn(&str) -> Option<String>,
}

/// Keys of a kind of sections.
pub(super) enum Keys {
    /// Names of options.
    Options,
    /// Any keys.
    Any,
    /// Known keys, with the kinds of their values.
    Known(&'static [(&'static str, Kind)]),
}

/// Section of the options.
pub(super) const OPTIONS_SECTION: SectionKind = SectionKind {
    name: "options",
    describes: "sets options",
    only: Some("DEFAULT"),
    subject: |section| (section == "DEFAULT").then_some(section),
    keys: Keys::Options,
    is_exclusive: true,
    may_be_empty: false,
    invalid_name: |_| None,
};

/// Section that adds and redefines profiles.
pub(super) const PROFILES: SectionKind = SectionKind {
    name: "profiles",
    describes: "defines profiles",
    only: Some("profiles"),
    subject: |section| section.eq_ignore_ascii_case("profiles").then_some("profiles"),
    keys: Keys::Any,
    is_exclusive: true,
    may_be_empty: false,
    invalid_name: |_| None,
};

/// Sections that describe service users: a user's name, and `-user`.
pub(super) const USERS: SectionKind = SectionKind {
    name: "users",
    describes: "describes a user",
    only: None,
    subject: user_of,
    keys: Keys::Known(&[("uid", Kind::Count(0)), ("gid", Kind::Count(0)), ("group", Kind::Text)]),
    is_exclusive: false,
    may_be_empty: true,
    invalid_name: |_| None,
};

/// Sections that describe sources: of any name that a source may have.
pub(super) const SOURCES: SectionKind = SectionKind {
    name: "sources",
    describes: "describes a source",
    only: None,
    subject: |section| Some(section),
    keys: Keys::Known(&[
        ("type", Kind::Text),
        ("location", Kind::Text),
        ("reference", Kind::Text),
        ("sha256", Kind::Dict),
        ("enabled", Kind::Bool),
        ("version", Kind::Text),
    ]),
    is_exclusive: false,
    may_be_empty: false,
    invalid_name: |section| SourceName::new(section).err().map(|error| error.to_string()),
};

/// All kinds of sections; of several that match, the first one counts.
pub(super) const SECTION_KINDS: &[SectionKind] = &[OPTIONS_SECTION, PROFILES, USERS, SOURCES];

/// Suffix of the name of a section that describes a user.
pub(super) const USER_SUFFIX: &str = "-user";

/// Returns the name of the user that a section describes.
fn user_of(section: &str) -> Option<&str> {
    let at = section.len().checked_sub(USER_SUFFIX.len())?;
    let (name, suffix) = section.split_at_checked(at)?;
    (suffix.eq_ignore_ascii_case(USER_SUFFIX) && !name.is_empty()).then_some(name)
}

impl SectionKind {
    /// Returns the kind of a key's values; `None` if there is no such key.
    pub(super) fn kind_of(&self, key: &str) -> Option<Kind> {
        self.known_keys().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
    }

    /// Returns the known keys; none if any key is accepted.
    pub(super) fn known_keys(&self) -> impl Iterator<Item = &(&'static str, Kind)> {
        let keys: &[_] = match self.keys {
            Keys::Known(keys) => keys,
            Keys::Options | Keys::Any => &[],
        };
        keys.iter()
    }

    fn accepts(&self, key: &str) -> bool {
        self.is_exclusive && !matches!(self.keys, Keys::Known(_)) || self.kind_of(key).is_some()
    }
}

/// Returns the kind in `kinds` of a section with this `key`, and the name of what it describes;
/// `None` if the key belongs into no section of that name.
pub(super) fn classify<'k, 's>(
    kinds: &'k [SectionKind],
    section: &'s str,
    key: &str,
) -> Option<(&'k SectionKind, &'s str)> {
    candidates(kinds, section).find(|(kind, _)| kind.accepts(key))
}

/// Returns the kinds in `kinds` that a section of this name can be of, each with the name of what
/// the section describes.
pub(super) fn candidates<'k, 's>(
    kinds: &'k [SectionKind],
    section: &'s str,
) -> impl DoubleEndedIterator<Item = (&'k SectionKind, &'s str)> {
    let named = kinds.iter().filter_map(|kind| Some((kind, (kind.subject)(section)?)));
    let mut named: Vec<_> = named.collect();
    if let Some(at) = named.iter().position(|(kind, _)| kind.is_exclusive) {
        named = vec![named[at]];
    }
    named.into_iter()
}

/// Returns the section in `kinds` that a misspelt name probably means.
pub(super) fn meant(kinds: &[SectionKind], section: &str) -> Option<&'static str> {
    let known: Vec<&'static str> = kinds.iter().filter_map(|kind| kind.only).collect();
    if candidates(kinds, section).any(|(kind, _)| kind.only.is_some()) {
        return None;
    }
    let alike = known.iter().find(|known| known.eq_ignore_ascii_case(section.trim()));
    alike.copied().or_else(|| nearest(section, &known))
}

/// Values of a section, by key.
pub(super) type Section = BTreeMap<String, Given>;

/// Sections of one kind by the names of what they describe, in lower case, each with that name as
/// it was written first.
#[derive(Debug, Default, Clone)]
pub(super) struct Sections(BTreeMap<String, (String, Section)>);

impl Sections {
    /// Returns no sections.
    pub(super) const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns the section of `name`, ignoring case.
    pub(super) fn get(&self, name: &str) -> Option<&Section> {
        self.0.get(&name.to_lowercase()).map(|(_, section)| section)
    }

    /// Returns the names, as they were written, of the sections that are not in `known`.
    pub(super) fn names_beside<'a>(
        &self,
        known: impl Iterator<Item = &'a (impl AsRef<str> + 'a)>,
    ) -> impl Iterator<Item = &String> {
        let known: BTreeSet<String> = known.map(|name| name.as_ref().to_lowercase()).collect();
        self.0.iter().filter(move |(name, _)| !known.contains(*name)).map(|(_, (name, _))| name)
    }

    /// Returns all values.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Given> {
        self.0.values_mut().flat_map(|(_, section)| section.values_mut())
    }

    /// Returns the section of `name`, and creates it if it does not exist.
    pub(super) fn entry(&mut self, name: &str) -> &mut Section {
        let new = || (name.to_owned(), Section::new());
        &mut self.0.entry(name.to_lowercase()).or_insert_with(new).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the kind and the subject of a section with this key.
    fn found(kinds: &[SectionKind], section: &str, key: &str) -> String {
        match classify(kinds, section, key) {
            Some((kind, subject)) => format!("{} {subject}", kind.name),
            None => "unknown".to_owned(),
        }
    }

    #[test]
    fn sections_are_classified_by_name_and_key() {
        let table = [
            ("DEFAULT", "threads", "options DEFAULT"),
            ("DEFAULT", "location", "options DEFAULT"),
            ("default", "threads", "unknown"),
            ("Profiles", "location", "profiles profiles"),
            ("nova-user", "uid", "users nova"),
            ("nova-USER", "gid", "users nova"),
            ("nova-user", "location", "sources nova-user"),
            ("nova-user", "threads", "unknown"),
            ("-user", "uid", "unknown"),
            ("nova-base", "location", "sources nova-base"),
            ("nova-base", "uid", "unknown"),
        ];
        for (section, key, expected) in table {
            assert_eq!(found(SECTION_KINDS, section, key), expected, "[{section}] {key}");
        }
    }

    #[test]
    fn one_entry_adds_a_kind() {
        let store = SectionKind {
            name: "stores",
            describes: "describes a store",
            only: None,
            subject: |section| section.strip_prefix("store "),
            keys: Keys::Known(&[("url", Kind::Text)]),
            is_exclusive: true,
            may_be_empty: false,
            invalid_name: |_| None,
        };
        let kinds = [OPTIONS_SECTION, PROFILES, store, USERS, SOURCES];
        let table = [
            ("store central", "url", "stores central"),
            ("store a-user", "uid", "unknown"),
            ("store central", "location", "unknown"),
            ("storehouse", "location", "sources storehouse"),
        ];
        for (section, key, expected) in table {
            assert_eq!(found(&kinds, section, key), expected, "[{section}] {key}");
        }
        let (kind, _) = candidates(&kinds, "store central").next_back().unwrap();
        assert_eq!(kind.describes, "describes a store");
    }

    #[test]
    fn misspelt_sections_are_told_from_others() {
        let table = [
            ("profile", Some("profiles")),
            ("default", Some("DEFAULT")),
            ("Profiles", None),
            ("DEFAULT", None),
            ("nova-base", None),
        ];
        for (section, expected) in table {
            assert_eq!(meant(SECTION_KINDS, section), expected, "{section}");
        }
    }
}
