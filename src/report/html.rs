//! HTML report of a run: one file that loads nothing else.
//!
//! This module computes the content and the layout, and embeds them as JSON; the script of the page
//! only draws. Names, Dockerfiles and logs are text of others, and none of it is ever interpreted
//! as part of the page.

mod drawing;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use self::drawing::{Drawing, Node, draw};
use self::timeline::{Times, critical_path, slots};
use super::plain::plain;
use super::record::{Entry, Fate, Record};
use super::summary;
use crate::event::{Aside, Outcome};
use crate::image::ImageName;
use crate::visible;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Number of log lines shown for an image that was built.
const SHORT_TAIL: usize = 20;

/// Returns the HTML page about a run.
pub fn page(record: &Record) -> String {
    let data = embedded(&data(record));
    fill(PAGE, &[("%style%", STYLE), ("%data%", &data), ("%script%", SCRIPT)])
}

/// Replaces the marks in `page` by the parts. The marks must be in this order; marks within the
/// parts stay text.
fn fill(page: &str, parts: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = page;
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).expect("the page has this mark");
        filled.push_str(before);
        filled.push_str(part);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Returns JSON that is safe in a script element: nothing in it ends the element, begins a comment,
/// or is a line end to a JavaScript parser.
fn embedded(data: &Value) -> String {
    let text = data.to_string();
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                safe.push_str(&format!("\\u{:04x}", char as u32));
            }
            _ => safe.push(char),
        }
    }
    safe
}

/// Returns all data of the page. Images refer to each other by index; times are in seconds from the
/// start of the run.
fn data(record: &Record) -> Value {
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
        let mut told = image(name, entry, record);
        told["needs"] = json!(needs(entry));
        told["ancestor"] = json!(ancestor(entry).and_then(|ancestor| indices.get(ancestor)));
        told["cell"] = json!(cells[index].map(|cell| [cell.column, cell.row]));
        told["slot"] = json!(builds[index]);
        told["push_slot"] = json!(pushes[index]);
        told
    });
    let images: Vec<Value> = images.collect();
    let times: Vec<Times> = entries.iter().map(|entry| times(entry, needs(entry))).collect();
    let mut run = summary::run(record);
    run["warnings"] = record.warnings.iter().map(|warning| plain(warning)).collect();
    run["lists"] = summary::lists(record);
    let data = json!({
        "run": run,
        "images": images,
        "bands": bands.iter().map(|band| [band.wave, band.columns]).collect::<Vec<_>>(),
        "critical": critical_path(&times),
    });
    all_visible(data)
}

/// Returns the data with the hidden characters of every text escaped.
fn all_visible(data: Value) -> Value {
    match data {
        Value::String(text) => json!(visible::block(&text)),
        Value::Array(all) => all.into_iter().map(all_visible).collect(),
        Value::Object(pairs) => {
            let shown = |(key, value): (String, Value)| {
                (visible::line(&key).into_owned(), all_visible(value))
            };
            Value::Object(pairs.into_iter().map(shown).collect())
        }
        data => data,
    }
}

