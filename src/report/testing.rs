//! A run with every fate, for the tests of the reports.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::Subscriber as _;
use super::catalogue::{Catalogue, Facts};
use super::record::Record;
use crate::event::{
    Aside, BuiltImage, Event, Existing, Outcome, Pushed, SetAside, ToBuild, Warning,
};
use crate::image::ImageName;

fn to_build(name: &str, wave: usize, needs: &[&str]) -> ToBuild {
    ToBuild {
        name: ImageName::new(name),
        reference: format!("family/{name}:1").parse().unwrap(),
        wave,
        needs: needs.iter().map(|name| ImageName::new(name)).collect(),
    }
}

fn set_aside(name: &str, wave: usize, needs: &[&str], aside: Aside, reason: &str) -> SetAside {
    let ToBuild { name, reference, wave, needs } = to_build(name, wave, needs);
    let asked_for = name.as_str() != "elsewhere";
    SetAside { name, reference, wave, needs, aside, reason: reason.to_owned(), asked_for }
}

fn built(digest: Option<&str>) -> Outcome {
    Outcome::Built {
        made: BuiltImage {
            id: "sha256:1".to_owned(),
            size: Some(123_456_789),
            labels: BTreeMap::from([("maintainer".to_owned(), "me <me@x>".to_owned())]),
            fingerprint: Some("f".repeat(64)),
        },
        pushed: digest
            .map(|digest| Pushed {
                reference: "h:1/family/it:1".parse().unwrap(),
                digest: digest.to_owned(),
            })
            .into_iter()
            .collect(),
    }
}

/// Returns the events of a run with one image of each fate, each with its time.
pub fn run_of_all_fates() -> Vec<(Duration, Event)> {
    let name = ImageName::new;
    let finished = |n: &str, outcome, millis| Event::Finished {
        name: name(n),
        outcome,
        took: Duration::from_millis(millis),
    };
    let log = |n: &str, line: &str| Event::Log { name: name(n), line: line.to_owned() };
    let started = |n: &str, attempt| Event::BuildStarted { name: name(n), attempt };
    let step = |n: &str, number, total, instruction: &str| Event::Step {
        name: name(n),
        number,
        total,
        instruction: instruction.to_owned(),
    };
    let seconds = |n: &str, seconds| (name(n), Duration::from_secs(seconds));
    let there = Existing { id: Some("sha256:9".to_owned()), fingerprint: None };
    let same = Existing { fingerprint: Some("e".repeat(64)), ..there.clone() };
    let events = vec![
        (
            0,
            Event::Started {
                at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
                engine: "an engine".to_owned(),
                threads: 2,
                to_build: vec![
                    to_build("base", 2, &["root"]),
                    to_build("good", 3, &["base"]),
                    to_build("bad", 3, &["base"]),
                    to_build("below-bad", 4, &["bad", "same"]),
                ],
                set_aside: vec![
                    set_aside("root", 1, &[], Aside::Skipped, "the engine has family/root:1"),
                    set_aside("other", 1, &[], Aside::NotMatched, "not selected"),
                    set_aside("never", 2, &["root"], Aside::Unbuildable, "no such package"),
                    set_aside("elsewhere", 2, &["root"], Aside::Unbuildable, "nor this"),
                    set_aside(
                        "same",
                        2,
                        &["root"],
                        Aside::Unchanged,
                        "the engine has family/same:1, unchanged",
                    ),
                ],
                estimate: Some(Duration::from_secs(720)),
                expected: BTreeMap::from([
                    seconds("base", 120),
                    seconds("good", 300),
                    seconds("bad", 300),
                    seconds("below-bad", 300),
                ]),
                existing: BTreeMap::from([(name("root"), there), (name("same"), same)]),
            },
        ),
        (0, started("base", 1)),
        (10, step("base", 1, 2, "FROM x")),
        (10, log("base", "Step 1/2 : FROM x")),
        (1200, Event::Built { name: name("base"), took: Duration::from_millis(1200) }),
        (1200, Event::PushStarted { name: name("base") }),
        (1210, started("good", 1)),
        (1210, started("bad", 1)),
        (1234, finished("base", built(Some("sha256:2")), 1234)),
        (1300, step("bad", 2, 2, "RUN false &&     true")),
        (1300, log("bad", "+ false")),
        (
            1400,
            Event::Retrying {
                name: name("bad"),
                error: "exit code 1".to_owned(),
                pause: Duration::from_millis(500),
            },
        ),
        (1900, started("bad", 2)),
        (1950, step("bad", 2, 2, "RUN false &&     true")),
        (1950, log("bad", "+ false again")),
        (3210, finished("bad", Outcome::Error("exit code 1\nand more".to_owned()), 2000)),
        (3210, finished("below-bad", Outcome::ParentError { ancestor: name("bad") }, 0)),
        (62_200, Event::Built { name: name("good"), took: Duration::from_millis(60_990) }),
        (62_210, finished("good", built(None), 61_000)),
        (63_000, Event::Ended { took: Duration::from_secs(63) }),
    ];
    let timed = |(millis, event)| (Duration::from_millis(millis), event);
    events.into_iter().map(timed).collect()
}

/// Returns a warning about `debian:1` with this text.
pub fn warning(text: &str) -> Warning {
    Warning { subject: "debian:1".parse().unwrap(), text: text.to_owned() }
}

/// Returns the catalogue of the images of that run.
pub fn catalogue() -> Catalogue {
    let names = ["base", "good", "bad", "below-bad", "root", "other", "never", "elsewhere", "same"];
    let facts = |name: &str| Facts {
        template: format!("tree/{name}/Dockerfile.tera"),
        dockerfile: format!("FROM family/x:1\nLABEL of={name}\nRUN false \\\n    && true\n").into(),
        externals: if name == "root" { vec!["debian:1".to_owned()] } else { Vec::new() },
    };
    Catalogue {
        images: names.into_iter().map(|name| (ImageName::new(name), facts(name))).collect(),
        read_template: Box::new(|_| None),
    }
}

/// Returns the record of that run.
pub fn record_of_all_fates() -> Record {
    let mut record = Record::new(catalogue(), Some("logs".into()));
    run_of_all_fates().iter().for_each(|(at, event)| record.hear(*at, event));
    record
}
