//! Two runs at once: the second waits for the first where they would get in each other's way.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use support::{Cleanup, Engine, TestTree, kiln};

#[test]
fn a_second_run_for_the_same_names_waits_and_says_so() {
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
    let waiting = format!("waiting for another run (process {}) to be done with", first.id());
    assert!(second.stderr.contains(&waiting), "{second:?}");
    assert!(second.stderr.contains(&format!("{}/one-binary-*:t", tree.namespace())), "{second:?}");
    // It found what the first had made.
    assert_eq!(second.names("skipped"), ["slow"]);
    drop(heard);
    first.wait().unwrap();
    let third = tree.build(&[]).expect(0);
    assert!(!third.stderr.contains("waiting"), "{third:?}");
    // Other names are nobody's business.
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("file");
    fs::write(&state, "").unwrap();
    let unlocked = tree.build(&["--state-dir", state.to_str().unwrap()]).expect(0);
    assert!(unlocked.stderr.contains("no other run is kept apart"), "{unlocked:?}");
}

#[test]
fn two_runs_with_one_work_folder_leave_all_of_one() {
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
