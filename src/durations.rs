//! Durations of builds, in a small file in the user's state folder, kept from run to run.
//!
//! Durations are stored by repository, without registry and tag, so that a measurement with one tag
//! serves for the next. The file is optional: without it, a run builds the same images in another
//! order. It is always replaced as a whole, and entries that another run has written in the
//! meantime are kept.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::image::ImageRef;

/// Format of the file; a file with another version is discarded and started anew.
const VERSION: u32 = 1;

/// Largest number of images in the file; beyond it, the images built least recently are removed.
const MOST: usize = 20_000;

/// Largest file that is read, in bytes: several times the size that a run writes.
const MOST_BYTES: u64 = 64 << 20;

/// Longest time that a run waits for another one that writes the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Upper limit of a plausible duration: a week, in seconds.
const TOO_LONG: f64 = 7.0 * 24.0 * 3600.0;

/// Reason why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The file can't be read.
    #[error("the durations of earlier builds can't be read from '{}': {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// The content is not what a run writes.
    #[error("the durations of earlier builds in '{}' are discarded: {}", .0.display(), .1)]
    Broken(PathBuf, String),
    /// The file can't be written.
    #[error("the durations of builds can't be saved in '{}': {}", .0.display(), .1)]
    Unwritable(PathBuf, io::Error),
}

/// Durations of the builds of images, by repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    version: u32,
    images: BTreeMap<String, Entry>,
}

/// Record of one image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// Smoothed duration of a build, in seconds.
    seconds: f64,
    /// Time of the last build, in seconds since 1970.
    built: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { version: VERSION, images: BTreeMap::new() }
    }
}

impl Durations {
    /// Returns the content of `file`; empty if there is no such file.
    ///
    /// # Errors
    /// When the file can't be read, or is not what a run writes.
    pub fn read(file: &Path) -> Result<Self, Trouble> {
        let text = match files::read(file, MOST_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Trouble::Unreadable(file.to_owned(), error)),
            Ok(text) => text,
        };
        let broken = |reason: String| Trouble::Broken(file.to_owned(), reason);
        let mut read: Self =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if read.version != VERSION {
            return Err(broken(format!("their format is version {}", read.version)));
        }
        read.images.retain(|_, entry| (0.0..TOO_LONG).contains(&entry.seconds));
        Ok(read)
    }

    /// Returns the duration of the build of an image, whatever its registry and tag. `None` if it
    /// is unknown.
    pub fn of(&self, image: &ImageRef) -> Option<Duration> {
        self.images.get(image.repository()).map(|entry| Duration::from_secs_f64(entry.seconds))
    }

    /// Adds the durations `measured` at the time `now` to the current content of `file`. The mean
    /// of the stored and the measured duration is stored.
    ///
    /// # Errors
    /// When the file can't be read or written. A broken file is replaced.
    pub fn keep(
        file: &Path,
        measured: &[(ImageRef, Duration)],
        now: SystemTime,
    ) -> Result<(), Trouble> {
        let unwritable = |error| Trouble::Unwritable(file.to_owned(), error);
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unwritable)?;
        let turn = take_turn(folder);
        let mut durations = match Self::read(file) {
            Err(Trouble::Broken(..)) => Self::default(),
            read => read?,
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for (image, took) in measured {
            durations.learn(image, took.as_secs_f64(), now);
        }
        durations.forget_oldest(MOST);
        durations.replace(file, folder).map_err(unwritable)?;
        drop(turn);
        Ok(())
    }

    fn learn(&mut self, image: &ImageRef, took: f64, built: u64) {
        let entry = self.images.entry(image.repository().to_owned());
        let entry = entry.or_insert(Entry { seconds: took, built });
        *entry = Entry { seconds: f64::midpoint(entry.seconds, took), built };
    }

    /// Keeps at most the `most` images that were built last.
    fn forget_oldest(&mut self, most: usize) {
        let mut times: Vec<(u64, String)> =
            self.images.iter().map(|(image, entry)| (entry.built, image.clone())).collect();
        times.sort();
        for (_, image) in times.iter().take(times.len().saturating_sub(most)) {
            self.images.remove(image);
        }
    }

    /// Replaces `file` atomically by a new file.
    fn replace(&self, file: &Path, folder: &Path) -> io::Result<()> {
        let mut new = tempfile::Builder::new().prefix(".durations-").tempfile_in(folder)?;
        serde_json::to_writer(&mut new, self)?;
        new.write_all(b"\n")?;
        new.persist(file)?;
        Ok(())
    }
}

