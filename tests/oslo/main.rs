//! Kiln's reading of configuration files beside that of oslo.config itself, from PyPI, with the
//! options of a released kolla-build: on every case of corpus.toml both come to the same values, or
//! both refuse it. The corpus ends with what differs on purpose, each time with the reason.

mod corpus;
#[path = "../conformance/isolation.rs"]
mod isolation;
#[path = "../it/support/kolla.rs"]
mod kolla;
mod oracle;
mod reading;

use corpus::{Case, Corpus, Difference, Way};
use oracle::ask;
use reading::Reader;
use serde_json::Value;

/// The release whose options and tree are used.
const RELEASE: &str = "23.0.0";

/// The value that was read, or the reason of the refusal.
type Answer = Result<Value, String>;

#[test]
fn files_are_parsed_alike() {
    let corpus = Corpus::read();
    let cases: Vec<&Case> = corpus.parsed.iter().chain(&corpus.settled).collect();
    let told = ask(&kolla::install(RELEASE), cases.iter().copied(), &[]);
    let mut wrong = Vec::new();
    for (case, told) in cases.iter().zip(told) {
        for (kiln, oslo) in reading::parsed(case).iter().zip(&told.parsed) {
            if !alike(kiln, oslo) {
                wrong.push(shown(case, kiln, oslo));
            }
        }
    }
    expect_none(cases.len(), &wrong);
}

#[test]
fn values_are_resolved_alike() {
    let corpus = Corpus::read();
    let prefix = kolla::install(RELEASE);
    let reader = Reader::of(&prefix);
    let told = ask(&prefix, &corpus.settled, &reader.options());
    let mut wrong = Vec::new();
    for (case, told) in corpus.settled.iter().zip(told) {
        let (kiln, oslo) = (reader.settled(case), told.settled.expect("it was asked for"));
        if !alike(&kiln, &oslo) {
            wrong.push(shown(case, &kiln, &oslo));
        }
    }
    expect_none(corpus.settled.len(), &wrong);
}

/// A difference that is gone is to be taken off the list.
#[test]
fn intended_differences_match_the_corpus() {
    let Corpus { on_purpose, .. } = Corpus::read();
    let prefix = kolla::install(RELEASE);
    let reader = Reader::of(&prefix);
    let cases: Vec<(&Difference, &Case)> =
        on_purpose.iter().flat_map(|of| of.cases.iter().map(move |case| (of, case))).collect();
    let told = ask(&prefix, cases.iter().map(|(_, case)| *case), &reader.options());
    let mut wrong = Vec::new();
    for ((difference, case), told) in cases.iter().zip(told) {
        let (kiln, oslo) = (reader.settled(case), told.settled.expect("it was asked for"));
        if way(&kiln, &oslo) != Some(difference.kiln) {
            let shown = shown(case, &kiln, &oslo);
            wrong.push(format!("{shown}\n  on purpose: {:?}: {}", difference.kiln, difference.why));
        }
    }
    expect_none(cases.len(), &wrong);
}

#[test]
fn the_corpus_is_large() {
    let corpus = Corpus::read();
    assert!(corpus.parsed.len() > 500, "{}", corpus.parsed.len());
    assert!(corpus.settled.len() > 500, "{}", corpus.settled.len());
}

fn alike(kiln: &Answer, oslo: &Answer) -> bool {
    way(kiln, oslo).is_none()
}

/// Returns the kind of the difference; `None` if there is none.
fn way(kiln: &Answer, oslo: &Answer) -> Option<Way> {
    match (kiln, oslo) {
        (Ok(kiln), Ok(oslo)) => (kiln != oslo).then_some(Way::ReadsOtherwise),
        (Err(_), Err(_)) => None,
        (Err(_), Ok(_)) => Some(Way::Refuses),
        (Ok(_), Err(_)) => Some(Way::Reads),
    }
}

/// A case on which they do not agree: where they differ, if both can read it.
fn shown(case: &Case, kiln: &Answer, oslo: &Answer) -> String {
    let mut text = format!("{}\n", case.name);
    for file in &case.files {
        text += &format!("  file {:?}\n", String::from_utf8_lossy(file));
    }
    if !case.flags.is_empty() {
        text += &format!("  flags {:?}\n", case.flags);
    }
    let (kiln, oslo) = match (kiln, oslo) {
        (Ok(kiln), Ok(oslo)) => differing(kiln, oslo),
        (kiln, oslo) => (brief(kiln), brief(oslo)),
    };
    text + &format!("  Kiln {kiln}\n  oslo {oslo}")
}

fn brief(answer: &Answer) -> String {
    match answer {
        Ok(_) => "reads it".to_owned(),
        Err(why) => format!("refuses it: {why}"),
    }
}

/// The parts of two values that differ.
fn differing(one: &Value, other: &Value) -> (String, String) {
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        let names =
            one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
        if let Some(name) = names.min() {
            let null = Value::Null;
            let [one, other] = [one, other].map(|of| of.get(name).unwrap_or(&null));
            let (one, other) = differing(one, other);
            return (format!("{name} {one}"), format!("{name} {other}"));
        }
    }
    (one.to_string(), other.to_string())
}

/// Fails the test if there is something wrong, and shows the first of it.
#[track_caller]
fn expect_none(cases: usize, wrong: &[String]) {
    const SHOWN: usize = 10;
    let first = wrong[..wrong.len().min(SHOWN)].join("\n");
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{first}", wrong.len());
}
