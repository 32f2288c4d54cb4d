//! Errors of registries, by what a caller can do about them.

use std::time::Duration;

/// Kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The registry does not have what was asked for.
    Missing,
    /// The registry, or its token service, does not allow it.
    Denied,
    /// The registry, or its token service, asks to be asked later.
    Busy {
        /// Pause that the answer asks for.
        pause: Option<Duration>,
    },
    /// No answer came, or no whole one.
    OutOfReach,
    /// The answer was understood and is none that can be used.
    WrongAnswer,
    /// Following the answer would send credentials, or the program itself, where they do not belong.
    Unsafe,
}

/// An error of a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// The reason in words.
    pub text: String,
}

impl Error {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(super) fn out_of_reach(text: impl Into<String>) -> Self {
        Self::new(Kind::OutOfReach, text)
    }

    pub(super) fn wrong(text: impl Into<String>) -> Self {
        Self::new(Kind::WrongAnswer, text)
    }

    pub(super) fn not_safe(text: impl Into<String>) -> Self {
        Self::new(Kind::Unsafe, text)
    }

    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self::new(Kind::Denied, text)
    }
}
