//! Values from outside of a Dockerfile that decide what it refers to, given to the program in each
//! documented way: build arguments, the platforms of the build and of the engine, and the builder,
//! which may leave out stages.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::http::{self, Server, by_call};
use crate::support::{Run, TestTree, kiln};

/// Options that give the images of [`family`] their references.
const NAMED: [&str; 4] = ["--namespace", "family", "--tag", "t"];

/// Creates a family whose `app` has this Dockerfile. References are `family/one-binary-NAME:t`.
fn family(app: &str) -> TestTree {
    TestTree::new(&[
        ("base", "FROM debian:bookworm\n"),
        ("tools", "FROM @base\nRUN true\n"),
        ("app", app),
    ])
    .in_namespace("family")
}

/// Returns the dependencies that a build of `app` with these arguments lists, without white space.
fn dependencies(tree: &TestTree, arguments: &[&str]) -> String {
    let run = tree.build(&[&["--list-dependencies", "^app$"], arguments].concat()).expect(0);
    run.stdout.split_whitespace().collect()
}

/// Returns the images that a build of `app` with these arguments would build, in order.
fn listed(tree: &TestTree, arguments: &[&str]) -> Vec<String> {
    let run = tree.build(&[&["--list-images", "^app$"], arguments].concat()).expect(0);
    let names = run.stdout.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned());
    names.collect()
}

/// Runs another command of Kiln on the tree.
fn run(tree: &TestTree, arguments: &[&str]) -> Run {
    let mut command = kiln();
    command.args(arguments).args(NAMED).args(["--tree", "."]).current_dir(tree.path());
    command.env("DOCKER_HOST", "unix:///nonexistent/engine.sock");
    Run::of(command)
}

const ON_TOOLS: &str = "ON:family/one-binary-tools:t";

