//! What an image is made of, as one digest: an image that carries the same one need not be built.
//!
//! A fingerprint covers all that determines an image: the files of its context with the Dockerfile
//! among them, what its sources are, the options of the build that change its result, and for each
//! image that it refers to the fingerprint of that one, or the engine's id where it is an external
//! one. Nothing of it follows the clock, and it is never shortened. `label` keeps the parts beside it,
//! in short, to tell what changed.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

mod label;

pub use label::{LABEL, LARGEST_LABEL, in_label, is_verified};

/// Beginnings of the names of parts of which an image may have several: of files,
pub const FILE: &str = "file ";
/// of build arguments,
pub const BUILD_ARGUMENT: &str = "build argument ";
/// of images of the tree,
pub const IMAGE: &str = "image ";
/// of images from elsewhere,
pub const BASE: &str = "base ";
/// and of sources.
pub const SOURCE: &str = "source ";

/// The same, each with the plural that people use for such parts.
const KINDS: [(&str, &str); 5] = [
    (FILE, "files"),
    (BUILD_ARGUMENT, "build arguments"),
    (IMAGE, "images"),
    (BASE, "external images"),
    (SOURCE, "sources"),
];

/// What an image is made of: by name, a digest of each part or a word that stands for it.
pub type Parts = BTreeMap<String, String>;

/// The digest of all parts of an image, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of an image that is made of `parts`.
    pub fn of(parts: &Parts) -> Self {
        let mut hasher = Sha256::new();
        hash_parts(&mut hasher, parts);
        Self(hex(&hasher.finalize()))
    }

    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A fingerprint and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprinted {
    /// The digest of all parts.
    pub fingerprint: Fingerprint,
    /// The parts.
    pub parts: Parts,
}

impl Fingerprinted {
    /// What is made of `parts`.
    pub fn of(parts: Parts) -> Self {
        Self { fingerprint: Fingerprint::of(&parts), parts }
    }
}

/// A part that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added(String),
    /// It is there no more.
    Removed(String),
    /// It is another.
    Changed(String),
}

impl Change {
    /// The part's name.
    pub fn part(&self) -> &str {
        match self {
            Self::Added(part) | Self::Removed(part) | Self::Changed(part) => part,
        }
    }

    /// The same change of a part with another name.
    fn renamed(self, rename: fn(&str) -> String) -> Self {
        match self {
            Self::Added(part) => Self::Added(rename(&part)),
            Self::Removed(part) => Self::Removed(rename(&part)),
            Self::Changed(part) => Self::Changed(rename(&part)),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(part) => write!(f, "{part} is new"),
            Self::Removed(part) => write!(f, "{part} is gone"),
            Self::Changed(part) => write!(f, "{part} changed"),
        }
    }
}

/// What differs between two sets of parts, by the parts' names.
pub fn changes(before: &Parts, after: &Parts) -> Vec<Change> {
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let removed = removed.map(|name| Change::Removed(name.clone()));
    let others = after.iter().filter_map(|(name, part)| match before.get(name) {
        None => Some(Change::Added(name.clone())),
        Some(old) if old != part => Some(Change::Changed(name.clone())),
        Some(_) => None,
    });
    let mut found: Vec<Change> = removed.chain(others).collect();
    found.sort_by(|a, b| a.part().cmp(b.part()));
    found
}

/// What became of a thing between two times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is new.
    Added,
    /// It is there no more.
    Removed,
    /// It is made of other parts; these differ.
    Changed(Vec<Change>),
}

/// What is not what it was, by name.
pub fn differences<Name: Ord + Clone>(
    before: &BTreeMap<Name, Fingerprinted>,
    after: &BTreeMap<Name, Fingerprinted>,
) -> BTreeMap<Name, Difference> {
    let removed = before.keys().filter(|name| !after.contains_key(name));
    let removed = removed.map(|name| (name.clone(), Difference::Removed));
    let others = after.iter().filter_map(|(name, now)| {
        let difference = match before.get(name) {
            None => Difference::Added,
            Some(then) if then.fingerprint == now.fingerprint => return None,
            Some(then) => Difference::Changed(changes(&then.parts, &now.parts)),
        };
        Some((name.clone(), difference))
    });
    removed.chain(others).collect()
}

/// Adds names and digests of parts to what is hashed, so that no two sets of them look the same.
fn hash_parts<'p>(hasher: &mut Sha256, parts: impl IntoIterator<Item = (&'p String, &'p String)>) {
    for (name, part) in parts {
        for text in [name, part] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
    }
}

/// The digest of something, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_tell_what_changed() {
        let parts = |pairs: &[(&str, &str)]| -> Parts {
            pairs.iter().map(|(name, part)| (name.to_string(), part.to_string())).collect()
        };
        let before = parts(&[("Dockerfile", "1"), ("file a", "1"), ("file b", "1")]);
        let after = parts(&[("Dockerfile", "2"), ("file a", "1"), ("image base", "1")]);
        let shown: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["Dockerfile changed", "file b is gone", "image base is new"]);
    }

    #[test]
    fn what_differs_is_told_with_its_parts() {
        let of = |things: &[(&'static str, &str)]| -> BTreeMap<&str, Fingerprinted> {
            let parts = |part: &str| Parts::from([("file".to_owned(), part.to_owned())]);
            things.iter().map(|(name, part)| (*name, Fingerprinted::of(parts(part)))).collect()
        };
        let before = of(&[("same", "1"), ("other", "1"), ("gone", "1")]);
        let after = of(&[("same", "1"), ("other", "2"), ("new", "1")]);
        let changed = Difference::Changed(vec![Change::Changed("file".to_owned())]);
        assert_eq!(
            differences(&before, &after),
            BTreeMap::from([
                ("gone", Difference::Removed),
                ("new", Difference::Added),
                ("other", changed),
            ])
        );
        assert_eq!(differences(&after, &after), BTreeMap::new());
    }

    proptest! {
        /// Whatever the parts are called, no two different sets of them are taken for the same.
        #[test]
        fn different_parts_have_different_fingerprints(
            one in prop::collection::btree_map("[ab]{0,3}", "[ab]{0,3}", 0..4),
            two in prop::collection::btree_map("[ab]{0,3}", "[ab]{0,3}", 0..4),
        ) {
            prop_assert_eq!(one == two, Fingerprint::of(&one) == Fingerprint::of(&two));
        }
    }
}
