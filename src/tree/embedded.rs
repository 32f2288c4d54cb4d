//! Tree and profiles embedded in the program, so that it works in any folder.
//!
//! The build script packs both folders into one tar archive, which keeps the executable bits that
//! embedding plain bytes would lose.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::file_mode::sent_mode;
use super::tree_entry::{Content, Files, TreeFile};

static ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tree.tar"));

/// Returns the files of the tree and those of the folder of profiles.
pub(super) fn load() -> (Files, Files) {
    let mut tree = Files::new();
    let mut profiles = Files::new();
    for (path, file) in entries() {
        if let Some(path) = path.strip_prefix("docker/") {
            tree.insert(path.to_owned(), file);
        } else if let Some(path) = path.strip_prefix("profiles/") {
            profiles.insert(path.to_owned(), file);
        }
    }
    (tree, profiles)
}

/// Returns the tables of the releases as JSON text, with their file names.
pub(super) fn releases() -> Vec<(String, String)> {
    let of_releases = entries().filter_map(|(path, file)| {
        let text = String::from_utf8(file.read().ok()?).ok()?;
        Some((path.strip_prefix("releases/")?.to_owned(), text))
    });
    of_releases.collect()
}

/// Writes the embedded tree to `folder/docker` and its profiles to `folder/profiles`. Returns the
/// number of files written.
///
/// # Errors
/// When a file can't be written, or one of the two folders exists: nothing is overwritten.
pub fn export(folder: &Path) -> io::Result<usize> {
    for part in ["docker", "profiles"] {
        let target = folder.join(part);
        if target.exists() {
            let message = format!("'{}' already exists", target.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
    }
    fs::create_dir_all(folder)?;
    let mut written = 0;
    for (path, file) in entries().filter(|(path, _)| !path.starts_with("releases/")) {
        let target = folder.join(&path);
        fs::create_dir_all(target.parent().unwrap_or(folder))?;
        let (bytes, executable) = file.load()?;
        fs::write(&target, bytes)?;
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        written += 1;
    }
    Ok(written)
}

/// Returns the regular files of the archive with their paths.
fn entries() -> impl Iterator<Item = (String, TreeFile)> {
    const MADE_HERE: &str = "the archive was made by the build script";
    let mut archive = tar::Archive::new(ARCHIVE);
    let files: Vec<_> = archive
        .entries()
        .expect(MADE_HERE)
        .map(|entry| {
            let entry = entry.expect(MADE_HERE);
            let path = entry.path().expect(MADE_HERE).to_str().expect(MADE_HERE).to_owned();
            let start = usize::try_from(entry.raw_file_position()).expect(MADE_HERE);
            let size = usize::try_from(entry.size()).expect(MADE_HERE);
            let mode = sent_mode(entry.header().mode().expect(MADE_HERE), false);
            let content = Content::Embedded(&ARCHIVE[start..start + size]);
            (path, TreeFile { content, mode: Some(mode) })
        })
        .collect();
    files.into_iter()
}
