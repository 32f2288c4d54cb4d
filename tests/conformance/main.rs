//! Kiln and the real kolla-build, on the templates of released Kollas: what both of them render
//! has to be the same to the byte, and what both of them list the same set and the same tree.
//!
//! `make test` does a few cases of two releases; `make conformance` the whole of matrix.toml, and
//! puts what came of it into docs/kolla.md. KILN_CONFORMANCE_RELEASES="9.4.0 23.0.0" keeps it to
//! some releases. All differences are in target/conformance/differences/ afterwards.

#[path = "../it/support/changes.rs"]
mod changes;
mod compare;
mod isolation;
#[path = "../it/support/kolla.rs"]
mod kolla;
mod matrix;
mod oracle;
mod report;
mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use compare::{Difference, Outcome, compare, without_dates};
use isolation::{isolate, scratch};
use matrix::{Case, Matrix};
use oracle::{Left, directory, read_folder};
use rayon::prelude::*;
use report::{Report, Row};
use serde_json::Value;

// ------------------------------------------------------------------------------------ make test

/// Cases of the quick tests that list images, for the first configured base of a release.
const LISTS: [&str; 9] = [
    "list-default",
    "list-pattern",
    "list-skip-parents",
    "list-unknown",
    "tree-default",
    "tree-nothing",
    "tree-pattern",
    "tree-skip-parents",
    "tree-unknown",
];

#[test]
fn kolla_9_4_0_on_centos() {
    quick("9.4.0", "centos-binary-x86_64", &["centos-binary-x86_64", "centos-source-x86_64"]);
}

#[test]
fn kolla_23_0_0_on_rocky_and_ubuntu() {
    quick("23.0.0", "rocky-x86_64", &["rocky-x86_64", "ubuntu-x86_64"]);
}

/// Compares some cases and the lists of one axis.
#[track_caller]
fn quick(version: &str, listed: &str, rendered: &[&str]) {
    let matrix = Matrix::read();
    let release = matrix.release(version);
    let lists = LISTS.map(|list| format!("{listed}-{list}"));
    let wanted = |case: &Case| rendered.contains(&case.name.as_str()) || lists.contains(&case.name);
    let cases: Vec<Case> = matrix.cases(release).into_iter().filter(wanted).collect();
    assert_eq!(cases.len(), rendered.len() + lists.len());
    let compared = compare_release(version, &cases);
    let (shown, count) = show(&compared);
    assert_eq!(count, 0, "kolla {version}: {count} differences\n{shown}");
}

/// The same file is laid over the project's own tree: see `tests/it/tree.rs`.
#[test]
fn one_override_changes_five_images() {
    let matrix = Matrix::read();
    for (version, axis) in [("9.4.0", "debian-source-x86_64"), ("23.0.0", "debian-x86_64")] {
        let cases = matrix.cases(matrix.release(version));
        let plain = cases.into_iter().find(|case| case.name == axis).expect("a case");
        let mut over = plain.clone();
        over.folder = "five-images".to_owned();
        over.name += "-five-images";
        over.arguments.extend(["--template-override", "override.j2"].map(str::to_owned));
        let compared = compare_release(version, std::slice::from_ref(&over));
        let (shown, count) = show(&compared);
        assert_eq!(count, 0, "kolla {version}: {count} differences\n{shown}");

        let release = oracle::Release::install(version);
        let [before, after] = [&plain, &over].map(|case| {
            let folder =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/configurations");
            kiln_on(case, &release.prefix, &folder.join(&case.folder))
        });
        assert!(!after.stderr.contains("warning: "), "{}", after.stderr);
        let changes = changes::changes(&dockerfiles(&before), &dockerfiles(&after));
        insta::assert_snapshot!(format!("override-{version}"), changes);
    }
}

/// The Dockerfiles that a program left behind, by the image's folder.
fn dockerfiles(left: &Left) -> Vec<(String, String)> {
    let text = |(path, entry): (&String, &compare::Entry)| {
        let folder = path.strip_suffix("/Dockerfile")?;
        let compare::Entry::File(bytes) = entry else { return None };
        Some((folder.to_owned(), String::from_utf8_lossy(bytes).into_owned()))
    };
    left.entries.iter().filter_map(text).collect()
}

// ----------------------------------------------------------------------------- make conformance

