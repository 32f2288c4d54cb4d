//! Summary of a run as JSON for programs.
//!
//! The JSON has the five lists of kolla-build under their names (`built`, `failed` with a `status`,
//! `not_matched`, `skipped`, `unbuildable`). Each entry has a `name`; the further fields of an
//! entry are Kiln's own.

use std::path::Path;

use serde::Serialize;

use super::format::{Seconds, Time};
use super::record::{Entry, Fate, PendingStatus, Record};
use crate::event::{Aside, BuiltImage, BuiltStatus, Existing, FailureKind, Pushed, Warning};
use crate::image::ImageName;

/// Summary of a run of `kiln build`. All lists are sorted by name.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Summary<'a> {
    /// Images that were built, and pushed if that was requested.
    built: Vec<Image<'a, BuiltStatus, Built<'a>>>,
    /// Images that were to be built, of which the build or the push was not successful.
    failed: Vec<Image<'a, FailureKind, Failed<'a>>>,
    /// Images that were not selected.
    not_matched: Vec<Image<'a, Aside, NotBuilt<'a>>>,
    /// Images that were selected and not built: skipped by an option, or unchanged.
    skipped: Vec<Image<'a, Aside, NotBuilt<'a>>>,
    /// Images that can't be built for this base and type.
    unbuildable: Vec<Image<'a, Aside, NotBuilt<'a>>>,
    /// The run as a whole.
    run: Run<'a>,
    /// Manifest lists that were pushed; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lists: Vec<PushedImage<'a>>,
    /// Problems that failed nothing, in the order of the run; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem<'a>>,
}

/// Problem that failed nothing, such as a base image that could not be pulled.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct Problem<'a> {
    /// Image or manifest list that the problem is about.
    subject: String,
    /// Description of the problem.
    text: &'a str,
}

/// The run as a whole.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Run<'a> {
    /// Start of the run.
    started: Time,
    /// Duration of the run.
    seconds: Seconds,
    /// Duration of all builds that was expected; null if too few earlier durations are known.
    estimated_seconds: Option<Seconds>,
    /// Description of the engine and its builder.
    engine: &'a str,
    /// Largest number of images that are built at the same time.
    #[cfg_attr(test, schemars(range(min = 1)))]
    threads: usize,
    /// True if the user interrupted the run.
    interrupted: bool,
}

/// An image of the run.
#[derive(Debug, Serialize)]
#[cfg_attr(
    test,
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, rename = "{Rest}Image")
)]
pub struct Image<'a, Status, Rest> {
    /// Short name of the image.
    name: &'a str,
    /// Status of the image.
    status: Status,
    /// Reference that the image is tagged with.
    reference: String,
    /// Topological wave: 1 for an image that needs no other image of the tree, else 1 more than
    /// the highest wave of the images that it needs.
    #[cfg_attr(test, schemars(range(min = 1)))]
    wave: usize,
    /// Details beyond the status; null if there are none.
    reason: Option<String>,
    /// Base, type and platform, as far as they differ between images of the run; absent if none
    /// does.
    #[serde(skip_serializing_if = "Option::is_none")]
    axis: Option<&'a str>,
    #[serde(flatten)]
    rest: Rest,
}

/// Work on an image.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Work<'a> {
    /// Start of the build; null if it never started.
    started: Option<Time>,
    /// Duration from the start of the build to the end of the push.
    seconds: Seconds,
    /// Number of build attempts.
    attempts: usize,
    /// Number of attempts that failed and were retried: fetches, builds and pushes.
    retries: usize,
    /// Path of the log file; null if there is none.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    log: Option<&'a Path>,
}

/// Further fields of an image that was built.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Built<'a> {
    #[serde(flatten)]
    work: Work<'a>,
    /// Id of the image in the engine.
    id: &'a str,
    /// Size of the image in the engine, in bytes; null if the engine does not report it.
    size: Option<u64>,
    /// Digest of everything that the image is made of; null if some of it is not known.
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9a-f]{64}$")))]
    fingerprint: Option<&'a str>,
    /// Digest in the first registry; null if the image was not pushed.
    digest: Option<&'a str>,
    /// Every registry that the image was pushed to.
    pushed: Vec<PushedImage<'a>>,
}

/// Further fields of an image of which the build or the push failed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failed<'a> {
    #[serde(flatten)]
    work: Work<'a>,
    /// Position of the instruction that failed; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Position<'a>>,
}

/// Position of an instruction.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct Position<'a> {
    /// Path of the template.
    template: &'a str,
    /// Line of the template: that of the instruction, or the nearest line above it that the
    /// Dockerfile has unchanged.
    #[cfg_attr(test, schemars(range(min = 1)))]
    template_line: usize,
    /// Line of the Dockerfile.
    #[cfg_attr(test, schemars(range(min = 1)))]
    line: usize,
}

/// Further fields of an image that was not to be built.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotBuilt<'a> {
    /// Id of the image in the engine; null if the engine does not have it or was not queried.
    id: Option<&'a str>,
    /// Fingerprint of the existing image, if a build would give it the same one; otherwise null.
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9a-f]{64}$")))]
    fingerprint: Option<&'a str>,
}

/// Image or manifest list in a registry.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct PushedImage<'a> {
    /// Reference that it was pushed as.
    reference: String,
    /// Digest of its manifest in the registry.
    digest: &'a str,
}

