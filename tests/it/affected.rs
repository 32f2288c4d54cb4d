//! Images that a change affects, reported and built, in real git repositories.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::family::{self, APP, BASE, OPTIONS, run};
use crate::support::{Cleanup, Engine, Run, TestTree, kiln, require_engine, wait_for};

/// Runs git in `folder`.
#[track_caller]
fn git(folder: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    Run::of({
        git.args(arguments);
        git
    })
    .expect(0);
}

/// Creates the family in a repository, with a file for one of its images, and commits it.
fn family() -> TestTree {
    committed(family::tree(APP))
}

fn committed(tree: TestTree) -> TestTree {
    tree.write("app/run.sh", "#!/bin/sh\n");
    git(tree.path(), &["init", "--quiet"]);
    commit(&tree);
    tree
}

fn commit(tree: &TestTree) {
    git(tree.path(), &["add", "--all"]);
    git(tree.path(), &["commit", "--quiet", "--message=a commit"]);
}

fn affected(tree: &TestTree, arguments: &[&str]) -> Run {
    run(tree, &[&["affected", "--since", "HEAD"], OPTIONS.as_slice(), arguments].concat())
}

/// Returns the output of `kiln affected` for the family after `change`.
#[track_caller]
fn told(change: impl Fn(&TestTree)) -> String {
    let tree = family();
    change(&tree);
    affected(&tree, &[]).expect(0).stdout
}

const NOTHING: &str = "";

#[test]
fn a_changed_template_affects_its_image_and_all_that_stands_on_it() {
    assert_eq!(
        told(|tree| tree.image("base", "FROM debian:bookworm\nRUN true\n")),
        "base: Dockerfile changed\n\
         app: image base changed\n\
         app-extra: image app changed\n"
    );
    let lone = told(|tree| tree.image("lone", "FROM debian:sid\n"));
    assert_eq!(
        lone,
        "lone: Dockerfile changed, base debian:sid added, base debian:trixie removed\n"
    );
}

#[test]
fn a_changed_file_affects_its_image() {
    let both = "app-extra: image app changed\n";
    let content = told(|tree| tree.write("app/run.sh", "#!/bin/sh -e\n"));
    assert_eq!(content, format!("app: file run.sh changed\n{both}"));
    let mode = told(|tree| {
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(tree.path().join("app/run.sh"), executable).unwrap();
    });
    assert_eq!(mode, format!("app: file run.sh changed\n{both}"));
    let moved = told(|tree| {
        fs::rename(tree.path().join("app/run.sh"), tree.path().join("app/start.sh")).unwrap();
    });
    assert_eq!(moved, format!("app: file run.sh removed, file start.sh added\n{both}"));
}

#[test]
fn links_are_compared_and_what_git_does_not_store_is_not() {
    use std::os::unix::fs::symlink;
    let link = |tree: &TestTree, target: &str| {
        symlink(target, tree.path().join("app/link")).unwrap();
    };
    assert_eq!(
        told(|tree| link(tree, "/run/x")),
        "app: file link added\napp-extra: image app changed\n"
    );
    let changed = told(|tree| {
        link(tree, "run.sh");
        commit(tree);
        fs::remove_file(tree.path().join("app/link")).unwrap();
        link(tree, "/gone");
    });
    assert_eq!(changed, "app: file link changed\napp-extra: image app changed\n");
    let unchanged = told(|tree| {
        let file = tree.path().join("app/run.sh");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(tree.path().join("app/empty")).unwrap();
    });
    assert_eq!(unchanged, NOTHING);
}

#[test]
fn own_reasons_are_listed_before_those_of_parents() {
    let shown = told(|tree| {
        tree.image("app", "FROM @base\nRUN true\n");
        tree.image("base", "FROM debian:bookworm\nRUN true\n");
    });
    assert!(shown.contains("\napp: Dockerfile changed, image base changed\n"), "{shown}");
}

#[test]
fn added_and_removed_images_are_listed() {
    let shown = told(|tree| {
        tree.image("new", "FROM @base\n");
        fs::remove_dir_all(tree.path().join("lone")).unwrap();
    });
    assert_eq!(shown, "new: the image is new\nlone: the image was removed\n");
}

#[test]
fn a_remark_affects_nothing() {
    let tree = family();
    tree.image("app-extra", "FROM @app\n{# another remark #}\nRUN true\n");
    tree.write("README.md", "What this is.\n");
    let run = affected(&tree, &[]).expect(0);
    assert_eq!(run.stdout, NOTHING);
    assert_eq!(run.stderr, "no image is affected since HEAD\n");
    assert_eq!(affected(&tree, &["--format", "json"]).expect(0).stdout, "[]\n");
}

