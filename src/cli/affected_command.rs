//! `kiln affected`: lists the images that changed since a commit, and why.
//!
//! The tree is rendered twice, at the commit and now, and the fingerprints of its images are
//! compared. Neither an engine nor the network is used: an external image counts as its reference,
//! and a source as its declaration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use rayon::prelude::*;
use serde::Serialize;

use super::arguments;
use super::build_command::{build_options, refuse_empty};
use super::exit::{Exit, Failure};
use super::host::{HOST, SILENT_HOST};
use super::terminal;
use crate::console::Json;
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::{BuildSecrets, Builder};
use crate::files::private_folder;
use crate::fingerprint::{Change, Difference, Fingerprinted, Parts, differences, digest};
use crate::graph::{self, ImageEntry};
use crate::image::{ImageName, ImageRef};
use crate::plan::{Plan, Selection, Unaffected};
use crate::settings::options::CommandName;
use crate::settings::{AxisSettings, RunSettings};
use crate::source;
use crate::workspace::{CommitExport, Request, Snapshot, Workspace};

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
    let line = arguments::request(matches, CommandName::Affected);
    let format = matches.get_one::<String>(FORMAT);
    let now = Workspace::load(&line, &Snapshot::Worktree, HOST)?;
    let (then, snapshot) = before(&line, &now, reference)?;
    let plans = Plans {
        then: &Plan::new(&then.graph, &then.selection()),
        now: &Plan::new(&now.graph, &now.selection()),
    };
    if plans.then.is_empty() {
        refuse_empty(plans.now, &now.settings.run)?;
    }
    let different = plans.compared(&then, &now, &snapshot)?;
    let affected = plans.affected(&different);
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

/// Differences, by image name.
pub type Differences = BTreeMap<ImageName, Difference>;

/// Marks the images in `selection` that have not changed since the commit that the options name.
/// Returns the differences of the others; none if the options name no commit.
///
/// # Errors
/// When the tree has no git history, or can't be rendered as of that commit.
pub fn leave_out_unaffected(
    line: &Request,
    now: &Workspace,
    selection: &mut Selection,
) -> Result<Differences, Failure> {
    let Some(reference) = &now.settings.run.selection.changed_since else {
        return Ok(Differences::new());
    };
    let (then, snapshot) = before(line, now, reference)?;
    let plans = Plans {
        then: &Plan::new(&then.graph, &then.selection()),
        now: &Plan::new(&now.graph, selection),
    };
    let different = plans.compared(&then, now, &snapshot)?;
    let images = now.graph.images().iter().map(|image| image.name.clone());
    selection.unaffected = Some(Unaffected {
        since: reference.as_str().into(),
        images: images.filter(|name| !different.contains_key(name)).collect(),
        missing: BTreeSet::new(),
    });
    Ok(different)
}

/// Returns the workspace of this command line as of a commit, and the snapshot of the files at that
/// commit.
fn before(
    line: &Request,
    now: &Workspace,
    reference: &str,
) -> Result<(Workspace, Snapshot), Failure> {
    let Some(folder) = &now.folder else {
        return Err(Diagnostic::new("the embedded tree has no git history")
            .help("name a tree in a git repository with --tree ('kiln tree export DIR' writes one as a start)")
            .into());
    };
    let snapshot = Snapshot::Commit(CommitExport::of(folder, reference)?);
    let line = arguments::with_fixed_values(line.clone(), CommandName::Affected);
    let then = Workspace::load(&line, &snapshot, SILENT_HOST)
        .map_err(|errors| said_of(errors, reference))?;
    Ok((then, snapshot))
}

/// Adds a note to the errors of rendering the tree at the commit: the files that the user sees may
/// be correct.
fn said_of(Diagnostics(errors): Diagnostics, reference: &str) -> Diagnostics {
    let note = format!("found at {reference}, the commit that the tree is compared with");
    Diagnostics(errors.into_iter().map(|error| error.note(note.as_str())).collect())
}