#[test]
fn build_argument_makes_an_image_of_the_tree_the_parent() {
    for (app, value) in [
        ("ARG ON=debian:bookworm\nFROM ${ON}\n", "ON:family/one-binary-tools:t"),
        ("ARG ON\nFROM $ON AS last\n", "ON:family/one-binary-tools:t"),
        ("ARG ON=\nFROM ${ON:-debian:bookworm}\n", "ON:family/one-binary-tools:t"),
        ("ARG NAME=nothing\nFROM family/one-binary-${NAME}:t\n", "NAME:tools"),
        ("ARG A=x\nARG ON=debian:$A\nFROM $ON\n", "ON:family/one-binary-tools:t"),
    ] {
        let tree = family(app);
        let given = ["--build-args", value];
        assert_eq!(dependencies(&tree, &given), r#"{"base":[{"tools":["app"]}]}"#, "{app}");
        assert_eq!(listed(&tree, &given), ["base", "tools", "app"], "{app}");
    }
}

#[test]
fn build_argument_replaces_an_image_of_the_tree() {
    let tree = family("ARG ON=family/one-binary-tools:t\nFROM ${ON}\n");
    assert_eq!(listed(&tree, &[]), ["base", "tools", "app"]);
    assert_eq!(listed(&tree, &["--build-args", "ON:debian:12"]), ["app"]);
    let plan = tree.build(&["--plan", "--build-args", "ON:debian:12", "^app$"]).expect(0);
    assert!(plan.stdout.contains("1 to build"), "{plan:?}");
}

#[test]
fn build_argument_decides_what_is_copied_from() {
    let copying = "ARG FROM_HERE=debian:bookworm\nFROM ${FROM_HERE} AS source\nFROM @base\n\
                   COPY --from=source /etc/hostname /x\n";
    let mounting = "ARG FROM_HERE\nFROM ${FROM_HERE:-debian:bookworm} AS source\nFROM @base\n\
                    RUN --mount=from=source,target=/m true\n";
    for app in [copying, mounting] {
        let tree = family(app);
        assert_eq!(listed(&tree, &[]), ["base", "app"], "{app}");
        let given = ["--build-args", "FROM_HERE:family/one-binary-tools:t"];
        assert_eq!(listed(&tree, &given), ["base", "tools", "app"], "{app}");
        let graph = tree.path().join("graph.json");
        let save = ["--save-dependency", graph.to_str().unwrap(), "--graph-format", "json"];
        tree.build(&[&save[..], &given].concat()).expect(0);
        let graph: Value = serde_json::from_str(&std::fs::read_to_string(graph).unwrap()).unwrap();
        assert!(graph.to_string().contains("tools"), "{graph}");
    }
}

#[test]
fn build_arguments_of_a_file_and_of_the_environment_count() {
    let tree = family("ARG ON=debian:bookworm\nFROM ${ON}\n");
    tree.write("site.conf", &format!("[DEFAULT]\nbuild_args = {ON_TOOLS}\n"));
    let file = tree.path().join("site.conf");
    let of_file = ["--config-file", file.to_str().unwrap()];
    assert_eq!(listed(&tree, &of_file), ["base", "tools", "app"]);
    let mut command = tree.command(&["--list-images", "^app$"]);
    command.env("KILN_BUILD_ARGS", ON_TOOLS);
    assert_eq!(Run::of(command).expect(0).stdout.lines().count(), 3);
    // References to other options in a value are replaced before.
    tree.write("site.conf", "[DEFAULT]\nbuild_args = ON:$namespace/one-binary-tools:$tag\n");
    assert_eq!(listed(&tree, &of_file), ["base", "tools", "app"]);
}

#[test]
fn only_build_arguments_that_are_given_count() {
    let tree = family("ARG http_proxy=debian:bookworm\nFROM ${http_proxy}\n");
    let listed_with_proxy = |arguments: &[&str]| {
        let mut command = tree.command(&[&["--list-images", "^app$"], arguments].concat());
        command.env("http_proxy", "family/one-binary-tools:t");
        Run::of(command).expect(0).stdout.lines().count()
    };
    assert_eq!(listed_with_proxy(&[]), 1);
    let given = ["--build-args", "http_proxy:family/one-binary-base:t"];
    assert_eq!(listed_with_proxy(&given), 2);
}

#[test]
fn other_commands_read_dockerfiles_with_the_build_arguments() {
    let tree = family("ARG ON=debian:bookworm\nFROM ${ON}\n");
    let given = ["--build-args", ON_TOOLS];
    let explained = run(&tree, &[&["explain", "app"], &given[..]].concat()).expect(0).stdout;
    assert!(explained.contains("built on     tools, base"), "{explained}");
    let missing = ["--build-args", "ON:family/one-binary-missing:t"];
    let found = run(&tree, &[&["lint", "--rule", "unknown-image"], &missing[..]].concat());
    assert!(found.expect(1).stdout.contains("FROM names 'missing'"));
    run(&tree, &[&["lint", "--rule", "unknown-image"], &given[..]].concat()).expect(0);
}

/// Runs git in the folder of the tree.
fn git(folder: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    git.args(arguments);
    Run::of(git).expect(0);
}

#[test]
fn parent_by_a_build_argument_is_a_part_of_the_fingerprint() {
    let tree = family("ARG ON=debian:bookworm\nFROM ${ON}\n");
    git(tree.path(), &["init", "--quiet"]);
    git(tree.path(), &["add", "--all"]);
    git(tree.path(), &["commit", "--quiet", "--message=a commit"]);
    tree.image("tools", "FROM @base\nRUN false\n");
    let affected = |arguments: &[&str]| {
        let line = ["affected", "--since", "HEAD"];
        run(&tree, &[&line, arguments].concat()).expect(0).stdout
    };
    assert_eq!(affected(&[]), "tools: Dockerfile changed\n");
    let with_parent = affected(&["--build-args", ON_TOOLS]);
    assert_eq!(with_parent, "tools: Dockerfile changed\napp: image tools changed\n");
}

#[test]
fn platform_of_the_build_chooses_stages() {
    let app = "FROM @base AS pick-amd64\nFROM @tools AS pick-s390x\nFROM debian:bookworm AS \
               pick-arm64\nFROM pick-${TARGETARCH}\n";
    let tree = family(app);
    for (platform, expected) in [
        ("linux/amd64", &["base", "app"][..]),
        ("linux/s390x", &["base", "tools", "app"]),
        ("linux/arm64", &["app"]),
    ] {
        assert_eq!(listed(&tree, &["--platform", platform]), expected, "{platform}");
    }
}

#[test]
fn stages_that_nothing_needs_count_only_for_the_classic_builder() {
    for app in [
        "FROM @tools AS unused\nFROM debian:bookworm\n",
        "FROM @tools AS one\nFROM one AS two\nFROM debian:bookworm\n",
        "FROM debian:bookworm AS x\nCOPY --from=@tools / /\nFROM debian:bookworm\n",
        "FROM debian:bookworm AS x\nRUN --mount=from=@tools true\nFROM scratch\nCOPY . /\n",
    ] {
        let tree = family(app);
        assert_eq!(listed(&tree, &[]), ["app"], "{app}");
        assert_eq!(listed(&tree, &["--nobuildkit"]), ["base", "tools", "app"], "{app}");
        let podman = ["--nobuildkit", "--engine", "podman"];
        assert_eq!(listed(&tree, &podman), ["app"], "{app}");
    }
}

#[test]
fn lint_sees_stages_that_nothing_needs() {
    let tree = family("FROM @missing AS unused\nFROM debian:bookworm\n");
    assert_eq!(listed(&tree, &[]), ["app"]);
    tree.build(&["--list-images", "--nobuildkit"]).expect(2);
    let found = run(&tree, &["lint", "--rule", "unknown-image"]).expect(1);
    assert!(found.stdout.contains("FROM names 'missing'"), "{found:?}");
}

const ID: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Starts an engine of this architecture that has every image and builds none.
fn engine(architecture: &str) -> Server {
    let version = format!(
        r#"{{"Version":"0","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"{architecture}"}}"#
    );
    let failed = r#"{"errorDetail":{"message":"exit code: 9"},"error":"exit code: 9"}"#;
    Server::plain(by_call(vec![
        ("GET /version", http::json(200, &version)),
        ("GET /info", http::json(200, "{}")),
        ("GET /images/json", http::json(200, "[]")),
        ("GET /images/", http::json(200, &format!(r#"{{"Id":"{ID}"}}"#))),
        ("POST /images/create", http::json(200, "{}")),
        ("POST /build", http::json(200, failed)),
    ]))
}

/// Returns the images that a build of `app` on an engine pulls, each with its platform, and the
/// failed images.
fn pulled(app: &str, architecture: &str, arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let (tree, engine) = (family(app), engine(architecture));
    let mut command = tree.command(&[&["--pull", "^app$"], arguments].concat());
    command.env("DOCKER_HOST", format!("tcp://{}", engine.address()));
    let failed = Run::of(command).names("failed");
    let value = |call: &str, key: &str| {
        let query = call.split_once('?').unwrap().1.to_owned();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(name, _)| *name == key).unwrap_or_default().1.to_owned();
        found.replace("%2F", "/").replace("%3A", ":")
    };
    let calls = engine.asked().iter().map(http::Request::call).collect::<Vec<_>>();
    let pulls = calls.iter().filter(|call| call.starts_with("POST /images/create"));
    let pulls =
        pulls.map(|call| format!("{} {}", value(call, "fromImage"), value(call, "platform")));
    let mut pulls: Vec<String> = pulls.map(|pull| pull.trim_end().to_owned()).collect();
    pulls.sort();
    (pulls, failed)
}

#[test]
fn bases_are_pulled_for_the_platforms_of_their_stages() {
    let app = "ARG P=linux/s390x\nFROM --platform=$BUILDPLATFORM one.example.com/a:1 AS a\n\
               FROM --platform=${P} one.example.com/b:1 AS b\n\
               FROM --platform=$TARGETPLATFORM one.example.com/c:1 AS c\nFROM one.example.com/d:1\n\
               COPY --from=a / /\nCOPY --from=b / /\nCOPY --from=c / /\n\
               COPY --from=one.example.com/e:1 / /\n";
    let pulls = |arguments: &[&str]| {
        let found = pulled(app, "amd64", &[&["--nobuildkit"], arguments].concat()).0;
        found.iter().map(|pull| pull.replace("one.example.com/", "")).collect::<Vec<_>>()
    };
    assert_eq!(
        pulls(&["--platform", "linux/arm64"]),
        [
            "a:1 linux/amd64",
            "b:1 linux/s390x",
            "c:1 linux/arm64",
            "d:1 linux/arm64",
            "e:1 linux/arm64"
        ]
    );
    // For the engine's own platform, nothing is asked for, as before.
    assert_eq!(pulls(&[]), ["a:1", "b:1 linux/s390x", "c:1", "d:1", "e:1"]);
    let given = pulls(&["--build-args", "P:linux/ppc64le"]);
    assert_eq!(given[1], "b:1 linux/ppc64le");
}

#[test]
fn base_for_several_platforms_is_left_to_the_builds() {
    let app = "FROM --platform=linux/s390x one.example.com/a:1 AS a\nFROM one.example.com/a:1\n\
               COPY --from=a / /\nCOPY --from=one.example.com/b:1 / /\n";
    assert_eq!(pulled(app, "amd64", &["--nobuildkit"]).0, ["one.example.com/b:1"]);
}

#[test]
fn bases_of_stages_that_nothing_needs_are_pulled_for_the_classic_builder_alone() {
    let app = "FROM one.example.com/unused:1 AS x\nFROM one.example.com/a:1\n";
    assert_eq!(pulled(app, "amd64", &[]).0, ["one.example.com/a:1"]);
    assert_eq!(
        pulled(app, "amd64", &["--nobuildkit"]).0,
        ["one.example.com/a:1", "one.example.com/unused:1"]
    );
}

#[test]
fn default_that_a_build_argument_replaces_is_not_pulled() {
    let app = "ARG ON=one.example.com/default:1\nFROM ${ON}\n";
    let given = ["--nobuildkit", "--build-args", "ON:one.example.com/given:1"];
    assert_eq!(pulled(app, "amd64", &given).0, ["one.example.com/given:1"]);
}

/// The architecture of the engine counts, and not that of the machine that the program is run on.
#[test]
fn engine_of_another_architecture_chooses_the_stages() {
    let app = "FROM one.example.com/x:1 AS pick-s390x\nFROM one.example.com/y:1 AS pick-riscv64\n\
               FROM pick-${TARGETARCH} AS z\nFROM --platform=linux/${BUILDARCH} z2.example.com/z:1\n\
               COPY --from=z / /\n";
    assert_eq!(pulled(app, "s390x", &[]).0, ["one.example.com/x:1", "z2.example.com/z:1"]);
    assert_eq!(pulled(app, "riscv64", &[]).0, ["one.example.com/y:1", "z2.example.com/z:1"]);
}
