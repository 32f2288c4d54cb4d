//! `kiln lint` on small trees with one fault each and on a release of the real Kolla, and the table
//! of its rules in the documentation.

use std::fs;
use std::path::Path;

use crate::support::family::{self, APP, OPTIONS};
use crate::support::{Run, TestTree, kiln, kolla};
use kiln::internals::lint::Rule;
use serde_json::Value;

/// Creates a tree without faults, in a namespace that is the same in every run.
fn family() -> TestTree {
    family::tree(&APP[..2])
}

/// Runs `kiln lint` in the tree's folder, without a reachable engine.
fn lint(tree: &TestTree, arguments: &[&str]) -> Run {
    family::run(tree, &[&["lint"], OPTIONS.as_slice(), arguments].concat())
}

/// Returns the one finding in a family with this template for `app`.
#[track_caller]
fn found_in_app(template: &str) -> String {
    found(|tree| tree.image("app", template))
}

/// Returns the one finding in a family after `change`, without the path of the tree.
#[track_caller]
fn found(change: impl Fn(&TestTree)) -> String {
    let tree = family();
    change(&tree);
    let run = lint(&tree, &[]).expect(1);
    let (finding, counted) = run.stdout.split_once('\n').unwrap();
    assert_eq!(counted, "1 finding in 1 file\n", "{run:?}");
    finding.trim_start_matches("./").to_owned()
}

#[test]
fn correct_tree_has_no_findings() {
    let run = lint(&family(), &[]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("nothing found\n", ""));
    assert_eq!(lint(&family(), &["--format", "json"]).expect(0).stdout, "[]\n");
}

/// Start of a correct template for `app`.
const HEAD: &str = "FROM @base\nCOPY run.sh /run.sh\n";

#[test]
fn one_fault_in_a_dockerfile_is_one_finding() {
    let app = "app/Dockerfile.tera";
    for (lines, expected) in [
        (
            "COPPY a /b\n",
            "3: unknown-instruction: 'COPPY' is not an instruction; did you mean COPY?",
        ),
        ("USER\n", "3: empty-instruction: USER has no arguments"),
        (
            "RUN true \\\nUSER app\n",
            "3: dangling-continuation: the line ends in '\\', but no line continues it; remove the '\\'",
        ),
        (
            "RUN true \\\n",
            "3: dangling-continuation: the line ends in '\\', but no line continues it; remove the '\\'",
        ),
        (
            "RUN true \\\n\n    && true\n",
            "4: blank-continuation: an empty line in an instruction; remove it, or the '\\' above it",
        ),
        ("USER app \n", "3: trailing-space: whitespace at the end of the line; remove it"),
        ("WORKDIR app\n", "3: relative-workdir: WORKDIR 'app' is relative; start it with '/'"),
        (
            "MAINTAINER me\n",
            "3: maintainer: MAINTAINER is deprecated; write LABEL maintainer=\"...\"",
        ),
        (
            "COPY rnu.sh /\n",
            "3: missing-source: COPY of 'rnu.sh', which is not in the image's folder; did you mean 'run.sh'?",
        ),
        (
            "COPY --from=debian:bookworm /a /b\nRUN dnf install a\n",
            "4: unattended-install: dnf installs without -y; write dnf install -y",
        ),
        (
            "RUN true && \\\n    apt-get install -y a && rm -rf /var/lib/apt/lists/*\n",
            "3: apt-update: apt-get installs with package lists of an earlier layer; write apt-get update in the same RUN, before",
        ),
        (
            "{% set a = 1 %}\nRUN apt-get update && apt-get install -y a\n",
            "4: apt-lists: the package lists that apt-get downloads stay in the image; end the RUN with rm -rf /var/lib/apt/lists/*",
        ),
        (
            "COPY --from=family/one-binary-bsae:t /a /b\n",
            "3: unknown-image: COPY --from names 'bsae', which is not in the tree; did you mean 'base'?",
        ),
        (
            "{% set a_packages = [\n    'b',\n    'a',\n] %}\n",
            "5: unsorted-packages: 'a' comes after 'b' in the list a_packages; sort the list",
        ),
        (
            "{% set a_packages = ['a', 'a'] %}\n",
            "3: repeated-package: 'a' occurs twice in the list a_packages; remove one of the two",
        ),
        (
            "{# kiln-lint: allow apt-list #}\n",
            "3: unknown-rule: there is no rule 'apt-list'; did you mean 'apt-lists'?",
        ),
    ] {
        assert_eq!(found_in_app(&format!("{HEAD}{lines}")), format!("{app}:{expected}"));
    }
}

