//! An engine that is killed, that comes back or does not, and that has no space left: one of the
//! test's own, started beside the engine of the other tests.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::tmpfs::Tmpfs;
use crate::support::{Cleanup, Engine, Run, TestTree, require_engine, wait_for, wait_within};

/// Dockerd of one test, with debian:bookworm or no images.
struct Dockerd {
    folder: tempfile::TempDir,
    process: Option<Child>,
    small: Option<Tmpfs>,
}

impl Dockerd {
    /// Starts an engine with the base image.
    fn new() -> Self {
        let mut engine = Self { folder: tempfile::tempdir().unwrap(), process: None, small: None };
        engine.start();
        engine
    }

    /// Starts an engine without images, whose images may take this many megabytes.
    fn small(megabytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let small = Tmpfs::new(&folder.path().join("data"), megabytes);
        let mut engine = Self { folder, process: None, small: Some(small) };
        engine.start();
        engine
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("sock"))
    }

    fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        // A killed engine leaves its pid file, and the pid may belong to another process by now.
        for left in ["pid", "exec/containerd/containerd.pid"] {
            drop(fs::remove_file(self.path(left)));
        }
        let mut command = Command::new("dockerd");
        command
            .args(["--host", &self.host(), "--data-root", &self.path("data")])
            .args(["--exec-root", &self.path("exec"), "--pidfile", &self.path("pid")])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .args(["--ip-masq=false", "--userland-proxy=false"])
            .args(["--containerd-namespace", "kiln-faults"])
            .args(["--containerd-plugins-namespace", "kiln-faults-plugins"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().expect("these tests need root and dockerd"));
        wait_for(&format!("dockerd; its log is {}", self.path("log")), || {
            self.client(&["version"]).code == 0
        });
    }

    /// Kills the engine and the containerd that it started.
    fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.kill().unwrap();
        process.wait().unwrap();
        if let Ok(pid) = fs::read_to_string(self.path("exec/containerd/containerd.pid")) {
            drop(Command::new("kill").args(["-KILL", pid.trim()]).status());
        }
    }

    fn client(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", self.host());
        Run::of(command)
    }

    /// Returns a `kiln build` with this engine.
    fn command(&self, tree: &TestTree, arguments: &[&str]) -> Command {
        let mut command = tree.command(arguments);
        command.env("DOCKER_HOST", self.host()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns true if the engine has an image.
    fn has(&self, tree: &TestTree, name: &str) -> bool {
        self.client(&["image", "inspect", &tree.reference(name)]).code == 0
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.kill();
        let below = format!("{}/", self.folder.path().display());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let data = self.path("data");
        for mount in ours.filter(|mount| mount.starts_with(&below) && *mount != data) {
            drop(Command::new("umount").args(["--lazy", mount]).status());
        }
        drop(self.small.take());
    }
}

const BUILDERS: [&str; 2] = ["--nobuildkit", "--buildkit"];
const IMAGES: usize = 40;

/// Creates a tree of images, each of which takes a moment to build, and returns their names.
fn tree() -> (TestTree, Vec<String>) {
    let tree = TestTree::new(&[("base", "FROM scratch\nCOPY file /base\n")]);
    let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap());
    let mut names = vec!["base".to_owned()];
    for number in 1..IMAGES {
        let name = format!("i-{}{}", letter(number / 26), letter(number % 26));
        let parent = &names[number / 2];
        tree.image(&name, &format!("FROM @{parent}\nCOPY file /{name}\n"));
        names.push(name);
    }
    for name in &names {
        tree.write(&format!("{name}/file"), &format!("{name} {}\n", tree.namespace()));
    }
    (tree, names)
}

/// Waits until the engine has this many images.
fn wait_for_images(engine: &Dockerd, tree: &TestTree, count: usize) {
    let filter = format!("reference={}/*", tree.namespace());
    let listed = || engine.client(&["image", "ls", "--quiet", "--filter", &filter]).stdout;
    wait_within(Duration::from_secs(120), "images", || listed().lines().count() >= count);
}

#[test]
fn an_engine_that_is_killed_and_comes_back_is_waited_for() {
    require_engine();
    let mut engine = Dockerd::new();
    for builder in BUILDERS {
        let (tree, names) = tree();
        let tree = tree.in_namespace(&format!("kiln-test/back{builder}"));
        let arguments =
            [builder, "--threads", "2", "--retries", "3", "--timeout", "60", "--nocache"];
        let child = engine.command(&tree, &arguments).spawn().unwrap();
        wait_for_images(&engine, &tree, 4);
        engine.kill();
        engine.start();
        let run = Run::from(child.wait_with_output().unwrap()).expect(0);
        let mut built = run.names("built");
        built.sort();
        assert_eq!(built.len(), names.len(), "{builder}");
        assert!(run.stderr.contains("failed, retrying in"), "{builder}: {run:?}");
        for name in &names {
            assert!(engine.has(&tree, name), "{builder}: {name}");
        }
        let mut next = engine.command(&tree, &[builder, "--skip-unchanged"]);
        let next = Run::from(next.output().unwrap()).expect(0);
        assert!(next.names("built").is_empty(), "{builder}: {next:?}");
    }
}

