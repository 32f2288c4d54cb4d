//! Digest of the parts of an image, and comparison of parts.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// Prefix of the part names of files.
pub const FILE: &str = "file ";
/// Prefix of the part names of build arguments.
pub const BUILD_ARGUMENT: &str = "build argument ";
/// Prefix of the part names of images of the tree.
pub const IMAGE: &str = "image ";
/// Prefix of the part names of external images.
pub const BASE: &str = "base ";
/// Prefix of the part names of sources.
pub const SOURCE: &str = "source ";

/// Prefixes of part names, each with the plural for messages. An image may have several parts of
/// each.
pub(super) const KINDS: [(&str, &str); 5] = [
    (FILE, "files"),
    (BUILD_ARGUMENT, "build arguments"),
    (IMAGE, "images"),
    (BASE, "external images"),
    (SOURCE, "sources"),
];

/// Parts of an image: by name, a digest of the part or a word that stands for it.
pub type Parts = BTreeMap<String, String>;

/// Digest of all parts of an image, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Returns the fingerprint of an image with these `parts`.
    pub fn of(parts: &Parts) -> Self {
        let mut hasher = Sha256::new();
        hash_parts(&mut hasher, parts);
        Self(hex(&hasher.finalize()))
    }

    /// Returns the digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Fingerprint together with its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintedParts {
    /// Digest of all parts.
    pub fingerprint: Fingerprint,
    /// Parts by name.
    pub parts: Parts,
}

impl FingerprintedParts {
    /// Computes the fingerprint of `parts`.
    pub fn of(parts: Parts) -> Self {
        Self { fingerprint: Fingerprint::of(&parts), parts }
    }
}

/// Change of one part, with its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The part is new.
    Added(String),
    /// The part is gone.
    Removed(String),
    /// The part has another value.
    Changed(String),
}

impl Change {
    /// Returns the name of the part.
    pub fn part(&self) -> &str {
        match self {
            Self::Added(part) | Self::Removed(part) | Self::Changed(part) => part,
        }
    }

    /// Returns the same change, with the part's name replaced by `rename`.
    pub(super) fn renamed(self, rename: fn(&str) -> String) -> Self {
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
            Self::Added(part) => write!(f, "{part} added"),
            Self::Removed(part) => write!(f, "{part} removed"),
            Self::Changed(part) => write!(f, "{part} changed"),
        }
    }
}

/// Returns the differences between two sets of parts, by the parts' names.
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

/// Difference of one item between two points in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The item is new.
    Added,
    /// The item is gone.
    Removed,
    /// The item has another fingerprint; these parts differ.
    Changed(Vec<Change>),
}

/// Returns the items that differ, by name.
pub fn differences<Name: Ord + Clone>(
    before: &BTreeMap<Name, FingerprintedParts>,
    after: &BTreeMap<Name, FingerprintedParts>,
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

/// Hashes names and values of parts. Each is preceded by its length, so that no two sets of parts
/// feed the same bytes to the hash.
pub(super) fn hash_parts<'p>(
    hasher: &mut Sha256,
    parts: impl IntoIterator<Item = (&'p String, &'p String)>,
) {
    for (name, part) in parts {
        for text in [name, part] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
    }
}

/// SHA-256 digest of bytes that are given one piece after the other.
#[derive(Debug, Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all pieces, in hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Returns the SHA-256 digest of `bytes`, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn inputs_name_the_change() {
        let parts = |pairs: &[(&str, &str)]| -> Parts {
            pairs.iter().map(|(name, part)| (name.to_string(), part.to_string())).collect()
        };
        let before = parts(&[("Dockerfile", "1"), ("file a", "1"), ("file b", "1")]);
        let after = parts(&[("Dockerfile", "2"), ("file a", "1"), ("image base", "1")]);
        let shown: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["Dockerfile changed", "file b removed", "image base added"]);
    }

    #[test]
    fn differences_name_their_inputs() {
        let of = |things: &[(&'static str, &str)]| -> BTreeMap<&str, FingerprintedParts> {
            let parts = |part: &str| Parts::from([("file".to_owned(), part.to_owned())]);
            things.iter().map(|(name, part)| (*name, FingerprintedParts::of(parts(part)))).collect()
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
        /// Two different sets of parts never have the same fingerprint, whatever the names are.
        #[test]
        fn different_parts_have_different_fingerprints(
            one in prop::collection::btree_map("[ab]{0,3}", "[ab]{0,3}", 0..4),
            two in prop::collection::btree_map("[ab]{0,3}", "[ab]{0,3}", 0..4),
        ) {
            prop_assert_eq!(one == two, Fingerprint::of(&one) == Fingerprint::of(&two));
        }
    }
}
