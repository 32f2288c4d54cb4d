//! Habits of public registries: how each answers about images that are not there, that one may not
//! see, or that can't be pushed. A real registry is behind a proxy of the test that has one habit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::registry::AUTH;
use crate::support::registry_proxy::{Asked, Misdeed, RegistryProxy, answer, refusal};
use crate::support::{Cleanup, Engine, Run, TestTree};

/// Images that were pushed, as tags by repository, and the number of requests of each kind.
#[derive(Debug, Default)]
struct Seen {
    tags: BTreeMap<String, BTreeSet<String>>,
    counts: BTreeMap<String, usize>,
}

impl Seen {
    fn has(&self, repository: &str) -> bool {
        self.tags.contains_key(repository)
    }

    /// Returns true for the first `times` requests of a kind.
    fn is_among_first(&mut self, times: usize, kind: &str) -> bool {
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        *count <= times
    }
}

/// Registry in which nobody needs a password.
fn open(_: &Asked, _: &mut Seen, _: &str) -> Option<Misdeed> {
    None
}

/// Distribution 3 names the tag.
fn distribution_3(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    let (repository, place) = asked.place()?;
    let is_question = !asked.is_push() && place.starts_with("manifests/");
    let unknown = is_question && !seen.has(repository);
    unknown.then(|| refusal(404, "MANIFEST_UNKNOWN", "unknown tag"))
}

/// Returns a challenge for a token of a service at the registry's own address.
fn bearer(address: &str) -> Misdeed {
    let header = format!(
        "WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"registry\"\r\n"
    );
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"access to the requested resource is not authorized"}]}"#;
    answer(401, header, body)
}