#[test]
fn an_engine_that_does_not_come_back_is_given_up_on() {
    require_engine();
    let mut engine = Dockerd::new();
    for builder in BUILDERS {
        let (tree, names) = tree();
        let tree = tree.in_namespace(&format!("kiln-test/gone{builder}"));
        let arguments =
            [builder, "--threads", "2", "--retries", "1", "--timeout", "3", "--nocache"];
        let child = engine.command(&tree, &arguments).spawn().unwrap();
        wait_for_images(&engine, &tree, 4);
        engine.kill();
        let killed = Instant::now();
        let run = Run::from(child.wait_with_output().unwrap()).expect(3);
        println!("{builder}: the run ended {:?} after the engine", killed.elapsed());
        let (built, failed) = (run.names("built"), run.names("failed"));
        assert_eq!(built.len() + failed.len(), names.len(), "{builder}: {run:?}");
        assert!(failed.iter().any(|name| name.ends_with(" connection_error")), "{failed:?}");
        engine.start();
        let lost: Vec<_> = built.iter().filter(|name| !engine.has(&tree, name)).collect();
        let mut next = engine.command(&tree, &[builder, "--skip-unchanged"]);
        let next = Run::from(next.output().unwrap()).expect(0);
        let after = next.names("built");
        // A build may have succeeded although its end was never received.
        assert!(lost.iter().all(|name| after.contains(name)), "{builder}: {lost:?} {after:?}");
        assert_eq!(next.names("built").len() + next.names("skipped").len(), names.len());
        for name in &names {
            assert!(engine.has(&tree, name), "{builder}: {name}");
        }
    }
}

#[test]
fn an_engine_without_space_fails_what_does_not_fit() {
    require_engine();
    for builder in BUILDERS {
        let engine = Dockerd::small(24);
        let tree = TestTree::new(&[
            ("base", "FROM scratch\nCOPY file /base\n"),
            ("big", "FROM @base\nCOPY file /big\n"),
            ("after", "FROM @big\nCOPY file /after\n"),
            ("small", "FROM @base\nCOPY file /small\n"),
        ]);
        let tree = tree.in_namespace(&format!("kiln-test/full{builder}"));
        for name in ["base", "after", "small"] {
            tree.write(&format!("{name}/file"), name);
        }
        tree.write("big/file", &"0123456789abcdef".repeat(2 << 20));
        let mut command = engine.command(&tree, &[builder, "--threads", "1"]);
        let run = Run::from(command.output().unwrap()).expect(1);
        assert!(!engine.has(&tree, "big"), "{builder}: {run:?}");
        let failed = run.names("failed");
        assert!(failed.contains(&"big error".to_owned()), "{builder}: {run:?}");
        assert!(failed.contains(&"after parent_error".to_owned()), "{builder}: {run:?}");
        assert!(run.stderr.contains("no space left on device"), "{builder}: {run:?}");
        for name in run.names("built") {
            assert!(engine.has(&tree, &name), "{builder}: {name}");
        }
        // Once there is space, the remaining images are built.
        engine.small.as_ref().unwrap().grow(240);
        let mut next = engine.command(&tree, &[builder, "--skip-unchanged"]);
        let next = Run::from(next.output().unwrap()).expect(0);
        assert!(next.names("built").contains(&"big".to_owned()), "{builder}: {next:?}");
        assert!(["base", "big", "after", "small"].iter().all(|name| engine.has(&tree, name)));
    }
}

/// The work folder is written before anything is built.
#[test]
fn full_work_folder_ends_the_run_before_any_build() {
    require_engine();
    let folder = tempfile::tempdir().unwrap();
    let small = Tmpfs::new(&folder.path().join("work"), 1);
    let tree = TestTree::new(&[("big", "FROM scratch\nCOPY file /file\n")]);
    tree.write("big/file", &"0123456789abcdef".repeat(128 << 10));
    let run = tree.build(&["--work-dir", small.path().to_str().unwrap()]).expect(2);
    assert!(run.stderr.contains("/work' can't be written: "), "{run:?}");
    assert!(run.stderr.contains("No space left on device"), "{run:?}");
    assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0, "nothing is left half written");
    assert_eq!(Engine::Docker.image_id(&tree.reference("big")), "");
}

#[test]
fn full_log_folder_is_reported_and_fails_no_image() {
    require_engine();
    let folder = tempfile::tempdir().unwrap();
    let small = Tmpfs::new(&folder.path().join("logs"), 1);
    let filler = vec![0; 2 << 20];
    drop(fs::write(small.path().join("filler"), filler));
    let tree = TestTree::new(&[("only", "FROM scratch\nCOPY file /file\n")]);
    tree.write("only/file", tree.namespace());
    let _cleanup = Cleanup::new(tree.namespace());
    let run = tree.build(&["--logs-dir", small.path().to_str().unwrap()]).expect(2);
    assert_eq!(run.names("built"), ["only"]);
    assert!(run.stderr.contains("the logs are incomplete: No space left"), "{run:?}");
    assert_ne!(Engine::Docker.image_id(&tree.reference("only")), "");
}
