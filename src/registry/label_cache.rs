//! Labels of images by their digest, kept from run to run in a file of the user's state folder.
//!
//! The labels of a digest never change, so one request for the digest of a tag answers the question
//! for its labels. The file is optional: without it, or if it is broken, labels are requested from
//! the registry.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::image_registry::Labels;
use crate::files;
use crate::image::{Digest, ImageRef};

/// Format of the file; a file with another version is ignored.
const VERSION: u32 = 1;

/// Largest size of the labels in the file, in bytes; beyond it, the images used least recently are
/// removed.
const MOST_OF_LABELS: usize = 16 << 20;

/// Largest file that is read, in bytes: several times the size that a run writes.
const MOST_OF_FILE: u64 = 4 * MOST_OF_LABELS as u64;

/// Labels of images, by the reference and digest that a registry served them with.
#[derive(Debug, Default)]
pub struct LabelCache {
    /// Path of the file; `None` to keep the labels for this run only.
    file: Option<PathBuf>,
    content: Mutex<Option<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    entries: BTreeMap<String, Entry>,
    is_changed: bool,
}

/// File of the cache.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    images: BTreeMap<String, Entry>,
}

/// Labels of the image that a reference had last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    digest: String,
    labels: Labels,
    /// Time of the last use, in seconds since 1970.
    used: u64,
}

impl Entry {
    fn size(&self) -> usize {
        self.labels.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl LabelCache {
    /// Creates a cache that is kept in `file`. The file is read on the first question.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, content: Mutex::default() }
    }

    /// Returns true if the labels of some digest of `image` are known.
    pub(super) fn knows(&self, image: &ImageRef) -> bool {
        self.with(|content| content.entries.contains_key(&image.to_string()))
    }

    /// Returns the labels of `image` if it has this digest; `None` if they are unknown.
    pub(super) fn get(&self, image: &ImageRef, digest: &Digest) -> Option<Labels> {
        self.with(|content| {
            let entry = content.entries.get_mut(&image.to_string())?;
            if entry.digest != digest.as_str() {
                return None;
            }
            entry.used = now();
            Some(entry.labels.clone())
        })
    }

    /// Stores the labels of `image`, which has this digest.
    pub(super) fn insert(&self, image: &ImageRef, digest: &Digest, labels: Labels) {
        let entry = Entry { digest: digest.to_string(), labels, used: now() };
        self.with(|content| {
            content.entries.insert(image.to_string(), entry);
            content.is_changed = true;
        });
    }

    /// Writes the file if there are new labels. A failure is ignored: the labels are requested
    /// again in the next run.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        self.with(|content| {
            if std::mem::take(&mut content.is_changed) {
                forget_oldest(&mut content.entries, MOST_OF_LABELS);
                let _ = write(file, &content.entries);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        let mut content: MutexGuard<'_, _> =
            self.content.lock().unwrap_or_else(PoisonError::into_inner);
        change(content.get_or_insert_with(|| Content {
            entries: self.file.as_deref().and_then(read).unwrap_or_default(),
            is_changed: false,
        }))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the entries of a file; `None` if it can't be read or is not what a run writes.
fn read(file: &Path) -> Option<BTreeMap<String, Entry>> {
    let text = files::read(file, MOST_OF_FILE).ok()?;
    let stored: Stored = serde_json::from_slice(&text).ok()?;
    (stored.version == VERSION).then_some(stored.images)
}

/// Replaces the file as a whole. Only its owner can read it.
fn write(file: &Path, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut new =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    let stored = Stored { version: VERSION, images: entries.clone() };
    new.write_all(&serde_json::to_vec(&stored)?)?;
    new.persist(file)?;
    Ok(())
}

/// Removes the entries used least recently until the labels have at most `most` bytes.
fn forget_oldest(entries: &mut BTreeMap<String, Entry>, most: usize) {
    let mut by_use: Vec<(u64, String)> =
        entries.iter().map(|(image, entry)| (entry.used, image.clone())).collect();
    by_use.sort_unstable_by(|one, other| other.cmp(one));
    let mut size = 0;
    for (_, image) in by_use {
        size += image.len() + entries[&image].size();
        if size > most {
            entries.remove(&image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> Labels {
        BTreeMap::from([("label".to_owned(), value.to_owned())])
    }

    fn image(name: &str) -> ImageRef {
        name.parse().unwrap()
    }

    #[test]
    fn labels_are_kept_by_digest_from_run_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/labels.json");
        let (app, digest) = (image("h.example/app:1"), Digest::of(b"app"));
        let cache = LabelCache::new(Some(file.clone()));
        assert!(!cache.knows(&app));
        cache.insert(&app, &digest, labels("a"));
        cache.save();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let next = LabelCache::new(Some(file));
        assert!(next.knows(&app) && !next.knows(&image("h.example/app:2")));
        assert_eq!(next.get(&app, &digest), Some(labels("a")));
        assert_eq!(next.get(&app, &Digest::of(b"other")), None);
    }

    #[test]
    fn broken_file_is_ignored_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.json");
        let (app, digest) = (image("h.example/app:1"), Digest::of(b"app"));
        let other_version = r#"{"version":99,"images":{}}"#;
        for broken in ["", "{", "[]", other_version, "\u{0}\u{fffd}"] {
            fs::write(&file, broken).unwrap();
            let cache = LabelCache::new(Some(file.clone()));
            assert!(!cache.knows(&app), "{broken}");
            cache.insert(&app, &digest, labels("a"));
            cache.save();
            assert!(LabelCache::new(Some(file.clone())).knows(&app), "{broken}");
        }
    }

    #[test]
    fn oldest_labels_make_room() {
        let entry = |used| Entry { digest: String::new(), labels: labels("12345"), used };
        let mut entries: BTreeMap<String, Entry> = [("a", 3), ("b", 1), ("c", 2)]
            .map(|(name, used)| (name.to_owned(), entry(used)))
            .into();
        forget_oldest(&mut entries, 2 * (1 + "label12345".len()));
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["a", "c"]);
    }
}
