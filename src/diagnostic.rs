//! Errors written for a person: what is wrong, where, and what to do about it.
//!
//! Every module left of the run returns these, so that one place (`cli::terminal`) prints all of
//! them alike. A diagnostic owns the text it points into: by the time it is printed, the file it
//! came from may be gone or may never have been on disk (an embedded tree).

use std::ops::Range;
use std::sync::Arc;

/// A part of a text file, shown with its line and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name as the user knows it.
    pub path: String,
    /// The whole text of the file.
    pub source: Arc<str>,
    /// The bytes of `source` that are meant.
    pub span: Range<usize>,
    /// A few words beside the caret; may be empty.
    pub label: String,
}

impl Place {
    /// The part of `source` in `span`, with no words beside the caret. What of the span is no text is
    /// left out of it: not every parser's places are right.
    pub fn new(path: impl Into<String>, source: impl Into<Arc<str>>, span: Range<usize>) -> Self {
        let source = source.into();
        let start = source.floor_char_boundary(span.start);
        let end = source.ceil_char_boundary(span.end).max(start);
        Self { path: path.into(), source, span: start..end, label: String::new() }
    }

    /// The whole of line `line` (counted from 1), without its indentation.
    pub fn line(path: impl Into<String>, source: impl Into<Arc<str>>, line: usize) -> Self {
        let source = source.into();
        let span = line_span(&source, line);
        Self::new(path, source, span)
    }

    /// The line that it begins in, counted from 1.
    pub fn line_number(&self) -> usize {
        1 + self.source[..self.span.start].matches('\n').count()
    }

    /// Puts `label` beside the caret.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

/// The bytes of line `line` (counted from 1) of `text`, less indentation and trailing space.
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

/// One error: a sentence, the places it speaks of, and the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one line, without a full stop.
    pub message: String,
    /// Where; the first place is the primary one.
    pub places: Vec<Place>,
    /// Further facts.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), places: Vec::new(), notes: Vec::new(), help: None }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the entry of `known` that `wrong` was probably meant to be, or lists all of them.
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
    /// The same, each told once.
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

/// What the deciding half of Kiln returns.
pub type Result<T> = std::result::Result<T, Diagnostics>;

/// Collects what all `results` yield, or all errors of those that failed.
pub fn collect<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut errors = Vec::new();
    let mut keep = |found: Diagnostics| errors.extend(found.0);
    let values = results.into_iter().filter_map(|result| result.map_err(&mut keep).ok()).collect();
    if errors.is_empty() { Ok(values) } else { Err(Diagnostics(errors)) }
}

/// An error with all that is behind it, each thing said once.
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

/// The entry of `known` that is spelled most like `word`, if one is alike enough to be meant.
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
