//! Readers of data from third parties, by name: for the fuzzers in `fuzz/`, and for the test that
//! replays the inputs that these have found.
//!
//! Each reader takes any bytes and checks the invariants of the result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::console::{Command, Json, Line, Listing};
use crate::diagnostic::{Diagnostics, Place};
use crate::dialect::yaml;
use crate::dockerfile;
use crate::git;
use crate::image::{ImageRef, SourceName};
use crate::registry;
use crate::settings::ini;
use crate::source;
use crate::template;
use crate::tree::{Language, Manifest};
use crate::visible;

/// Function that takes any bytes and panics if the result violates an invariant.
pub type Reader = fn(&[u8]);

/// All readers, by name.
pub const READERS: &[(&str, Reader)] = &[
    ("archive", archive),
    ("challenge", challenge),
    ("dockerfile", dockerfile_text),
    ("ini", ini_file),
    ("jinja", jinja),
    ("manifest", manifest),
    ("names", names),
    ("reference", reference),
    ("tera", tera),
    ("writer", writer),
    ("yaml", yaml_file),
];

/// Reads a configuration file.
pub fn ini_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ini::parse(text, "build.conf") {
        Ok(read) => {
            for entry in read.entries {
                assert_eq!(&text[entry.key_span], entry.key);
                assert!(text.get(entry.value_span).is_some());
            }
        }
        Err(errors) => check_places(&errors),
    }
}

/// Reads a Dockerfile.
pub fn dockerfile_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match dockerfile::parse(text, &dockerfile::ReadingInput::default()) {
        Ok(read) => {
            assert!(!read.stages.is_empty());
            assert!(read.references.iter().all(|found| text.get(found.span.clone()).is_some()));
            read.parent();
            assert!(read.needed_references().count() <= read.references.len());
            read.own_triggers().for_each(|trigger| drop(read.triggered(trigger)));
        }
        Err(error) => assert!(text.get(error.span).is_some()),
    }
    assert_eq!(dockerfile::insert(text, "", ""), text);
    dockerfile::insert(text, "RUN a", "RUN b");
}

/// Reads the reference of an image.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(read) = text.parse::<ImageRef>() {
        assert_eq!(read.to_string().parse().as_ref(), Ok(&read));
        assert!(read.name().len() <= 255);
        let is_safe = |part: &str| !part.starts_with(['.', '-']) && !part.is_empty();
        assert!(read.repository().split('/').all(is_safe));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.:_-@+[]".contains(c);
        assert!(text.chars().all(is_plain));
    }
}

/// Reads the header by which a registry asks for an authorization.
pub fn challenge(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for challenge in registry::challenges(text) {
        assert!(!challenge.scheme.is_empty() && challenge.scheme.is_ascii());
        let (names, values): (Vec<_>, Vec<_>) = challenge.parameters.into_iter().unzip();
        assert!(names.iter().all(|name| !name.is_empty() && name.is_ascii()));
        assert!(values.iter().map(String::len).sum::<usize>() <= text.len());
    }
}

/// Reads the manifest of a tree.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(errors) = Manifest::parse(text, "tree.toml") {
        check_places(&errors);
    }
}

/// Reads the name of a source and, after a NUL, a reference of git: each must be a single path
/// component. All bytes together are also read as a path in a commit.
pub fn names(bytes: &[u8]) {
    if let Ok(path) = git::usable_path(bytes) {
        assert!(path.is_relative() && path.components().count() > 0);
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        assert!(!path.iter().any(|part| part.eq_ignore_ascii_case(".git")));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (name, reference) = text.split_once('\0').unwrap_or((text, text));
    let is_one_step = |text: &str| {
        let mut parts = Path::new(text).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == text)
    };
    let is_shown =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() < 512;
    match SourceName::new(name) {
        Ok(name) => {
            assert!(is_one_step(name.as_str()) && is_shown(name.as_str()));
            assert!(name.as_str().starts_with(name.image()) && is_one_step(name.image()));
            let top = source::top_folder(&name, reference);
            assert!(is_one_step(&top) && is_shown(&top));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}

/// Reads a file of repositories.
pub fn yaml_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(read) = yaml::parse(text) {
        read.python_str();
    }
}

/// Renders a template in Jinja2; the text after a NUL is one that it may include, import or extend
/// as `other.j2`.
pub fn jinja(bytes: &[u8]) {
    template_text(Language::Jinja, "other.j2", bytes);
}

/// Renders a template in Tera; the text after a NUL is one that it may include or extend as
/// `other.tera`.
pub fn tera(bytes: &[u8]) {
    template_text(Language::Tera, "other.tera", bytes);
}

fn template_text(language: Language, other: &str, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (image, included) = text.split_once('\0').unwrap_or((text, ""));
    if let Err(errors) = template::rendered_alone(language, image, (other, included)) {
        check_places(&errors);
    }
}

/// Reads the archive of a plugin.
pub fn archive(bytes: &[u8]) {
    if let Ok(bundle) = source::bundled("plugins", bytes) {
        unpack(&bundle);
    }
}

/// Writes text to an output that people and a CI service read; a NUL separates its parts.
pub fn writer(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parts = || text.split('\0').map(str::to_owned);
    let line = |prefix: &str| {
        let line = Line::new(prefix.to_owned());
        parts().fold(line, |line, part| line.text(visible::without_colours(&part).into_owned()))
    };
    let prefix = "app | ";
    let said = line(prefix).rendered(true);
    assert!(said.split('\n').all(|line| line.starts_with(prefix)));
    check_shown(&said);
    let said = line("").rendered(true);
    assert!(!said.contains('\n'));
    check_shown(&said);
    let listing: Listing = parts().collect();
    let listed = listing.rendered(true);
    assert_eq!(listed.matches('\n').count(), parts().count());
    check_shown(&listed);
    let value: serde_json::Value = parts().collect();
    for json in [Json::indented(&value), Json::in_one_line(&value)] {
        check_shown(json.as_str());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(json.as_str()).ok().as_ref(),
            Some(&value)
        );
    }
    let command = Command::github("error", &[("title", &text)], &text).to_string();
    check_shown(command.strip_prefix("::").expect("a command"));
    assert!(!command.contains('\n'));
}

