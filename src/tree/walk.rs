//! Walk through a folder on disk: its files, folders and symbolic links.
//!
//! Links are followed within the folder, so that templates and images are found behind them. A link
//! that leaves the folder, leads nowhere or leads back is never followed: it is listed with the
//! reason, and is an error only if it is no part of a build context.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::bounded_text::unreadable;
use super::language::{Language, TERA_SUFFIX};
use super::manifest::FILE_NAME;
use super::tree_entry::{Content, Files, TreeFile, TreeFolder};
use crate::diagnostic::{Diagnostic, Diagnostics, Result};

/// Largest number of files and folders of a tree: a hundred times that of large trees. Links
/// between folders can multiply a few files.
const MOST_ENTRIES: usize = 200_000;

/// Entry of a folder that is not a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Other {
    Folder(TreeFolder),
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

/// Entries that were found so far, in the order of the walk. Maps are only made of the whole: to add
/// one entry after the other to a map of a large tree takes long.
#[derive(Default)]
struct Found {
    files: Vec<(String, TreeFile)>,
    others: Vec<(String, Other)>,
}

/// Returns all entries below `folder`.
pub(super) fn walk(folder: &Path) -> Result<Walked> {
    walk_up_to(MOST_ENTRIES, folder)
}

pub(super) fn walk_up_to(most: usize, folder: &Path) -> Result<Walked> {
    let root = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let listed = entries(folder)?;
    let walk = Walk { folder, root: &root, most, seen: AtomicUsize::new(0) };
    let top = Above { path: folder, name: "", real: Some(&root), above: None };
    let parts: Vec<Result<Found>> = listed
        .into_par_iter()
        .map(|(name, kind)| {
            let mut found = Found::default();
            walk.visit(&name, kind, &top, &mut found).map(|()| found)
        })
        .collect();
    let parts: Vec<Found> = parts.into_iter().collect::<Result<_>>()?;
    let (files, others): (Vec<_>, Vec<_>) =
        parts.into_iter().map(|part| (part.files, part.others)).unzip();
    Ok(Walked {
        files: files.into_iter().flatten().collect(),
        others: others.into_iter().flatten().collect(),
    })
}

/// Returns the names in a folder with their kinds.
fn entries(folder: &Path) -> Result<Vec<(OsString, FileType)>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
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
    /// Path relative to the root; empty for the root.
    name: &'a str,
    /// Canonical path, if the folder is the root or was reached by a link.
    real: Option<&'a Path>,
    above: Option<&'a Above<'a>>,
}

impl Above<'_> {
    /// Returns the path of this folder or of one above it whose canonical path is `real`.
    fn find(&self, real: &Path) -> Option<&Path> {
        if self.canonical() == real {
            return Some(self.path);
        }
        self.above.and_then(|above| above.find(real))
    }

    fn canonical(&self) -> PathBuf {
        match (self.real, self.above) {
            (Some(real), _) => real.to_owned(),
            (None, Some(above)) => {
                above.canonical().join(self.path.file_name().unwrap_or_default())
            }
            (None, None) => self.path.to_owned(),
        }
    }
}

impl Walk<'_> {
    /// Adds the entry called `own` of the folder `above`.
    fn visit(
        &self,
        own: &OsStr,
        kind: FileType,
        above: &Above<'_>,
        found: &mut Found,
    ) -> Result<()> {
        if self.seen.fetch_add(1, Ordering::Relaxed) >= self.most {
            return Err(self.too_many());
        }
        if !(kind.is_symlink() || kind.is_file() || kind.is_dir()) {
            return Ok(());
        }
        let (path, name) = (above.path.join(own), self.name(own, above)?);
        if kind.is_symlink() {
            return self.visit_link(path, name, above, found);
        }
        if kind.is_file() {
            found.files.push((name, TreeFile { content: Content::Disk(path), mode: None }));
        } else {
            let here = Above { path: &path, name: &name, real: None, above: Some(above) };
            self.visit_all(&here, found)?;
            found.others.push((name, Other::Folder(TreeFolder::OnDisk(path))));
        }
        Ok(())
    }

    fn visit_all(&self, here: &Above<'_>, found: &mut Found) -> Result<()> {
        for (own, kind) in entries(here.path)? {
            self.visit(&own, kind, here, found)?;
        }
        Ok(())
    }

    fn visit_link(
        &self,
        path: PathBuf,
        name: String,
        above: &Above<'_>,
        found: &mut Found,
    ) -> Result<()> {
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
        found.others.push((name.clone(), Other::Link { target, obstacle }));
        let Ok((real, kind)) = followed else { return Ok(()) };
        if kind.is_dir() {
            let here = Above { path: &path, name: &name, real: Some(&real), above: Some(above) };
            self.visit_all(&here, found)?;
        } else if kind.is_file() {
            found.files.push((name, TreeFile { content: Content::Disk(path), mode: None }));
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

    /// Returns the path relative to the root of the entry called `own` of the folder `above`.
    fn name(&self, own: &OsStr, above: &Above<'_>) -> Result<String> {
        let Some(own) = own.to_str() else {
            let path = above.path.join(own);
            let shown = path.strip_prefix(self.folder).unwrap_or(&path).display();
            return Err(Diagnostic::new(format!("the name of '{shown}' is not UTF-8"))
                .help("Kiln can't send such a name to an engine: rename the file")
                .into());
        };
        if above.name.is_empty() {
            return Ok(own.to_owned());
        }
        Ok([above.name, "/", own].concat())
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
