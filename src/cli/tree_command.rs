//! `kiln tree`: exports the embedded template tree, and shows the tables of other trees.

use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use super::exit::{Exit, Failure};
use super::terminal;
use crate::console::Json;
use crate::diagnostic::Diagnostic;
use crate::tree;

/// Returns the grammar of `kiln tree`.
pub fn command() -> Command {
    Command::new("tree")
        .about("Work with template trees")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("export")
                .about("Write the embedded template tree and its profiles to a folder, as a start for your own tree")
                .arg(
                    Arg::new("DIR")
                        .required(true)
                        .value_parser(ValueParser::path_buf())
                        .help("Folder in which DIR/docker and DIR/profiles are created"),
                ),
        )
        .subcommand(
            Command::new("tables")
                .about("Print as JSON the tables that Kiln reads from the Python files of a kolla-build")
                .arg(
                    Arg::new("DIR")
                        .required(true)
                        .value_parser(ValueParser::path_buf())
                        .help("Checkout or virtual environment of kolla-build"),
                ),
        )
}

/// Runs the subcommand.
pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let (what, matches) = matches.subcommand().expect("clap asks for a subcommand");
    let folder = matches.get_one::<PathBuf>("DIR").expect("clap asks for it");
    match what {
        "export" => export(folder),
        _ => terminal::print_json(&Json::of(&format!("{}\n", tree::tables(folder)?))),
    }
}

fn export(folder: &Path) -> Result<Exit, Failure> {
    let files = tree::export(folder).map_err(|error| {
        Diagnostic::new(format!("the tree can't be exported: {error}"))
            .help("name a folder that contains neither docker nor profiles; nothing is overwritten")
    })?;
    terminal::warn(&format!(
        "wrote {files} files to {0}; build them with: kiln build --tree {0}/docker",
        folder.display()
    ));
    Ok(Exit::Done)
}
