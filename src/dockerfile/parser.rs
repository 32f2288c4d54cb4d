//! Parser: from the instructions of a Dockerfile to its stages and references.
//!
//! Instructions are read first and resolved afterwards, since `COPY --from` and `RUN --mount` may
//! name stages that come later, and `TARGETSTAGE` is the name of the last one.

use std::ops::Range;

use super::build_arguments::{Arguments, Declaration};
use super::flags::{Flags, Placed, fields, flags};
use super::instruction::Instruction;
use super::lines::read;
use super::logical_line::{BLANKS, Logical};
use super::parse_error::ParseError;
use super::stage_resolution::{self, StageDraft, Use};
use super::stages::{Dockerfile, ReadingInput, Via};

/// Parses the stages and references of a Dockerfile, as they are with the build arguments and
/// platforms of `input`.
///
/// # Errors
/// When there is no `FROM`, a reference can't be resolved to an image, a name is not a valid one,
/// or a builder could not read the structure of the file.
pub fn parse(text: &str, input: &ReadingInput) -> Result<Dockerfile, ParseError> {
    let reading = read(text);
    let mut draft = Draft { escape: reading.escape, ..Draft::default() };
    for instruction in &reading.instructions {
        draft.read(instruction)?;
    }
    if let Some(error) = reading.error {
        return Err(error);
    }
    let Some(last) = draft.stages.last() else {
        return Err(ParseError {
            message: "there is no FROM instruction".to_owned(),
            span: 0..0,
            help: Some("begin each stage with FROM image:tag".to_owned()),
        });
    };
    let target = last.name.as_deref().unwrap_or("default").to_owned();
    let arguments = Arguments::new(input, target, draft.escape);
    stage_resolution::resolve(&draft.declarations, draft.stages, arguments)
}

/// Statements of the instructions of a file, before anything is expanded.
#[derive(Default)]
struct Draft {
    escape: char,
    /// `ARG` before the first `FROM`.
    declarations: Vec<Declaration>,
    stages: Vec<StageDraft>,
}

impl Draft {
    fn read(&mut self, instruction: &Instruction<'_>) -> Result<(), ParseError> {
        if instruction.is("FROM") {
            let stage = stage(instruction)?;
            self.stages.push(stage);
            return Ok(());
        }
        let Some(stage) = self.stages.last_mut() else {
            if !instruction.is("ARG") {
                return Err(ParseError {
                    message: format!("{} comes before the first FROM", instruction.keyword()),
                    span: instruction.keyword_span(),
                    help: Some("only ARG may be before the first FROM".to_owned()),
                });
            }
            self.declarations.extend(declarations(instruction)?);
            return Ok(());
        };
        if !instruction.may_have_flags() && !instruction.is("ONBUILD") {
            return Ok(());
        }
        let line = instruction.line();
        let after = instruction.flags_of(&line);
        if instruction.is("ONBUILD") {
            let rest = &line.text[after.end..];
            let keyword = &rest[..rest.find(BLANKS).unwrap_or(rest.len())];
            let after = flags(&line, after.end + keyword.len(), instruction.escape);
            stage.triggers.extend(uses(keyword, &after)?);
        } else {
            stage.uses.extend(uses(instruction.keyword(), &after)?);
        }
        Ok(())
    }
}

/// Returns the stages and images that an instruction with these flags refers to.
fn uses(keyword: &str, flags: &Flags) -> Result<Vec<Use>, ParseError> {
    if keyword.eq_ignore_ascii_case("COPY") || keyword.eq_ignore_ascii_case("ADD") {
        let from = single(flags, "--from")?.filter(|from| !from.text.is_empty());
        return Ok(from.map(|from| Use::of(from, Via::Copy)).into_iter().collect());
    }
    if keyword.eq_ignore_ascii_case("RUN") {
        return all_of(flags, "--mount").map(|mount| mounted(&mount?)).collect();
    }
    Ok(Vec::new())
}

/// Returns the stage or image that a mount is of; an empty source if it is of neither.
fn mounted(mount: &Placed) -> Result<Use, ParseError> {
    let refused = |message: &str, span: Range<usize>| ParseError {
        message: message.to_owned(),
        span,
        help: None,
    };
    let Some(fields) = fields(mount) else {
        let message = "the value of --mount is not a list of comma-separated fields";
        return Err(refused(message, mount.span()));
    };
    let mut from = Placed::default();
    for field in fields {
        let Some((key, value)) = field.split_value() else { continue };
        if !key.eq_ignore_ascii_case("from") {
            continue;
        }
        if value.text.find('$').is_some_and(|at| at + 1 < value.text.len()) {
            let message = "'from' of --mount can't have variables";
            let help = "begin a stage with FROM and the variable, and name the stage here";
            let refused = refused(message, value.span());
            return Err(ParseError { help: Some(help.to_owned()), ..refused });
        }
        from = value;
    }
    Ok(Use::of(from, Via::Mount))
}

