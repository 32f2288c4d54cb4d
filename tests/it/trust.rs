//! Options that template trees and the configuration files of a checkout may set, and those that
//! they may not: tested through the program, with malicious trees and files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::checkout::checkout;
use crate::support::{Run, TestTree, commit, files_below, kiln};
use kiln::internals::settings::{Authority, Kind, OPTIONS, Opt, OptionDefault};

const IMAGES: &[(&str, &str)] = &[("base", "FROM debian:bookworm\n"), ("app", "FROM @base\n")];

/// Commands that build nothing, on the tree in the current folder.
const COMMANDS: &[&[&str]] = &[
    &["build", "--list-images"],
    &["build", "--list-dependencies"],
    &["build", "--plan"],
    &["build", "--changed-since", "HEAD", "--list-images"],
    &["explain", "app"],
    &["affected", "--since", "HEAD"],
    &["lint"],
    &["config", "show"],
];

/// Returns a value of an option's type.
fn sample(option: &Opt) -> String {
    match (option.kind, option.default) {
        (Kind::Bool, OptionDefault::Value("true")) => "false".to_owned(),
        (Kind::Bool, _) => "true".to_owned(),
        (Kind::Count(_), _) => "7".to_owned(),
        (Kind::Choice(words) | Kind::OptionalChoice(words), _) => words[1].to_owned(),
        (Kind::Dict, _) => "A:1".to_owned(),
        _ => "sample".to_owned(),
    }
}

/// Sets an option under `[defaults]` of a tree's manifest, replacing its former value.
fn set_default(tree: &TestTree, name: &str, value: &str) {
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let others = manifest.lines().filter(|line| !line.starts_with(&format!("{name} =")));
    let others = others.collect::<Vec<_>>().join("\n");
    tree.write(
        "tree.toml",
        &others.replace("[defaults]", &format!("[defaults]\n{name} = {value}")),
    );
}

/// Runs a command with `--tree .` in the folder `at`, as a user whose home is empty.
fn run_in(at: &Path, command: &[&str]) -> Run {
    let mut run = kiln();
    run.args(command).args(["--tree", "."]).current_dir(at);
    run.env("HOME", "/nonexistent").env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
    Run::of(run)
}

#[test]
fn each_option_is_for_trees_or_refused_from_one() {
    let mut accepted = BTreeSet::new();
    for option in OPTIONS {
        let tree = TestTree::new(IMAGES);
        set_default(&tree, option.name, &format!("\"{}\"", sample(option)));
        let run = run_in(tree.path(), &["config", "show"]);
        if option.authority == Authority::Tree {
            assert!(!run.stderr.contains("can't set the option"), "{}: {run:?}", option.name);
            accepted.insert(option.name);
        } else {
            let run = run.expect(2);
            let refusal = format!("error: a template tree can't set the option '{}'", option.name);
            assert!(run.stderr.starts_with(&refusal), "{run:?}");
            assert!(run.stderr.contains("./tree.toml:4:"), "{run:?}");
            let cure = match option.kind {
                Kind::Positional => "give REGEX on the command line".to_owned(),
                _ => format!("use --{} or", option.flag),
            };
            assert!(run.stderr.contains(&cure), "{run:?}");
        }
    }
    assert_eq!(
        accepted.into_iter().collect::<Vec<_>>().join(" "),
        "base base_arch base_image base_tag clean_package_cache debian_arch docker_healthchecks \
         image_name_prefix infra_rename install_type maintainer namespace openstack_branch \
         openstack_branch_slashed openstack_release openstack_release_codename rpm_setup_config tag \
         tarballs_base use_dumb_init"
    );
}

#[test]
fn manifest_that_sets_an_option_of_the_user_is_refused_with_its_line() {
    let tree = TestTree::new(IMAGES);
    set_default(&tree, "work_dir", "\"/home/me\"");
    let run = run_in(tree.path(), &["build", "--list-images"]);
    insta::assert_snapshot!(run.shown(&[]));
    set_default(&tree, "wrok_dir", "['a', 'b']");
    let run = run_in(tree.path(), &["build", "--list-images"]).expect(2);
    assert!(run.stderr.contains("there is no option 'wrok_dir'"), "{run:?}");
}

