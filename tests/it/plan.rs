//! Output of runs that build nothing: the plan of a run, and the graph in its formats.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::family::{self, GROUP, build};
use crate::support::{Cleanup, Engine, Run, TestTree, registry, require_engine};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

/// Creates the family, in which one image can't be built.
fn family() -> TestTree {
    let tree = family::tree(GROUP);
    tree.image("group/group-base", "FROM @base\n");
    let mount = "RUN --mount=type=bind,from=@lone,target=/x true\n";
    tree.image("group/group-api", &format!("FROM @group-base\n{mount}"));
    tree.image("group/group-old", "FROM @group-base\n");
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let entry =
        "[[unbuildable]]\nimages = ['group-old']\nbase = ['one']\nreason = 'no such package'\n";
    tree.write("tree.toml", &format!("{manifest}{entry}"));
    tree
}

/// Writes a history in which earlier builds of these images took this many seconds.
fn remember(tree: &TestTree, durations: &[(&str, f64)]) {
    let entry = |(image, seconds): &(&str, f64)| {
        let entry = serde_json::json!({ "seconds": seconds, "built": 1 });
        (format!("{}/one-binary-{image}", tree.namespace()), entry)
    };
    let images: serde_json::Map<String, Value> = durations.iter().map(entry).collect();
    let text = serde_json::json!({ "version": 1, "images": images }).to_string();
    tree.write(".state/kiln/durations.json", &text);
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run:?}"))
}

