//! Files and folders of this machine, opened with care: private temporary folders, and files that are
//! files.
//!
//! A path that a tree, a configuration or another user of the machine supplies may lead to a pipe, a
//! socket or a device, which block whoever opens or reads them, or never end.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::TempDir;

/// Creates a temporary folder that nobody else can enter, whatever the umask.
///
/// # Errors
/// When it can't be created.
pub fn private_folder(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o700)).tempdir()
}

/// Opens a regular file, also by way of a symbolic link, without waiting for anybody.
///
/// # Errors
/// When it can't be opened, or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    opened(path, OFlags::NONBLOCK)
}

/// Opens a regular file that is no symbolic link.
///
/// # Errors
/// When it can't be opened, or is no regular file.
pub fn open_regular_here(path: &Path) -> io::Result<File> {
    opened(path, OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn opened(path: &Path, flags: OFlags) -> io::Result<File> {
    // A socket can't be opened at all, and says so in a way that helps nobody.
    refuse_irregular(&path.symlink_metadata()?)?;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    refuse_irregular(&metadata)?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"));
    }
    Ok(file)
}

/// Refuses a pipe, a socket and a device.
///
/// # Errors
/// The kind that it is of.
pub fn refuse_irregular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let name = match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => return Ok(()),
    };
    let reason = format!("it is {name}, neither a file nor a folder");
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Returns the text of a small regular file.
///
/// # Errors
/// When it can't be read, is no regular file, is longer than `most` bytes, or is not UTF-8.
pub fn small_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        let reason = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn temporary_folder_is_closed_to_others() {
        let folder = private_folder("kiln-test-").unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = private_folder("kiln-test-").unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("pipe", at("link-to-pipe")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let opened = |path: &Path| open_regular(path).map(drop).map_err(|error| error.to_string());
        for path in [at("file"), at("link")] {
            assert_eq!(opened(&path), Ok(()));
        }
        assert!(open_regular_here(&at("link")).is_err());
        for (path, kind) in [
            (at("pipe"), "a pipe"),
            (at("link-to-pipe"), "a pipe"),
            (at("socket"), "a socket"),
            ("/dev/null".into(), "a device"),
            ("/dev/zero".into(), "a device"),
        ] {
            let reason = format!("it is {kind}, neither a file nor a folder");
            assert_eq!(opened(&path), Err(reason));
        }
        assert!(opened(folder.path()).unwrap_err().contains("a folder"));
        assert_eq!(small_text(&at("file"), 4).unwrap(), "text");
        assert!(small_text(&at("file"), 3).is_err());
    }
}
