//! Grammar of the command line, put together from those of the commands.

use clap::Command;

use super::{
    affected_command, build_command, completions_command, config_command, explain_command,
    lint_command, man_command, tree_command,
};

/// Returns the whole grammar.
pub fn command_line() -> Command {
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
    fn the_grammar_is_sound() {
        command_line().debug_assert();
    }
}
