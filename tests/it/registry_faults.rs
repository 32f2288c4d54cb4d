//! Faulty registries: a real one behind a proxy of the test, which answers in the registry's place,
//! or closes the connection, a given number of times.

use std::sync::{Arc, Mutex};

use crate::support::registry::Registry;
use crate::support::registry_proxy::{self, Asked, RegistryProxy, answer};
use crate::support::tmpfs::Tmpfs;
use crate::support::{Cleanup, Run, TestTree, docker, pull_all_by_digest, require_engine};

#[derive(Clone, Copy)]
enum Misdeed {
    /// Answers with this status, these headers and this body.
    Answer(u16, &'static str, &'static str),
    /// Reads a part of the request's body, if it has one, and closes the connection.
    Cut,
}

/// Fault in place of the answer to the first requests with this method and with `word` in their
/// path.
#[derive(Clone, Copy)]
struct Fault {
    method: &'static str,
    word: &'static str,
    times: usize,
    misdeed: Misdeed,
}

/// Registry with faults.
struct Faulty {
    address: String,
    faults: Arc<Mutex<Vec<Fault>>>,
    proxy: RegistryProxy,
}

impl Faulty {
    fn new() -> Self {
        let faults = Arc::<Mutex<Vec<Fault>>>::default();
        let to_do = faults.clone();
        let proxy = RegistryProxy::new(move |asked| misdeed(asked, &mut to_do.lock().unwrap()));
        Self { address: proxy.address.clone(), faults, proxy }
    }

    /// Sets the faults from now on, and clears the recorded requests.
    fn has(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.to_vec();
        self.proxy.forget();
    }

    /// Returns the number of requests that were begun with this method and with `word` in their
    /// path.
    fn was_asked(&self, method: &str, word: &str) -> usize {
        self.proxy.was_asked(method, word)
    }
}

fn misdeed(asked: &Asked, faults: &mut [Fault]) -> Option<registry_proxy::Misdeed> {
    let fault = faults.iter_mut().find(|fault| {
        fault.times > 0 && asked.method == fault.method && asked.has_in_path(fault.word)
    })?;
    fault.times -= 1;
    Some(match fault.misdeed {
        Misdeed::Answer(status, headers, body) => answer(status, headers, body),
        Misdeed::Cut => registry_proxy::Misdeed::Cut,
    })
}

const ALWAYS: usize = usize::MAX;

/// Returns a fault in the last part of a push.
fn of_manifests(times: usize, misdeed: Misdeed) -> Vec<Fault> {
    vec![Fault { method: "PUT", word: "/manifests/", times, misdeed }]
}

fn of_layers(times: usize, misdeed: Misdeed) -> Vec<Fault> {
    vec![Fault { method: "PATCH", word: "/blobs/uploads/", times, misdeed }]
}

struct Family {
    tree: TestTree,
    registry: Faulty,
    _cleanup: Cleanup,
}

impl Family {
    fn new() -> Self {
        require_engine();
        let registry = Faulty::new();
        let tree = TestTree::new(&[("only", "FROM scratch\nCOPY file /file\n")]);
        // No registry has a layer with these bytes, so it is pushed.
        tree.write("only/file", &format!("{}\n", fastrand::u64(..)).repeat(10_000));
        let cleanup = Cleanup::new(format!("{}/{}", registry.address, tree.namespace()));
        Self { tree, registry, _cleanup: cleanup }
    }

    fn push(&self, arguments: &[&str]) -> Run {
        let usual = ["--push", "--registry", &self.registry.address, "--retries", "2"];
        self.tree.build(&[&usual[..], arguments].concat())
    }

    /// Returns the path of the manifest list of several platforms' images, and of nothing else.
    fn list(&self) -> &'static str {
        let reference = self.tree.reference("only");
        let (name, tag) = reference.rsplit_once(':').unwrap();
        format!("{name}/manifests/{tag} ").leak()
    }

    fn reference(&self) -> String {
        format!("{}/{}", self.registry.address, self.tree.reference("only"))
    }
}

const BUSY: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
const UNAUTHORIZED: &str =
    r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
const DENIED: &str = r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#;
const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
const OTHER_DIGEST: &str = "Docker-Content-Digest: sha256:\
                            0000000000000000000000000000000000000000000000000000000000000000\r\n";
const FULL: &str = r#"{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}"#;

#[test]
fn transient_registry_errors_are_retried() {
    let table = [
        ("429", of_manifests(2, Misdeed::Answer(429, "", BUSY))),
        ("429 in words", of_manifests(2, Misdeed::Answer(429, "", "slow down"))),
        ("500", of_manifests(2, Misdeed::Answer(500, "", ""))),
        ("503", of_manifests(2, Misdeed::Answer(503, "", "in maintenance"))),
        ("cut", of_manifests(2, Misdeed::Cut)),
    ];
    for (what, faults) in table {
        let family = Family::new();
        family.registry.has(&faults);
        let run = family.push(&[]);
        assert_eq!(run.code, 0, "{what}: {run:?}");
        let built = &run.summary()["built"][0];
        assert_eq!((&built["attempts"], &built["retries"]), (&1.into(), &2.into()), "{what}");
        assert!(run.stderr.contains(", 2 retries"), "{what}: {run:?}");
        assert_eq!(family.registry.was_asked("PUT", "/manifests/"), 3, "{what}");
        docker(&["image", "rm", "--force", &family.reference()]).expect(0);
        pull_all_by_digest(std::slice::from_ref(built));
    }
}

