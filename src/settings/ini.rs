//! Parser of INI files by the rules of oslo.config, the format of kolla-build's files.
//!
//! The format has sections, `key = value` or `key: value`, continuation lines that begin with white
//! space, comments only at the start of a line, one pair of quotes around a value, and repeated
//! keys. No crate on crates.io implements these continuation and quoting rules and returns line
//! numbers, so the parser is written by hand. Keys and values keep their place, for messages.
//!
//! `tests/oslo` compares it with oslo.config itself.

use std::ops::Range;

use super::convert::{is_space, strip};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the section that contains it.
    pub section: String,
    /// Key without surrounding white space.
    pub key: String,
    /// Value; continuation lines are joined by line feeds.
    pub value: String,
    /// Range of the key in the file, in bytes.
    pub key_span: Range<usize>,
    /// Range of the first line of the value in the file, in bytes.
    pub value_span: Range<usize>,
}

/// Header of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Name between the brackets.
    pub name: String,
    /// Range of the name in the file, in bytes.
    pub span: Range<usize>,
}

/// Content of a file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    /// All sections.
    pub sections: Vec<Section>,
    /// All entries.
    pub entries: Vec<Entry>,
}

/// Parses the text of the file called `path`.
///
/// # Errors
/// At the first line that is neither a section, an entry, a continuation nor a comment.
pub fn parse(text: &str, path: &str) -> Result<Ini> {
    let mut reader = Reader { text, path, ini: Ini::default(), open: false };
    for (start, line) in lines(text) {
        reader.line(start, line.trim_end_matches(is_space))?;
    }
    Ok(reader.ini)
}

/// Returns the lines of a text with their offsets, without line ends: a line feed, a carriage
/// return, or both.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        next = start + end + if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        Some((start, &rest[..end]))
    })
}

/// Parser state.
struct Reader<'a> {
    text: &'a str,
    path: &'a str,
    ini: Ini,
    /// True if the last value may be continued.
    open: bool,
}

impl Reader<'_> {
    /// Parses a line that begins at offset `start` and has no trailing white space.
    fn line(&mut self, start: usize, line: &str) -> Result<()> {
        if line.starts_with([' ', '\t']) {
            return self.continuation(start, line);
        }
        self.open = false;
        if line.is_empty() || line.starts_with(['#', ';']) {
            Ok(())
        } else if line.starts_with('[') {
            self.section(start, line)
        } else {
            self.open = true;
            self.entry(start, line)
        }
    }

    fn continuation(&mut self, start: usize, line: &str) -> Result<()> {
        match self.ini.entries.last_mut() {
            Some(entry) if self.open => {
                entry.value.push('\n');
                entry.value.push_str(strip(line));
                Ok(())
            }
            _ => Err(self.refuse(
                start,
                line,
                "this line is indented, but there is no value to continue",
                "start keys in the first column",
            )),
        }
    }

    fn section(&mut self, start: usize, line: &str) -> Result<()> {
        let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let problem = match name {
            Some("") => "this section has no name",
            Some(name) => {
                let span = start + 1..start + 1 + name.len();
                self.ini.sections.push(Section { name: name.to_owned(), span });
                return Ok(());
            }
            None => "the section's name is not closed",
        };
        Err(self.refuse(start, line, problem, "write it as [name]"))
    }

    fn entry(&mut self, start: usize, line: &str) -> Result<()> {
        if line.starts_with('\u{feff}') && start == 0 {
            let message = "the file begins with a byte order mark";
            return Err(self.refuse(start, line, message, "save it as UTF-8 without one"));
        }
        let Some(at) = line.find(['=', ':']) else {
            return Err(self.refuse(start, line, "this line has no '='", "write key = value"));
        };
        let Some(section) = self.ini.sections.last() else {
            let message = "this key is before the first section";
            return Err(self.refuse(start, line, message, "begin the file with [DEFAULT]"));
        };
        let (key, value) = (&line[..at], &line[at + 1..]);
        if strip(key).is_empty() {
            return Err(self.refuse(start, line, "this line has no key", "write key = value"));
        }
        self.ini.entries.push(Entry {
            section: section.name.clone(),
            key: strip(key).to_owned(),
            value: unquote(strip(value)).to_owned(),
            key_span: inner(start, key),
            value_span: inner(start + at + 1, value),
        });
        Ok(())
    }

    fn refuse(&self, start: usize, line: &str, message: &str, help: &str) -> Diagnostics {
        let place = Place::new(self.path, self.text, inner(start, line));
        Diagnostic::new(message).at(place).help(help).into()
    }
}

/// Returns the byte range of a part at offset `start`, without the white space around it.
fn inner(start: usize, part: &str) -> Range<usize> {
    let begin = start + part.len() - part.trim_start_matches(is_space).len();
    begin..begin + strip(part).len()
}

/// Removes one pair of equal quotes around a value. A single quote character counts as a pair.
fn unquote(value: &str) -> &str {
    match (value.chars().next(), value.chars().next_back()) {
        (Some(first @ ('"' | '\'')), Some(last)) if first == last => {
            value.get(1..value.len() - 1).unwrap_or_default()
        }
        _ => value,
    }
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
            ("a = \"", entry("a", "")),
            ("\u{a0}a =\u{1f} b \u{a0}", entry("a", "b")),
            ("a = b\r  c\r\n\td", entry("a", "b\nc\nd")),
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
            ("a = b", "before the first section", "a = b"),
            ("[s]\n  a = b", "no value to continue", "a = b"),
            ("[s]\na = b\n\n  c", "no value to continue", "c"),
            ("[s]\na = b\n# d\n  c", "no value to continue", "c"),
            ("[s]\na = b\r\r\n  c\r\n", "no value to continue", "c"),
            ("[]\na = b", "no name", "[]"),
            ("\u{feff}[s]\r\na = b", "byte order mark", "\u{feff}[s]"),
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
