//! oslo.config itself, from PyPI, with the options of kolla-build.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln::internals::settings::{Kind, option};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Answer;
use crate::corpus::Case;
use crate::isolation::isolate;

/// Results of oslo.config for a case.
pub struct Told {
    /// Result of parsing each of its files.
    pub parsed: Vec<Answer>,
    /// Meaning of the files together, if that was requested.
    pub settled: Option<Answer>,
}

/// Asks oslo.config, in the virtual environment of a release, about all of these cases at once.
/// `options` are those whose values are wanted; without any, files are only taken apart.
pub fn ask<'a>(
    prefix: &Path,
    cases: impl IntoIterator<Item = &'a Case>,
    options: &[String],
) -> Vec<Told> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settle = !options.is_empty();
    let question = |(number, case): (usize, &Case)| {
        let files: Vec<_> = (0..)
            .zip(&case.files)
            .map(|(part, bytes)| {
                let path = folder.path().join(format!("{number}-{part}.conf"));
                fs::write(&path, bytes).expect("a file");
                path
            })
            .collect();
        json!({"files": files, "arguments": arguments(case), "settle": settle})
    };
    let questions: Vec<Value> = cases.into_iter().enumerate().map(question).collect();
    let count = questions.len();
    let told = run(prefix, &json!({"options": options, "cases": questions}));
    let told: Vec<Written> = serde_json::from_slice(&told).expect("the oracle's JSON");
    assert_eq!(told.len(), count);
    told.into_iter().map(Told::from).collect()
}

/// The values of a case as kolla-build's command line has them.
fn arguments(case: &Case) -> Vec<String> {
    let spell = |(name, values): (&String, &Vec<String>)| -> Vec<String> {
        let option = option(name);
        let spelled = |value: &String| match option.kind {
            Kind::Positional => value.clone(),
            _ => format!("--{}={value}", option.flag),
        };
        values.iter().map(spelled).collect()
    };
    case.flags.iter().flat_map(spell).collect()
}

fn run(prefix: &Path, job: &Value) -> Vec<u8> {
    let mut command = Command::new(prefix.join("bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oslo/oracle.py"));
    isolate(&mut command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = command.spawn().expect("Python starts");
    // It reads all before it says anything.
    let mut input = python.stdin.take().expect("it is a pipe");
    input.write_all(job.to_string().as_bytes()).expect("the oracle reads its job");
    drop(input);
    let output = python.wait_with_output().expect("Python ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the oracle failed:\n{stderr}");
    output.stdout
}

#[derive(Deserialize)]
struct Written {
    parsed: Vec<Value>,
    settled: Option<Value>,
}

impl From<Written> for Told {
    fn from(written: Written) -> Self {
        let parsed = written.parsed.into_iter().map(answer).collect();
        Self { parsed, settled: written.settled.map(answer) }
    }
}

fn answer(value: Value) -> Answer {
    match value.get("refused") {
        Some(why) => Err(why.as_str().unwrap_or_default().to_owned()),
        None => Ok(value),
    }
}
