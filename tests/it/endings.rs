//! Ends of the program: by signals at any moment, and by limits of time. Nothing that it has started
//! outlives it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::http::{Server, empty};
use crate::support::idle::idle_engine;
use crate::support::{FETCHING, Run, TestTree, commit, in_shell, kiln, wait_for};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Signals that ask the program to end, with their numbers.
const SIGNALS: [(&str, i32); 3] = [("INT", 2), ("TERM", 15), ("HUP", 1)];

fn send(signal: &str, run: &Child) {
    let mut kill = Command::new("kill");
    kill.args(["-s", signal, &run.id().to_string()]);
    Run::of(kill).expect(0);
}

/// Returns a tree with an image `app` and its source of this kind.
fn tree(kind: &str, location: &str) -> TestTree {
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\nADD app-archive /app\n")]);
    tree.write("tree.toml", FETCHING);
    let source = format!("[app]\ntype = {kind}\nlocation = {location}\nreference = main\n");
    tree.write("build.conf", &source);
    tree
}

/// Returns a build of the tree with an engine that has no images.
fn build(tree: &TestTree, arguments: &[&str]) -> Command {
    let configuration = tree.path().join("build.conf");
    let mut command = tree.command(&["--nobuildkit"]);
    if configuration.exists() {
        command.arg("--config-file").arg(configuration);
    }
    command.args(arguments).env("DOCKER_HOST", format!("tcp://{}", idle_engine()));
    command
}

/// Server that answers no request before it is released, and then that it has nothing.
struct Gate {
    server: Server,
    asked: Arc<AtomicUsize>,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    fn new() -> Self {
        let (asked, is_open) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (counted, opened) = (asked.clone(), is_open.clone());
        let server = Server::plain(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            wait_for("the gate to open", || opened.load(Ordering::SeqCst));
            empty(404, "")
        });
        Self { server, asked, is_open }
    }

    /// Starts a build that fetches its source here, and waits until it does.
    fn begin(&self, change: impl FnOnce(Command) -> Command) -> (TestTree, Child) {
        let tree = tree("url", &format!("http://{}/app", self.server.address()));
        let mut command = change(build(&tree, &[]));
        let run = command.spawn().unwrap();
        wait_for("the request for the source", || self.asked.load(Ordering::SeqCst) > 0);
        (tree, run)
    }
}

/// Returns true if a process ignores the signal with this number.
fn ignores(process: &Child, number: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (number - 1) & 1 == 1
}

#[test]
fn ignored_signals_stay_ignored_while_images_are_built() {
    for ignored in [&SIGNALS[..1], &SIGNALS[1..2], &SIGNALS[2..], &SIGNALS[..]] {
        let names: Vec<&str> = ignored.iter().map(|(name, _)| *name).collect();
        let gate = Gate::new();
        let (_tree, run) = gate.begin(|command| {
            let mut command = in_shell(&format!("trap '' {}", names.join(" ")), &command);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        });
        for (name, number) in SIGNALS {
            assert_eq!(ignores(&run, number), names.contains(&name), "{name} of {names:?}");
        }
        names.iter().for_each(|name| send(name, &run));
        gate.is_open.store(true, Ordering::SeqCst);
        let run = Run::from(run.wait_with_output().unwrap()).expect(1);
        assert_eq!(run.names("failed"), ["app error"]);
    }
}

/// Returns a pipe to which nothing more can be written until it is read.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while writer.write(&vec![b'\n'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Sends a signal until the program ends.
fn end_by(signal: &str, run: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for("the end", || {
        status = run.try_wait().unwrap();
        if status.is_none() {
            send(signal, run);
        }
        status.is_some()
    });
    status.unwrap()
}

#[test]
fn second_signal_ends_a_run_that_can_not_print() {
    for (first, second) in [("INT", "INT"), ("TERM", "TERM"), ("HUP", "HUP"), ("INT", "TERM")] {
        let (reader, writer) = full_pipe();
        let gate = Gate::new();
        let (_tree, mut run) = gate.begin(|mut command| {
            command.stdout(writer).stderr(Stdio::null());
            command
        });
        send(first, &run);
        let status = end_by(second, &mut run);
        assert_eq!(status.code(), Some(130), "{first} {second}: {status}");
        drop(reader);
    }
}

#[test]
fn signal_that_is_sent_to_a_program_and_its_group_counts_once() {
    // Sent twice at once, as by `timeout`, it leaves the time to print the summary.
    for signal in ["TERM", "HUP"] {
        let gate = Gate::new();
        let (_tree, run) = gate.begin(|mut command| {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        });
        let process = run.id().to_string();
        let mut twice = Command::new("sh");
        twice.args(["-c", "kill -s $0 $1; kill -s $0 $1", signal, &process]);
        Run::of(twice).expect(0);
        let run = Run::from(run.wait_with_output().unwrap()).expect(130);
        assert_eq!(run.names("failed"), ["app interrupted"]);
    }
}

/// Folder with a program that never ends, and neither does the one that it starts.
struct Endless {
    folder: tempfile::TempDir,
}

