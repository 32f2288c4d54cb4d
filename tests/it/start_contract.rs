//! Start contract of the shipped images: the effects of `kolla_set_configs` for a `config.json`.
//! The script runs unchanged, with a temporary directory as its root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/base/set_configs.py");
const CONFIG: &str = "/var/lib/kolla/config_files/config.json";

/// File system of a container, in a temporary directory.
struct Container {
    root: TempDir,
}

impl Container {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        Self { root }
    }

    /// Creates a container with this `config.json`, in which `ME` stands for the user who runs the
    /// test: everyone may give files to themselves.
    fn with_config(config: &str) -> Self {
        let container = Self::new();
        container.configure(config);
        container
    }

    fn configure(&self, config: &str) {
        let me = format!("{}:{}", id("-un"), id("-gn"));
        self.write(CONFIG, &config.replace("ME", &me));
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().mode() & 0o7777
    }

    fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn command(&self, strategy: &str) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(SCRIPT)
            .arg("--root")
            .arg(self.root.path())
            .env("KOLLA_CONFIG_STRATEGY", strategy)
            .env_remove("KOLLA_CONFIG")
            .env_remove("KOLLA_CONFIG_FILE");
        command
    }

    fn start(&self) {
        succeeds(self.command("COPY_ALWAYS"));
    }

    /// Returns the error of the script when it refuses to start.
    fn refusal(&self) -> String {
        fails(self.command("COPY_ALWAYS"))
    }

    fn check(&self) -> Command {
        let mut command = self.command("");
        command.arg("--check");
        command
    }
}

fn output(mut command: Command) -> Output {
    command.output().expect("python3 runs")
}

fn succeeds(command: Command) {
    let output = output(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// Returns the error message of a command, which must be readable.
fn fails(command: Command) -> String {
    let output = output(command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("kolla_set_configs: "), "{stderr}");
    assert!(!stderr.contains("Traceback"), "{stderr}");
    stderr
}

fn id(option: &str) -> String {
    let output = Command::new("id").arg(option).output().expect("id runs");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_command_is_written_as_it_is() {
    let container = Container::with_config(r#"{"command": "memcached -v  -l 127.0.0.1"}"#);
    container.start();
    assert_eq!(container.read("/run_command"), "memcached -v  -l 127.0.0.1");
}

#[test]
fn a_file_is_copied_with_owner_and_mode() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/a.conf", "dest": "/etc/a/b.conf", "owner": "ME", "perm": "0640"}]}"#,
    );
    container.write("/in/a.conf", "a = 1\n");
    container.write("/etc/a/b.conf", "what the package shipped\n");
    container.start();
    assert_eq!(container.read("/etc/a/b.conf"), "a = 1\n");
    assert_eq!(container.mode("/etc/a/b.conf"), 0o640);
}

#[test]
fn root_alone_changes_owners() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/a", "dest": "/etc/a", "owner": "42457:42400", "perm": "0600"}]}"#,
    );
    container.write("/in/a", "a");
    if id("-u") == "0" {
        container.start();
        let metadata = fs::metadata(container.path("/etc/a")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (42457, 42400));
    } else {
        assert!(container.refusal().contains("Operation not permitted"));
    }
}

