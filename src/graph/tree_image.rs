//! Image of a tree, as the graph knows it.

use std::sync::Arc;

use crate::dockerfile::{Dockerfile, Reference};
use crate::image::{ImageName, ImageRef, Naming, Platform};

/// An image of the tree, with all that the graph needs to know about it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Short name of the image.
    pub name: ImageName,
    /// Naming rule of this image and its siblings.
    pub naming: Arc<Naming>,
    /// Reference that the built image is tagged with.
    pub reference: ImageRef,
    /// Reference of the manifest list that joins this image with those for other platforms.
    pub list: Option<ImageRef>,
    /// Another reference that templates may use for it.
    pub alias: Option<ImageRef>,
    /// Path of its template, for messages.
    pub template: String,
    /// Text of the rendered Dockerfile.
    pub text: Arc<str>,
    /// Parsed Dockerfile, with its references.
    pub dockerfile: Dockerfile,
    /// Platform that it is built for.
    pub target: Arc<Platform>,
    /// True if its builder builds every stage, and not only those that the last one needs.
    pub builds_all_stages: bool,
}

impl Image {
    /// Returns the references that the builder resolves, in order of appearance; each with true if
    /// the image is made from it, and false if only a stage that the last one does not need is.
    pub fn resolved_references(&self) -> impl Iterator<Item = (&Reference, bool)> {
        let needed = self.dockerfile.needed_stages();
        let with_need = self.dockerfile.references.iter().map(move |one| (one, needed[one.stage]));
        with_need.filter(|(_, is_needed)| *is_needed || self.builds_all_stages)
    }
}
