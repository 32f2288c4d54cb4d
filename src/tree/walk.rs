//! Walk through a folder on disk: its files, folders and symbolic links.
//!
//! Links are followed within the folder, so that templates and images are found behind them. A link
//! that leaves the folder, leads nowhere or leads back is never followed: it is listed with the
//! reason, and is an error only if it is no part of a build context.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{Content, FILE_NAME, Files, Language, TERA_SUFFIX, TreeFile, sent_mode, unreadable};
use crate::diagnostic::{Diagnostic, Diagnostics, Result};

/// Largest number of files and folders of a tree: a hundred times that of large trees. Links
/// between folders can multiply a few files.
const MOST_ENTRIES: usize = 200_000;

/// Entry of a folder that is not a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Other {
    Folder {
        mode: u32,
    },
    /// Symbolic link, with the reason if it is not followed.
    Link {
        target: String,
        obstacle: Option<Diagnostic>,
    },
}

/// Folders and links by their path relative to the root.
pub(super) type Others = BTreeMap<String, Other>;

/// Entries of a folder. Files behind links that are followed are under the paths of the links, too.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) files: Files,
    pub(super) others: Others,
}

/// Returns all entries below `folder`.
pub(super) fn walk(folder: &Path) -> Result<Walked> {
    walk_up_to(MOST_ENTRIES, folder)
}

pub(super) fn walk_up_to(most: usize, folder: &Path) -> Result<Walked> {
    let root = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let listed = entries(folder)?;
    let walk = Walk { folder, root: &root, most, seen: AtomicUsize::new(0) };
    let top = Above { path: folder, real: &root, above: None };
    let parts: Vec<Result<Walked>> = listed
        .par_iter()
        .map(|(path, kind)| {
            let mut found = Walked::default();
            walk.visit(path.clone(), *kind, &top, &mut found).map(|()| found)
        })
        .collect();
    let mut all = Walked::default();
    for part in parts {
        let part = part?;
        all.files.extend(part.files);
        all.others.extend(part.others);
    }
    Ok(all)
}

/// Returns the paths in a folder with their kinds.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, FileType)>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
            .collect()
    });
    Ok(entries.map_err(|error| unreadable(folder, &error))?)
}

/// Walk through a folder, whose entries are visited in parallel.
struct Walk<'a> {
    folder: &'a Path,
    /// Canonical path of `folder`.
    root: &'a Path,
    /// Largest number of entries.
    most: usize,
    /// Number of entries seen so far.
    seen: AtomicUsize,
}

/// Folder that is being visited, and those above it.
struct Above<'a> {
    path: &'a Path,
    /// Canonical path.
    real: &'a Path,
    above: Option<&'a Above<'a>>,
}

impl Above<'_> {
    fn find(&self, real: &Path) -> Option<&Path> {
        if self.real == real {
            return Some(self.path);
        }
        self.above.and_then(|above| above.find(real))
    }
}

impl Walk<'_> {
    /// Adds what is at `path`, in the folder `above`.
    fn visit(
        &self,
        path: PathBuf,
        kind: FileType,
        above: &Above<'_>,
        found: &mut Walked,
    ) -> Result<()> {
        if self.seen.fetch_add(1, Ordering::Relaxed) >= self.most {
            return Err(self.too_many());
        }
        if kind.is_symlink() {
            return self.visit_link(path, above, found);
        }
        if kind.is_file() {
            let name = self.name(&path)?;
            found.files.insert(name, TreeFile { content: Content::Disk(path), mode: None });
        } else if kind.is_dir() {
            let metadata =
                fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
            let mode = sent_mode(metadata.permissions().mode(), true);
            found.others.insert(self.name(&path)?, Other::Folder { mode });
            let name = path.file_name().unwrap_or_default();
            self.visit_all(&path, &above.real.join(name), above, found)?;
        }
        Ok(())
    }

    fn visit_all(
        &self,
        path: &Path,
        real: &Path,
        above: &Above<'_>,
        found: &mut Walked,
    ) -> Result<()> {
        let here = Above { path, real, above: Some(above) };
        for (path, kind) in entries(path)? {
            self.visit(path, kind, &here, found)?;
        }
        Ok(())
    }

    fn visit_link(&self, path: PathBuf, above: &Above<'_>, found: &mut Walked) -> Result<()> {
        let name = self.name(&path)?;
        let target = fs::read_link(&path).map_err(|error| unreadable(&path, &error))?;
        let target = target.into_os_string().into_string().map_err(|_| {
            Diagnostic::new(format!("the target of the link '{}' is not UTF-8", path.display()))
        })?;
        let followed = self.followed(&path, above);
        let obstacle = followed.as_ref().err().cloned();
        if let Some(obstacle) = &obstacle
            && is_read(&name)
        {
            return Err(obstacle.clone().into());
        }
        found.others.insert(name.clone(), Other::Link { target, obstacle });
        let Ok((real, kind)) = followed else { return Ok(()) };
        if kind.is_dir() {
            self.visit_all(&path, &real, above, found)?;
        } else if kind.is_file() {
            found.files.insert(name, TreeFile { content: Content::Disk(path), mode: None });
        }
        Ok(())
    }

    /// Returns the canonical path that a link leads to, and its kind, if the link is followed.
    ///
    /// # Errors
    /// When it leaves the folder, leads nowhere, or leads back to a folder above it.
    fn followed(
        &self,
        link: &Path,
        above: &Above<'_>,
    ) -> std::result::Result<(PathBuf, FileType), Diagnostic> {
        let target = link.canonicalize().map_err(|error| unreadable(link, &error))?;
        if !target.starts_with(self.root) {
            return Err(Diagnostic::new(format!(
                "'{}' is a link to a path outside of the tree",
                link.display()
            ))
            .note(format!("it points to '{}'", target.display()))
            .help("copy the file into the tree"));
        }
        if let Some(ancestor) = above.find(&target) {
            let (link, ancestor) = (link.display(), ancestor.display());
            return Err(Diagnostic::new(format!("'{link}' is a link back to '{ancestor}'")));
        }
        let metadata = fs::symlink_metadata(&target).map_err(|error| unreadable(link, &error))?;
        Ok((target, metadata.file_type()))
    }

    /// Returns the path of an entry relative to the folder.
    fn name(&self, path: &Path) -> Result<String> {
        let relative = path.strip_prefix(self.folder).expect("walked from the folder");
        let name = relative.to_str().ok_or_else(|| {
            let message = format!("the name of '{}' is not UTF-8", relative.display());
            Diagnostic::new(message)
                .help("Kiln can't send such a name to an engine: rename the file")
        })?;
        Ok(name.to_owned())
    }

    fn too_many(&self) -> Diagnostics {
        let message = format!("'{}' has more than {} files", self.folder.display(), self.most);
        Diagnostic::new(message)
            .help("name the folder of the templates; symbolic links can make a folder appear many times")
            .into()
    }
}

/// Returns true if Kiln reads each file with this name.
fn is_read(name: &str) -> bool {
    name.ends_with(TERA_SUFFIX)
        || name == FILE_NAME
        || name.rsplit('/').next() == Some(Language::Jinja.template())
}