#[test]
fn a_glob_fills_a_directory() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/*.conf", "dest": "/etc/a/", "owner": "ME", "perm": "0600"}]}"#,
    );
    container.write("/in/a.conf", "a");
    container.write("/in/b.conf", "b");
    container.write("/in/c.txt", "c");
    container.start();
    assert_eq!(container.read("/etc/a/a.conf"), "a");
    assert_eq!(container.read("/etc/a/b.conf"), "b");
    assert!(!container.exists("/etc/a/c.txt"));
}

#[test]
fn several_sources_do_not_overwrite_each_other() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/*", "dest": "/etc/a", "owner": "ME", "perm": "0600"}]}"#,
    );
    container.write("/in/a", "a");
    container.write("/in/b", "b");
    assert!(container.refusal().contains("/etc/a/"));
    assert!(!container.exists("/etc/a"));
}

#[test]
fn glob_characters_of_a_name_are_literal_on_request() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/[a]", "dest": "/etc/a", "owner": "ME", "perm": "0600", "ignore_globs": true}]}"#,
    );
    container.write("/in/a", "not this one");
    container.write("/in/[a]", "this one");
    container.start();
    assert_eq!(container.read("/etc/a"), "this one");
}

#[test]
fn a_directory_replaces_what_was_there() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/rules", "dest": "/etc/rules", "owner": "ME", "perm": "0640"}]}"#,
    );
    container.write("/in/rules/a", "a");
    container.write("/in/rules/deep/b", "b");
    container.write("/etc/rules/old", "old");
    container.start();
    assert_eq!(container.read("/etc/rules/deep/b"), "b");
    assert!(!container.exists("/etc/rules/old"));
    assert_eq!(container.mode("/etc/rules/a"), 0o640);
    // A user who may read a directory may also enter it.
    assert_eq!(container.mode("/etc/rules/deep"), 0o750);
}

#[test]
fn a_merged_directory_keeps_what_was_there() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/rules", "dest": "/etc/rules", "owner": "ME", "perm": "0640", "merge": true}]}"#,
    );
    container.write("/in/rules/a", "new");
    container.write("/etc/rules/a", "old");
    container.write("/etc/rules/old", "old");
    container.start();
    assert_eq!(container.read("/etc/rules/a"), "new");
    assert_eq!(container.read("/etc/rules/old"), "old");
}

#[test]
fn excluded_files_stay_away() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in", "dest": "/etc/in", "owner": "ME", "perm": "0600",
             "exclude": ["\\.bak$", "/tests$"]}]}"#,
    );
    container.write("/in/a", "a");
    container.write("/in/a.bak", "a");
    container.write("/in/tests/b", "b");
    container.start();
    assert!(container.exists("/etc/in/a"));
    assert!(!container.exists("/etc/in/a.bak"));
    assert!(!container.exists("/etc/in/tests"));
}

#[test]
fn preserved_properties_need_no_owner_and_mode() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/run", "dest": "/usr/bin/run", "preserve_properties": true}]}"#,
    );
    container.write("/in/run", "#!/bin/sh\n");
    container.set_mode("/in/run", 0o751);
    container.start();
    assert_eq!(container.mode("/usr/bin/run"), 0o751);
}

#[test]
fn a_missing_source_is_named() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/nova.conf", "dest": "/etc/nova.conf", "owner": "ME", "perm": "0600"}]}"#,
    );
    assert!(container.refusal().contains("/in/nova.conf does not exist"));
    assert!(!container.exists("/run_command"));
}

#[test]
fn missing_optional_source_is_skipped() {
    let container = Container::with_config(
        r#"{"command": "true", "config_files": [
            {"source": "/in/nova.conf", "dest": "/etc/nova.conf", "owner": "ME", "perm": "0600",
             "optional": true}]}"#,
    );
    container.start();
    assert!(!container.exists("/etc/nova.conf"));
    succeeds(container.check());
}

#[test]
fn permissions_reach_into_directories_when_asked_to() {
    let container = Container::with_config(
        r#"{"command": "true", "permissions": [
            {"path": "/flat", "owner": "ME", "perm": "0700"},
            {"path": "/deep", "owner": "ME", "perm": "0640", "recurse": true, "exclude": ["/keep"]},
            {"path": "/not/there", "owner": "ME"}]}"#,
    );
    for path in ["/flat/a", "/deep/b/c", "/deep/keep"] {
        container.write(path, "");
        container.set_mode(path, 0o604);
    }
    container.start();
    assert_eq!(container.mode("/flat"), 0o700);
    assert_eq!(container.mode("/flat/a"), 0o604);
    assert_eq!(container.mode("/deep/b"), 0o750);
    assert_eq!(container.mode("/deep/b/c"), 0o640);
    assert_eq!(container.mode("/deep/keep"), 0o604);
}

#[test]
fn strategy_decides_if_a_second_start_copies_again() {
    for (strategy, expected) in [("COPY_ALWAYS", "second"), ("COPY_ONCE", "first")] {
        let container = Container::with_config(
            r#"{"command": "first", "config_files": [
                {"source": "/in/a", "dest": "/etc/a", "owner": "ME", "perm": "0600"}]}"#,
        );
        container.write("/in/a", "first");
        succeeds(container.command(strategy));
        container.write("/in/a", "second");
        succeeds(container.command(strategy));
        assert_eq!(container.read("/etc/a"), expected, "{strategy}");
    }
}

#[test]
fn an_unknown_strategy_is_refused() {
    let container = Container::with_config(r#"{"command": "true"}"#);
    for strategy in ["", "COPY_SOMETIMES"] {
        let error = fails(container.command(strategy));
        assert!(error.contains("COPY_ALWAYS or COPY_ONCE"), "{error}");
    }
    assert!(!container.exists("/run_command"));
}

#[test]
fn the_environment_may_hold_the_configuration_or_its_place() {
    let container = Container::with_config(r#"{"command": "usual"}"#);
    container.write("/elsewhere.json", r#"{"command": "elsewhere"}"#);

    let mut command = container.command("COPY_ALWAYS");
    command.env("KOLLA_CONFIG_FILE", "/elsewhere.json");
    succeeds(command);
    assert_eq!(container.read("/run_command"), "elsewhere");

    let mut command = container.command("COPY_ALWAYS");
    command.env("KOLLA_CONFIG_FILE", "/elsewhere.json");
    command.env("KOLLA_CONFIG", r#"{"command": "environment"}"#);
    succeeds(command);
    assert_eq!(container.read("/run_command"), "environment");
}

#[test]
fn mistakes_are_reported_in_words() {
    let file = r#""source": "/in/a", "dest": "/etc/a""#;
    let entry = |fields: &str| format!(r#"{{"command": "true", "config_files": [{{{fields}}}]}}"#);
    let cases = [
        ("{".to_owned(), "not valid JSON"),
        ("[]".to_owned(), "must hold a JSON object"),
        ("{}".to_owned(), r#"needs "command""#),
        (r#"{"command": ["true"]}"#.to_owned(), r#"needs "command""#),
        (r#"{"command": "true", "config_files": {}}"#.to_owned(), "list of objects"),
        (entry(r#""source": "a", "dest": "/etc/a""#), "config_files[0]"),
        (entry(file), r#"needs "owner""#),
        (entry(&format!(r#"{file}, "owner": "no-such-user", "perm": "0600""#)), "no-such-user"),
        (entry(&format!(r#"{file}, "owner": "ME", "perm": "rw""#)), "octal"),
        (
            entry(&format!(r#"{file}, "owner": "ME", "perm": "0600", "optional": "no""#)),
            "true or false",
        ),
        (entry(&format!(r#"{file}, "owner": "ME", "perm": "0600", "exclude": ["("]"#)), "exclude"),
    ];
    for (config, expected) in cases {
        let container = Container::with_config(&config);
        let error = container.refusal();
        assert!(error.contains(expected), "{config}: {error}");
    }
    assert!(Container::new().refusal().contains(CONFIG));
}

#[test]
fn check_reports_every_difference_and_changes_nothing() {
    let config = r#"{"command": "true", "config_files": [
        {"source": "/in", "dest": "/etc/in", "owner": "ME", "perm": "0600"}]}"#;
    let container = Container::with_config(config);
    for name in ["a", "b", "c"] {
        container.write(&format!("/in/{name}"), name);
    }
    assert!(fails(container.check()).contains("/run_command is missing"));
    assert!(!container.exists("/etc/in"));

    container.start();
    succeeds(container.check());

    container.write("/in/a", "changed");
    container.set_mode("/etc/in/b", 0o644);
    fs::remove_file(container.path("/etc/in/c")).unwrap();
    container.write("/etc/in/d", "extra");
    container.configure(&config.replace("true", "false"));
    let differences = fails(container.check());
    for expected in [
        "/etc/in/a differs from /in/a",
        "/etc/in/b has mode 0644, not 0600",
        "/etc/in/c is missing",
        "/etc/in/d is not in /in",
        "the command is another one",
    ] {
        assert!(differences.contains(expected), "{differences}");
    }
    assert_eq!(container.read("/etc/in/a"), "a");
}
