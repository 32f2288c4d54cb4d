//! Parser: from the text of a Dockerfile to its stages and references.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use super::stages::{Dockerfile, ReadingInput, Reference, Stage, StageBase, Trigger, Via};
use crate::image::Platform;

/// Reason why a text is not a usable Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Description of the error.
    pub message: String,
    /// Bytes of the text that are wrong.
    pub span: Range<usize>,
    /// Suggested fix; `None` if there is none.
    pub help: Option<String>,
}

/// Parses the stages and references of a Dockerfile, as they are with the build arguments and
/// platforms of `input`.
///
/// # Errors
/// When there is no `FROM`, a reference can't be resolved to an image, or a name is not a valid
/// one.
pub fn parse(text: &str, input: &ReadingInput) -> Result<Dockerfile, ParseError> {
    let mut reader = Reader::new(input);
    for instruction in instructions(text) {
        reader.read(&instruction)?;
    }
    if reader.stages.is_empty() {
        return Err(ParseError {
            message: "there is no FROM instruction".to_owned(),
            span: 0..0,
            help: Some("begin each stage with FROM image:tag".to_owned()),
        });
    }
    let Reader { stages, references, triggers, .. } = reader;
    Ok(Dockerfile { stages, references, triggers })
}

/// Returns the line, from 1, of the instruction that an engine prints as `instruction`; `None` if
/// no instruction begins like it. Engines join continued lines and may substitute variables.
pub fn line_of(text: &str, instruction: &str) -> Option<usize> {
    let wanted: Vec<&str> = instruction.split_whitespace().collect();
    let alike = |instruction: &Instruction<'_>| {
        let same = instruction
            .words()
            .zip(&wanted)
            .take_while(|(word, wanted)| word.text.eq_ignore_ascii_case(wanted));
        let same = same.count();
        // Of two with the same beginning, the one with the nearest number of words matches.
        (same, Reverse(instruction.words().count().abs_diff(wanted.len())))
    };
    let instructions = instructions(text);
    let (nearest, (same, _)) = instructions
        .iter()
        .map(|instruction| (instruction, alike(instruction)))
        .rev()
        .max_by_key(|(_, alike)| *alike)?;
    let is_it = same > 1 || same == wanted.len() && same > 0;
    is_it.then(|| text[..nearest.keyword.start].matches('\n').count() + 1)
}

/// Instruction with the places of its parts in the text. Its words are split on demand, since most
/// instructions are only asked for the first one.
pub struct Instruction<'a> {
    pub(super) keyword: Word<'a>,
    /// Bytes of its lines, without here-documents.
    pub(super) lines: Range<usize>,
    /// Text of its lines, without comments and continuation characters.
    pub(super) pieces: Vec<Line<'a>>,
    /// True if it has here-documents.
    pub(super) has_documents: bool,
    /// True if its last line ends in a continuation without a next line.
    pub(super) is_open: bool,
}

/// Run of characters without unquoted white space; quotes are kept.
#[derive(Clone)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    start: usize,
}

impl Word<'_> {
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// Splits a Dockerfile into instructions, without comments and the bodies of here-documents.
pub fn instructions(text: &str) -> Vec<Instruction<'_>> {
    let escape = escape_directive(text);
    let mut lines = Lines { text, position: 0, have_ends: true };
    let mut found = Vec::new();
    while let Some(first) = lines.next_line() {
        let mut pieces = Vec::new();
        let mut keyword = None;
        let mut line = first;
        let is_open = loop {
            let content = line.text.trim_end();
            let is_comment = content.trim_start().starts_with('#');
            let continued = !is_comment && content.ends_with(escape);
            if !is_comment {
                let piece = Line { text: content.strip_suffix(escape).unwrap_or(content), ..line };
                keyword = keyword.or_else(|| piece.words().next());
                pieces.push(piece);
            }
            let blank_inside = keyword.is_some() && (is_comment || content.is_empty());
            let goes_on = continued || (blank_inside && line.start != first.start);
            match goes_on.then(|| lines.next_line()).flatten() {
                Some(next) => line = next,
                None => break goes_on,
            }
        };
        let Some(keyword) = keyword else { continue };
        let span = first.start..lines.position;
        let has_documents = false;
        let mut instruction = Instruction { keyword, lines: span, pieces, has_documents, is_open };
        // After one without an end, no other is searched for: the engine refuses the whole file.
        for document in here_documents(&instruction) {
            instruction.has_documents = true;
            if lines.have_ends && !lines.skip_past(&document) {
                lines.have_ends = false;
            }
        }
        found.push(instruction);
    }
    found
}

