//! What happens in a run, as told by the runner and heard by the reports.
//!
//! One enum for the terminal, the log files and the summary alike: none of them asks the runner
//! anything. An [`Outcome`] belongs to an image that was to be built and to no other.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::image::{ImageName, ImageRef};

/// An image, or a manifest list, in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What it was pushed as.
    pub reference: ImageRef,
    /// The digest that the registry knows it by.
    pub digest: String,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made {
    /// The engine's id of the image.
    pub id: String,
    /// How much the image takes, that which it is built on included, in bytes; `None` where the
    /// engine does not tell.
    pub size: Option<u64>,
    /// The image's labels, but for the one with its fingerprint.
    pub labels: BTreeMap<String, String>,
    /// What it carries as its fingerprint, if all that it is made of is known.
    pub fingerprint: Option<String>,
}

/// How the work on one image ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The engine knows the image, and the registries that it was pushed to have it.
    Built {
        /// The image.
        made: Made,
        /// Where it was pushed to; the first is the registry in its own reference.
        pushed: Vec<Pushed>,
    },
    /// The build failed.
    Error(String),
    /// An ancestor failed, so the build was never started.
    ParentError {
        /// The ancestor.
        ancestor: ImageName,
    },
    /// Built, but not pushed.
    PushError(String),
    /// The engine (or, while pushing, the registry) was out of reach.
    ConnectionError(String),
    /// The user interrupted the run before the image was done.
    Interrupted,
}

impl Outcome {
    /// The word for it in the machine-readable summary.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Built { .. } => "built",
            Self::Error(_) => "error",
            Self::ParentError { .. } => "parent_error",
            Self::PushError(_) => "push_error",
            Self::ConnectionError(_) => "connection_error",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the image is there as it was asked for.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Built { .. })
    }

    /// What is to be said beyond the status word.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Built { .. } | Self::Interrupted => None,
            Self::Error(text) | Self::PushError(text) | Self::ConnectionError(text) => {
                Some(text.clone())
            }
            Self::ParentError { ancestor } => Some(format!("{ancestor} failed")),
        }
    }
}

/// An image that the run will build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToBuild {
    /// Its short name.
    pub name: ImageName,
    /// What it will be tagged.
    pub reference: ImageRef,
    /// Its topological wave, from 1.
    pub wave: usize,
    /// The images of the tree that it is built on or copies from.
    pub needs: Vec<ImageName>,
}

/// Why an image has no part in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aside {
    /// It was selected, and is left out all the same.
    Skipped,
    /// It was selected, and is there as it would be built.
    Unchanged,
    /// It was not selected.
    NotMatched,
    /// It can't be built for this base and type.
    Unbuildable,
}

impl Aside {
    /// What kolla-build calls skipped.
    pub const SKIPPED: &'static [Self] = &[Self::Skipped, Self::Unchanged];

    /// The word for it in what programs read.
    pub fn status(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Unchanged => "unchanged",
            Self::NotMatched => "not_matched",
            Self::Unbuildable => "unbuildable",
        }
    }
}

/// An image that the run leaves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its short name.
    pub name: ImageName,
    /// What it is tagged.
    pub reference: ImageRef,
    /// Its topological wave, from 1.
    pub wave: usize,
    /// The images of the tree that it is built on or copies from.
    pub needs: Vec<ImageName>,
    /// What of these it is.
    pub aside: Aside,
    /// The reason in words.
    pub reason: String,
    /// Whether the selection speaks of it by name.
    pub asked_for: bool,
}

/// An image that was there before the run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// The engine's id of it, if it is there.
    pub id: Option<String>,
    /// What it carries as its fingerprint, if that is what it would be built with.
    pub fingerprint: Option<String>,
}

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The run begins.
    Started {
        /// When that is.
        at: SystemTime,
        /// The engine that builds, in words.
        engine: String,
        /// How many images are built at once.
        threads: usize,
        /// What will be built, by wave and name.
        to_build: Vec<ToBuild>,
        /// What will not, by wave and name.
        set_aside: Vec<SetAside>,
        /// How long the builds will take, pushes not counted; `None` where too little is known.
        estimate: Option<Duration>,
        /// How long each build will take, by earlier runs and, where these tell nothing, a guess.
        expected: BTreeMap<ImageName, Duration>,
        /// What is there already of what will not be built, as far as that was asked for.
        existing: BTreeMap<ImageName, Existing>,
    },
    /// Something the user should know; nothing failed yet.
    Warning(String),
    /// An external base image is asked for.
    Pulling(ImageRef),
    /// An image's build begins.
    BuildStarted {
        /// The image.
        name: ImageName,
        /// 1 for the first try.
        attempt: usize,
    },
    /// The engine begins an instruction.
    Step {
        /// The image.
        name: ImageName,
        /// Which step, from 1.
        number: usize,
        /// Of how many.
        total: usize,
        /// The instruction.
        instruction: String,
    },
    /// A line of the image's log.
    Log {
        /// The image.
        name: ImageName,
        /// The line, without its end.
        line: String,
    },
    /// A try failed and another follows.
    Retrying {
        /// The image.
        name: ImageName,
        /// What failed.
        error: String,
        /// How long until the next try.
        pause: Duration,
    },
    /// The engine has built the image.
    Built {
        /// The image.
        name: ImageName,
        /// How long the try took that came to it; nothing before and after it counts.
        took: Duration,
    },
    /// The image is in the engine; its push begins.
    PushStarted {
        /// The image.
        name: ImageName,
    },
    /// The images of several platforms are joined in a registry.
    ListPushed(Pushed),
    /// Nothing more will happen to the image.
    Finished {
        /// The image.
        name: ImageName,
        /// How it ended.
        outcome: Outcome,
        /// From the start of its build; zero where that never began.
        took: Duration,
    },
    /// The user asked to stop.
    Interrupting,
    /// The run is over.
    Ended {
        /// From start to end.
        took: Duration,
    },
}