/// Returns the entry of an image in a plan.
fn entry<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let images = plan["images"].as_array().unwrap();
    images.iter().find(|image| image["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn plan_needs_no_engine() {
    let tree = family();
    remember(&tree, &[("base", 65.0), ("group-base", 30.5), ("group-api", 4.0)]);
    let plan = |arguments: &[&str]| build(&tree, &[&["--plan"], arguments].concat());
    insta::assert_snapshot!("all", plan(&[]).shown(&[]));
    insta::assert_snapshot!("some", plan(&["group-(api|old)", "^lone"]).shown(&[]));
    insta::assert_snapshot!("skip-parents", plan(&["--skip-parents"]).shown(&[]));
    let as_json = plan(&["--format", "json", "--threads", "2", "group-api", "group-old"]);
    insta::assert_snapshot!("json", as_json.shown(&[]));
    assert_eq!(plan(&["--format", "none"]).expect(0).stdout, plan(&[]).stdout);
    assert_eq!(plan(&["nobody"]).expect(4).stdout, "");
}

#[test]
fn several_axes_are_planned_apart() {
    let tree = family();
    tree.image("lone", "FROM debian:{{ install_type }}\n");
    let both = ["--plan", "--type", "binary,source", "^lone$", "^group-base$"];
    insta::assert_snapshot!("axes", build(&tree, &both).expect(0).stdout);
    let plan = json(&build(&tree, &[&["-f", "json"], both.as_slice()].concat()).expect(0));
    let images = plan["images"].as_array().unwrap();
    let of = |axis: &str| images.iter().filter(|image| image["axis"] == axis).count();
    assert_eq!((of("binary"), of("source")), (6, 6));
    let group_base = images.iter().find(|image| image["name"] == "group-base").unwrap();
    assert_eq!(group_base["needs"], serde_json::json!(["binary/base"]));
}

#[test]
fn planning_builds_and_writes_nothing() {
    require_engine();
    let tree = TestTree::new(&[("base", "FROM debian:bookworm\n")]);
    let _cleanup = Cleanup::new(tree.namespace());
    let plan = tree.build(&["--plan", "--push"]).expect(0);
    assert!(plan.stdout.starts_with("Wave 1\n  base  "), "{plan:?}");
    assert_eq!(plan.stderr, "");
    assert_eq!(Engine::Docker.image_id(&tree.reference("base")), "");
    assert!(!tree.path().join(".state").exists());
}

#[test]
fn plan_refuses_the_same_as_a_build() {
    let tree = family();
    let several = build(&tree, &["--plan", "--platform", "linux/amd64,linux/arm64"]).expect(2);
    assert!(several.stderr.contains("add --push"), "{several:?}");
    // Only the engine knows if it has an image.
    for skip in ["--skip-existing", "--skip-unchanged"] {
        let run = build(&tree, &["--plan", skip]).expect(3);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn plan_names_images_that_the_engine_has() {
    require_engine();
    let tree = TestTree::new(&[
        ("base", "FROM debian:bookworm\n"),
        ("app", "FROM @base\nCOPY run.sh /run.sh\n"),
        ("app-extra", "FROM @app\nRUN true\n"),
        ("other", "FROM @base\nRUN true\n"),
    ]);
    let _cleanup = Cleanup::new(tree.namespace());
    tree.write("app/run.sh", "#!/bin/sh\n");
    tree.build(&["^app-extra$"]).expect(0);
    let plan = |arguments: &[&str]| {
        let run = tree.build(&[&["--plan", "--format", "json"], arguments].concat()).expect(0);
        let plan = json(&run);
        let told = |name: &str| {
            let entry = entry(&plan, name);
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            format!("{}: {}", text("decision"), text("reason"))
        };
        ["base", "app", "app-extra", "other"].map(told)
    };
    let has = |name: &str| format!("skipped: the engine has {}", tree.reference(name));
    assert_eq!(
        plan(&["--skip-existing"]),
        [has("base"), has("app"), has("app-extra"), "build: all images are selected".to_owned()]
    );
    let unchanged =
        |name: &str| format!("unchanged: the engine has {}, unchanged", tree.reference(name));
    let absent = "the engine has no image with this name and tag";
    assert_eq!(
        plan(&["--skip-unchanged"]),
        [
            unchanged("base"),
            unchanged("app"),
            unchanged("app-extra"),
            format!("build: all images are selected; {absent}")
        ]
    );
    tree.write("app/run.sh", "#!/bin/sh -e\n");
    assert_eq!(
        plan(&["--skip-unchanged", "app-extra", "other"]),
        [
            unchanged("base"),
            "build: needed by app-extra; file run.sh changed".to_owned(),
            "build: matches 'app-extra'; image app changed".to_owned(),
            format!("build: matches 'other'; {absent}")
        ]
    );
    // A run does what the plan says; afterwards its durations are known.
    let run = tree.build(&["--skip-unchanged", "app-extra", "other"]).expect(0);
    assert_eq!(run.names("built"), ["app", "app-extra", "other"]);
    let text = tree.build(&["--plan", "--skip-unchanged"]).expect(0).stdout;
    assert!(text.ends_with("0 to build, 4 skipped, 0 not matched, 0 unbuildable\n"), "{text}");
    let known = tree.build(&["--plan"]).expect(0).stdout;
    assert!(known.lines().last().unwrap().starts_with("about "), "{known}");
    assert!(!known.contains('?'), "{known}");
}

/// With `--push`, an image of the engine counts only if the registry has it, too.
#[test]
fn plan_names_images_missing_only_in_the_registry() {
    require_engine();
    let tree = TestTree::new(&[("base", "FROM debian:bookworm\n")]);
    let registry = registry();
    let _cleanup = Cleanup::new(format!("{registry}/{}", tree.namespace()));
    let of_registry = ["--registry", registry.as_str(), "--skip-unchanged"];
    let plan = || {
        let plan = tree.build(&[&["--plan", "--push"], of_registry.as_slice()].concat());
        plan.expect(0).stdout
    };
    tree.build(&of_registry).expect(0);
    let missing = plan();
    assert!(
        missing.contains("all images are selected; missing or changed in at least one registry"),
        "{missing}"
    );
    tree.build(&[&["--push"], of_registry.as_slice()].concat()).expect(0);
    assert!(plan().starts_with("Skipped\n  wave 1  base  the engine has "), "{}", plan());
}

#[test]
fn plan_names_the_changes_since_a_commit() {
    let tree = family();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(tree.path()).args(["-c", "user.name=a", "-c", "user.email=a@b.example"]);
        git.args(arguments);
        Run::of(git).expect(0)
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=a commit"]);
    tree.image("lone", "FROM debian:trixie\nRUN true\n");
    let plan = build(&tree, &["--plan", "--changed-since", "HEAD"]).expect(0).stdout;
    insta::assert_snapshot!("changed-since", plan);
}

/// For any small tree, the plan has the images that `--list-images` lists, in the same order.
#[test]
fn plan_and_list_name_the_same_images() {
    let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
    let names = ["a", "b", "c", "d", "e", "f"];
    let parents = prop::collection::vec(any::<prop::sample::Index>(), 1..names.len());
    let asked = prop::collection::btree_set(0..names.len(), 0..4);
    let property = |(parents, asked, skips): (Vec<prop::sample::Index>, BTreeSet<usize>, bool)| {
        let tree = TestTree::new(&[]);
        for (at, (name, parent)) in names.iter().zip(&parents).enumerate() {
            match parent.index(at + 1) {
                0 => tree.image(name, "FROM debian:bookworm\n"),
                n => tree.image(name, &format!("FROM @{}\n", names[n - 1])),
            }
        }
        let patterns: Vec<_> = asked.iter().map(|at| format!("^{}$", names[*at])).collect();
        let mut arguments: Vec<&str> = patterns.iter().map(String::as_str).collect();
        arguments.extend(skips.then_some("--skip-parents"));
        let listed = build(&tree, &[&["--list-images"], arguments.as_slice()].concat());
        let plan = build(&tree, &[&["--plan", "-f", "json"], arguments.as_slice()].concat());
        prop_assert_eq!(listed.code, plan.code);
        if plan.code == 0 {
            let listed = listed.stdout.lines().map(|line| line.split(" : ").nth(1).unwrap());
            let plan = json(&plan);
            let images = plan["images"].as_array().unwrap().iter();
            let built = images.filter(|image| image["decision"] == "build");
            let built: Vec<_> = built.map(|image| image["name"].as_str().unwrap()).collect();
            prop_assert_eq!(built, listed.collect::<Vec<_>>());
        }
        Ok(())
    };
    runner.run(&(parents, asked, any::<bool>()), property).unwrap();
}

/// Returns the file that `--save-dependency` writes to the tree's folder.
fn saved(tree: &TestTree, name: &str, arguments: &[&str]) -> String {
    let file = tree.path().join(name);
    let file = file.to_str().unwrap();
    build(tree, &[&["--save-dependency", file], arguments].concat()).expect(0);
    fs::read_to_string(Path::new(file)).unwrap()
}

#[test]
fn a_graph_is_written_in_the_format_of_its_file() {
    let tree = family();
    let dot = saved(&tree, "graph.dot", &[]);
    assert!(dot.starts_with("// Container Images Dependency\ndigraph {\n"), "{dot}");
    assert_eq!(saved(&tree, "graph", &[]), dot);
    let json = saved(&tree, "graph.json", &[]);
    insta::assert_snapshot!("graph-json", json);
    let mermaid = saved(&tree, "graph.mmd", &[]);
    insta::assert_snapshot!("graph-mermaid", mermaid);
    assert_eq!(saved(&tree, "graph.mermaid", &[]), mermaid);
    assert_eq!(saved(&tree, "graph.json", &["--graph-format", "dot"]), dot);
    assert_eq!(saved(&tree, "graph.dot", &["--graph-format", "mermaid"]), mermaid);
    let printed = |arguments: &[&str]| {
        build(&tree, &[&["--save-dependency", "-"], arguments].concat()).expect(0).stdout
    };
    assert_eq!(printed(&[]), dot);
    assert_eq!(printed(&["--graph-format", "json"]), json);
    assert!(!Path::new("-").exists());
    let lone = printed(&["--graph-format", "mermaid", "^lone$"]);
    assert_eq!(lone.lines().count(), 4, "{lone}");
}

#[test]
fn a_graph_that_can_not_be_written_is_refused() {
    let tree = family();
    let unwritable = build(&tree, &["--save-dependency", "/nonexistent/graph.json"]).expect(2);
    assert!(unwritable.stderr.contains("'/nonexistent/graph.json' can't be written"));
    let wrong = ["--save-dependency", "-", "--graph-format", "svg"];
    insta::assert_snapshot!("wrong-graph-format", build(&tree, &wrong).shown(&[]));
    insta::assert_snapshot!(
        "format-of-no-graph",
        build(&tree, &["--graph-format", "json"]).shown(&[])
    );
}
