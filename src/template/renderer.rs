//! Interface of the engines.

use crate::diagnostic::Result;
use crate::image::ImageName;

/// Engine that holds the templates of a tree.
pub(super) trait Renderer: Sync {
    /// Renders the template at `path` (from the tree's root) for `image`, and returns the text.
    fn render(&self, path: &str, image: &ImageName) -> Result<String>;
}
