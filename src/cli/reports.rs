//! All that listens to a run, and what is written once it is over.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Failure, terminal};
use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::report::Subscriber;
use crate::report::catalogue::Catalogue;
use crate::report::html;
use crate::report::logs::Logs;
use crate::report::progress::{Detail, Progress};
use crate::report::record::Record;
use crate::report::summary;
use crate::settings::{Output, Verbosity};

/// All that listens to a run.
pub struct Reports {
    progress: Progress,
    logs: Option<Logs>,
    record: Record,
}

impl Reports {
    pub fn new(output: &Output, catalogue: Catalogue) -> Result<Self, Failure> {
        let detail = match output.verbosity {
            Verbosity::Quiet => Detail::Failures,
            Verbosity::Normal => Detail::Changes,
            Verbosity::Debug => Detail::Logs,
        };
        let logs = match &output.logs_dir {
            None => None,
            Some(folder) => Some(Logs::create(folder).map_err(|error| {
                Diagnostic::new(format!(
                    "the log folder '{}' can't be made: {error}",
                    folder.display()
                ))
            })?),
        };
        let record = Record::new(catalogue, output.logs_dir.clone());
        Ok(Self { progress: Progress::on_stderr(detail), logs, record })
    }

    pub fn hear(&mut self, at: Duration, event: &Event) {
        self.record.hear(at, event);
        self.progress.hear(at, event);
        if let Some(logs) = &mut self.logs {
            logs.hear(at, event);
        }
    }

    /// Writes what is written once a run is over.
    pub fn conclude(&self, output: &Output) -> Result<(), Failure> {
        if let Some(error) = self.logs.as_ref().and_then(Logs::failure) {
            terminal::warn(&format!("warning: the logs are incomplete: {error}"));
        }
        if let Some(file) = &output.report {
            write("report", file, &html::page(&self.record))?;
        }
        if !output.summary {
            return Ok(());
        }
        if output.verbosity != Verbosity::Quiet {
            terminal::warn(summary::text(&self.record).trim_end());
        }
        let json = summary::json(&self.record);
        if let Some(file) = &output.summary_json_file {
            let pretty = serde_json::to_string_pretty(&json).expect("plain JSON");
            write("summary", file, &format!("{pretty}\n"))?;
        }
        if output.json {
            terminal::print_out(&format!("{json}\n"))?;
        }
        Ok(())
    }
}

/// Writes what is called `what` to a file.
fn write(what: &str, file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| {
        Diagnostic::new(format!("the {what} can't be written to '{}': {error}", file.display()))
            .into()
    })
}
