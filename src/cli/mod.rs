//! The command line: parses arguments, runs the pipeline, prints the results, and chooses the exit
//! code. No other module prints errors or knows exit codes.

mod affected_command;
mod arguments;
mod build_command;
mod build_durations;
mod clock;
mod completions_command;
mod config_command;
mod explain_command;
mod lint_command;
mod lists;
mod man_command;
mod name_locks;
mod plan_view;
mod report_input;
mod reports;
mod secret_values;
mod terminal;
mod tree_command;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::console;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::EngineError;
use crate::incremental::SurveyError;
use crate::workspace::Host;

/// Exit codes, as documented in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// An image failed.
    Failed = 1,
    /// The command line, a configuration or a tree is wrong, or a report could not be written.
    Usage = 2,
    /// The engine or the registry is out of reach.
    OutOfReach = 3,
    /// Nothing matched.
    NothingMatched = 4,
    /// The user interrupted the run.
    Interrupted = 130,
}

/// Reason why a command ended early: its errors and its exit code.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    diagnostics: Diagnostics,
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { exit: Exit::Usage, diagnostics }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics::from(diagnostic).into()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let diagnostic = Diagnostic::new(error.to_string());
        let diagnostic = match &error {
            EngineError::Unreachable { cure, .. } => diagnostic.help(cure),
            _ => diagnostic,
        };
        let exit = if error.is_out_of_reach() { Exit::OutOfReach } else { Exit::Failed };
        Self { exit, diagnostics: diagnostic.into() }
    }
}

impl From<SurveyError> for Failure {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Tree(diagnostics) => diagnostics.into(),
            SurveyError::Engine(error) => error.into(),
        }
    }
}

/// The program as the host of a workspace.
const HOST: Host<'static> = Host {
    warn: &(|text| terminal::warn(&format!("warning: {text}"))),
    expect_service: console::expect_service,
    give_up,
};

/// The program as the host of a workspace at a commit, whose warnings are of no interest.
const SILENT_HOST: Host<'static> = Host { warn: &|_| {}, ..HOST };

/// Runs the program. `arguments` begin with the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let exit = run(arguments).unwrap_or_else(|failure| {
        terminal::print(&failure.diagnostics);
        failure.exit
    });
    console::flush();
    exit
}

/// Prints the diagnostic and ends the program, because its current work does not terminate.
fn give_up(why: Diagnostic) {
    terminal::print(&why.into());
    std::process::exit(Exit::Usage as i32);
}

/// Program name that stands for `kiln build`.
const KOLLA_BUILD: &str = "kolla-build";

/// Returns the arguments with the command inserted that the program's name stands for.
fn in_full(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new(KOLLA_BUILD)) {
        arguments.insert(1, "build".into());
    }
    arguments
}

/// Builds a rayon pool that includes the current thread, which would otherwise only wait. It lives
/// until the program ends. If it can't be built, rayon's global pool is used.
fn share_work_among_threads() {
    std::mem::forget(rayon::ThreadPoolBuilder::new().use_current_thread().build());
}

/// Environment variables that continuous integration services set in their jobs.
const SERVICES: [&str; 6] =
    ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "KILN_CI", "TF_BUILD", "TEAMCITY_VERSION"];

/// Returns true if a service may read the output. This does not depend on `--ci none`, which only
/// turns off Kiln's own commands.
fn is_in_a_job() -> bool {
    let says_so = |value: OsString| ["", "0", "false", NO_SERVICE].iter().all(|no| value != *no);
    SERVICES.iter().any(|name| std::env::var_os(name).is_some_and(says_so))
}

/// Value of the option `--ci` for no service.
const NO_SERVICE: &str = "none";

/// Returns true if the arguments, which are not parsed yet and may be invalid, name a service.
fn names_a_service(arguments: &[OsString]) -> bool {
    let flag = OsStr::new("--ci");
    let apart = arguments.windows(2).any(|pair| pair[0] == flag && pair[1] != NO_SERVICE);
    let service = |argument: &OsString| argument.to_str()?.strip_prefix("--ci=").map(str::to_owned);
    apart || arguments.iter().filter_map(service).any(|service| service != NO_SERVICE)
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Exit, Failure> {
    share_work_among_threads();
    let arguments = in_full(arguments.into_iter().collect());
    if is_in_a_job() || names_a_service(&arguments) {
        console::expect_service();
    }
    let matches = match arguments::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return Ok(terminal::print_usage(error)),
    };
    match matches.subcommand() {
        Some(("build", matches)) if arguments::wants_version(matches) => {
            terminal::print_own(concat!(env!("CARGO_PKG_VERSION"), "\n"))
        }
        Some(("build", matches)) => build_command::run(&arguments::request(matches)),
        Some(("affected", matches)) => affected_command::run(matches),
        Some(("explain", matches)) => explain_command::run(matches),
        Some(("lint", matches)) => lint_command::run(matches),
        Some(("config", matches)) => config_command::run(matches),
        Some(("tree", matches)) => tree_command::run(matches),
        Some(("completions", matches)) => completions_command::run(matches),
        Some(("man", matches)) => man_command::run(matches),
        _ => unreachable!("clap asks for a subcommand"),
    }
}
