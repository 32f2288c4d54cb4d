//! Shared helpers of the tests: small template trees, the program under test, and container
//! engines.

pub mod browser;
pub mod changes;
pub mod checkout;
pub mod family;
pub mod http;
pub mod idle;
pub mod kolla;
pub mod registry;
pub mod registry_proxy;
pub mod tmpfs;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Template tree in a temporary folder, on the base `one`, which is `debian:bookworm`.
pub struct TestTree {
    folder: tempfile::TempDir,
    namespace: String,
    engine: Engine,
}

const MANIFEST: &str = r#"
profiles = "profiles"
[defaults]
base = "one"
install_type = "binary"
[bases.one]
image = "debian"
tag = "bookworm"
package_type = "deb"
package_manager = "apt"
install_types = ["binary", "source"]
[users]
app = { uid = 1, gid = 2 }
"#;

/// Manifest of a tree whose images are built from sources.
pub const FETCHING: &str = r#"
[defaults]
base = "one"
install_type = "source"
[bases.one]
image = "debian"
tag = "bookworm"
package_type = "deb"
package_manager = "apt"
install_types = ["source"]
[install_types.source]
fetches_sources = true
"#;

impl TestTree {
    /// Creates a tree of `name: template` pairs; `@x` in a template stands for the reference of
    /// image `x`.
    pub fn new(images: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test").rsplit("::").next().unwrap_or("test").to_owned();
        let namespace = format!("kiln-test/{}-{}", test.replace('_', "-"), std::process::id());
        let tree = Self { folder, namespace, engine: Engine::Docker };
        tree.write("tree.toml", MANIFEST);
        for (name, template) in images {
            tree.image(name, template);
        }
        tree
    }

    /// Gives the images a namespace that is the same in every run, for snapshots.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Builds the images with `engine`.
    pub fn on(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Adds an image, or replaces it.
    pub fn image(&self, name: &str, template: &str) {
        let sibling = regex::Regex::new("@([a-z][a-z-]*)").expect("a literal");
        let reference = "{{ namespace }}/{{ image_prefix }}$1:{{ tag }}";
        let text = sibling.replace_all(template, reference);
        self.write(&format!("{name}/Dockerfile.tera"), &text);
    }

    /// Writes a file of the tree.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the tree")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// Returns the tree's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the namespace of the tree's images, which no other test uses.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the reference of an image, with the tag `t`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/one-binary-{name}:t", self.namespace)
    }

    /// Runs `kiln build` on the tree, without pulling the base.
    pub fn build(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// Returns the command that [`TestTree::build`] runs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = kiln();
        command.args(["build", "--nopull", "--tag", "t", "--retries", "0", "--namespace"]);
        command.arg(&self.namespace).arg("--tree").arg(self.path());
        command.args(self.engine.options()).args(arguments);
        command.env("XDG_STATE_HOME", self.folder.path().join(".state"));
        command
    }
}

/// Returns the program under test, in an environment without any configuration of this machine.
pub fn kiln() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("kiln"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KILN_") {
            command.env_remove(name);
        }
    }
    command
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"))
        .env("COLUMNS", "100")
        .env_remove("CI")
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITLAB_CI")
        .env_remove("RUST_BACKTRACE");
    command
}

/// Returns a command that runs `command` in the place of a shell that has run `script` before.
pub fn in_shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{script}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Result of a run of the program.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Self {
        Self::from(command.output().expect("the program starts"))
    }

    /// Returns the summary on standard output.
    pub fn summary(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}\n{self:?}"))
    }

    /// Returns the names in one of the summary's lists; a failed image's name is followed by its
    /// status.
    pub fn names(&self, list: &str) -> Vec<String> {
        let summary = self.summary();
        let entries = summary[list].as_array().unwrap_or_else(|| panic!("no list {list}"));
        let name = |entry: &Value| {
            let name = entry["name"].as_str().expect("a name").to_owned();
            match entry["status"].as_str() {
                Some(status) if list == "failed" => format!("{name} {status}"),
                _ => name,
            }
        };
        entries.iter().map(name).collect()
    }

    /// Fails the test unless the run ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Returns the exit code and all output in the form of a snapshot; `replacements` are applied
    /// in order.
    pub fn shown(&self, replacements: &[(&str, &str)]) -> String {
        let text = format!(
            "exit {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        );
        replaced(&text, replacements.iter().copied())
    }
}

/// Replaces patterns in a text, one after the other.
pub fn replaced<'a>(
    text: &str,
    replacements: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    replacements.into_iter().fold(text.to_owned(), |text, (from, to)| {
        regex::Regex::new(from).expect("a pattern").replace_all(&text, to).into_owned()
    })
}

/// Replaces messages of newer engines about instructions with those of older ones.
pub fn in_older_words(text: &str) -> String {
    let failed = r#"process \\?"(.+?)\\?" did not complete successfully"#;
    let words = [
        (failed, "executor failed running [$1]"),
        (" ---> Removed intermediate", "Removing intermediate"),
        (r"(\n.*\[internal\] load metadata .*)(\n.*\[internal\] load \.dockerignore)", "$2$1"),
    ];
    replaced(text, words)
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown(&[]))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Container engine of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Docker, at the address in `DOCKER_HOST`.
    Docker,
    /// Podman, at the address in `KILN_TEST_PODMAN`.
    Podman,
}