#[test]
#[ignore = "the whole matrix: make conformance"]
fn the_matrix_is_rendered_alike() {
    let matrix = Matrix::read();
    let document = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kolla.md"));
    let mut report = Report::of(document);
    let mut unknown = String::new();
    for release in chosen(&matrix) {
        let version = release.version.to_string();
        let compared = compare_release(&version, &matrix.cases(release));
        let row = Row::of(&version, &release.why, &compared, |case, path| {
            matrix.cause(release, case, path)
        });
        eprintln!("{row}");
        keep(&version, &compared);
        if row.unknown > 0 {
            let (shown, _) = show(&compared);
            unknown += &format!("\nkolla {version}: {} differences\n{shown}", row.unknown);
        }
        report.rows.push(row);
    }
    if report.rows.len() == matrix.releases.len() {
        report.write();
    }
    assert!(unknown.is_empty(), "{unknown}");
}

/// A configuration that changes nothing would compare the same files twice.
#[test]
#[ignore = "the whole matrix: make conformance"]
fn every_configuration_of_the_matrix_shows_something() {
    let matrix = Matrix::read();
    let mut wrong = Vec::new();
    for release in chosen(&matrix) {
        let version = release.version.to_string();
        let cases = matrix.cases(release);
        let left = oracle::Release::install(&version).run(&cases);
        let outcomes: BTreeMap<&str, Outcome> = cases
            .iter()
            .zip(left)
            .map(|(c, (left, _))| (c.name.as_str(), outcome(c, left)))
            .collect();
        for case in cases.iter().filter(|case| case.renders()) {
            let Some(plain) = outcomes.get(case.plain.as_str()) else { continue };
            let same = compare(plain, &outcomes[case.name.as_str()]).is_empty();
            if case.name != case.plain && same == case.changes {
                wrong.push(format!("{version} {}: changes something: {}", case.name, !same));
            }
        }
        eprintln!("kolla {version}: {} cases", cases.len());
    }
    assert_eq!(wrong, [""; 0]);
}

/// The oracle runs many cases in one go, and remembers a little from one to the next. Nobody must
/// be able to tell.
#[test]
#[ignore = "a check of the oracle itself: make conformance"]
fn the_oracle_of_the_matrix_is_kolla_build() {
    let matrix = Matrix::read();
    for version in ["9.0.0", "12.7.0", "14.12.0", "20.6.0", "23.0.0"] {
        let release = matrix.release(version);
        let sample = |case: &Case| {
            let last = |name: &str| case.name.ends_with(&format!("x86_64-{name}"));
            ["two-overrides", "users", "repos-mirror", "tree-default"].into_iter().any(last)
        };
        let cases: Vec<Case> = matrix.cases(release).into_iter().filter(sample).collect();
        let installed = oracle::Release::install(version);
        let plain = installed.run_plainly(&cases);
        for ((case, (left, _)), plain) in cases.iter().zip(installed.run(&cases)).zip(plain) {
            let compared = compare(&outcome(case, plain), &outcome(case, left));
            assert_eq!(compared, [], "kolla {version}, {}", case.name);
        }
    }
}

/// The releases that are asked for: all, unless the environment says which.
fn chosen(matrix: &Matrix) -> Vec<&matrix::Release> {
    let Ok(wanted) = std::env::var("KILN_CONFORMANCE_RELEASES") else {
        return matrix.releases.iter().collect();
    };
    wanted.split_whitespace().map(|version| matrix.release(version)).collect()
}

// --------------------------------------------------------------------------------- the two sides

/// A case with what kolla-build came to and where Kiln differs.
struct Compared {
    case: Case,
    /// Number of files that were compared.
    files: usize,
    differences: Vec<Difference>,
}

/// Runs both programs on cases of a release.
fn compare_release(version: &str, cases: &[Case]) -> Vec<Compared> {
    let release = oracle::Release::install(version);
    let both = |(case, (left, folder)): (&Case, (Left, PathBuf))| {
        let actual = kiln_on(case, &release.prefix, &folder);
        let expected = outcome(case, left);
        let differences = compare(&expected, &outcome(case, actual));
        Compared { case: case.clone(), files: expected.files(), differences }
    };
    cases.par_iter().zip(release.run(cases)).map(both).collect()
}