#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    start: usize,
}

impl<'a> Line<'a> {
    pub(super) fn words(self) -> Words<'a> {
        Words { line: self, position: 0 }
    }
}

struct Lines<'a> {
    text: &'a str,
    position: usize,
    /// True if all here-documents so far have an end.
    have_ends: bool,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<Line<'a>> {
        let rest = &self.text[self.position..];
        let line = rest.split_inclusive('\n').next()?;
        let start = self.position;
        self.position += line.len();
        Some(Line { text: line, start })
    }

    /// Skips the body of a here-document. Returns false, and skips nothing, if it has no end.
    fn skip_past(&mut self, document: &HereDocument) -> bool {
        let before = self.position;
        while let Some(line) = self.next_line() {
            let mut content = line.text.trim_end_matches(['\n', '\r']);
            if document.strip_tabs {
                content = content.trim_start_matches('\t');
            }
            if content == document.terminator {
                return true;
            }
        }
        self.position = before;
        false
    }
}

struct HereDocument {
    terminator: String,
    strip_tabs: bool,
}

/// Mark that opens a here-document.
const OPENS_DOCUMENT: &str = "<<";

/// Returns the here-documents that an instruction opens, in order.
fn here_documents(instruction: &Instruction<'_>) -> Vec<HereDocument> {
    let opens = ["RUN", "COPY", "ADD"].iter().any(|keyword| instruction.is(keyword))
        && instruction.pieces.iter().any(|piece| piece.text.contains(OPENS_DOCUMENT));
    if !opens {
        return Vec::new();
    }
    instruction.words().filter_map(|word| here_document(word.text)).collect()
}

fn here_document(word: &str) -> Option<HereDocument> {
    let after =
        word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(OPENS_DOCUMENT)?;
    let (strip_tabs, name) = match after.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, after),
    };
    let bare = ['"', '\'']
        .iter()
        .find_map(|quote| name.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(name);
    let is_name = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| HereDocument { terminator: bare.to_owned(), strip_tabs })
}

/// Returns the escape character that the directives at the top of the file set; a backslash by
/// default.
fn escape_directive(text: &str) -> char {
    for line in text.lines() {
        let Some(directive) = line.trim().strip_prefix('#') else { break };
        let Some((key, value)) = directive.split_once('=') else { break };
        match (key.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "`") => return '`',
            ("escape", _) => break,
            ("syntax" | "check", _) => {}
            _ => break,
        }
    }
    '\\'
}

/// Words of a line, separated by white space outside of quotes.
pub(super) struct Words<'a> {
    line: Line<'a>,
    /// Byte of the line at which the next word is searched for.
    position: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.line.text[self.position..];
        let begin = self.position + rest.find(|c: char| !c.is_whitespace())?;
        let rest = &self.line.text[begin..];
        // A quoted part ends at the same quote, or at the end of the line.
        let mut quote = None;
        let is_end = |c: char| match quote {
            Some(open) => {
                quote = quote.filter(|_| c != open);
                false
            }
            None => {
                quote = Some(c).filter(|c| matches!(c, '"' | '\''));
                c.is_whitespace()
            }
        };
        let text = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        self.position = begin + text.len();
        Some(Word { text, start: self.line.start + begin })
    }
}

struct Reader<'a> {
    input: &'a ReadingInput,
    args: BTreeMap<String, Option<String>>,
    stages: Vec<Stage>,
    references: Vec<Reference>,
    triggers: Vec<Trigger>,
    /// Number of bytes that the values of arguments may still add.
    left: usize,
}

