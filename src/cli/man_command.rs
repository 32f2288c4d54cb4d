//! `kiln man`: manual pages, made from the grammar.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};
use clap_mangen::Man;

use super::exit::{Exit, Failure};
use super::terminal;
use crate::diagnostic::Diagnostic;

/// Argument for the folder.
const FOLDER: &str = "DIR";

/// Returns the grammar of `kiln man`.
pub fn command() -> Command {
    Command::new("man")
        .about("Write the manual pages")
        .after_help(
            "Examples:\n  \
             kiln man | man -l -                    show the page of kiln\n  \
             kiln man ~/.local/share/man/man1       write all pages, for 'man kiln-build' and 'man kolla-build'",
        )
        .arg(Arg::new(FOLDER).value_parser(ValueParser::path_buf()).help(
            "Folder to write a page to for each command, and for a link called kolla-build; without it, the page of kiln is \
             printed to standard output",
        ))
}

/// Writes all pages to the folder, those of `grammar` and that of the `link`; or prints the first
/// page of `grammar` if there is no folder.
pub fn run(matches: &ArgMatches, grammar: Command, link: Command) -> Result<Exit, Failure> {
    match matches.get_one::<PathBuf>(FOLDER) {
        Some(folder) => write_all(folder, [grammar, link]),
        None => terminal::print_own(&first_page(grammar)),
    }
}

fn first_page(grammar: Command) -> String {
    let mut page = Vec::new();
    Man::new(grammar.disable_help_subcommand(true)).render(&mut page).expect("memory takes all");
    String::from_utf8_lossy(&page).into_owned()
}

fn write_all(folder: &Path, grammars: [Command; 2]) -> Result<Exit, Failure> {
    let written: io::Result<()> = fs::create_dir_all(folder).and_then(|()| {
        grammars.into_iter().try_for_each(|grammar| clap_mangen::generate_to(grammar, folder))
    });
    written.map_err(|error| {
        let shown = folder.display();
        Diagnostic::new(format!("the manual can't be written to '{shown}': {error}"))
    })?;
    Ok(Exit::Done)
}
