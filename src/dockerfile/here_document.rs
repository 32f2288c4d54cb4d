//! One here-document: its opening, such as `<<-EOF`, and its body.

use std::borrow::Cow;
use std::ops::Range;

use super::budget::Budget;
use super::lexer::Lexer;

/// Mark that opens a here-document.
pub(super) const OPENS_DOCUMENT: &str = "<<";

/// Opening of a here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    /// Line that ends it, without quotes and escapes.
    pub(super) name: String,
    /// True if tabs at the start of its lines are removed.
    pub(super) strips_tabs: bool,
    /// True if the name has quotes or escapes: a shell expands nothing in the body.
    pub(super) is_quoted: bool,
}

/// Here-document of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HereDocument<'a> {
    pub(super) opening: Opening,
    /// Lines of the file before the one that ends it.
    pub(super) body: &'a str,
    /// Byte of the file at which the body begins.
    pub(super) start: usize,
}

impl HereDocument<'_> {
    /// Returns the line that ends it.
    pub fn name(&self) -> &str {
        &self.opening.name
    }

    /// Returns true if a shell expands nothing in the body.
    pub fn is_quoted(&self) -> bool {
        self.opening.is_quoted
    }

    /// Returns the bytes of the file that the body stands in, without the line that ends it.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.body.len()
    }

    /// Returns the body as it is in the file, with the tabs that `<<-` removes.
    pub fn body(&self) -> &str {
        self.body
    }

    /// Returns the body as a program reads it.
    pub fn content(&self) -> Cow<'_, str> {
        if !self.opening.strips_tabs {
            return Cow::Borrowed(self.body);
        }
        let lines = self.body.split_inclusive('\n');
        Cow::Owned(lines.map(|line| line.trim_start_matches('\t')).collect())
    }
}

/// Returns the lexer of here-documents, which always has the backslash and no variables.
pub(super) fn bare_lexer() -> Lexer {
    Lexer { keeps_unset: true, ..Lexer::new('\\') }
}

/// Reads a word as the opening of a here-document: digits for a file descriptor, `<<`, an optional
/// `-`, white space and the name. `None` if it is anything else.
///
/// # Errors
/// When the name is not a valid word; the message is returned.
pub(super) fn opening(word: &str) -> Result<Option<Opening>, String> {
    let opening = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(after) = opening.strip_prefix(OPENS_DOCUMENT) else { return Ok(None) };
    let (strips_tabs, written) = match after.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, after),
    };
    let written = written.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
    if written.is_empty() || written.contains('<') {
        return Ok(None);
    }
    let mut words =
        bare_lexer().split(written, &|_| None, &mut Budget::new()).map_err(|error| {
            format!("the name of the here-document '{written}' is not valid: {}", error.0)
        })?;
    match (words.pop(), words.is_empty()) {
        (Some(name), true) => {
            let is_quoted = name != written;
            Ok(Some(Opening { name, strips_tabs, is_quoted }))
        }
        _ => Ok(None),
    }
}
