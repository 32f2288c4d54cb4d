//! Retries of failed operations: one classification of errors, exponential backoff, and the pauses
//! that servers ask for.
//!
//! The loop is Kiln's own. The crate `backon` would give the same pauses, but its hook before a
//! retry is not asynchronous, and an operation does not learn the number of its attempt.

use std::time::Duration;

use tracing::Instrument as _;

/// Pause after the first attempt.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause of the exponential backoff.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Largest fraction of a pause that is added to it at random.
pub const JITTER: f64 = 0.25;

/// Prospect of a retry after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// A retry would fail the same way.
    Permanent,
    /// One retry may succeed, with credentials looked up anew. A second error like this is final.
    Once,
    /// A retry may succeed, after the pause that the server asks for; `None` if it asks for none.
    Transient(Option<Duration>),
}

/// Error of an operation that may be retried.
pub trait Retryable {
    /// Returns the prospect of a retry.
    fn prospect(&self) -> Prospect;
}

/// Bounds on the retries of a failed operation.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Largest number of retries after the first attempt.
    pub retries: usize,
    /// Longest pause that a server can ask for, and longest wait for an engine to answer again.
    pub max_pause: Duration,
}

impl RetryPolicy {
    /// Runs `operation` until it succeeds, its error is permanent, or no retry is left.
    /// `operation` takes the number of the attempt, from 1. Calls `notify` before each pause with
    /// the pause and the error of the attempt.
    ///
    /// # Errors
    /// Returns the error of the last attempt.
    pub async fn run<T, E: Retryable, F: Future<Output = Result<T, E>>>(
        &self,
        mut operation: impl FnMut(usize) -> F,
        notify: impl Fn(Duration, &E),
    ) -> Result<T, E> {
        let mut attempt = 1;
        let mut is_refused = false;
        loop {
            let span = tracing::debug_span!(target: "kiln::retry", "attempt", number = attempt);
            let error = match operation(attempt).instrument(span).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let prospect = error.prospect();
            let is_final = is_refused && prospect == Prospect::Once;
            is_refused |= prospect == Prospect::Once;
            let pause = if is_final { None } else { self.pause(attempt, prospect) };
            let Some(pause) = pause else { return Err(error) };
            tracing::debug!(target: "kiln::retry", attempt, milliseconds = pause.as_millis(), "pause");
            notify(pause, &error);
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Returns the pause after attempt number `attempt`, from 1: that of the backoff, or the longer
    /// one that the server asks for, up to [`Self::max_pause`]. `None` if there is no retry.
    fn pause(&self, attempt: usize, prospect: Prospect) -> Option<Duration> {
        match prospect {
            _ if attempt > self.retries => None,
            Prospect::Transient(asked) => {
                Some(backoff(attempt).max(asked.unwrap_or_default().min(self.max_pause)))
            }
            Prospect::Once => Some(backoff(attempt)),
            Prospect::Permanent => None,
        }
    }
}

/// Returns the pause of the backoff: doubled with each attempt up to the longest one, plus random
/// jitter, so that operations that failed at the same time are not retried at the same time.
fn backoff(attempt: usize) -> Duration {
    let pause = FIRST_PAUSE * 2u32.saturating_pow(attempt.saturating_sub(1) as u32);
    pause.min(LONGEST_PAUSE).mul_f64(1.0 + JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Error with this prospect.
    #[derive(Debug, PartialEq)]
    struct Failed(Prospect);

    impl Retryable for Failed {
        fn prospect(&self) -> Prospect {
            self.0
        }
    }

    #[test]
    fn pause_is_the_requested_one_within_its_limit() {
        let policy = RetryPolicy { retries: 1, max_pause: Duration::from_secs(60) };
        let table = [(Some(0), 0.5), (None, 0.5), (Some(7), 7.0), (Some(7200), 60.0)];
        for (asked, expected) in table {
            let prospect = Prospect::Transient(asked.map(Duration::from_secs));
            let pause = policy.pause(1, prospect).unwrap().as_secs_f64();
            assert!((expected..=expected * (1.0 + JITTER)).contains(&pause), "{asked:?}: {pause}");
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        for (attempt, seconds) in [(1, 0.5), (2, 1.0), (4, 4.0), (7, 30.0), (99, 30.0)] {
            let pause = backoff(attempt).as_secs_f64();
            assert!((seconds..=seconds * (1.0 + JITTER)).contains(&pause), "{attempt}: {pause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_transient_errors_are_retried() {
        let asked = Some(Duration::from_secs(7));
        let table = [
            (Prospect::Transient(None), 3),
            (Prospect::Transient(asked), 3),
            (Prospect::Once, 2),
            (Prospect::Permanent, 1),
        ];
        for (prospect, attempts) in table {
            let policy = RetryPolicy { retries: 2, max_pause: Duration::from_secs(60) };
            let mut last = 0;
            let operation = |attempt| {
                last = attempt;
                std::future::ready(Err::<(), _>(Failed(prospect)))
            };
            let ended = policy.run(operation, |_, _| {}).await;
            assert_eq!((ended, last), (Err(Failed(prospect)), attempts));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn second_refusal_is_final_whatever_came_between() {
        let (once, transient) = (Prospect::Once, Prospect::Transient(None));
        let table: [(&[Prospect], usize); 4] = [
            (&[once, transient, transient], 4),
            (&[once, transient, once, transient], 3),
            (&[transient, once, once], 3),
            (&[transient, transient, once, transient], 5),
        ];
        for (errors, attempts) in table {
            let policy = RetryPolicy { retries: 9, max_pause: Duration::ZERO };
            let mut last = 0;
            let operation = |attempt: usize| {
                last = attempt;
                std::future::ready(errors.get(attempt - 1).map_or(Ok(()), |p| Err(Failed(*p))))
            };
            drop(policy.run(operation, |_, _| {}).await);
            assert_eq!(last, attempts, "{errors:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_the_retries() {
        let policy = RetryPolicy { retries: 9, max_pause: Duration::ZERO };
        let operation = |attempt| {
            let failed = Failed(Prospect::Transient(None));
            std::future::ready(if attempt < 3 { Err(failed) } else { Ok(attempt) })
        };
        assert_eq!(policy.run(operation, |_, _| {}).await, Ok(3));
    }
}
