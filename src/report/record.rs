//! What is known of a run so far: one record of every image, which all reports that are written once
//! the run is over are made from, so that they can't disagree.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Subscriber;
use super::catalogue::{Catalogue, Place};
use super::logs::log_path;
use crate::event::{Aside, Event, Existing, Outcome, Pushed};
use crate::image::{ImageName, ImageRef};
use crate::visible;

/// How many lines of each image's log are kept.
const TAIL: usize = 100;

/// Largest size of a line that is kept, in bytes.
const LONGEST_LINE: usize = 4 << 10;

/// An instruction that an engine was at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which, from 1.
    pub number: usize,
    /// Of how many.
    pub total: usize,
    /// The instruction as the engine tells it.
    pub instruction: String,
}

/// What became of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is to be built and is not done.
    Pending,
    /// It was to be built, and this came of it.
    Finished(Outcome),
    /// It was not to be built.
    Aside {
        /// Which kind of that.
        aside: Aside,
        /// The reason in words.
        reason: String,
        /// Whether the selection speaks of it by name.
        asked_for: bool,
        /// What of it is there.
        existing: Existing,
    },
}

impl Fate {
    /// The word for it in reports for programs.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Finished(outcome) => outcome.status(),
            Self::Aside { aside, .. } => aside.status(),
        }
    }

    /// What is to be said beyond the status.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Pending => None,
            Self::Finished(outcome) => outcome.detail(),
            Self::Aside { reason, .. } => Some(reason.clone()),
        }
    }
}

/// What is known of one image. Times count from the run's beginning.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is tagged.
    pub reference: ImageRef,
    /// Its topological wave, from 1.
    pub wave: usize,
    /// The images of the tree that it is built on or copies from.
    pub needs: Vec<ImageName>,
    /// What became of it.
    pub fate: Fate,
    /// How long its build was expected to take.
    pub expected: Option<Duration>,
    /// When its build began.
    pub started: Option<Duration>,
    /// When the engine had it.
    pub built: Option<Duration>,
    /// When nothing more was to happen to it.
    pub ended: Option<Duration>,
    /// How many times its build was tried.
    pub attempts: usize,
    /// What the tries failed of that others followed, pushes and fetches included.
    pub retried: Vec<String>,
    /// The file with its log.
    pub log: Option<PathBuf>,
    /// The instruction that its engine was at last.
    pub step: Option<Step>,
    /// The last lines of its log.
    pub tail: VecDeque<String>,
    /// Where the instruction stands that failed.
    pub place: Option<Place>,
}

impl Entry {
    /// From the start of its build to its end, its push included.
    pub fn took(&self) -> Duration {
        match (self.started, self.ended) {
            (Some(started), Some(ended)) => ended.saturating_sub(started),
            _ => Duration::ZERO,
        }
    }
}

/// All that is known of a run.
pub struct Record {
    /// When it began.
    pub at: SystemTime,
    /// The engine, in words.
    pub engine: String,
    /// How many images were built at once.
    pub threads: usize,
    /// How long the builds were expected to take.
    pub estimate: Option<Duration>,
    /// Every image, by name.
    pub images: BTreeMap<ImageName, Entry>,
    /// The manifest lists that were pushed.
    pub lists: Vec<Pushed>,
    /// What was warned of.
    pub warnings: Vec<String>,
    /// Whether the user broke it off.
    pub interrupted: bool,
    /// From its beginning to its end.
    pub took: Duration,
    /// What is known of the images beforehand.
    pub catalogue: Catalogue,
    logs: Option<PathBuf>,
}

impl Record {
    /// An empty record of a run whose logs go to the folder `logs`.
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

    /// The images that were to be built and ended well, or did not, by name.
    pub fn finished(&self, well: bool) -> impl Iterator<Item = (&ImageName, &Entry, &Outcome)> {
        self.images.iter().filter_map(move |(name, entry)| match &entry.fate {
            Fate::Finished(outcome) if outcome.is_success() == well => Some((name, entry, outcome)),
            _ => None,
        })
    }

    /// The images that were not to be built and are of one of these `kinds`, by name.
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
            Event::Warning(text) => self.warnings.push(text.clone()),
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
            Event::Pulling(_) | Event::PushStarted { .. } => {}
        }
    }
}
