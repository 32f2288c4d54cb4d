//! The command line: parses arguments, runs the pipeline, prints the results, and chooses the exit
//! code. No other module prints errors or knows exit codes.

mod affected_command;
mod arguments;
mod build_command;
mod build_durations;
mod build_session;
mod clock;
mod completions_command;
mod config_command;
mod difference_text;
mod entry;
mod exit;
mod explain_command;
mod grammar;
mod lint_command;
mod lists;
mod man_command;
mod name_locks;
mod plan_view;
mod report_input;
mod reports;
mod secret_values;
mod workspace_host;

mod signals;
mod terminal;
mod trace;
mod tree_command;

pub use entry::main;

/// Types of the machine-readable output of the commands, for their schemas.
#[cfg(test)]
pub mod schemas {
    pub use super::affected_command::AffectedImage;
    pub use super::lint_command::FindingJson;
    pub use super::plan_view::PlanJson;
}