/// The engine itself sends the layer again.
#[test]
fn layer_that_was_cut_off_is_pushed_again() {
    let family = Family::new();
    family.registry.has(&of_layers(1, Misdeed::Cut));
    let run = family.push(&[]).expect(0);
    docker(&["image", "rm", "--force", &family.reference()]).expect(0);
    pull_all_by_digest(run.summary()["built"].as_array().unwrap());
}

#[test]
fn permanent_registry_errors_are_reported_after_all_retries() {
    let table = [
        ("500", Misdeed::Answer(500, "", ""), "500", 2),
        ("503", Misdeed::Answer(503, "", "in maintenance"), "503", 2),
        ("429", Misdeed::Answer(429, "", BUSY), "slow down", 2),
        ("full", Misdeed::Answer(507, "", FULL), "507", 2),
        ("full, in words", Misdeed::Answer(500, "", FULL), "500", 2),
        ("401", Misdeed::Answer(401, "", UNAUTHORIZED), "unauthorized", 1),
        ("403", Misdeed::Answer(403, "", DENIED), "denied", 1),
    ];
    for (what, misdeed, told, retries) in table {
        let family = Family::new();
        family.registry.has(&of_manifests(ALWAYS, misdeed));
        let run = family.push(&[]);
        assert_eq!(run.code, 1, "{what}: {run:?}");
        assert_eq!(run.names("failed"), ["only push_error"], "{what}");
        let failed = &run.summary()["failed"][0];
        assert_eq!(failed["retries"], retries, "{what}: {failed}");
        assert!(failed["reason"].as_str().unwrap().contains(told), "{what}: {failed}");
        assert_eq!(family.registry.was_asked("PUT", "/manifests/"), retries + 1, "{what}");
        // The image is in the engine, but is not considered pushed.
        family.registry.has(&[]);
        let next = family.push(&["--skip-unchanged"]).expect(0);
        assert_eq!(next.names("built"), ["only"], "{what}");
        assert!(family.push(&["--skip-unchanged"]).expect(0).names("built").is_empty(), "{what}");
    }
}

/// The registry's own disk is full, as opposed to an answer that says so.
#[test]
fn a_registry_without_space_fails_the_push_until_it_has_some() {
    require_engine();
    let registry = Registry::open();
    let small = Tmpfs::new(&registry.folder.path().join("data"), 1);
    let tree = TestTree::new(&[("only", "FROM scratch\nCOPY file /file\n")]);
    tree.write("only/file", &(0..400_000).map(|_| fastrand::alphanumeric()).collect::<String>());
    tree.image("large", "FROM scratch\nCOPY file /file\n");
    tree.write("large/file", &(0..4_000_000).map(|_| fastrand::alphanumeric()).collect::<String>());
    let _cleanup = Cleanup::new(format!("{}/{}", registry.address, tree.namespace()));
    let push = |more: &[&str]| {
        let usual = ["--push", "--registry", &registry.address, "--retries", "0"];
        tree.build(&[&usual[..], more].concat())
    };
    let run = push(&[]).expect(1);
    assert_eq!(run.names("failed"), ["large push_error"], "{run:?}");
    assert_eq!(run.names("built"), ["only"], "{run:?}");
    small.grow(64);
    let run = push(&["--skip-unchanged"]).expect(0);
    assert_eq!(run.names("built"), ["large"], "{run:?}");
    pull_all_by_digest(run.summary()["built"].as_array().unwrap());
}

#[test]
fn layer_that_is_always_cut_off_fails_the_push() {
    let family = Family::new();
    family.registry.has(&of_layers(ALWAYS, Misdeed::Cut));
    let run = family.push(&["--retries", "0"]);
    assert_eq!(run.code, 3, "{run:?}");
    family.registry.has(&[]);
    assert_eq!(family.push(&["--skip-unchanged"]).expect(0).names("built"), ["only"]);
}

/// Returns faults in the requests after a push: those for manifests with `word` in their path.
fn of_questions(word: &'static str, times: usize, misdeed: Misdeed) -> Vec<Fault> {
    ["HEAD", "GET"].map(|method| Fault { method, word, times, misdeed }).to_vec()
}

