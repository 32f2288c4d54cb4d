//! Patterns of `${name#pattern}` and the like, matched as BuildKit matches them.
//!
//! A pattern becomes a regex: `?` is one character, `*` any number of them, a backslash escapes
//! these two and itself. There are no bracket expressions. The size of a match is limited, since
//! patterns and values may come from anybody who writes a Dockerfile.

use regex::Regex;

use super::budget::{Budget, LexerError};

/// Largest size of a pattern, in bytes.
const LONGEST_PATTERN: usize = 4096;

/// End of a value at which a match is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Start of the value: `#`.
    Start,
    /// End of the value: `%`.
    End,
}

/// Length of the match that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Shortest one: `#`, `%`.
    Shortest,
    /// Longest one: `##`, `%%`.
    Longest,
}

/// Removes a match of `pattern` at an end of `value`.
///
/// # Errors
/// When the pattern is not valid, or takes more steps than are left.
pub(super) fn trim(
    value: &str,
    pattern: &str,
    end: End,
    reach: Reach,
    budget: &mut Budget,
) -> Result<String, LexerError> {
    // A regex finds the leftmost match, so an end is searched for in the reversed value.
    let reversed = (end == End::End).then(|| (reversed(value), reversed_pattern(pattern)));
    let (value, pattern) = match &reversed {
        Some((value, pattern)) => (value.as_str(), pattern.as_str()),
        None => (value, pattern),
    };
    let anchored = compiled(pattern, reach, true)?;
    budget.take_steps(steps(value, pattern))?;
    let rest = anchored.find(value).map_or(value, |found| &value[found.end()..]);
    Ok(match end {
        End::Start => rest.to_owned(),
        End::End => self::reversed(rest),
    })
}

/// Replaces the first match of `pattern` in `value`, or each. In the replacement of each, `$name`
/// stands for a group of the regex, of which there is only `$0`, as in BuildKit.
///
/// # Errors
/// When the pattern is not valid, or takes more steps or more bytes than are left.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    is_each: bool,
    budget: &mut Budget,
) -> Result<String, LexerError> {
    let regex = compiled(pattern, Reach::Longest, false)?;
    budget.take_steps(steps(value, pattern))?;
    let mut result = String::new();
    let mut rest = 0;
    for found in regex.captures_iter(value).take(if is_each { usize::MAX } else { 1 }) {
        let Some(whole) = found.get(0) else { continue };
        result.push_str(&value[rest..whole.start()]);
        let before = result.len();
        if is_each {
            found.expand(replacement, &mut result);
        } else {
            result.push_str(replacement);
        }
        budget.take_value(result.len() - before)?;
        rest = whole.end();
    }
    result.push_str(&value[rest..]);
    Ok(result)
}

fn steps(value: &str, pattern: &str) -> usize {
    (value.len() + 1).saturating_mul(pattern.len() + 1)
}

fn compiled(pattern: &str, reach: Reach, is_anchored: bool) -> Result<Regex, LexerError> {
    let invalid = |reason: &str| {
        let shown: String = pattern.chars().take(64).collect();
        LexerError(format!("invalid pattern ({shown}) in substitution: {reason}"))
    };
    if pattern.len() > LONGEST_PATTERN {
        return Err(invalid(&format!("it has more than {LONGEST_PATTERN} bytes")));
    }
    let mut text = String::from(if is_anchored { "^" } else { "" });
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        let literal = match (c, rest.peek()) {
            ('*', _) => {
                text.push_str(if reach == Reach::Longest { ".*" } else { ".*?" });
                continue;
            }
            ('?', _) => {
                text.push('.');
                continue;
            }
            ('\\', Some('}' | '/')) => continue,
            ('\\', Some(escaped @ ('*' | '?' | '\\'))) => {
                let escaped = *escaped;
                rest.next();
                escaped
            }
            ('\\', Some(other)) => return Err(invalid(&format!("invalid escape '\\{other}'"))),
            ('\\', None) => return Err(invalid("invalid escape at its end")),
            (c, _) => c,
        };
        text.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    }
    Regex::new(&text).map_err(|_| invalid("it is too complex"))
}

/// Reverses a pattern; an escape stays before the character that it escapes.
fn reversed_pattern(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let mut size = c.len_utf8();
        if c == '\\' {
            size += rest[1..].chars().next().map_or(0, char::len_utf8);
        }
        let (part, after) = rest.split_at(size);
        parts.push(part);
        rest = after;
    }
    parts.into_iter().rev().collect()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}
