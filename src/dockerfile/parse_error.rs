//! Error of a reader of Dockerfiles.

use std::ops::Range;

/// Reason why a text is not a usable Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Description of the error.
    pub message: String,
    /// Bytes of the text that are wrong.
    pub span: Range<usize>,
    /// Suggested fix; `None` if there is none.
    pub help: Option<String>,
}
