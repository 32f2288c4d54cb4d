//! Outcomes of images for the errors of engines and registries.

use crate::engine::EngineError;
use crate::event::Outcome;

/// Returns the outcome for an engine's error: a connection error if something was not reachable,
/// otherwise one of this `kind`.
pub(super) fn outcome(error: &EngineError, kind: fn(String) -> Outcome, prefix: &str) -> Outcome {
    let text = format!("{prefix}{error}");
    if error.is_out_of_reach() { Outcome::ConnectionError(text) } else { kind(text) }
}
