//! Checks the prose of the source code against STYLE.md, as far as a program can.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that no doc comment begins with.
const REFUSED: [&str; 13] = [
    "What", "How", "Whether", "Which", "Why", "Where", "Who", "It", "Its", "Those", "That", "By",
    "These",
];

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut all, mut refused) = (0, Vec::new());
    for path in sources(&root) {
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
