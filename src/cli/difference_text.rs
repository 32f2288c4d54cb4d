//! Differences between images, in words.

use crate::fingerprint::{Change, Difference};
use crate::graph;

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
pub fn own_first(changes: &[Change]) -> Vec<&Change> {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|change| graph::is_image_part(change.part()));
    changes
}
