//! The whole output of the program, as a user sees it, for everything that needs no engine.

use std::fs;
use std::process::Command;

use crate::support::family::{self, GROUP, build};
use crate::support::{Run, TestTree, files_below, kiln};

/// Returns the output of a run without the parts that differ between runs.
fn shown(tree: &TestTree, run: &Run) -> String {
    run.shown(&[(&regex::escape(&tree.path().display().to_string()), "TREE")])
}

fn family() -> TestTree {
    let tree = family::tree(GROUP);
    tree.write("profiles/api.list", "# what serves\n^group-api$\n");
    tree.write("profiles/lone.list", "lone\n");
    tree
}

#[track_caller]
fn snapshot(name: &str, arguments: &[&str]) {
    let tree = family();
    let run = build(&tree, arguments);
    insta::assert_snapshot!(name, shown(&tree, &run));
}

#[test]
fn listings() {
    snapshot("list-all", &["--list-images"]);
    snapshot("list-regex", &["--list-images", "api", "^lone"]);
    snapshot("list-regex-unanchored", &["--list-images", "base"]);
    snapshot("list-regex-anchored", &["--list-images", "^base"]);
    snapshot("list-profile", &["--list-images", "-p", "api"]);
    snapshot("list-profiles", &["--list-images", "-p", "api", "-p", "lone"]);
    snapshot("list-skip-parents", &["--list-images", "--skip-parents"]);
    snapshot("dependencies", &["--list-dependencies"]);
    snapshot("dependencies-some", &["-l", "group-api"]);
}

#[test]
fn pattern_without_match_among_others_is_reported() {
    snapshot("list-one-pattern-of-two", &["--list-images", "lone", "nobody"]);
}

#[test]
fn wrong_usage() {
    snapshot("wrong-flag", &["--bsae", "x"]);
    snapshot("wrong-base", &["-b", "onw"]);
    snapshot("wrong-type", &["-t", "sauce"]);
    snapshot("wrong-profile", &["-p", "apii"]);
    snapshot("wrong-regex", &["("]);
    snapshot("wrong-number", &["--threads", "none"]);
    snapshot("wrong-format", &["--format", "xml"]);
    snapshot("wrong-namespace", &["--namespace", "Not A Name"]);
    snapshot("wrong-config-file", &["--config-file", "/nonexistent/build.conf"]);
    snapshot("wrong-overlay", &["--docker-dir", "/nonexistent/overlay"]);
}

#[test]
fn pattern_without_match_ends_with_its_exit_code() {
    snapshot("nothing-matched", &["--list-images", "group-apu"]);
    snapshot("nothing-matched-of-many", &["nobody", "no-one"]);
}

#[test]
fn unreachable_engine_is_reported() {
    snapshot("no-engine", &["lone"]);
    snapshot("no-engine-for-existing", &["--list-images", "--skip-existing"]);
}

#[test]
fn wrong_trees() {
    let wrong = |name: &str, image: &str, template: &str| {
        let tree = family();
        tree.image(image, template);
        insta::assert_snapshot!(name, shown(&tree, &build(&tree, &["--list-images"])));
    };
    wrong("template-syntax", "lone", "FROM x\n{% if %}\n");
    wrong("template-undefined", "lone", "FROM x\n\nRUN echo {{ nothing }}\n");
    wrong("template-unknown-parent", "lone", "FROM debian:trixie\nCOPY --from=@group-bsae / /\n");
    wrong("template-no-from", "lone", "RUN true\n");
    wrong("template-bad-from", "lone", "FROM {{ namespace }}/Upper:1\n");
    wrong("template-duplicate", "other/lone", "FROM x\n");
    wrong("template-cycle", "base", "FROM @group-tool\n");
    wrong("template-name", "Upper", "FROM x\n");
}

#[test]
fn all_wrong_templates_are_reported_at_once() {
    let tree = family();
    tree.image("lone", "FROM {{ one }}\n");
    tree.image("base", "FROM {{ two }}\n");
    let run = build(&tree, &["--list-images"]).expect(2);
    assert_eq!(run.stderr.matches("error: ").count(), 2, "{run:?}");
}