/// Returns the data of one image, except its relations to other images.
fn image(name: &ImageName, entry: &Entry, record: &Record) -> Value {
    let mut told = summary::image(name, entry, record);
    told["full_name"] = json!(name.to_string());
    told["reason"] = json!(entry.fate.reason().map(|reason| lines(&reason)));
    told["expected"] = json!(expected(entry, record).map(summary::seconds));
    told["begin"] = json!(entry.started.map(summary::seconds));
    told["built"] = json!(entry.built.map(summary::seconds));
    told["end"] = json!(entry.ended.map(summary::seconds));
    told["retried"] = entry.retried.iter().map(|error| lines(error)).collect();
    told["tail"] = tail(entry);
    if let Fate::Finished(Outcome::Built { made, .. }) = &entry.fate {
        told["labels"] = json!(made.labels);
    }
    if let Some(step) = &entry.step {
        told["step"] = json!([step.number, step.total]);
    }
    if let Some(facts) = record.catalogue.images.get(name) {
        told["template"] = json!(facts.template);
        told["externals"] = json!(facts.externals);
        if is_drawn(entry) {
            told["dockerfile"] = json!(facts.dockerfile);
        }
    }
    told
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
fn tail(entry: &Entry) -> Value {
    let is_built = matches!(entry.fate, Fate::Finished(Outcome::Built { .. }));
    let left_out = if is_built { entry.tail.len().saturating_sub(SHORT_TAIL) } else { 0 };
    entry.tail.iter().skip(left_out).map(|line| plain(line)).collect()
}

/// Returns true if the image is in the drawing: every image that matched, unless it is unbuildable
/// and was not asked for.
fn is_drawn(entry: &Entry) -> bool {
    !matches!(entry.fate, Fate::Aside { aside: Aside::NotMatched, .. }) && summary::is_told(entry)
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

#[cfg(test)]
mod tests {
    use super::super::Subscriber as _;
    use super::super::testing::{catalogue, record_of_all_fates};
    use super::*;
    use crate::event::Event;

    #[test]
    fn the_page_is_told_every_fate() {
        let data = data(&record_of_all_fates());
        insta::assert_snapshot!(serde_json::to_string_pretty(&data).unwrap());
    }

    /// Returns the JSON embedded in the page.
    fn data_in(page: &str) -> &str {
        let (_, rest) = page.split_once("id=\"data\">").unwrap();
        rest.split_once("</script>").unwrap().0
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = [
            "</script><script>alert(1)",
            "<!-- <script>",
            "a\u{2028}b\u{2029}c",
            "]]> &lt; \" ' \\ \u{0}",
            "%script% %data% {{ }}",
            "\u{1b}[31m<img src=x onerror=alert(1)>",
        ];
        let mut record = record_of_all_fates();
        let name = ImageName::new("bad");
        for line in hostile {
            let event = Event::Log { name: name.clone(), line: line.to_owned() };
            record.hear(Duration::ZERO, &event);
            record.hear(Duration::ZERO, &Event::Warning(line.to_owned()));
        }
        let text = hostile.join("\n");
        record.catalogue.images.get_mut(&name).unwrap().dockerfile = text.as_str().into();
        let page = page(&record);
        let data = data_in(&page);
        for char in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
            assert!(!data.contains(char), "{char:?}");
        }
        let read: Value = serde_json::from_str(data).unwrap();
        let bad = read["images"].as_array().unwrap().iter().find(|i| i["name"] == "bad").unwrap();
        let tail: Vec<_> = bad["tail"].as_array().unwrap().iter().skip(2).collect();
        assert_eq!(tail[0], hostile[0]);
        assert_eq!(tail[2], "a\\u{2028}b\\u{2029}c");
        assert_eq!(tail[5], "<img src=x onerror=alert(1)>");
        assert_eq!(bad["dockerfile"], *visible::block(&text));
        assert_eq!(read["run"]["warnings"][1], hostile[1]);
        // The page around the data does not depend on the data.
        let bare = fill(PAGE, &[("%style%", STYLE), ("%data%", ""), ("%script%", SCRIPT)]);
        assert_eq!(page.replacen(data, "", 1), bare);
    }

    #[test]
    fn nothing_on_the_page_is_hidden() {
        let hidden = "nimda\u{202e}\u{2066}\u{9b}\u{200b}\u{feff}\u{e0041}";
        let mut record = record_of_all_fates();
        let name = ImageName::new("bad");
        record.hear(Duration::ZERO, &Event::Warning(hidden.to_owned()));
        record.hear(Duration::ZERO, &Event::Log { name: name.clone(), line: hidden.to_owned() });
        record.engine = hidden.to_owned();
        let facts = record.catalogue.images.get_mut(&name).unwrap();
        facts.template = hidden.to_owned();
        facts.externals.push(hidden.to_owned());
        facts.dockerfile = format!("FROM x\n# {hidden}\n").into();
        let labels = [(hidden.to_owned(), hidden.to_owned())].into();
        let made = crate::event::BuiltImage { labels, ..Default::default() };
        record.images.get_mut(&ImageName::new("good")).unwrap().fate =
            Fate::Finished(Outcome::Built { made, pushed: Vec::new() });
        let page = page(&record);
        assert!(page.matches(r"nimda\\u{202e}").count() >= 7, "{page}");
        assert!(!data_in(&page).contains(visible::is_hidden));
    }

    #[test]
    fn the_page_asks_for_nothing_elsewhere() {
        let page = page(&Record::new(catalogue(), None));
        for word in ["http:", "https:", "src=", "@import", "url(", "innerHTML", "fetch("] {
            let without = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!without.contains(word), "{word}");
        }
        assert!(page.contains("Content-Security-Policy"));
    }

    #[test]
    fn a_guess_is_not_told() {
        let mut record = record_of_all_fates();
        let expected = |record: &Record| {
            let images = data(record)["images"].clone();
            images
                .as_array()
                .unwrap()
                .iter()
                .filter(|image| image["expected"] != json!(null))
                .count()
        };
        assert_eq!(expected(&record), 4);
        record.estimate = None;
        assert_eq!(expected(&record), 0);
    }

    #[test]
    fn a_run_of_nothing_is_told() {
        let data = data(&Record::new(catalogue(), None));
        assert_eq!(data["images"], json!([]));
        assert_eq!(data["critical"], json!([]));
        assert_eq!(data["bands"], json!([]));
    }
}
