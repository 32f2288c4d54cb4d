//! Trace of requests for developers, on standard error: silent unless `KILN_LOG` asks for it.
//!
//! Only Kiln's own events are written. Libraries trace headers, URLs and frames, which contain
//! secrets.

use std::io;

use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::console::{self, Line};
use crate::diagnostic::Diagnostic;
use crate::secret::without_secrets;

/// Environment variable with the filter of events.
const VARIABLE: &str = "KILN_LOG";

/// Target of Kiln's own events, and prefix of the targets of its modules.
const OWN_TARGET: &str = "kiln";

/// Starts the trace if `KILN_LOG` asks for one.
///
/// # Errors
/// When its value is not a filter.
pub(super) fn start() -> Result<(), Diagnostic> {
    let Some(directives) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(());
    };
    let directives = directives.to_string_lossy();
    let filter = EnvFilter::builder().parse(&directives).map_err(|error| {
        Diagnostic::new(format!("{VARIABLE} is not a filter of events: {error}")).help(format!(
            "set it to a level (debug), or to targets with levels: {OWN_TARGET}::registry=debug"
        ))
    })?;
    let is_own = filter_fn(|metadata| is_own_target(metadata.target()));
    let lines = fmt::layer().without_time().with_ansi(false).with_writer(Console);
    // A second call within a process, which only tests make, leaves the first subscriber.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter.and(is_own))).try_init();
    Ok(())
}

fn is_own_target(target: &str) -> bool {
    target.split("::").next() == Some(OWN_TARGET)
}

/// Writer of events to standard error.
struct Console;

impl<'a> MakeWriter<'a> for Console {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for Console {
    /// Writes an event, which the formatter passes as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        console::say(&Line::new("").text(without_secrets(text.trim_end())));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_libraries_are_not_traced() {
        for own in ["kiln", "kiln::registry", "kiln::engine"] {
            assert!(is_own_target(own), "{own}");
        }
        for other in ["reqwest::connect", "hyper_util::client", "h2", "rustls", "kilns", ""] {
            assert!(!is_own_target(other), "{other}");
        }
    }
}