#[test]
fn an_error_in_a_shared_template_names_both_places() {
    let tree = family();
    tree.write("shared.tera", "{% component c(n) %}{{ n }}{{ oops }}{% endcomponent c %}\n");
    tree.image("lone", "FROM debian:1\n{{ <c n=\"x\" /> }}\n");
    insta::assert_snapshot!("template-component", shown(&tree, &build(&tree, &["--list-images"])));
}

#[test]
fn a_folder_without_manifest_is_no_tree() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = kiln();
    command.args(["build", "--tree"]).arg(empty.path());
    let run = Run::of(command);
    let place = regex::escape(&empty.path().display().to_string());
    insta::assert_snapshot!("no-tree", run.shown(&[(&place, "EMPTY")]));
}

#[test]
fn a_configuration_file_is_read_and_flags_win() {
    let tree = family();
    let file = tree.path().join("build.conf");
    let list = |text: &str, arguments: &[&str]| {
        fs::write(&file, text).unwrap();
        let all = [&["--config-file", file.to_str().unwrap(), "--list-images"], arguments].concat();
        build(&tree, &all)
    };
    let one = list("[DEFAULT]\nregex = ^lone$\n", &[]).expect(0);
    assert_eq!(one.stdout, "1 : lone\n");
    let other = list("[DEFAULT]\nregex = ^lone$\n", &["^base$"]).expect(0);
    assert_eq!(other.stdout, "1 : base\n");
    let profile =
        list("[DEFAULT]\nprofile = mine\n[profiles]\nmine = ^lone$,\n  ^base$\n", &[]).expect(0);
    assert_eq!(profile.stdout, "1 : base\n2 : lone\n");

    let wrong = list("[DEFAULT]\nthreads = many\nbsae = x\n[profils]\na = b\n", &[]);
    insta::assert_snapshot!("wrong-config", shown(&tree, &wrong));
    let not_ini = list("threads = 1\n", &[]);
    insta::assert_snapshot!("wrong-config-syntax", shown(&tree, &not_ini));
}

#[test]
fn build_conf_in_the_working_folder_is_found() {
    let tree = family();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("build.conf"), "[DEFAULT]\nlist_images = true\nregex = ^lone$\n")
        .unwrap();
    let mut command = tree.command(&[]);
    command.current_dir(here.path());
    assert_eq!(Run::of(command).expect(0).stdout, "1 : lone\n");
}

#[test]
fn environment_variable_overrides_file_and_yields_to_flag() {
    let tree = family();
    let mut command = tree.command(&["--list-images"]);
    command.env("KILN_REGEX", "^lone$");
    assert_eq!(Run::of(command).expect(0).stdout, "1 : lone\n");
}

#[test]
fn dockerfiles_and_contexts_are_written() {
    let tree = family();
    tree.write("group/group-api/etc/api.conf", "listen\n");
    let out = tempfile::tempdir().unwrap();
    let stale = out.path().join("docker/stale");
    fs::create_dir_all(&stale).unwrap();
    let work_dir = out.path().to_str().unwrap();
    build(&tree, &["--template-only", "--work-dir", work_dir, "group-api"]).expect(0);
    let found: String = files_below(out.path())
        .into_iter()
        .map(|(path, text)| format!("=== {path}\n{}\n", text.trim_end()))
        .collect();
    insta::assert_snapshot!("template-only", found);
    assert!(!stale.exists());
}

#[test]
fn a_work_folder_that_is_a_tree_is_not_emptied() {
    let outer = tempfile::tempdir().unwrap();
    let tree = outer.path().join("docker");
    fs::create_dir_all(tree.join("app")).unwrap();
    fs::write(tree.join("tree.toml"), "").unwrap();
    fs::write(tree.join("app/Dockerfile.tera"), "FROM x:1").unwrap();
    let family = family();
    let run = build(&family, &["--template-only", "--work-dir", outer.path().to_str().unwrap()])
        .expect(2);
    assert!(run.stderr.contains("is a template tree"), "{run:?}");
    assert!(tree.join("app/Dockerfile.tera").exists());
}

