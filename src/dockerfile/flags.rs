//! Flags of instructions, such as `--from=image`, and the fields of `--mount`.
//!
//! Every character keeps its place in the text, since quotes and escapes are removed.

use std::ops::Range;

use super::logical_line::Logical;

/// Text of a flag, or of a part of one, whose characters have places in the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Placed {
    pub(super) text: String,
    /// Place of each byte of the text.
    places: Vec<usize>,
}

impl Placed {
    fn push(&mut self, c: char, place: usize) {
        self.text.push(c);
        self.places.resize(self.text.len(), place);
    }

    fn part(&self, range: Range<usize>) -> Self {
        Self { text: self.text[range.clone()].to_owned(), places: self.places[range].to_vec() }
    }

    /// Splits the text at the first `=`.
    pub(super) fn split_value(&self) -> Option<(&str, Self)> {
        let at = self.text.find('=')?;
        Some((&self.text[..at], self.part(at + 1..self.text.len())))
    }

    /// Returns the bytes of the file that the text stands in.
    pub(super) fn span(&self) -> Range<usize> {
        match (self.places.first(), self.places.last()) {
            (Some(first), Some(last)) => *first..*last + 1,
            _ => 0..0,
        }
    }
}

/// Flags of an instruction, and the byte of the line after them.
pub(super) struct Flags {
    pub(super) all: Vec<Placed>,
    pub(super) end: usize,
}

/// White space that ends a flag. It is compared with single bytes, as in BuildKit, so that the last
/// two may be in the middle of a character.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0x85 | 0xa0)
}

/// Reads the flags at byte `start` of a line: all words before the first one that does not begin
/// with `--`, or the word `--`.
pub(super) fn flags(line: &Logical<'_>, start: usize, escape: char) -> Flags {
    let bytes = line.text.as_bytes();
    let mut all = Vec::new();
    let mut at = start;
    loop {
        while bytes.get(at).is_some_and(|byte| is_blank(*byte)) {
            at += 1;
        }
        if !bytes[at..].starts_with(b"--") {
            break;
        }
        let (flag, end) = flag(line, at, escape);
        at = end;
        if flag.text == "--" {
            break;
        }
        all.push(flag);
    }
    while !line.text.is_char_boundary(at) {
        at += 1;
    }
    Flags { all, end: at }
}

/// Reads one flag without its quotes and escapes. Returns it and the byte after it.
fn flag(line: &Logical<'_>, start: usize, escape: char) -> (Placed, usize) {
    let bytes = line.text.as_bytes();
    let mut flag = Placed::default();
    let mut quote = None;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match quote {
            None if is_blank(byte) => break,
            None if matches!(byte, b'\'' | b'"') => quote = Some(byte),
            Some(open) if byte == open => quote = None,
            _ => {
                let is_escape = char::from(byte) == escape;
                if is_escape && at + 1 == bytes.len() {
                    at += 1;
                    break;
                }
                at += usize::from(is_escape);
                flag.push(char::from(bytes[at]), line.place(at));
            }
        }
        at += 1;
    }
    (flag, at)
}

/// Reads the fields of `--mount`, which are comma-separated values: a field in double quotes may
/// contain commas. `None` if the quotes are not valid, or there is no field.
pub(super) fn fields(value: &Placed) -> Option<Vec<Placed>> {
    let end = match value.text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line).len(),
        None => value.text.len(),
    };
    let text = &value.text[..end];
    if text.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let size = if rest.starts_with('"') {
            let (field, size) = quoted_field(value, at, rest)?;
            found.push(field);
            size
        } else {
            let size = rest.find(',').unwrap_or(rest.len());
            if rest[..size].contains('"') {
                return None;
            }
            found.push(value.part(at..at + size));
            size
        };
        at += size;
        match text[at..].chars().next() {
            None => return Some(found),
            Some(',') => at += 1,
            Some(_) => return None,
        }
    }
}

/// Reads a field in double quotes at the start of `rest`, which begins at byte `at` of `value`.
/// Returns it and the number of bytes that it takes.
fn quoted_field(value: &Placed, at: usize, rest: &str) -> Option<(Placed, usize)> {
    let mut field = Placed::default();
    let mut inner = rest.char_indices().skip(1).peekable();
    while let Some((index, c)) = inner.next() {
        if c == '"' {
            match inner.peek() {
                Some((_, '"')) => drop(inner.next()),
                _ => return Some((field, index + 1)),
            }
        }
        field.push(c, value.places[at + index]);
    }
    None
}
