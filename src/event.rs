//! Events of a run, which the runner sends and the reports receive.
//!
//! The terminal, the log files and the summary share one enum, and none of them queries the runner.
//! Only an image that was to be built has an [`Outcome`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::image::{ImageName, ImageRef};
use crate::words::words;

/// Image or manifest list that was pushed to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Reference that it was pushed as.
    pub reference: ImageRef,
    /// Digest of its manifest in the registry.
    pub digest: String,
}

/// Image that a build made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuiltImage {
    /// Id of the image in the engine.
    pub id: String,
    /// Size of the image with all its parents, in bytes; `None` if the engine does not report it.
    pub size: Option<u64>,
    /// Labels of the image, except the one with its fingerprint.
    pub labels: BTreeMap<String, String>,
    /// Fingerprint in the image's label; `None` if not all of its parts are known.
    pub fingerprint: Option<String>,
}

/// Result of the work on one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image is in the engine, and in each registry that it was pushed to.
    Built {
        /// Image that the build made.
        made: BuiltImage,
        /// References that it was pushed as; the first is in the registry of the image's own
        /// reference.
        pushed: Vec<Pushed>,
    },
    /// The build failed.
    Error(String),
    /// An ancestor failed, so the build was never started.
    ParentError {
        /// Name of the ancestor.
        ancestor: ImageName,
    },
    /// The image was built, but not pushed.
    PushError(String),
    /// The engine, or the registry of a push, was not reachable.
    ConnectionError(String),
    /// The user interrupted the run before the image was done.
    Interrupted,
}

words! {
    /// Status of an image that was built.
    pub enum BuiltStatus {
        /// The image was built, and pushed if that was requested.
        Built = "built",
    }
}

words! {
    /// Kind of a failure.
    pub enum FailureKind {
        /// The build failed.
        Error = "error",
        /// An ancestor failed.
        ParentError = "parent_error",
        /// The push failed.
        PushError = "push_error",
        /// The engine, or the registry of a push, was not reachable.
        ConnectionError = "connection_error",
        /// The user interrupted the run.
        Interrupted = "interrupted",
    }
}

impl Outcome {
    /// Returns the image and the references that it was pushed as.
    ///
    /// # Errors
    /// The kind of the failure, if the image was not built, or not pushed although that was
    /// requested.
    pub fn result(&self) -> Result<(&BuiltImage, &[Pushed]), FailureKind> {
        match self {
            Self::Built { made, pushed } => Ok((made, pushed)),
            Self::Error(_) => Err(FailureKind::Error),
            Self::ParentError { .. } => Err(FailureKind::ParentError),
            Self::PushError(_) => Err(FailureKind::PushError),
            Self::ConnectionError(_) => Err(FailureKind::ConnectionError),
            Self::Interrupted => Err(FailureKind::Interrupted),
        }
    }

    /// Returns the status word for machine-readable output.
    pub fn status(&self) -> &'static str {
        self.result().map_or_else(FailureKind::as_str, |_| BuiltStatus::Built.as_str())
    }

    /// Returns true if the image was built, and pushed if that was requested.
    pub fn is_success(&self) -> bool {
        self.result().is_ok()
    }

    /// Returns the details that the status word leaves out; `None` if there are none.
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

/// Image that the run will build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToBuild {
    /// Short name of the image.
    pub name: ImageName,
    /// Reference that it will be tagged with.
    pub reference: ImageRef,
    /// Topological wave, from 1.
    pub wave: usize,
    /// Images of the tree that it is built on or copies from.
    pub needs: Vec<ImageName>,
}

words! {
    /// Reason why the run does not build an image.
    pub enum Aside {
        /// The image was selected, but is skipped.
        Skipped = "skipped",
        /// The image was selected, but exists already as it would be built.
        Unchanged = "unchanged",
        /// The image was not selected.
        NotMatched = "not_matched",
        /// The image can't be built for this base and type.
        Unbuildable = "unbuildable",
    }
}

impl Aside {
    /// Reasons that kolla-build reports as skipped.
    pub const SKIPPED: &'static [Self] = &[Self::Skipped, Self::Unchanged];
}