#[test]
fn shell_syntax_errors_are_found() {
    let dash = found_in_app(&format!("{HEAD}RUN if true; then \\\n    true\n"));
    let expected = "app/Dockerfile.tera:3: shell-syntax: sh can't read the command: ";
    assert!(dash.starts_with(expected), "{dash}");
    let bash = format!("{HEAD}SHELL [\"/bin/bash\", \"-c\"]\nRUN cat <(echo a)\n");
    let tree = family();
    tree.image("app", &bash);
    lint(&tree, &[]).expect(0);
    tree.image("base", "FROM debian:bookworm\nSHELL [\"/bin/bash\", \"-c\"]\n");
    tree.image("app", &format!("{HEAD}RUN cat <(echo a)\nRUN [\"if\"]\n"));
    lint(&tree, &[]).expect(0);
}

#[test]
fn one_fault_in_a_tree_is_one_finding() {
    let unused = "no template or instruction of 'app' refers to this file; remove it, or use it";
    let file = found(|tree| tree.write("app/conf/stray", ""));
    assert_eq!(file, format!("app/conf/stray:1: unused-file: {unused}"));
    let template =
        found(|tree| tree.write("parts.tera", "{% component part() %}{% endcomponent %}"));
    let expected =
        "parts.tera:1: unused-template: no other template uses this template; remove it, or use it";
    assert_eq!(template, expected);
    let untagged = found(|tree| tree.image("base", "{# a remark #}\nFROM debian\n"));
    let expected = "untagged-base: FROM names 'debian' without a tag; name a tag or a digest";
    assert_eq!(untagged, format!("base/Dockerfile.tera:2: {expected}"));
    let profile = found(|tree| tree.write("profiles/few.list", "^base$\n"));
    let expected = "no profile selects 'app' or an image built on it; add it to a profile";
    assert_eq!(profile, format!("app/Dockerfile.tera:1: no-profile: {expected}"));
    let twin = found(|tree| tree.image("group/base", "FROM debian:bookworm\n"));
    let expected = "'base' is also the name of the image in base; \
                    an image is named after its folder: rename one of the two";
    assert_eq!(twin, format!("group/base/Dockerfile.tera:1: duplicate-image: {expected}"));
    let circle = found(|tree| tree.image("base", "FROM @app\n"));
    let expected = "the images form a cycle: app -> base -> app; remove one of these references";
    assert_eq!(circle, format!("app/Dockerfile.tera:1: image-cycle: {expected}"));
}

/// Images that do not render to a Dockerfile are reported, and the others are still checked.
#[test]
fn templates_that_fail_to_render_or_parse_are_found() {
    let undefined = found_in_app("FROM @base\nRUN {{ nothing }}\n");
    assert!(undefined.starts_with("app/Dockerfile.tera:2: render-error: "), "{undefined}");
    let syntax = found_in_app("FROM @base\nRUN {% if %}\n");
    assert!(syntax.starts_with("app/Dockerfile.tera:2: render-error: "), "{syntax}");
    let expected = "app/Dockerfile.tera:2: dockerfile-error: '@' is not expected after the image \
                    of FROM; write FROM image:tag, or FROM image:tag AS stage";
    assert_eq!(found_in_app("{# a #}\nFROM debian:bookworm @ x\n"), expected);
    let tree = family();
    tree.image("lone", "FROM debian\n");
    tree.image("broken", "FROM {{ nothing }}\n");
    tree.image("child", "FROM @broken\n");
    let run = lint(&tree, &[]).expect(1);
    assert!(run.stdout.contains("lone/Dockerfile.tera:1: untagged-base"), "{run:?}");
    assert!(run.stdout.contains("2 findings in 2 files"), "{run:?}");
}

#[test]
fn files_are_used_in_many_ways() {
    for text in [
        "COPY conf /etc/\n",
        "COPY c* /etc/\n",
        "COPY . /etc/\n",
        "RUN --mount=type=bind,source=conf,target=/x true\n",
        "{% if base_distro == \"other\" %}COPY conf/one.list /x{% endif %}\n",
        "{% if base_distro == \"other\" %}COPY {{ base_distro }}/{{ tag }}.list /x{% endif %}\n",
        "{% include \"app/conf/one.list\" %}\n",
    ] {
        let tree = family();
        tree.write("app/conf/one.list", "{# kiln-lint: allow unused-template #}");
        tree.image("app", &format!("{HEAD}{text}"));
        let run = lint(&tree, &["--ignore", "render-error"]);
        assert_eq!(run.code, 0, "{text} {run:?}");
    }
}

