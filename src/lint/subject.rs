//! Input of a check: the files of a tree, and its images as they are rendered on each axis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::frontend::Builder;
use super::shells::ShellCommand;
use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::image::ImageName;
use crate::tree::ImageFolder;

/// Input of a check.
pub struct Subject<'a> {
    /// Files of the tree, by path from its root.
    pub files: &'a BTreeMap<String, File>,
    /// Folders of the images.
    pub folders: &'a [ImageFolder],
    /// Rendered images of every axis.
    pub axes: &'a [RenderedAxis],
    /// Names of the images that a profile of the tree selects by a pattern; `None` if the tree has no
    /// profiles.
    pub in_profiles: Option<&'a BTreeSet<String>>,
    /// Package types of the bases, as templates ask for them.
    pub package_types: &'a BTreeSet<String>,
    /// Returns true for the name of an image that is checked.
    pub is_selected: &'a (dyn Fn(&str) -> bool + Sync),
    /// Builder that the images are for.
    pub builder: Builder,
    /// True if all images are checked, and with them the files that belong to none.
    pub is_whole: bool,
    /// Returns a shell's error for a command; `None` if the shell accepts it.
    pub objection: &'a (dyn Fn(&ShellCommand) -> Option<String> + Sync),
}

/// File of a tree.
#[derive(Debug, Clone)]
pub struct File {
    /// Path as the user knows it.
    pub shown: String,
    /// Text; `None` for a binary file.
    pub text: Option<String>,
}

/// Results of rendering the images on one axis.
#[derive(Debug, Default)]
pub struct RenderedAxis {
    /// Label that distinguishes the axis from the others of the run; empty if there is only one.
    pub label: String,
    /// Images whose templates rendered to a Dockerfile.
    pub images: Vec<graph::Image>,
    /// Folder of each image.
    pub folders: BTreeMap<ImageName, String>,
    /// Paths of the files that each image may copy.
    pub contexts: BTreeMap<ImageName, BTreeSet<String>>,
    /// Frontend that a build argument names in place of `# syntax`.
    pub syntax: Option<String>,
    /// Images that can't be built on this axis; their instructions are not checked.
    pub unbuildable: BTreeSet<ImageName>,
    /// Errors of the other images.
    pub failures: Vec<Failure>,
}

/// Errors of a template that did not render to a Dockerfile.
#[derive(Debug)]
pub struct Failure {
    /// Folder of the image.
    pub folder: ImageFolder,
    /// Rendered text, if that is where the errors are; `None` if rendering failed.
    pub text: Option<Arc<str>>,
    /// Errors of the image.
    pub errors: Vec<Diagnostic>,
}

impl Subject<'_> {
    pub(super) fn text(&self, path: &str) -> &str {
        self.files.get(path).and_then(|file| file.text.as_deref()).unwrap_or_default()
    }

    /// Returns a path in the tree as the user knows it.
    pub(super) fn shown(&self, path: &str) -> String {
        self.files.get(path).map_or(path, |file| file.shown.as_str()).to_owned()
    }

    /// Returns the path in the tree of the file that the user knows as `shown`.
    pub(super) fn path_of<'a>(&'a self, shown: &'a str) -> &'a str {
        let found = self.files.iter().find(|(_, file)| file.shown == shown);
        found.map_or(shown, |(path, _)| path)
    }

    /// Returns the innermost image folder that contains `path`.
    pub(super) fn folder_of(&self, path: &str) -> Option<&ImageFolder> {
        let holds = |folder: &&ImageFolder| below(&folder.path, path).is_some();
        self.folders.iter().filter(holds).max_by_key(|folder| folder.path.len())
    }

    /// Returns true if findings in this file are reported.
    pub(super) fn is_of_interest(&self, path: &str) -> bool {
        match self.folder_of(path) {
            Some(folder) => (self.is_selected)(folder.name.as_str()),
            None => self.is_whole,
        }
    }

    /// Returns the templates of the tree, with their texts.
    pub(super) fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_template = |path: &str| [".tera", ".j2"].iter().any(|end| path.ends_with(end));
        let files = self.files.iter().filter(move |(path, _)| is_template(path));
        files.filter_map(|(path, file)| Some((path.as_str(), file.text.as_deref()?)))
    }

    /// Returns the checked images of all axes, each with the path of its template.
    pub(super) fn images(&self) -> impl Iterator<Item = (&RenderedAxis, &graph::Image, String)> {
        self.axes.iter().flat_map(move |axis| {
            let images = axis.images.iter().filter(|image| (self.is_selected)(image.name.as_str()));
            images.map(move |image| (axis, image, self.template_of(axis, image)))
        })
    }

    pub(super) fn template_of(&self, axis: &RenderedAxis, image: &graph::Image) -> String {
        let folder = self.folders.iter().find(|folder| axis.folders[&image.name] == folder.path);
        folder.map_or_else(|| image.template.clone(), ImageFolder::template)
    }
}

/// Returns the part of `path` below `folder`; `None` if it is not inside of it.
pub(super) fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}
