//! Snapshot that the user's files are read from: as they are now, or as they were at a commit.
//!
//! A run that compares with a commit executes the same steps twice, with the same command line.
//! Everything that is read from disk is read through a view, which is the only difference.

use std::path::{Path, PathBuf};

use super::past::Past;
use super::terminal;

/// Snapshot of the user's files.
pub enum View {
    /// Files on disk, as they are now.
    Now,
    /// Files as of a commit.
    Past(Past),
}

impl View {
    /// Returns the path at which the file or folder `named` is read; `None` if it did not exist in
    /// the snapshot.
    pub fn path(&self, named: &Path) -> Option<PathBuf> {
        match self {
            Self::Now => Some(named.to_owned()),
            Self::Past(past) => past.path(named),
        }
    }

    /// Returns the paths of the files or folders that exist in the snapshot.
    pub fn paths(&self, named: &[PathBuf]) -> Vec<PathBuf> {
        named.iter().filter_map(|path| self.path(path)).collect()
    }

    /// Prints a warning; silent for a snapshot of a commit.
    pub fn warn(&self, text: &str) {
        self.teller()(text);
    }

    /// Returns the function that prints warnings for this snapshot.
    pub fn teller(&self) -> fn(&str) {
        match self {
            Self::Now => |text| terminal::warn(&format!("warning: {text}")),
            Self::Past(_) => |_| {},
        }
    }
}
