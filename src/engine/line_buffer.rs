//! Assembles lines from pieces of any size, in time and memory that do not depend on the length of
//! a line.

/// Largest part of a line that is kept until its end arrives, in bytes. Longer lines are passed on
/// in parts.
pub(super) const LONGEST: usize = 64 * 1024;

/// Received part of a line that is not complete.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// True if the start of the line has been passed on.
    is_continued: bool,
}

impl LineBuffer {
    /// Adds `text`, and calls `say` with each line that it completes, without trailing white space.
    /// A line that is too long to keep is passed to `say` in parts.
    pub(super) fn push(&mut self, text: &[u8], mut say: impl FnMut(String)) {
        for mut line in text.split_inclusive(|byte| *byte == b'\n') {
            while !line.is_empty() {
                let (piece, rest) = line.split_at(line.len().min(LONGEST - self.bytes.len()));
                self.bytes.extend_from_slice(piece);
                line = rest;
                if self.bytes.ends_with(b"\n") {
                    self.end_line().into_iter().for_each(&mut say);
                } else if self.bytes.len() == LONGEST {
                    say(self.take_part());
                }
            }
        }
    }

    /// Returns the incomplete line; `None` if it is empty or white space.
    pub(super) fn rest(&mut self) -> Option<String> {
        self.end_line().filter(|line| !line.is_empty())
    }

    /// Returns the incomplete line so far, and keeps it; `None` if it is empty or white space.
    pub(super) fn incomplete(&self) -> Option<String> {
        let line = text_of(&self.bytes);
        Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
    }

    /// Ends the line and returns it; `None` if all of it was passed on in parts.
    fn end_line(&mut self) -> Option<String> {
        let mut line = text_of(&std::mem::take(&mut self.bytes));
        line.truncate(line.trim_end().len());
        let is_continued = std::mem::take(&mut self.is_continued);
        (!is_continued || !line.is_empty()).then_some(line)
    }

    /// Takes the received part, up to the last complete character.
    fn take_part(&mut self) -> String {
        self.is_continued = true;
        let rest = self.bytes.split_off(whole_characters(&self.bytes));
        text_of(&std::mem::replace(&mut self.bytes, rest))
    }
}

/// Decodes UTF-8; invalid bytes are replaced by U+FFFD.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the length of `bytes` without an incomplete character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let is_first = |byte: &u8| *byte & 0b1100_0000 != 0b1000_0000;
    let Some(first) = bytes.iter().rposition(is_first) else { return bytes.len() };
    let width = match bytes[first] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if first + width > bytes.len() { first } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut buffer, mut said) = (LineBuffer::default(), Vec::new());
        for piece in pieces {
            buffer.push(piece, |line| said.push(line));
            assert!(buffer.bytes.len() <= LONGEST, "{}", buffer.bytes.len());
        }
        said.extend(buffer.rest());
        said
    }

    #[test]
    fn lines_are_put_together_across_pieces() {
        let table: [(&[&[u8]], &[&str]); 6] = [
            (&[b"one\ntw", b"o\r\n\nrest "], &["one", "two", "", "rest"]),
            (&[b"a\rb\rc\n"], &["a\rb\rc"]),
            (&[b"\xc3", b"\xa9\n"], &["é"]),
            (&[b"\xf0\x9f", b"\x94", b"\xa5"], &["🔥"]),
            (&[b"\xc3\n\xa9\n"], &["\u{fffd}", "\u{fffd}"]),
            (&[b"", b" \n", b"  "], &[""]),
        ];
        for (pieces, expected) in table {
            assert_eq!(lines(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_long_line_comes_in_parts_of_whole_characters() {
        for character in ["a", "é", "€", "🔥"] {
            let text = format!("x{}", character.repeat(LONGEST));
            for size in [1000, 4096, LONGEST, text.len()] {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let parts = lines(&pieces);
                assert_eq!(parts.concat(), text, "{character} in pieces of {size}");
                assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= LONGEST));
            }
        }
    }

    #[test]
    fn a_line_of_the_longest_length_is_one_line() {
        let line = "a".repeat(LONGEST);
        assert_eq!(lines(&[line.as_bytes(), b"\n", b"next\n"]), [line.as_str(), "next"]);
    }

    #[test]
    fn bytes_that_are_no_text_come_in_parts_too() {
        let parts = lines(&[&vec![0xc3; 3 * LONGEST + 7]]);
        assert_eq!(parts.len(), 4);
        assert!(parts.iter().all(|part| part.chars().all(|c| c == '\u{fffd}')));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_chunk_boundaries(text in "[aé🔥\r\n]{0,40}", size in 1usize..9) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(lines(&pieces), lines(&[text.as_bytes()]));
        }
    }
}