#[test]
fn configuration_is_compared_too() {
    let tree = TestTree::new(APP);
    tree.write("build.conf", "[DEFAULT]\nnamespace = one\nbuild_args = A:1\n");
    let tree = committed(tree);
    let affected = || run(&tree, &["affected", "--since", "HEAD", "--tree", "."]).expect(0).stdout;
    assert_eq!(affected(), NOTHING);
    tree.write("build.conf", "[DEFAULT]\nnamespace = one\nbuild_args = A:2\n");
    assert!(affected().starts_with("base: build argument A changed\n"), "{}", affected());
    tree.write("build.conf", "[DEFAULT]\nnamespace = two\nbuild_args = A:1\n");
    assert!(affected().starts_with("base: name changed\n"), "{}", affected());
    assert_eq!(affected().lines().count(), 4);
    tree.write("build.conf", "[DEFAULT]\nnamespace = one\nbuild_args = A:1\npull = no\n");
    assert_eq!(affected(), NOTHING);
}

#[test]
fn remote_sources_are_compared_by_settings_and_local_ones_by_contents() {
    let conf = |reference: &str| {
        format!(
            "[app]\ntype = git\nlocation = https://example.com/app\nreference = {reference}\n\
             [lone]\ntype = local\nlocation = lone-source\n"
        )
    };
    let tree = TestTree::new(APP);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    tree.write("tree.toml", &format!("{manifest}[install_types.source]\nfetches_sources = true\n"));
    tree.write("build.conf", &conf("one"));
    tree.write("lone-source/file", "then\n");
    let tree = committed(tree);
    let affected = || affected(&tree, &["--type", "source"]).expect(0).stdout;
    assert_eq!(affected(), NOTHING);
    tree.write("build.conf", &conf("two"));
    assert_eq!(affected(), "app: source app changed\napp-extra: image app changed\n");
    tree.write("build.conf", &conf("one"));
    tree.write("lone-source/file", "now\n");
    assert_eq!(affected(), "lone: source lone changed\n");
}

/// Files of the repository are compared with their committed version; ignored files and those
/// outside are taken as they are now.
#[test]
fn files_beside_the_tree_are_compared_too() {
    let tree = TestTree::new(APP);
    tree.write(".gitignore", "ignored\n");
    tree.write("over/app/more", "then\n");
    let tree = committed(tree);
    tree.write("ignored/app/more", "now\n");
    assert_eq!(affected(&tree, &["-D", "over"]).expect(0).stdout, NOTHING);
    assert_eq!(affected(&tree, &["-D", "ignored"]).expect(0).stdout, NOTHING);
    tree.write("over/app/more", "now\n");
    let changed = "app: file more changed\napp-extra: image app changed\n";
    assert_eq!(affected(&tree, &["-D", "over"]).expect(0).stdout, changed);
    let absolute = tree.path().join("over");
    assert_eq!(affected(&tree, &["-D", absolute.to_str().unwrap()]).expect(0).stdout, changed);
    tree.write("newer/app/more", "now\n");
    let new = "app: file more added\napp-extra: image app changed\n";
    assert_eq!(affected(&tree, &["-D", "newer"]).expect(0).stdout, new);
    let text = "{% extends parent_template %}\n{% block lone_footer %}\nRUN x\n{% endblock %}\n";
    tree.write("mine.tera", text);
    let with_override = affected(&tree, &["--template-override", "mine.tera"]).expect(0);
    assert_eq!(with_override.stdout, "lone: Dockerfile changed\n");
}

#[test]
fn a_selection_limits_the_list() {
    let tree = family();
    tree.image("base", "FROM debian:bookworm\nRUN true\n");
    tree.image("lone", "FROM debian:trixie\nRUN true\n");
    assert_eq!(affected(&tree, &["^lone$"]).expect(0).stdout, "lone: Dockerfile changed\n");
    let leaves = affected(&tree, &["--skip-parents", "--skip-existing"]).expect(0).stdout;
    assert_eq!(leaves, "lone: Dockerfile changed\napp-extra: image app changed\n");
    assert_eq!(affected(&tree, &["nobody"]).expect(4).stdout, NOTHING);
}

#[test]
fn several_axes_are_listed_apart() {
    let tree = family();
    tree.image("lone", "FROM debian:{{ install_type }}\n");
    tree.image("app", "FROM @base\n{% if install_type == \"source\" %}RUN true{% endif %}\n");
    let both = ["--type", "binary,source", "^lone$", "^app$"];
    insta::assert_snapshot!("axes", affected(&tree, &both).expect(0).stdout);
    let json = affected(&tree, &[&["--format", "json"], both.as_slice()].concat()).expect(0);
    insta::assert_snapshot!("axes-json", json.stdout);
}