#[test]
fn tree_that_names_folders_and_files_of_the_user_changes_nothing_in_them() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("docker/project")).unwrap();
    fs::write(home.path().join("docker/project/work.txt"), "work\n").unwrap();
    fs::write(home.path().join(".profile"), "mine\n").unwrap();
    let before = files_below(home.path());
    for (option, below) in [
        ("work_dir", ""),
        ("report", ".profile"),
        ("junit", ".profile"),
        ("summary_json_file", ".profile"),
        ("save_dependency", ".profile"),
        ("logs_dir", "logs"),
        ("state_dir", "state"),
        ("squash_tmp_dir", "squash"),
    ] {
        let tree = TestTree::new(IMAGES);
        let value = format!("\"{}\"", home.path().join(below).display());
        set_default(&tree, option, &value);
        commit(tree.path());
        for command in COMMANDS.iter().chain([&["build"].as_slice()]) {
            run_in(tree.path(), command).expect(2);
            assert_eq!(files_below(home.path()), before, "{option}: {command:?}");
        }
    }
}

#[test]
fn overlay_that_sets_an_option_of_the_user_is_refused() {
    let tree = TestTree::new(IMAGES);
    let overlay = tempfile::tempdir().unwrap();
    fs::write(overlay.path().join("tree.toml"), "[defaults]\nengine = 'podman'\n").unwrap();
    let overlay = overlay.path().to_str().unwrap();
    let run = tree.build(&["--docker-dir", overlay, "--list-images"]).expect(2);
    assert!(run.stderr.contains("can't set the option 'engine'"), "{run:?}");
    assert!(run.stderr.contains(&format!("{overlay}/tree.toml:2:")), "{run:?}");
}

#[test]
fn tables_of_a_kolla_build_set_no_option_of_the_user() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("docker")).unwrap();
    fs::write(home.path().join("docker/file"), "mine\n").unwrap();
    let before = files_below(home.path());
    let options = format!(
        "cfg.StrOpt('work-dir', default='{0}'), cfg.StrOpt('save-dependency', default='{0}/graph'), \
         cfg.StrOpt('engine', default='podman'), cfg.BoolOpt('push', default=True), \
         cfg.StrOpt('network_mode', default='none'), cfg.StrOpt('podman_base_url', default='tcp://x')",
        home.path().display()
    );
    let tree = checkout(&options, "");
    let run = run_in(tree.path(), &["build", "--list-images"]).expect(0);
    assert_eq!(run.stdout, "1 : base\n");
    assert_eq!(files_below(home.path()), before);
    let shown = run_in(tree.path(), &["config", "show"]).expect(0).stdout;
    for option in
        ["work_dir", "save_dependency", "engine", "push", "network_mode", "podman_base_url"]
    {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(option));
        assert!(line.unwrap().ends_with("default"), "{line:?}");
    }
}

#[test]
fn pipes_and_devices_in_the_place_of_tables_are_not_waited_for() {
    for path in [
        "kolla/common/config.py",
        "kolla/common/users.py",
        "kolla/common/sources.py",
        "kolla/image/unbuildable.py",
        "kolla/template/repos.yaml",
        "kolla-23.0.0.dist-info/METADATA",
        "docker/macros.j2",
    ] {
        for is_pipe in [true, false] {
            let tree = checkout("", "");
            let path = tree.path().join(path);
            fs::remove_file(&path).unwrap();
            if is_pipe {
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            } else {
                symlink("/dev/zero", &path).unwrap();
            }
            let mut run = Command::new("timeout");
            run.arg("20").arg(kiln().get_program());
            run.args(["build", "--list-images", "--tree"]).arg(tree.path());
            let run = Run::of(run);
            assert!(run.code == 0 || run.code == 2, "{}: {run:?}", path.display());
        }
    }
}

#[test]
fn names_in_the_tables_of_a_kolla_build_are_checked() {
    let tree = checkout("", "");
    let config = tree.path().join("kolla/common/config.py");
    let text = fs::read_to_string(&config).unwrap().replace("'debian'", "'../../x'");
    fs::write(config, text).unwrap();
    let run = run_in(tree.path(), &["build", "--list-images"]).expect(2);
    assert!(run.stderr.contains("'../../x' can't be the name of a base"), "{run:?}");
}

