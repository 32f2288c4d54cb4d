//! Failures to fetch a source.

use std::fmt;

use super::configured_source::Source;
use crate::git::RemoteError;
use crate::program::{Ended, RunError};
use crate::retry::{Prospect, Retryable};
use crate::secret::without_secrets;

/// Failure to fetch a source, displayed in one line with its location and without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// Name of the source.
    pub name: String,
    /// Location of the source.
    pub location: String,
    /// Reason of the failure.
    pub reason: String,
    /// True if a retry may succeed.
    pub transient: bool,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = format!("the source [{}] {}: {}", self.name, self.location, self.reason);
        f.write_str(&without_secrets(&told))
    }
}

impl std::error::Error for FetchError {}

impl Retryable for FetchError {
    fn prospect(&self) -> Prospect {
        if self.transient { Prospect::Transient(None) } else { Prospect::Permanent }
    }
}

/// End of the reason for a failure that is due to a limit of time: the option for these limits.
pub(super) const OF_TIME: &str = "(--timeout)";

impl Source {
    /// Returns a failure that a retry would not change.
    pub(super) fn failed(&self, reason: impl Into<String>) -> FetchError {
        let (name, location) = (self.name.to_string(), self.location.clone());
        FetchError { name, location, reason: reason.into(), transient: false }
    }

    /// Returns a failure that a retry may cure.
    pub(super) fn failed_for_now(&self, reason: impl Into<String>) -> FetchError {
        FetchError { transient: true, ..self.failed(reason) }
    }

    /// Returns the failure of a program that could not be run to its end.
    pub(super) fn not_run(&self, program: &str, error: &RunError) -> FetchError {
        match error.is_transient() {
            true => self.failed_for_now(format!("{program}: {error} {OF_TIME}")),
            false => self.failed(format!("{program}: {error}")),
        }
    }

    /// Returns an error with the reason if the program failed: its last line marked as an error,
    /// otherwise its last meaningful line. The error is transient if the output contains one of
    /// `of_connections`.
    pub(super) fn succeeded(
        &self,
        program: &str,
        ended: &Ended,
        of_connections: &[&str],
    ) -> Result<(), FetchError> {
        if ended.status.success() {
            return Ok(());
        }
        let said = ended.stderr.replace('\r', "\n");
        let lines = || said.lines().rev().map(str::trim);
        let is_of_error =
            |line: &&str| ["fatal:", "error:", "ERROR:"].iter().any(|mark| line.starts_with(mark));
        let is_meaningful =
            |line: &&str| !line.is_empty() && !line.contains("notice") && !line.starts_with('[');
        let last = lines().find(is_of_error).or_else(|| lines().find(is_meaningful));
        let mut reason = format!("{program}: {}", last.unwrap_or("it failed"));
        if ["timed out", "too slow"].iter().any(|words| said.contains(words)) {
            reason = format!("{reason} {OF_TIME}");
        }
        let is_passing = of_connections.iter().any(|words| said.contains(words));
        Err(if is_passing { self.failed_for_now(reason) } else { self.failed(reason) })
    }

    /// Returns the failure of a repository that can't be used.
    pub(super) fn not_usable(&self, error: &RemoteError) -> FetchError {
        self.failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_no_passwords() {
        let error = FetchError {
            name: "app".to_owned(),
            location: "https://me:p@ss@git.example/app".to_owned(),
            reason: "unable to access 'https://me:p@ss@git.example/app/': no".to_owned(),
            transient: false,
        };
        assert_eq!(
            error.to_string(),
            "the source [app] https://git.example/app: unable to access 'https://git.example/app/': no"
        );
    }
}