/// Text that no POSIX shell gets has no findings, and the same text for a shell has.
#[test]
fn commands_are_checked_by_the_shell_that_gets_them() {
    let tree = family();
    let install = "apt-get install gawk";
    let script = |first: &str| format!("RUN <<EOF\n{first}{install}\nEOF\n");
    for (name, text) in [
        ("posix", format!("FROM debian:trixie\nRUN {install}\n{}", script(""))),
        ("scripts", format!("FROM debian:trixie\n{}{}", script("#!/usr/bin/ruby\n"), script("#!/bin/bash\n"))),
        ("fed", format!("FROM debian:trixie\nRUN awk -f - <<EOF\n{install}\nif (\nEOF\nRUN bash -e <<'EOF'\n{install}\nEOF\n")),
        ("fish", format!("FROM debian:trixie\nSHELL [\"fish\", \"-c\"]\nRUN if true; {install}; end\n")),
        ("fish-child", format!("FROM @fish\nRUN begin; {install}; end\n{}", script(""))),
        ("stages", format!("FROM @fish AS one\nFROM debian:trixie AS two\nRUN {install}\nFROM one\nCOPY --from=two /a /b\nRUN if true; {install}; end\n")),
        ("windows", "# escape=`\nFROM mcr.microsoft.com/windows/nanoserver:ltsc2025\nWORKDIR C:\\app\nRUN if exist a ( `\n  echo b )\n".to_owned()),
        ("windows-child", "FROM @windows\nWORKDIR D:\\x\nRUN for %f in (*) do (echo %f\n".to_owned()),
    ] {
        tree.image(name, &text);
    }
    insta::assert_snapshot!("shells", lint(&tree, &[]).expect(1).stdout);
}

/// Nothing in the files that `COPY` writes is code of the Dockerfile or of the template.
#[test]
fn files_in_here_documents_are_left_alone() {
    let tree = family();
    let body = "FROM nothing\nCOPY lost /x\nRUN apt-get install a \nmaintainer \nlist_packages = ['b', 'a']\n";
    tree.image("app", &format!("{HEAD}COPY <<EOF /x\n{body}EOF\nUSER app \n"));
    tree.image(
        "lone",
        &format!("FROM debian:trixie\nADD <<-'A' <<B /x/\n{body}\tA\n{body}named.conf\nB\n"),
    );
    tree.write("lone/named.conf", "");
    tree.image(
        "embeds",
        "FROM debian:trixie\nCOPY <<EOF /x\n{% include \"embeds/part.tera\" %}\nEOF\n",
    );
    tree.write("embeds/part.tera", "");
    insta::assert_snapshot!("files", lint(&tree, &[]).expect(1).stdout);
}

/// Mounts and copies refer to files in all their forms.
#[test]
fn files_are_used_by_mounts_and_patterns() {
    let tree = family();
    for (name, text) in [
        ("mount-all", "RUN --mount=type=bind,target=/src make -C /src\n"),
        ("mount-dot", "RUN --mount=type=bind,source=.,target=/src make -C /src\n"),
        ("mount-folder", "RUN --mount=source=data,target=/src make -C /src\n"),
        ("mount-image", "RUN --mount=from=alpine:3,target=/src true\n"),
        ("mount-cache", "RUN --mount=type=cache,target=/src true\n"),
        ("copy-excluding", "COPY --exclude=**/*.bin . /src/\n"),
        ("copy-parents", "COPY --parents ./data/./**/*.bin /src/\n"),
        ("copy-variable", "ARG KIND=da\nCOPY ${KIND}ta/* /src/\n"),
        ("copy-pattern", "COPY [^a-c]ata /src/\nCOPY [^d]ata /other/\n"),
        ("copy-other", "COPY --parents ./more/**/*.txt /src/\n"),
    ] {
        tree.image(name, &format!("FROM debian:trixie\n{text}"));
        tree.write(&format!("{name}/data/one/two.bin"), "");
    }
    insta::assert_snapshot!("uses", lint(&tree, &[]).expect(1).stdout);
}

/// Findings by the engine's version, by `# syntax` and by the classic builder.
#[test]
fn parts_that_the_builder_lacks_are_found() {
    let tree = family();
    let body = "FROM debian:trixie\nRUN <<EOF\ntrue\nEOF\nRUN --mount=type=tmpfs,target=/t true\n";
    tree.image("built-in", body);
    tree.image("old", &format!("# syntax=docker/dockerfile:1.2\n{body}"));
    tree.image("new", &format!("# syntax=docker/dockerfile:1\n{body}"));
    let shown = |arguments: &[&str]| lint(&tree, arguments).expect(1).stdout;
    let shown = [
        shown(&[]),
        shown(&["--engine-version", "20.10"]),
        shown(&["--engine-version", "v27.3.1"]),
        shown(&["--nobuildkit"]),
        shown(&["--build-args", "BUILDKIT_SYNTAX:docker/dockerfile:1.0"]),
    ];
    insta::assert_snapshot!("frontends", shown.join("\n"));
    lint(&tree, &["--engine", "podman"]).expect(0);
    let wrong = lint(&tree, &["--engine-version", "newest"]).expect(2);
    assert!(wrong.stderr.contains("'newest' is not a version"), "{wrong:?}");
}

