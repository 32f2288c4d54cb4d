//! Data of the page. Images refer to each other by index; times are in seconds from the start of
//! the run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::drawing::{Cell, Drawing, Node, draw};
use super::timeline::{Times, critical_path, slots};
use crate::event::{Aside, Outcome};
use crate::image::ImageName;
use crate::report::format::Seconds;
use crate::report::plain::plain;
use crate::report::record::{Entry, Fate, Record};
use crate::report::summary::{AnyImage, PushedImage, Run};
use crate::report::summary_text::is_told;

/// Number of log lines shown for an image that was built.
const SHORT_TAIL: usize = 20;

/// All data of the page.
#[derive(Debug, Serialize)]
pub struct Data<'a> {
    run: PageRun<'a>,
    images: Vec<PageImage<'a>>,
    /// Number and columns of each wave.
    bands: Vec<[usize; 2]>,
    /// Images on the critical path.
    critical: Vec<usize>,
}

/// The run, with the texts that only the page shows.
#[derive(Debug, Serialize)]
struct PageRun<'a> {
    #[serde(flatten)]
    run: Run<'a>,
    warnings: Vec<String>,
    lists: Vec<PushedImage<'a>>,
}

/// An image, with the details that only the page shows.
#[derive(Debug, Serialize)]
struct PageImage<'a> {
    #[serde(flatten)]
    image: AnyImage<'a>,
    full_name: String,
    /// Expected duration of the build.
    expected: Option<Seconds>,
    /// Start of the build.
    begin: Option<Seconds>,
    /// End of the build.
    built: Option<Seconds>,
    /// End of all work on the image.
    end: Option<Seconds>,
    /// Errors of the attempts that were retried.
    retried: Vec<String>,
    /// Last lines of the log.
    tail: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    /// Number of the last step, and number of steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    /// References of the external images that it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    externals: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dockerfile: Option<&'a str>,
    needs: Vec<usize>,
    /// Ancestor that failed.
    ancestor: Option<usize>,
    /// Column and row in the drawing.
    cell: Option<[usize; 2]>,
    /// Row of the build in the timeline.
    slot: Option<usize>,
    /// Row of the push in the timeline.
    push_slot: Option<usize>,
}

/// Relations of an image to other images, and its position on the page.
struct Relations {
    needs: Vec<usize>,
    ancestor: Option<usize>,
    cell: Option<Cell>,
    slot: Option<usize>,
    push_slot: Option<usize>,
}

/// Returns all data of the page.
pub fn data(record: &Record) -> Data<'_> {
    let indices: BTreeMap<&ImageName, usize> = record.images.keys().zip(0..).collect();
    let needs = |entry: &Entry| -> Vec<usize> {
        entry.needs.iter().filter_map(|need| indices.get(need).copied()).collect()
    };
    let entries: Vec<&Entry> = record.images.values().collect();
    let nodes: Vec<Option<Node>> = entries
        .iter()
        .map(|entry| is_drawn(entry).then(|| Node { wave: entry.wave, needs: needs(entry) }))
        .collect();
    let Drawing { cells, bands } = draw(&nodes);
    let builds = slots_of(entries.iter().map(|entry| build_span(entry)));
    let pushes = slots_of(entries.iter().map(|entry| push_span(entry)));
    let images = record.images.iter().enumerate().map(|(index, (name, entry))| {
        let relations = Relations {
            needs: needs(entry),
            ancestor: ancestor(entry).and_then(|ancestor| indices.get(ancestor).copied()),
            cell: cells[index],
            slot: builds[index],
            push_slot: pushes[index],
        };
        image(name, entry, record, relations)
    });
    let times: Vec<Times> = entries.iter().map(|entry| times(entry, needs(entry))).collect();
    Data {
        images: images.collect(),
        run: PageRun {
            run: Run::new(record),
            warnings: record.warnings.iter().map(|warning| plain(&warning.to_string())).collect(),
            lists: record.lists.iter().map(PushedImage::new).collect(),
        },
        bands: bands.iter().map(|band| [band.wave, band.columns]).collect(),
        critical: critical_path(&times),
    }
}