#[test]
fn values_of_a_tree_refer_to_nothing_that_only_the_user_knows() {
    let url = "https://me:password@index.example.com/simple";
    let listed = |tree: &TestTree| {
        let mut command = tree.command(&["--pip_index_url", url, "--build-args", "A:1"]);
        command
            .args(["--list-images", "--type", "source"])
            .env("KILN_PODMAN_BASE_URL", "tcp://h:1");
        Run::of(command)
    };
    for reference in ["$pip_index_url", "${pip_index_url}", "$podman_base_url", "$timeout"] {
        for line in [
            format!("[defaults]\nmaintainer = \"{reference}\""),
            format!("[defaults]\nbase_image = \"evil.example.com/{reference}\""),
        ] {
            let tree = TestTree::new(IMAGES);
            let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
            tree.write("tree.toml", &manifest.replace("[defaults]", &line));
            let run = listed(&tree);
            assert!(!run.stderr.contains("password"), "{run:?}");
            let is_given = reference != "$timeout";
            assert_eq!(
                run.stderr.contains("which a tree or checkout can't read"),
                is_given,
                "{run:?}"
            );
            run.expect(if is_given { 2 } else { 0 });
        }
        let tree = TestTree::new(IMAGES);
        let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
        let fetching = "[install_types.source]\nfetches_sources = true\n";
        let source = format!(
            "[sources.app]\ntype = 'url'\nlocation = 'http://evil.example.com/{reference}'\n"
        );
        tree.write("tree.toml", &format!("{manifest}{fetching}{source}"));
        let run = listed(&tree);
        assert_eq!(run.code, if reference == "$timeout" { 0 } else { 2 }, "{run:?}");
    }
    // A tree may see the values of options that it may set, no matter who set them.
    let tree = TestTree::new(IMAGES);
    set_default(&tree, "maintainer", "\"of $base and $openstack_release\"");
    tree.build(&["--openstack-release", "x", "--list-images"]).expect(0);
}

#[test]
fn tree_names_no_registry_as_its_namespace() {
    for namespace in ["evil.example.com/ns", "localhost/ns", "127.0.0.1:5000/ns"] {
        let tree = TestTree::new(IMAGES);
        set_default(&tree, "namespace", &format!("\"{namespace}\""));
        let run = run_in(tree.path(), &["build", "--list-images"]).expect(2);
        assert!(run.stderr.contains("can't name the registry"), "{run:?}");
        let named = ["build", "--list-images", "--namespace", namespace];
        run_in(tree.path(), &named).expect(0);
    }
}

/// Creates a tree whose manifest gives the image `app` this source.
fn tree_with_source(kind: &str, location: &str) -> TestTree {
    let tree = TestTree::new(IMAGES);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let source = format!("[sources.app]\ntype = '{kind}'\nlocation = '{location}'\n");
    let fetching = "[install_types.source]\nfetches_sources = true\n";
    tree.write("tree.toml", &format!("{manifest}{fetching}{source}"));
    tree
}

#[test]
fn tree_takes_no_file_of_the_user_as_a_source() {
    let list = |tree: &TestTree, arguments: &[&str]| {
        tree.build(&[&["--type", "source", "--list-images"], arguments].concat())
    };
    for (kind, location) in [
        ("local", "/etc/shadow"),
        ("local", "../secret"),
        ("local", "part/../../secret"),
        ("git", "/home/me/private"),
        ("git", "../private"),
        ("git", "private"),
        ("git", "file:///home/me/private"),
        ("git", "FILE:///home/me/private"),
        ("pip", "/home/me/private"),
        ("pip", "x @ file:///home/me/private"),
        ("pip", "git+file:///home/me/private"),
        ("url", "file:///etc/shadow"),
    ] {
        let tree = tree_with_source(kind, location);
        for command in [["--nopull"].as_slice(), &["--locals-base", "/"]] {
            let run = list(&tree, command).expect(2);
            assert!(run.stderr.contains("the source [app] of the tree can't use"), "{run:?}");
        }
        let conf = tree.path().join("mine.conf");
        fs::write(&conf, format!("[app]\ntype = {kind}\nlocation = {location}\n")).unwrap();
        list(&tree, &["--config-file", conf.to_str().unwrap()]).expect(0);
    }
    for (kind, location) in [
        ("git", "https://git.example.com/file:x"),
        ("git", "git@git.example.com:app"),
        ("pip", "app==1"),
        ("pip", "git+https://git.example.com/app"),
        ("url", "https://example.com/app.tar.gz"),
    ] {
        list(&tree_with_source(kind, location), &[]).expect(0);
    }
}

