//! Careful access to files and folders of this machine: private temporary folders, paths that must
//! be regular files, and files of Kiln's own in folders that other users can write to.
//!
//! A path from a tree, a configuration or another user of the machine may lead to a pipe, a socket
//! or a device. Opening or reading one may block, and a device may have no end. Such a path is
//! opened as a regular file, or refused with an error that says what it is instead. A file that the
//! user names on the command line may be a pipe (`<(...)`, `/dev/stdin`); only its size is limited.

use std::collections::BTreeSet;
use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// Largest size of a configuration file, of Kiln or of a client of an engine, in bytes.
pub const MOST_OF_CONFIGURATION: u64 = 16 * MIB;

/// Temporary folders of this process that exist; `None` once the process is ending.
static TEMPORARY: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

/// Number of attempts to remove a folder, and pause between two. Another thread may still be
/// writing to it; its next file fails once the folder of that file is gone.
const REMOVALS: usize = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);

/// A temporary folder, removed when it is dropped, or by [`remove_temporary_folders`].
#[derive(Debug)]
pub struct TemporaryFolder(TempDir);

impl TemporaryFolder {
    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Keeps the folder for the user, and returns its path.
    pub fn keep(mut self) -> PathBuf {
        self.0.disable_cleanup(true);
        self.path().to_owned()
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Some(folders) = &mut *temporary() {
            folders.remove(self.path());
        }
    }
}

fn temporary() -> MutexGuard<'static, Option<BTreeSet<PathBuf>>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates a temporary folder with mode 0700, whatever the umask.
///
/// # Errors
/// When it can't be created, or the process is ending.
pub fn private_folder(prefix: &str) -> io::Result<TemporaryFolder> {
    let mut temporary = temporary();
    let Some(folders) = &mut *temporary else { return Err(refused("the program is ending")) };
    let permissions = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix(prefix).permissions(permissions).tempdir()?;
    folders.insert(folder.path().to_owned());
    Ok(TemporaryFolder(folder))
}

/// Removes the temporary folders of this process that exist, before it ends without running
/// destructors. No more can be created afterwards.
pub fn remove_temporary_folders() {
    let folders = temporary().take().unwrap_or_default();
    for folder in folders {
        for _ in 0..REMOVALS {
            if fs::remove_dir_all(&folder).is_ok() || !folder.exists() {
                break;
            }
            thread::sleep(REMOVAL_PAUSE);
        }
    }
}

/// Opens a regular file, following symbolic links, without blocking.
///
/// # Errors
/// When it can't be opened, or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    Ok(open_with_metadata(path)?.0)
}

/// Opens a regular file as [`open_regular`] does, and returns it with its metadata.
///
/// # Errors
/// The errors of [`open_regular`].
pub fn open_with_metadata(path: &Path) -> io::Result<(File, Metadata)> {
    opened(path, OFlags::NONBLOCK)
}

/// Opens a regular file without following a symbolic link at `path`.
///
/// # Errors
/// When it can't be opened, is a symbolic link, or is no regular file.
pub fn open_regular_here(path: &Path) -> io::Result<File> {
    Ok(opened(path, OFlags::NONBLOCK | OFlags::NOFOLLOW)?.0)
}

fn opened(path: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file =
        opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NXIO) => refused("it is a socket, not a regular file"),
            Some(Errno::LOOP) => refused("it is a symbolic link"),
            _ => error,
        })?;
    let metadata = file.metadata()?;
    require_regular(metadata.file_type())?;
    Ok((file, metadata))
}

/// Returns the content of the regular file at `path`, following symbolic links.
///
/// # Errors
/// When it can't be read, is no regular file, or has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_to_limit(open_regular(path)?, most)
}

/// Returns the content of the regular file at `path` as text.
///
/// # Errors
/// The errors of [`read`], and when the content is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text(read(path, most)?)
}

/// Returns the content of a file that the user has named, which may be a pipe, as text.
///
/// # Errors
/// When it can't be read, has more than `most` bytes, or is not UTF-8.
pub fn read_named_text(path: &Path, most: u64) -> io::Result<String> {
    text(read_to_limit(File::open(path)?, most)?)
}

/// Opens the regular file at `path` for reading and writing, and creates it if it does not exist.
/// Follows no symbolic link at `path`, and refuses a file that has a second hard link.
///
/// # Errors
/// When it can't be opened, is no regular file, or is a symbolic or hard link.
pub fn open_own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)
        .map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::LOOP) => refused("it is a symbolic link"),
            _ => error,
        })?;
    let metadata = file.metadata()?;
    require_regular(metadata.file_type())?;
    if metadata.nlink() > 1 { Err(refused("it is a hard link")) } else { Ok(file) }
}