/// Returns the values of all flags `name`.
///
/// # Errors
/// When one has no value.
fn all_of<'f>(
    flags: &'f Flags,
    name: &'f str,
) -> impl Iterator<Item = Result<Placed, ParseError>> + 'f {
    flags.all.iter().filter_map(move |flag| match flag.split_value() {
        Some((key, value)) => (key == name).then_some(Ok(value)),
        None => (flag.text == name).then(|| {
            let message = format!("{name} has no value");
            Err(ParseError { message, span: flag.span(), help: None })
        }),
    })
}

/// Returns the value of the flag `name`; `None` if there is none.
///
/// # Errors
/// When the flag has no value, or is there twice.
fn single(flags: &Flags, name: &str) -> Result<Option<Placed>, ParseError> {
    let mut all = all_of(flags, name);
    let first = all.next().transpose()?;
    match all.next().transpose()? {
        None => Ok(first),
        Some(second) => Err(ParseError {
            message: format!("there are two {name}"),
            span: second.span(),
            help: None,
        }),
    }
}

/// Returns the words of a line from byte `start` on, with their bytes in the file.
fn words<'l>(line: &'l Logical<'_>, start: usize) -> impl Iterator<Item = (&'l str, Range<usize>)> {
    let text = line.text.trim_end();
    text[start.min(text.len())..].split(BLANKS).filter(|word| !word.is_empty()).map(|word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        (word, line.span(start..start + word.len()))
    })
}

/// Reads `FROM [--platform=...] image [AS name]`.
fn stage(from: &Instruction<'_>) -> Result<StageDraft, ParseError> {
    let line = from.line();
    let flags = from.flags_of(&line);
    let platform = single(&flags, "--platform")?.filter(|platform| !platform.text.is_empty());
    let words: Vec<_> = words(&line, flags.end).collect();
    let Some(((image, span), rest)) = words.split_first() else {
        return Err(ParseError {
            message: "FROM has no image".to_owned(),
            span: from.keyword_span(),
            help: None,
        });
    };
    let name = match rest {
        [] => None,
        [(r#as, _), (name, span)] if r#as.eq_ignore_ascii_case("as") => {
            Some(stage_name(name, span)?)
        }
        [(wrong, wrong_span), ..] => {
            let refused = ParseError {
                message: format!("'{wrong}' is not expected after the image of FROM"),
                span: wrong_span.clone(),
                help: Some("write FROM image:tag, or FROM image:tag AS stage".to_owned()),
            };
            if !image.contains("${") {
                return Err(refused);
            }
            let whole = line.text[flags.end..].trim().to_owned();
            return Ok(StageDraft {
                refused: Some(refused),
                ..StageDraft::of(whole, span.clone())
            });
        }
    };
    Ok(StageDraft { name, platform, ..StageDraft::of((*image).to_owned(), span.clone()) })
}

fn stage_name(name: &str, span: &Range<usize>) -> Result<String, ParseError> {
    let lower = name.to_lowercase();
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if lower.starts_with(|c: char| c.is_ascii_lowercase()) && lower.chars().all(is_inner) {
        return Ok(lower);
    }
    Err(ParseError {
        message: format!("'{name}' is not a valid name of a stage"),
        span: span.clone(),
        help: Some("begin it with a letter; use letters, digits, '-', '_' and '.'".to_owned()),
    })
}

/// Reads `ARG name[=default]...`.
fn declarations(arg: &Instruction<'_>) -> Result<Vec<Declaration>, ParseError> {
    let line = arg.line();
    let start = arg.flags_of(&line).end;
    let mut found = Vec::new();
    for (word, range) in quoted_words(&line.text, start, arg.escape) {
        let span = line.span(range);
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word, None),
        };
        if name.is_empty() {
            return Err(ParseError {
                message: "ARG has no name before '='".to_owned(),
                span,
                help: None,
            });
        }
        found.push(Declaration { name, default, span });
    }
    if found.is_empty() {
        return Err(ParseError {
            message: "ARG has no name".to_owned(),
            span: arg.keyword_span(),
            help: None,
        });
    }
    Ok(found)
}

