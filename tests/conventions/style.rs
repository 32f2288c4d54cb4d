//! Checks the prose of the source code against STYLE.md, as far as a program can.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Words that no doc comment begins with.
const REFUSED: [&str; 13] = [
    "What", "How", "Whether", "Which", "Why", "Where", "Who", "It", "Its", "Those", "That", "By",
    "These",
];

/// Folders with source code.
const FOLDERS: [&str; 2] = ["src", "tests"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the first words of the doc comments in a text.
fn first_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut is_within = false;
    for line in text.lines() {
        let comment = line.trim_start();
        let comment = comment.strip_prefix("///").or_else(|| comment.strip_prefix("//!"));
        if let Some(comment) = comment.filter(|_| !is_within) {
            words.push(comment.split_whitespace().next().unwrap_or_default());
        }
        is_within = comment.is_some();
    }
    words
}

#[test]
fn doc_comments_begin_with_a_verb_or_a_noun() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut all, mut refused) = (0, Vec::new());
    for path in FOLDERS.iter().flat_map(|folder| sources(&root.join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        for word in first_words(&text) {
            all += 1;
            if REFUSED.contains(&word.trim_end_matches([',', '.', ':'])) {
                refused.push(format!("{}: {word} ...", path.display()));
            }
        }
    }
    assert!(all > 2000, "the comments were not found");
    assert!(refused.is_empty(), "STYLE.md refuses these beginnings of comments: {refused:#?}");
}

/// Words that no test is named with at its beginning: a name says which unit does what.
const REFUSED_IN_NAMES: &str = "what|who|whose|it|its|which|how|where|why|whether|those|these|that|this|there|\
     others|nobody|everybody";

/// Words that no name of a test ends with: they do not say what is expected.
const REFUSED_ENDINGS: &str = "(is|are)_told(_apart|_at_once)?|says?_so";

#[test]
fn tests_are_named_for_a_unit_and_an_expectation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name =
        Regex::new(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\n]*\]\s*)*(?:async )?fn ([a-z0-9_]+)")
            .unwrap();
    let refused = Regex::new(&format!("^({REFUSED_IN_NAMES})_|_({REFUSED_ENDINGS})$")).unwrap();
    let (mut all, mut found) = (0, Vec::new());
    for path in FOLDERS.iter().flat_map(|folder| sources(&root.join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        for name in name.captures_iter(&text).map(|name| name[1].to_owned()) {
            all += 1;
            if refused.is_match(&name) {
                found.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(all > 700, "the tests were not found");
    assert!(found.is_empty(), "STYLE.md refuses these names of tests: {found:#?}");
}
