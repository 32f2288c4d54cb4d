//! The program called `kolla-build`: it is `kiln build` under that name, in its help, its errors,
//! its completions and its manual, too.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Run, TestTree, kiln};

/// Link to the program in a folder of its own.
struct Link(tempfile::TempDir);

impl Link {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(kiln().get_program(), folder.path().join("kolla-build")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("kolla-build")
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(self.path());
        command.args(arguments).env_clear().env("COLUMNS", "100");
        Run::of(command)
    }
}

#[test]
fn arguments_are_those_of_build() {
    let tree = TestTree::new(&[("lone", "FROM debian:1"), ("build", "FROM debian:1")]);
    let tree_of = ["--tree", tree.path().to_str().unwrap(), "-n", "family", "--list-images"];
    let list = |patterns: &[&str]| Link::new().run(&[&tree_of, patterns].concat()).expect(0).stdout;
    assert_eq!(list(&["lone"]), "1 : lone\n");
    // The names of Kiln's commands are patterns like any other.
    assert_eq!(list(&["build"]), "1 : build\n");
    assert_eq!(list(&["^lint$", "^config$", "^lone$"]), "1 : lone\n");
}

#[test]
fn version_is_bare() {
    let version = concat!(env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(Link::new().run(&["--version"]).expect(0).stdout, version);
}

#[test]
fn usage_is_that_of_kolla_build() {
    let usage = "Usage: kolla-build [OPTIONS] [REGEX]...\n";
    for arguments in [&["--help"][..], &["-h"], &["--list-images", "--help"]] {
        let help = Link::new().run(arguments).expect(0).stdout;
        assert!(help.contains(usage), "{help}");
        assert!(!help.contains("kiln build"), "{help}");
        assert!(help.contains("  kolla-build --base debian --profile demo"), "{help}");
    }
    for arguments in [
        &["--bogus"][..],
        &["--summary=yes"],
        &["--platform"],
        &["--engine", "containerd"],
        &["--nosuch", "^lone$"],
    ] {
        let wrong = Link::new().run(arguments).expect(2);
        assert!(!wrong.stderr.contains("kiln"), "{wrong:?}");
        let ends_well = wrong.stderr.contains(usage) || wrong.stderr.contains("try '--help'");
        assert!(ends_well && wrong.stdout.is_empty(), "{wrong:?}");
    }
    let wrong = Link::new().run(&["--bogus"]).expect(2);
    assert!(wrong.stderr.contains(usage), "{wrong:?}");
}

#[test]
fn usage_of_build_is_unchanged() {
    let mut command = kiln();
    command.args(["build", "--help"]);
    let help = Run::of(command).expect(0).stdout;
    assert!(help.contains("Usage: kiln build [OPTIONS] [REGEX]...\n"), "{help}");
    assert!(help.contains("  kiln build --base debian --profile demo"), "{help}");
    assert!(!help.contains("shell_completion") && !help.contains("{call}"), "{help}");
}

#[test]
fn completion_script_is_for_kolla_build() {
    let script = |shell: &str| Link::new().run(&["--shell_completion", shell]).expect(0).stdout;
    assert!(script("bash").contains("complete -F _kolla__build"));
    assert!(script("zsh").starts_with("#compdef kolla-build\n"));
    assert!(script("fish").contains("complete -c kolla-build -l list-images"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(!script(shell).contains("kiln__"), "{shell}");
    }
    Link::new().run(&["--shell_completion", "tcsh"]).expect(2);
}

#[test]
fn bash_completes_options_of_kolla_build() {
    let link = Link::new();
    let script = "source <(\"$0\" --shell_completion bash)\n\
                  COMP_WORDS=(kolla-build --list-) COMP_CWORD=1\n\
                  complete -p kolla-build >/dev/null\n\
                  _kolla__build kolla-build --list- kolla-build\n\
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-eu", "-c", script]).arg(link.path());
    let offered = Run::of(command).expect(0).stdout;
    assert_eq!(offered, "--list-images\n--list-dependencies\n");
}

#[test]
fn manual_has_a_page_of_kolla_build() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = kiln();
    command.arg("man").arg(folder.path());
    Run::of(command).expect(0);
    let page = std::fs::read_to_string(folder.path().join("kolla-build.1")).unwrap();
    assert!(page.contains(r"\fBkolla\-build\fR [\fB"), "{page}");
    assert!(!page.contains(r"kiln build") && !page.contains(r"kiln\-build"), "{page}");
}