fn image<'a>(
    name: &'a ImageName,
    entry: &'a Entry,
    record: &'a Record,
    relations: Relations,
) -> PageImage<'a> {
    let reason = entry.fate.reason().map(|reason| lines(&reason));
    let labels = match &entry.fate {
        Fate::Finished(Outcome::Built { made, .. }) => Some(&made.labels),
        _ => None,
    };
    let facts = record.catalogue.images.get(name);
    PageImage {
        image: AnyImage::new(name, entry, record, reason),
        full_name: name.to_string(),
        expected: expected(entry, record).map(Seconds::from),
        begin: entry.started.map(Seconds::from),
        built: entry.built.map(Seconds::from),
        end: entry.ended.map(Seconds::from),
        retried: entry.retried.iter().map(|error| lines(error)).collect(),
        tail: tail(entry),
        labels,
        step: entry.step.as_ref().map(|step| [step.number, step.total]),
        template: facts.map(|facts| facts.template.as_str()),
        externals: facts.map(|facts| facts.externals.as_slice()),
        dockerfile: facts.filter(|_| is_drawn(entry)).map(|facts| &*facts.dockerfile),
        needs: relations.needs,
        ancestor: relations.ancestor,
        cell: relations.cell.map(|cell| [cell.column, cell.row]),
        slot: relations.slot,
        push_slot: relations.push_slot,
    }
}

/// Returns the expected duration of the build; `None` if too few durations of earlier runs are
/// known for an estimate of the run.
fn expected(entry: &Entry, record: &Record) -> Option<Duration> {
    record.estimate.and(entry.expected)
}

/// Returns a text of several lines, each made plain.
fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Returns the last lines of the log of an image: only [`SHORT_TAIL`] if it was built, else all
/// that the record has.
fn tail(entry: &Entry) -> Vec<String> {
    let is_built = matches!(entry.fate, Fate::Finished(Outcome::Built { .. }));
    let left_out = if is_built { entry.tail.len().saturating_sub(SHORT_TAIL) } else { 0 };
    entry.tail.iter().skip(left_out).map(|line| plain(line)).collect()
}

/// Returns true if the image is in the drawing: every image that matched, unless it is unbuildable
/// and was not asked for.
fn is_drawn(entry: &Entry) -> bool {
    !matches!(entry.fate, Fate::Aside { aside: Aside::NotMatched, .. }) && is_told(entry)
}

fn ancestor(entry: &Entry) -> Option<&ImageName> {
    match &entry.fate {
        Fate::Finished(Outcome::ParentError { ancestor }) => Some(ancestor),
        _ => None,
    }
}

fn times(entry: &Entry, needs: Vec<usize>) -> Times {
    Times { started: entry.started, built: entry.built, ended: entry.ended, needs }
}

type Span = (Duration, Duration);

fn build_span(entry: &Entry) -> Option<Span> {
    Some((entry.started?, entry.built.or(entry.ended)?))
}

/// Returns the time from the end of the build to the end of the push; `None` if the image was not
/// built, or was not to be pushed.
fn push_span(entry: &Entry) -> Option<Span> {
    match &entry.fate {
        Fate::Finished(Outcome::Built { pushed, .. }) if pushed.is_empty() => None,
        _ => Some((entry.built?, entry.ended?)),
    }
}

/// Returns the slot of each image that has a span, `None` for the others.
fn slots_of(spans: impl Iterator<Item = Option<Span>>) -> Vec<Option<usize>> {
    let spans: Vec<Option<Span>> = spans.collect();
    let given: Vec<Span> = spans.iter().copied().flatten().collect();
    let mut slots = slots(&given).into_iter();
    spans.iter().map(|span| span.and_then(|_| slots.next())).collect()
}
