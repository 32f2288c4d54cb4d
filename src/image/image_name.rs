//! Short names of images, as a tree and the user know them.

use std::fmt;
use std::sync::Arc;

/// Short name of an image: the name of the folder that holds its template. In a run with several
/// axes it includes the axis of the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    axis: Option<Arc<str>>,
    short: Arc<str>,
}

impl ImageName {
    /// Creates a name without an axis.
    pub fn new(name: &str) -> Self {
        Self { axis: None, short: name.into() }
    }

    /// Returns the same short name on `axis`.
    #[must_use]
    pub fn on(&self, axis: Option<&str>) -> Self {
        Self { axis: axis.map(Arc::from), short: self.short.clone() }
    }

    /// Returns the name as the tree has it, without the axis.
    pub fn as_str(&self) -> &str {
        &self.short
    }

    /// Returns the axis of the image; `None` in a run with a single axis.
    pub fn axis(&self) -> Option<&str> {
        self.axis.as_deref()
    }
}

/// Prints `name`, or `axis/name`.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.axis {
            Some(axis) => f.pad(&format!("{axis}/{}", self.short)),
            None => f.pad(&self.short),
        }
    }
}
