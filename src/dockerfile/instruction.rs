//! Instructions, with the places of their parts in the file.

use std::borrow::Cow;
use std::ops::Range;

use super::flags::{Flags, flags};
use super::here_document::{HereDocument, opening};
use super::logical_line::{BLANKS, Logical, Piece};
use super::mount::Mount;

/// Instruction with the places of its parts in the file. Its lines are joined and its words split
/// on demand, since most instructions are only asked for the first word.
pub struct Instruction<'a> {
    pub(super) keyword: Cow<'a, str>,
    /// Bytes of its lines, without here-documents.
    pub(super) lines: Range<usize>,
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) escape: char,
    pub(super) documents: Vec<HereDocument<'a>>,
    /// True if its last line ends in a continuation without a next line.
    pub(super) is_open: bool,
}

impl<'a> Instruction<'a> {
    /// Returns the first word, as it is written.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// Returns true if this is the keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }

    /// Returns the bytes of its lines, without the bodies of here-documents.
    pub fn lines(&self) -> Range<usize> {
        self.lines.clone()
    }

    /// Returns the flags after the keyword, without quotes and escapes.
    pub fn flags(&self) -> impl Iterator<Item = String> {
        self.flags_of(&self.line()).all.into_iter().map(|flag| flag.text)
    }

    /// Returns the words after the keyword and the flags.
    pub fn arguments(&self) -> impl Iterator<Item = String> {
        let code = self.code();
        code.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    /// Returns the text after the keyword and the flags in one line, as a shell is given it.
    pub fn code(&self) -> String {
        let line = self.line();
        line.text[self.flags_of(&line).end..].trim().to_owned()
    }

    /// Returns its here-documents, in order.
    pub fn documents(&self) -> &[HereDocument<'a>] {
        &self.documents
    }

    /// Returns the here-document that is all of the instruction besides flags, as in `RUN <<EOF`: its
    /// body is what is run. `None` if there is none, or anything else is there, too.
    pub fn script(&self) -> Option<&HereDocument<'a>> {
        let [only] = self.documents.as_slice() else { return None };
        matches!(opening(&self.code()), Ok(Some(_))).then_some(only)
    }

    /// Returns the mounts of a `RUN`, without those that can't be read.
    pub fn mounts(&self) -> Vec<Mount> {
        if !self.is("RUN") || !self.may_have_flags() {
            return Vec::new();
        }
        let flags = self.flags_of(&self.line()).all;
        let values = flags.iter().filter_map(|flag| flag.split_value());
        values.filter(|(name, _)| *name == "--mount").filter_map(|(_, v)| Mount::read(&v)).collect()
    }

    /// Returns the character that continues lines of the file.
    pub fn escape(&self) -> char {
        self.escape
    }

    /// Returns true if the text ends although the last line is continued.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Returns its lines as one.
    pub(super) fn line(&self) -> Logical<'_> {
        Logical::of(&self.pieces)
    }

    /// Returns the byte of the line after the keyword and the white space that follows it.
    pub(super) fn after_keyword(&self, line: &Logical<'_>) -> usize {
        let text = line.text.as_ref();
        let start = text.len() - text.trim_start().len();
        let rest = &text[start + self.keyword.len()..];
        text.len() - rest.trim_start_matches(BLANKS).len()
    }

    /// Returns true unless the first line shows that there are no flags.
    pub(super) fn may_have_flags(&self) -> bool {
        let [first, more @ ..] = self.pieces.as_slice() else { return false };
        match first.text.strip_prefix(self.keyword.as_ref()).map(str::trim_start) {
            Some("") | None => !more.is_empty(),
            Some(rest) => rest.starts_with('-'),
        }
    }

    /// Returns the flags that follow the keyword.
    pub(super) fn flags_of(&self, line: &Logical<'_>) -> Flags {
        flags(line, self.after_keyword(line), self.escape)
    }

    /// Returns the bytes of the file that the keyword stands in.
    pub(super) fn keyword_span(&self) -> Range<usize> {
        let line = self.line();
        let start = line.text.len() - line.text.trim_start().len();
        line.span(start..start + self.keyword.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::instructions;
    use super::Instruction;

    #[test]
    fn instruction_is_printed_in_one_line() {
        let text = "FROM a\nRUN --mount=type=cache,target=/x one \\\n    # a remark\n\n    && two\n\
                    COPY <<EOF /a\nRUN not\nEOF\nUSER \\\n";
        let found = instructions(text);
        let told: Vec<_> = found.iter().map(|one| (one.keyword(), one.code())).collect();
        let told: Vec<_> = told.iter().map(|(keyword, code)| (*keyword, code.as_str())).collect();
        let copy = ("COPY", "<<EOF /a");
        assert_eq!(told, [("FROM", "a"), ("RUN", "one     && two"), copy, ("USER", "")]);
        assert_eq!(found[1].flags().collect::<Vec<_>>(), ["--mount=type=cache,target=/x"]);
        assert_eq!(found[1].arguments().collect::<Vec<_>>(), ["one", "&&", "two"]);
        assert_eq!(text[found[1].lines()].lines().count(), 4);
        assert_eq!(&text[found[2].lines()], "COPY <<EOF /a\n");
        assert_eq!(found.iter().position(|one| !one.documents().is_empty()), Some(2));
        assert_eq!(found.iter().position(Instruction::is_open), Some(3));
    }

    #[test]
    fn here_documents_have_bodies() {
        let text = "RUN <<EOF\necho a\nEOF\nRUN cat <<-'A' 3<<B >x\n\tone\n\tA\ntwo\nB\n\
                    COPY <<\"C D\" <<E /x/\nC D\ne\nE\nRUN << F\nF\nRUN --network=none <<-G\n\ta\nG\n\
                    RUN <<H sh\nH\nRUN echo <<<I\n";
        let found = instructions(text);
        let shown = found.iter().map(|one| {
            let documents = one.documents().iter().map(|document| {
                assert_eq!(&text[document.span()], document.body());
                format!("{}:{:?}:{}", document.name(), document.content(), document.is_quoted())
            });
            let is_script = if one.script().is_some() { "script " } else { "" };
            format!("{is_script}{}", documents.collect::<Vec<_>>().join(" "))
        });
        let expected = [
            "script EOF:\"echo a\\n\":false",
            "A:\"one\\n\":true B:\"two\\n\":false",
            "C D:\"\":true E:\"e\\n\":false",
            "script F:\"\":false",
            "script G:\"a\\n\":false",
            "H:\"\":false",
            "",
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn mounts_are_read_with_their_defaults() {
        for (flags, expected) in [
            ("--mount=target=/x", &["bind None /"][..]),
            ("--mount=type=bind,src=a/b,dst=/x", &["bind None a/b"]),
            ("--mount='Type=Bind,\"source=a,b\",target=/x,from='", &["bind None a,b"]),
            ("--mount=from=tools,target=/x", &["bind Some(\"tools\") /"]),
            (
                "--mount=type=cache,target=/x --network=none --mount=type=tmpfs,target=/y",
                &["cache None /", "tmpfs None /"],
            ),
            ("--mount='\"a'", &[]),
            ("--mount", &[]),
            ("", &[]),
        ] {
            let text = format!("RUN {flags} true");
            let mounts = instructions(&text)[0].mounts();
            let shown =
                mounts.iter().map(|one| format!("{} {:?} {}", one.kind, one.from, one.source));
            assert_eq!(shown.collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
