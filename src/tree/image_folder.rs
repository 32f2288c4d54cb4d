//! Folders that contain the templates of images.

use super::language::Language;
use crate::image::ImageName;

/// Folder that contains the template of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    /// Name of the image: that of the folder.
    pub name: ImageName,
    /// Path of the folder, relative to the root of the tree.
    pub path: String,
    /// Language of the template.
    pub language: Language,
}

impl ImageFolder {
    /// Returns the path of the folder's template, relative to the root of the tree.
    pub fn template(&self) -> String {
        format!("{}/{}", self.path, self.language.template())
    }
}
