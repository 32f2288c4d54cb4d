//! One log file for each image, written during the run, and a link to each log of a failed image.
//!
//! An error in writing a log never fails a build: the first one is kept for the report, and the run
//! goes on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Subscriber;
use super::format::silent;
use crate::event::{Event, Outcome};
use crate::files;
use crate::fingerprint::digest;
use crate::image::ImageName;

/// Writes the logs of a run to a folder.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    files: BTreeMap<ImageName, File>,
    failure: Option<io::Error>,
}

impl Logs {
    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// When the folder can't be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), files: BTreeMap::new(), failure: None })
    }

    /// Returns the first error in writing, if any.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Creates the log of an image, unless a retried prefetch of its sources has done so.
    fn begin(&mut self, name: &ImageName) -> io::Result<()> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        if name.axis().is_some() {
            files::require_own_folder(&folder_of(&self.folder, name))?;
        }
        let file = files::replace(&log_path(&self.folder, name))?;
        self.files.insert(name.clone(), file);
        Ok(())
    }

    fn write(&mut self, name: &ImageName, line: &str) -> io::Result<()> {
        match self.files.get_mut(name) {
            Some(file) => writeln!(file, "{line}"),
            None => Ok(()),
        }
    }

    fn end(&mut self, name: &ImageName, outcome: &Outcome) -> io::Result<()> {
        let Some(mut file) = self.files.remove(name) else { return Ok(()) };
        match outcome.detail() {
            Some(detail) => writeln!(file, "{}: {detail}", outcome.status())?,
            None => writeln!(file, "{}", outcome.status())?,
        }
        if !outcome.is_success() {
            let link = self.failed_link(name);
            std::os::unix::fs::symlink(file_name("", name), link)?;
        }
        Ok(())
    }

    fn failed_link(&self, name: &ImageName) -> PathBuf {
        folder_of(&self.folder, name).join(file_name(FAILED, name))
    }
}

/// Returns the path of an image's log in `folder`.
pub fn log_path(folder: &Path, name: &ImageName) -> PathBuf {
    folder_of(folder, name).join(file_name("", name))
}

/// Returns the folder of an image's log: a subfolder for each axis if there are several.
fn folder_of(folder: &Path, name: &ImageName) -> PathBuf {
    match name.axis() {
        Some(axis) => folder.join(axis),
        None => folder.to_owned(),
    }
}

/// Prefix of the links to the logs of failed images.
const FAILED: &str = "000_FAILED_";

/// Suffix of logs.
const SUFFIX: &str = ".log";

/// Largest length of a file name on common file systems, in bytes.
const MOST_OF_FILE_NAME: usize = 255;

/// Number of hexadecimal digits of the digest in a shortened name.
const DIGITS: usize = 16;

/// Returns the file name of an image's log, or, with the prefix [`FAILED`], of the link to it. A
/// name too long for both is cut and gets a `~`, which no image name has, and the start of the
/// digest of the whole name.
fn file_name(prefix: &str, name: &ImageName) -> String {
    let name = name.as_str();
    let room = MOST_OF_FILE_NAME - FAILED.len() - SUFFIX.len();
    if name.len() <= room {
        return format!("{prefix}{name}{SUFFIX}");
    }
    let start = &name[..name.floor_char_boundary(room - DIGITS - 1)];
    format!("{prefix}{start}~{}{SUFFIX}", &digest(name.as_bytes())[..DIGITS])
}

