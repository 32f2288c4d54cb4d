//! Errors of registries, classified by the reaction of the caller.

use std::time::Duration;

use crate::retry::{Prospect, Retryable};

/// Kind of a registry's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The registry does not have the requested object.
    Missing,
    /// The registry, or its token service, denies access.
    Denied,
    /// The registry, or its token service, is temporarily unable to answer.
    Busy {
        /// Pause that the answer asks for; `None` if it asks for none.
        pause: Option<Duration>,
    },
    /// No answer, or no complete one, arrived.
    OutOfReach,
    /// The answer is complete, but can't be used.
    WrongAnswer,
    /// Following the answer would send credentials, or the request itself, to a host that must not
    /// get them.
    Unsafe,
}

/// Error of a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// Kind of the error.
    pub kind: Kind,
    /// Reason in words.
    pub text: String,
}

impl Error {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Creates the error of a registry that could not be reached.
    pub fn out_of_reach(text: impl Into<String>) -> Self {
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

impl Retryable for Error {
    fn prospect(&self) -> Prospect {
        match self.kind {
            Kind::OutOfReach => Prospect::Transient(None),
            Kind::Busy { pause } => Prospect::Transient(pause),
            Kind::Missing | Kind::Denied | Kind::WrongAnswer | Kind::Unsafe => Prospect::Permanent,
        }
    }
}