/// Waits for at most [`PATIENCE`] until no other run writes into `folder`, and returns the lock. If
/// the folder can't be locked, returns `None` at once: at worst the durations of a few builds are
/// lost.
fn take_turn(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    let end = Instant::now() + PATIENCE;
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    fn keep(file: &Path, measured: &[(&str, u64)], now: u64) -> Result<(), Trouble> {
        let measured: Vec<_> = measured
            .iter()
            .map(|(name, seconds)| (image(name), Duration::from_secs(*seconds)))
            .collect();
        Durations::keep(file, &measured, UNIX_EPOCH + Duration::from_secs(now))
    }

    fn seconds(file: &Path, name: &str) -> Option<u64> {
        Durations::read(file).unwrap().of(&image(name)).map(|took| took.as_secs())
    }

    #[test]
    fn durations_are_merged_and_smoothed_across_registries_and_tags() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/durations.json");
        assert_eq!(Durations::read(&file).unwrap(), Durations::default());
        keep(&file, &[("host:1/family/a:1", 10), ("family/b:1", 7)], 5).unwrap();
        keep(&file, &[("family/a:2", 20), ("family/c:1", 3)], 6).unwrap();
        let known = ["family/a:3", "host:2/family/b:1", "family/c:1", "family/d:1"];
        assert_eq!(known.map(|name| seconds(&file, name)), [Some(15), Some(7), Some(3), None]);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(r#"{"version":1,"images":{"family/a":{"#), "{text}");
        assert!(!text.contains("host"), "{text}");
    }

    #[test]
    fn nothing_is_lost_where_several_keep_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("durations.json");
        std::thread::scope(|scope| {
            for n in 0..16 {
                let file = &file;
                scope.spawn(move || keep(file, &[(&format!("family/i{n}:1"), n)], n).unwrap());
            }
        });
        assert_eq!(Durations::read(&file).unwrap().images.len(), 16);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "a temporary file was left");
    }

    #[test]
    fn broken_file_is_reported_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("durations.json");
        let version = r#"{"version":2,"images":{}}"#;
        for broken in ["", "no JSON", "{}", r#"{"version":1,"images":{"a":3}}"#, version] {
            fs::write(&file, broken).unwrap();
            let told = Durations::read(&file).unwrap_err().to_string();
            assert!(told.contains("are discarded") && !told.contains('\n'), "{told}");
            keep(&file, &[("family/a:1", 4)], 1).unwrap();
            assert_eq!(seconds(&file, "family/a:1"), Some(4));
        }
    }

    #[test]
    fn impossible_durations_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("durations.json");
        let entry = |seconds| format!(r#"{{"seconds":{seconds},"built":1}}"#);
        let images = format!(r#""a":{},"b":{},"c":{}"#, entry("-1"), entry("1e300"), entry("2.5"));
        fs::write(&file, format!(r#"{{"version":1,"images":{{{images}}}}}"#)).unwrap();
        assert_eq!(["a", "b", "c"].map(|name| seconds(&file, name)), [None, None, Some(2)]);
    }

    #[test]
    fn unwritable_folder_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("taken"), "").unwrap();
        let told = keep(&folder.path().join("taken/durations.json"), &[], 1).unwrap_err();
        assert!(matches!(told, Trouble::Unwritable(..)), "{told}");
        assert!(!told.to_string().contains('\n'));
        fs::create_dir(folder.path().join("durations.json")).unwrap();
        let told = keep(&folder.path().join("durations.json"), &[], 1).unwrap_err();
        assert!(matches!(told, Trouble::Unreadable(..)), "{told}");
    }

    #[test]
    fn irregular_file_is_reported_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("durations.json");
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(&file).status().unwrap().success());
        let told = Durations::read(&file).unwrap_err();
        assert!(matches!(told, Trouble::Unreadable(..)), "{told}");
        assert!(told.to_string().ends_with("it is a pipe, not a regular file"), "{told}");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(matches!(Durations::read(&file).unwrap_err(), Trouble::Unreadable(..)));
        fs::remove_file(&file).unwrap();
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(Durations::read(&file).unwrap_err(), Trouble::Unreadable(..)));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut durations = Durations::default();
        for (name, built) in [("family/a:1", 3), ("family/b:1", 1), ("family/c:1", 2)] {
            durations.learn(&image(name), 1.0, built);
        }
        durations.forget_oldest(2);
        assert_eq!(durations.images.keys().collect::<Vec<_>>(), ["family/a", "family/c"]);
    }
}
