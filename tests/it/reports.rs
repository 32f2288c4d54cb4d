//! Files about a run: each has the format that it should have, all agree with each other, and a
//! file that can't be written affects nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use crate::support::{Cleanup, Engine, Run, TestTree};
use serde_json::Value;

const SCHEMA: &str = include_str!("../../docs/schemas/summary.schema.json");

#[track_caller]
fn assert_valid(summary: &Value) {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("summary.json", serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let schema = compiler.compile("summary.json", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(summary, schema) {
        panic!("{error:#} in {summary:#}");
    }
}

/// Creates a tree with an image for each outcome, and the images that existed before the run.
fn tree_of_all_fates() -> (TestTree, Cleanup) {
    Engine::Docker.require();
    let tree = TestTree::new(&[
        ("base", "FROM debian:bookworm\nENV OF={{ namespace }}\n"),
        ("same", "FROM @base\nRUN echo same > /same\n"),
        ("other", "FROM @base\nCOPY file /file\n"),
        ("bad", "FROM @base\nRUN echo {{ base_distro }} \\\n    && exit 9\n"),
        ("below-bad", "FROM @bad\nRUN true\n"),
        ("good", "FROM @same\nRUN echo good > /good\n"),
        ("never", "FROM @base\n"),
        ("left-out", "FROM @base\n"),
    ]);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let unbuildable = "[[unbuildable]]\nimages = [\"never\"]\nreason = \"no such package\"\n";
    tree.write("tree.toml", &format!("{manifest}{unbuildable}"));
    tree.write("other/file", "before\n");
    let cleanup = Cleanup::new(tree.namespace());
    tree.build(&["^base$", "^same$", "^other$"]).expect(0);
    tree.write("other/file", "after\n");
    (tree, cleanup)
}

/// Returns `name: status` of every image, from the summary.
fn of_summary(summary: &Value) -> BTreeMap<String, String> {
    let lists = ["built", "failed", "skipped", "unbuildable", "not_matched"];
    let entries = lists.iter().flat_map(|list| summary[list].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    entries.map(|entry| (text(&entry["name"]), text(&entry["status"]))).collect()
}

/// Returns the same from a JUnit report, which has no status for built images.
fn of_junit(xml: &str) -> BTreeMap<String, String> {
    let case = regex::Regex::new(
        r#"(?s)<testcase name="([^"]+)"[^>]*?(?:/>|>\s*<(?:failure|skipped) [^>]*?type="([^"]+)")"#,
    );
    let cases = case.unwrap();
    let cases = cases.captures_iter(xml).map(|case| {
        let status = case.get(2).map_or("built", |status| status.as_str());
        (case[1].to_owned(), status.to_owned())
    });
    cases.collect()
}

/// Returns the same from the data in the page of the run.
fn of_page(page: &str) -> BTreeMap<String, String> {
    let (_, data) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let images = data["images"].as_array().unwrap().iter();
    images.map(|image| (text(&image["name"]), text(&image["status"]))).collect()
}

#[test]
fn all_reports_of_a_run_agree() {
    let (tree, _cleanup) = tree_of_all_fates();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = tree.build(&[
        "--skip-existing",
        "--skip-unchanged",
        "--summary-json-file",
        &path("summary.json"),
        "--junit",
        &path("junit.xml"),
        "--report",
        &path("report.html"),
        "--logs-dir",
        &path("logs"),
        "^base$",
        "^same$",
        "^other$",
        "bad$",
        "^good$",
        "^never$",
    ]);
    let run = run.expect(1);
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    let summary: Value = serde_json::from_str(&read("summary.json")).unwrap();
    assert_valid(&summary);
    let expected = [
        ("bad", "error"),
        ("base", "unchanged"),
        ("below-bad", "parent_error"),
        ("good", "built"),
        ("left-out", "not_matched"),
        ("never", "unbuildable"),
        ("other", "skipped"),
        ("same", "unchanged"),
    ];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, status)| (name.to_string(), status.to_string())).collect();
    assert_eq!(of_summary(&summary), expected);
    assert_eq!(of_junit(&read("junit.xml")), expected);
    assert_eq!(of_page(&read("report.html")), expected);
    assert!(run.stderr.contains("1 built, 2 failed, 3 skipped, 1 not matched, 1 unbuildable"));

    let bad = &summary["failed"][0];
    let template = tree.path().join("bad/Dockerfile.tera").display().to_string();
    assert_eq!(bad["place"]["template"], template);
    assert_eq!((&bad["place"]["template_line"], &bad["place"]["line"]), (&2.into(), &2.into()));
    assert!(read("logs/000_FAILED_bad.log").contains("error: "));
    assert_eq!(bad["log"], path("logs/bad.log"));
    let good = &summary["built"][0];
    let id = Engine::Docker.image_id(&tree.reference("good"));
    assert_eq!(good["id"], id);
    assert!(good["size"].as_u64().unwrap() > 1_000_000, "{good}");
    assert_eq!(good["fingerprint"].as_str().unwrap().len(), 64);
    let base = summary["skipped"].as_array().unwrap().iter().find(|e| e["name"] == "base").unwrap();
    assert_eq!(base["id"], Engine::Docker.image_id(&tree.reference("base")));
    assert_eq!(base["fingerprint"].as_str().unwrap().len(), 64);
}

/// Creates a tree of one image that is built in no time.
fn small_tree() -> (TestTree, Cleanup) {
    Engine::Docker.require();
    let tree = TestTree::new(&[("base", "FROM debian:bookworm\nENV OF={{ namespace }}\n")]);
    let cleanup = Cleanup::new(tree.namespace());
    (tree, cleanup)
}

/// Returns true if the image was built nevertheless.
fn is_there(tree: &TestTree) -> bool {
    !Engine::Docker.image_id(&tree.reference("base")).is_empty()
}

#[test]
fn unwritable_reports_are_reported_and_images_built() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir_all(logs.join("base.log")).unwrap();
    let logs = logs.display().to_string();
    let table: [(&[&str], &str); 6] = [
        (&["--report", "/dev/full"], "the report can't be written to '/dev/full': No space"),
        (&["--junit", "/dev/full"], "the JUnit report can't be written to '/dev/full': No space"),
        (&["--junit", "/nonexistent/a.xml"], "the JUnit report can't be written"),
        (&["--summary-json-file", "/dev/full"], "the summary can't be written to '/dev/full'"),
        (&["--summary-json-file", "/proc/a.json"], "the summary can't be written"),
        (&["--logs-dir", &logs], "the logs are incomplete: Is a directory"),
    ];
    for (arguments, told) in table {
        let (tree, _cleanup) = small_tree();
        let run = tree.build(arguments).expect(2);
        assert!(run.stderr.contains(told), "{run:?}");
        assert!(run.stderr.contains("1 built, 0 failed"), "{run:?}");
        assert!(is_there(&tree));
    }
}

