//! Errors of engines.

use std::time::Duration;

use crate::client_config::credentials::CredentialsError;
use crate::registry;

/// Error of an engine's operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine answers.
    #[error("no engine answers at {endpoint}: {cause}")]
    Unreachable {
        /// Endpoint that was tried.
        endpoint: String,
        /// Cause of the failure.
        cause: String,
        /// Advice to the user.
        cure: String,
    },
    /// The connection broke, or the engine's answer was invalid.
    #[error("the connection to the engine failed: {0}")]
    Broken(String),
    /// The engine sent no data for this long.
    #[error("no answer from the engine for {} s (--timeout)", .0.as_secs())]
    Silent(Duration),
    /// The registry can't be reached.
    #[error("the registry is unreachable: {0}")]
    Registry(String),
    /// The registry answers that it is temporarily unable: there are too many requests, or it has
    /// an internal error.
    #[error("{reason}")]
    Busy {
        /// Answer of the registry.
        reason: String,
        /// Pause that the registry asks for; `None` if it asks for none.
        pause: Option<Duration>,
    },
    /// The registry denies access; a retry does not help.
    #[error("{0}")]
    Denied(String),
    /// The engine refuses the operation, or the build failed.
    #[error("{0}")]
    Refused(String),
    /// The engine reports success without evidence for it.
    #[error("the engine reported no failure, but {0}")]
    NoEvidence(String),
    /// A needed image is not the one that it has to be.
    #[error("{0}")]
    Moved(String),
    /// The request can't be expressed.
    #[error("{0}")]
    Unaskable(String),
}

impl From<registry::Error> for EngineError {
    fn from(error: registry::Error) -> Self {
        match error.kind {
            registry::Kind::OutOfReach => Self::Registry(error.text),
            registry::Kind::Busy { pause } => Self::Busy { reason: error.text, pause },
            registry::Kind::Denied | registry::Kind::Unsafe => Self::Denied(error.text),
            registry::Kind::Missing | registry::Kind::WrongAnswer => Self::Refused(error.text),
        }
    }
}

impl From<CredentialsError> for EngineError {
    fn from(error: CredentialsError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl EngineError {
    /// Returns true if the engine or registry was not reachable, rather than having refused.
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) | Self::Silent(_) | Self::Registry(_) => {
                true
            }
            Self::Busy { .. }
            | Self::Denied(_)
            | Self::Refused(_)
            | Self::NoEvidence(_)
            | Self::Moved(_)
            | Self::Unaskable(_) => false,
        }
    }

    /// Returns true if the error is known to be temporary.
    pub fn is_passing(&self) -> bool {
        self.is_connection() || matches!(self, Self::Busy { .. })
    }

    /// Returns true if a retry would fail the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Unaskable(_))
    }

    /// Returns the pause that a registry asks for; `None` if it asks for none.
    pub fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Busy { pause, .. } => *pause,
            _ => None,
        }
    }
}
