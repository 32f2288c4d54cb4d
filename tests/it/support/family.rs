//! Families of images that the tests of several commands share. A test adds to them what it is about,
//! by [`TestTree::image`] and [`TestTree::write`].
//!
//! ```text
//! GROUP: base -> group-base -> group-api          APP: base -> app -> app-extra
//!                           -> group-tool              lone
//!        lone ----- copied to ----^
//! ```

use std::process::Command;

use super::{Run, TestTree, kiln};

/// Images in a folder of their own, one of which copies from an image that is no relative.
pub const GROUP: &[(&str, &str)] = &[
    BASE,
    ("group/group-base", "FROM @base\nRUN useradd --uid {{ users.app.uid }} app\n"),
    ("group/group-api", "FROM @group-base\n"),
    ("group/group-tool", "FROM @group-base\nCOPY --from=@lone /x /x\n"),
    LONE,
];

/// Chain of three images, the second of which has a file in its context, and an image beside them.
pub const APP: &[(&str, &str)] = &[
    BASE,
    ("app", "FROM @base\nCOPY run.sh /run.sh\n"),
    ("app-extra", "FROM @app\n{# a remark #}\nRUN true\n"),
    LONE,
];

/// Image that all families begin with.
pub const BASE: (&str, &str) = ("base", "FROM {{ base_image }}:{{ base_distro_tag }}\n");

const LONE: (&str, &str) = ("lone", "FROM debian:trixie\n");

/// Name of a family: it is the namespace of the images, so that outputs are the same in every run.
pub const NAME: &str = "family";

/// Options of a command that [`run`] runs on the family.
pub const OPTIONS: [&str; 6] = ["--tree", ".", "--namespace", NAME, "--tag", "t"];

/// Creates a tree with these images of a family, and with the file of `app`.
pub fn tree(images: &[(&str, &str)]) -> TestTree {
    let tree = TestTree::new(images).in_namespace(NAME);
    if images.iter().any(|(name, _)| *name == "app") {
        tree.write("app/run.sh", "#!/bin/sh\n");
    }
    tree
}

/// Runs `kiln` in the tree's folder, without a reachable engine.
pub fn run(tree: &TestTree, arguments: &[&str]) -> Run {
    let mut command = kiln();
    command.args(arguments).current_dir(tree.path());
    without_engine(command)
}

/// Runs `kiln build` on a tree, without a reachable engine.
pub fn build(tree: &TestTree, arguments: &[&str]) -> Run {
    without_engine(tree.command(arguments))
}

fn without_engine(mut command: Command) -> Run {
    Run::of({
        command.env("DOCKER_HOST", "unix:///nonexistent/engine.sock");
        command
    })
}
