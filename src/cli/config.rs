//! `kiln config`: what there is to configure.

use std::io::{self, Write as _};

use clap::{ArgMatches, Command};

use super::{Exit, Failure};
use crate::diagnostic::Diagnostic;
use crate::settings::example;

/// The grammar of `kiln config`.
pub fn command() -> Command {
    Command::new("config")
        .about("Show what can be configured")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("example").about("Print a build.conf with every option and its default"),
        )
}

/// Prints what is asked for.
pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    match matches.subcommand_name() {
        Some("example") => print_out(&example()),
        _ => unreachable!("clap asks for a subcommand"),
    }
}

/// Writes data to standard output.
pub fn print_out(text: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read the other end has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => {
            Err(Diagnostic::new(format!("standard output can't be written: {error}")).into())
        }
        Ok(()) => Ok(Exit::Done),
    }
}