impl Subscriber for Logs {
    fn hear(&mut self, _: Duration, event: &Event) {
        let result = match event {
            // Links of an earlier run: such an image may not even start in this run.
            Event::Started { to_build, .. } => to_build
                .iter()
                .try_for_each(|image| remove_if_there(&self.failed_link(&image.name))),
            Event::BuildStarted { name, attempt: 1 } => self.begin(name),
            Event::BuildStarted { name, attempt } => {
                self.write(name, &format!("attempt {attempt}"))
            }
            Event::Log { name, line } => self.write(name, line),
            Event::Silent { name, silence, limit, last } => {
                self.write(name, &silent(*silence, *limit, last))
            }
            Event::Retrying { name, error, .. } => {
                self.begin(name).and_then(|()| self.write(name, &format!("failed: {error}")))
            }
            Event::Finished { name, outcome, .. } => self.end(name, outcome),
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BuiltImage;
    use crate::report::testing::run_of_all_fates;

    #[test]
    fn logs_are_whole_and_failures_are_linked() {
        let folder = tempfile::tempdir().unwrap();
        let name = ImageName::new("app");
        let log = |line: &str| Event::Log { name: name.clone(), line: line.to_owned() };
        let finished =
            |outcome| Event::Finished { name: name.clone(), outcome, took: Duration::ZERO };
        let started = |attempt| Event::BuildStarted { name: name.clone(), attempt };
        let retrying =
            Event::Retrying { name: name.clone(), error: "no".to_owned(), pause: Duration::ZERO };

        let mut logs = Logs::create(folder.path()).unwrap();
        for event in [
            started(1),
            log("a"),
            retrying,
            started(2),
            log("b"),
            finished(Outcome::Error("bad".to_owned())),
        ] {
            logs.hear(Duration::ZERO, &event);
        }
        let text = fs::read_to_string(folder.path().join("000_FAILED_app.log")).unwrap();
        assert_eq!(text, "a\nfailed: no\nattempt 2\nb\nerror: bad\n");

        let built = Outcome::Built { made: BuiltImage::default(), pushed: Vec::new() };
        for event in [started(1), log("c"), finished(built)] {
            logs.hear(Duration::ZERO, &event);
        }
        assert_eq!(fs::read_to_string(folder.path().join("app.log")).unwrap(), "c\nbuilt\n");
        assert!(logs.failure().is_none());
    }

    #[test]
    fn failures_of_an_earlier_run_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::create(folder.path()).unwrap();
        let link = folder.path().join("000_FAILED_below-bad.log");
        std::os::unix::fs::symlink("below-bad.log", &link).unwrap();
        let (at, beginning) = run_of_all_fates().remove(0);
        logs.hear(at, &beginning);
        assert!(fs::symlink_metadata(link).is_err());
        assert!(logs.failure().is_none());
    }

    #[test]
    fn output_of_a_prefetch_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::create(folder.path()).unwrap();
        let name = || ImageName::new("app");
        for event in [
            Event::Retrying { name: name(), error: "no".to_owned(), pause: Duration::ZERO },
            Event::BuildStarted { name: name(), attempt: 1 },
            Event::Log { name: name(), line: "a".to_owned() },
        ] {
            logs.hear(Duration::ZERO, &event);
        }
        let text = fs::read_to_string(folder.path().join("app.log")).unwrap();
        assert_eq!(text, "failed: no\na\n");
    }

    /// Writes the log of an image that failed.
    fn write_failed(folder: &Path, name: &ImageName) -> Logs {
        let mut logs = Logs::create(folder).unwrap();
        let line = Event::Log { name: name.clone(), line: "said".to_owned() };
        let outcome = Outcome::Error("bad".to_owned());
        let finished = Event::Finished { name: name.clone(), outcome, took: Duration::ZERO };
        for event in [Event::BuildStarted { name: name.clone(), attempt: 1 }, line, finished] {
            logs.hear(Duration::ZERO, &event);
        }
        logs
    }

    #[test]
    fn planted_links_are_replaced_and_their_targets_kept() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name);
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, at("soft.log")).unwrap();
        fs::hard_link(&victim, at("hard.log")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("new"), at("dangling.log")).unwrap();
        for name in ["soft", "hard", "dangling"] {
            let logs = write_failed(folder.path(), &ImageName::new(name));
            assert!(logs.failure().is_none(), "{logs:?}");
            let text = fs::read_to_string(at(&format!("000_FAILED_{name}.log"))).unwrap();
            assert_eq!(text, "said\nerror: bad\n");
        }
        // The folder for the logs of an axis is a link.
        std::os::unix::fs::symlink(elsewhere.path(), at("axis")).unwrap();
        let logs = write_failed(folder.path(), &ImageName::new("victim").on(Some("axis")));
        assert_eq!(logs.failure().unwrap().to_string(), "it is a symbolic link");
        assert_eq!(fs::read_to_string(victim).unwrap(), "kept");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_too_long_for_a_file_are_shortened_and_stay_apart() {
        let folder = tempfile::tempdir().unwrap();
        let long = "a".repeat(300);
        let fitting = "b".repeat(240);
        let names = [format!("{long}x"), format!("{long}y"), fitting.clone(), "é".repeat(200)];
        for name in &names {
            let logs = write_failed(folder.path(), &ImageName::new(name));
            assert!(logs.failure().is_none(), "{logs:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2 * names.len());
        assert!(folder.path().join(format!("000_FAILED_{fitting}.log")).exists());
        assert!(log_path(folder.path(), &ImageName::new(&long)).to_str().unwrap().contains('~'));
    }

    #[test]
    fn a_log_that_cannot_be_written_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::create(&folder.path().join("logs")).unwrap();
        fs::remove_dir_all(folder.path().join("logs")).unwrap();
        logs.hear(Duration::ZERO, &Event::BuildStarted { name: ImageName::new("a"), attempt: 1 });
        assert!(logs.failure().is_some());
    }
}
