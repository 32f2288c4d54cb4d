//! Entry point: chooses the command, runs it, and ends the program.

use std::ffi::{OsStr, OsString};

use clap::ArgMatches;

use super::exit::{Exit, Failure, end_with};
use super::grammar::Program;
use super::{
    affected_command, arguments, build_command, completions_command, config_command,
    explain_command, lint_command, man_command, signals, terminal, trace, tree_command,
};
use crate::console;
use crate::settings::option_definition::CommandName;

/// Runs the program, and ends it. `arguments` begin with the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ! {
    signals::watch();
    // A pool that includes this thread, which would otherwise only wait. If it can't be built,
    // rayon's global pool is used.
    let _pool = rayon::ThreadPoolBuilder::new().use_current_thread().build();
    end_with(run(arguments))
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
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = Program::called_by(&arguments);
    if is_in_a_job() || names_a_service(&arguments) {
        console::expect_service();
    }
    trace::start()?;
    let matches = match program.grammar().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return Ok(terminal::print_usage(error)),
    };
    if program == Program::KollaBuild {
        return match completions_command::asked_for(&matches) {
            Some(shell) => completions_command::print(shell, program.grammar()),
            None => build(&matches),
        };
    }
    match matches.subcommand() {
        Some(("build", matches)) => build(matches),
        Some(("affected", matches)) => affected_command::run(matches),
        Some(("explain", matches)) => explain_command::run(matches),
        Some(("lint", matches)) => lint_command::run(matches),
        Some(("config", matches)) => config_command::run(matches),
        Some(("tree", matches)) => tree_command::run(matches),
        Some(("completions", matches)) => completions_command::run(matches, program.grammar()),
        Some(("man", matches)) => {
            man_command::run(matches, program.grammar(), Program::KollaBuild.grammar())
        }
        _ => unreachable!("clap asks for a subcommand"),
    }
}

/// Runs `kiln build` with these arguments.
fn build(matches: &ArgMatches) -> Result<Exit, Failure> {
    if build_command::wants_version(matches) {
        return terminal::print_own(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    build_command::run(&arguments::request(matches, CommandName::Build))
}
