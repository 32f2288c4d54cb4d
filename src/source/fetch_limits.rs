//! Limits of fetching: the size of sources, and the time that servers get.

use std::time::Duration;

use crate::program::Limits;

/// Largest size of the sources of an image, fetched and unpacked, in bytes. They are stored on the
/// build machine, and no real source is larger: more data means a server that does not stop sending.
pub(super) const LARGEST: u64 = 8 << 30;

/// Time limits for the servers that sources come from.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest time without data from a server.
    pub silence: Duration,
}

impl Pace {
    /// Returns the longest time for one source as a whole.
    pub fn total(self) -> Duration {
        const SILENCES: u32 = 30;
        self.silence.saturating_mul(SILENCES)
    }

    /// Returns the fewest bytes that have to arrive within the time of [`Self::silence`]; with
    /// fewer the download fails.
    pub(super) fn least(self) -> u64 {
        const LEAST_PER_SECOND: u64 = 10;
        self.silence.as_secs().saturating_mul(LEAST_PER_SECOND)
    }

    /// Returns the limits for a program that connects to a server.
    pub(super) fn limits(self) -> Limits {
        const MOST_OUTPUT: usize = 64 << 20;
        Limits { silence: self.silence, total: self.total(), output: MOST_OUTPUT, folder: None }
    }
}