impl Endless {
    fn called(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let processes = folder.path().join("processes").display().to_string();
        let script = format!(
            "#!/bin/sh\nsleep 3600 &\necho $$ $! > {processes}.new\nmv {processes}.new {processes}\nwait\n"
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    /// Returns PATH with the folder before the others.
    fn path(&self) -> String {
        format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap())
    }

    /// Returns the ids of the program and of the one that it has started; nothing before it runs.
    fn processes(&self) -> Vec<u32> {
        let told = fs::read_to_string(self.folder.path().join("processes")).unwrap_or_default();
        told.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// Fails the test unless both have run, and end.
    #[track_caller]
    fn expect_gone(&self) {
        let processes = self.processes();
        assert_eq!(processes.len(), 2, "it never ran");
        wait_for("all that was started to end", || processes.iter().all(|id| is_gone(*id)));
    }
}

/// Returns true for a process that has ended, whether or not its parent has taken note.
fn is_gone(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

/// Call of the program that waits for another one for ever, with all that it needs.
struct Waiting {
    command: Command,
    endless: Endless,
    temporary: tempfile::TempDir,
    _tree: (TestTree, tempfile::TempDir),
}

impl Waiting {
    fn new(tree: TestTree, program: &str, mut command: Command) -> Self {
        let endless = Endless::called(program);
        let [temporary, home] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let helper = program.strip_prefix("docker-credential-").unwrap_or_default();
        let credentials = format!(r#"{{"credsStore":"{helper}"}}"#);
        fs::write(home.path().join("config.json"), credentials).unwrap();
        command.env("PATH", endless.path()).env("TMPDIR", temporary.path());
        command.env("DOCKER_CONFIG", home.path()).env("HOME", home.path());
        Self { command, endless, temporary, _tree: (tree, home) }
    }

    /// Returns a build that fetches a source with this program.
    fn for_source(kind: &str, location: &str, program: &str, arguments: &[&str]) -> Self {
        let tree = tree(kind, location);
        let command = build(&tree, arguments);
        Self::new(tree, program, command)
    }

    /// Returns a survey of a registry that asks a credential helper.
    fn for_credentials(arguments: &[&str]) -> Self {
        let tree = TestTree::new(&[("app", "FROM scratch\n")]);
        let mut command = build(&tree, &["--registry", "127.0.0.1:1", "--plan"]);
        command.arg("--skip-unchanged=registry").args(arguments);
        Self::new(tree, "docker-credential-endless", command)
    }

    /// Returns a build that asks docker-squash for its version.
    fn for_squash(arguments: &[&str]) -> Self {
        let tree = TestTree::new(&[("app", "FROM scratch\n")]);
        let command = build(&tree, &[&["--squash"], arguments].concat());
        Self::new(tree, "docker-squash", command)
    }

    /// Returns a comparison with a commit.
    fn for_commit() -> Self {
        let tree = TestTree::new(&[("app", "FROM scratch\n")]);
        commit(tree.path());
        let mut command = kiln();
        command.args(["affected", "--since", "HEAD", "--namespace", "n", "--tag", "t", "--tree"]);
        command.arg(tree.path());
        Self::new(tree, "git", command)
    }

    /// Sends a signal once the other program runs. Returns the status at the end.
    fn end_by(mut self, signal: &str) -> ExitStatus {
        let mut run = self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the other program", || !self.endless.processes().is_empty());
        send(signal, &run);
        let mut status = None;
        wait_for("the end", || {
            status = run.try_wait().unwrap();
            status.is_some()
        });
        self.endless.expect_gone();
        expect_empty(self.temporary.path());
        status.unwrap()
    }

    /// Returns the run, which ends by itself.
    fn end(self) -> Run {
        let run = Run::of(self.command);
        self.endless.expect_gone();
        expect_empty(self.temporary.path());
        run
    }
}

#[track_caller]
fn expect_empty(folder: &Path) {
    let left: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn signals_end_all_that_is_asked_before_a_build() {
    let url = "http://127.0.0.1:1/app";
    let survey = ["--skip-unchanged", "--plan"];
    for (signal, number) in SIGNALS {
        for waiting in [
            Waiting::for_source("git", url, "git", &survey),
            Waiting::for_source("pip", "app", "python3", &survey),
            Waiting::for_credentials(&[]),
            Waiting::for_squash(&[]),
        ] {
            let command = format!("{:?}", waiting.command);
            let status = waiting.end_by(signal);
            assert_eq!(status.code(), Some(130), "{signal}: {status} of {command}");
        }
        assert_eq!(Waiting::for_commit().end_by(signal).signal(), Some(number));
    }
}

#[test]
fn signals_end_all_that_a_build_waits_for() {
    for (signal, _) in SIGNALS {
        for (kind, program) in [("git", "git"), ("pip", "python3")] {
            let waiting = Waiting::for_source(kind, "http://127.0.0.1:1/app", program, &[]);
            let status = waiting.end_by(signal);
            assert_eq!(status.code(), Some(130), "{signal} {program}: {status}");
        }
    }
}

#[test]
fn programs_that_do_not_answer_are_ended_with_all_that_they_have_started() {
    let limit = ["--timeout", "1"];
    let run = Waiting::for_credentials(&limit).end().expect(1);
    let reason = "docker-credential-endless did not answer within 1 s (--timeout)";
    assert!(run.stderr.contains(reason), "{run:?}");
    let run = Waiting::for_squash(&limit).end().expect(2);
    let reason = "docker-squash can't be run: no data came for 1 s (--timeout)";
    assert!(run.stderr.contains(reason), "{run:?}");
    let location = "http://127.0.0.1:1/app";
    let run = Waiting::for_source("git", location, "git", &limit).end().expect(1);
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    let expected = format!("the source [app] {location}: git: no data came for 1 s (--timeout)");
    assert_eq!(reason, expected);
}
