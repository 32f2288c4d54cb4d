//! Splits a Dockerfile into instructions as BuildKit's parser does
//! (`frontend/dockerfile/parser`): continued lines, comments and blank lines in them, here-documents.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use super::directives::Directives;
use super::documents::documents;
use super::here_document::{HereDocument, Opening};
use super::instruction::Instruction;
use super::logical_line::{BLANKS, Logical, Piece};
use super::parse_error::ParseError;

/// Instructions of a file, and the first reason to refuse it.
pub(super) struct Reading<'a> {
    pub(super) instructions: Vec<Instruction<'a>>,
    pub(super) error: Option<ParseError>,
    /// Escape character of the file.
    pub(super) escape: char,
    /// Frontend that `# syntax=` names.
    pub(super) syntax: Option<String>,
}

/// Splits a Dockerfile into instructions, without comments.
pub fn instructions(text: &str) -> Vec<Instruction<'_>> {
    read(text).instructions
}

/// Returns the frontend that the directive `# syntax=` of a Dockerfile names; `None` if there is no
/// such directive.
pub fn syntax(text: &str) -> Option<String> {
    read(text).syntax
}

/// Returns the line, from 1, of the instruction that an engine prints as `instruction`; `None` if
/// no instruction begins like it. Engines join continued lines and may substitute variables.
pub fn line_of(text: &str, instruction: &str) -> Option<usize> {
    let wanted: Vec<&str> = instruction.split_whitespace().collect();
    let alike = |instruction: &Instruction<'_>| {
        let line = instruction.line();
        let words = || line.text.split_whitespace();
        let same =
            words().zip(&wanted).take_while(|(word, wanted)| word.eq_ignore_ascii_case(wanted));
        // Of two with the same beginning, the one with the nearest number of words matches.
        (same.count(), Reverse(words().count().abs_diff(wanted.len())))
    };
    let instructions = instructions(text);
    let (nearest, (same, _)) = instructions
        .iter()
        .map(|instruction| (instruction, alike(instruction)))
        .rev()
        .max_by_key(|(_, alike)| *alike)?;
    let is_it = same > 1 || same == wanted.len() && same > 0;
    is_it.then(|| text[..nearest.keyword_span().start].matches('\n').count() + 1)
}

/// Splits a Dockerfile into instructions. After an error it goes on, for readers that list what is
/// there.
pub(super) fn read(text: &str) -> Reading<'_> {
    let mut reader = LineReader {
        text,
        position: text.strip_prefix('\u{feff}').map_or(0, |rest| text.len() - rest.len()),
        directives: Directives::new(),
        have_ends: true,
        error: None,
    };
    let mut instructions = Vec::new();
    while let Some(line) = reader.next_line() {
        instructions.extend(reader.instruction(line));
    }
    let Directives { escape, syntax, .. } = reader.directives;
    Reading { instructions, error: reader.error, escape, syntax }
}

struct LineReader<'a> {
    text: &'a str,
    position: usize,
    directives: Directives,
    /// True if all here-documents so far have an end.
    have_ends: bool,
    error: Option<ParseError>,
}