#[test]
fn an_overlay_changes_and_adds_images() {
    let tree = family();
    let overlay = tempfile::tempdir().unwrap();
    fs::create_dir_all(overlay.path().join("extra")).unwrap();
    fs::write(overlay.path().join("extra/Dockerfile.tera"), "FROM debian:bookworm\n").unwrap();
    let overlay = overlay.path().to_str().unwrap();
    let run = build(&tree, &["--docker-dir", overlay, "--list-images", "extra"]).expect(0);
    assert_eq!(run.stdout, "1 : extra\n");
}

#[test]
fn unbuildable_images_are_left_out_with_their_reason() {
    let tree = family();
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let entry =
        "[[unbuildable]]\nimages = ['group-base']\nbase = ['one']\nreason = 'no such package'\n";
    tree.write("tree.toml", &format!("{manifest}{entry}"));
    let run = build(&tree, &["--list-images"]).expect(0);
    assert_eq!(run.stdout, "1 : base\n2 : lone\n");
    insta::assert_snapshot!("unbuildable-alone", shown(&tree, &build(&tree, &["group-"])));
}

#[test]
fn a_graph_is_saved_for_graphviz() {
    let tree = family();
    let file = tree.path().join("graph.dot");
    build(&tree, &["--save-dependency", file.to_str().unwrap()]).expect(0);
    insta::assert_snapshot!("graph", fs::read_to_string(&file).unwrap());
    let refused = build(&tree, &["--save-dependency", "/nonexistent/graph.dot"]).expect(2);
    assert!(refused.stderr.contains("'/nonexistent/graph.dot' can't be written"), "{refused:?}");
}

#[test]
fn the_program_works_from_any_folder() {
    let nowhere = tempfile::tempdir().unwrap();
    let list = |arguments: &[&str]| {
        let mut command = kiln();
        command.current_dir(nowhere.path()).args(["build", "-b", "debian", "--list-images"]);
        Run::of({
            command.args(arguments);
            command
        })
        .expect(0)
    };
    let embedded = list(&[]);
    assert!(embedded.stdout.starts_with("1 : base\n"), "{embedded:?}");

    let mut export = kiln();
    export.args(["tree", "export", "mine"]).current_dir(nowhere.path());
    let exported = Run::of(export);
    assert_eq!(exported.code, 0, "{exported:?}");
    assert_eq!(list(&["--tree", "mine"]).stdout, embedded.stdout);
    assert_eq!(list(&["--tree", "mine/docker"]).stdout, embedded.stdout);
    assert_eq!(list(&["--tree", "mine", "-p", "default"]).stdout, list(&["-p", "default"]).stdout);

    let mut again = kiln();
    again.args(["tree", "export", "mine"]).current_dir(nowhere.path());
    let run = Run::of(again).expect(2);
    assert!(run.stderr.contains("nothing is overwritten"), "{run:?}");
}