#[test]
fn closed_standard_output_is_reported() {
    let (tree, _cleanup) = small_tree();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tree.command(&[]);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("the summary can't be written: Broken pipe"), "{stderr}");
    assert!(is_there(&tree));

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = tree.command(&[]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));

    // A closed standard error does not matter either.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = tree.command(&[]).stdout(Stdio::piped()).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn log_of_a_single_thread_is_printed_as_it_arrives() {
    let (tree, _cleanup) = small_tree();
    let run = tree.build(&["--threads", "1"]).expect(0);
    assert!(run.stderr.contains("base | "), "{run:?}");
    let run = tree.build(&["--threads", "2"]).expect(0);
    assert!(!run.stderr.contains("base | "), "{run:?}");
}

/// The CI service is recognised by its environment variables, and can be set or disabled.
#[test]
fn ci_services_get_their_own_format() {
    Engine::Docker.require();
    let tree = TestTree::new(&[("bad", "FROM debian:bookworm\n\nRUN echo said && exit 9\n")]);
    let run = |arguments: &[&str], variable: &str| {
        let mut command = tree.command(arguments);
        command.env(variable, "true");
        Run::of(command).expect(1).stderr
    };
    let path = tree.path().join("bad/Dockerfile.tera");
    let error = format!("\n::error file={},line=3,title=bad is not built::", path.display());
    let is_for_github =
        |text: &str| text.contains(&error) && text.contains("\n::group::log of bad");
    let is_for_gitlab = |text: &str| text.contains("section_start:") && !text.contains("::error");
    assert!(is_for_github(&run(&[], "GITHUB_ACTIONS")));
    assert!(is_for_gitlab(&run(&[], "GITLAB_CI")));
    assert!(is_for_github(&run(&["--ci", "github"], "GITLAB_CI")));
    let none = run(&["--ci", "none"], "GITLAB_CI");
    assert!(!is_for_github(&none) && !is_for_gitlab(&none), "{none}");
    let wrong = tree.build(&["--ci", "jenkins"]).expect(2);
    assert!(wrong.stderr.contains("github, gitlab"), "{wrong:?}");
}
