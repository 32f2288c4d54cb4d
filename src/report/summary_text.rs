//! Summary of a run as text for people.

use std::fmt::Write as _;

use super::format::clock;
use super::record::{Entry, Fate, Record};
use crate::console::Listing;
use crate::event::Aside;
use crate::image::ImageName;
use crate::visible;

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

fn heading(text: &mut Listing, title: &str, wanted: bool) {
    if wanted {
        text.line(title);
    }
}

fn first_line(text: &str) -> &str {
    visible::lines(text).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::record_of_all_fates;
    use super::*;

    #[test]
    fn text_has_every_fate() {
        insta::assert_snapshot!(text(&record_of_all_fates()).as_str());
    }
}