/// Largest total size of the argument values that are substituted, in bytes. A few lines in which
/// each value is twice the previous one would exceed any memory.
const MOST_OF_VALUES: usize = 1 << 20;

impl<'a> Reader<'a> {
    fn new(input: &'a ReadingInput) -> Self {
        Self {
            input,
            args: automatic_arguments(input),
            stages: Vec::new(),
            references: Vec::new(),
            triggers: Vec::new(),
            left: MOST_OF_VALUES,
        }
    }

    fn read(&mut self, instruction: &Instruction<'_>) -> Result<(), ParseError> {
        let rest = || instruction.words().skip(1);
        if instruction.is("RUN") {
            self.run(&flags(rest()))
        } else if instruction.is("COPY") || instruction.is("ADD") {
            self.copy(&flags(rest()))
        } else if instruction.is("FROM") {
            self.begin_stage(&instruction.keyword, rest())
        } else if instruction.is("ARG") && self.stages.is_empty() {
            self.declare(rest())
        } else {
            Ok(())
        }
    }

    /// Reads `ARG name[=default]...` before the first `FROM`.
    fn declare<'w>(&mut self, words: impl Iterator<Item = Word<'w>>) -> Result<(), ParseError> {
        for word in words {
            let (name, default) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(unquote(value))),
                None => (word.text, None),
            };
            let default = match default {
                Some(value) => Some(self.expand(value, &word)?),
                None => None,
            };
            let value = self.input.build_args.get(name).cloned().or(default);
            self.args.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn begin_stage<'w>(
        &mut self,
        keyword: &Word<'_>,
        words: impl Iterator<Item = Word<'w>>,
    ) -> Result<(), ParseError> {
        let words: Vec<_> = words.collect();
        let (flags, words) = words.split_at(words.iter().take_while(|word| is_flag(word)).count());
        let platform = flag_values(flags, "--platform").next();
        let platform = match (platform, keyword) {
            (Some((value, _)), word) => self.expand(value, word)?.parse::<Platform>().ok(),
            (None, _) => None,
        };
        let Some((image, rest)) = words.split_first() else {
            return Err(ParseError {
                message: "FROM has no image".to_owned(),
                span: keyword.span(),
                help: None,
            });
        };
        let name = match rest {
            [] => None,
            [r#as, name] if r#as.text.eq_ignore_ascii_case("as") => {
                Some(name.text.to_ascii_lowercase())
            }
            [wrong, ..] => {
                return Err(ParseError {
                    message: format!("'{}' is not expected after the image of FROM", wrong.text),
                    span: wrong.span(),
                    help: Some("write FROM image:tag, or FROM image:tag AS stage".to_owned()),
                });
            }
        };
        let expanded = self.expand(unquote(image.text), image)?;
        let base = if expanded == "scratch" {
            StageBase::Scratch
        } else if let Some(stage) = self.stage_called(&expanded, self.stages.len()) {
            StageBase::Stage(stage)
        } else {
            let stage = self.stages.len();
            let index = self.refer(&expanded, Via::From, image.span(), stage)?;
            self.references[index].platform = platform.clone();
            StageBase::Image(index)
        };
        let platform = match base {
            StageBase::Stage(earlier) => self.stages[earlier].platform.clone(),
            StageBase::Scratch | StageBase::Image(_) => platform,
        };
        self.stages.push(Stage { name, base, platform, uses: Vec::new() });
        Ok(())
    }

    fn copy(&mut self, flags: &[Word<'_>]) -> Result<(), ParseError> {
        for (value, span) in flag_values(flags, "--from") {
            self.refer_to_stage_or_image(value, Via::Copy, span)?;
        }
        Ok(())
    }

    fn run(&mut self, flags: &[Word<'_>]) -> Result<(), ParseError> {
        for (mount, span) in flag_values(flags, "--mount") {
            let mut at = span.start;
            for field in mount.split(',') {
                if let Some(source) = field.strip_prefix("from=") {
                    let begin = at + "from=".len();
                    self.refer_to_stage_or_image(source, Via::Mount, begin..begin + source.len())?;
                }
                at += field.len() + 1;
            }
        }
        Ok(())
    }

    fn refer_to_stage_or_image(
        &mut self,
        source: &str,
        via: Via,
        span: Range<usize>,
    ) -> Result<(), ParseError> {
        let earlier = self.stages.len().saturating_sub(1);
        if let Ok(index) = source.parse::<usize>() {
            if index >= earlier {
                return Err(ParseError {
                    message: format!("there is no stage {index} before this one"),
                    span,
                    help: None,
                });
            }
            self.stages[earlier].uses.push(index);
            return Ok(());
        }
        if let Some(index) = self.stage_called(source, earlier) {
            self.stages[earlier].uses.push(index);
            return Ok(());
        }
        self.refer(source, via, span, earlier).map(|_| ())
    }

    fn refer(
        &mut self,
        name: &str,
        via: Via,
        span: Range<usize>,
        stage: usize,
    ) -> Result<usize, ParseError> {
        let image = name.parse().map_err(|error: crate::image::ReferenceError| ParseError {
            message: error.to_string(),
            span: span.clone(),
            help: None,
        })?;
        self.references.push(Reference { image, via, span, stage, platform: None });
        Ok(self.references.len() - 1)
    }

    /// Returns the index of the last stage of that name among the first `before`.
    fn stage_called(&self, name: &str, before: usize) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        self.stages[..before].iter().rposition(|stage| stage.name.as_deref() == Some(name.as_str()))
    }

    /// Replaces `$name`, `${name}`, `${name:-word}` and `${name:+word}` with the arguments declared
    /// so far.
    fn expand(&mut self, text: &str, word: &Word<'_>) -> Result<String, ParseError> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            let (expression, tail) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or_else(|| ParseError {
                    message: format!("'{text}' has an unclosed brace"),
                    span: word.span(),
                    help: None,
                })?,
                None => {
                    let end = after
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            let value = self.value_of(expression, word)?;
            self.left = self.left.checked_sub(value.len()).ok_or_else(|| ParseError {
                message: format!(
                    "the expanded build arguments have more than {MOST_OF_VALUES} bytes here"
                ),
                span: word.span(),
                help: None,
            })?;
            expanded.push_str(&value);
            rest = tail;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn value_of(&self, expression: &str, word: &Word<'_>) -> Result<String, ParseError> {
        let (name, modifier) = match expression.split_once(':') {
            Some((name, modifier)) => (name, Some(modifier)),
            None => (expression, None),
        };
        let value = self.args.get(name).cloned().flatten().filter(|value| !value.is_empty());
        match (modifier.and_then(|m| m.split_at_checked(1)), value) {
            (Some(("+", word)), Some(_)) => Ok(word.to_owned()),
            (Some(("+", _)), None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (Some(("-", default)), None) => Ok(default.to_owned()),
            (_, None) => Err(ParseError {
                message: format!("FROM uses the build arg '{name}', which has no value"),
                span: word.span(),
                help: Some(format!("give it a default before the first FROM: ARG {name}=value")),
            }),
        }
    }
}

/// Returns the arguments that a builder sets: the platforms, in all their parts.
fn automatic_arguments(input: &ReadingInput) -> BTreeMap<String, Option<String>> {
    let parts = |prefix: &str, platform: &Platform| {
        [
            (format!("{prefix}PLATFORM"), platform.to_string()),
            (format!("{prefix}OS"), platform.os().to_owned()),
            (format!("{prefix}OSVERSION"), platform.os_version().to_owned()),
            (format!("{prefix}ARCH"), platform.architecture().to_owned()),
            (format!("{prefix}VARIANT"), platform.variant().to_owned()),
        ]
    };
    let all = parts("BUILD", &input.build).into_iter().chain(parts("TARGET", &input.target));
    let given = |(name, value)| {
        let value = input.build_args.get(&name).cloned().unwrap_or(value);
        (name, Some(value))
    };
    all.map(given).collect()
}

/// Returns true if a word at the start of an instruction's words is a flag.
pub(super) fn is_flag(word: &Word<'_>) -> bool {
    word.text.starts_with("--")
}

/// Returns the flags: all words before the first one that is not a flag.
fn flags<'a>(words: impl Iterator<Item = Word<'a>>) -> Vec<Word<'a>> {
    words.take_while(is_flag).collect()
}