#[test]
fn rules_are_silenced_and_chosen() {
    let tree = family();
    tree.image("app", &format!("{HEAD}WORKDIR app\nUSER app \n"));
    let rules = |arguments: &[&str]| -> Vec<String> {
        let run = lint(&tree, &[&["--format", "json"], arguments].concat());
        let found: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(run.code, i32::from(!found.is_empty()));
        found.iter().map(|one| one["rule"].as_str().unwrap().to_owned()).collect()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(rules(&[]), ["relative-workdir", "trailing-space"]);
    assert_eq!(rules(&["--rule", "trailing-space"]), ["trailing-space"]);
    assert_eq!(rules(&["--ignore", "trailing-space"]), ["relative-workdir"]);
    assert_eq!(rules(&["--ignore", "trailing-space", "--ignore", "relative-workdir"]), nothing);
    assert_eq!(rules(&["^base$"]), nothing);
    tree.image(
        "app",
        &format!("{HEAD}# kiln-lint: allow trailing-space\nWORKDIR app\nUSER app \n"),
    );
    assert_eq!(rules(&[]), ["relative-workdir"]);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    tree.write("tree.toml", &format!("{manifest}[lint.allow]\nrelative-workdir = \"a reason\"\n"));
    assert_eq!(rules(&[]), nothing);
    assert_eq!(rules(&["--rule", "relative-workdir"]), ["relative-workdir"]);
}

#[test]
fn a_finding_on_several_axes_is_one() {
    let tree = family();
    let text = "{% if install_type == \"source\" %}\nWORKDIR app\n{% endif %}\nUSER\n";
    tree.image("app", &format!("{HEAD}{text}"));
    let both = ["--type", "binary,source"];
    insta::assert_snapshot!("axes", lint(&tree, &both).expect(1).stdout);
    let json = lint(&tree, &[&["--format", "json"], both.as_slice()].concat()).expect(1);
    insta::assert_snapshot!("axes-json", json.stdout);
}

/// A fault in a component that all images share is reported once, at its place.
#[test]
fn fault_in_a_component_is_reported_there() {
    let tree = family();
    tree.write(
        "parts.tera",
        "{% component part() -%}\nLABEL a=b\nWORKDIR here\n{%- endcomponent %}\n",
    );
    for name in ["app", "base"] {
        let text = fs::read_to_string(tree.path().join(name).join("Dockerfile.tera")).unwrap();
        tree.write(&format!("{name}/Dockerfile.tera"), &format!("{text}{{{{ <part /> }}}}\n"));
    }
    let found = lint(&tree, &[]).expect(1).stdout;
    let expected = "./parts.tera:3: relative-workdir: WORKDIR 'here' is relative; start it with '/'\n\
                    1 finding in 1 file\n";
    assert_eq!(found, expected);
}

#[test]
fn unbuildable_image_is_not_checked() {
    let tree = family();
    tree.image("app", &format!("{HEAD}WORKDIR app\n"));
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let entry = "[[unbuildable]]\nimages = [\"app\"]\nreason = \"a reason\"\n";
    tree.write("tree.toml", &format!("{manifest}{entry}"));
    lint(&tree, &[]).expect(0);
    lint(&tree, &["--enable-unbuildable"]).expect(1);
}

#[test]
fn wrong_usage_is_refused() {
    let tree = family();
    let rule = lint(&tree, &["--rule", "apt-list"]).expect(2);
    assert!(rule.stderr.contains("'apt-lists'"), "{rule:?}");
    assert_eq!(lint(&tree, &["nobody"]).expect(4).stdout, "");
    lint(&tree, &["--base", "nowhere"]).expect(2);
    lint(&tree, &["--format", "xml"]).expect(2);
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    tree.write("tree.toml", &format!("{manifest}[lint.allow]\napt-list = \"a reason\"\n"));
    let allowed = lint(&tree, &[]).expect(2);
    assert!(allowed.stderr.contains("did you mean 'apt-lists'?"), "{allowed:?}");
}

/// The findings in a release of Kolla are faults that a reader confirms.
#[test]
fn trees_of_kolla_build_are_checked() {
    let release = kolla::install("23.0.0");
    let mut command = kiln();
    command.args(["lint", "-b", "ubuntu,rocky", "--base-arch", "x86_64", "--ignore", "no-profile"]);
    command.arg("--tree").arg(&release);
    let run = Run::of(command).expect(1);
    let place = format!("{}/[^ ]*/kolla/docker", regex::escape(&release.display().to_string()));
    insta::assert_snapshot!("kolla", run.shown(&[(&place, "docker")]));
}

#[test]
fn the_documentation_has_the_table_of_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lint-rules.md");
    let docs = fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |rule: Rule| format!("| `{}` | {} | {} |", rule.name(), rule.finds(), rule.reason());
    assert_eq!(rows, Rule::ALL.map(row));
}