impl<'a> LineReader<'a> {
    /// Returns the next line without its end.
    fn next_line(&mut self) -> Option<Piece<'a>> {
        let rest = &self.text[self.position..];
        let line = rest.split_inclusive('\n').next()?;
        let start = self.position;
        self.position += line.len();
        Some(Piece { text: line.trim_end_matches(['\n', '\r']), start })
    }

    /// Reads the instruction that begins in `first`; `None` for a comment or a blank line.
    fn instruction(&mut self, first: Piece<'a>) -> Option<Instruction<'a>> {
        let start = first.start;
        let text = first.text.trim_start();
        let mut line = Piece { text, start: start + first.text.len() - text.len() };
        if let Err(message) = self.directives.read_line(text) {
            self.refuse(message, line.start..line.start + text.len());
        }
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let escape = self.directives.escape;
        let mut pieces = Vec::with_capacity(1);
        let is_open = loop {
            let continued = without_continuation(line.text, escape);
            pieces.push(Piece { text: continued.unwrap_or(line.text), ..line });
            if continued.is_none() {
                break false;
            }
            match self.next_content() {
                Some(next) => line = next,
                None => break true,
            }
        };
        let lines = start..self.position;
        let keyword = keyword(&pieces);
        let documents = Vec::new();
        let mut instruction = Instruction { keyword, lines, pieces, escape, documents, is_open };
        self.read_documents(&mut instruction);
        Some(instruction)
    }

    /// Returns the next line within an instruction that is neither blank nor a comment.
    fn next_content(&mut self) -> Option<Piece<'a>> {
        loop {
            let line = self.next_line()?;
            let content = line.text.trim_start();
            if !content.is_empty() && !content.starts_with('#') {
                return Some(line);
            }
        }
    }

    /// Reads the bodies of the here-documents of an instruction. After one without an end, no other
    /// is searched for: the engine refuses the whole file.
    fn read_documents(&mut self, instruction: &mut Instruction<'a>) {
        if !instruction.pieces.iter().any(|piece| piece.text.contains('<')) {
            return;
        }
        let found = documents(instruction).unwrap_or_else(|message| {
            self.refuse(message, instruction.keyword_span());
            Vec::new()
        });
        for opening in found {
            let start = self.position;
            let end = if self.have_ends { self.end_of_body(&opening) } else { Some(start) };
            if end.is_none() {
                self.have_ends = false;
                let message = format!("the here-document has no line '{}'", opening.name);
                self.refuse(message, instruction.keyword_span());
            }
            let body = &self.text[start..end.unwrap_or(start)];
            instruction.documents.push(HereDocument { opening, body, start });
        }
    }

    /// Skips a here-document. Returns the byte of the line that ends it; `None`, and skips nothing,
    /// if it has no end.
    fn end_of_body(&mut self, opening: &Opening) -> Option<usize> {
        let before = self.position;
        while let Some(line) = self.next_line() {
            let content = match opening.strips_tabs {
                true => line.text.trim_start_matches('\t'),
                false => line.text,
            };
            if content == opening.name {
                return Some(line.start);
            }
        }
        self.position = before;
        None
    }

    fn refuse(&mut self, message: String, span: Range<usize>) {
        self.error.get_or_insert(ParseError { message, span, help: None });
    }
}

/// Returns a line without the continuation character at its end; `None` if it has none. A doubled
/// one does not continue the line.
fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let content = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!content.ends_with(escape)).then_some(content)
}

/// Returns the first word of an instruction, which may be continued in the next line.
fn keyword<'a>(pieces: &[Piece<'a>]) -> Cow<'a, str> {
    let Some(first) = pieces.first() else { return Cow::Borrowed("") };
    let text = first.text.trim_start();
    if let (Some(end), false) = (text.find(BLANKS), text.is_empty()) {
        return Cow::Borrowed(&text[..end]);
    }
    if pieces.len() == 1 {
        return Cow::Borrowed(text.trim_end());
    }
    let line = Logical::of(pieces).text.into_owned();
    let text = line.trim();
    Cow::Owned(text[..text.find(BLANKS).unwrap_or(text.len())].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontend_is_read_from_the_directives() {
        for (text, expected) in [
            ("# syntax=docker/dockerfile:1.7\nFROM a\n", Some("docker/dockerfile:1.7")),
            (
                "#check=skip=all\n# Syntax = example.com/a:1 words\nFROM a\n",
                Some("example.com/a:1"),
            ),
            ("FROM a\n# syntax=docker/dockerfile:1\n", None),
            ("# a remark\n# syntax=docker/dockerfile:1\n", None),
        ] {
            assert_eq!(syntax(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn instructions_are_found_by_what_engines_call_them() {
        let text = "FROM debian:1 AS build\n# run\nRUN apt-get update \\\n    && apt-get install x\n\n\
                    run apt-get update\nCOPY $from /to\nRUN <<END\nRUN no instruction\nEND\nUSER me\n";
        let table = [
            ("FROM debian:1 AS build", Some(1)),
            ("FROM debian:1 as build", Some(1)),
            ("RUN apt-get update     && apt-get install x", Some(3)),
            ("RUN apt-get update && apt-get install $y", Some(3)),
            ("RUN apt-get update", Some(6)),
            ("COPY here /to", None),
            ("COPY $from /to", Some(7)),
            ("RUN <<END (RUN no instruction)", Some(8)),
            ("USER me", Some(11)),
            ("LABEL a=b", None),
            ("", None),
        ];
        for (instruction, line) in table {
            assert_eq!(line_of(text, instruction), line, "{instruction}");
        }
    }
}