/// The embedded tree and the one on disk give an engine the same files, including executable bits.
#[test]
fn the_embedded_tree_is_the_tree_on_disk() {
    let out = tempfile::tempdir().unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let render = |name: &str, arguments: &[&str]| {
        let work_dir = out.path().join(name);
        let mut command = kiln();
        command.current_dir(nowhere.path()).args(["build", "-b", "debian", "--template-only"]);
        command.arg("--work-dir").arg(&work_dir).args(arguments);
        Run::of(command).expect(0);
        work_dir
    };
    let root = env!("CARGO_MANIFEST_DIR");
    let disk = render("disk", &["--tree", &format!("{root}/docker")]);
    let embedded = render("embedded", &[]);
    let differences = Command::new("diff")
        .args(["--recursive", "--brief"])
        .args([&disk, &embedded])
        .output()
        .unwrap();
    assert!(differences.status.success(), "{}", String::from_utf8_lossy(&differences.stdout));
    let modes = |folder: &std::path::Path| {
        let listed = Command::new("find")
            .args([".", "-type", "f", "-printf", "%m %P\n"])
            .current_dir(folder)
            .output()
            .unwrap();
        let mut lines: Vec<_> =
            String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(modes(&disk), modes(&embedded));
}

#[test]
fn the_example_configuration_is_up_to_date() {
    let mut command = kiln();
    command.args(["config", "example"]);
    let example = Run::of(command).expect(0).stdout;
    let kept =
        fs::read_to_string(format!("{}/build.conf.example", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(kept == example, "run: cargo run -- config example > build.conf.example");
}

#[test]
fn help() {
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help-build", vec!["build", "--help"]),
        ("help-tree", vec!["tree", "export", "--help"]),
        ("help-config", vec!["config", "--help"]),
        ("help-config-check", vec!["config", "check", "--help"]),
        ("help-completions", vec!["completions", "--help"]),
        ("help-man", vec!["man", "--help"]),
        ("wrong-spelling-hyphens", vec!["build", "--skip-exsting"]),
        ("wrong-spelling-underscores", vec!["build", "--skip_exsting"]),
        ("wrong-spelling-negative", vec!["build", "--nosquash_clenup"]),
        ("wrong-subcommand-of-config", vec!["config", "shwo"]),
        ("version", vec!["--version"]),
        ("no-command", vec![]),
        ("wrong-command", vec!["biuld"]),
    ] {
        let mut command = kiln();
        command.args(&arguments);
        let version = regex::escape(env!("CARGO_PKG_VERSION"));
        insta::assert_snapshot!(name, Run::of(command).shown(&[(&version, "VERSION")]));
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let tree = family();
    let mut command = tree.command(&["--list-images"]);
    command.stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// An image is the same in both languages, with the same variables and functions.
#[test]
fn one_image_in_two_languages() {
    let tree = TestTree::new(&[(
        "in-tera",
        "FROM {{ base_image }}:{{ base_distro_tag }}\n\
         {% set in_tera_packages_append = [\"c\"] -%}\n\
         {% set packages = [\"b\", \"a\"] | customizable(of=\"packages\") -%}\n\
         RUN {{ debian_package_install(packages=packages) }}\n\
         {% for name, user in users -%}\n\
         USER {{ user.uid }}:{{ user.gid }}\n\
         {%- endfor %}\n\
         {% if not clean_package_cache %}RUN false{% endif %}LABEL {{ namespace }} {{ tag }}",
    )])
    .in_namespace("family");
    tree.write(
        "in-jinja/Dockerfile.j2",
        "FROM {{ base_image }}:{{ base_distro_tag }}\n\
         {% set in_jinja_packages_append = [\"c\"] -%}\n\
         {% set packages = [\"b\", \"a\"] | customizable(\"packages\") -%}\n\
         RUN {{ debian_package_install(packages) }}\n\
         {% for name, user in users.items() -%}\n\
         USER {{ user.uid }}:{{ user.gid }}\n\
         {%- endfor %}\n\
         {% if not clean_package_cache %}RUN false{% endif %}LABEL {{ namespace }} {{ tag }}",
    );
    let out = tempfile::tempdir().unwrap();
    let work_dir = out.path().to_str().unwrap();
    build(&tree, &["--template-only", "--work-dir", work_dir]).expect(0);
    let files = files_below(&out.path().join("docker"));
    assert_eq!(files["in-tera/Dockerfile"], files["in-jinja/Dockerfile"]);
    insta::assert_snapshot!("two-languages", files["in-jinja/Dockerfile"]);
}

#[test]
fn an_image_has_one_template() {
    let tree = family();
    tree.write("lone/Dockerfile.j2", "FROM debian:trixie");
    let run = build(&tree, &["--list-images"]);
    insta::assert_snapshot!("two-templates", shown(&tree, &run));
}

/// Runs `kiln config` in the folder of a tree.
fn config(tree: &TestTree, arguments: &[&str]) -> Run {
    let mut command = kiln();
    command.arg("config").args(arguments).args(["--tree", "."]).current_dir(tree.path());
    Run::of({
        command.env("KILN_RETRIES", "0");
        command
    })
}

#[test]
fn config_show_prints_values_with_their_origin() {
    let tree = family();
    tree.write(
        "build.conf",
        "[DEFAULT]\nregistry = example.com\nallowed_to_fail = one,\n  two\n\
         tag = of-$namespace\nbuild_args = a:1, b:$threads\n\
         pip_index_url = https://someone:sec@ret@example.com/simple\n\
         template_override = first.j2\nbuildkit_builder = mine\n",
    );
    let arguments = ["--namespace=n", "--template-override=second.j2", "--base-arch=x86_64", "^l"];
    let shown = config(&tree, &[&["show"], arguments.as_slice()].concat());
    insta::assert_snapshot!("config-show", shown.shown(&[]));
}

#[test]
fn a_configuration_file_is_checked() {
    let tree = family();
    tree.write("good.conf", "[DEFAULT]\nprofile = mine\nbuildkit_builder = b\n");
    tree.write("profiles.conf", "[profiles]\nmine = ^lone$\n");
    let good = config(&tree, &["check", "good.conf", "profiles.conf"]);
    insta::assert_snapshot!("config-check", good.shown(&[]));
    tree.write(
        "wrong.conf",
        "[DEFAULT]\nthraeds = 1\nretries = many\nbase = two\nsquash = yes\nbuildkit = on\n\
         squash_cleanup = maybe\nregistry = $host\nprofile = yours\nbuild_args = a\n\
         [profiles]\nmine = (\n[lone]\ntype = svn\n",
    );
    let wrong = config(&tree, &["check", "wrong.conf", "missing.conf"]);
    insta::assert_snapshot!("config-check-wrong", wrong.shown(&[]));
    tree.write("sources.conf", "[profiles]\nmine = (\n[lone]\ntype = svn\n");
    let unused = config(&tree, &["check", "sources.conf"]);
    insta::assert_snapshot!("config-check-unused", unused.shown(&[]));
}

/// Options of kolla-build that have no effect in Kiln are accepted.
#[test]
fn options_without_effect_are_reported() {
    let tree = family();
    let run = build(&tree, &["--list-images", "lone", "--buildkit-builder", "mine"]);
    insta::assert_snapshot!("no-effect", shown(&tree, &run));
}

#[test]
fn conflicting_options_are_refused() {
    let tree = family();
    let told = |arguments: &[&str]| {
        let run = build(&tree, arguments).expect(2);
        format!("$ kiln build {}\n{}", arguments.join(" "), run.stderr)
    };
    let conflicts = [
        told(&["--squash", "--buildkit"]),
        told(&["--platform", "linux/amd64,linux/arm64"]),
        told(&["--platform", "linux/arm64", "--base-arch", "x86_64"]),
        told(&["--platform", "linux arm64"]),
        told(&["--base", "one,tow", "--type", "binary"]),
    ];
    insta::assert_snapshot!("conflicts", conflicts.join("\n"));
    build(&tree, &["--squash", "--list-images", "lone"]).expect(0);
    build(&tree, &["--platform", "linux/arm64", "--base-arch", "aarch64", "--list-images", "lone"])
        .expect(0);
}

#[test]
fn several_axes_are_one_run() {
    let tree = family();
    let arguments =
        ["--type", "binary", "--type", "source", "--platform", "amd64,arm64", "^group-base"];
    let list = build(&tree, &[&["--list-images"], arguments.as_slice()].concat());
    insta::assert_snapshot!("axes-list", shown(&tree, &list));
    let dependencies = build(&tree, &[&["--list-dependencies"], arguments.as_slice()].concat());
    insta::assert_snapshot!("axes-dependencies", shown(&tree, &dependencies));
    let out = tempfile::tempdir().unwrap();
    let work_dir = ["--template-only", "--work-dir", out.path().to_str().unwrap()];
    build(&tree, &[work_dir.as_slice(), &arguments].concat()).expect(0);
    let files = files_below(&out.path().join("docker"));
    let froms = files.iter().filter(|(path, _)| path.ends_with("Dockerfile"));
    let froms: Vec<_> =
        froms.map(|(path, text)| format!("{path}: {}", text.lines().next().unwrap())).collect();
    insta::assert_snapshot!("axes-dockerfiles", froms.join("\n"));
    let same =
        build(&tree, &["--type", "binary,source", "--image-name-prefix", "x-", "--list-images"]);
    insta::assert_snapshot!("axes-same-names", shown(&tree, &same));
}

#[test]
fn the_files_of_a_configuration_folder_are_read_in_order() {
    let tree = family();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("2.conf"), "[DEFAULT]\ntag = two\n").unwrap();
    fs::write(folder.path().join("1.conf"), "[DEFAULT]\ntag = one\nnamespace = $tag\n").unwrap();
    fs::write(folder.path().join("3.txt"), "[DEFAULT]\ntag = three\n").unwrap();
    let out = tempfile::tempdir().unwrap();
    tree.write("said/Dockerfile.tera", "FROM x\nLABEL {{ namespace }} {{ tag }}");
    let mut command = kiln();
    command.args(["build", "--template-only", "^said$", "--tree"]).arg(tree.path());
    command.arg("--config-dir").arg(folder.path()).arg("--work-dir").arg(out.path());
    Run::of(command).expect(0);
    let files = files_below(&out.path().join("docker"));
    assert_eq!(files["said/Dockerfile"], "FROM x\nLABEL two two");
}

/// Runs `kiln build` on a family with packages and an override.
fn with_override(text: &str, arguments: &[&str]) -> String {
    let tree = family();
    tree.image("packed", "FROM @base\nRUN add {{ [\"a\"] | customizable(of=\"packages\") }}\n");
    tree.write("over.tera", text);
    let file = tree.path().join("over.tera");
    let option = ["--template-override", file.to_str().unwrap()];
    shown(&tree, &build(&tree, &[arguments, option.as_slice()].concat()))
}

#[test]
fn override_without_effect_is_reported() {
    let text = "{% extends parent_template %}\n\
                {% set packed_packages_append = [\"b\"] %}\n\
                {% set paked_packages_append = [\"c\"] %}\n\
                {% block lone_foter %}{% endblock %}\n";
    insta::assert_snapshot!("override-in-vain", with_override(text, &["--list-images", "packed"]));
}

#[test]
fn a_wrong_override_is_shown() {
    let list = |text: &str| with_override(text, &["--list-images"]);
    let extends = "{% extends parent_template %}";
    insta::assert_snapshot!("override-alone", list("FROM x\n"));
    insta::assert_snapshot!("override-syntax", list(&format!("{extends}\n{{% set a = [1 %}}\n")));
    let undefined =
        format!("{extends}\n{{% block footer %}}\nRUN {{{{ oops }}}}\n{{% endblock %}}\n");
    insta::assert_snapshot!("override-undefined", list(&undefined));
}

/// The work folder is emptied, so it must not contain anything that the tree is read from.
#[test]
fn a_folder_of_the_tree_is_not_emptied() {
    let tree = family();
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("docker/over/Dockerfile.tera");
    fs::create_dir_all(template.parent().unwrap()).unwrap();
    fs::write(&template, "FROM debian:trixie").unwrap();
    let overlay = folder.path().join("docker");
    let (overlay, work_dir) = (overlay.to_str().unwrap(), folder.path().to_str().unwrap());
    let arguments = ["--template-only", "--docker-dir", overlay, "--work-dir", work_dir];
    let run = build(&tree, &arguments).expect(2);
    assert!(run.stderr.contains("is a template tree"), "{}", run.stderr);
    assert!(template.is_file());
}
