//! Pulls of external images. A survey pulls them in the same way as a run.

use std::time::Duration;

use super::engine_outcome::outcome;
use crate::engine::{Engine, EngineError, Output};
use crate::event::Outcome;
use crate::image::ImageRef;
use crate::retry::RetryPolicy;

/// Pulls an external image, with retries. If the pull fails, an image that the engine already has is
/// used. Calls `warn` with the reason of each retry and of the use of the engine's image, and
/// `progress` with the bytes that were received and those to receive.
///
/// # Errors
/// Returns the outcome of the images that need this one if the engine does not have it.
pub async fn pull<E: Engine>(
    engine: &E,
    reference: &ImageRef,
    platform: Option<&str>,
    retry: RetryPolicy,
    warn: impl Fn(String),
    progress: impl Fn(u64, u64) + Sync,
) -> Result<(), Outcome> {
    let notify = |pause: Duration, error: &EngineError| {
        let seconds = pause.as_secs_f64();
        warn(format!("the pull failed, retrying in {seconds:.1}s: {error}"));
    };
    let attempt = |_| async {
        let mut sink = |output| {
            if let Output::Bytes { done, total } = output {
                progress(done, total);
            }
        };
        engine.pull(reference, platform, &mut sink).await
    };
    let pulled = retry.run(attempt, notify).await;
    let Err(error) = pulled else { return Ok(()) };
    let own = engine.image(reference).await;
    if own.map_err(|error| outcome(&error, Outcome::Error, ""))?.is_some() {
        warn(format!("the pull failed, the engine's own image is used: {error}"));
        return Ok(());
    }
    Err(outcome(&error, Outcome::Error, &format!("its base {reference} can't be pulled: ")))
}
