//! Path patterns of Docker, as in `.dockerignore`: they select the files that a build context
//! leaves out, and the files of a context that BuildKit asks for.
//!
//! A pattern has the syntax of Go's `filepath.Match`, extended by `**` for any number of folders.
//! A pattern covers each path that it matches and everything below it. A later pattern that begins
//! with `!` makes an exception. The rules are those of `github.com/moby/patternmatcher`.

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

/// Patterns of an ignore file or of a request, in their order.
#[derive(Debug, Clone)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    is_exception: bool,
    regex: Regex,
}

/// Line that is not a valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: '{text}' is not a path pattern")]
pub struct NoPattern {
    /// Line number, counted from 1.
    pub line: usize,
    /// Text of the line.
    pub text: String,
}

impl Patterns {
    /// Parses the text of a `.dockerignore`: one pattern a line, where `#` begins a comment.
    ///
    /// # Errors
    /// The first line that is not a valid pattern.
    pub fn of_ignore_file(text: &str) -> Result<Self, NoPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self::new(text.lines().map(|line| if line.starts_with('#') { "" } else { line }))
    }

    /// Parses a list of patterns, skipping empty ones.
    ///
    /// # Errors
    /// The first entry that is not a valid pattern.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, NoPattern> {
        let mut read = Vec::new();
        for (line, text) in (1..).zip(patterns) {
            let text = text.trim();
            if !text.is_empty() {
                let no_pattern = || NoPattern { line, text: text.to_owned() };
                read.push(Pattern::new(text).ok_or_else(no_pattern)?);
            }
        }
        Ok(Self(read))
    }

    /// Returns true if the last pattern that matches `path`, or a folder above it, is not an
    /// exception. `path` is relative to the root of the context.
    pub fn is_ignored(&self, path: &str) -> bool {
        let mut is_covered = false;
        for pattern in &self.0 {
            if pattern.is_exception == is_covered && pattern.matches(path) {
                is_covered = !is_covered;
            }
        }
        is_covered
    }
}

impl Pattern {
    fn new(text: &str) -> Option<Self> {
        let (is_exception, pattern) = match text.strip_prefix('!') {
            Some("") => return None,
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        let regex = Regex::new(&as_regex(&cleaned(pattern))?).ok()?;
        Some(Self { is_exception, regex })
    }

    /// Returns true if the pattern matches a path or one of its parent folders.
    fn matches(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        folders.chain([path]).any(|path| self.regex.is_match(path))
    }
}

/// Returns a path relative to the root, simplified as by Go's `filepath.Clean`.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns a regular expression that matches the same paths as a pattern; `None` if the pattern is
/// invalid.
fn as_regex(pattern: &str) -> Option<String> {
    let mut regex = String::from("(?s)^");
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                regex += if rest.peek().is_none() { ".*" } else { "(.*/)?" };
            }
            '*' => regex += "[^/]*",
            '?' => regex += "[^/]",
            '[' => regex += &class(&mut rest)?,
            '\\' => push_literal(&mut regex, rest.next()?),
            literal => push_literal(&mut regex, literal),
        }
    }
    Some(regex + "$")
}

/// Returns the regular expression of a character class, reading what follows its `[`; `None` if the
/// class has no end or is invalid.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut class = String::from("[");
    if rest.next_if_eq(&'^').is_some() {
        class.push('^');
    }
    let nothing_yet = class.len();
    while class.len() == nothing_yet || rest.next_if_eq(&']').is_none() {
        let low = member(rest)?;
        push_literal(&mut class, low);
        if rest.next_if_eq(&'-').is_some() {
            let high = member(rest)?;
            class.push('-');
            push_literal(&mut class, high);
        }
    }
    Some(class + "]")
}

/// Returns the next character of a class, or of one end of a range in it; `None` if it is `-` or
/// `]`, or if the pattern ends.
fn member(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        member => Some(member),
    }
}

fn push_literal(regex: &mut String, literal: char) {
    regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered<'a>(ignore_file: &str, paths: &'a str) -> Vec<&'a str> {
        let patterns = Patterns::of_ignore_file(ignore_file).unwrap();
        paths.split(' ').filter(|path| patterns.is_ignored(path)).collect()
    }

    #[test]
    fn patterns_cover_what_docker_has_them_cover() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("", "a a/b", &[]),
            ("\u{feff}# a\n\n  b  \r\n", "a b b/c ab", &["b", "b/c"]),
            ("a/b", "a a/b a/b/c b x/a/b", &["a/b", "a/b/c"]),
            ("/a/./x/../b/", "a a/b a/b/c", &["a/b", "a/b/c"]),
            ("*.md", "x.md a/x.md xmd .md", &["x.md", ".md"]),
            ("*/x?", "a/xy a/x a/b/xy xy", &["a/xy"]),
            ("**/x", "x a/x a/b/x ax x/y", &["x", "a/x", "a/b/x", "x/y"]),
            ("a/**", "a a/b a/b/c b", &["a/b", "a/b/c"]),
            ("a/**/z", "a/z a/b/z a/b/c/z z a/bz", &["a/z", "a/b/z", "a/b/c/z"]),
            ("**", "a a/b", &["a", "a/b"]),
            ("*\n!a", "a a/b b b/a", &["b", "b/a"]),
            ("a\n!a/b\na/b/c", "a a/x a/b a/b/c a/b/d", &["a", "a/x", "a/b/c"]),
            ("! a\na", "a", &["a"]),
            ("[a-c]x[^0-9]", "axy bx1 dxy cx-", &["axy", "cx-"]),
            (r"\*\[x", "*[x a[x", &["*[x"]),
            (r"[\]\-a]", "] - a b", &["]", "-", "a"]),
            ("[&&b]~(x)+{1}^$|.#", "&~(x)+{1}^$|.# a", &["&~(x)+{1}^$|.#"]),
            (".", "a a/b", &[]),
            ("ä*", "äb a", &["äb"]),
        ];
        for (file, paths, expected) in cases {
            assert_eq!(covered(file, paths), *expected, "{file:?}");
        }
    }

    #[test]
    fn invalid_pattern_is_reported_with_its_line() {
        for text in ["[", "[a", "[]", "[]a]", "[-]", "[b-a]", "[a-]", "a\\", "!", "[^]"] {
            let error = Patterns::of_ignore_file(&format!("# x\n\n {text}\n")).unwrap_err();
            assert_eq!(error, NoPattern { line: 3, text: text.to_owned() });
        }
        let error = Patterns::new(["a", "["]).unwrap_err();
        assert_eq!(error.to_string(), "line 2: '[' is not a path pattern");
    }
}