/// Runs Kiln on the tree of a release, in the folder of a configuration.
fn kiln_on(case: &Case, prefix: &Path, folder: &Path) -> Left {
    let out = tempfile::tempdir_in(scratch()).expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    isolate(&mut command);
    command.envs(&case.environment).current_dir(folder);
    command.args(["build", "--tree"]).arg(prefix).arg("--nopull").args(&case.arguments);
    command.arg("--work-dir").arg(out.path());
    let before = today();
    let output = command.output().expect("the program starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let mut entries = BTreeMap::new();
    let tree = out.path().join("docker");
    if case.renders() && tree.exists() {
        read_folder(&tree, "", &mut entries).expect("a readable tree");
    }
    let dates = [before, today()].into();
    let (code, stdout) = in_words_of_kolla_build(case, output.status.code().unwrap_or(-1), stdout);
    Left { code, stdout, stderr, dates, entries }
}

/// Kiln's exit codes tell more: where nothing matched, kolla-build exits with 0, and with 1 where it
/// is asked for what there is not.
fn in_words_of_kolla_build(case: &Case, code: i32, stdout: String) -> (i32, String) {
    match code {
        2 => (1, stdout),
        4 if case.arguments.iter().any(|argument| argument == "--list-dependencies") => {
            (0, "Nothing matched!\n".to_owned())
        }
        4 => (0, String::new()),
        _ => (code, stdout),
    }
}

/// Today's date as kolla-build writes it.
fn today() -> String {
    let output = std::process::Command::new("date").arg("+%Y%m%d").output().expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Returns the part of a result that is compared: of a failed run, only the failure.
fn outcome(case: &Case, left: Left) -> Outcome {
    let Left { code, stdout, stderr, dates, mut entries } = left;
    if code != 0 {
        return Outcome::of_failure(code, stderr);
    }
    if case.renders() {
        without_dates(&mut entries, &dates);
        return Outcome::of_tree(code, entries);
    }
    if case.arguments.iter().any(|argument| argument == "--list-images") {
        Outcome::of_text(code, "list of images", image_set(&stdout))
    } else {
        Outcome::of_text(code, "tree of images", image_tree(&stdout))
    }
}

/// The set of images in a numbered list, whose order is the file system's.
fn image_set(stdout: &str) -> String {
    let mut names = Vec::new();
    for (number, line) in (1..).zip(stdout.lines()) {
        let name = line.strip_prefix(&format!("{number} : "));
        names.push(name.unwrap_or_else(|| panic!("not a line of a list: {line}")).to_owned());
    }
    names.sort();
    names.join("\n") + "\n"
}

/// The tree of images, children in the order of their names.
fn image_tree(stdout: &str) -> String {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(children) => {
                children.iter_mut().for_each(sort);
                children.sort_by_key(ToString::to_string);
            }
            Value::Object(children) => children.values_mut().for_each(sort),
            _ => {}
        }
    }
    let Ok(mut tree) = serde_json::from_str(stdout) else { return stdout.to_owned() };
    sort(&mut tree);
    format!("{tree:#}\n")
}

#[test]
fn lists_are_compared_as_sets_and_trees() {
    assert_eq!(image_set("1 : nova\n2 : base\n"), "base\nnova\n");
    assert_eq!(image_set(""), "\n");
    let tree = image_tree(r#"{"base": ["cron", {"b": ["d", "c"]}, "a"]}"#);
    assert_eq!(tree, image_tree("{\"base\": [ {\"b\": [\"c\",\"d\"]}, \"a\", \"cron\"] }\n"));
    assert_ne!(tree, image_tree(r#"{"base": ["cron", {"b": ["d"]}, "a", "c"]}"#));
    assert_ne!(image_tree(r#"["a"]"#), image_tree(r#"[{"a": []}]"#), "an image with children");
    assert_eq!(image_tree("Nothing matched!\n"), "Nothing matched!\n");
}

/// Leaves all differences of a release in a file, for whoever works on them.
fn keep(version: &str, compared: &[Compared]) {
    let path = directory().join(format!("differences/{version}.txt"));
    fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
    let all = compared.iter().flat_map(|c| c.differences.iter().map(|d| (&c.case, d)));
    let text: String =
        all.map(|(case, difference)| format!("=== {}\n{difference}", case.name)).collect();
    fs::write(path, text).expect("a file");
}

/// Number of differences that are shown in full.
const SHOWN: usize = 3;

/// The first differences, and how many there are in all.
fn show(compared: &[Compared]) -> (String, usize) {
    let all = compared.iter().flat_map(|c| c.differences.iter().map(|d| (&c.case, d)));
    let count = all.clone().count();
    let mut text = String::new();
    for (case, difference) in all.take(SHOWN) {
        text += &format!("\n{}: {}\n{difference}", case.name, case.arguments.join(" "));
    }
    if count > SHOWN {
        text += &format!("\n... and {} more, by case:\n", count - SHOWN);
        for of in compared.iter().filter(|of| !of.differences.is_empty()) {
            text += &format!("{:6} {}\n", of.differences.len(), of.case.name);
        }
    }
    (text, count)
}