impl<'a> Summary<'a> {
    /// Returns the summary of a run that is over.
    pub fn new(record: &'a Record) -> Self {
        let mut summary = Self {
            built: Vec::new(),
            failed: Vec::new(),
            not_matched: Vec::new(),
            skipped: Vec::new(),
            unbuildable: Vec::new(),
            run: Run::new(record),
            lists: record.lists.iter().map(PushedImage::new).collect(),
            warnings: record.warnings.iter().map(Problem::new).collect(),
        };
        for (name, entry) in &record.images {
            match AnyImage::new(name, entry, record, entry.fate.reason()) {
                AnyImage::Pending(_) => {}
                AnyImage::Built(image) => summary.built.push(image),
                AnyImage::Failed(image) => summary.failed.push(image),
                AnyImage::NotBuilt(image) => match image.status {
                    Aside::NotMatched => summary.not_matched.push(image),
                    Aside::Skipped | Aside::Unchanged => summary.skipped.push(image),
                    Aside::Unbuildable => summary.unbuildable.push(image),
                },
            }
        }
        summary
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        Self {
            started: record.at.into(),
            seconds: record.took.into(),
            estimated_seconds: record.estimate.map(Seconds::from),
            engine: &record.engine,
            threads: record.threads,
            interrupted: record.interrupted,
        }
    }
}

impl<'a> Problem<'a> {
    fn new(warning: &'a Warning) -> Self {
        Self { subject: warning.subject.to_string(), text: &warning.text }
    }
}

impl<'a> PushedImage<'a> {
    pub(super) fn new(pushed: &'a Pushed) -> Self {
        Self { reference: pushed.reference.to_string(), digest: &pushed.digest }
    }
}

/// Nothing to add to the fields of every image.
#[derive(Debug, Serialize)]
pub struct Nothing {}

/// Image with any fate.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum AnyImage<'a> {
    Pending(Image<'a, PendingStatus, Nothing>),
    Built(Image<'a, BuiltStatus, Built<'a>>),
    Failed(Image<'a, FailureKind, Failed<'a>>),
    NotBuilt(Image<'a, Aside, NotBuilt<'a>>),
}

impl<'a> AnyImage<'a> {
    /// Returns the data of an image, with `reason` as its details beyond the status.
    pub(super) fn new(
        name: &'a ImageName,
        entry: &'a Entry,
        record: &Record,
        reason: Option<String>,
    ) -> Self {
        let common = Common { name, entry, reason };
        match &entry.fate {
            Fate::Pending => Self::Pending(common.with(PendingStatus::Pending, Nothing {})),
            Fate::Finished(outcome) => {
                let work = Work::new(entry, record);
                match outcome.result() {
                    Ok((built, pushed)) => {
                        let rest = Built::new(work, built, pushed);
                        Self::Built(common.with(BuiltStatus::Built, rest))
                    }
                    Err(kind) => Self::Failed(common.with(kind, Failed::new(work, entry))),
                }
            }
            Fate::Aside { aside, existing, .. } => {
                Self::NotBuilt(common.with(*aside, NotBuilt::new(existing)))
            }
        }
    }
}

/// Parts of the fields of every image.
struct Common<'a> {
    name: &'a ImageName,
    entry: &'a Entry,
    reason: Option<String>,
}

impl<'a> Common<'a> {
    fn with<Status, Rest>(self, status: Status, rest: Rest) -> Image<'a, Status, Rest> {
        Image {
            name: self.name.as_str(),
            status,
            reference: self.entry.reference.to_string(),
            wave: self.entry.wave,
            reason: self.reason,
            axis: self.name.axis(),
            rest,
        }
    }
}

impl<'a> Work<'a> {
    fn new(entry: &'a Entry, record: &Record) -> Self {
        Self {
            started: entry.started.map(|started| Time::from(record.at + started)),
            seconds: entry.took().into(),
            attempts: entry.attempts,
            retries: entry.retried.len(),
            log: entry.log.as_deref(),
        }
    }
}

impl<'a> Built<'a> {
    fn new(work: Work<'a>, built: &'a BuiltImage, pushed: &'a [Pushed]) -> Self {
        Self {
            work,
            id: &built.id,
            size: built.size,
            fingerprint: built.fingerprint.as_deref(),
            digest: pushed.first().map(|pushed| pushed.digest.as_str()),
            pushed: pushed.iter().map(PushedImage::new).collect(),
        }
    }
}

impl<'a> Failed<'a> {
    fn new(work: Work<'a>, entry: &'a Entry) -> Self {
        let place = entry.place.as_ref().map(|place| Position {
            template: &place.template,
            template_line: place.template_line,
            line: place.line,
        });
        Self { work, place }
    }
}

impl<'a> NotBuilt<'a> {
    fn new(existing: &'a Existing) -> Self {
        Self { id: existing.id.as_deref(), fingerprint: existing.fingerprint.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record_of_all_fates, warning};
    use super::*;

    #[test]
    fn summary_has_the_five_lists() {
        let record = record_of_all_fates();
        insta::assert_snapshot!(serde_json::to_string_pretty(&Summary::new(&record)).unwrap());
    }

    #[test]
    fn warnings_are_listed_with_their_subjects() {
        let mut record = record_of_all_fates();
        record.warnings = ["the pull failed", "again\u{1b}"].map(warning).into();
        let summary = serde_json::to_value(Summary::new(&record)).unwrap();
        let expected = serde_json::json!([
            { "subject": "debian:1", "text": "the pull failed" },
            { "subject": "debian:1", "text": "again\u{1b}" },
        ]);
        assert_eq!(summary["warnings"], expected);
    }
}
