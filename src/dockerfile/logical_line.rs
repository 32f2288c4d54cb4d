//! Lines of a Dockerfile that are joined to one, with the places of their characters in the file.

use std::borrow::Cow;
use std::ops::Range;

/// White space between the words of an instruction.
pub(super) const BLANKS: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// Part of a line without the continuation character at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Byte of the file at which the part begins.
    pub(super) start: usize,
}

/// Continued lines joined to one.
#[derive(Debug)]
pub(super) struct Logical<'a> {
    pub(super) text: Cow<'a, str>,
    pieces: &'a [Piece<'a>],
}

impl<'a> Logical<'a> {
    pub(super) fn of(pieces: &'a [Piece<'a>]) -> Self {
        let text = match pieces {
            [only] => Cow::Borrowed(only.text),
            several => several.iter().map(|piece| piece.text).collect(),
        };
        Self { text, pieces }
    }

    /// Returns the byte of the file for a byte of the line.
    pub(super) fn place(&self, mut at: usize) -> usize {
        for piece in self.pieces {
            if at < piece.text.len() {
                return piece.start + at;
            }
            at -= piece.text.len();
        }
        self.pieces.last().map_or(0, |last| last.start + last.text.len())
    }

    /// Returns the bytes of the file for bytes of the line.
    pub(super) fn span(&self, range: Range<usize>) -> Range<usize> {
        let start = self.place(range.start);
        start..if range.is_empty() { start } else { self.place(range.end - 1) + 1 }
    }
}
