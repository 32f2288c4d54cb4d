//! Reads INI files by the rules of oslo.config, which kolla-build's files are written for.
//!
//! Sections, `key = value` or `key: value`, continuation lines that begin with white space,
//! comments only at the start of a line, one pair of quotes around a value, and repeated keys.
//! No crate on crates.io keeps the continuation and quoting rules and tells line numbers, so this
//! is written by hand. Keys and values are kept with their place, for messages.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Place, Result};

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The section it stands in.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value; continuation lines are joined by line feeds.
    pub value: String,
    /// The bytes of the file that the key takes.
    pub key_span: Range<usize>,
    /// The bytes of the file that the value's first line takes.
    pub value_span: Range<usize>,
}

/// A section's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name between the brackets.
    pub name: String,
    /// The bytes of the file that the name takes.
    pub span: Range<usize>,
}

/// What a file says, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    /// All sections.
    pub sections: Vec<Section>,
    /// All entries.
    pub entries: Vec<Entry>,
}

/// Reads the text of the file called `path`.
///
/// # Errors
/// At the first line that is neither a section, an entry, a continuation nor a comment.
pub fn parse(text: &str, path: &str) -> Result<Ini> {
    let mut ini = Ini::default();
    let mut open = false;
    let mut position = 0;
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        let start = position;
        position += whole.len();
        let line = whole.trim_end();
        let refuse = |message: &str, help: &str| {
            Err(Diagnostic::new(message).at(Place::line(path, text, index + 1)).help(help).into())
        };
        if line.is_empty() {
            open = false;
        } else if line.starts_with([' ', '\t']) {
            match ini.entries.last_mut() {
                Some(entry) if open => {
                    entry.value.push('\n');
                    entry.value.push_str(line.trim());
                }
                _ => {
                    return refuse(
                        "this line continues nothing",
                        "a key begins in the first column",
                    );
                }
            }
        } else if line.starts_with(['#', ';']) {
        } else if let Some(rest) = line.strip_prefix('[') {
            let Some(name) = rest.strip_suffix(']') else {
                return refuse("the section's name is not closed", "write it as [name]");
            };
            let span = start + 1..start + 1 + name.len();
            ini.sections.push(Section { name: name.to_owned(), span });
            open = false;
        } else {
            let Some(at) = line.find(['=', ':']) else {
                return refuse("this line has no '='", "write key = value");
            };
            let Some(section) = ini.sections.last() else {
                return refuse(
                    "this key stands before any section",
                    "begin the file with [DEFAULT]",
                );
            };
            let key = line[..at].trim();
            if key.is_empty() {
                return refuse("this line has no key", "write key = value");
            }
            let value = line[at + 1..].trim();
            let value_start =
                start + at + 1 + (line[at + 1..].len() - line[at + 1..].trim_start().len());
            ini.entries.push(Entry {
                section: section.name.clone(),
                key: key.to_owned(),
                value: unquote(value).to_owned(),
                key_span: start..start + key.len(),
                value_span: value_start..value_start + value.len(),
            });
            open = true;
        }
    }
    Ok(ini)
}

/// Takes one pair of like quotes from around a value.
fn unquote(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String, String)> {
        let ini = parse(text, "f").unwrap_or_else(|e| panic!("{text}: {e:?}"));
        for entry in &ini.entries {
            assert_eq!(&text[entry.key_span.clone()], entry.key);
            assert!(
                text[entry.value_span.clone()].contains(entry.value.lines().next().unwrap_or(""))
            );
        }
        ini.entries.into_iter().map(|e| (e.section, e.key, e.value)).collect()
    }

    #[test]
    fn entries_are_read_by_the_rules() {
        let entry =
            |key: &str, value: &str| ("DEFAULT".to_owned(), key.to_owned(), value.to_owned());
        let table = [
            ("a = b", entry("a", "b")),
            ("a: b = c", entry("a", "b = c")),
            ("a = b: c", entry("a", "b: c")),
            ("a=", entry("a", "")),
            ("a = \"b \"", entry("a", "b ")),
            ("a = 'b\"", entry("a", "'b\"")),
            ("a = b # no comment", entry("a", "b # no comment")),
            ("a = b,\n  c,\n\td", entry("a", "b,\nc,\nd")),
            ("a = b\n  # part of the value", entry("a", "b\n# part of the value")),
            ("# comment\n; comment\na = b\r\n", entry("a", "b")),
            ("two words = b", entry("two words", "b")),
        ];
        for (text, expected) in table {
            assert_eq!(values(&format!("[DEFAULT]\n{text}")), [expected], "{text}");
        }
    }

    #[test]
    fn repeated_keys_and_sections_are_kept_in_order() {
        let found = values("[s]\na = 1\na = 2\n[t]\nb = 3\n[s]\nc = 4\n");
        let found: Vec<_> = found.iter().map(|(s, k, v)| format!("{s}.{k}={v}")).collect();
        assert_eq!(found, ["s.a=1", "s.a=2", "t.b=3", "s.c=4"]);
    }

    #[test]
    fn wrong_lines_are_shown() {
        let table = [
            ("a = b", "before any section", "a = b"),
            ("[s]\n  a = b", "continues nothing", "a = b"),
            ("[s]\na = b\n\n  c", "continues nothing", "c"),
            ("[s\na = b", "not closed", "[s"),
            ("[s]\nword", "no '='", "word"),
            ("[s]\n= v", "no key", "= v"),
        ];
        for (text, message, place) in table {
            let error = parse(text, "f").unwrap_err().0.remove(0);
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert_eq!(&text[error.places[0].span.clone()], place, "{text}");
        }
    }
}