#[test]
fn local_sources_of_a_tree_lie_in_the_tree_or_where_the_user_says() {
    let tree = tree_with_source("local", "part");
    tree.write("part/file", "of the tree\n");
    commit(tree.path());
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("part")).unwrap();
    let affected = |arguments: &[&str]| {
        let mut command = kiln();
        command.args(["affected", "--since", "HEAD", "--type", "source", "--namespace", "ns"]);
        command.arg("--tree").arg(tree.path()).args(arguments).current_dir(elsewhere.path());
        Run::of(command).expect(0).stdout
    };
    assert_eq!(affected(&[]), "");
    tree.write("part/file", "changed\n");
    assert_eq!(affected(&[]), "app: source app changed\n");
    assert_eq!(affected(&["--locals-base", "."]), "app: source app changed\n");
    let own = elsewhere.path().join("own.conf").display().to_string();
    fs::write(&own, "[app]\ntype = local\nlocation = part\n").unwrap();
    assert_eq!(affected(&["--config-file", &own]), "");
}

/// Checkout with a tree and a `build.conf` of these lines, and a folder beside it.
struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = TestTree::new(IMAGES);
        for (path, text) in files_below(tree.path()) {
            let path = folder.path().join("checkout/docker").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let checkout = Self { folder };
        let defaults = "namespace = ns\ntag = t\n";
        fs::write(checkout.path().join("build.conf"), format!("[DEFAULT]\n{defaults}{lines}\n"))
            .unwrap();
        fs::write(checkout.path().join("secret"), "s\n").unwrap();
        checkout
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("checkout")
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = kiln();
        command.arg("build").args(arguments).current_dir(self.path());
        command.env("HOME", self.folder.path()).env_remove("DOCKER_HOST");
        Run::of(command)
    }
}

#[test]
fn file_of_a_checkout_sets_no_option_of_the_user() {
    for line in [
        "secret = id=k,src=secret",
        "ssh = default",
        "engine = podman",
        "podman_base_url = tcp://127.0.0.1:1",
        "push = yes",
    ] {
        let checkout = Checkout::new(line);
        let option = line.split(' ').next().unwrap();
        for with_git in [false, true] {
            if with_git {
                commit(&checkout.path());
            }
            let run = checkout.run(&["--list-images"]).expect(2);
            assert!(run.stderr.contains(&format!("can't set '{option}'")), "{run:?}");
            assert!(run.stderr.contains("build.conf:4:"), "{run:?}");
            assert!(run.stderr.contains("--config-file build.conf"), "{run:?}");
            checkout.run(&["--list-images", "--config-file", "build.conf"]).expect(0);
        }
        let from_below = checkout.path().join("docker");
        fs::copy(checkout.path().join("build.conf"), from_below.join("build.conf")).unwrap();
        run_in(&from_below, &["build", "--list-images"]).expect(2);
    }
    let user_options = OPTIONS.iter().filter(|option| option.authority == Authority::User);
    let names: Vec<_> = user_options.map(|option| option.name).collect();
    assert_eq!(names, ["engine", "podman_base_url", "secret", "ssh", "push"]);
}

#[test]
fn file_of_a_checkout_says_what_holds_anyway() {
    let checkout = Checkout::new(
        "engine = docker\npush = no\nregistry = registry.example.com\nthreads = 3\nlogs_dir = logs\n\
         report = out/report.html\nwork_dir = $tag\nnetwork_mode = default\nprofile = mine\n\
         [profiles]\nmine = ^app$",
    );
    let run = checkout.run(&["--list-images"]).expect(0);
    assert_eq!(run.stdout, "1 : base\n2 : app\n");
    assert!(!checkout.path().join("t").exists());
}

#[test]
fn file_of_a_checkout_names_no_path_outside_of_it() {
    let paths = OPTIONS.iter().filter(|option| option.is_path() && option.name != "tree");
    for option in paths {
        let checkout = Checkout::new("");
        symlink(checkout.folder.path(), checkout.path().join("link")).unwrap();
        symlink("../new", checkout.path().join("dangling")).unwrap();
        fs::create_dir(checkout.path().join(".git")).unwrap();
        for value in ["/etc/shadow", "../x", "docker/../../x", "link/x", "dangling", ".git/config"]
        {
            let line = format!("[DEFAULT]\nnamespace = ns\n{} = {value}\n", option.name);
            fs::write(checkout.path().join("build.conf"), line).unwrap();
            let run = checkout.run(&["--list-images"]).expect(2);
            assert!(run.stderr.contains("is outside of the checkout"), "{value}: {run:?}");
            assert!(run.stderr.contains("build.conf:3:"), "{run:?}");
            assert!(run.stderr.contains("--config-file build.conf"), "{run:?}");
        }
    }
}