/// Splits a text from byte `start` on into words, which may have white space in quotes or behind an
/// escape character. Quotes and escapes are kept.
fn quoted_words(text: &str, start: usize, escape: char) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    let mut rest = text[start..].char_indices().map(|(at, c)| (start + at, c)).peekable();
    while let Some((begin, first)) = rest.next_if(|_| true) {
        if first.is_whitespace() {
            continue;
        }
        let mut word = String::new();
        let mut quote = None;
        let mut next = Some((begin, first));
        let mut end = begin;
        while let Some((at, c)) = next {
            if quote.is_none() && c.is_whitespace() {
                break;
            }
            end = at + c.len_utf8();
            match quote {
                None if c == '\'' || c == '"' => quote = Some(c),
                Some(open) if c == open => quote = None,
                _ => {}
            }
            let is_escape = c == escape && quote != Some('\'');
            match rest.peek().copied().filter(|_| is_escape) {
                Some((at, escaped)) => {
                    word.push(c);
                    word.push(escaped);
                    end = at + escaped.len_utf8();
                    rest.next();
                }
                // An escape character at the end of the line stands for nothing.
                None if is_escape => {}
                None => word.push(c),
            }
            next = rest.next();
        }
        if !word.is_empty() {
            found.push((word, begin..end));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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
                "FROM a:1\nRUN <<-\"E O\" true\nFROM no:1\n\tE O\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            (
                "FROM a:1\nCOPY <<A <<-'B' /\nFROM no:1\nA\n\tFROM no:2\n\tB\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            (
                "FROM a:1\nRUN <<A\nA\nRUN <<B\nNEVER\nB\nCOPY --from=d:2 / /",
                &["FROM a:1", "COPY --from d:2"],
            ),
            ("FROM a:1\nRUN echo '<<EOF'\nCOPY --from=d:2 / /", &["FROM a:1", "COPY --from d:2"]),
            ("FROM a:1\nRUN cat <<<EOF\nCOPY --from=d:2 / /", &["FROM a:1", "COPY --from d:2"]),
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
    fn build_args_win_over_defaults() {
        let build_args = BTreeMap::from([("V".to_owned(), "9".to_owned())]);
        let args = ReadingInput { build_args, ..ReadingInput::default() };
        let parsed = parse("ARG V=1\nARG W\nFROM a:$V", &args).unwrap();
        assert_eq!(parsed.references[0].image.to_string(), "a:9");
        let undeclared = parse("FROM a:$V", &args).unwrap_err();
        assert!(undeclared.help.unwrap().contains("ARG V=value"));
    }

    #[test]
    fn unresolvable_reference_is_refused_with_its_place() {
        let table = [
            ("", "no FROM", ""),
            ("RUN true", "before the first FROM", "RUN"),
            ("FROM", "has no image", "FROM"),
            ("FROM $X", "'$X' is empty", "$X"),
            ("FROM ${X", "missing '}'", "${X"),
            ("FROM a:1 b", "'b' is not expected", "b"),
            ("FROM Upper:1", "not an image reference", "Upper:1"),
            ("FROM a:1\nCOPY --from=7 / /", "no stage 7", "7"),
            ("FROM a:1\nCOPY --from=0 / /", "copy from each other", "0"),
            (
                "FROM a:1 AS b\nCOPY --from=c / /\nFROM d:1 AS c\nCOPY --from=b / /",
                "each other",
                "c",
            ),
            ("FROM a:1 AS b\nCOPY --from=c / /\nFROM d:1 AS c\nFROM b", "before the stage", "c"),
            ("FROM a:1\nRUN <<END\ntrue\n", "has no line 'END'", "RUN"),
            ("# escape=!\nFROM a:1", "neither", "# escape=!"),
            ("ARG T\nFROM a:${T:?give T}", "T: give T", "a:${T:?give"),
            ("FROM --platform=toaster a:1", "'toaster' is not a platform", "toaster"),
            ("FROM --platform=$T a:1", "'' is not a platform", "$T"),
            ("FROM --platform=linux --platform=linux a:1", "two --platform", "linux"),
            ("FROM a:1 AS 1st", "not a valid name", "1st"),
            ("FROM a:1\nCOPY --from / /", "--from has no value", "--from"),
            ("FROM a:1\nRUN --mount=from=$X true", "can't have variables", "$X"),
            ("FROM a:1\nRUN --mount=type=bind,a\\\"b true", "comma-separated", "type=bind,a\\\"b"),
            ("ARG =x\nFROM a:1", "no name before", "=x"),
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

    /// Returns the bases of a text, with their platforms, on linux/arm64 with `S=slim` given.
    fn bases(text: &str) -> Vec<String> {
        let input = ReadingInput {
            build_args: BTreeMap::from([("S".to_owned(), "slim".to_owned())]),
            target: "linux/arm64".parse().unwrap(),
            build: "linux/amd64".parse().unwrap(),
        };
        let read = parse(text, &input).unwrap_or_else(|error| panic!("{text}\n{error:?}"));
        let named = read.references.iter().map(|one| match &one.platform {
            Some(platform) => format!("{} on {platform}", one.image),
            None => one.image.to_string(),
        });
        named.collect()
    }

    #[test]
    fn arguments_are_those_of_buildkit() {
        let table: &[(&str, &[&str])] = &[
            ("ARG M=\nFROM ${M}a:1", &["a:1"]),
            ("ARG M=\"\"\nFROM a:1$M", &["a:1"]),
            ("ARG M\nFROM ${M}a:1", &["a:1"]),
            ("FROM a:1${UNKNOWN}", &["a:1"]),
            ("ARG V=1\nARG V\nFROM a:$V", &["a:1"]),
            ("ARG V=1\nARG V=2\nFROM a:$V", &["a:2"]),
            ("ARG V=1 W=${V}-${S}\nFROM a:$W", &["a:1-"]),
            ("ARG S=other\nFROM a:1-$S", &["a:1-slim"]),
            ("ARG S\nFROM a:1${S+-$S}", &["a:1-slim"]),
            ("FROM a:1${S+-$S}", &["a:1"]),
            ("ARG N=${SOMETHING}\nFROM a:1", &["a:1"]),
            ("ARG W='x y'\nFROM a:1${W:+-w}", &["a:1-w"]),
            ("ARG T=1\nFROM ${I:-a:${T}}", &["a:1"]),
            ("ARG V=1 T=${V:+\"1-slim\"}\nFROM a:$T", &["a:1-slim"]),
            ("FROM a:$TARGETARCH-$BUILDARCH-$TARGETOS$TARGETVARIANT", &["a:arm64-amd64-linux"]),
            ("ARG TARGETARCH\nFROM a:$TARGETARCH", &["a:arm64"]),
            ("ARG TARGETARCH=x\nFROM a:$TARGETARCH", &["a:x"]),
            (
                "FROM a:1 AS pick-amd64\nFROM b:1 AS pick-arm64\nFROM pick-$TARGETARCH",
                &["a:1", "b:1"],
            ),
            ("FROM a:$TARGETSTAGE", &["a:default"]),
            ("FROM a:$TARGETSTAGE AS First\nFROM b:1 AS Last", &["a:last", "b:1"]),
            ("FROM --platform=$BUILDPLATFORM a:1", &["a:1 on linux/amd64"]),
            ("FROM --platform=${P:-linux/s390x} a:1 AS b\nFROM b", &["a:1 on linux/s390x"]),
            ("FROM --PLATFORM=linux/386 a:1", &["a:1"]),
            ("FROM --\"platform\"=linux/38\\6 a:1", &["a:1 on linux/386"]),
            ("FROM scratch\nCOPY --from=scratch / /", &[]),
            ("FROM a:1 AS scratch\nFROM scratch", &["a:1"]),
        ];
        for (text, expected) in table {
            assert_eq!(bases(text), *expected, "{text}");
        }
    }

    #[test]
    fn lines_and_flags_are_those_of_buildkit() {
        let table: &[(&str, &[&str])] = &[
            ("\u{feff}FROM a:1", &["a:1"]),
            ("FR\\\nOM a:\\\n1", &["a:1"]),
            ("FROM a:1 \\  \n\n  # remark\n\n AS b\nFROM b", &["a:1"]),
            ("FROM a:1\nRUN echo \\\\\nCOPY --from=b:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nRUN x \\\n\nCOPY --from=b:1 / /\nCOPY --from=c:1 / /", &["a:1", "c:1"]),
            (
                "# escape=`\nFROM a:1 `\n AS b\nFROM b\nRUN dir C:\\\nCOPY --from=c:1 / /",
                &["a:1", "c:1"],
            ),
            ("From a:1\ncopy --from=b:1 / /\nOnBuild Copy --from=c:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nCOPY \\\n --chmod=1 \\\n --from=b:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nCOPY -- --from=b:1 /", &["a:1"]),
            ("FROM a:1\nRUN --mount=Type=bind,From=b:1,target=/m true", &["a:1", "b:1"]),
            ("FROM a:1\nRUN --mount=type=bind,\"from=b:1\" true", &["a:1", "b:1"]),
            ("FROM a:1\nRUN --mount=target=/m,\\\"from=b:1\\\" true", &["a:1", "b:1"]),
            ("FROM a:1\nRUN --mount=from=b:1,from=c:1 true", &["a:1", "c:1"]),
            ("FROM a:1\nRUN --mount=type=cache,target=/c true", &["a:1"]),
            ("FROM a:1 AS b\nONBUILD COPY --from=c:1 / /\nFROM b", &["a:1", "c:1"]),
            ("FROM a:1 AS b\nONBUILD COPY --from=C / /\nFROM b\nFROM d:1", &["a:1", "d:1"]),
            (
                "FROM a:1\nCOPY <<a.txt <<b-c /srv/\nFROM no:1\na.txt\nFROM no:2\nb-c\nCOPY --from=b:1 / /",
                &["a:1", "b:1"],
            ),
            ("FROM a:1\nRUN cat << 'E' > /x\nFROM no:1\nE\n", &["a:1"]),
            ("FROM a:1\nRUN <<-\\E\nFROM no:1\n\t\tE\n", &["a:1"]),
            ("FROM a:1\nRUN cat 3<<E\"F\"\nFROM no:1\nEF\n", &["a:1"]),
            ("FROM a:1\nONBUILD RUN <<E\nFROM no:1\nE\nCOPY --from=b:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nCOPY [\"<<E\", \"/x\"]\nCOPY --from=b:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nENV X=<<E\nCOPY --from=b:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nRUN x=${a[0]} <<E\nCOPY --from=b:1 / /", &["a:1", "b:1"]),
            ("FROM a:1\nRUN x=${a:=0} <<$E\nFROM no:1\n$E\nCOPY --from=b:1 / /", &["a:1", "b:1"]),
        ];
        for (text, expected) in table {
            assert_eq!(bases(text), *expected, "{text}");
        }
    }

    #[test]
    fn triggers_are_those_of_the_last_stage() {
        let text = "FROM a:1 AS b\nONBUILD COPY --from=c:1 / /\nFROM d:1\n\
                    ONBUILD RUN --mount=from=B true\nONBUILD COPY --from=e:1 / /\nONBUILD RUN true\n";
        let read = parse(text, &ReadingInput::default()).unwrap();
        let own: Vec<_> = read.own_triggers().map(|one| &text[one.span.clone()]).collect();
        assert_eq!(own, ["B", "e:1"]);
        let meant: Vec<_> = read.own_triggers().map(|one| read.triggered(one)).collect();
        assert_eq!(meant, [None, Some("e:1".parse().unwrap())]);
    }

    /// Generated Dockerfiles with the images that BuildKit's frontend asked for (`needs`, each with
    /// its platform), or null where it refused to build. They were recorded with BuildKit at
    /// 73ed6825 (August 2026), by its own packages with a resolver that notes each image.
    const ANSWERS: &str = include_str!("buildkit_answers.jsonl");

    #[derive(serde::Deserialize)]
    struct Answer {
        text: String,
        args: BTreeMap<String, String>,
        target: String,
        build: String,
        needs: Option<Vec<String>>,
    }

    #[test]
    fn generated_dockerfiles_are_read_as_buildkit_reads_them() {
        let answers = ANSWERS.lines().map(|line| serde_json::from_str::<Answer>(line).unwrap());
        for Answer { text, args, target, build, needs } in answers {
            let input = ReadingInput {
                build_args: args,
                target: target.parse().unwrap(),
                build: build.parse().unwrap(),
            };
            let read = parse(&text, &input).ok().map(|read| {
                let needed = read.needed_references().map(|one| {
                    let platform = one.platform.as_ref().unwrap_or(&input.target);
                    format!("{} {platform}", qualified(&one.image.to_string()))
                });
                needed.collect::<BTreeSet<_>>()
            });
            assert_eq!(read, needs.map(BTreeSet::from_iter), "{text}");
        }
    }

    /// Returns the name of an image with its registry, as BuildKit prints it.
    fn qualified(name: &str) -> String {
        match name.split_once('/') {
            Some(("docker.io", rest)) if !rest.contains('/') => format!("docker.io/library/{rest}"),
            Some((host, _)) if host.contains(['.', ':']) => name.to_owned(),
            Some(_) => format!("docker.io/{name}"),
            None => format!("docker.io/library/{name}"),
        }
    }
}
