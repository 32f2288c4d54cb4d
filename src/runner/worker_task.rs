//! Tasks of workers, and the progress of an image.

use crate::event::{BuiltImage, Outcome, Pushed};
use crate::graph::Index;
use crate::image::ImageRef;

/// Task of a worker.
#[derive(Debug, Clone)]
pub(super) enum Task {
    Pull(ImageRef),
    Fetch(Index),
    Build(Index),
    Push(Index),
    PushList(ImageRef),
}

impl Task {
    pub(super) fn is_pull(&self) -> bool {
        matches!(self, Self::Pull(_))
    }

    pub(super) fn is_build(&self) -> bool {
        matches!(self, Self::Build(_))
    }

    pub(super) fn is_push(&self) -> bool {
        matches!(self, Self::Push(_) | Self::PushList(_))
    }
}

/// Progress of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// This many of the images that it needs are not built yet.
    Waiting(usize),
    Building,
    /// The image is built; its push is queued or in progress.
    Pushing(BuiltImage),
    /// The image is built and pushed; the manifest list that it belongs to is not pushed yet.
    Pushed(BuiltImage, Vec<Pushed>),
    Finished(Outcome),
}
