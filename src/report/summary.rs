//! What became of each image: for people as text, for programs as JSON.
//!
//! The JSON has kolla-build's five lists under its names (`built`, `failed` with a `status`,
//! `not_matched`, `skipped`, `unbuildable`), each entry with a `name`; what Kiln knows beyond that
//! stands beside them in the entries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Subscriber;
use crate::event::{Aside, Event, Outcome, Pushed, SetAside, ToBuild};
use crate::image::ImageName;

/// Gathers what a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    to_build: BTreeMap<ImageName, ToBuild>,
    set_aside: Vec<SetAside>,
    attempts: BTreeMap<ImageName, usize>,
    finished: BTreeMap<ImageName, (Outcome, Duration)>,
    lists: Vec<Pushed>,
    took: Duration,
}

impl Subscriber for Summary {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Started { to_build, set_aside, .. } => {
                self.to_build =
                    to_build.iter().map(|image| (image.name.clone(), image.clone())).collect();
                self.set_aside.clone_from(set_aside);
            }
            Event::BuildStarted { name, attempt } => {
                self.attempts.insert(name.clone(), *attempt);
            }
            Event::Finished { name, outcome, took } => {
                self.finished.insert(name.clone(), (outcome.clone(), *took));
            }
            Event::ListPushed(pushed) => self.lists.push(pushed.clone()),
            Event::Ended { took } => self.took = *took,
            _ => {}
        }
    }
}

impl Summary {
    /// The summary for programs.
    pub fn json(&self) -> Value {
        let built = self.finished(true).map(|(image, outcome, took)| {
            let mut entry = named(
                &image.name,
                json!({
                    "reference": image.reference.to_string(),
                    "wave": image.wave,
                    "seconds": seconds(took),
                }),
            );
            if let Outcome::Built { id, pushed } = outcome {
                entry["id"] = json!(id);
                entry["digest"] = json!(pushed.first().map(|pushed| &pushed.digest));
                entry["pushed"] = pushed.iter().map(in_registry).collect();
            }
            entry
        });
        let failed = self.finished(false).map(|(image, outcome, took)| {
            named(
                &image.name,
                json!({
                    "status": outcome.status(),
                    "reference": image.reference.to_string(),
                    "wave": image.wave,
                    "seconds": seconds(took),
                    "attempts": self.attempts.get(&image.name).copied().unwrap_or(0),
                    "reason": outcome.detail(),
                }),
            )
        });
        let mut summary = json!({
            "built": built.collect::<Value>(),
            "failed": failed.collect::<Value>(),
            "not_matched": self.aside_json(Aside::NotMatched),
            "skipped": self.aside_json(Aside::Skipped),
            "unbuildable": self.aside_json(Aside::Unbuildable),
        });
        if !self.lists.is_empty() {
            summary["lists"] = self.lists.iter().map(in_registry).collect();
        }
        summary
    }

    fn aside_json(&self, aside: Aside) -> Value {
        let mut images: Vec<_> = self.aside(aside).collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        images
            .into_iter()
            .map(|image| named(&image.name, json!({"wave": image.wave, "reason": image.reason})))
            .collect()
    }

    /// The images that were to be built and ended well, or did not, by name.
    fn finished(&self, well: bool) -> impl Iterator<Item = (&ToBuild, &Outcome, Duration)> {
        self.finished
            .iter()
            .filter(move |(_, (outcome, _))| outcome.is_success() == well)
            .map(|(name, (outcome, took))| (&self.to_build[name], outcome, *took))
    }

    fn aside(&self, aside: Aside) -> impl Iterator<Item = &SetAside> {
        self.set_aside.iter().filter(move |image| image.aside == aside)
    }

    /// The summary for people: a line for each image, by wave, and the counts last.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self
            .to_build
            .keys()
            .chain(self.set_aside.iter().map(|image| &image.name))
            .map(|name| name.to_string().len())
            .max()
            .unwrap_or(0);
        for (title, well) in [("Built", true), ("Failed", false)] {
            let mut images: Vec<_> = self.finished(well).collect();
            images.sort_by_key(|(image, ..)| (image.wave, &image.name));
            heading(&mut text, title, !images.is_empty());
            for (image, outcome, took) in images {
                let mut line =
                    format!("  wave {}  {:width$}  {:>8}", image.wave, image.name, clock(took));
                if !well {
                    write!(line, "  {}", outcome.status()).expect("a string takes all");
                }
                if let Some(detail) = outcome.detail() {
                    write!(line, ": {}", first_line(&detail)).expect("a string takes all");
                }
                writeln!(text, "{line}").expect("a string takes all");
            }
        }
        for (title, aside) in [("Skipped", Aside::Skipped), ("Unbuildable", Aside::Unbuildable)] {
            // What is unbuildable and was not asked for is counted, and stands in the JSON.
            let told = |image: &&SetAside| image.asked_for || aside != Aside::Unbuildable;
            heading(&mut text, title, self.aside(aside).any(|image| told(&image)));
            for image in self.aside(aside).filter(told) {
                let SetAside { wave, name, reason, .. } = image;
                writeln!(text, "  wave {wave}  {name:width$}  {reason}")
                    .expect("a string takes all");
            }
        }
        writeln!(text, "{} in {}", self.counts(), clock(self.took)).expect("a string takes all");
        text
    }

    fn counts(&self) -> String {
        let counts = [
            ("built", self.finished(true).count()),
            ("failed", self.finished(false).count()),
            ("skipped", self.aside(Aside::Skipped).count()),
            ("not matched", self.aside(Aside::NotMatched).count()),
            ("unbuildable", self.aside(Aside::Unbuildable).count()),
        ];
        counts.map(|(what, count)| format!("{count} {what}")).join(", ")
    }
}

