//! Retries: how many there are, and how long the pauses between the tries last.

use std::future::Future;
use std::time::Duration;

use crate::engine::EngineError;

/// Pause before the second try.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two tries, unless a registry asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Largest fraction of a pause that is added to it at random.
pub(super) const JITTER: f64 = 0.25;

/// Bounds on the retries of failed work.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Largest number of retries after the first try.
    pub retries: usize,
    /// Longest pause that a registry can ask for, and longest wait for an engine to answer again.
    pub longest: Duration,
}

impl Patience {
    /// Returns the pause after try number `attempt`, from 1, failed with this `error`. The pause is
    /// the one that the registry asks for, up to [`Self::longest`], but at least that of the
    /// exponential backoff.
    pub fn pause(&self, attempt: usize, error: &EngineError) -> Duration {
        let asked = error.asked_pause().unwrap_or_default().min(self.longest);
        pause_after(attempt).max(asked)
    }

    /// Retries `work` with exponential backoff while its error is known to be temporary and retries
    /// are left. Before each pause calls `tell` with the pause and the error of the try.
    ///
    /// # Errors
    /// Returns the error of the last try.
    pub async fn bear<T, F>(
        &self,
        mut work: impl FnMut() -> F,
        tell: impl Fn(Duration, &EngineError),
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut attempt = 1;
        loop {
            match work().await {
                Err(error) if error.is_passing() && attempt <= self.retries => {
                    let pause = self.pause(attempt, &error);
                    tell(pause, &error);
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                settled => return settled,
            }
        }
    }
}

/// Returns the pause after try number `attempt` failed: doubled with each try up to the longest
/// pause, plus random jitter, so that work that failed at the same time is not retried at the same
/// time.
pub(super) fn pause_after(attempt: usize) -> Duration {
    let pause = FIRST_PAUSE * 2u32.saturating_pow(attempt.saturating_sub(1) as u32);
    pause.min(LONGEST_PAUSE).mul_f64(1.0 + JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(asked: Option<u64>) -> EngineError {
        let pause = asked.map(Duration::from_secs);
        EngineError::Busy { reason: "429".to_owned(), pause }
    }

    #[test]
    fn what_a_registry_asks_for_is_waited_within_reason() {
        let patience = Patience { retries: 1, longest: Duration::from_secs(60) };
        let table = [(Some(0), 0.5), (None, 0.5), (Some(7), 7.0), (Some(7200), 60.0)];
        for (asked, expected) in table {
            let pause = patience.pause(1, &busy(asked)).as_secs_f64();
            assert!((expected..=expected * (1.0 + JITTER)).contains(&pause), "{asked:?}: {pause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_passes_is_tried_again() {
        let denied = EngineError::Denied("no".to_owned());
        let table = [(busy(None), 3), (EngineError::Registry("cut".to_owned()), 3), (denied, 1)];
        for (error, expected) in table {
            let mut tries = 0;
            let patience = Patience { retries: 2, longest: Duration::ZERO };
            let came_to: Result<(), _> = patience
                .bear(
                    || {
                        tries += 1;
                        std::future::ready(Err(error.clone()))
                    },
                    |_, _| {},
                )
                .await;
            assert_eq!((came_to.unwrap_err(), tries), (error, expected));
        }
    }
}
