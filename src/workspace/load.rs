//! The images of a run, before an engine or a registry is asked: settled, rendered and connected.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::builder_traits::BuilderTraits;
use super::host::Host;
use super::rendering::{Contexts, Images, render};
use super::request::Request;
use super::resolution::{Resolved, add_site_files, resolve, tree_folder};
use super::snapshot::Snapshot;
use crate::diagnostic::{Diagnostics, Result as Diagnosed, collect};
use crate::graph::{self, Graph};
use crate::image::ImageName;
use crate::name_pattern::NamePattern;
use crate::plan::{SearchedPattern, Selection};
use crate::settings::{AxisSettings, RunSettings, Settings};
use crate::tree::Tree;

/// Images of a request.
pub struct Workspace {
    /// Folder of the tree; `None` for the embedded tree.
    pub folder: Option<PathBuf>,
    /// The tree, including the user's files.
    pub tree: Tree,
    /// Settings of the run and of every axis.
    pub settings: Settings,
    /// Traits of the builder that the Dockerfiles are read for.
    pub builder: BuilderTraits,
    /// Images of all axes.
    pub graph: Graph,
    /// Context of each image, as far as it comes from the tree.
    pub contexts: Contexts,
}

impl Workspace {
    /// Resolves the options of a request, and renders its images. Their Dockerfiles are read as
    /// `builder` does; if no engine has told its traits, as those expected of the settings.
    ///
    /// # Errors
    /// When the options, the configuration or the tree have errors.
    pub fn load(
        request: &Request,
        snapshot: &Snapshot,
        host: Host<'_>,
        builder: Option<&BuilderTraits>,
    ) -> Diagnosed<Self> {
        let Resolved { layers, mut tree, settings } = resolve(request, snapshot, host)?;
        add_site_files(&mut tree, &settings.run, snapshot)?;
        let expected = || BuilderTraits::expected(&settings.run);
        let builder = builder.cloned().unwrap_or_else(expected);
        let (graph, contexts) = connect(&tree, &settings, snapshot, host, &builder)?;
        Ok(Self { folder: tree_folder(&layers), tree, settings, builder, graph, contexts })
    }

    /// Returns the selection that the user asks for.
    ///
    /// # Errors
    /// When a pattern takes too many steps to search.
    pub fn selection(&self) -> Diagnosed<Selection> {
        let Settings { run, axes } = &self.settings;
        let unbuildable = axes.iter().flat_map(|axis| unbuildable(run, axis, &self.tree));
        let patterns = run.selection.patterns.as_ref();
        Ok(Selection {
            patterns: patterns.map(|patterns| searched(patterns, &self.graph)).transpose()?,
            unbuildable: unbuildable.collect(),
            skip_parents: run.selection.skip_parents,
        })
    }
}

/// Searches patterns in the names of all images.
fn searched(patterns: &[NamePattern], graph: &Graph) -> Diagnosed<Vec<SearchedPattern>> {
    let names: BTreeSet<&str> = graph.images().iter().map(|image| image.name.as_str()).collect();
    collect(patterns.iter().map(|pattern| {
        let found_in = pattern.found_in(names.iter().copied())?;
        Ok(SearchedPattern { text: pattern.text().clone(), found_in })
    }))
}

/// Returns the images of all axes in one graph, and their contexts.
fn connect(
    tree: &Tree,
    settings: &Settings,
    snapshot: &Snapshot,
    host: Host<'_>,
    builder: &BuilderTraits,
) -> Diagnosed<(Graph, Contexts)> {
    let of_axes = collect(settings.axes.iter().map(|axis| {
        let of_axis = render(tree, &settings.run, axis, snapshot, host, builder)?;
        warn_of_stray_sources(tree, &of_axis.images, axis, host.warn);
        Ok(of_axis)
    }))
    .map_err(Diagnostics::distinct)?;
    let together = |mut all: Images, of_axis: Images| {
        all.images.extend(of_axis.images);
        all.contexts.extend(of_axis.contexts);
        all
    };
    let Images { images, contexts } = of_axes.into_iter().reduce(together).unwrap_or_default();
    Ok((Graph::new(images)?, contexts))
}

/// Returns the images that can't be built on one axis, each with the reason.
pub fn unbuildable(
    run: &RunSettings,
    settings: &AxisSettings,
    tree: &Tree,
) -> Vec<(ImageName, String)> {
    let axis = settings.axis.names();
    let package_manager = &settings.base.package_manager;
    let entries = tree.manifest().unbuildable.iter().filter(|entry| {
        !run.selection.enable_unbuildable && entry.applies(axis, package_manager, tree.dialect())
    });
    let name = |name: &String| ImageName::new(name).on(settings.label.as_deref());
    entries
        .flat_map(|entry| entry.images.iter().map(|image| (name(image), entry.reason.clone())))
        .collect()
}

/// Warns of sources of the user that belong to no image of the tree: most likely they are
/// misspelled.
fn warn_of_stray_sources(
    tree: &Tree,
    images: &[graph::Image],
    settings: &AxisSettings,
    warn: &dyn Fn(&str),
) {
    let of_tree = &tree.manifest().sources;
    for source in settings.sources.iter().filter(|source| !of_tree.contains_key(&source.name)) {
        let of_image = source.name.image();
        if !images.iter().any(|image| image.name.as_str() == of_image) {
            warn(&format!("the source [{}] belongs to no image", source.name));
        }
    }
}
