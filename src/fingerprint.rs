//! What an image is made of, as one digest: an image that carries the same one need not be built.
//!
//! A fingerprint covers all that determines an image: the files of its context with the Dockerfile
//! among them, what its sources are, the options of the build that change its result, and for each
//! image that it refers to the fingerprint of that one, or the engine's id where it is an external
//! one. Nothing of it follows the clock, and it is never shortened. The parts are kept beside it,
//! in short, to tell what changed.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::graph::{Graph, Index};
use crate::image::{ImageName, ImageRef};

/// The label that holds an image's fingerprint.
pub const LABEL: &str = "kiln.fingerprint";

/// The label that holds the digests of its parts.
pub const PARTS_LABEL: &str = "kiln.parts";

/// How many digits of a part's digest the label holds: enough to tell two versions apart.
const SHORT: usize = 12;

/// What an image is made of: by name, a digest of each part or a word that stands for it.
pub type Parts = BTreeMap<String, String>;

/// The digest of all parts of an image, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of an image that is made of `parts`.
    pub fn of(parts: &Parts) -> Self {
        let mut hasher = Sha256::new();
        for (name, part) in parts {
            for text in [name, part] {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
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
    /// The labels that an image with this fingerprint carries.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let short = |part: &String| part.chars().take(SHORT).collect::<String>();
        let parts: BTreeMap<_, _> =
            self.parts.iter().map(|(name, part)| (name, short(part))).collect();
        let parts = serde_json::to_string(&parts).expect("plain JSON");
        BTreeMap::from([
            (LABEL.to_owned(), self.fingerprint.to_string()),
            (PARTS_LABEL.to_owned(), parts),
        ])
    }

    /// The names of the parts that are not what the label `kept` of an image has, with those that
    /// only one of the two has; `None` where the label can't be read.
    pub fn changes_since(&self, kept: &str) -> Option<Vec<Change>> {
        let kept: Parts = serde_json::from_str(kept).ok()?;
        let short = |part: &str| part.chars().take(SHORT).collect::<String>();
        let now: Parts =
            self.parts.iter().map(|(name, part)| (name.clone(), short(part))).collect();
        Some(changes(&kept, &now))
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

/// The fingerprints of all images of a graph, made of what each has of its `own` and of what it
/// refers to; `external` tells what stands for an image from outside.
pub fn fingerprints(
    graph: &Graph,
    own: &BTreeMap<ImageName, Parts>,
    external: &dyn Fn(&ImageName, &ImageRef) -> String,
) -> Vec<Fingerprinted> {
    let mut found: BTreeMap<Index, Fingerprinted> = BTreeMap::new();
    for &index in graph.order() {
        let image = &graph.images()[index];
        let mut parts = own.get(&image.name).cloned().unwrap_or_default();
        for needed in graph.needs(index) {
            let needed_name = graph.images()[needed].name.as_str();
            let fingerprint = found[&needed].fingerprint.to_string();
            parts.insert(format!("image {needed_name}"), fingerprint);
        }
        for reference in graph.externals(index) {
            parts.insert(format!("base {reference}"), external(&image.name, reference));
        }
        let fingerprint = Fingerprint::of(&parts);
        found.insert(index, Fingerprinted { fingerprint, parts });
    }
    found.into_values().collect()
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
    use crate::graph::tests::graph;
    use proptest::prelude::*;

    const FAMILY: &[(&str, &str)] = &[
        ("base", "FROM debian:1"),
        ("mid", "FROM @base"),
        ("leaf", "FROM @mid\nCOPY --from=@tool / /"),
        ("tool", "FROM @base"),
        ("lone", "FROM other:1"),
    ];

    /// The fingerprints of the family by name, with this part of one image and this word for the
    /// external ones.
    fn of_family(name: &str, part: &str, debian: &str) -> BTreeMap<String, String> {
        let graph = graph(FAMILY).unwrap();
        let parts = Parts::from([("file x".to_owned(), part.to_owned())]);
        let own = BTreeMap::from([(ImageName::new(name), parts)]);
        let external = |_: &ImageName, reference: &ImageRef| match reference.repository() {
            "debian" => debian.to_owned(),
            other => other.to_owned(),
        };
        let found = fingerprints(&graph, &own, &external);
        let names = graph.images().iter().map(|image| image.name.to_string());
        names.zip(found.into_iter().map(|f| f.fingerprint.to_string())).collect()
    }

    fn changed(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<String> {
        one.keys().filter(|name| one[*name] != two[*name]).cloned().collect()
    }

    #[test]
    fn a_change_reaches_all_descendants_and_nobody_else() {
        let before = of_family("tool", "a", "sha256:1");
        assert_eq!(changed(&before, &of_family("tool", "a", "sha256:1")), Vec::<String>::new());
        assert_eq!(changed(&before, &of_family("tool", "b", "sha256:1")), ["leaf", "tool"]);
        let other_base = of_family("tool", "a", "sha256:2");
        assert_eq!(changed(&before, &other_base), ["base", "leaf", "mid", "tool"]);
    }

    #[test]
    fn parts_tell_what_changed() {
        let parts = |pairs: &[(&str, &str)]| -> Parts {
            pairs.iter().map(|(name, part)| (name.to_string(), part.to_string())).collect()
        };
        let before = parts(&[("Dockerfile", "1"), ("file a", "1"), ("file b", "1")]);
        let after = parts(&[("Dockerfile", "2"), ("file a", "1"), ("image base", "1")]);
        let shown: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["Dockerfile changed", "file b is gone", "image base is new"]);
        let long = "0123456789abcdef";
        let long_before = Fingerprinted {
            fingerprint: Fingerprint::of(&before),
            parts: parts(&[("Dockerfile", long)]),
        };
        let kept = &long_before.labels()[PARTS_LABEL];
        assert_eq!(long_before.changes_since(kept), Some(Vec::new()));
        assert_eq!(long_before.changes_since("{"), None);
        assert_eq!(long_before.labels()[LABEL].len(), 64);
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
