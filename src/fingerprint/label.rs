//! Label in which an image stores its fingerprint and short forms of its parts.
//!
//! An image may have any number of parts, while some engines accept at most 4096 bytes for a label,
//! and the labels of a build are sent in a URL. So parts are listed one by one while there is room,
//! and otherwise in groups, by folder: the digest of a group still shows where something changed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::input_digest::{Change, FingerprintedParts, KINDS, Parts, changes, hash_parts, hex};

/// Key of the label. There is only one label, since the classic builder makes a step of each.
pub const LABEL: &str = "kiln.fingerprint";

/// Largest size of the label, key and value together, in bytes.
pub const LARGEST_LABEL: usize = 4000;

/// Number of hexadecimal digits that are kept of a part's digest: enough to tell two versions
/// apart.
const SHORT: usize = 12;

/// Longest name of a part or group that the label lists, in bytes.
const LONGEST_NAME: usize = 256;

/// Version of the label's format. The first format had no number, only a map of all parts.
const FORM: u32 = 2;

/// Parts in the format of the label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Folded {
    form: u32,
    /// Short digests of the parts that are listed by name.
    parts: Parts,
    /// Digests of groups of all other parts. A part belongs to the group with the longest matching
    /// prefix.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    groups: Parts,
}

impl FingerprintedParts {
    /// Returns the value of the label for an image with this fingerprint. Key and value take at
    /// most [`LARGEST_LABEL`] bytes.
    pub fn label(&self) -> String {
        let start = format!("{} ", self.fingerprint);
        let room = LARGEST_LABEL - LABEL.len() - start.len();
        let folded = Shape::within(room, &self.parts).fold(&self.parts);
        start + &serde_json::to_string(&folded).expect("plain JSON")
    }

    /// Returns the changes since the image with this `label` was built; `None` if the label can't
    /// be parsed.
    pub fn changes_since(&self, label: &str) -> Option<Vec<Change>> {
        let (_, text) = label.split_once(' ')?;
        if let Ok(before) = serde_json::from_str::<Parts>(text) {
            return Some(changes(&before, &shortened(&self.parts)));
        }
        let before: Folded =
            serde_json::from_str(text).ok().filter(|it: &Folded| it.form == FORM)?;
        let now = Shape::of(&before).fold(&self.parts);
        let mut found = changes(&before.parts, &now.parts);
        let in_groups = changes(&before.groups, &now.groups).into_iter();
        found.extend(in_groups.map(|change| change.renamed(group_name)));
        Some(found)
    }
}

/// Returns the fingerprint in the value of a label.
pub fn in_label(label: &str) -> &str {
    label.split_once(' ').map_or(label, |(fingerprint, _)| fingerprint)
}

/// Returns true if the image with this label was tagged only after its layers were checked to start
/// with the layers of its parent. Versions of Kiln without that check wrote labels in the first
/// format.
pub fn is_verified(label: &str) -> bool {
    let text = label.split_once(' ').map(|(_, text)| text);
    let folded: Option<Folded> = text.and_then(|text| serde_json::from_str(text).ok());
    folded.is_some_and(|folded| folded.form == FORM)
}

fn shortened(parts: &Parts) -> Parts {
    parts.iter().map(|(name, part)| (name.clone(), short(part))).collect()
}

fn short(part: &str) -> String {
    part.chars().take(SHORT).collect()
}

/// Returns the display name of a group, by the prefix that the names of its parts share.
fn group_name(beginning: &str) -> String {
    if beginning.is_empty() {
        return "other inputs".to_owned();
    }
    let Some((kind, plural)) = KINDS.iter().find(|(kind, _)| beginning.starts_with(kind)) else {
        return format!("inputs that begin with '{beginning}'");
    };
    match beginning[kind.len()..].trim_end_matches('/') {
        "" => (*plural).to_owned(),
        folder => format!("{plural} below {folder}"),
    }
}

/// Names of the parts and prefixes of the groups that a label lists.
struct Shape<'a> {
    parts: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
}

impl<'a> Shape<'a> {
    fn of(folded: &'a Folded) -> Self {
        let names = |parts: &'a Parts| parts.keys().map(String::as_str).collect();
        Self { parts: names(&folded.parts), groups: names(&folded.groups) }
    }

