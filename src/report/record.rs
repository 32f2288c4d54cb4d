//! Record of a run: one entry for each image. All reports that are written after the run are made
//! from it, so they can't disagree.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Subscriber;
use super::catalogue::{Catalogue, Place};
use super::logs::log_path;
use crate::event::{Aside, Event, Existing, Outcome, Pushed, Warning};
use crate::image::{ImageName, ImageRef};
use crate::visible;
use crate::words::words;

/// Number of lines kept of each image's log.
const TAIL: usize = 100;

/// Largest size of a kept line, in bytes.
const LONGEST_LINE: usize = 4 << 10;

/// Instruction that the engine is executing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Number of the instruction, from 1.
    pub number: usize,
    /// Number of instructions in the Dockerfile.
    pub total: usize,
    /// The instruction as the engine reports it.
    pub instruction: String,
}

words! {
    /// Status of an image of a run that is not over.
    pub enum PendingStatus {
        /// The image is to be built, and is not done.
        Pending = "pending",
    }
}

/// Fate of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The image is to be built, and is not done.
    Pending,
    /// The image was to be built, with this outcome.
    Finished(Outcome),
    /// The image was not to be built.
    Aside {
        /// Kind of decision that set it aside.
        aside: Aside,
        /// Reason in words.
        reason: String,
        /// True if the selection asks for the image itself.
        asked_for: bool,
        /// Facts about the existing image.
        existing: Existing,
    },
}

impl Fate {
    /// Returns the status word for reports that programs read.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Pending => PendingStatus::Pending.as_str(),
            Self::Finished(outcome) => outcome.status(),
            Self::Aside { aside, .. } => aside.as_str(),
        }
    }

    /// Returns details beyond the status, such as an error or the reason why the image was set
    /// aside.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Pending => None,
            Self::Finished(outcome) => outcome.detail(),
            Self::Aside { reason, .. } => Some(reason.clone()),
        }
    }
}

/// Entry of one image. Times are measured from the start of the run.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Reference that it is tagged with.
    pub reference: ImageRef,
    /// Topological wave, from 1.
    pub wave: usize,
    /// Images of the tree that it is built on or copies from.
    pub needs: Vec<ImageName>,
    /// Fate of the image.
    pub fate: Fate,
    /// Expected duration of its build.
    pub expected: Option<Duration>,
    /// Start of its first build attempt.
    pub started: Option<Duration>,
    /// Time when the engine had the image.
    pub built: Option<Duration>,
    /// End of all work on it, its push included.
    pub ended: Option<Duration>,
    /// Number of build attempts.
    pub attempts: usize,
    /// Errors of all attempts that were retried, pushes and fetches included.
    pub retried: Vec<String>,
    /// Path of its log file.
    pub log: Option<PathBuf>,
    /// Last instruction that its engine reported.
    pub step: Option<Step>,
    /// Last lines of its log.
    pub tail: VecDeque<String>,
    /// Position of the instruction that failed.
    pub place: Option<Place>,
}

impl Entry {
    /// Returns the time from the start of its build to the end of its push; zero if it has not
    /// started or not ended.
    pub fn took(&self) -> Duration {
        match (self.started, self.ended) {
            (Some(started), Some(ended)) => ended.saturating_sub(started),
            _ => Duration::ZERO,
        }
    }
}

/// Record of a whole run.
pub struct Record {
    /// Start of the run.
    pub at: SystemTime,
    /// Engine and builder, in words.
    pub engine: String,
    /// Number of images that are built at once.
    pub threads: usize,
    /// Expected duration of all builds; `None` if too few durations are known.
    pub estimate: Option<Duration>,
    /// Entries of all images, by name.
    pub images: BTreeMap<ImageName, Entry>,
    /// Manifest lists that were pushed.
    pub lists: Vec<Pushed>,
    /// Warnings of the run.
    pub warnings: Vec<Warning>,
    /// True if the user interrupted the run.
    pub interrupted: bool,
    /// Duration of the run.
    pub took: Duration,
    /// Facts known before the run.
    pub catalogue: Catalogue,
    logs: Option<PathBuf>,
}