#[test]
fn commits_that_git_does_not_know_are_refused() {
    let tree = family();
    let place = regex::escape(&tree.path().canonicalize().unwrap().display().to_string());
    let shown =
        |run: &Run| run.shown(&[(&place, "TREE"), (r"(?s)git says: .*?\n", "git says: ...\n")]);
    let since = |reference: &str| {
        run(&tree, &[&["affected", "--since", reference], OPTIONS.as_slice()].concat()).expect(2)
    };
    insta::assert_snapshot!("unknown-commit", shown(&since("nowhere")));
    let option = [&["affected", "--since=--help"], OPTIONS.as_slice()].concat();
    assert!(run(&tree, &option).expect(2).stderr.contains("has no commit '--help'"));
    let alone = TestTree::new(APP);
    let run_alone = affected(&alone, &["--tree", alone.path().to_str().unwrap()]).expect(2);
    assert!(run_alone.stderr.contains("is not in a git repository"), "{run_alone:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = kiln();
    command.args(["affected", "--since", "HEAD", "-b", "debian"]).current_dir(elsewhere.path());
    insta::assert_snapshot!("embedded", shown(&Run::of(command).expect(2)));
}

#[test]
fn missing_or_broken_tree_at_the_commit_is_reported() {
    let tree = family();
    fs::create_dir(tree.path().join("later")).unwrap();
    fs::copy(tree.path().join("tree.toml"), tree.path().join("later/tree.toml")).unwrap();
    tree.write("later/lone/Dockerfile.tera", "FROM debian:trixie\n");
    let later = affected(&tree, &["--tree", "later"]).expect(2);
    assert!(later.stderr.contains("the tree 'later' did not exist at HEAD"), "{later:?}");
    tree.write("later/lone/Dockerfile.tera", "FROM {{ nothing }}\n");
    commit(&tree);
    tree.write("later/lone/Dockerfile.tera", "FROM debian:trixie\n");
    let wrong = affected(&tree, &["--tree", "later"]).expect(2);
    assert!(wrong.stderr.contains("found at HEAD"), "{wrong:?}");
}

/// A shallow clone has to fetch the commit first.
#[test]
fn shallow_clone_is_refused_with_advice_to_fetch() {
    let tree = family();
    commit_all_again(&tree);
    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", tree.path().display());
    git(clone.path(), &["clone", "--quiet", "--depth=1", &from, "clone"]);
    let folder = clone.path().join("clone");
    let mut command = kiln();
    command.args(["affected", "--since", "HEAD~1"]).args(OPTIONS).current_dir(&folder);
    let run = Run::of(command).expect(2);
    assert!(run.stderr.contains("git fetch --unshallow"), "{run:?}");
}

fn commit_all_again(tree: &TestTree) {
    tree.write("README.md", "What this is.\n");
    commit(tree);
}

/// The repository does not change, no matter what state it is in.
#[test]
fn the_repository_is_left_as_it_is() {
    let tree = family();
    tree.write("app/run.sh", "#!/bin/sh -e\n");
    git(tree.path(), &["add", "app/run.sh"]);
    let index = || fs::read(tree.path().join(".git/index")).unwrap();
    let before = index();
    affected(&tree, &[]).expect(0);
    assert_eq!(index(), before);
}

#[test]
fn unchanged_images_are_not_listed() {
    let tree = family();
    let build = |arguments: &[&str]| {
        let since = ["build", "--changed-since", "HEAD"];
        run(&tree, &[&since, OPTIONS.as_slice(), arguments].concat())
    };
    assert_eq!(build(&["--list-images"]).expect(0).stdout, NOTHING);
    tree.write("app/run.sh", "#!/bin/sh -e\n");
    assert_eq!(build(&["--list-images"]).expect(0).stdout, "1 : app\n2 : app-extra\n");
    assert_eq!(build(&["--list-images", "^app$"]).expect(0).stdout, "1 : app\n");
    let dependencies = build(&["--list-dependencies"]).expect(0).stdout;
    let compact = dependencies.split_whitespace().collect::<String>();
    // A parent that did not change is shown above the affected images.
    assert_eq!(compact, r#"{"base":[{"app":["app-extra"]}]}"#);
    let unknown = build(&["--list-images", "--changed-since", "nowhere"]).expect(2);
    assert!(unknown.stderr.contains("has no commit 'nowhere'"), "{unknown:?}");
    let embedded = ["--list-images", "--tree", "", "-b", "debian"];
    assert!(build(&embedded).expect(2).stderr.contains("has no git history"));
    build(&[]).expect(3);
}

#[test]
fn changed_images_are_built_on_unchanged_parents() {
    require_engine();
    let tree = committed(TestTree::new(&[
        ("base", "FROM debian:bookworm\n"),
        ("app", "FROM @base\nCOPY run.sh /run.sh\n"),
        ("app-extra", "FROM @app\nRUN true\n"),
        ("other", "FROM @base\nRUN true\n"),
    ]));
    let _cleanup = Cleanup::new(tree.namespace());
    let build = |arguments: &[&str]| {
        let run = tree.build(&[&["--changed-since", "HEAD"], arguments].concat()).expect(0);
        (run.names("built"), run.summary())
    };
    let nothing: [&str; 0] = [];
    assert_eq!(build(&[]).0, nothing);
    tree.write("app/run.sh", "#!/bin/sh -e\n");
    // A parent that the engine does not have is built, too.
    assert_eq!(build(&[]).0, ["app", "app-extra", "base"]);
    let before = Engine::Docker.image_id(&tree.reference("base"));
    let (built, summary) = build(&[]);
    assert_eq!(built, ["app", "app-extra"]);
    let skipped = summary["skipped"].to_string();
    assert!(skipped.contains("unchanged since HEAD"), "{skipped}");
    assert_eq!(Engine::Docker.image_id(&tree.reference("base")), before);
    assert_eq!(Engine::Docker.file_in(&tree.reference("app"), "/run.sh"), "#!/bin/sh -e\n");
    assert_eq!(Engine::Docker.image_id(&tree.reference("other")), "");
    // An image that carries the right fingerprint already is not built again.
    tree.build(&["--skip-unchanged", "^app-extra$"]).expect(0);
    assert_eq!(build(&["--skip-unchanged"]).0, nothing);
}

/// `explain` reports what a build with the same options does.
#[test]
fn an_image_that_did_not_change_is_explained() {
    let tree = family();
    let arguments = [&["explain", "lone", "--changed-since", "HEAD"], OPTIONS.as_slice()].concat();
    let told = run(&tree, &arguments).expect(0).stdout;
    assert!(told.starts_with("lone: skipped: unchanged since HEAD\n"), "{told}");
}

/// Template that is rendered for longer than any test takes, within the limit of memory.
const ENDLESS: &str = "FROM debian:1\n{% for a in range(end=99999) %}{% for b in range(end=99999) %}\
                       {% for c in range(end=99999) %}{% endfor %}{% endfor %}{% endfor %}";

/// Template whose text doubles until it takes more memory than is allowed.
const GROWING: &str = "FROM debian:1\n{% set_global t = \"x\" %}{% for a in range(end=60) %}\
                       {% set_global t = t ~ t %}{% endfor %}";

/// Returns a tree whose image `base` had this template at the last commit.
fn with_base_at_commit(template: &str) -> TestTree {
    let tree = family::tree(APP);
    tree.image("base", template);
    let tree = committed(tree);
    tree.image("base", BASE.1);
    tree
}

/// Returns `kiln affected` for this tree, with `folder` for temporary files.
fn affected_in(tree: &TestTree, folder: &Path) -> Command {
    let mut command = kiln();
    command.args(["affected", "--since", "HEAD"]).args(OPTIONS);
    command.current_dir(tree.path()).env("TMPDIR", folder);
    command
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn no_temporary_folder_is_left_by_any_exit_code() {
    let table = [
        (BASE.1, 0, ""),
        ("FROM {{ unknown", 2, "found at HEAD"),
        (GROWING, 2, "more than 1024 MiB of memory"),
    ];
    for (template, code, message) in table {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::of(affected_in(&with_base_at_commit(template), folder.path())).expect(code);
        assert!(run.stderr.contains(message), "{}", run.stderr);
        assert!(is_empty(folder.path()), "after exit code {code} of {template}");
    }
}

#[test]
fn no_temporary_folder_is_left_by_a_signal() {
    let tree = with_base_at_commit(ENDLESS);
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = affected_in(&tree, folder.path()).spawn().unwrap();
        let is_exported = || {
            let inside = fs::read_dir(folder.path()).unwrap().flatten();
            inside.map(|one| one.file_name()).any(|name| name.to_string_lossy().contains("past"))
        };
        wait_for("the export of the commit", is_exported);
        let kill = Command::new("kill").args([&format!("-{name}"), &run.id().to_string()]).status();
        assert!(kill.unwrap().success());
        assert_eq!(run.wait().unwrap().signal(), Some(number));
        assert!(is_empty(folder.path()), "after SIG{name}");
    }
}
