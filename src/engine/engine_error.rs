//! Errors of engines.

use std::time::Duration;

use crate::client_config::CredentialsError;
use crate::registry;
use crate::retry::{Prospect, Retryable};

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
    /// A registry failed.
    #[error("{}", shown(.0))]
    Registry(registry::Error),
    /// The build context can't be sent: a file can't be read, or has changed.
    #[error("its context can't be sent: {0}")]
    Context(String),
    /// The engine refuses the operation for good: the request can't be expressed, or the Dockerfile
    /// can't be parsed.
    #[error("{0}")]
    Rejected(String),
    /// The engine refuses the operation, or the build failed.
    #[error("{0}")]
    Refused(String),
    /// The engine reports success without evidence for it.
    #[error("the engine reported no failure, but {0}")]
    NoEvidence(String),
    /// A needed image is not the one that it has to be.
    #[error("{0}")]
    Moved(String),
}

/// Returns the text of a registry's error.
fn shown(error: &registry::Error) -> String {
    match error.kind {
        registry::Kind::OutOfReach => format!("the registry is unreachable: {error}"),
        _ => error.to_string(),
    }
}

impl From<registry::Error> for EngineError {
    fn from(error: registry::Error) -> Self {
        Self::Registry(error)
    }
}

impl From<registry::NotServed> for EngineError {
    fn from(error: registry::NotServed) -> Self {
        Self::NoEvidence(error.to_string())
    }
}

impl From<CredentialsError> for EngineError {
    fn from(error: CredentialsError) -> Self {
        Self::Registry(error.into())
    }
}

impl EngineError {
    /// Returns true if a registry refused a push, or the engine for a reason of the registry. The
    /// registry may have the image already.
    pub fn is_refused_push(&self) -> bool {
        use registry::Kind;
        match self {
            Self::Refused(_) => true,
            Self::Registry(error) => {
                matches!(error.kind, Kind::Denied | Kind::Immutable | Kind::Uncreated)
            }
            _ => false,
        }
    }

    /// Returns true if the engine or registry was not reachable, rather than having refused.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) | Self::Silent(_) => true,
            Self::Registry(error) => error.kind == registry::Kind::OutOfReach,
            Self::Context(_)
            | Self::Rejected(_)
            | Self::Refused(_)
            | Self::NoEvidence(_)
            | Self::Moved(_) => false,
        }
    }
}

impl Retryable for EngineError {
    fn prospect(&self) -> Prospect {
        match self {
            Self::Registry(error) => error.prospect(),
            Self::Context(_) | Self::Rejected(_) => Prospect::Permanent,
            Self::Unreachable { .. }
            | Self::Broken(_)
            | Self::Silent(_)
            | Self::Refused(_)
            | Self::NoEvidence(_)
            | Self::Moved(_) => Prospect::Transient(None),
        }
    }
}
