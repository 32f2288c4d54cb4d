//! Two runs at once: the second waits for the first if they would interfere with each other.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Cleanup, Engine, Run, TestTree, kiln};

#[test]
fn second_run_for_the_same_names_waits_with_a_message() {
    Engine::Docker.require();
    let tree = TestTree::new(&[(
        "slow",
        "FROM debian:bookworm\nENV OF={{ namespace }}\nRUN sleep 3 && echo {{ namespace }} > /it\n",
    )]);
    let _cleanup = Cleanup::new(tree.namespace());
    let mut first = tree.command(&["--threads", "2"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(first.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(heard.any(|line| line == "slow: building"), "the first run never began");
    let second = tree.build(&["--skip-unchanged"]).expect(0);
    let waiting = format!("waiting for another run (process {}) to finish with", first.id());
    assert!(second.stderr.contains(&waiting), "{second:?}");
    assert!(second.stderr.contains(&format!("{}/one-binary-*:t", tree.namespace())), "{second:?}");
    // The second run finds the images of the first.
    assert_eq!(second.names("skipped"), ["slow"]);
    drop(heard);
    first.wait().unwrap();
    let third = tree.build(&[]).expect(0);
    assert!(!third.stderr.contains("waiting"), "{third:?}");
    // A run with other names does not wait.
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("file");
    fs::write(&state, "").unwrap();
    let unlocked = tree.build(&["--state-dir", state.to_str().unwrap()]).expect(0);
    assert!(unlocked.stderr.contains("this run can't lock its images"), "{unlocked:?}");
}

#[test]
fn runs_sharing_a_work_folder_leave_the_files_of_one() {
    let trees = ["a", "b"].map(|name| {
        let tree = TestTree::new(&[]);
        for image in 0..60 {
            let image = format!("{name}{image}");
            tree.image(&image, &format!("FROM debian:bookworm\nCOPY f /{image}\n"));
            tree.write(&format!("{image}/f"), &image);
        }
        tree
    });
    let work = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let runs = trees.each_ref().map(|tree| {
            let mut command = kiln();
            command
                .args(["build", "--template-only", "--namespace", "kiln-test", "--tree"])
                .arg(tree.path());
            command.arg("--work-dir").arg(work.path()).stderr(Stdio::piped()).stdout(Stdio::null());
            command.spawn().unwrap()
        });
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let names: Vec<String> = fs::read_dir(work.path().join("docker"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let of_a = names.iter().filter(|name| name.starts_with('a')).count();
        assert!(names.len() == 60 && (of_a == 60 || of_a == 0), "{names:?}");
    }
}

/// Trees of two jobs that build images of the same names, each from its own files, and the
/// fingerprints of their images according to `kiln explain`.
struct Rivals {
    engine: Engine,
    option: &'static str,
    trees: [TestTree; 2],
    fingerprints: [Vec<(&'static str, String)>; 2],
}

/// Number of runs of each job.
const ROUNDS: usize = 3;

/// Images of a rival, each with a file that identifies its tree.
const IMAGES: [(&str, &str, &str); 3] = [
    ("base", "FROM scratch\nCOPY file /base\n", "/base"),
    ("tool", "FROM scratch\nCOPY file /tool\n", "/tool"),
    ("leaf", "FROM @base\nCOPY --from=@tool /tool /tool\nCOPY file /leaf\n", "/leaf"),
];

impl Rivals {
    fn new(engine: Engine, option: &'static str) -> Self {
        engine.require();
        let trees = ["one", "two"].map(|owner| {
            let images = IMAGES.map(|(name, template, _)| (name, template));
            let namespace = format!("kiln-test/rivals{option}-{engine:?}-{}", std::process::id());
            let tree = TestTree::new(&images).on(engine).in_namespace(&namespace.to_lowercase());
            for (name, _, _) in IMAGES {
                tree.write(&format!("{name}/file"), &format!("{owner} {option}\n"));
            }
            tree
        });
        let fingerprints = trees.each_ref().map(|tree| {
            let fingerprint = |name: &'static str| {
                let mut command = tree.command(&[option]);
                let arguments: Vec<_> =
                    command.get_args().skip(1).map(std::ffi::OsStr::to_owned).collect();
                command = kiln();
                command.args(["explain", name]).args(arguments);
                let told = Run::of(command).expect(0).stdout;
                let line = told.lines().find(|line| line.contains("fingerprint  ")).unwrap();
                (name, line.split_whitespace().nth(1).unwrap().to_owned())
            };
            IMAGES.map(|(name, _, _)| fingerprint(name)).to_vec()
        });
        Self { engine, option, trees, fingerprints }
    }

    /// Runs one of the jobs. It may fail only because of the other one.
    fn run(&self, which: usize) -> Run {
        let arguments = [self.option, "--nocache", "--retries", "1", "--threads", "1"];
        Run::of(self.trees[which].command(&arguments))
    }

    fn look_at_all(&self) {
        for (name, _, _) in IMAGES {
            self.look_at(name);
        }
    }

    /// Fails the test unless an image with the fingerprint of one tree has the files of that tree.
    fn look_at(&self, name: &str) -> Option<()> {
        let reference = self.trees[0].reference(name);
        let format = r#"{{.Id}} {{index .Config.Labels "kiln.fingerprint"}}"#;
        let found = self.engine.client(&["image", "inspect", "--format", format, &reference]);
        let (id, label) = found.stdout.trim().split_once(' ')?;
        let fingerprint = label.split(' ').next()?;
        let owner = self.fingerprints.iter().position(|of_one| {
            of_one.iter().any(|(named, printed)| *named == name && printed == fingerprint)
        });
        let owner = ["one", "two"][owner.expect("nobody else makes such images")];
        let (_, _, own) = IMAGES.into_iter().find(|(other, _, _)| *other == name)?;
        let paths = IMAGES.map(|(_, _, path)| path).into_iter();
        for path in paths.filter(|path| name == "leaf" || *path == own) {
            let text = self.engine.file_in(id, path);
            assert_eq!(text, format!("{owner} {}\n", self.option), "{path} of {name}");
        }
        Some(())
    }
}

/// Two jobs, and a process that moves tags back and forth, interfere with each other: no image has
/// a fingerprint that does not match its files.
fn no_image_lies(engine: Engine, option: &'static str) {
    let rivals = Rivals::new(engine, option);
    let _cleanup = Cleanup::of(engine, rivals.trees[0].namespace());
    let is_over = AtomicBool::new(false);
    let mut ends = Vec::new();
    std::thread::scope(|scope| {
        let ids = [0, 1].map(|which| {
            rivals.run(which).expect(0);
            engine.image_id(&rivals.trees[0].reference("base"))
        });
        assert_ne!(ids[0], ids[1]);
        let (rivals, is_over) = (&rivals, &is_over);
        // The tags are moved only from time to time, so that some builds succeed.
        scope.spawn(move || {
            let base = rivals.trees[0].reference("base");
            for id in ids.iter().cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                engine.client(&["tag", id, &base]);
                std::thread::sleep(std::time::Duration::from_millis(700));
            }
        });
        let jobs = [0, 1].map(|which| {
            scope.spawn(move || {
                let mut runs = Vec::new();
                for _ in 0..ROUNDS {
                    runs.push(rivals.run(which));
                    rivals.look_at_all();
                }
                runs
            })
        });
        let jobs = jobs.map(std::thread::ScopedJoinHandle::join);
        is_over.store(true, Ordering::Relaxed);
        for job in jobs {
            ends.extend(job.unwrap());
        }
    });
    rivals.look_at_all();
    for run in &ends {
        let is_settled = run.code == 0 || run.code == 1 && run.stderr.contains("something else");
        assert!(is_settled, "{run:?}");
    }
    let codes: Vec<i32> = ends.iter().map(|run| run.code).collect();
    assert!(codes.contains(&1), "the jobs never met: {codes:?}");
}

#[test]
fn labels_of_concurrent_jobs_match_contents_with_the_classic_builder() {
    no_image_lies(Engine::Docker, "--nobuildkit");
}

#[test]
fn labels_of_concurrent_jobs_match_contents_with_buildkit() {
    no_image_lies(Engine::Docker, "--buildkit");
}

#[test]
fn labels_of_concurrent_jobs_match_contents_with_podman() {
    no_image_lies(Engine::Podman, "--buildkit");
}

#[test]
fn run_without_a_lock_folder_is_warned_about() {
    Engine::Docker.require();
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\n")]);
    let _cleanup = Cleanup::new(tree.namespace());
    let mut command = tree.command(&[]);
    command.env_remove("HOME").env_remove("XDG_STATE_HOME");
    let run = Run::of(command).expect(0);
    assert!(run.stderr.contains("this run can't lock its images against other runs"), "{run:?}");
    assert!(run.stderr.contains("name one with --state-dir"), "{run:?}");
}
