//! Formats of times and durations, for people and for programs.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::plain::plain;
use crate::visible;

/// Duration that is written as a number of seconds, rounded to milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(inline))]
pub struct Seconds(#[cfg_attr(test, schemars(range(min = 0.0)))] f64);

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self((duration.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

/// Time in UTC as RFC 3339 defines it, with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Time(
    #[cfg_attr(test, schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")))]
    String,
);

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self(timestamp(time))
    }
}

/// Formats a time as RFC 3339 in UTC, with milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// Formats a duration for people: `1.2s`, `3m 04s`, `2h 00m`.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1}s", duration.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// Largest size of the last line of a silent build, in bytes.
const LONGEST_LAST_LINE: usize = 1 << 10;

/// Describes the silence of a build that is given up after `limit`, with the last line of its output.
pub fn silent(silence: Duration, limit: Duration, last: &str) -> String {
    let (silence, limit) = (clock(silence), clock(limit));
    let text = format!("no output for {silence}, given up after {limit} (--timeout)");
    match visible::cut(&plain(last), LONGEST_LAST_LINE).trim() {
        "" => text,
        last => format!("{text}; the last line is: {last}"),
    }
}

/// Formats an estimated duration: `40s`, `12m`, `2h 10m`.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 99.5 {
        return format!("{}s", seconds.round().max(1.0));
    }
    let minutes = (seconds / 60.0).round();
    if minutes < 60.0 {
        return format!("{minutes}m");
    }
    let tens = (seconds / 600.0).round();
    format!("{}h {:02}m", (tens / 6.0).floor(), tens % 6.0 * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_described_with_the_last_line() {
        let described = |last: &str| silent(Duration::from_mins(1), Duration::from_mins(2), last);
        let start = "no output for 1m 00s, given up after 2m 00s (--timeout)";
        assert_eq!(described(" "), start);
        assert_eq!(described("Go on? [y/N] "), format!("{start}; the last line is: Go on? [y/N]"));
        let bar = " 10%\r\u{1b}[32m 20%\u{1b}[0m";
        assert_eq!(described(bar), format!("{start}; the last line is: 20%"));
        assert!(described(&"x".repeat(1 << 20)).len() < 1200);
    }

    #[test]
    fn estimated_durations_are_rounded() {
        let table = [
            (0.2, "1s"),
            (89.6, "90s"),
            (100.0, "2m"),
            (724.0, "12m"),
            (3599.0, "1h 00m"),
            (7500.0, "2h 10m"),
        ];
        for (seconds, expected) in table {
            assert_eq!(rough(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn durations_have_their_largest_two_units() {
        let clock = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!(
            [clock(0), clock(59), clock(64), clock(7260)],
            ["0.0s", "59.0s", "1m 04s", "2h 01m"]
        );
    }
}
