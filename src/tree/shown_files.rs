//! Names and texts of a tree's files, for messages.

use std::sync::Arc;

use super::tree_entry::{Content, Files, TreeFile};

/// Files of a tree, for messages.
#[derive(Debug, Clone)]
pub struct ShownFiles {
    /// Origin of the tree, in words.
    pub(super) origin: Arc<str>,
    pub(super) files: Arc<Files>,
}

impl ShownFiles {
    pub(super) fn new(origin: impl Into<Arc<str>>, files: Files) -> Self {
        Self { origin: origin.into(), files: files.into() }
    }

    /// Returns the name of the file at `path` within the tree: its path on disk if it has one.
    pub fn path(&self, path: &str) -> String {
        match self.files.get(path) {
            Some(TreeFile { content: Content::Disk(on_disk), .. }) => on_disk.display().to_string(),
            _ => format!("{}/{path}", self.origin),
        }
    }

    /// Returns the text of the file at `path` within the tree; empty if it can't be read.
    pub fn text(&self, path: &str) -> String {
        self.files.get(path).and_then(|file| file.text(path).ok()).unwrap_or_default()
    }
}
