//! Summary of a run: as text for people, and as JSON for programs.
//!
//! The JSON has the five lists of kolla-build under their names (`built`, `failed` with a `status`,
//! `not_matched`, `skipped`, `unbuildable`). Each entry has a `name`; the further fields of an
//! entry are Kiln's own.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{Entry, Fate, Record};
use crate::console::Listing;
use crate::event::{Aside, Outcome, Pushed};
use crate::image::ImageName;
use crate::visible;

/// Returns the JSON summary of a run.
pub fn json(record: &Record) -> Value {
    let list = |entries: &mut dyn Iterator<Item = (&ImageName, &Entry)>| -> Value {
        entries.map(|(name, entry)| image(name, entry, record)).collect()
    };
    let finished = |well| record.finished(well).map(|(name, entry, _)| (name, entry));
    let mut summary = json!({
        "built": list(&mut finished(true)),
        "failed": list(&mut finished(false)),
        "not_matched": list(&mut record.aside(&[Aside::NotMatched])),
        "skipped": list(&mut record.aside(Aside::SKIPPED)),
        "unbuildable": list(&mut record.aside(&[Aside::Unbuildable])),
        "run": run(record),
    });
    if !record.lists.is_empty() {
        summary["lists"] = lists(record);
    }
    summary
}

/// Returns the data of the run as a whole.
pub(super) fn run(record: &Record) -> Value {
    json!({
        "started": timestamp(record.at),
        "seconds": seconds(record.took),
        "estimated_seconds": record.estimate.map(seconds),
        "engine": record.engine,
        "threads": record.threads,
        "interrupted": record.interrupted,
    })
}

/// Returns the manifest lists that were pushed.
pub(super) fn lists(record: &Record) -> Value {
    record.lists.iter().map(in_registry).collect()
}

/// Returns the data of one image.
pub(super) fn image(name: &ImageName, entry: &Entry, record: &Record) -> Value {
    let mut told = json!({
        "name": name.as_str(),
        "status": entry.fate.status(),
        "reference": entry.reference.to_string(),
        "wave": entry.wave,
        "reason": entry.fate.reason(),
    });
    if let Some(axis) = name.axis() {
        told["axis"] = json!(axis);
    }
    match &entry.fate {
        Fate::Pending => {}
        Fate::Aside { existing, .. } => {
            told["id"] = json!(existing.id);
            told["fingerprint"] = json!(existing.fingerprint);
        }
        Fate::Finished(outcome) => {
            told["started"] = json!(entry.started.map(|started| timestamp(record.at + started)));
            told["seconds"] = json!(seconds(entry.took()));
            told["attempts"] = json!(entry.attempts);
            told["retries"] = json!(entry.retried.len());
            told["log"] = json!(entry.log);
            if let Some(place) = &entry.place {
                told["place"] = json!({
                    "template": place.template,
                    "template_line": place.template_line,
                    "line": place.line,
                });
            }
            if let Outcome::Built { made, pushed } = outcome {
                told["id"] = json!(made.id);
                told["size"] = json!(made.size);
                told["fingerprint"] = json!(made.fingerprint);
                told["digest"] = json!(pushed.first().map(|pushed| &pushed.digest));
                told["pushed"] = pushed.iter().map(in_registry).collect();
            }
        }
    }
    told
}

