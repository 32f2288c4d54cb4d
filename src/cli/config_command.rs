//! `kiln config`: prints an example configuration, shows the values in effect, and checks files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::arguments;
use super::clock::local_time;
use super::exit::{Exit, Failure};
use super::terminal;
use super::workspace_host::HOST;
use crate::console::Listing;
use crate::diagnostic::{Diagnostics, Result as Diagnosed};
use crate::secret::with_secrets_marked;
use crate::settings::option_definition::{CommandName, OptionDefault};
use crate::settings::options::option;
use crate::settings::{EffectiveValue, Layers, Profiles, check, example, show};
use crate::tree::Tree;
use crate::visible;
use crate::workspace::{self, GivenOptions, Resolved, Snapshot};

/// Argument for the files to check.
const FILES: &str = "FILE";

/// Option for the tree that the files are checked against.
const TREE: &str = "tree";

/// Returns the grammar of `kiln config`.
pub fn command() -> Command {
    Command::new("config")
        .about("Show and check the configuration")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("example").about("Print a build.conf with every option and its default"),
        )
        .subcommand(
            Command::new("show")
                .about("Print the effective value of every option of kiln build, with the same arguments, and its origin")
                .defer(|command| arguments::with_options(command, CommandName::ConfigShow)),
        )
        .subcommand(
            Command::new("check")
                .about("Check configuration files for errors")
                .after_help("Exit codes: 0 no errors, 2 errors.")
                .arg(
                    Arg::new(FILES)
                        .required(true)
                        .action(ArgAction::Append)
                        .num_args(1..)
                        .value_parser(ValueParser::path_buf())
                        .help("File to check; several files are read as one configuration, as with --config-file"),
                )
                .arg(
                    Arg::new(TREE)
                        .long(option(TREE).flag)
                        .value_name(option(TREE).value)
                        .help("Template tree that the files are for, unless they name it"),
                ),
        )
}

/// Runs the subcommand.
pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    match matches.subcommand() {
        Some(("example", _)) => terminal::print_own(&example()),
        Some(("show", matches)) => {
            let resolved = workspace::resolve(
                &arguments::request(matches, CommandName::ConfigShow),
                &Snapshot::Worktree,
                HOST,
            )?;
            terminal::print_out(&table(&lines(&resolved)))
        }
        Some(("check", matches)) => {
            let files: Vec<PathBuf> =
                matches.get_many(FILES).unwrap_or_default().cloned().collect();
            let tree = matches.get_many::<String>(TREE).unwrap_or_default().cloned().collect();
            check_files(&files, tree)
        }
        _ => unreachable!("clap asks for a subcommand"),
    }
}

/// Reports the errors in `files` for the given tree, or else for the tree that the files name.
fn check_files(files: &[PathBuf], tree: Vec<String>) -> Result<Exit, Failure> {
    let given =
        if tree.is_empty() { GivenOptions::new() } else { GivenOptions::from([(TREE, tree)]) };
    let (layers, mut errors) = Layers::gather_all(given, files, &BTreeMap::new());
    workspace::warn_of_no_effect(&layers, HOST.warn);
    match tree_and_profiles(&layers) {
        Ok((tree, profiles)) => {
            errors.extend(check(&layers, tree.manifest(), &profiles, &local_time()));
        }
        Err(found) => errors.extend(found.0),
    }
    errors.sort_by_cached_key(|error| match error.places.first() {
        Some(place) => (position(files, &place.path), place.span.start),
        None => (files.len(), 0),
    });
    if errors.is_empty() { Ok(Exit::Done) } else { Err(Diagnostics(errors).into()) }
}

/// Returns the position of the file called `path` among `files`, or the number of files if it is
/// not among them.
fn position(files: &[PathBuf], path: &str) -> usize {
    let found = files.iter().position(|file| file.display().to_string() == path);
    found.unwrap_or(files.len())
}

fn tree_and_profiles(layers: &Layers) -> Diagnosed<(Tree, Profiles)> {
    let tree = workspace::open_tree(layers, &Snapshot::Worktree)?;
    let profiles = Profiles::new(tree.profiles()?, layers);
    Ok((tree, profiles))
}

/// Key of an option, its value, and the origin of the value.
type Line = [String; 3];

fn lines(resolved: &Resolved) -> Vec<Line> {
    let Resolved { layers, tree, settings } = resolved;
    let line = |shown: EffectiveValue| {
        let value = match (shown.value.as_str(), shown.option.name, shown.option.default) {
            ("", TREE, _) => tree.origin().to_owned(),
            ("", "dialect", _) if let Some(release) = tree.release() => release.version.clone(),
            ("", _, OptionDefault::Computed(what)) => format!("({what})"),
            ("", ..) => "-".to_owned(),
            (value, ..) => visible::line(value).into_owned(),
        };
        let value = with_secrets_marked(&value).into_owned();
        [shown.option.name.to_owned(), value, shown.origin.to_string()]
    };
    show(layers, tree.manifest(), settings).into_iter().map(line).collect()
}

/// Formats the lines in columns. Values longer than `WIDEST` characters do not widen their column.
fn table(lines: &[Line]) -> Listing {
    const WIDEST: usize = 48;
    let width = |column: usize| {
        let lengths = lines.iter().map(|line| line[column].chars().count());
        lengths.filter(|length| *length <= WIDEST).max().unwrap_or_default()
    };
    let (names, values) = (width(0), width(1));
    let row = |[name, value, origin]: &Line| format!("{name:names$}  {value:values$}  {origin}");
    lines.iter().map(row).collect()
}
