//! Faults that no real engine produces on demand: a loopback server that implements just enough of
//! the engine's API to misbehave in one way at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::http::{self, Reply, Server, by_call};
use crate::support::{Run, TestTree};

fn json(body: &str) -> Reply {
    http::json(200, body)
}

/// Server that answers by the start of `METHOD path`, without the API's version.
struct FakeEngine {
    server: Server,
}

impl FakeEngine {
    fn new(script: &[(&'static str, Reply)]) -> Self {
        let mut answers = BTreeMap::from([
            ("GET /version", json(r#"{"Version":"0","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#)),
            ("GET /images/json", json("[]")),
            (INSPECT, inspected(ID)),
            ("POST /images/sha256:", http::json(201, "")),
        ]);
        answers.extend(script.iter().cloned());
        Self { server: Server::plain(by_call(answers.into_iter().collect())) }
    }

    /// Returns the requests so far.
    fn calls(&self) -> Vec<String> {
        self.server.asked().iter().map(http::Request::call).collect()
    }

    fn build(&self, tree: &TestTree, arguments: &[&str]) -> Run {
        let mut command = tree.command(&[&["--nobuildkit"], arguments].concat());
        command.env("DOCKER_HOST", format!("tcp://{}", self.server.address()));
        Run::of(command)
    }
}

const ID: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER_ID: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn tree() -> TestTree {
    TestTree::new(&[("only", "FROM debian:bookworm\n")]).in_namespace("family")
}

fn stream(records: &[&str]) -> Reply {
    json(&records.join("\r\n"))
}

fn built(id: &str) -> String {
    format!(r#"{{"aux":{{"ID":"{id}"}}}}"#)
}

fn inspected(id: &str) -> Reply {
    json(&format!(r#"{{"Id":"{id}"}}"#))
}

/// Request for the image with this id.
const INSPECT: &str =
    "GET /images/sha256:1111111111111111111111111111111111111111111111111111111111111111/json";

/// Returns the exit code, and the status and the reason of the one image's failure.
fn failure(engine: &FakeEngine, arguments: &[&str]) -> (i32, String, String) {
    let run = engine.build(&tree(), arguments);
    let summary = run.summary();
    let entry = &summary["failed"][0];
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    (run.code, text("status"), text("reason"))
}

#[test]
fn an_answer_with_evidence_is_believed() {
    let engine = FakeEngine::new(&[("POST /build", stream(&[&built(ID)]))]);
    let run = engine.build(&tree(), &[]).expect(0);
    assert_eq!(run.names("built"), ["only"]);
}

/// Returns the messages of a build that keeps its durations in `folder`; it always succeeds.
fn said_with_state_in(folder: &Path) -> String {
    let engine = FakeEngine::new(&[("POST /build", stream(&[&built(ID)]))]);
    engine.build(&tree(), &["--state-dir", folder.to_str().unwrap()]).expect(0).stderr
}

#[test]
fn the_durations_of_builds_are_kept_for_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("new");
    assert!(!said_with_state_in(&state).contains("about"));
    let kept = fs::read_to_string(state.join("durations.json")).unwrap();
    assert!(kept.contains("\"family/one-binary-only\":{\"seconds\":0."), "{kept}");
    let said = said_with_state_in(&state);
    assert!(said.starts_with("1 to build, up to wave 1, about 1s, by "), "{said}");
}

#[test]
fn unusable_durations_are_reported_and_ignored() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("durations.json"), "broken").unwrap();
    let said = said_with_state_in(folder.path());
    let warnings = |said: &str| said.lines().filter(|l| l.starts_with("warning: ")).count();
    assert!(said.contains("are discarded: expected value at line 1"), "{said}");
    assert_eq!(warnings(&said), 1, "{said}");
    assert_eq!(warnings(&said_with_state_in(folder.path())), 0);
    fs::write(folder.path().join("file"), "").unwrap();
    let said = said_with_state_in(&folder.path().join("file"));
    assert!(said.contains("the durations of builds can't be saved in "), "{said}");
}

#[test]
fn an_answer_without_evidence_is_not_believed() {
    let table: [(&str, &[&str], Option<&str>, &str); 5] = [
        (
            "a stream without an id",
            &[r#"{"stream":"Step 1/1 : FROM x\n"}"#],
            Some(ID),
            "without an image ID",
        ),
        ("a bare error", &[r#"{"error":"it broke"}"#], Some(ID), "without an image ID"),
        ("an empty stream", &[""], Some(ID), "without an image ID"),
        ("an image that is not there", &[&built(ID)], None, "does not have"),
        ("another image", &[&built(ID)], Some(OTHER_ID), "not sha256:1111"),
    ];
    for (what, records, inspect, reason) in table {
        let missing = http::json(404, r#"{"message":"not there"}"#);
        let inspect = inspect.map_or(missing, inspected);
        let script = [("POST /build", stream(records)), (INSPECT, inspect)];
        let found = failure(&FakeEngine::new(&script), &[]);
        assert_eq!((found.0, found.1.as_str()), (1, "error"), "{what}: {}", found.2);
        assert!(found.2.contains(reason), "{what}: {}", found.2);
    }
}

#[test]
fn failed_build_is_reported_with_the_engines_message() {
    let record = r#"{"errorDetail":{"message":"exit code: 9"},"error":"exit code: 9"}"#;
    let found = failure(&FakeEngine::new(&[("POST /build", stream(&[record]))]), &[]);
    assert_eq!(found, (1, "error".to_owned(), "exit code: 9".to_owned()));
}

#[test]
fn broken_connection_is_a_connection_error() {
    let cut = Reply::Cut(r#"{"stream":"Step 1/1 : FROM x\n"}"#.to_owned());
    for (what, answer) in [("cut", cut), ("no JSON", json("{nonsense"))] {
        let found = failure(&FakeEngine::new(&[("POST /build", answer)]), &[]);
        assert_eq!((found.0, found.1.as_str()), (3, "connection_error"), "{what}: {}", found.2);
    }
}

/// An answer with an invalid part is not trusted, whatever comes after that part.
#[test]
fn invalid_record_in_an_answer_is_an_error() {
    let step = r#"{"stream":"Step 1/1 : FROM x\n"}"#;
    for nonsense in ["{nonsense", r#"{"stream":"#, "<html>a proxy speaks</html>", "[1, 2"] {
        let answer = stream(&[step, nonsense, &built(ID)]);
        let engine = FakeEngine::new(&[("POST /build", answer)]);
        let found = failure(&engine, &[]);
        assert_eq!((found.0, found.1.as_str()), (3, "connection_error"), "{nonsense}: {}", found.2);
    }
}

#[test]
fn line_end_in_a_later_record_ends_its_line() {
    let apart = |record: &str| Reply::Parts(vec![record.to_owned(), "\r\n".to_owned()]);
    let digest = format!("127.0.0.1:9/family/one-binary-only@{ID}");
    let engine = FakeEngine::new(&[
        ("POST /build", apart(&built(ID))),
        ("GET /images/127.0.0.1", json(&format!(r#"{{"Id":"{ID}","RepoDigests":["{digest}"]}}"#))),
        ("POST /images/127.0.0.1:9/", apart(&format!(r#"{{"status":"t: digest: {ID} size: 1"}}"#))),
    ]);
    let run = engine.build(&tree(), &["--push", "--registry", "127.0.0.1:9"]).expect(0);
    assert_eq!(run.summary()["built"][0]["digest"], ID);

    let engine = FakeEngine::new(&[("POST /build", apart(r#"{"stream":"Step 1/1 : FROM x"}"#))]);
    let found = failure(&engine, &[]);
    assert_eq!((found.0, found.1.as_str()), (3, "connection_error"), "{}", found.2);
}

#[test]
fn an_engine_that_falls_silent_is_given_up_on() {
    let stall = || Reply::Stall(r#"{"stream":"Step 1/1 : FROM x\n"}"#.to_owned() + "\r\n");
    let engine = FakeEngine::new(&[("POST /build", stall())]);
    let found = failure(&engine, &["--timeout", "1"]);
    assert_eq!((found.0, found.1.as_str()), (3, "connection_error"), "{}", found.2);
    assert!(found.2.contains("no answer from the engine for 1 s"), "{}", found.2);

    let engine = FakeEngine::new(&[
        ("POST /build", stream(&[&built(ID)])),
        ("GET /images/127.0.0.1", inspected(ID)),
        ("POST /images/127.0.0.1:9/", Reply::Stall("{\"status\":\"Preparing\"}\r\n".to_owned())),
    ]);
    let found = failure(&engine, &["--timeout", "1", "--push", "--registry", "127.0.0.1:9"]);
    assert_eq!((found.0, found.1.as_str()), (3, "connection_error"), "{}", found.2);

    let engine = FakeEngine::new(&[
        ("POST /build", stream(&[&built(ID)])),
        (INSPECT, Reply::Stall("{".to_owned())),
    ]);
    let found = failure(&engine, &["--timeout", "1"]);
    assert_eq!((found.0, found.1.as_str()), (3, "connection_error"), "{}", found.2);

    let engine = FakeEngine::new(&[("GET /version", Reply::Stall("{".to_owned()))]);
    let run = engine.build(&tree(), &["--timeout", "1"]).expect(3);
    assert_eq!(run.stdout, "", "{run:?}");
}

#[test]
fn last_output_is_reported_when_a_build_is_given_up() {
    let prompt = r#"{"stream":"Continue? [Y/n] "}"#.to_owned() + "\r\n";
    let ends: [(Reply, &[&str]); 3] = [
        (Reply::Stall(prompt.clone()), &["--timeout", "1"]),
        (Reply::Cut(prompt.clone()), &[]),
        (stream(&[prompt.trim(), r#"{"errorDetail":{"message":"no"},"error":"no"}"#]), &[]),
    ];
    for (answer, arguments) in ends {
        let run = FakeEngine::new(&[("POST /build", answer)]).build(&tree(), arguments);
        assert!(run.stderr.contains("only | Continue? [Y/n]\n"), "{run:?}");
    }
}

/// A line of 24 MB in records of 12 kB, which fits in the memory only if most of it is passed on.
#[test]
fn endless_line_uses_bounded_memory() {
    let record = format!(r#"{{"stream":"{}"}}"#, "a".repeat(12_000)) + "\r\n";
    let answer = Reply::Parts([vec![record; 2000], vec![built(ID)]].concat());
    let engine = FakeEngine::new(&[("POST /build", answer)]);
    let tree = tree();
    let logs = tree.path().join("logs");
    engine.build(&tree, &["--quiet", "--logs-dir", logs.to_str().unwrap()]).expect(0);
    let log = fs::read_to_string(logs.join("only.log")).unwrap();
    let lengths: Vec<usize> =
        log.lines().filter(|line| line.starts_with("aaa")).map(str::len).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 24_000_000);
    assert!(lengths.iter().all(|length| *length <= 64 << 10), "{:?}", lengths.iter().max());
}

#[test]
fn build_arguments_that_fit_in_no_request_are_refused_before_any_build() {
    let engine = FakeEngine::new(&[("POST /build", stream(&[&built(ID)]))]);
    let argument = |size| format!("BIG:{}", "x".repeat(size));
    let small = argument(40_000);
    engine.build(&tree(), &["--build-args", "A:1", "--build-args", &small]).expect(0);
    engine.server.forget();
    for argument in [argument(70_000), format!("BIG:{}", "ä".repeat(10_000))] {
        let run = engine.build(&tree(), &["--build-args", "A:1", "--build-args", &argument]);
        let run = run.expect(2);
        assert!(run.stderr.contains("error: the build arguments need "), "{run:?}");
        assert!(run.stderr.contains("--build-args") && run.stderr.contains("BIG"), "{run:?}");
        assert!(!run.stderr.contains("xxx"), "{run:?}");
    }
    let asked = engine.calls();
    assert!(!asked.iter().any(|request| request.starts_with("POST /build")), "{asked:?}");
}

#[test]
fn a_request_that_cannot_be_made_is_not_made_again() {
    let engine = FakeEngine::new(&[("POST /build", stream(&[&built(ID)]))]);
    let network = "x".repeat(70_000);
    let run = engine.build(&tree(), &["--network-mode", &network, "--retries", "2"]).expect(1);
    assert_eq!(run.names("failed"), ["only error"]);
    let entry = &run.summary()["failed"][0];
    assert_eq!(entry["attempts"], 1, "{entry}");
    assert!(entry["reason"].as_str().unwrap().contains("uri too long"), "{entry}");
}

#[test]
fn a_push_needs_the_digest_that_the_engine_knows() {
    let digest = format!("127.0.0.1:9/family/one-binary-only@{ID}");
    let inspect = format!(r#"{{"Id":"{ID}","RepoDigests":["{digest}"]}}"#);
    let status = |digest: &str| format!(r#"{{"status":"t: digest: {digest} size: 1"}}"#);
    let denied = r#"{"errorDetail":{"message":"denied"},"error":"denied"}"#.to_owned();
    let table = [
        (status(ID), None),
        (status(OTHER_ID), Some("does not have")),
        (r#"{"status":"Pushed"}"#.to_owned(), Some("without the registry's digest")),
        (denied, Some("denied")),
    ];
    for (record, reason) in table {
        let engine = FakeEngine::new(&[
            ("POST /build", stream(&[&built(ID)])),
            ("GET /images/127.0.0.1", json(&inspect)),
            ("POST /images/127.0.0.1:9/family/one-binary-only/push", stream(&[&record])),
        ]);
        let run = engine.build(&tree(), &["--push", "--registry", "127.0.0.1:9"]);
        match reason {
            None => assert_eq!(run.expect(0).summary()["built"][0]["digest"], ID),
            Some(reason) => {
                let run = run.expect(1);
                let entry = &run.summary()["failed"][0];
                assert_eq!(entry["status"], "push_error");
                assert!(entry["reason"].as_str().unwrap().contains(reason), "{entry}");
            }
        }
    }
}

#[test]
fn existing_images_are_asked_for_in_one_call() {
    let listed = r#"[{"Id":"i","ParentId":"","RepoTags":["family/one-binary-only:t","<none>:<none>"],"RepoDigests":[],"Created":0,"Size":0,"SharedSize":0,"Labels":{},"Containers":0}]"#;
    let engine = FakeEngine::new(&[("GET /images/json", json(listed))]);
    let run = engine.build(&tree(), &["--skip-existing"]).expect(0);
    assert_eq!(run.names("skipped"), ["only"]);
    let asked = engine.calls();
    assert_eq!(asked.iter().filter(|request| request.contains("/images/")).count(), 1, "{asked:?}");
}

#[test]
fn credentials_come_from_the_clients_configuration_and_are_not_printed() {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let folder = tempfile::tempdir().unwrap();
    let secret = base64.encode("someone:planted-secret");
    let config = format!(r#"{{"auths":{{"127.0.0.1:9":{{"auth":"{secret}"}}}}}}"#);
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let engine = FakeEngine::new(&[
        ("POST /build", stream(&[&built(ID)])),
        ("GET /images/127.0.0.1", inspected(ID)),
        ("POST /images/127.0.0.1:9/", stream(&[r#"{"errorDetail":{"message":"denied"}}"#])),
    ]);
    let tree = tree();
    let mut command = tree.command(&["--nobuildkit", "-d", "--push", "--registry", "127.0.0.1:9"]);
    command.env("DOCKER_HOST", format!("tcp://{}", engine.server.address()));
    command.env("DOCKER_CONFIG", folder.path());
    let run = Run::of(command).expect(1);
    assert!(!format!("{run:?}").contains("planted-secret"), "{run:?}");
    assert!(!format!("{run:?}").contains(&secret), "{run:?}");
    let asked = engine.server.asked();
    let push = asked.iter().find(|request| request.call().starts_with("POST /images/127")).unwrap();
    let header = base64.decode(push.header("x-registry-auth")).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["username"], "someone");
    assert_eq!(header["password"], "planted-secret");
}