/// Returns the summary for people: a line for each image, by wave, and the counts last.
pub fn text(record: &Record) -> Listing {
    let mut text = Listing::default();
    let width = record.images.keys().map(|name| name.to_string().len()).max().unwrap_or(0);
    for (title, well) in [("Built", true), ("Failed", false)] {
        let images = by_wave(record.finished(well).map(|(name, entry, _)| (name, entry)));
        heading(&mut text, title, !images.is_empty());
        for (name, entry) in images {
            let took = clock(entry.took());
            let mut line = format!("  wave {}  {name:width$}  {took:>8}", entry.wave);
            match entry.retried.len() {
                0 => {}
                1 => line.push_str(", 1 retry"),
                retries => write!(line, ", {retries} retries").expect("a string takes all"),
            }
            if !well {
                write!(line, "  {}", entry.fate.status()).expect("a string takes all");
            }
            if let Some(detail) = entry.fate.reason() {
                write!(line, ": {}", first_line(&detail)).expect("a string takes all");
            }
            text.line(line);
        }
    }
    for (title, kinds) in [("Skipped", Aside::SKIPPED), ("Unbuildable", &[Aside::Unbuildable])] {
        // Unbuildable images that were not asked for are only counted here; the JSON lists them.
        let images = by_wave(record.aside(kinds).filter(|(_, entry)| is_told(entry)));
        heading(&mut text, title, !images.is_empty());
        for (name, entry) in images {
            let reason = entry.fate.reason().unwrap_or_default();
            text.line(format!("  wave {}  {name:width$}  {reason}", entry.wave));
        }
    }
    text.line(format!("{} in {}", counts(record), clock(record.took)));
    text
}

/// Returns false for an unbuildable image that was not asked for: reports for people leave it out.
pub(super) fn is_told(entry: &Entry) -> bool {
    match entry.fate {
        Fate::Aside { aside: Aside::Unbuildable, asked_for, .. } => asked_for,
        _ => true,
    }
}

fn by_wave<'a>(
    images: impl Iterator<Item = (&'a ImageName, &'a Entry)>,
) -> Vec<(&'a ImageName, &'a Entry)> {
    let mut images: Vec<_> = images.collect();
    images.sort_by_key(|(name, entry)| (entry.wave, *name));
    images
}

/// Returns the number of images for each fate, in words.
pub fn counts(record: &Record) -> String {
    let counts = [
        ("built", record.finished(true).count()),
        ("failed", record.finished(false).count()),
        ("skipped", record.aside(Aside::SKIPPED).count()),
        ("not matched", record.aside(&[Aside::NotMatched]).count()),
        ("unbuildable", record.aside(&[Aside::Unbuildable]).count()),
    ];
    counts.map(|(what, count)| format!("{count} {what}")).join(", ")
}

/// Formats a time as RFC 3339 in UTC, with milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

fn in_registry(pushed: &Pushed) -> Value {
    json!({ "reference": pushed.reference.to_string(), "digest": pushed.digest })
}

fn heading(text: &mut Listing, title: &str, wanted: bool) {
    if wanted {
        text.line(title);
    }
}

fn first_line(text: &str) -> &str {
    visible::lines(text).next().unwrap_or_default()
}

/// Returns a duration in seconds, rounded to milliseconds.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Formats a duration for people: `1.2s`, `3m 04s`, `2h 00m`.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1}s", duration.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// Formats an estimated duration: `40s`, `12m`, `2h 10m`.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 99.5 {
        return format!("{}s", seconds.round().max(1.0));
    }
    let minutes = (seconds / 60.0).round();
    if minutes < 60.0 {
        return format!("{minutes}m");
    }
    let tens = (seconds / 600.0).round();
    format!("{}h {:02}m", (tens / 6.0).floor(), tens % 6.0 * 10.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::record_of_all_fates;
    use super::*;

    #[test]
    fn text_tells_every_fate() {
        insta::assert_snapshot!(text(&record_of_all_fates()).as_str());
    }

    #[test]
    fn json_has_the_five_lists() {
        let json = json(&record_of_all_fates());
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    }

    #[test]
    fn guesses_are_rough() {
        let table = [
            (0.2, "1s"),
            (89.6, "90s"),
            (100.0, "2m"),
            (724.0, "12m"),
            (3599.0, "1h 00m"),
            (7500.0, "2h 10m"),
        ];
        for (seconds, expected) in table {
            assert_eq!(rough(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn durations_are_readable() {
        let clock = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!(
            [clock(0), clock(59), clock(64), clock(7260)],
            ["0.0s", "59.0s", "1m 04s", "2h 01m"]
        );
    }
}