impl Engine {
    /// Runs the `docker` client against the engine: both engines support it.
    #[track_caller]
    pub fn client(self, arguments: &[&str]) -> Run {
        let mut command = Command::new("docker");
        if self == Self::Podman {
            command.env("DOCKER_HOST", podman_host());
        }
        command.args(arguments);
        Run::of(command)
    }

    /// Returns the options by which Kiln builds with the engine.
    fn options(self) -> Vec<String> {
        match self {
            Self::Docker => Vec::new(),
            Self::Podman => ["--engine", "podman", "--podman_base_url", &podman_host()]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    /// Fails the test unless the engine and its base image are available: without them, a test
    /// would prove nothing.
    #[track_caller]
    pub fn require(self) {
        let found = self.client(&["image", "inspect", "--format", "{{.Id}}", "debian:bookworm"]);
        assert!(
            found.code == 0,
            "these tests need engines with debian:bookworm: run 'make engine podman' and\n\
             eval \"$(scripts/engine env)\"\n{found:?}"
        );
    }

    /// Returns the engine's id for a reference; empty if it has none.
    pub fn image_id(self, reference: &str) -> String {
        let found = self.client(&["image", "inspect", "--format", "{{.Id}}", reference]);
        found.stdout.trim().to_owned()
    }

    /// Returns the text of a file in an image.
    pub fn file_in(self, reference: &str, path: &str) -> String {
        let container = self.client(&["create", reference, "true"]).expect(0).stdout;
        let container = container.trim();
        let copied = self.client(&["cp", &format!("{container}:{path}"), "-"]).expect(0).stdout;
        self.client(&["rm", container]).expect(0);
        let mut archive = tar::Archive::new(copied.as_bytes());
        let mut entry = archive.entries().expect("an archive").next().expect("an entry");
        let mut text = String::new();
        let entry = entry.as_mut().expect("a readable entry");
        std::io::Read::read_to_string(entry, &mut text).expect("a text");
        text
    }
}

#[track_caller]
fn podman_host() -> String {
    std::env::var("KILN_TEST_PODMAN")
        .expect("these tests need Podman: run 'make podman' and eval \"$(scripts/engine env)\"")
}

/// Runs the `docker` client against Docker.
#[track_caller]
pub fn docker(arguments: &[&str]) -> Run {
    Engine::Docker.client(arguments)
}

/// Fails the test unless Docker and its base image are available.
#[track_caller]
pub fn require_engine() {
    Engine::Docker.require();
}

/// Returns the registry of the tests, as host:port.
#[track_caller]
pub fn registry() -> String {
    std::env::var("KILN_TEST_REGISTRY")
        .expect("these tests need a registry: run 'make engine' and eval \"$(scripts/engine env)\"")
}

/// Pulls every image of a summary's `built` list into Docker, by its pushed digest.
#[track_caller]
pub fn pull_all_by_digest(built: &[Value]) {
    for entry in built {
        let reference = entry["reference"].as_str().expect("a reference");
        let (name, _) = reference.rsplit_once(':').expect("a tag");
        let by_digest = format!("{name}@{}", entry["digest"].as_str().expect("a digest"));
        docker(&["pull", &by_digest]).expect(0);
        docker(&["image", "rm", &by_digest]);
    }
}

/// Guard that removes the images of a namespace at the end of the test.
pub struct Cleanup {
    namespace: String,
    engine: Engine,
}

impl Cleanup {
    /// Creates the guard for images in Docker.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self::of(Engine::Docker, namespace)
    }

    /// Creates the guard for images in `engine`.
    pub fn of(engine: Engine, namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), engine }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let listed = self.engine.client(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
        let prefix = format!("{}/", self.namespace);
        let images: Vec<&str> =
            listed.stdout.lines().filter(|name| name.starts_with(&prefix)).collect();
        // With `--force`, Podman also removes the other names of an image, which may belong to
        // another test.
        let force: &[&str] = match self.engine {
            Engine::Docker => &["--force"],
            Engine::Podman => &[],
        };
        if !images.is_empty() {
            self.engine.client(&[&["image", "rm"], force, &images].concat());
        }
    }
}

/// Waits until `holds` returns true, for a minute at most.
#[track_caller]
pub fn wait_for(what: &str, holds: impl FnMut() -> bool) {
    wait_within(Duration::from_secs(60), what, holds);
}

/// Waits until `holds` returns true, for `limit` at most.
#[track_caller]
pub fn wait_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns unused loopback ports, no two of them the same.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let bound = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    bound.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// Returns all files below a folder with their text, by path.
pub fn files_below(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below").display().to_string();
                found.insert(name, fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    found
}

/// Creates a git repository in a folder and commits all files.
pub fn commit(folder: &Path) {
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=first"],
    ] {
        let status = Command::new("git").arg("-C").arg(folder).args(arguments).status().unwrap();
        assert!(status.success());
    }
}
