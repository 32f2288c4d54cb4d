//! Images that changed since a commit.
//!
//! The tree is rendered as it was at the commit, too, and the fingerprints of the images are
//! compared. Neither an engine nor the network is used: an external image counts as its reference,
//! and a source as its declaration.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::build_inputs::build_options;
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Diagnostics, Result};
use crate::engine::{BuildSecrets, Builder};
use crate::files::private_folder;
use crate::fingerprint::{Difference, FingerprintedParts, Parts, differences, digest};
use crate::image::{ImageName, ImageRef};
use crate::plan::{Selection, Unaffected};
use crate::settings::option_definition::CommandName;
use crate::settings::{AxisSettings, RunSettings};
use crate::source;
use crate::workspace::{CommitExport, Host, Request, Snapshot, Workspace};

/// Differences, by image name.
pub type Differences = BTreeMap<ImageName, Difference>;

/// The workspace of a request as of a commit.
pub struct Before {
    /// Images at the commit.
    pub workspace: Workspace,
    snapshot: Snapshot,
}

impl Before {
    /// Loads the workspace of a request as of the commit called `reference`; `now` is the current
    /// one.
    ///
    /// # Errors
    /// When the tree has no git history, or can't be rendered as of that commit.
    pub fn load(
        request: &Request,
        now: &Workspace,
        reference: &str,
        host: Host<'_>,
    ) -> Result<Self> {
        let Some(folder) = &now.folder else {
            return Err(Diagnostic::new("the embedded tree has no git history")
                .help("name a tree in a git repository with --tree ('kiln tree export DIR' writes one as a start)")
                .into());
        };
        let snapshot = Snapshot::Commit(CommitExport::of(folder, reference)?);
        let workspace = Workspace::load(
            &request.clone().with_fixed_values(CommandName::Affected),
            &snapshot,
            host,
            Some(&now.builder),
        )
        .map_err(|errors| with_commit(errors, reference))?;
        Ok(Self { workspace, snapshot })
    }

    /// Returns the differences of all images that are wanted then or now.
    ///
    /// # Errors
    /// When a file of the tree can't be read, or a pattern takes too many steps to search.
    pub fn differences(&self, now: &Workspace, selection: &Selection) -> Result<Differences> {
        let then = wanted(&self.workspace, &self.workspace.selection()?, &self.snapshot)?;
        let now = wanted(now, selection, &Snapshot::Worktree)?;
        Ok(differences(&then, &now))
    }
}

/// Differences from a commit.
pub struct Changes {
    /// The user's name for the commit.
    pub since: String,
    /// Differences of the images that changed.
    pub differences: Differences,
}

impl Changes {
    /// Returns the images of the current workspace that have not changed.
    pub fn unaffected(&self, now: &Workspace) -> Unaffected {
        let names = now.graph.images().iter().map(|image| &image.name);
        Unaffected {
            since: self.since.as_str().into(),
            images: names.filter(|name| !self.differences.contains_key(name)).cloned().collect(),
            missing: BTreeSet::new(),
        }
    }
}

/// Returns the changes since the commit that the options name; `None` if they name none.
///
/// # Errors
/// When the tree has no git history, or can't be rendered as of that commit.
pub fn changes_since(
    request: &Request,
    now: &Workspace,
    selection: &Selection,
    host: Host<'_>,
) -> Result<Option<Changes>> {
    let Some(since) = now.settings.run.selection.changed_since.clone() else { return Ok(None) };
    let differences = Before::load(request, now, &since, host)?.differences(now, selection)?;
    Ok(Some(Changes { since, differences }))
}

/// Adds a note to the errors of rendering the tree at the commit: the files that the user sees may
/// be correct.
fn with_commit(Diagnostics(errors): Diagnostics, reference: &str) -> Diagnostics {
    let note = format!("found at {reference}, the commit that the tree is compared with");
    Diagnostics(errors.into_iter().map(|error| error.note(note.as_str())).collect())
}

/// Returns the fingerprints of the images of a workspace that a selection wants.
fn wanted(
    workspace: &Workspace,
    selection: &Selection,
    snapshot: &Snapshot,
) -> Result<BTreeMap<ImageName, FingerprintedParts>> {
    let is_wanted = selection.wanted_in(&workspace.graph).into_iter();
    let all = fingerprints(workspace, snapshot)?.into_iter();
    Ok(all.zip(is_wanted).filter(|(_, is_wanted)| *is_wanted).map(|(image, _)| image).collect())
}

/// Returns the fingerprints of all images of a workspace, as far as they can be computed without an
/// engine.
fn fingerprints(
    workspace: &Workspace,
    snapshot: &Snapshot,
) -> Result<BTreeMap<ImageName, FingerprintedParts>> {
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
    let own: io::Result<BTreeMap<ImageName, Parts>> = own.collect();
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
) -> io::Result<Parts> {
    let mut parts = context.parts_in_git()?;
    if settings.install_type.fetches_sources {
        let sources = source::of_image(name, &settings.sources);
        let folder = private_folder("kiln-local-")?;
        let place = |path: &Path| snapshot.path(path).unwrap_or_else(|| path.to_owned());
        parts.extend(source::declared(&sources, &place, folder.path()));
    }
    Ok(parts)
}
