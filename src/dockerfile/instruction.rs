//! Instructions, with the places of their parts in the file.

use std::borrow::Cow;
use std::ops::Range;

use super::flags::{Flags, flags};
use super::logical_line::{BLANKS, Logical, Piece};

/// Instruction with the places of its parts in the file. Its lines are joined and its words split
/// on demand, since most instructions are only asked for the first word.
pub struct Instruction<'a> {
    pub(super) keyword: Cow<'a, str>,
    /// Bytes of its lines, without here-documents.
    pub(super) lines: Range<usize>,
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) escape: char,
    /// True if it has here-documents.
    pub(super) has_documents: bool,
    /// True if its last line ends in a continuation without a next line.
    pub(super) is_open: bool,
}

impl Instruction<'_> {
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

    /// Returns true if it has here-documents.
    pub fn has_documents(&self) -> bool {
        self.has_documents
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
        assert_eq!(found.iter().position(Instruction::has_documents), Some(2));
        assert_eq!(found.iter().position(Instruction::is_open), Some(3));
    }
}