    /// Returns the finest shape for `parts` that takes at most `room` bytes as JSON. Starts with
    /// one group of all parts, and splits groups in the order of the bytes that this adds, fewest
    /// first.
    fn within(room: usize, parts: &'a Parts) -> Self {
        let parts: Vec<Part<'_>> =
            parts.iter().map(|(name, part)| (name.as_str(), part.as_str())).collect();
        let empty = Folded { form: FORM, ..Folded::default() };
        let frame =
            serde_json::to_string(&empty).expect("plain JSON").len() + r#","groups":{}"#.len();
        let mut shape = Self { parts: BTreeSet::new(), groups: BTreeSet::from([""]) };
        let mut left = room - frame - entry_size("", SHORT);
        let mut open = BinaryHeap::from([Reverse(Split::of("", &parts))]);
        while let Some(Reverse(split)) = open.pop() {
            // The heap returns the split that adds least, so no other one fits either.
            if split.adds > left {
                break;
            }
            left -= split.adds;
            if split.is_whole {
                left += entry_size(split.beginning, SHORT);
                shape.groups.remove(split.beginning);
            }
            shape.parts.extend(split.parts.iter().map(|(name, _)| name));
            for (beginning, members) in split.groups {
                shape.groups.insert(beginning);
                open.push(Reverse(Split::of(beginning, members)));
            }
        }
        shape
    }

    /// Returns `parts` in the format of a label of this shape. Parts that belong to no group are
    /// listed.
    fn fold(&self, parts: &Parts) -> Folded {
        let mut folded = Folded { form: FORM, ..Folded::default() };
        let mut groups: BTreeMap<&str, Sha256> = BTreeMap::new();
        for (name, part) in parts {
            match self.group_of(name) {
                Some(group) => hash_parts(groups.entry(group).or_default(), [(name, part)]),
                None => drop(folded.parts.insert(name.clone(), short(part))),
            }
        }
        let digests = groups
            .into_iter()
            .map(|(group, hasher)| (group.to_owned(), short(&hex(&hasher.finalize()))));
        folded.groups = digests.collect();
        folded
    }

    /// Returns the group of a part; `None` if the part is listed by name or has no group.
    fn group_of(&self, name: &str) -> Option<&'a str> {
        if self.parts.contains(name) {
            return None;
        }
        let beginnings = std::iter::successors(Some(name), |longer| parent_of(longer));
        beginnings.skip(1).find_map(|beginning| self.groups.get(beginning).copied())
    }
}

/// Name and value of a part.
type Part<'a> = (&'a str, &'a str);

/// Split of a group into listed parts and smaller groups.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Split<'m, 'a> {
    /// Number of bytes that the split adds to the label.
    adds: usize,
    beginning: &'a str,
    /// True if no part is left in the group.
    is_whole: bool,
    parts: Vec<Part<'a>>,
    groups: Vec<(&'a str, &'m [Part<'a>])>,
}

impl<'m, 'a> Split<'m, 'a> {
    /// Splits the group of these sorted `members` by their next folder. Parts and groups whose
    /// names would be too long stay in the group.
    fn of(beginning: &'a str, members: &'m [Part<'a>]) -> Self {
        let (mut parts, mut groups, mut adds, mut is_whole) = (Vec::new(), Vec::new(), 0, true);
        let next = |(name, _): &Part<'a>| next_beginning(name, beginning);
        for alike in members.chunk_by(|a, b| next(a).is_some() && next(a) == next(b)) {
            let (name, part) = alike[0];
            if let [_] = alike {
                if name.len() <= LONGEST_NAME {
                    adds += entry_size(name, short(part).len());
                    parts.push((name, part));
                } else {
                    is_whole = false;
                }
                continue;
            }
            let last = alike[alike.len() - 1].0;
            match common_beginning(name, last).filter(|common| common.len() > beginning.len()) {
                Some(common) => {
                    adds += entry_size(common, SHORT);
                    groups.push((common, alike));
                }
                None => is_whole = false,
            }
        }
        Self { adds, beginning, is_whole, parts, groups }
    }
}

/// Returns the number of bytes of an entry in JSON, whose value has `value` plain characters.
fn entry_size(name: &str, value: usize) -> usize {
    let name = serde_json::to_string(name).expect("plain JSON");
    name.len() + r#":"","#.len() + value
}

/// Returns the longest prefix that two names share and that is allowed as a group; `None` if all
/// such prefixes are too long.
fn common_beginning<'a>(one: &'a str, other: &str) -> Option<&'a str> {
    let beginnings = std::iter::successors(Some(one), |longer| parent_of(longer)).skip(1);
    let mut shared = beginnings.filter(|beginning| other.starts_with(beginning));
    shared.find(|beginning| beginning.len() <= LONGEST_NAME)
}

