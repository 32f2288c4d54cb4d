//! No file or output of a run contains a secret, at any level of verbosity.

use std::fs;
use std::path::Path;

use crate::support::registry::{AUTH, PASSWORD, Registry};
use crate::support::{Cleanup, Engine, Run, TestTree, docker};

/// Secret that is lent to a build.
const LENT: &str = "planted-and-lent-5e1f";

/// Password in the URL of a source.
const OF_URL: &str = "planted-in-a-url-77c0";

/// Returns all files below a folder, with their paths, as one text.
fn all_of(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        text.push_str(&format!("{}\n", path.display()));
        match path.is_dir() {
            true => text.push_str(&all_of(&path)),
            false => text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap())),
        }
    }
    text
}

/// Runs with the most output possible: one image that is lent a secret, one that fails, and one
/// whose source can't be fetched, pushed to a registry that requires a password.
#[test]
fn run_leaves_no_secret_behind() {
    Engine::Docker.require();
    let registry = Registry::private();
    let auths = format!(r#"{{"auths": {{"REGISTRY": {{"auth": "{AUTH}"}}}}}}"#);
    let config = registry.credentials("docker/config.json", &auths);
    let tree = TestTree::new(&[
        (
            "app",
            "FROM debian:bookworm\nRUN --mount=type=secret,id=x,required=true sha256sum /run/secrets/x\n",
        ),
        ("bad", "FROM @app\nRUN echo {{ namespace }} && exit 9\n"),
        ("lost", "FROM @app\nADD lost-archive /lost\n"),
    ]);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    tree.write(
        "tree.toml",
        &format!("{manifest}\n[install_types.source]\nfetches_sources = true\n"),
    );
    let kept = tempfile::tempdir().unwrap();
    let of_kept = |name: &str| kept.path().join(name).display().to_string();
    let sources = format!(
        "[lost]\ntype = git\nlocation = http://me:{OF_URL}@127.0.0.1:9/lost\nreference = main\n"
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let configuration = elsewhere.path().join("build.conf");
    fs::write(&configuration, sources).unwrap();
    let namespace = format!("{}/{}", registry.address, tree.namespace());
    let _cleanup = Cleanup::new(namespace.clone());
    let mut command = tree.command(&[
        "--debug",
        "--type",
        "source",
        "--push",
        "--registry",
        &registry.address,
        "--secret",
        "id=x,env=PLANTED",
        "--build-args",
        "API_TOKEN:harmless",
        "--config-file",
        configuration.to_str().unwrap(),
        "--work-dir",
        &of_kept("work"),
        "--state-dir",
        &of_kept("state"),
        "--logs-dir",
        &of_kept("logs"),
        "--report",
        &of_kept("report.html"),
        "--junit",
        &of_kept("junit.xml"),
        "--summary-json-file",
        &of_kept("summary.json"),
    ]);
    command
        .env("KILN_LOG", "trace")
        .env("PLANTED", LENT)
        .env("DOCKER_CONFIG", config.parent().unwrap());
    let run = Run::of(command).expect(1);
    assert!(run.stderr.contains("the build argument API_TOKEN looks like a secret"), "{run:?}");
    assert!(
        run.stderr.contains("kiln::registry") && run.stderr.contains("kiln::engine"),
        "{run:?}"
    );
    let summary = fs::read_to_string(of_kept("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let names = |list: &str| -> Vec<_> {
        let entries = summary[list].as_array().unwrap().iter();
        entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names("built"), names("failed")),
        (vec!["app".into()], vec!["bad".into(), "lost".into()])
    );
    let lost = summary["failed"][1]["reason"].as_str().unwrap();
    assert!(lost.contains("http://127.0.0.1:9/lost"), "{lost}");

    let reference = format!("{namespace}/one-source-app:t");
    let history = docker(&["history", "--no-trunc", &reference]).expect(0).stdout;
    let inspected = docker(&["image", "inspect", &reference]).expect(0).stdout;
    let files = all_of(kept.path());
    for name in ["report.html", "junit.xml", "logs/app.log", "state/durations.json", "Dockerfile"] {
        assert!(files.contains(name), "{name} is not among the files");
    }
    let left = [&run.stdout, &run.stderr, &history, &inspected, &files];
    for planted in [LENT, OF_URL, AUTH, &format!("\"{PASSWORD}\""), &format!("me:{PASSWORD}")] {
        for text in left {
            assert!(!text.contains(planted), "{planted} is in {text}");
        }
    }
}
