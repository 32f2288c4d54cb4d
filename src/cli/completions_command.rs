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

/// Option of kolla-build that prints a completion script.
const OPTION: &str = "shell_completion";

/// Returns the option by which kolla-build prints its completion script.
pub fn option() -> Arg {
    Arg::new(OPTION)
        .long("shell_completion")
        .alias("shell-completion")
        .value_name(SHELL)
        .value_parser(EnumValueParser::<Shell>::new())
        .help("Print a completion script for a shell and exit")
}

/// Returns the shell for which kolla-build is to print a completion script; `None` if none is named.
pub fn asked_for(matches: &ArgMatches) -> Option<Shell> {
    matches.get_one(OPTION).copied()
}

/// Runs `kiln completions` for the whole `grammar`.
pub fn run(matches: &ArgMatches, grammar: Command) -> Result<Exit, Failure> {
    print(*matches.get_one(SHELL).expect("clap asks for it"), grammar)
}

/// Prints the completion script of a shell for the whole `grammar`.
pub fn print(shell: Shell, mut grammar: Command) -> Result<Exit, Failure> {
    let name = grammar.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut grammar, name, &mut script);
    terminal::print_own(&String::from_utf8_lossy(&script))
}
