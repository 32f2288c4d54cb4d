//! Subscribers of a run, and the reports written after it.
//!
//! A report that can't be written does not fail the build: the error is printed, and the exit code
//! shows it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::exit::Failure;
use crate::console::{self, Json, Verbosity};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::event::Event;
use crate::report::catalogue::Catalogue;
use crate::report::logs::Logs;
use crate::report::progress::{DisplaySettings, Progress};
use crate::report::record::Record;
use crate::report::summary::Summary;
use crate::report::{Subscriber, html, junit, summary_text};
use crate::settings::OutputSettings;

/// All subscribers of a run.
pub struct Reports {
    progress: Progress,
    logs: Option<Logs>,
    record: Record,
}

impl Reports {
    /// Returns the subscribers that `output` asks for, for a run with `threads` build threads.
    ///
    /// # Errors
    /// When the folder for the logs can't be created.
    pub fn new(
        output: &OutputSettings,
        threads: usize,
        catalogue: Catalogue,
    ) -> Result<Self, Failure> {
        let logs = match &output.logs_dir {
            None => None,
            Some(folder) => Some(Logs::create(folder).map_err(|error| {
                Diagnostic::new(format!(
                    "can't create the log folder '{}': {error}",
                    folder.display()
                ))
            })?),
        };
        Ok(Self {
            progress: Progress::on_stderr(display(output, threads)),
            logs,
            record: Record::new(catalogue, output.logs_dir.clone()),
        })
    }

    pub fn hear(&mut self, at: Duration, event: &Event) {
        self.record.hear(at, event);
        self.progress.hear(event, &self.record);
        if let Some(logs) = &mut self.logs {
            logs.hear(at, event);
        }
    }

    /// Writes the reports after a run. Returns the errors; a report that can't be written does not
    /// stop the others.
    pub fn conclude(&self, output: &OutputSettings) -> Diagnostics {
        let mut troubles = Vec::new();
        if let Some(error) = self.logs.as_ref().and_then(Logs::failure) {
            troubles.push(Diagnostic::new(format!("the logs are incomplete: {error}")));
        }
        if let Some(file) = &output.junit {
            troubles.extend(write("the JUnit report", file, &junit::xml(&self.record)));
        }
        if let Some(file) = &output.report {
            troubles.extend(write("the report", file, &html::page(&self.record)));
        }
        if output.summary {
            troubles.extend(self.sum_up(output));
        }
        Diagnostics(troubles)
    }

    fn sum_up(&self, output: &OutputSettings) -> Vec<Diagnostic> {
        let mut troubles = Vec::new();
        if output.verbosity != Verbosity::Quiet {
            console::say_all(&summary_text::text(&self.record));
        }
        let summary = Summary::new(&self.record);
        if let Some(file) = &output.summary_json_file {
            troubles.extend(write("the summary", file, Json::indented(&summary).as_str()));
        }
        if output.json
            && let Err(error) = console::print_json(&Json::in_one_line(&summary))
        {
            troubles.push(Diagnostic::new(format!("the summary can't be written: {error}")));
        }
        troubles
    }
}

/// Returns the settings of the progress display. With one thread, log lines of several images can't
/// mix, so all are shown, as kolla-build does.
fn display(output: &OutputSettings, threads: usize) -> DisplaySettings {
    let verbosity = match output.verbosity {
        Verbosity::Normal if threads == 1 => Verbosity::Debug,
        verbosity => verbosity,
    };
    DisplaySettings {
        verbosity,
        is_terminal: console::can_draw(),
        colours: console::has_colours(),
        ci: output.ci,
    }
}

fn write(what: &str, file: &Path, text: &str) -> Option<Diagnostic> {
    let error = fs::write(file, text).err()?;
    Some(Diagnostic::new(format!("{what} can't be written to '{}': {error}", file.display())))
}
