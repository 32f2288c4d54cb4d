//! Parts of an instruction, for modules that need more than its references.

use std::ops::Range;

use super::parser::{Instruction, Word, is_flag};

impl<'a> Instruction<'a> {
    /// Returns all words, including the keyword.
    pub(super) fn words(&self) -> impl Iterator<Item = Word<'a>> {
        self.pieces.iter().flat_map(|piece| piece.words())
    }

    /// Returns the first word, as it is written.
    pub fn keyword(&self) -> &'a str {
        self.keyword.text
    }

    /// Returns true if this is the keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword().eq_ignore_ascii_case(keyword)
    }

    /// Returns the bytes of its lines, without the bodies of here-documents.
    pub fn lines(&self) -> Range<usize> {
        self.lines.clone()
    }

    /// Returns the flags after the keyword.
    pub fn flags(&self) -> impl Iterator<Item = &'a str> {
        self.words().skip(1).take_while(is_flag).map(|word| word.text)
    }

    /// Returns the words after the keyword and the flags.
    pub fn arguments(&self) -> impl Iterator<Item = &'a str> {
        self.words().skip(1).skip_while(is_flag).map(|word| word.text)
    }

    /// Returns the text after the keyword and the flags in one line, as a shell is given it.
    pub fn code(&self) -> String {
        let whole: String = self.pieces.iter().map(|piece| piece.text).collect();
        let mut rest = whole.trim_start();
        for word in std::iter::once(self.keyword()).chain(self.flags()) {
            rest = rest.strip_prefix(word).unwrap_or(rest).trim_start();
        }
        rest.trim_end().to_owned()
    }

    /// Returns true if it has here-documents.
    pub fn has_documents(&self) -> bool {
        self.has_documents
    }

    /// Returns true if the text ends although the last line is continued.
    pub fn is_open(&self) -> bool {
        self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::{Instruction, instructions};

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
