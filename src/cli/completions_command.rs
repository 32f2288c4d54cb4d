//! `kiln completions`: completion scripts for shells, made from the grammar.

use clap::builder::EnumValueParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::{Shell, generate};

use super::exit::{Exit, Failure};
use super::terminal;

/// Argument for the shell.
const SHELL: &str = "SHELL";

/// Returns the grammar of `kiln completions`.
pub fn command() -> Command {
    Command::new("completions")
        .about("Print a completion script for a shell")
        .after_help(
            "Examples:\n  \
             source <(kiln completions bash)                          for the current bash session\n  \
             kiln completions bash > /etc/bash_completion.d/kiln      for every bash\n  \
             kiln completions zsh > ~/.zfunc/_kiln                    with ~/.zfunc in fpath\n  \
             kiln completions fish > ~/.config/fish/completions/kiln.fish",
        )
        .arg(
            Arg::new(SHELL)
                .required(true)
                .value_parser(EnumValueParser::<Shell>::new())
                .help("Shell"),
        )
}

/// Prints the completion script for the whole `grammar`.
pub fn run(matches: &ArgMatches, mut grammar: Command) -> Result<Exit, Failure> {
    let shell: Shell = *matches.get_one(SHELL).expect("clap asks for it");
    let name = grammar.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut grammar, name, &mut script);
    terminal::print_own(&String::from_utf8_lossy(&script))
}