/// An entry for an image: its name, the axis where there are several, and what else there is.
fn named(name: &ImageName, rest: Value) -> Value {
    let mut entry = json!({ "name": name.as_str() });
    if let Some(axis) = name.axis() {
        entry["axis"] = json!(axis);
    }
    if let (Some(entry), Value::Object(rest)) = (entry.as_object_mut(), rest) {
        entry.extend(rest);
    }
    entry
}

fn in_registry(pushed: &Pushed) -> Value {
    json!({ "reference": pushed.reference.to_string(), "digest": pushed.digest })
}

fn heading(text: &mut String, title: &str, wanted: bool) {
    if wanted {
        text.push_str(title);
        text.push('\n');
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A duration in seconds, to the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A duration as people read it: `1.2s`, `3m 04s`, `2h 00m`.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1}s", duration.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run with one image of each fate.
    pub(in crate::report) fn run_of_all_fates() -> Vec<Event> {
        let name = ImageName::new;
        let to_build = |n: &str, wave| ToBuild {
            name: name(n),
            reference: format!("family/{n}:1").parse().unwrap(),
            wave,
        };
        let set_aside = |n: &str, wave, aside, reason: &str| SetAside {
            name: name(n),
            wave,
            aside,
            reason: reason.to_owned(),
            asked_for: n != "elsewhere",
        };
        let finished = |n: &str, outcome, millis| Event::Finished {
            name: name(n),
            outcome,
            took: Duration::from_millis(millis),
        };
        let built = |digest: Option<&str>| Outcome::Built {
            id: "sha256:1".to_owned(),
            pushed: digest
                .map(|digest| Pushed {
                    reference: "h:1/family/it:1".parse().unwrap(),
                    digest: digest.to_owned(),
                })
                .into_iter()
                .collect(),
        };
        vec![
            Event::Started {
                engine: "an engine".to_owned(),
                to_build: vec![
                    to_build("base", 2),
                    to_build("good", 3),
                    to_build("bad", 3),
                    to_build("below-bad", 4),
                ],
                set_aside: vec![
                    set_aside("root", 1, Aside::Skipped, "the engine has family/root:1"),
                    set_aside("other", 1, Aside::NotMatched, "not selected"),
                    set_aside("never", 2, Aside::Unbuildable, "no such package"),
                    set_aside("elsewhere", 2, Aside::Unbuildable, "nor this"),
                ],
                estimate: Some(Duration::from_secs(720)),
            },
            Event::BuildStarted { name: name("base"), attempt: 1 },
            Event::Step {
                name: name("base"),
                number: 1,
                total: 2,
                instruction: "FROM x".to_owned(),
            },
            Event::Log { name: name("base"), line: "Step 1/2 : FROM x".to_owned() },
            finished("base", built(Some("sha256:2")), 1234),
            Event::BuildStarted { name: name("good"), attempt: 1 },
            Event::BuildStarted { name: name("bad"), attempt: 1 },
            Event::Log { name: name("bad"), line: "+ false".to_owned() },
            Event::Retrying {
                name: name("bad"),
                error: "exit code 1".to_owned(),
                pause: Duration::from_millis(500),
            },
            Event::BuildStarted { name: name("bad"), attempt: 2 },
            Event::Log { name: name("bad"), line: "+ false again".to_owned() },
            finished("good", built(None), 61_000),
            finished("bad", Outcome::Error("exit code 1\nand more".to_owned()), 2000),
            finished("below-bad", Outcome::ParentError { ancestor: name("bad") }, 0),
            Event::Ended { took: Duration::from_secs(63) },
        ]
    }

    fn summary() -> Summary {
        let mut summary = Summary::default();
        run_of_all_fates().iter().for_each(|event| summary.hear(event));
        summary
    }

    #[test]
    fn text_tells_every_fate() {
        insta::assert_snapshot!(summary().text());
    }

    #[test]
    fn json_has_the_five_lists() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&summary().json()).unwrap());
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