/// Returns the answer of a registry whose token service gives a token to the user for any scope; the
/// token lets one do everything but look at a repository that does not exist.
fn hides_by_token(asked: &Asked, seen: &mut Seen, address: &str) -> Option<Misdeed> {
    if asked.path.starts_with("/token") {
        let is_user = asked.authorization == format!("Basic {AUTH}");
        let token = if is_user { "users" } else { "nobodys" };
        return Some(answer(200, "", format!(r#"{{"token":"{token}"}}"#)));
    }
    if asked.authorization != "Bearer users" {
        return Some(bearer(address));
    }
    let (repository, _) = asked.place()?;
    (!asked.is_push() && !seen.has(repository) && is_kilns(asked)).then(|| bearer(address))
}

/// Returns true for a question that no engine asks in the course of a push.
fn is_kilns(asked: &Asked) -> bool {
    asked.place().is_some_and(|(_, place)| place.starts_with("manifests/t"))
}

/// Docker Hub has limits besides.
fn docker_hub(asked: &Asked, seen: &mut Seen, address: &str) -> Option<Misdeed> {
    if is_kilns(asked) && !asked.is_push() && seen.is_among_first(2, "question") {
        return Some(refusal(429, "TOOMANYREQUESTS", "You have reached your pull rate limit."));
    }
    hides_by_token(asked, seen, address)
}

/// The token service itself refuses to give a token for what is not there.
fn hides_at_token_service(asked: &Asked, seen: &mut Seen, address: &str) -> Option<Misdeed> {
    if let Some(query) = asked.path.strip_prefix("/token?") {
        let is_of_pull = query.contains("%3Apull&") || query.ends_with("%3Apull");
        let is_known = seen.tags.keys().any(|known| query.contains(&known.replace('/', "%2F")));
        if is_of_pull && !is_known {
            return Some(refusal(403, "DENIED", "access forbidden"));
        }
        return Some(answer(200, "", r#"{"token":"users"}"#));
    }
    (asked.authorization != "Bearer users").then(|| bearer(address))
}

/// Returns the answer of a registry that wants the user's password; `None` if it has it.
fn basic(asked: &Asked) -> Option<Misdeed> {
    let is_user = asked.authorization == format!("Basic {AUTH}");
    (!is_user).then(|| answer(401, "WWW-Authenticate: Basic realm=\"x\"\r\n", ""))
}

/// Artifactory's virtual repositories.
fn forbids(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    basic(asked).or_else(|| {
        let (repository, _) = asked.place()?;
        let is_hidden = !asked.is_push() && is_kilns(asked) && !seen.has(repository);
        is_hidden.then(|| answer(403, "", "Forbidden"))
    })
}

/// ECR, whose repositories are made by a push or were made before.
fn names_the_repository(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    basic(asked).or_else(|| {
        let (repository, place) = asked.place()?;
        let is_unknown =
            !asked.is_push() && place.starts_with("manifests/") && !seen.has(repository);
        is_unknown.then(|| no_such_repository(repository))
    })
}

fn no_such_repository(repository: &str) -> Misdeed {
    let message = format!(
        "The repository with name '{repository}' does not exist in the registry with id '123456789012'"
    );
    refusal(404, "NAME_UNKNOWN", &message)
}

/// Harbor under load denies what it allows a moment later.
fn denies_once(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    let is_manifest = asked.method == "PUT" && asked.place()?.1.starts_with("manifests/");
    (is_manifest && seen.is_among_first(1, "manifest"))
        .then(|| refusal(401, "UNAUTHORIZED", "unauthorized to access repository, action: push"))
}

type Habit = fn(&Asked, &mut Seen, &str) -> Option<Misdeed>;

/// Registry with one habit, and a family of images.
struct Night {
    tree: TestTree,
    proxy: RegistryProxy,
    config: tempfile::TempDir,
    _cleanup: Cleanup,
}

impl Night {
    fn new(engine: Engine, habit: Habit) -> Self {
        engine.require();
        let tree = TestTree::new(&[
            ("base", "FROM scratch\nCOPY file /file\n"),
            ("app", "FROM @base\nCOPY file /app\n"),
        ])
        .on(engine);
        for name in ["base", "app"] {
            tree.write(&format!("{name}/file"), &format!("{}\n", fastrand::u64(..)));
        }
        let seen = Mutex::new(Seen::default());
        let address = Arc::new(Mutex::new(String::new()));
        let own = address.clone();
        let proxy = RegistryProxy::new(move |asked| {
            let mut seen = seen.lock().unwrap();
            let misdeed = habit(asked, &mut seen, &own.lock().unwrap());
            if misdeed.is_none()
                && asked.method == "PUT"
                && let Some((repository, place)) = asked.place()
                && let Some(tag) = place.strip_prefix("manifests/")
            {
                let tags = seen.tags.entry(repository.to_owned()).or_default();
                tags.insert(tag.to_owned());
            }
            misdeed
        });
        address.lock().unwrap().clone_from(&proxy.address);
        let config = tempfile::tempdir().unwrap();
        let entry = format!(r#"{{"auths":{{"{}":{{"auth":"{AUTH}"}}}}}}"#, proxy.address);
        fs::write(config.path().join("config.json"), entry).unwrap();
        let cleanup = Cleanup::of(engine, format!("{}/{}", proxy.address, tree.namespace()));
        Self { tree, proxy, config, _cleanup: cleanup }
    }

    /// Runs `kiln build` with the only credentials of the test.
    fn run(&self, arguments: &[&str]) -> Run {
        let usual = ["--registry", &self.proxy.address, "--retries", "3"];
        let mut command = self.tree.command(&[&usual[..], arguments].concat());
        command.env("DOCKER_CONFIG", self.config.path());
        command.env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", "/nonexistent");
        Run::of(command)
    }

    /// Runs the command of the files in docs/ci.
    fn nightly(&self) -> Run {
        self.run(&["--push", "--skip-unchanged=registry"])
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{}", self.proxy.address, self.tree.reference(name))
    }
}

const HABITS: &[(&str, Habit, bool)] = &[
    ("distribution 2", open, false),
    ("distribution 3", distribution_3, false),
    ("Docker Hub", docker_hub, true),
    ("Quay, ACR", hides_by_token, true),
    ("GHCR, GitLab", hides_at_token_service, true),
    ("Artifactory", forbids, true),
    ("ECR", names_the_repository, false),
    ("Harbor", denies_once, false),
];

#[test]
fn first_night_on_an_empty_registry_ends_well() {
    for (registry, habit, hides) in HABITS {
        let night = Night::new(Engine::Docker, *habit);
        let first = night.nightly();
        assert_eq!(first.code, 0, "{registry}: {first:?}");
        assert_eq!(first.names("built"), ["app", "base"], "{registry}");
        let warnings = first.stderr.matches("does not show").count();
        assert_eq!(warnings, usize::from(*hides), "{registry}: {first:?}");
        let cure = format!("docker login {}", night.proxy.address);
        assert_eq!(first.stderr.contains(&cure), *hides, "{registry}: {first:?}");

        let second = night.nightly();
        assert_eq!(second.code, 0, "{registry}: {second:?}");
        assert_eq!(second.names("skipped"), ["app", "base"], "{registry}: {second:?}");

        night.tree.image("new", "FROM @base\nCOPY file /new\n");
        night.tree.write("new/file", "new\n");
        let third = night.nightly();
        assert_eq!(third.code, 0, "{registry}: {third:?}");
        assert_eq!(third.names("built"), ["new"], "{registry}: {third:?}");
        assert!(!third.stderr.contains("docker login"), "{registry}: {third:?}");
    }
}

/// Podman reports answers in words of its own.
#[test]
fn first_night_with_podman_ends_well() {
    for (registry, habit) in [("Quay", hides_by_token as Habit), ("Harbor", denies_once)] {
        let night = Night::new(Engine::Podman, habit);
        let first = night.nightly();
        assert_eq!(first.code, 0, "{registry}: {first:?}");
        assert_eq!(first.names("built"), ["app", "base"], "{registry}");
    }
}

#[test]
fn image_that_is_hidden_and_not_pushed_is_an_error_with_a_cure() {
    for (registry, habit, _) in HABITS.iter().filter(|(_, _, hides)| *hides) {
        let night = Night::new(Engine::Docker, *habit);
        let run = night.run(&["--skip-unchanged=registry", "^base$"]).expect(1);
        let file = night.config.path().join("config.json").display().to_string();
        let cure = format!("docker login {}", night.proxy.address);
        for word in [&night.reference("base"), &file, &cure] {
            assert!(run.stderr.contains(word.as_str()), "{registry}: no {word} in {run:?}");
        }
    }
}

/// Returns the answer of a registry that lets nobody move a tag.
fn keeps_tags(asked: &Asked, seen: &Seen, refused: fn(&str) -> Misdeed) -> Option<Misdeed> {
    let (repository, place) = asked.place()?;
    let tag = place.strip_prefix("manifests/").filter(|_| asked.method == "PUT")?;
    let is_taken = seen.tags.get(repository).is_some_and(|tags| tags.contains(tag));
    is_taken.then(|| refused(repository))
}

fn keeps_tags_as_ecr(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    keeps_tags(asked, seen, |repository| {
        let message = format!(
            "The image tag 't' already exists in the '{repository}' repository and cannot be overwritten because the repository is immutable."
        );
        refusal(400, "TAG_INVALID", &message)
    })
}

fn keeps_tags_as_harbor(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    keeps_tags(asked, seen, |repository| {
        let message =
            format!("Failed to process request due to '{repository}:t' configured as immutable.");
        refusal(412, "PRECONDITION", &message)
    })
}

fn keeps_tags_as_acr(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    keeps_tags(asked, seen, |_| {
        let message = "The operation is disallowed on this registry, repository or image.";
        refusal(405, "DENIED", message)
    })
}

fn keeps_tags_as_quay(asked: &Asked, seen: &mut Seen, _: &str) -> Option<Misdeed> {
    keeps_tags(asked, seen, |_| refusal(409, "TAG_IMMUTABLE", "Tag t is immutable"))
}

#[test]
fn immutable_tag_is_pushed_if_the_image_is_the_same_and_refused_once_otherwise() {
    let table: [(&str, Engine, Habit); 6] = [
        ("ECR", Engine::Docker, keeps_tags_as_ecr),
        ("Harbor", Engine::Docker, keeps_tags_as_harbor),
        ("ACR", Engine::Docker, keeps_tags_as_acr),
        ("Quay", Engine::Docker, keeps_tags_as_quay),
        ("ECR", Engine::Podman, keeps_tags_as_ecr),
        ("Harbor", Engine::Podman, keeps_tags_as_harbor),
    ];
    for (registry, engine, habit) in table {
        let night = Night::new(engine, habit);
        let first = night.run(&["--push", "^base$"]).expect(0);
        let again = night.run(&["--push", "^base$"]);
        assert_eq!(again.code, 0, "{registry} {engine:?}: {again:?}");
        let digest = |run: &Run| run.summary()["built"][0]["digest"].clone();
        assert_eq!(digest(&again), digest(&first), "{registry} {engine:?}");

        night.tree.write("base/file", "changed\n");
        night.proxy.forget();
        let other = night.run(&["--push", "^base$"]);
        assert_eq!(other.code, 1, "{registry} {engine:?}: {other:?}");
        assert_eq!(other.names("failed"), ["base push_error"], "{registry} {engine:?}");
        assert_eq!(other.summary()["failed"][0]["retries"], 0, "{registry} {engine:?}: {other:?}");
    }
}

fn creates_nothing(asked: &Asked, _: &mut Seen, _: &str) -> Option<Misdeed> {
    asked.place().map(|(repository, _)| no_such_repository(repository))
}

fn creates_no_project(asked: &Asked, _: &mut Seen, _: &str) -> Option<Misdeed> {
    asked.place().map(|_| refusal(404, "NOT_FOUND", "project kiln-test not found"))
}

#[test]
fn repository_that_has_to_be_created_is_pushed_to_once() {
    for (registry, engine, habit) in [
        ("ECR", Engine::Docker, creates_nothing as Habit),
        ("Harbor", Engine::Docker, creates_no_project),
        ("ECR", Engine::Podman, creates_nothing),
    ] {
        let night = Night::new(engine, habit);
        let run = night.run(&["--push", "^base$"]).expect(1);
        assert_eq!(run.names("failed"), ["base push_error"], "{registry} {engine:?}");
        let failed = &run.summary()["failed"][0];
        assert_eq!(failed["retries"], 0, "{registry} {engine:?}: {run:?}");
    }
}

/// Registry whose first user has another password by now: `me` with `secret`.
fn only_the_new_password(asked: &Asked, _: &mut Seen, _: &str) -> Option<Misdeed> {
    basic(asked)
}

/// Adds a helper to the configuration that gives an outdated password at first, and then so many times
/// the right one.
fn with_rotating_helper(night: &Night) -> String {
    let bin = night.config.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let count = bin.join("asked").display().to_string();
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\nif [ -e {count} ]; then secret=secret; else secret=outdated; fi\n\
         touch {count}\necho '{{\"Username\": \"me\", \"Secret\": \"'$secret'\"}}'\n"
    );
    let helper = bin.join("docker-credential-rotating");
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(r#"{{"credHelpers":{{"{}":"rotating"}}}}"#, night.proxy.address);
    fs::write(night.config.path().join("config.json"), config).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn refused_push_and_question_are_repeated_with_credentials_looked_up_anew() {
    for arguments in [&["--push"][..], &["--push", "--skip-unchanged=registry"]] {
        let night = Night::new(Engine::Docker, only_the_new_password);
        let path = with_rotating_helper(&night);
        let usual = ["--registry", &night.proxy.address, "--retries", "1", "^base$"];
        let mut command = night.tree.command(&[&usual[..], arguments].concat());
        command.env("DOCKER_CONFIG", night.config.path()).env("PATH", &path);
        command.env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", "/nonexistent");
        let run = Run::of(command);
        assert_eq!(run.code, 0, "{arguments:?}: {run:?}");
        assert!(!run.stderr.contains("does not show"), "{run:?}");
        assert!(Path::new(&night.config.path().join("bin/asked")).exists());
    }
}

#[test]
fn registries_with_paths_have_each_its_own_path_and_credentials() {
    let [first, second] = [(); 2].map(|()| Night::new(Engine::Docker, only_the_new_password));
    let entry = |night: &Night| format!(r#""{}":{{"auth":"{AUTH}"}}"#, night.proxy.address);
    let config = format!(r#"{{"auths":{{{},{}}}}}"#, entry(&first), entry(&second));
    fs::write(first.config.path().join("config.json"), config).unwrap();
    let tree = &first.tree;
    let build = |arguments: &[&str]| {
        let places = [
            format!("{}/team", first.proxy.address),
            format!("{}/mirror/of/team", second.proxy.address),
        ];
        let usual = ["--push", "--registry", &places[0], "--registry", &places[1]];
        let mut command = tree.command(&[&usual[..], arguments].concat());
        command.env("DOCKER_CONFIG", first.config.path());
        command.env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", "/nonexistent");
        Run::of(command)
    };
    let pushed = |path: &str, night: &Night| {
        format!("{}/{path}/{}", night.proxy.address, tree.reference("base"))
    };
    let _cleanups = [("team", &first), ("mirror/of/team", &second)].map(|(path, night)| {
        Cleanup::new(format!("{}/{path}/{}", night.proxy.address, tree.namespace()))
    });
    let run = build(&["^base$"]).expect(0);
    let references: Vec<_> = run.summary()["built"][0]["pushed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pushed| pushed["reference"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(references, [pushed("team", &first), pushed("mirror/of/team", &second)]);
    let next = build(&["^base$", "--skip-unchanged=registry"]).expect(0);
    assert_eq!(next.names("skipped"), ["base"], "{next:?}");

    let wrong = format!("https://{}", second.proxy.address);
    let refused = build(&["--registry", &wrong]).expect(2);
    assert!(refused.stderr.contains(&format!("'{wrong}' can't be a registry")), "{refused:?}");
}