#[test]
fn file_of_a_checkout_takes_no_source_from_outside_of_it() {
    for (kind, location) in [
        ("local", "/etc/shadow"),
        ("local", "../x"),
        ("git", "../private"),
        ("git", "file:///home/me/private"),
        ("pip", "/home/me/private"),
    ] {
        let source = format!("[app]\ntype = {kind}\nlocation = {location}");
        let checkout = Checkout::new(&source);
        let manifest = checkout.path().join("docker/tree.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(manifest, text + "[install_types.source]\nfetches_sources = true\n").unwrap();
        let run = checkout.run(&["--list-images", "--type", "source"]).expect(2);
        assert!(run.stderr.contains("location of the source [app] is outside of"), "{run:?}");
        let named = ["--list-images", "--type", "source", "--config-file", "build.conf"];
        checkout.run(&named).expect(0);
    }
}

#[test]
fn file_of_a_checkout_refers_to_nothing_that_only_the_user_knows() {
    let checkout = Checkout::new("maintainer = $pip_index_url\nbase_image = x/$tag\n");
    let run = checkout.run(&["--list-images", "--pip_index_url", "https://u:p@h/"]).expect(2);
    assert!(
        run.stderr.contains("refers to 'pip_index_url', which a tree or checkout can't read"),
        "{run:?}"
    );
    let own = Checkout::new("maintainer = $pip_index_url\npip_index_url = https://h/\n");
    own.run(&["--list-images"]).expect(0);
}

#[test]
fn file_of_a_checkout_is_no_link_to_another_file() {
    let checkout = Checkout::new("");
    let (file, elsewhere) =
        (checkout.path().join("build.conf"), checkout.folder.path().join("key"));
    fs::write(&elsewhere, "-----BEGIN PRIVATE KEY-----\nvery private\n").unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&elsewhere, &file).unwrap();
    commit(&checkout.path());
    let run = checkout.run(&["--list-images"]).expect(2);
    assert!(run.stderr.contains("is a link to a path outside of the checkout"), "{run:?}");
    assert!(!run.stderr.contains("PRIVATE") && !run.stderr.contains("very"), "{run:?}");
    fs::remove_file(&file).unwrap();
    fs::write(checkout.path().join("other.conf"), "[DEFAULT]\nnamespace = ns\n").unwrap();
    symlink("other.conf", &file).unwrap();
    checkout.run(&["--list-images"]).expect(0);
}

#[test]
fn file_in_a_folder_without_a_tree_is_the_users() {
    let tree = TestTree::new(IMAGES);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("build.conf"), "[DEFAULT]\nengine = podman\nlogs_dir = ../x\n")
        .unwrap();
    let mut command = tree.command(&["--list-images"]);
    command.current_dir(folder.path());
    Run::of(command).expect(0);
}

#[test]
fn relative_homes_are_not_looked_for_in_the_current_folder() {
    let tree = TestTree::new(IMAGES);
    let folder = tempfile::tempdir().unwrap();
    let conf = "[DEFAULT]\nregex = ^base$\n";
    for path in ["x/kiln/build.conf", "x/.config/kiln/build.conf", "x/.kolla/kolla-build.conf"] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, conf).unwrap();
    }
    for variable in ["HOME", "XDG_CONFIG_HOME"] {
        let mut command = tree.command(&["--list-images"]);
        command.current_dir(folder.path()).env("HOME", "/nonexistent").env(variable, "x");
        assert_eq!(Run::of(command).expect(0).stdout, "1 : base\n2 : app\n", "{variable}");
    }
}

#[test]
fn commands_that_build_nothing_write_no_work_folder() {
    let tree = TestTree::new(IMAGES);
    commit(tree.path());
    let out = tempfile::tempdir().unwrap();
    fs::create_dir(out.path().join("docker")).unwrap();
    fs::write(out.path().join("docker/file"), "mine\n").unwrap();
    let before = files_below(out.path());
    let out_path = out.path().to_str().unwrap();
    for command in COMMANDS.iter().filter(|command| command[0] != "config") {
        let command = [command, ["--namespace", "ns", "--work-dir", out_path].as_slice()].concat();
        run_in(tree.path(), &command).expect(0);
        assert_eq!(files_below(out.path()), before, "{command:?}");
    }
}
