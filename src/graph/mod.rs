//! The graph of a tree's images: which image needs which, checked before anything is built.
//!
//! Vertices are the images of the tree and the external images that they refer to; an edge leads
//! from the image that is needed to the one that needs it. Every kind of reference is an edge, if the
//! builder resolves it: BuildKit and Podman leave out stages that the last one does not need. The
//! *parent* of an image is the one that its last stage is built on. Other modules refer to images
//! by their position in name order, so that everything derived from a graph comes in a stable
//! order.

mod drawn;
mod image_graph;
mod image_use;
mod tree_image;

#[cfg(test)]
pub use drawn::GraphJson;
pub use drawn::ImageEntry;
#[cfg(test)]
pub(crate) use image_graph::tests;
pub use image_graph::{Graph, cycles, is_image_part, needs_of_all, unknown_siblings};
pub use image_use::{Index, Use};
pub use tree_image::Image;
