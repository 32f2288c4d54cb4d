//! Errors written for a person: they say what is wrong, where, and how to fix it.
//!
//! Every module that the run depends on returns them, so that one place (`cli::terminal`) prints
//! all of them in the same form. A diagnostic owns the text that its places point into: when it is
//! printed, the file may be gone, or may never have been on disk (an embedded tree).

use std::ops::Range;
use std::sync::Arc;

/// Part of a text file, shown with its line and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the file as the user knows it.
    pub path: String,
    /// Whole text of the file.
    pub source: Arc<str>,
    /// Range of the marked part, in bytes of `source`.
    pub span: Range<usize>,
    /// Few words shown beside the caret; may be empty.
    pub label: String,
}

impl Place {
    /// Returns the part of `source` in `span`, with an empty label. The span is extended to
    /// character boundaries and cut at the end of the text, since some parsers report wrong
    /// positions.
    pub fn new(path: impl Into<String>, source: impl Into<Arc<str>>, span: Range<usize>) -> Self {
        let source = source.into();
        let start = source.floor_char_boundary(span.start);
        let end = source.ceil_char_boundary(span.end).max(start);
        Self { path: path.into(), source, span: start..end, label: String::new() }
    }

    /// Returns the whole of line `line` (counted from 1), without its indentation.
    pub fn line(path: impl Into<String>, source: impl Into<Arc<str>>, line: usize) -> Self {
        let source = source.into();
        let span = line_span(&source, line);
        Self::new(path, source, span)
    }

    /// Returns the number of the line in which the part begins, counted from 1.
    pub fn line_number(&self) -> usize {
        1 + self.source[..self.span.start].matches('\n').count()
    }

    /// Sets the words beside the caret to `label`.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

/// Returns the byte range of line `line` (counted from 1) of `text`, without indentation and
/// trailing white space; an empty range at the end of the text if there is no such line.
fn line_span(text: &str, line: usize) -> Range<usize> {
    let mut start = 0;
    for (index, content) in text.split_inclusive('\n').enumerate() {
        if index + 1 == line {
            let trimmed = content.trim();
            let indent = content.len() - content.trim_start().len();
            let begin = start + if trimmed.is_empty() { 0 } else { indent };
            return begin..begin + trimmed.len();
        }
        start += content.len();
    }
    text.len()..text.len()
}

/// One error: a sentence, the places that it is about, notes and a cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Sentence that says what is wrong, in one line, without a full stop.
    pub message: String,
    /// Places of the error in files; the first one is the primary one.
    pub places: Vec<Place>,
    /// Further facts.
    pub notes: Vec<String>,
    /// Cure, printed as `help:`.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Creates an error with the message `message` and nothing else.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), places: Vec::new(), notes: Vec::new(), help: None }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// Adds a further fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the cure.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the cure to the entry of `known` that is most similar to `wrong`, or to a list of all
    /// entries if none is similar and there are at most 20. Otherwise changes nothing.
    #[must_use]
    pub fn suggest<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(wrong, &known) {
            Some(name) => self.help(format!("did you mean '{name}'?")),
            None if known.is_empty() => self,
            None if known.len() <= 20 => self.help(format!("known: {}", known.join(", "))),
            None => self,
        }
    }
}

/// One or more errors found together. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Returns the errors without duplicates, in their order.
    #[must_use]
    pub fn distinct(self) -> Self {
        let mut told: Vec<Diagnostic> = Vec::new();
        for error in self.0 {
            if !told.contains(&error) {
                told.push(error);
            }
        }
        Self(told)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

/// Result of everything that Kiln does before the run starts.
pub type Result<T> = std::result::Result<T, Diagnostics>;

/// Returns the values of all `results`, or all errors of the results that failed.
pub fn collect<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut errors = Vec::new();
    let mut keep = |found: Diagnostics| errors.extend(found.0);
    let values = results.into_iter().filter_map(|result| result.map_err(&mut keep).ok()).collect();
    if errors.is_empty() { Ok(values) } else { Err(Diagnostics(errors)) }
}

/// Returns the text of an error followed by those of its causes, separated by colons. A cause whose
/// text is contained already is left out.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Returns the entry of `known` that is most similar to `word` by Jaro-Winkler similarity. `None`
/// if no entry reaches a similarity of 0.8.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(word, name), *name))
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_always_in_its_text() {
        let table = [(0, 9, "aéb"), (2, 3, "é"), (9, 9, ""), (4, 1, "")];
        for (start, end, shown) in table {
            let place = Place::new("f", "aéb", start..end);
            assert_eq!(&place.source[place.span.clone()], shown, "{start}..{end}");
        }
    }

    #[test]
    fn nearest_finds_slips_of_the_finger_only() {
        let known = ["debian", "centos", "ubuntu"];
        assert_eq!(nearest("debain", &known), Some("debian"));
        assert_eq!(nearest("ubunut", &known), Some("ubuntu"));
        assert_eq!(nearest("windows", &known), None);
    }

    #[test]
    fn a_line_is_found_without_its_indentation() {
        let text = "first\n  second  \nlast";
        assert_eq!(&text[line_span(text, 1)], "first");
        assert_eq!(&text[line_span(text, 2)], "second");
        assert_eq!(&text[line_span(text, 3)], "last");
        assert_eq!(line_span(text, 9), text.len()..text.len());
        let numbers = [1, 2, 3].map(|line| Place::line("f", text, line).line_number());
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn collect_keeps_every_error() {
        let failed: Result<Vec<u8>> = collect([
            Err(Diagnostic::new("one").into()),
            Ok(1),
            Err(Diagnostic::new("two").into()),
        ]);
        let messages: Vec<_> = failed.unwrap_err().0.into_iter().map(|d| d.message).collect();
        assert_eq!(messages, ["one", "two"]);
    }
}