/// Returns the fingerprints of all images of a workspace, as far as they can be computed without an
/// engine.
fn fingerprints(
    workspace: &Workspace,
    snapshot: &Snapshot,
) -> Result<BTreeMap<ImageName, Fingerprinted>, Failure> {
    let graph = &workspace.graph;
    let of_axes: BTreeMap<Option<&str>, (&AxisSettings, Parts)> = workspace
        .settings
        .axes
        .iter()
        .map(|axis| (axis.label.as_deref(), of_settings(&workspace.settings.run, axis)))
        .collect();
    let own = graph.images().par_iter().map(|image| {
        let (settings, options) = &of_axes[&image.name.axis()];
        let (_, context) = &workspace.contexts[&image.name];
        let mut parts = own_parts(&image.name, context, settings, snapshot)?;
        parts.extend(options.clone());
        parts.insert("name".to_owned(), digest(image.reference.to_string().as_bytes()));
        Ok((image.name.clone(), parts))
    });
    let own: std::io::Result<BTreeMap<ImageName, Parts>> = own.collect();
    let own = own.map_err(|error| Diagnostic::new(format!("the tree can't be read: {error}")))?;
    let external = |_: &ImageName, reference: &ImageRef| reference.to_string();
    let names = graph.images().iter().map(|image| image.name.clone());
    Ok(names.zip(graph.fingerprints(&own, &external)).collect())
}

/// Returns the settings of an axis, and the build options as parts of its images.
fn of_settings<'a>(run: &RunSettings, axis: &'a AxisSettings) -> (&'a AxisSettings, Parts) {
    (axis, build_options(Builder::BuildKit, run, axis, &BuildSecrets::default()).parts())
}

/// Returns the own parts of an image: its context, and the declarations of its sources.
fn own_parts(
    name: &ImageName,
    context: &Context,
    settings: &AxisSettings,
    snapshot: &Snapshot,
) -> std::io::Result<Parts> {
    let mut parts = context.parts()?;
    if settings.install_type.fetches_sources {
        let sources = source::of_image(name, &settings.sources);
        let folder = private_folder("kiln-local-")?;
        let place = |path: &Path| snapshot.path(path).unwrap_or_else(|| path.to_owned());
        parts.extend(source::declared(&sources, &place, folder.path()));
    }
    Ok(parts)
}

/// Plans for the tree at the commit and for the tree now.
struct Plans<'a> {
    then: &'a Plan<'a>,
    now: &'a Plan<'a>,
}

impl<'a> Plans<'a> {
    /// Returns the differences of all images that are wanted in either plan.
    fn compared(
        &self,
        then: &Workspace,
        now: &Workspace,
        snapshot: &Snapshot,
    ) -> Result<Differences, Failure> {
        let then = wanted(self.then, &fingerprints(then, snapshot)?);
        let now = wanted(self.now, &fingerprints(now, &Snapshot::Worktree)?);
        Ok(differences(&then, &now))
    }

    /// Returns the images that differ: first those that would be built now, in that order, then
    /// those that have been removed.
    fn affected<'b>(&self, different: &'b Differences) -> Vec<Affected<'b>>
    where
        'a: 'b,
    {
        let of = |plan: &'b Plan<'_>, is_removed: bool| {
            let images = plan.to_build().map(|index| &plan.graph().images()[index]);
            images.filter_map(move |image| {
                let difference = different.get(&image.name)?;
                let is_asked_for = (*difference == Difference::Removed) == is_removed;
                is_asked_for.then_some(Affected { image, difference })
            })
        };
        of(self.now, false).chain(of(self.then, true)).collect()
    }
}

/// Returns the fingerprints of the images that a plan wants.
fn wanted(
    plan: &Plan<'_>,
    all: &BTreeMap<ImageName, Fingerprinted>,
) -> BTreeMap<ImageName, Fingerprinted> {
    let images = plan.graph().images().iter().enumerate();
    let wanted = images.filter(|(index, _)| plan.is_wanted(*index));
    wanted.map(|(_, image)| (image.name.clone(), all[&image.name].clone())).collect()
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

/// Describes a difference in words.
pub fn told(difference: &Difference) -> String {
    match difference {
        Difference::Added => "the image is new".to_owned(),
        Difference::Removed => "the image was removed".to_owned(),
        Difference::Changed(changes) => told_changes(changes),
    }
}

/// Describes changes in words.
pub fn told_changes(changes: &[Change]) -> String {
    let changes: Vec<_> = own_first(changes).into_iter().map(ToString::to_string).collect();
    changes.join(", ")
}

/// Sorts changes: those of the image's own parts come before those of the images that it needs.
fn own_first(changes: &[Change]) -> Vec<&Change> {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|change| graph::is_image_part(change.part()));
    changes
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