/// Image that the run does not build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Short name of the image.
    pub name: ImageName,
    /// Reference that it is tagged with.
    pub reference: ImageRef,
    /// Topological wave, from 1.
    pub wave: usize,
    /// Images of the tree that it is built on or copies from.
    pub needs: Vec<ImageName>,
    /// Category of the reason.
    pub aside: Aside,
    /// Reason in words.
    pub reason: String,
    /// True if the selection names this image.
    pub asked_for: bool,
}

/// State of an image before the run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// Id of the image in the engine; `None` if the engine does not have it.
    pub id: Option<String>,
    /// Fingerprint in the image's label, if a build would give it the same one; otherwise `None`.
    pub fingerprint: Option<String>,
}

/// Problem that the user should know about, although nothing has failed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Image or manifest list that the warning is about.
    pub subject: ImageRef,
    /// Description of the problem.
    pub text: String,
}

/// Prints `subject: text`.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// State of moving an image between two stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Reference of the image.
    pub artifact: ImageRef,
    /// Number of bytes moved so far, without the layers that the receiving store has already.
    pub done: u64,
    /// Number of bytes to move, as far as it is known; it grows while more layers begin.
    pub total: u64,
}

/// Event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The run begins.
    Started {
        /// Time of the start.
        at: SystemTime,
        /// Description of the engine that builds.
        engine: String,
        /// Largest number of images that are built at the same time.
        threads: usize,
        /// Images to build, by wave and name.
        to_build: Vec<ToBuild>,
        /// Images that will not be built, by wave and name.
        set_aside: Vec<SetAside>,
        /// Expected duration of all builds, without pushes; `None` if too little is known.
        estimate: Option<Duration>,
        /// Expected duration of each build: from earlier runs, or a guess where they have none.
        expected: BTreeMap<ImageName, Duration>,
        /// State of the images that will not be built, where the caller queried the engine for it.
        existing: BTreeMap<ImageName, Existing>,
    },
    /// The user should know of a problem, but nothing has failed yet.
    Warning(Warning),
    /// The pull of an external image begins.
    Pulling(ImageRef),
    /// Bytes of an image were moved from one store to another.
    Transferred(Transfer),
    /// The pull of an external image ended, successfully or not.
    PullEnded(ImageRef),
    /// The build of an image begins.
    BuildStarted {
        /// Image that is built.
        name: ImageName,
        /// Number of the try, from 1.
        attempt: usize,
    },
    /// The engine begins an instruction.
    Step {
        /// Image that is built.
        name: ImageName,
        /// Number of the step, from 1.
        number: usize,
        /// Number of steps in the build.
        total: usize,
        /// Text of the instruction.
        instruction: String,
    },
    /// A line is added to the image's log.
    Log {
        /// Image that the log belongs to.
        name: ImageName,
        /// Text of the line, without its line end.
        line: String,
    },
    /// The build of an image has had no output for a while.
    Silent {
        /// Image that is built.
        name: ImageName,
        /// Time since the last output.
        silence: Duration,
        /// Silence after which the build is given up.
        limit: Duration,
        /// Last line of the output, even if it is incomplete; empty if there was none.
        last: String,
    },
    /// A try failed, and a retry follows.
    Retrying {
        /// Image that is retried.
        name: ImageName,
        /// Error of the failed try.
        error: String,
        /// Time until the next try.
        pause: Duration,
    },
    /// The engine has built the image.
    Built {
        /// Image that was built.
        name: ImageName,
        /// Duration of the successful try, without anything before or after it.
        took: Duration,
    },
    /// The image is in the engine, and its push begins.
    PushStarted {
        /// Image that is pushed.
        name: ImageName,
    },
    /// The images of several platforms were joined in a manifest list in a registry.
    ListPushed(Pushed),
    /// The work on the image is done: no event about it follows.
    Finished {
        /// Image that is done.
        name: ImageName,
        /// Result of the work.
        outcome: Outcome,
        /// Time since the start of the build; zero if it never started.
        took: Duration,
    },
    /// The user asked to stop.
    Interrupting,
    /// The run is over.
    Ended {
        /// Duration of the run.
        took: Duration,
    },
}