/// A registry that serves other content than it was sent is as bad as one that stored nothing; this
/// holds for images, and for lists of correct images.
#[test]
fn served_digest_must_match_the_pushed_one() {
    let table = [
        (
            "another digest",
            Misdeed::Answer(200, OTHER_DIGEST, ""),
            "the registry serves sha256:0000",
        ),
        ("nothing", Misdeed::Answer(404, "", UNKNOWN), "the registry does not have"),
    ];
    for (what, misdeed, told) in table {
        for axes in [&[][..], &["--platform", "amd64,arm64"]] {
            let family = Family::new();
            let word = if axes.is_empty() { "/manifests/" } else { family.list() };
            family.registry.has(&of_questions(word, ALWAYS, misdeed));
            let run = family.push(&[axes, &["--retries", "1"]].concat()).expect(1);
            let failed = run.summary()["failed"].as_array().unwrap().clone();
            assert_eq!(failed.len(), axes.len().max(1), "{what}: {run:?}");
            for failed in failed {
                assert_eq!(failed["status"], "push_error", "{what}: {failed}");
                assert!(failed["reason"].as_str().unwrap().contains(told), "{what}: {failed}");
                assert!(!axes.is_empty() || failed["retries"] == 1, "{what}: {failed}");
            }
            assert_eq!(family.registry.was_asked("PUT", word), 2, "{what}: {run:?}");
            family.registry.has(&[]);
            family.push(&[axes, &["--skip-unchanged"]].concat()).expect(0);
        }
        let family = Family::new();
        family.registry.has(&of_questions("/manifests/", 1, misdeed));
        let run = family.push(&[]).expect(0);
        assert_eq!(run.summary()["built"][0]["retries"], 0, "{what}: {run:?}");
        assert_eq!(family.registry.was_asked("PUT", "/manifests/"), 1, "{what}: {run:?}");
    }
}

/// Replicas and caches may serve what was pushed a moment later: Kiln asks again for a while.
#[test]
fn image_that_is_served_late_is_pushed_once() {
    let nothing = Misdeed::Answer(404, "", UNKNOWN);
    let former = Misdeed::Answer(200, OTHER_DIGEST, "");
    for (what, misdeed) in [("nothing", nothing), ("the former digest", former)] {
        for axes in [&[][..], &["--platform", "amd64,arm64"]] {
            let family = Family::new();
            let word = if axes.is_empty() { "/manifests/" } else { family.list() };
            family.registry.has(&[Fault { method: "HEAD", word, times: 4, misdeed }]);
            family.push(axes).expect(0);
            assert_eq!(family.registry.was_asked("PUT", word), 1, "{what}");
            assert_eq!(family.registry.was_asked("HEAD", word), 5, "{what}");
        }
    }
}

/// The engine may reach a registry that Kiln can't reach.
#[test]
fn registry_that_cannot_be_queried_is_believed() {
    let table = [
        ("500", Misdeed::Answer(500, "", "")),
        ("401", Misdeed::Answer(401, "", UNAUTHORIZED)),
        ("cut", Misdeed::Cut),
    ];
    for (what, misdeed) in table {
        let family = Family::new();
        family.registry.has(&of_questions("/manifests/", ALWAYS, misdeed));
        let run = family.push(&["--debug"]).expect(0);
        let told = "can't be confirmed in the registry";
        assert!(run.stderr.contains(told) || run.stdout.contains(told), "{what}: {run:?}");
    }
}

/// When Kiln itself pushes to a registry, it waits as long as `Retry-After` asks for.
#[test]
fn push_of_a_list_waits_for_retry_after() {
    let family = Family::new();
    let list = family.list();
    let busy = Misdeed::Answer(429, "Retry-After: 3\r\n", BUSY);
    family.registry.has(&[Fault { method: "PUT", word: list, times: 1, misdeed: busy }]);
    let run = family.push(&["--platform", "amd64,arm64"]).expect(0);
    assert!(run.stderr.contains("3.0s"), "{run:?}");
    assert_eq!(family.registry.was_asked("PUT", list), 2);
    assert_eq!(run.summary()["lists"].as_array().unwrap().len(), 1);
}

#[test]
fn survey_retries_transient_errors() {
    let family = Family::new();
    family.push(&[]).expect(0);
    let unavailable = Misdeed::Answer(503, "Retry-After: 1\r\n", "");
    let fault = |method, times, misdeed| Fault { method, word: "/manifests/", times, misdeed };
    family.registry.has(&[fault("GET", 2, unavailable)]);
    let run = family.push(&["--skip-unchanged=registry"]).expect(0);
    assert_eq!(run.names("skipped"), ["only"]);
    assert_eq!(family.registry.was_asked("GET", "/manifests/"), 3);

    // The labels of the digest are known now, so only the digest is requested.
    family.registry.has(&[fault("HEAD", ALWAYS, unavailable)]);
    let run = family.push(&["--skip-unchanged=registry"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("503"), "{run:?}");
    assert_eq!(family.registry.was_asked("HEAD", "/manifests/"), 3);

    // Without a push, an image that can't be seen is an error; a refusal is asked once more.
    let denied = Misdeed::Answer(401, "", UNAUTHORIZED);
    family.registry.has(&[fault("HEAD", ALWAYS, denied)]);
    let usual = ["--registry", &family.registry.address, "--retries", "2"];
    let of_registry = [&usual[..], &["--skip-unchanged=registry"]].concat();
    docker(&["image", "rm", "--force", &family.reference()]).expect(0);
    let run = family.tree.build(&of_registry).expect(1);
    assert!(run.stderr.contains(&family.reference()), "{run:?}");
    assert_eq!(family.registry.was_asked("HEAD", "/manifests/"), 2);
}
