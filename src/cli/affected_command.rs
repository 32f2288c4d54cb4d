//! `kiln affected`: lists the images that changed since a commit, and why.
//!
//! The tree is rendered twice, at the commit and now, and the fingerprints of its images are
//! compared. Neither an engine nor the network is used: an external image counts as its reference,
//! and a source as its declaration.

use clap::{Arg, ArgMatches, Command};
use serde::Serialize;

use super::arguments;
use super::build_session::refuse_empty;
use super::difference_text::{own_first, told};
use super::exit::{Exit, Failure};
use super::terminal;
use super::workspace_host::{HOST, SILENT_HOST};
use crate::console::Json;
use crate::fingerprint::{Change, Difference};
use crate::graph::{self, ImageEntry};
use crate::incremental::{Before, Differences};
use crate::plan::{Facts, Plan};
use crate::settings::option_definition::CommandName;
use crate::workspace::{Snapshot, Workspace};

/// Argument for the commit.
const SINCE: &str = "since";

/// Option for the format.
const FORMAT: &str = "format";

const JSON: &str = "json";

/// Returns the grammar of `kiln affected`.
pub fn command() -> Command {
    Command::new("affected")
        .about("List the images that changed since a git commit, and why")
        .after_help(
            "Takes the options of kiln build. Needs neither an engine nor the network.\n\n\
             Exit codes: 0 the list is printed, even if it is empty; 2 usage or configuration \
             error, no such commit, or a tree outside of a git repository; 4 no image matched.",
        )
        .arg(
            Arg::new(SINCE)
                .long(SINCE)
                .value_name("REF")
                .required(true)
                .help("Branch, tag or commit to compare with"),
        )
        .defer(|command| arguments::with_options(command, CommandName::Affected))
}

/// Prints the affected images.
pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let reference = matches.get_one::<String>(SINCE).expect("clap asks for it");
    let request = arguments::request(matches, CommandName::Affected);
    let format = matches.get_one::<String>(FORMAT);
    let now = Workspace::load(&request, &Snapshot::Worktree, HOST, None)?;
    let before = Before::load(&request, &now, reference, SILENT_HOST)?;
    let then = &before.workspace;
    let (selection, selection_then) = (now.selection()?, then.selection()?);
    if !selection_then.matches(&then.graph) {
        refuse_empty(&now.graph, &selection)?;
    }
    let different = before.differences(&now, &selection)?;
    let removed = Plan::new(&then.graph, &selection_then, &Facts::default());
    let current = Plan::new(&now.graph, &selection, &Facts::default());
    let affected: Vec<Affected<'_>> =
        affected(&current, &different, false).chain(affected(&removed, &different, true)).collect();
    if affected.is_empty() {
        terminal::warn(&format!("no image is affected since {reference}"));
    }
    if format.is_some_and(|format| format == JSON) {
        terminal::print_json(&Json::indented(
            &affected.iter().map(Affected::json).collect::<Vec<_>>(),
        ))
    } else {
        terminal::print_out(&affected.iter().map(Affected::line).collect())
    }
}

/// Returns the images of a plan that differ and that were removed or, if `is_removed` is false, that
/// still exist; in the order in which they are built.
fn affected<'a>(
    plan: &'a Plan<'_>,
    different: &'a Differences,
    is_removed: bool,
) -> impl Iterator<Item = Affected<'a>> {
    let images = plan.to_build().map(|index| &plan.graph().images()[index]);
    images.filter_map(move |image| {
        let difference = different.get(&image.name)?;
        let is_asked_for = (*difference == Difference::Removed) == is_removed;
        is_asked_for.then_some(Affected { image, difference })
    })
}

/// An image that changed since the commit.
struct Affected<'a> {
    image: &'a graph::Image,
    difference: &'a Difference,
}

impl Affected<'_> {
    fn line(&self) -> String {
        format!("{}: {}", self.image.name, told(self.difference))
    }

    fn json(&self) -> AffectedImage<'_> {
        let change = match self.difference {
            Difference::Added => ChangeKind::Added,
            Difference::Removed => ChangeKind::Removed,
            Difference::Changed(_) => ChangeKind::Changed,
        };
        let reasons = self.reasons().into_iter().map(Reason::new).collect();
        AffectedImage { image: ImageEntry::new(self.image), change, reasons }
    }

    /// Returns the changes, those of the image's own parts before those of the images that it
    /// needs.
    fn reasons(&self) -> Vec<&Change> {
        match self.difference {
            Difference::Changed(changes) => own_first(changes),
            Difference::Added | Difference::Removed => Vec::new(),
        }
    }
}

/// An image that differs from the commit, from `kiln affected --format json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct AffectedImage<'a> {
    #[serde(flatten)]
    image: ImageEntry<'a>,
    /// Change of the image.
    change: ChangeKind,
    /// Changes of its inputs: its own before those of the images that it needs; empty if the image
    /// is new or gone.
    reasons: Vec<Reason<'a>>,
}

/// Change of one input.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct Reason<'a> {
    /// Name of the input.
    part: &'a str,
    /// Change of the input.
    change: ChangeKind,
}

impl<'a> Reason<'a> {
    fn new(change: &'a Change) -> Self {
        let kind = match change {
            Change::Added(_) => ChangeKind::Added,
            Change::Removed(_) => ChangeKind::Removed,
            Change::Changed(_) => ChangeKind::Changed,
        };
        Self { part: change.part(), change: kind }
    }
}

/// Kind of a change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum ChangeKind {
    Added,
    Removed,
    Changed,
}