/// Asserts that a text has no control character but newlines and tabs, and no command of a CI
/// service at the start of a line or within one.
fn check_shown(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200b}', '\u{2028}']), "{text:?}");
    assert!(!["##[", "##vso[", "section_start:", "section_end:"].iter().any(|c| text.contains(c)));
    assert!(!text.split('\n').any(|line| line.trim_start().starts_with("::")), "{text:?}");
}

/// Asserts that every place of an error can be shown.
fn check_places(errors: &Diagnostics) {
    for Place { source, span, .. } in errors.0.iter().flat_map(|error| &error.places) {
        assert!(source.get(span.clone()).is_some());
    }
}

/// Unpacks a bundle without a disk, and follows every link: nothing may leave its folder.
fn unpack(bundle: &[u8]) {
    let (mut links, mut files) = (BTreeMap::new(), BTreeSet::new());
    for entry in tar::Archive::new(bundle).entries().expect("an archive") {
        let entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        assert!(path.starts_with("plugins") && path.to_str().is_some());
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        match entry.header().entry_type() {
            tar::EntryType::Symlink => {
                let link = entry.link_name().expect("a link").expect("a link").into_owned();
                assert!(links.insert(path, link).is_none());
            }
            tar::EntryType::Regular => assert!(files.insert(path)),
            kind => assert_eq!(kind, tar::EntryType::Directory),
        }
    }
    for path in links.keys().chain(&files) {
        assert!(resolved(path, &links, 0).is_none_or(|path| path.starts_with("plugins")));
    }
}

/// Returns the target of a path, with links resolved; `None` if there are too many links.
fn resolved(path: &Path, links: &BTreeMap<PathBuf, PathBuf>, depth: usize) -> Option<PathBuf> {
    const MOST_LINKS: usize = 40;
    if depth > MOST_LINKS {
        return None;
    }
    let mut at = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(at.pop(), "{} leads out", path.display()),
            Component::Normal(part) => {
                let here = at.clone();
                at.push(part);
                if let Some(link) = links.get(&at) {
                    assert!(link.is_relative());
                    at = resolved(&here.join(link), links, depth + 1)?;
                    assert!(at.starts_with("plugins"), "{} leads out", path.display());
                }
            }
            _ => {}
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::writer;
    use proptest::prelude::*;

    /// Parts of control sequences and commands, many combinations of which are harmful.
    const PIECES: [&str; 32] = [
        "#",
        "##",
        "[",
        "]",
        ":",
        "::",
        "section_",
        "start:",
        "end:",
        "vso",
        "error",
        " ",
        "\t",
        "\n",
        "\r",
        "\0",
        "\u{1b}",
        "\u{1b}[",
        "\u{1b}[0m",
        "\u{1b}[K",
        "m",
        "\u{7}",
        "\u{9b}",
        "\u{85}",
        "\u{2028}",
        "\u{200b}",
        "\u{200d}",
        "\u{fe0f}",
        "\u{202e}",
        "\u{a0}",
        "é",
        "a",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn pieces_in_any_order_are_only_read(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
        ) {
            writer(pieces.concat().as_bytes());
        }

        #[test]
        fn any_bytes_are_only_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            writer(&bytes);
        }
    }
}
