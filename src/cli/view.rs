//! The files that the user names: as they are now, or as they were at a commit.
//!
//! A run that is compared with the past goes through the same steps twice, with the same command
//! line. What is read from disk is read through a view; nothing else tells the two apart.

use std::path::{Path, PathBuf};

use super::past::Past;
use super::terminal;

/// Where files that the user names are read.
pub enum View {
    /// Where they are.
    Now,
    /// In the repository as it was.
    Past(Past),
}

impl View {
    /// Where the file or folder that is called `named` is read; `None` if it was not there.
    pub fn path(&self, named: &Path) -> Option<PathBuf> {
        match self {
            Self::Now => Some(named.to_owned()),
            Self::Past(past) => past.path(named),
        }
    }

    /// Those of the files or folders that are there.
    pub fn paths(&self, named: &[PathBuf]) -> Vec<PathBuf> {
        named.iter().filter_map(|path| self.path(path)).collect()
    }

    /// Says what is odd, unless it is over.
    pub fn warn(&self, text: &str) {
        self.teller()(text);
    }

    /// What says what is odd, as far as it is of interest.
    pub fn teller(&self) -> fn(&str) {
        match self {
            Self::Now => |text| terminal::warn(&format!("warning: {text}")),
            Self::Past(_) => |_| {},
        }
    }
}
