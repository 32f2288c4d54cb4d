//! How often what failed is tried again, and how long is waited in between.

use std::future::Future;
use std::time::Duration;

use crate::engine::EngineError;

/// How long to wait before the second try.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait at most between two tries, unless a registry asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How much of a pause may be added to it.
pub(super) const JITTER: f64 = 0.25;

/// How much trouble is borne.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How many tries follow a failed one.
    pub retries: usize,
    /// How long to wait at most because somebody asks for it.
    pub longest: Duration,
}

impl Patience {
    /// How long to wait after a try, the first being 1, that failed of this `error`: as long as the
    /// registry asks for, as far as there is patience, and at least twice as long each time.
    pub fn pause(&self, attempt: usize, error: &EngineError) -> Duration {
        let asked = error.asked_pause().unwrap_or_default().min(self.longest);
        pause_after(attempt).max(asked)
    }

    /// Does what may fail for a while until it does not, or has failed as often as there may be. Before
    /// each pause `tell` is told how long that is, and of what the try failed.
    ///
    /// # Errors
    /// The last.
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

/// How long to wait after a try that failed: twice as long each time, and not the same for all that
/// failed at once.
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