impl Record {
    /// Returns an empty record of a run; `logs` is the folder of the logs.
    pub fn new(catalogue: Catalogue, logs: Option<PathBuf>) -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            engine: String::new(),
            threads: 0,
            estimate: None,
            images: BTreeMap::new(),
            lists: Vec::new(),
            warnings: Vec::new(),
            interrupted: false,
            took: Duration::ZERO,
            catalogue,
            logs,
        }
    }

    /// Returns the images that were built successfully, or those that were not if `well` is false,
    /// by name.
    pub fn finished(&self, well: bool) -> impl Iterator<Item = (&ImageName, &Entry, &Outcome)> {
        self.images.iter().filter_map(move |(name, entry)| match &entry.fate {
            Fate::Finished(outcome) if outcome.is_success() == well => Some((name, entry, outcome)),
            _ => None,
        })
    }

    /// Returns the images that were set aside with one of these `kinds`, by name.
    pub fn aside(&self, kinds: &[Aside]) -> impl Iterator<Item = (&ImageName, &Entry)> {
        self.images.iter().filter(
            move |(_, entry)| matches!(&entry.fate, Fate::Aside { aside, .. } if kinds.contains(aside)),
        )
    }

    fn begin(&mut self, event: &Event) {
        let Event::Started {
            at,
            engine,
            threads,
            to_build,
            set_aside,
            estimate,
            expected,
            existing,
        } = event
        else {
            return;
        };
        self.at = *at;
        self.engine.clone_from(engine);
        self.threads = *threads;
        self.estimate = *estimate;
        for image in to_build {
            let mut entry = entry(&image.reference, image.wave, &image.needs, Fate::Pending);
            entry.expected = expected.get(&image.name).copied();
            self.images.insert(image.name.clone(), entry);
        }
        for image in set_aside {
            let fate = Fate::Aside {
                aside: image.aside,
                reason: image.reason.clone(),
                asked_for: image.asked_for,
                existing: existing.get(&image.name).cloned().unwrap_or_default(),
            };
            let entry = entry(&image.reference, image.wave, &image.needs, fate);
            self.images.insert(image.name.clone(), entry);
        }
    }

    fn finish(&mut self, at: Duration, name: &ImageName, outcome: &Outcome) {
        let Some(entry) = self.images.get_mut(name) else { return };
        entry.ended = Some(at);
        entry.fate = Fate::Finished(outcome.clone());
        if let (Outcome::Error(_), Some(step)) = (outcome, &entry.step) {
            entry.place = self.catalogue.place(name, &step.instruction);
        }
    }

    fn of(&mut self, name: &ImageName, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.images.get_mut(name) {
            change(entry);
        }
    }
}

fn entry(reference: &ImageRef, wave: usize, needs: &[ImageName], fate: Fate) -> Entry {
    Entry {
        reference: reference.clone(),
        wave,
        needs: needs.to_vec(),
        fate,
        expected: None,
        started: None,
        built: None,
        ended: None,
        attempts: 0,
        retried: Vec::new(),
        log: None,
        step: None,
        tail: VecDeque::new(),
        place: None,
    }
}

impl Subscriber for Record {
    fn hear(&mut self, at: Duration, event: &Event) {
        match event {
            Event::Started { .. } => self.begin(event),
            Event::Warning(warning) => self.warnings.push(warning.clone()),
            Event::BuildStarted { name, attempt } => {
                let log = self.logs.as_ref().map(|folder| log_path(folder, name));
                self.of(name, |entry| {
                    entry.started.get_or_insert(at);
                    entry.attempts = *attempt;
                    entry.step = None;
                    entry.log = log;
                });
            }
            Event::Step { name, number, total, instruction } => {
                let step =
                    Step { number: *number, total: *total, instruction: instruction.clone() };
                self.of(name, |entry| entry.step = Some(step));
            }
            Event::Log { name, line } => self.of(name, |entry| {
                if entry.tail.len() == TAIL {
                    entry.tail.pop_front();
                }
                entry.tail.push_back(visible::cut(line, LONGEST_LINE).into_owned());
            }),
            Event::Retrying { name, error, .. } => {
                self.of(name, |entry| entry.retried.push(error.clone()));
            }
            Event::Built { name, .. } => self.of(name, |entry| entry.built = Some(at)),
            Event::ListPushed(pushed) => self.lists.push(pushed.clone()),
            Event::Finished { name, outcome, .. } => self.finish(at, name, outcome),
            Event::Interrupting => self.interrupted = true,
            Event::Ended { took } => self.took = *took,
            Event::Pulling(_)
            | Event::Transferred(_)
            | Event::PullEnded(_)
            | Event::Silent { .. }
            | Event::PushStarted { .. } => {}
        }
    }
}
