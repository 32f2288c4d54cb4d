//! Nesting depth of the expressions in a Python module, estimated without parsing it.
//!
//! The parser and the destructor of a syntax tree recurse; deeply nested input would overflow the
//! stack. A module that is nested deeper than any known table is therefore not parsed.

/// Largest depth of expressions. Those of known releases have about twenty levels.
const DEEPEST: usize = 500;

/// Returns the offset of the first byte at which a module is nested too deep, if it is.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = vec![Level::default()];
    let mut below = 0;
    let mut position = 0;
    while position < bytes.len() {
        let is_outermost = open.len() == 1;
        let level = open.last_mut().expect("the outermost is never closed");
        let start = position;
        position = match bytes[start] {
            b'#' => end_of_comment(bytes, start),
            b'"' | b'\'' => end_of_text(bytes, start),
            b'(' | b'[' | b'{' => {
                below += level.here;
                open.push(Level::default());
                start + 1
            }
            b')' | b']' | b'}' => {
                let inner = level.depth();
                if !is_outermost {
                    open.pop();
                    let outer = open.last_mut().expect("the outermost is never closed");
                    below -= outer.here;
                    outer.here += inner + 1;
                }
                start + 1
            }
            b',' => {
                level.next();
                start + 1
            }
            b'\n' if is_outermost && !text[..start].ends_with('\\') => {
                *level = Level::default();
                start + 1
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let end = end_of_word(bytes, start);
                let joins =
                    ["and", "await", "else", "if", "in", "is", "lambda", "not", "or", "yield"];
                level.here += usize::from(joins.contains(&&text[start..end]));
                end
            }
            byte => {
                level.here += usize::from(b"+-*/%@|&^~<>=!.:".contains(&byte));
                start + 1
            }
        };
        let here = open.last().map_or(0, |level| level.here);
        if below + here + open.len() > DEEPEST {
            return Some(start);
        }
    }
    None
}

/// Depths within a pair of brackets.
#[derive(Default)]
struct Level {
    /// Depth of the current part, assuming that everything in it is nested.
    here: usize,
    /// Depth of the deepest part before it.
    before: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.here.max(self.before)
    }

    fn next(&mut self) {
        self.before = self.depth();
        self.here = 0;
    }
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let line = bytes[start..].iter().position(|byte| *byte == b'\n');
    line.map_or(bytes.len(), |length| start + length)
}

fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes[start..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |end| start + end)
}

/// Returns the end of the string that begins at `start`, or of the line if the string is not
/// closed.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let ends_long = |position: usize| bytes[position..].starts_with(&[quote; 3]);
    let is_long = ends_long(start);
    let mark = if is_long { 3 } else { 1 };
    let mut position = start + mark;
    while position < bytes.len() {
        match bytes[position] {
            b'\\' => position += 1,
            b'\n' if !is_long => return position,
            byte if byte == quote && (!is_long || ends_long(position)) => return position + mark,
            _ => {}
        }
        position += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_deep_nesting_is_found() {
        let many = |start: &str, part: &str, end: &str| format!("{start}{}{end}", part.repeat(600));
        let table = [
            (many("a = ", "(", ""), true),
            (many("a = ", "[", ""), true),
            (many("a = 1", " + 1", ""), true),
            (many("a = ", "not ", "1"), true),
            (many("a = ", "-", "1"), true),
            (many("a = b", ".b", ""), true),
            (many("a = b", "()", ""), true),
            (many("a = ", "lambda: ", "1"), true),
            (many("a = 1", " if 1 else 1", ""), true),
            (many("a = 1", " \\\n + 1", ""), true),
            (many("a = ", "[0, ", ""), true),
            (many("a = ", "[[0, ", &"]+1, 2]+1".repeat(600)), true),
            (many("a = ", "f\"{f\"{", ""), true),
            (many("", "a = b.c(d=1)\n", ""), false),
            (many("a = [", "b.c(d=1), ", "]"), false),
            (many("a = {", "'b': ['c', {'d': 1}],\n", "}"), false),
            (many("a = '", "(", "'"), false),
            (many("a = '''\n", "it's (\n", "'''"), false),
            (many("a = 1 # ", "(", ""), false),
            (many("a = 'b", "\\'(", "'"), false),
            (many("a = [", "]", ""), false),
        ];
        for (text, expected) in table {
            assert_eq!(too_deep(&text).is_some(), expected, "{}", &text[..20]);
        }
    }
}
