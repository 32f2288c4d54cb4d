//! One log file for each image, written as the log comes, and a link to each failed one.
//!
//! A log that can't be written must not cost a build: the first failure is told, the run goes on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Subscriber;
use crate::event::{Event, Outcome};
use crate::image::ImageName;

/// Writes the logs of a run into a folder.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    files: BTreeMap<ImageName, File>,
    failure: Option<io::Error>,
}

impl Logs {
    /// Makes the folder.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), files: BTreeMap::new(), failure: None })
    }

    /// The first thing that could not be written, if any.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Begins the log of an image, unless a fetch ahead of its build has done so.
    fn begin(&mut self, name: &ImageName) -> io::Result<()> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        if name.axis().is_some() {
            fs::create_dir_all(folder_of(&self.folder, name))?;
        }
        let file = File::create(log_path(&self.folder, name))?;
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
            std::os::unix::fs::symlink(log_name(name), link)?;
        }
        Ok(())
    }

    fn failed_link(&self, name: &ImageName) -> PathBuf {
        folder_of(&self.folder, name).join(format!("000_FAILED_{}", log_name(name)))
    }
}

/// The file in `folder` that the log of an image is written to.
pub fn log_path(folder: &Path, name: &ImageName) -> PathBuf {
    folder_of(folder, name).join(log_name(name))
}

/// The images of each axis have a folder of their own, where there are several.
fn folder_of(folder: &Path, name: &ImageName) -> PathBuf {
    match name.axis() {
        Some(axis) => folder.join(axis),
        None => folder.to_owned(),
    }
}

fn log_name(name: &ImageName) -> String {
    format!("{}.log", name.as_str())
}

impl Subscriber for Logs {
    fn hear(&mut self, _: Duration, event: &Event) {
        let result = match event {
            // What failed in an earlier run may not even begin in this one.
            Event::Started { to_build, .. } => to_build
                .iter()
                .try_for_each(|image| remove_if_there(&self.failed_link(&image.name))),
            Event::BuildStarted { name, attempt: 1 } => self.begin(name),
            Event::BuildStarted { name, attempt } => self.write(name, &format!("try {attempt}")),
            Event::Log { name, line } => self.write(name, line),
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
    use crate::event::Made;
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
        assert_eq!(text, "a\nfailed: no\ntry 2\nb\nerror: bad\n");

        let built = Outcome::Built { made: Made::default(), pushed: Vec::new() };
        for event in [started(1), log("c"), finished(built)] {
            logs.hear(Duration::ZERO, &event);
        }
        assert_eq!(fs::read_to_string(folder.path().join("app.log")).unwrap(), "c\nbuilt\n");
        assert!(logs.failure().is_none());
    }

    #[test]
    fn what_failed_in_an_earlier_run_has_not_failed_in_this_one() {
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
    fn what_a_fetch_ahead_of_the_build_says_is_kept() {
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

    #[test]
    fn a_log_that_cannot_be_written_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::create(&folder.path().join("logs")).unwrap();
        fs::remove_dir_all(folder.path().join("logs")).unwrap();
        logs.hear(Duration::ZERO, &Event::BuildStarted { name: ImageName::new("a"), attempt: 1 });
        assert!(logs.failure().is_some());
    }
}
