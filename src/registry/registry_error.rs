//! Errors of registries, classified by the reaction of the caller.

use std::time::Duration;

use crate::client_config::CredentialsError;
use crate::retry::{Prospect, Retryable};

/// Kind of a registry's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The registry does not have the requested object.
    Missing,
    /// The registry, or its token service, denies access. Many registries also answer this to a
    /// question about an image that does not exist.
    Denied,
    /// The tag has an image already, and the registry lets nobody move it.
    Immutable,
    /// The repository does not exist, and a push does not create it.
    Uncreated,
    /// The credentials for the registry can't be read.
    NoCredentials {
        /// True if they may be read later: a helper failed.
        is_temporary: bool,
    },
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
    /// Advice to the user; `None` if there is none.
    pub cure: Option<String>,
}

impl Error {
    /// Creates an error without advice.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), cure: None }
    }

    /// Returns the error with this text before its own.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        Self { text: format!("{text}: {}", self.text), ..self }
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

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        Self::new(
            Kind::NoCredentials { is_temporary: error.reason.is_transient },
            error.to_string(),
        )
    }
}

impl Retryable for Error {
    fn prospect(&self) -> Prospect {
        match self.kind {
            Kind::OutOfReach | Kind::NoCredentials { is_temporary: true } => {
                Prospect::Transient(None)
            }
            Kind::Busy { pause } => Prospect::Transient(pause),
            Kind::Denied => Prospect::Once,
            Kind::Missing
            | Kind::Immutable
            | Kind::Uncreated
            | Kind::NoCredentials { is_temporary: false }
            | Kind::WrongAnswer
            | Kind::Unsafe => Prospect::Permanent,
        }
    }
}
