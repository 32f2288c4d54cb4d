//! Snapshot that the user's files are read from: as they are now, or as they were at a commit.
//!
//! A run that compares with a commit executes the same steps twice, with the same command line.
//! Everything that is read from disk is read through a snapshot, which is the only difference.

use std::path::{Path, PathBuf};

use super::commit_export::CommitExport;

/// Snapshot of the user's files.
pub enum Snapshot {
    /// Files on disk, as they are now.
    Worktree,
    /// Files as of a commit.
    Commit(CommitExport),
}

impl Snapshot {
    /// Returns the path at which the file or folder `named` is read; `None` if it did not exist in
    /// the snapshot.
    pub fn path(&self, named: &Path) -> Option<PathBuf> {
        match self {
            Self::Worktree => Some(named.to_owned()),
            Self::Commit(commit) => commit.path(named),
        }
    }

    /// Returns the paths of the files or folders that exist in the snapshot.
    pub fn paths(&self, named: &[PathBuf]) -> Vec<PathBuf> {
        named.iter().filter_map(|path| self.path(path)).collect()
    }
}
