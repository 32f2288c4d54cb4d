//! Images that the images of a tree are built from, with the platforms that they are asked for.
//!
//! A reference of a stage that the last stage does not need counts only where the builder builds
//! that stage. `ONBUILD` instructions of an image count for the images that are based on it.

use std::collections::BTreeMap;

use super::tree_image::Image;
use crate::dockerfile::Via;
use crate::image::{ImageRef, Platform};

/// Position of an image in the graph.
pub type Index = usize;

/// Image that another image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Reference to the image.
    pub image: ImageRef,
    /// Position of the image; `None` if it is no image of the tree.
    pub sibling: Option<Index>,
    /// Instruction that refers to it.
    pub via: Via,
    /// Platform that it is asked for; `None` for the one that is built for.
    pub platform: Option<Platform>,
    /// True if the other image is made from it; false if only a stage that the last one does not
    /// need is.
    pub is_part: bool,
}

/// Maps each reference and alias to the image of that name.
pub(super) fn by_reference(images: &[Image]) -> BTreeMap<&ImageRef, Index> {
    let references = images.iter().enumerate().flat_map(|(index, image)| {
        let names = image.alias.iter().chain([&image.reference]);
        names.map(move |name| (name, index))
    });
    references.collect()
}

/// Returns the uses of each image, by position.
pub(super) fn uses_of_all(
    images: &[Image],
    by_reference: &BTreeMap<&ImageRef, Index>,
) -> Vec<Vec<Use>> {
    images.iter().map(|image| uses(image, images, by_reference)).collect()
}

/// Returns the images that `image` is built from: those that its Dockerfile names, and those that
/// the triggers of its bases name.
fn uses(image: &Image, images: &[Image], by_reference: &BTreeMap<&ImageRef, Index>) -> Vec<Use> {
    let sibling = |reference: &ImageRef| by_reference.get(reference).copied();
    let mut found = Vec::with_capacity(image.dockerfile.references.len());
    for (reference, is_part) in image.resolved_references() {
        let named = Use {
            image: reference.image.clone(),
            sibling: sibling(&reference.image),
            via: reference.via,
            platform: reference.platform.as_ref().filter(|of| **of != *image.target).cloned(),
            is_part,
        };
        let base = named.sibling.filter(|_| reference.via == Via::From);
        found.push(named);
        let triggers = base.into_iter().flat_map(|base| images[base].dockerfile.own_triggers());
        found.extend(triggers.filter_map(|trigger| {
            let triggered = image.dockerfile.triggered(trigger)?;
            Some(Use {
                sibling: sibling(&triggered),
                image: triggered,
                via: trigger.via,
                platform: None,
                is_part,
            })
        }));
    }
    found
}
