//! Entries of a tree: files with their content or its place, and folders.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::bounded_text::{line_after, read_bounded, unreadable};
use super::file_mode::{FILE_MODE, sent_mode};
use crate::diagnostic::{Diagnostic, Result};
use crate::files;

/// Content of a file, or its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Disk(PathBuf),
    Embedded(&'static [u8]),
    Text(String),
}

/// Opened file of a tree.
pub struct OpenFile {
    /// Reader of the content.
    pub content: Box<dyn Read + Send>,
    /// Size of the content when the file was opened, in bytes.
    pub size: u64,
    /// Permissions that an engine gets.
    pub mode: u32,
}

/// File of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    pub(super) content: Content,
    /// Permissions that an engine gets; `None` if those of the file on disk decide.
    pub(super) mode: Option<u32>,
}

impl TreeFile {
    /// Returns a file at `path` on disk, not executable.
    pub fn on_disk(path: PathBuf) -> Self {
        Self { content: Content::Disk(path), mode: Some(FILE_MODE) }
    }

    /// Returns a file with the content `text`, not executable.
    pub fn of_text(text: String) -> Self {
        Self { content: Content::Text(text), mode: Some(FILE_MODE) }
    }

    /// Returns the file's content.
    ///
    /// # Errors
    /// When a file on disk can't be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.load()?.0)
    }

    /// Returns the file's content, and true if its owner may execute it.
    ///
    /// # Errors
    /// When a file on disk can't be read.
    pub fn load(&self) -> io::Result<(Vec<u8>, bool)> {
        let OpenFile { content, size, mode } = self.open()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
        // `Take` hides the file's length, so that it is not queried a second time.
        content.take(u64::MAX).read_to_end(&mut bytes)?;
        Ok((bytes, mode & 0o100 != 0))
    }

    /// Opens the file.
    ///
    /// # Errors
    /// When a file on disk can't be opened, or is no regular file.
    pub fn open(&self) -> io::Result<OpenFile> {
        let (content, size, on_disk): (Box<dyn Read + Send>, _, _) = match &self.content {
            Content::Disk(path) => {
                let (file, metadata) = files::open_with_metadata(path)?;
                let mode = sent_mode(metadata.permissions().mode(), false);
                (Box::new(file), metadata.len(), mode)
            }
            Content::Embedded(bytes) => (Box::new(*bytes), bytes.len() as u64, FILE_MODE),
            Content::Text(text) => {
                let bytes = text.clone().into_bytes();
                (Box::new(Cursor::new(bytes)), text.len() as u64, FILE_MODE)
            }
        };
        Ok(OpenFile { content, size, mode: self.mode.unwrap_or(on_disk) })
    }

    /// Returns the file's content as text; `name` is its name in messages.
    ///
    /// # Errors
    /// When it can't be read, is longer than the largest text, or is not UTF-8.
    pub fn text(&self, name: &str) -> Result<String> {
        let read = match &self.content {
            Content::Disk(path) => read_bounded(path),
            _ => self.read(),
        };
        let bytes = read.map_err(|error| unreadable(Path::new(name), &error))?;
        String::from_utf8(bytes).map_err(|error| {
            let line = line_after(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            Diagnostic::new(format!("'{name}' is not UTF-8 text, from line {line} on")).into()
        })
    }
}

/// Files by their path relative to the root of the tree, with `/` as separator.
pub type Files = BTreeMap<String, TreeFile>;

/// Folder of a tree. Its permissions are only read if they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeFolder {
    /// Folder at this path.
    OnDisk(PathBuf),
    /// Folder with these permissions.
    #[cfg(test)]
    WithMode(u32),
}

impl TreeFolder {
    /// Returns the permissions that an engine gets.
    ///
    /// # Errors
    /// When the folder on disk can't be read.
    pub fn mode(&self) -> io::Result<u32> {
        match self {
            Self::OnDisk(path) => {
                Ok(sent_mode(fs::symlink_metadata(path)?.permissions().mode(), true))
            }
            #[cfg(test)]
            Self::WithMode(mode) => Ok(*mode),
        }
    }
}

/// Entry of a build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextEntry {
    /// File.
    File(TreeFile),
    /// Folder.
    Folder(TreeFolder),
    /// Symbolic link to this target.
    Link(String),
}
