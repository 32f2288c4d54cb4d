//! Packs folders into tar archives: the same contents give the same bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::fetch_limits::LARGEST;
use crate::files::open_regular_here;

/// Largest number of files and folders in one archive.
const MOST_ENTRIES: usize = 250_000;

/// Packs the files below `folder` into a tar archive, under a top folder called `top`;
/// at the top of the archive if `top` is empty.
///
/// # Errors
/// When a file can't be read or is not a regular file, and when the folder exceeds the limits on an
/// image's sources.
pub(super) fn pack_folder(folder: &Path, top: &str, target: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::new(File::create(target)?));
    archive.follow_symlinks(false);
    let mut packer = Packer { archive, entries: MOST_ENTRIES, bytes: LARGEST };
    packer.append_folder(folder, Path::new(top))?;
    packer.archive.into_inner()?.flush()
}

/// Tar archive being written, with the number of entries and bytes that it may still take.
struct Packer {
    archive: tar::Builder<BufWriter<File>>,
    entries: usize,
    bytes: u64,
}

impl Packer {
    fn append_folder(&mut self, folder: &Path, name: &Path) -> io::Result<()> {
        if !name.as_os_str().is_empty() {
            let mut header = tidy_header(tar::EntryType::Directory, 0o755);
            self.archive.append_data(&mut header, name.join(""), io::empty())?;
        }
        let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            self.entries = self.entries.checked_sub(1).ok_or_else(|| {
                too_much(format!("it has more than {MOST_ENTRIES} files and folders"))
            })?;
            if entry.file_type()?.is_dir() {
                self.append_folder(&path, &name)?;
            } else {
                let shown = name.clone();
                self.append_file(&path, name)
                    .map_err(|error| io::Error::new(error.kind(), format!("{shown:?}: {error}")))?;
            }
        }
        Ok(())
    }

    fn append_file(&mut self, path: &Path, name: PathBuf) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_symlink() {
            let mut header = tidy_header(tar::EntryType::Symlink, 0o777);
            return self.archive.append_link(&mut header, name, fs::read_link(path)?);
        }
        let file = open_regular_here(path)?;
        let metadata = file.metadata()?;
        self.bytes = self
            .bytes
            .checked_sub(metadata.len())
            .ok_or_else(|| too_much(format!("the files are larger than {} GiB", LARGEST >> 30)))?;
        let mut header = tidy_header(tar::EntryType::Regular, mode(&metadata));
        header.set_size(metadata.len());
        let mut content = file.take(metadata.len());
        self.archive.append_data(&mut header, name, &mut content)?;
        match content.limit() {
            0 => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it became shorter while Kiln read it",
            )),
        }
    }
}

fn too_much(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, reason)
}

fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 }
}

/// Returns a header with only the kind and mode of an entry: size, owner and time are zero.
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
