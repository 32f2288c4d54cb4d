//! Grammars of the command line, put together from those of the commands. The name that the program
//! is called by chooses one of them.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Command;

use super::{
    affected_command, build_command, completions_command, config_command, explain_command,
    lint_command, man_command, tree_command,
};

/// Program that the user calls, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Kiln, with its commands.
    Kiln,
    /// A link to Kiln called [`KOLLA_BUILD`]: the command `build` alone.
    KollaBuild,
}

/// Name of the link that stands for `kiln build`.
pub const KOLLA_BUILD: &str = "kolla-build";

impl Program {
    /// Returns the program that is called by the first argument.
    pub fn called_by(arguments: &[OsString]) -> Self {
        let name = arguments.first().map(Path::new).and_then(Path::file_name);
        if name == Some(OsStr::new(KOLLA_BUILD)) { Self::KollaBuild } else { Self::Kiln }
    }

    /// Returns the grammar of the program.
    pub fn grammar(self) -> Command {
        match self {
            Self::Kiln => command_line(),
            // The option comes from oslo.config: every argument that is no option selects images.
            Self::KollaBuild => {
                build_command::command_of(KOLLA_BUILD).arg(completions_command::option())
            }
        }
    }
}

/// Returns the grammar of Kiln.
fn command_line() -> Command {
    Command::new("kiln")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Builds large families of container images from one tree of Dockerfile templates")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(build_command::command())
        .subcommand(explain_command::command())
        .subcommand(affected_command::command())
        .subcommand(lint_command::command())
        .subcommand(config_command::command())
        .subcommand(tree_command::command())
        .subcommand(completions_command::command())
        .subcommand(man_command::command())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammars_are_sound() {
        Program::Kiln.grammar().debug_assert();
        Program::KollaBuild.grammar().debug_assert();
    }

    #[test]
    fn program_is_known_by_the_last_part_of_the_path() {
        let table = [
            ("kolla-build", Program::KollaBuild),
            ("/usr/local/bin/kolla-build", Program::KollaBuild),
            ("venv/bin/kolla-build", Program::KollaBuild),
            ("kiln", Program::Kiln),
            ("/opt/kolla-build/kiln", Program::Kiln),
            ("kolla-build-2", Program::Kiln),
            ("", Program::Kiln),
        ];
        for (name, expected) in table {
            assert_eq!(Program::called_by(&[name.into()]), expected, "{name}");
        }
        assert_eq!(Program::called_by(&[]), Program::Kiln);
    }
}
