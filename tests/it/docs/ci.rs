//! The files for CI services do what they say: what their jobs run is run here, for a proposed change
//! and for a night, in a git repository with the guide's tree and with a registry that wants a
//! password. What a service itself does (checking out, caches, artifacts) is not there, and what a job
//! installs is already installed.

use std::fmt::Write as _;
use std::path::Path;

use kiln::internals::yaml::{self, Yaml};

use super::reader::Reader;
use super::{make_tree_of_the_guide, text_of};
use crate::support::require_engine;

/// Replacements of the commands that install Kiln and other programs in jobs: all are installed.
const STAND_INS: &str = "cargo() { :; }\napt-get() { :; }\n\
    git() { [ \"$1\" = clone ] || command git \"$@\"; }\n";

/// The tree as a repository, its main branch being what a proposed change is compared with.
const REPOSITORY: &str = "git init --quiet --initial-branch=main\n\
    git config user.email me@example.com\ngit config user.name me\n\
    git add docker build.conf\ngit commit --quiet -m one\n\
    git update-ref refs/remotes/origin/main main\nmkdir tmp";

/// Variables that a service sets in a job, and those that the user of the file has set.
const OF_GITHUB: &str = "GITHUB_BASE_REF=main\nGITHUB_ENV=$PWD/env\nRUNNER_TEMP=$PWD/tmp\n";
const OF_GITLAB: &str = "CI_PROJECT_DIR=$PWD\nCI_MERGE_REQUEST_DIFF_BASE_SHA=$(git rev-parse main)\n\
    REGISTRY=private.example.com\nREGISTRY_USER=me\nREGISTRY_PASSWORD=secret\nKILN_REPOSITORY=none";

#[test]
fn github_actions() {
    let file = parsed("docs/ci/github-actions.yml");
    let events = at(&file, &["True"]); // To YAML 1.1 `on` is a truth value.
    for event in ["schedule", "push", "pull_request"] {
        assert!(events.get(event).is_some(), "{event}");
    }
    let job = at(&file, &["jobs", "images"]);
    let steps = || list(at(job, &["steps"])).iter().filter(|step| step.get("run").is_some());
    let variables = [&evaluated(&assignments(job.get("env"))), OF_GITHUB].concat();

    let of_event = |event: &str| -> String {
        let wanted = |step: &&Yaml| match step.get("if").and_then(Yaml::as_text) {
            Some("github.event_name == 'pull_request'") => event == "pull_request",
            Some("github.event_name != 'pull_request'") => event != "pull_request",
            Some("steps.kiln.outputs.cache-hit != 'true'") => true,
            Some(other) => panic!("what does '{other}' mean?"),
            None => true,
        };
        let run = |step: &Yaml| {
            evaluated(&[&assignments(step.get("env")), text(at(step, &["run"]))].concat())
        };
        steps().filter(wanted).map(run).collect()
    };
    followed("github", &variables, &of_event("pull_request"), &of_event("schedule"));
}

#[test]
fn gitlab_ci() {
    let file = parsed("docs/ci/gitlab-ci.yml");
    let shared = at(&file, &[".kiln"]);
    let of_job = |name: &str| -> String {
        let job = at(&file, &[name]);
        assert_eq!(text(at(job, &["extends"])), ".kiln");
        assert!(!list(at(job, &["rules"])).is_empty());
        let lines = |job: &Yaml, part| -> String {
            let lines = job.get(part).map(list).unwrap_or_default();
            lines.iter().flat_map(|line| [text(line), "\n"]).collect()
        };
        [lines(shared, "before_script"), lines(job, "script"), lines(job, "after_script")].concat()
    };
    let given = assignments(file.get("variables"));
    // The engine of the tests takes the place of the one beside the job.
    let own = given.lines().filter(|line| !line.starts_with("DOCKER_"));
    let variables = [OF_GITLAB].into_iter().chain(own).collect::<Vec<_>>().join("\n");
    assert_eq!(text(at(shared, &["artifacts", "reports", "junit"])), "logs/junit.xml");
    followed("gitlab", &variables, &of_job("proposed"), &of_job("nightly"));
}

/// A text with the values of the service's expressions, which the file's user has set.
fn evaluated(text: &str) -> String {
    let values = [
        ("vars.REGISTRY", "private.example.com"),
        ("vars.KILN_REPOSITORY", "none"),
        ("secrets.REGISTRY_USER", "me"),
        ("secrets.REGISTRY_PASSWORD", "secret"),
    ];
    let text = values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{{ {name} }}}}"), value)
    });
    assert!(!text.contains("${{"), "an expression stands for nothing:\n{text}");
    text
}

/// Runs what a service would for a proposed change and for two nights.
fn followed(service: &str, variables: &str, proposed: &str, nightly: &str) {
    require_engine();
    let mut reader = Reader::new(&format!("ci-{service}"), "--registry private.example.com");
    make_tree_of_the_guide(&mut reader);
    does(&mut reader, &format!("{REPOSITORY}\n{variables}"));
    let job = |script: &str| format!("( set -euo pipefail\n{STAND_INS}{script}\n)");

    does(
        &mut reader,
        "echo 'ENV TZ=UTC' >> docker/clock/Dockerfile.tera; git commit --quiet -am two",
    );
    let said = does(&mut reader, &job(proposed));
    assert!(said.contains("clock: Dockerfile changed"), "{said}");
    assert!(said.contains("2 built, 0 failed, 1 skipped"), "{said}");
    files_are_there(&reader, proposed);

    let said = does(&mut reader, &job(nightly));
    assert!(said.contains("3 built, 0 failed, 0 skipped"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    files_are_there(&reader, nightly);
    let said = does(&mut reader, &job(nightly));
    assert!(said.contains("0 built, 0 failed, 3 skipped"), "{said}");
}

fn does(reader: &mut Reader, command: &str) -> String {
    reader.runs(command, &[]).unwrap();
    assert_eq!(reader.code, 0, "{command}\n{}", reader.said);
    reader.said.clone()
}

/// Asserts that all files exist that a script names as results.
fn files_are_there(reader: &Reader, script: &str) {
    let results = regex::Regex::new(r"-file (\S+)|--(?:report|junit) (\S+)").unwrap();
    let mut count = 0;
    for found in results.captures_iter(script) {
        let path = found.get(1).or(found.get(2)).unwrap().as_str();
        assert!(reader.path("work").join(path).is_file(), "{path}");
        count += 1;
    }
    assert_eq!(count, 3, "summary, report and test cases");
    let logs = reader.path("work").join("logs");
    assert!(Path::new(&logs).join("clock.log").is_file());
}

fn parsed(page: &str) -> Yaml {
    yaml::parse(&text_of(page)).unwrap_or_else(|wrong| panic!("{page}: {wrong}"))
}

#[track_caller]
fn at<'a>(file: &'a Yaml, keys: &[&str]) -> &'a Yaml {
    keys.iter().fold(file, |value, key| value.get(key).unwrap_or_else(|| panic!("no {key}")))
}

#[track_caller]
fn text(value: &Yaml) -> &str {
    value.as_text().unwrap_or_else(|| panic!("{value:?} is no text"))
}

fn list(value: &Yaml) -> &[Yaml] {
    match value {
        Yaml::List(values) => values,
        other => panic!("{other:?} is no list"),
    }
}

/// A mapping as assignments of a shell.
fn assignments(mapping: Option<&Yaml>) -> String {
    let entries = mapping.and_then(Yaml::as_map).unwrap_or_default();
    let mut lines = String::new();
    for (name, value) in entries {
        writeln!(lines, "{name}='{}'", text(value)).unwrap();
    }
    lines
}
