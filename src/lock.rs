//! Locks that keep two conflicting runs apart: the second run waits, and says for which one.
//!
//! A lock is a file that the operating system locks while its holder lives, so that no lock
//! outlasts a run that was killed. The content of the file is for people.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::files;

/// A lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `file`, which is created if it does not exist; `what` is the purpose, for messages. If
    /// another run holds the lock, tells `say` and waits.
    ///
    /// # Errors
    /// When the file can't be created, is a link or no regular file, or the file system has no
    /// locks.
    pub fn take(file: &Path, what: &str, say: &dyn Fn(&str)) -> io::Result<Self> {
        if let Some(folder) = file.parent() {
            files::require_own_folder(folder)?;
        }
        let mut lock = files::open_own(file)?;
        wait_for(&lock, what, say, || Ok(format!("another run ({})", holder_in(&lock)?)))?;
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "process {}", std::process::id())?;
        Ok(Self { _file: lock })
    }

    /// Locks the folder itself, without a file in it. If another run holds the lock, tells `say`
    /// and waits.
    ///
    /// # Errors
    /// When the folder can't be created, or the file system has no locks.
    pub fn take_folder(folder: &Path, what: &str, say: &dyn Fn(&str)) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::open(folder)?;
        wait_for(&lock, what, say, || Ok("another run".to_owned()))?;
        Ok(Self { _file: lock })
    }
}

/// Number of bytes of a lock file that are shown.
const MOST_OF_HOLDER: u64 = 64;

/// Returns the holder of a lock as named in its file, without unprintable characters.
fn holder_in(lock: &File) -> io::Result<String> {
    let mut holder = Vec::new();
    lock.take(MOST_OF_HOLDER).read_to_end(&mut holder)?;
    let holder = String::from_utf8_lossy(&holder);
    Ok(holder.trim().chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect())
}

/// Locks a file. If it has to wait, names the holder first.
fn wait_for(
    lock: &File,
    what: &str,
    say: &dyn Fn(&str),
    holder: impl FnOnce() -> io::Result<String>,
) -> io::Result<()> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            say(&format!("waiting for {} to finish with {what}", holder()?));
            lock.lock()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_lock_that_is_a_planted_link_is_refused_and_its_target_kept() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        fs::create_dir(folder.path().join("locks")).unwrap();
        let (soft, hard) = (folder.path().join("locks/soft"), folder.path().join("locks/hard"));
        std::os::unix::fs::symlink(&victim, &soft).unwrap();
        fs::hard_link(&victim, &hard).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("elsewhere")).unwrap();
        for planted in [soft, hard, folder.path().join("elsewhere/lock")] {
            Lock::take(&planted, "it", &|_| {}).unwrap_err();
        }
        assert_eq!(fs::read_to_string(victim).unwrap(), "kept");
        assert!(!folder.path().join("lock").exists());
    }

    #[test]
    fn one_waits_for_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("locks/a");
        let first = Lock::take(&file, "it", &|_| {}).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("process {}\n", std::process::id()));
        let (send, receive) = std::sync::mpsc::channel();
        let waiting = {
            let file = file.clone();
            std::thread::spawn(move || {
                send.send(Lock::take(&file, "it", &|_| {}).map(drop)).unwrap();
            })
        };
        assert!(receive.recv_timeout(Duration::from_millis(300)).is_err(), "it did not wait");
        drop(first);
        receive.recv().unwrap().unwrap();
        waiting.join().unwrap();
    }
}
