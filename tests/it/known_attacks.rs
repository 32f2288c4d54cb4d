//! Attacks that have never worked, kept so that they never will: words of a command line, a tree or a
//! file that other programs could take for options or paths, links in folders that Kiln empties, and
//! patterns made to be slow.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::support::idle::idle_engine;
use crate::support::{FETCHING, Run, TestTree, commit, files_below, kiln};

const IMAGES: &[(&str, &str)] = &[("base", "FROM debian:bookworm\n"), ("app", "FROM @base\n")];

#[test]
fn commits_that_look_like_options_are_no_options() {
    let tree = TestTree::new(IMAGES).in_namespace("ns");
    commit(tree.path());
    let trace = tree.path().join("ran");
    let program = format!("--upload-pack=touch {}", trace.display());
    let output = format!("--output={}", trace.display());
    let shell = format!("$(touch {})", trace.display());
    for since in [
        program.as_str(),
        &output,
        &shell,
        "-h",
        "--all",
        "--git-dir=/",
        "-x --help",
        "../..",
        "HEAD\n--all",
    ] {
        let mut command = kiln();
        command.args(["affected", "--namespace", "ns", "--tree"]).arg(tree.path());
        let run = Run::of({
            command.arg(format!("--since={since}"));
            command
        });
        assert_eq!(run.code, 2, "{since}: {run:?}");
        assert!(run.stderr.contains("has no commit"), "{since}: {run:?}");
        assert!(!trace.exists(), "{since}");
    }
}

#[test]
fn references_of_a_source_that_look_like_options_are_no_options() {
    let repository = tempfile::tempdir().unwrap();
    fs::write(repository.path().join("file"), "x\n").unwrap();
    commit(repository.path());
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\nADD app-archive /\n")]);
    tree.write("tree.toml", FETCHING);
    let trace = tree.path().join("ran");
    for reference in [
        format!("--output={}", trace.display()),
        format!("--upload-pack=touch {}", trace.display()),
        "--git-dir=/".to_owned(),
        "-x --help".to_owned(),
        ":/no such".to_owned(),
        "../..".to_owned(),
    ] {
        let conf = tree.path().join("build.conf");
        let location = repository.path().display();
        let text = format!("[app]\ntype = git\nlocation = {location}\nreference = {reference}\n");
        fs::write(&conf, text).unwrap();
        let mut command = tree.command(&["--nobuildkit", "--config-file", conf.to_str().unwrap()]);
        command.env("DOCKER_HOST", format!("tcp://{}", idle_engine()));
        let run = Run::of(command).expect(1);
        let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("no branch, tag or commit"), "{reference}: {reason}");
        assert!(!trace.exists(), "{reference}");
    }
}

#[test]
fn links_in_the_work_folder_are_removed_and_not_followed() {
    let tree = TestTree::new(IMAGES).in_namespace("ns");
    let (work, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(victim.path().join("file"), "mine\n").unwrap();
    let before = files_below(victim.path());
    let write = || {
        let folder = work.path().to_str().unwrap();
        tree.build(&["--template-only", "--work-dir", folder]).expect(0);
        assert_eq!(files_below(victim.path()), before);
        assert!(work.path().join("docker/app/Dockerfile").is_file());
    };
    symlink(victim.path(), work.path().join("docker")).unwrap();
    write();
    fs::remove_dir_all(work.path().join("docker/app")).unwrap();
    symlink(victim.path(), work.path().join("docker/app")).unwrap();
    write();
}

#[test]
fn exported_tree_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("docker")).unwrap();
    fs::write(folder.path().join("docker/mine"), "mine\n").unwrap();
    let before = files_below(folder.path());
    let mut command = kiln();
    command.args(["tree", "export"]).arg(folder.path());
    Run::of(command).expect(2);
    assert_eq!(files_below(folder.path()), before);
}

#[test]
fn slow_patterns_are_matched_in_bounded_time() {
    let tree = TestTree::new(IMAGES).in_namespace("ns");
    tree.write("app/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "x");
    tree.write("app/.dockerignore", &"**/*a*a*a*a*a*a*a*a*a*a*a*a*a*b\n".repeat(200));
    tree.write("profiles/slow.list", "(a+)+$\n(a|aa)+$\n^(([a-z])+.)+[A-Z]([a-z])+$\n");
    let began = Instant::now();
    tree.build(&["--profile", "slow", "--list-images"]);
    let out = tempfile::tempdir().unwrap();
    tree.build(&["--template-only", "--work-dir", out.path().to_str().unwrap()]).expect(0);
    // What backtracks takes years.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    tree.write("profiles/large.list", "((a{1000}){1000}){1000}\n");
    let run = tree.build(&["--profile", "large", "--list-images"]).expect(2);
    assert!(run.stderr.contains("is not a regular expression"), "{run:?}");
}

#[test]
fn nonsense_in_the_file_of_durations_is_a_warning() {
    let tree = TestTree::new(IMAGES).in_namespace("ns");
    let state = tempfile::tempdir().unwrap();
    let many: String = (0..400_000).map(|number| format!("\"i{number}\":1,")).collect();
    for text in ["NaN", "{\"a\": NaN}", "{\"a\": 1e999}", "[[[[", "\u{0}", &format!("{{{many}}}")] {
        fs::write(state.path().join("durations.json"), text).unwrap();
        let run = tree.build(&["--plan", "--state-dir", state.path().to_str().unwrap()]);
        assert_eq!(run.code, 0, "{run:?}");
    }
}
