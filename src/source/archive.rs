//! Packs folders, with the same bytes for the same contents.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Packs the files below `folder` into a tar archive, under a folder called `top`.
pub(super) fn pack_folder(folder: &Path, top: &str, target: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create(target)?);
    archive.follow_symlinks(false);
    append_folder(&mut archive, folder, Path::new(top))?;
    archive.into_inner()?.flush()
}

fn append_folder(archive: &mut tar::Builder<File>, folder: &Path, name: &Path) -> io::Result<()> {
    let mut header = tidy_header(tar::EntryType::Directory, 0o755);
    archive.append_data(&mut header, name.join(""), io::empty())?;
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            append_folder(archive, &path, &name)?;
        } else if metadata.is_symlink() {
            let mut header = tidy_header(tar::EntryType::Symlink, 0o777);
            archive.append_link(&mut header, name, fs::read_link(&path)?)?;
        } else if metadata.is_file() {
            let mut header = tidy_header(tar::EntryType::Regular, mode(&metadata));
            header.set_size(metadata.len());
            archive.append_data(&mut header, name, File::open(&path)?)?;
        }
    }
    Ok(())
}

fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 }
}

/// A header that tells of nothing but the kind of an entry and what it may do.
pub(super) fn tidy_header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