/// Returns the value of every `name=value` among `flags`, with its bytes in the text.
fn flag_values<'a>(
    flags: &'a [Word<'a>],
    name: &'a str,
) -> impl Iterator<Item = (&'a str, Range<usize>)> {
    flags.iter().filter_map(move |flag| {
        let raw = flag.text.strip_prefix(name)?.strip_prefix('=')?;
        let value = unquote(raw);
        let quote = usize::from(value.len() != raw.len());
        let start = flag.start + name.len() + 1 + quote;
        Some((value, start..start + value.len()))
    })
}

/// Removes one pair of quotes around a word.
fn unquote(word: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| word.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every reference as `via image`, the form of the table below.
    fn references(text: &str) -> Vec<String> {
        let parsed =
            parse(text, &ReadingInput::default()).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
        for reference in &parsed.references {
            assert!(!text[reference.span.clone()].is_empty(), "{text}");
        }
        parsed.references.iter().map(|r| format!("{} {}", r.via.as_str(), r.image)).collect()
    }

    #[test]
    fn references_are_found() {
        let table: &[(&str, &[&str])] = &[
            ("FROM debian:bookworm", &["FROM debian:bookworm"]),
            ("from debian:bookworm as x", &["FROM debian:bookworm"]),
            ("  FROM   debian:bookworm  ", &["FROM debian:bookworm"]),
            ("FROM host:5000/ns/name:1", &["FROM host:5000/ns/name:1"]),
            ("FROM host:5000/ns/name", &["FROM host:5000/ns/name:latest"]),
            ("FROM --platform=$BUILDPLATFORM a:1 AS b", &["FROM a:1"]),
            ("FROM --platform=linux/arm64 a:1", &["FROM a:1"]),
            ("ARG V=1\nFROM a:${V}", &["FROM a:1"]),
            ("ARG V=1\nFROM a:$V", &["FROM a:1"]),
            ("ARG I=\"a:2\"\nFROM ${I}", &["FROM a:2"]),
            ("ARG A=x\nARG B=${A}y\nFROM ${B}:1", &["FROM xy:1"]),
            ("FROM ${I:-fallback:1}", &["FROM fallback:1"]),
            ("ARG I=set\nFROM a:1${I:+-slim}", &["FROM a:1-slim"]),
            ("FROM a:1${I:+-slim}", &["FROM a:1"]),
            ("FROM a:1 AS Build\nFROM build\nCOPY --from=BUILD /x /x", &["FROM a:1"]),
            ("FROM a:1 AS b\nFROM c:1\nCOPY --from=b / /", &["FROM a:1", "FROM c:1"]),
            ("FROM a:1\nFROM c:1\nCOPY --from=0 / /", &["FROM a:1", "FROM c:1"]),
            ("FROM a:1\nCOPY --from=d:2 --chown=1 / /", &["FROM a:1", "COPY --from d:2"]),
            ("FROM a:1\nCOPY --chown=1 --from=d:2 / /", &["FROM a:1", "COPY --from d:2"]),
            ("FROM a:1\nADD --from=d:2 / /", &["FROM a:1", "COPY --from d:2"]),
            (
                "FROM a:1\nRUN --mount=type=bind,from=e:3,target=/m --mount=from=f:4 true",
                &["FROM a:1", "RUN --mount=from e:3", "RUN --mount=from f:4"],
            ),
            ("FROM a:1\nRUN echo --mount=from=e:3", &["FROM a:1"]),
            ("FROM a:1\nRUN true \\\n  --mount=from=e:3", &["FROM a:1"]),
            ("FROM scratch\nCOPY --from=d:2 / /", &["COPY --from d:2"]),
            ("# FROM no:1\nFROM a:1 # not a comment\n", &[]),
            ("FROM \\\n  a:1", &["FROM a:1"]),
            ("FROM \\\n# a comment within\n\n  a:1", &["FROM a:1"]),
            (
                "# escape=`\nFROM a:1\nRUN dir C:\\\nCOPY --from=d:2 . .",
                &["FROM a:1", "COPY --from d:2"],
            ),
            ("# syntax=x/y:1\n# escape=`\nFROM `\n a:1", &["FROM a:1"]),
            (
                "FROM a:1\nRUN <<EOF\nFROM no:1\nEOF\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            (
                "FROM a:1\nRUN <<-\"E O\" true\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            (
                "FROM a:1\nCOPY <<A <<-'B' /\nFROM no:1\nA\n\tFROM no:2\n\tB\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            (
                "FROM a:1\nRUN <<A\nA\nRUN <<NEVER\nRUN <<B\nCOPY --from=d:2 / /\nB",
                &["FROM a:1", "COPY --from d:2"],
            ),
            ("FROM a:1\nRUN echo '<<EOF'\nCOPY --from=d:2 / /", &["FROM a:1", "COPY --from d:2"]),
            (
                "FROM a:1\nRUN cat <<EOF without an end\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            ("FROM a:1\r\nCOPY --from=d:2 / /\r\n", &["FROM a:1", "COPY --from d:2"]),
            (
                "FROM a:1\nRUN echo \\\n# note\n  done\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            ("FROM a:1 AS x\nFROM x AS x\nCOPY --from=x / /", &["FROM a:1"]),
        ];
        for (text, expected) in table {
            if expected.is_empty() {
                assert!(parse(text, &ReadingInput::default()).is_err(), "{text}");
            } else {
                assert_eq!(references(text), *expected, "{text}");
            }
        }
    }

    #[test]
    fn parent_is_the_base_of_the_last_stage() {
        let parent = |text: &str| {
            parse(text, &ReadingInput::default()).unwrap().parent().map(|r| r.image.to_string())
        };
        assert_eq!(parent("FROM a:1\nFROM b:1").as_deref(), Some("b:1"));
        assert_eq!(parent("FROM a:1 AS x\nFROM b:1 AS y\nFROM x").as_deref(), Some("a:1"));
        assert_eq!(parent("FROM a:1\nFROM scratch"), None);
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

    #[test]
    fn build_args_win_over_defaults() {
        let build_args = BTreeMap::from([("V".to_owned(), "9".to_owned())]);
        let args = ReadingInput { build_args, ..ReadingInput::default() };
        let parsed = parse("ARG V=1\nARG W\nFROM a:$V", &args).unwrap();
        assert_eq!(parsed.references[0].image.to_string(), "a:9");
        let undeclared = parse("FROM a:$V", &args).unwrap_err();
        assert!(undeclared.message.contains("'V'"), "{}", undeclared.message);
    }

    #[test]
    fn unresolvable_reference_is_refused_with_its_place() {
        let table = [
            ("", "no FROM", ""),
            ("RUN true", "no FROM", ""),
            ("FROM", "has no image", "FROM"),
            ("FROM $X", "'X'", "$X"),
            ("FROM ${X", "unclosed brace", "${X"),
            ("FROM a:1 b", "'b' is not expected", "b"),
            ("FROM Upper:1", "not an image reference", "Upper:1"),
            ("FROM a:1\nCOPY --from=0 / /", "no stage 0", "0"),
            ("FROM a:1\nCOPY --from=\"B a d\" / /", "not an image reference", "B a d"),
            ("FROM a:1\nRUN --mount=type=bind,from=N! true", "not an image reference", "N!"),
        ];
        for (text, message, place) in table {
            let error = parse(text, &ReadingInput::default()).unwrap_err();
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert_eq!(&text[error.span.clone()], place, "{text}");
        }
    }

    #[test]
    fn arguments_that_double_come_to_an_end() {
        let text = format!("ARG V=x\n{}FROM $V", "ARG V=$V$V\n".repeat(64));
        let error = parse(&text, &ReadingInput::default()).unwrap_err();
        assert_eq!(error.message, "the expanded build arguments have more than 1048576 bytes here");
        assert_eq!(&text[error.span], "V=$V$V");
    }
}