/// Creates a new file at `path` for writing. An existing file or link is removed first, never
/// written to.
///
/// # Errors
/// When the file can't be created, or the existing one can't be removed.
pub fn replace(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Creates the folder at `path` if it does not exist, and checks that `path` is no symbolic link.
///
/// # Errors
/// When it can't be created, or `path` is a symbolic link.
pub fn require_own_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    match fs::symlink_metadata(path)?.is_dir() {
        true => Ok(()),
        false => Err(refused("it is a symbolic link")),
    }
}

/// Refuses a pipe, a socket and a device.
///
/// # Errors
/// When it is one of them; the error says which.
pub fn refuse_irregular(metadata: &Metadata) -> io::Result<()> {
    match irregular(metadata.file_type()) {
        Some(name) => Err(refused(&format!("it is {name}, neither a file nor a folder"))),
        None => Ok(()),
    }
}

fn require_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let name = irregular(kind).unwrap_or(if kind.is_dir() { "a folder" } else { "something else" });
    Err(refused(&format!("it is {name}, not a regular file")))
}

fn irregular(kind: FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

fn read_to_limit(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let reason = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(content)
}

fn text(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content).map_err(|_| refused("it is not UTF-8"))
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    fn refusal<T>(result: io::Result<T>) -> String {
        result.err().expect("it is refused").to_string()
    }

    #[test]
    fn anything_but_a_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        pipe(&at("pipe"));
        fs::create_dir(at("folder")).unwrap();
        symlink(at("pipe"), at("link")).unwrap();
        let socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(refusal(read(&at("pipe"), 9)), "it is a pipe, not a regular file");
        assert_eq!(refusal(read(&at("link"), 9)), "it is a pipe, not a regular file");
        assert_eq!(refusal(read(&at("folder"), 9)), "it is a folder, not a regular file");
        assert_eq!(refusal(read(Path::new("/dev/zero"), 9)), "it is a device, not a regular file");
        assert!(read(&at("socket"), 9).is_err());
        assert_eq!(read(&at("missing"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(socket);
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "123").unwrap();
        assert_eq!(read_text(&path, 3).unwrap(), "123");
        assert_eq!(refusal(read(&path, 2)), "it has more than 2 bytes");
        let sparse = File::create(&path).unwrap();
        sparse.set_len(1 << 40).unwrap();
        assert_eq!(refusal(read(&path, 1000)), "it has more than 1000 bytes");
        assert_eq!(refusal(read_named_text(Path::new("/dev/zero"), 5)), "it has more than 5 bytes");
    }

    #[test]
    fn own_files_are_never_those_that_a_link_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "kept").unwrap();
        symlink(at("victim"), at("link")).unwrap();
        symlink(at("new"), at("dangling")).unwrap();
        fs::hard_link(at("victim"), at("hard")).unwrap();
        pipe(&at("pipe"));
        assert_eq!(refusal(open_own(&at("link"))), "it is a symbolic link");
        assert_eq!(refusal(open_own(&at("dangling"))), "it is a symbolic link");
        assert_eq!(refusal(open_own(&at("hard"))), "it is a hard link");
        assert_eq!(refusal(open_own(&at("pipe"))), "it is a pipe, not a regular file");
        for name in ["link", "dangling", "hard"] {
            io::Write::write_all(&mut replace(&at(name)).unwrap(), b"log").unwrap();
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "log");
        }
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "kept");
        assert!(!at("new").exists());
        fs::create_dir(at("elsewhere")).unwrap();
        symlink(at("elsewhere"), at("logs")).unwrap();
        assert_eq!(refusal(require_own_folder(&at("logs"))), "it is a symbolic link");
        require_own_folder(&at("a/b")).unwrap();
    }

    #[test]
    fn temporary_folder_is_closed_to_others() {
        let folder = private_folder("kiln-test-").unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn regular_files_and_folders_are_distinguished_from_others() {
        let folder = private_folder("kiln-test-").unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        pipe(&at("pipe"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        open_regular(&at("file")).unwrap();
        open_regular(&at("link")).unwrap();
        open_regular_here(&at("file")).unwrap();
        assert_eq!(refusal(open_regular_here(&at("link"))), "it is a symbolic link");
        assert_eq!(refusal(open_regular(&at("socket"))), "it is a socket, not a regular file");
        for (path, kind) in [
            (at("pipe"), "a pipe"),
            (at("socket"), "a socket"),
            ("/dev/null".into(), "a device"),
            ("/dev/zero".into(), "a device"),
        ] {
            let reason = format!("it is {kind}, neither a file nor a folder");
            assert_eq!(refusal(refuse_irregular(&path.metadata().unwrap())), reason);
        }
        refuse_irregular(&at("file").metadata().unwrap()).unwrap();
        refuse_irregular(&folder.path().metadata().unwrap()).unwrap();
    }
}