/// Returns the prefix of `name` that is one step longer than `beginning`: the kind of the part, or
/// one more folder.
fn next_beginning<'a>(name: &'a str, beginning: &str) -> Option<&'a str> {
    if beginning.is_empty() {
        return kind_of(name);
    }
    let end = name[beginning.len()..].find('/')?;
    Some(&name[..=beginning.len() + end])
}

/// Returns the longest proper prefix of a name or of a prefix: the text without its last step.
fn parent_of(text: &str) -> Option<&str> {
    let kind = kind_of(text).filter(|kind| kind.len() < text.len()).unwrap_or_default();
    let inner = text.strip_suffix('/').unwrap_or(text);
    match inner.get(kind.len()..).and_then(|path| path.rfind('/')) {
        Some(end) => Some(&text[..=kind.len() + end]),
        None => (!text.is_empty()).then_some(&text[..kind.len()]),
    }
}

fn kind_of(name: &str) -> Option<&str> {
    let (kind, _) = KINDS.iter().find(|(kind, _)| name.starts_with(kind))?;
    Some(&name[..kind.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(named: impl IntoIterator<Item = (String, String)>) -> Parts {
        named
            .into_iter()
            .map(|(name, part)| (name, crate::fingerprint::digest(part.as_bytes())))
            .collect()
    }

    /// Returns the parts of an image with these files, and with one part of most other kinds.
    fn image(files: impl IntoIterator<Item = (String, String)>) -> Parts {
        let files = files.into_iter().map(|(path, text)| (format!("file {path}"), text));
        let others = ["Dockerfile", "image base", "base debian:bookworm", "build argument X"];
        parts(files.chain(others.map(|name| (name.to_owned(), "1".to_owned()))))
    }

    fn told(before: &Parts, after: &Parts) -> Vec<String> {
        let label = FingerprintedParts::of(before.clone()).label();
        let size = LABEL.len() + label.len();
        assert!(size <= LARGEST_LABEL, "{size}");
        assert_eq!(in_label(&label), FingerprintedParts::of(before.clone()).fingerprint.as_str());
        let changes = FingerprintedParts::of(after.clone()).changes_since(&label).unwrap();
        changes.iter().map(ToString::to_string).collect()
    }

    fn modules(files: usize) -> Vec<(String, String)> {
        let path = |n| format!("many/node_modules/some-package-{}/lib/file-{n}.js", n / 50);
        (0..files).map(|n| (path(n), "x".to_owned())).collect()
    }

    #[test]
    fn few_parts_are_named_one_by_one() {
        let before = image([("a/b".to_owned(), "1".to_owned()), ("c".to_owned(), "1".to_owned())]);
        let label = FingerprintedParts::of(before.clone()).label();
        let (fingerprint, parts) = label.split_once(' ').unwrap();
        assert_eq!(fingerprint, FingerprintedParts::of(before.clone()).fingerprint.as_str());
        assert_eq!(
            parts,
            r#"{"form":2,"parts":{"Dockerfile":"6b86b273ff34","base debian:bookworm":"6b86b273ff34","build argument X":"6b86b273ff34","file a/b":"6b86b273ff34","file c":"6b86b273ff34","image base":"6b86b273ff34"}}"#
        );
        let mut after = before.clone();
        after.remove("file c");
        after.insert("file a/b".to_owned(), "2".to_owned());
        after.insert("file a/c".to_owned(), "2".to_owned());
        assert_eq!(told(&before, &after), ["file a/b changed", "file a/c added", "file c removed"]);
        assert_eq!(told(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn many_changed_files_are_summed_up_by_folder() {
        for count in [700, 5000] {
            let before = image(modules(count));
            let mut after = before.clone();
            after.insert("Dockerfile".to_owned(), "2".to_owned());
            after.insert("file new".to_owned(), "2".to_owned());
            assert_eq!(told(&before, &after), ["Dockerfile changed", "file new added"]);
            let file = "file many/node_modules/some-package-3/lib/file-151.js";
            let folder = match count {
                700 => "many/node_modules/some-package-3/lib",
                _ => "many/node_modules",
            };
            for part in [Some("2".to_owned()), None] {
                let mut after = before.clone();
                match part {
                    Some(part) => drop(after.insert(file.to_owned(), part)),
                    None => drop(after.remove(file)),
                }
                assert_eq!(told(&before, &after), [format!("files below {folder} changed")]);
            }
        }
    }

    #[test]
    fn a_hundred_thousand_files_fit() {
        let before = image(modules(100_000));
        let mut after = before.clone();
        after.remove("file many/node_modules/some-package-3/lib/file-151.js");
        assert_eq!(told(&before, &after), ["files below many/node_modules changed"]);
    }

    #[test]
    fn parts_of_every_kind_may_be_many() {
        let kinds = [
            ("build argument ARGUMENT-", "build arguments changed"),
            ("image some-image-", "images changed"),
            (
                "base registry.example/some/base:",
                "external images below registry.example/some changed",
            ),
            ("source app-plugin-", "sources changed"),
            ("file ", "files changed"),
            ("neither-", "other inputs changed"),
        ];
        for (kind, expected) in kinds {
            let named = |n: usize| (format!("{kind}{n:05}"), "1".to_owned());
            let before = parts((0..3000).map(named));
            let mut after = before.clone();
            after.insert(format!("{kind}00007"), "2".to_owned());
            assert_eq!(told(&before, &after), [expected]);
        }
    }

    #[test]
    fn long_names_and_deep_folders_stay_within_the_label() {
        let deep = |n: usize| (format!("{}{n}", "d/".repeat(n * 40)), "1".to_owned());
        let long = |n: usize| (format!("{}/{n}", "n".repeat(n * 300)), "1".to_owned());
        let quoted = |n: usize| (format!("\u{1}\"\\\n{n}/{}", "\u{2}".repeat(200)), "1".to_owned());
        let table: [&dyn Fn(usize) -> (String, String); 3] = [&deep, &long, &quoted];
        for named in table {
            let before = image((0..60).map(named));
            let mut after = before.clone();
            after.insert("image base".to_owned(), "2".to_owned());
            assert_eq!(told(&before, &after), ["image base changed"]);
            let (path, _) = named(59);
            after.insert(format!("file {path}"), "2".to_owned());
            assert_eq!(told(&before, &after).len(), 2);
        }
    }

    #[test]
    fn emptied_group_is_reported_as_removed() {
        let before = image(modules(5000));
        assert_eq!(told(&before, &image([])), ["files below many/node_modules removed"]);
    }

    #[test]
    fn labels_of_the_first_form_are_read() {
        let before = image([("a".to_owned(), "1".to_owned())]);
        let printed = FingerprintedParts::of(before.clone());
        let parts = serde_json::to_string(&shortened(&before)).unwrap();
        let label = format!("{} {parts}", printed.fingerprint);
        assert_eq!(in_label(&label), printed.fingerprint.as_str());
        assert_eq!(printed.changes_since(&label), Some(Vec::new()));
        let other = FingerprintedParts::of(image([("b".to_owned(), "1".to_owned())]));
        let changes: Vec<_> =
            other.changes_since(&label).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["file a removed", "file b added"]);
        assert!(!is_verified(&label) && is_verified(&printed.label()));
    }

    #[test]
    fn invalid_label_has_no_inputs() {
        let printed = FingerprintedParts::of(Parts::new());
        for label in ["", "x", "x y", "x {}x", "x []", r#"x {"form":3,"parts":{}}"#, r#"x {"a":1}"#]
        {
            assert_eq!(printed.changes_since(label), None, "{label}");
            assert!(!is_verified(label), "{label}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// No label is too long, each depends only on the parts, and every change is shown.
        #[test]
        fn every_change_is_reported(
            names in prop::collection::btree_set("(file|build argument|image|base|x)[ab/ ]{0,6}", 0..60),
            copies in 1usize..60,
            changed in any::<prop::sample::Index>(),
            removed in any::<bool>(),
        ) {
            let named = names.iter().flat_map(|name| {
                (0..copies).map(move |n| (format!("{name}/{n}"), "1".to_owned()))
            });
            let before = parts(named);
            prop_assert_eq!(told(&before, &before), Vec::<String>::new());
            if before.is_empty() {
                return Ok(());
            }
            let name = changed.get(&before.keys().cloned().collect::<Vec<_>>()).clone();
            let mut after = before.clone();
            match removed {
                true => drop(after.remove(&name)),
                false => drop(after.insert(name.clone(), "2".to_owned())),
            }
            prop_assert_eq!(told(&before, &after).len(), 1);
            prop_assert!(!told(&after, &before).is_empty());
        }
    }
}
