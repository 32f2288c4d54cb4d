//! Third-party text in output for people: names in trees, values, logs, and messages of engines and
//! registries. None of it controls a terminal, is a command of a CI service, or looks like a line
//! of Kiln's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::family::{OPTIONS, run};
use crate::support::http::{self, Server, by_call};
use crate::support::{Run, TestTree, kiln};
use serde_json::{Value, json};

/// Malicious texts. All of them may be names of files.
const HOSTILE: [&str; 12] = [
    "x\n::set-output name=image::attacker",
    "x\n \t::stop-commands::zz",
    "x\r::error file=x::injected",
    "x\u{2028}::notice::y",
    "x ##[set-output name=image]attacker",
    "x###[add-mask]e ##vso[task.setvariable variable=a]b",
    "\u{1b}]52;c;cm0gLXJmIH4=\u{7}",
    "\u{1b}[?1049h\u{1b}[2J\u{1b}]0;title\u{1b}\\",
    "\r\u{1b}[2K\u{1b}[1Abase: built and pushed in 1.0s",
    "\u{9b}2J\u{9d}0;title\u{9c}\u{85}::x",
    "nimda\u{202e}\u{2066}admin\u{200b}\u{e0041}",
    "section_end:1700000000:kiln_app\r\u{1b}[0Ksection_start:1:x[collapsed=true]\r\u{1b}[0K",
];

const SERVICES: [&str; 2] = ["github", "gitlab"];

/// Starts of the lines that Kiln writes for CI services.
const OWN: [&str; 3] = ["::group::log of ", "::endgroup::", "::error "];

/// Fails the test if the output contains a control sequence or a command.
#[track_caller]
fn expect_clean(run: &Run, hostile: &str) {
    for text in [&run.stdout, &run.stderr] {
        for line in text.split('\n') {
            // Sections of GitLab, which are Kiln's own, begin and end with an escape sequence.
            let own = line
                .strip_prefix("\u{1b}[0Ksection_")
                .and_then(|own| own.split_once("\r\u{1b}[0K"));
            let line = own.map_or(line, |(_, title)| title);
            let odd = |c: char| {
                c.is_control() && c != '\t'
                    || matches!(c, '\u{200b}' | '\u{2028}' | '\u{202e}' | '\u{2066}' | '\u{e0041}')
            };
            assert!(!line.contains(odd), "{hostile:?}: {line:?}");
            let is_own = OWN.iter().any(|own| line.starts_with(own));
            assert!(is_own || !line.trim_start().starts_with("::"), "{hostile:?}: {line:?}");
            for command in ["##[", "##vso[", "section_start:", "section_end:"] {
                assert!(!line.contains(command), "{hostile:?}: {line:?}");
            }
        }
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    git.args(arguments);
    Run::of(git).expect(0);
}

/// Creates a tree, committed, that contains `hostile` wherever it can, in files that are newer than
/// the commit.
fn hostile_tree(hostile: &str) -> TestTree {
    let tree = TestTree::new(&[
        ("base", "FROM debian:bookworm\n"),
        ("app", "FROM @base\nCOPY run.sh /run.sh\n"),
        ("never", "FROM @base\n"),
    ]);
    let tree = tree.in_namespace("family");
    tree.write("app/run.sh", "#!/bin/sh\n");
    let manifest = fs::read_to_string(tree.path().join("tree.toml")).unwrap();
    let reason = format!(
        "\n[[unbuildable]]\nimages = ['never']\nbase = ['one']\nreason = {}\n",
        Value::from(hostile)
    );
    // JSON's escapes of characters outside of the basic plane are not valid in TOML.
    tree.write("tree.toml", &format!("{manifest}{reason}"));
    git(tree.path(), &["init", "--quiet"]);
    git(tree.path(), &["add", "--all"]);
    git(tree.path(), &["commit", "--quiet", "--message=a commit"]);
    tree.write(&format!("base/{hostile}"), "text\n");
    tree.write(&format!("profiles/{hostile}.list"), "^app$\n");
    let missing = Value::from(format!("missing {hostile}"));
    tree.image("app", &format!("FROM @base\nCOPY [{missing}, \"/\"]\n"));
    tree
}

#[test]
fn names_in_a_tree_are_only_read() {
    for hostile in HOSTILE {
        let tree = hostile_tree(hostile);
        for service in SERVICES {
            let tell = |command: &[&str]| {
                let run = run(&tree, &[command, OPTIONS.as_slice(), &["--ci", service]].concat());
                expect_clean(&run, hostile);
                run
            };
            let lint = tell(&["lint"]).expect(1).stdout;
            assert!(
                lint.contains(":1: unused-file: no template or instruction of 'base' refers"),
                "{lint}"
            );
            let affected = tell(&["affected", "--since", "HEAD"]).expect(0).stdout;
            let images: Vec<_> =
                affected.lines().filter_map(|line| line.split_once(": ")).collect();
            assert_eq!(images.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["base", "app"]);
            let explain = tell(&["explain", "never"]).expect(0).stdout;
            assert!(explain.starts_with("never: will not be built, unbuildable: "), "{explain}");
            assert_eq!(explain.lines().count(), 7, "{explain}");
            tell(&["build", "--plan", "^never$"]);
            tell(&["build", "--plan", "^app$"]).expect(0);
            tell(&["build", "--plan", "--format", "json"]).expect(0);
            tell(&["build", "--list-images"]).expect(0);
            tell(&["build", "--list-dependencies"]).expect(0);
            tell(&["build", "-p", hostile, "-p", "no such", "--list-images"]).expect(2);
            for format in ["dot", "json", "mermaid"] {
                tell(&["build", "--save-dependency", "-", "--graph-format", format]).expect(0);
            }
            let json = tell(&["lint", "--format", "json"]).stdout;
            let found: Value = serde_json::from_str(&json).unwrap();
            assert!(found.to_string().contains(&Value::from(hostile).to_string()[1..5]), "{json}");
        }
    }
}

#[test]
fn values_and_arguments_are_only_read() {
    let tree = hostile_tree("plain");
    for hostile in HOSTILE {
        for service in SERVICES {
            let tell = |command: &[&str], arguments: &[&str]| {
                let all = [command, OPTIONS.as_slice(), &["--ci", service], arguments].concat();
                let run = run(&tree, &all);
                expect_clean(&run, hostile);
                run
            };
            let shown = tell(
                &["config", "show"],
                &["--maintainer", hostile, "--build-args", &format!("a:{hostile}")],
            );
            assert_eq!(shown.expect(0).stdout.matches("\nmaintainer ").count(), 1);
            for name in ["--base", "--threads", "--profile", "--tree", "--ci"] {
                let run = tell(&["build", "--list-images"], &[&format!("{name}={hostile}")]);
                assert!(run.code == 2 && run.stderr.starts_with("error: "), "{name} {run:?}");
            }
            for task in
                [&["--plan"][..], &["-l"], &["--save-dependency", "-", "--graph-format", "mermaid"]]
            {
                tell(&[&["build"], task].concat(), &["--namespace", hostile]);
            }
            tell(&["build", &format!("--{hostile}")], &[]).expect(2);
            tell(&["build", "--list-images"], &[hostile]);
            tell(&["explain", hostile], &[]).expect(2);
            tell(&["affected", "--since", hostile], &[]).expect(2);
            tell(&["config", "show"], &["--config-file", hostile]).expect(2);
        }
        let run = run(&tree, &[&format!("{hostile} --ci"), "--ci", "github"]).expect(2);
        expect_clean(&run, hostile);
    }
}

#[test]
fn findings_hold_no_commands_on_any_ci_service() {
    let tree = hostile_tree("x ##[add-mask]e");
    for (name, value) in [
        ("GITHUB_ACTIONS", "true"),
        ("GITLAB_CI", "true"),
        ("TF_BUILD", "True"),
        ("CI", "1"),
        ("KILN_CI", "github"),
    ] {
        let mut command = kiln();
        command.arg("lint").args(OPTIONS).args(["--ignore", "no-profile"]);
        command.current_dir(tree.path()).env(name, value);
        let run = Run::of(command).expect(1);
        assert!(run.stdout.contains("x ## [add-mask]e"), "{name}: {run:?}");
    }
    let conf = tree.path().join("ci.conf");
    fs::write(&conf, "[DEFAULT]\nci = gitlab\n").unwrap();
    let run = run(&tree, &[&["lint", "--config-file", "ci.conf"], OPTIONS.as_slice()].concat());
    assert!(run.stdout.contains("x ## [add-mask]e"), "{run:?}");
    // Output without folding is still output of a CI job.
    let mut command = kiln();
    command.arg("lint").args(OPTIONS).args(["--ci", "none"]);
    command.current_dir(tree.path()).env("GITHUB_ACTIONS", "true");
    assert!(Run::of(command).stdout.contains("x ## [add-mask]e"));
}

#[test]
fn tables_of_another_tree_are_only_read() {
    for hostile in HOSTILE {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("docker/base/Dockerfile.j2", "FROM x\n");
        write("kolla/__init__.py", "");
        let text = Value::from(hostile).to_string();
        let tables = format!(
            "DISTRO_RELEASE = {{{text}: {text}}}\nBASE_OS_DISTRO = [{text}]\nBASE_ARCH = [{text}]\n\
             DEFAULT_BASE_TAGS = {{{text}: {{'name': {text}, 'tag': {text}}}}}\n\
             _CLI_OPTS = []\n_BASE_OPTS = []\n_PROFILE_OPTS = []\nSOURCES = {{}}\n\
             USERS = {{'app-user': {{'uid': 1, 'gid': 1}}}}\nUNBUILDABLE_IMAGES = {{{text}: {{{text}}}}}\n"
        );
        write("kolla/common/config.py", &tables);
        write("kolla/image/build.py", &tables);
        let tables = || {
            let mut command = kiln();
            command.args(["tree", "tables"]).arg(folder.path());
            command
        };
        let run = Run::of(tables());
        expect_clean(&run, hostile);
        let read: Value = serde_json::from_str(&run.expect(0).stdout).unwrap();
        assert_eq!(read["bases"], json!([hostile]));
        // An unreadable value is reported with its line.
        write("kolla/common/config.py", &format!("USERS = {{\n    {text}: 1 # {hostile}\n"));
        expect_clean(&Run::of(tables()).expect(2), hostile);
    }
}

/// Starts a server that answers requests by the start of `METHOD path`, without the API's version,
/// and all others with a 404.
fn server(answers: Vec<(&'static str, u16, String)>) -> String {
    let reply =
        |(call, status, body): (&'static str, u16, String)| (call, http::json(status, &body));
    Server::plain(by_call(answers.into_iter().map(reply).collect())).address()
}

/// Starts an engine whose messages are all `hostile`, and whose builds fail.
fn hostile_engine(hostile: &str) -> String {
    let records = [
        json!({ "stream": "Step 1/2 : FROM debian:bookworm\n" }),
        json!({ "stream": format!("{hostile}\n") }),
        json!({ "stream": format!("Step 2/2 : RUN {hostile}\n") }),
        json!({ "stream": hostile }),
        json!({ "errorDetail": { "message": hostile }, "error": hostile }),
    ];
    let records: Vec<String> = records.iter().map(Value::to_string).collect();
    let version = json!({ "Version": hostile, "ApiVersion": "1.41", "MinAPIVersion": "1.12" });
    server(vec![
        ("GET /version", 200, version.to_string()),
        ("GET /_ping", 200, "OK".to_owned()),
        ("GET /images/json", 200, "[]".to_owned()),
        ("POST /build", 200, records.join("\r\n")),
        ("POST /images/create", 500, json!({ "message": hostile }).to_string()),
    ])
}

#[test]
fn words_of_engines_and_builds_are_only_read() {
    for hostile in HOSTILE {
        let engine = hostile_engine(hostile);
        let tree = TestTree::new(&[("app", "FROM debian:bookworm\nRUN true\n")]);
        for service in SERVICES {
            for extra in [&["--debug"][..], &["--threads", "2"], &["--quiet"]] {
                let logs = tempfile::tempdir().unwrap();
                let mut command = tree.command(&["--nobuildkit", "--ci", service]);
                command.args(["--pull", "--retries", "1"]).args(extra);
                command.arg("--logs-dir").arg(logs.path());
                command.env("DOCKER_HOST", format!("tcp://{engine}"));
                let run = Run::of(command);
                expect_clean(&run, hostile);
                assert!(run.code == 1 || run.code == 3, "{run:?}");
                let summary = run.summary().to_string();
                let told = Value::from(hostile.trim_end()).to_string();
                assert!(summary.contains(told.trim_matches('"')), "{told} {summary}");
            }
        }
    }
}

#[test]
fn every_line_of_a_log_or_error_names_its_image() {
    let hostile = "exit 3 #\n::set-output name=image::x\rerror: all is lost\u{2028}base: built";
    let engine = hostile_engine(hostile);
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\nRUN true\n")]);
    let mut command = tree.command(&["--nobuildkit", "--retries", "1", "--debug", "--nosummary"]);
    command.env("DOCKER_HOST", format!("tcp://{engine}"));
    let run = Run::of(command).expect(1);
    let is_told = |line: &&str| line.contains("failed, retrying in");
    assert_eq!(run.stderr.lines().filter(is_told).count(), 1, "{run:?}");
    for line in run.stderr.lines().skip(1) {
        assert!(line.starts_with("app: ") || line.starts_with("app | "), "{line:?}\n{run:?}");
    }
    for line in ["app | error: all is lost", "app: error: all is lost", "app: base: built"] {
        assert!(run.stderr.lines().any(|told| told == line), "{line:?}\n{run:?}");
    }
    // The engine's version is in the first line, which stays one line.
    let first = run.stderr.lines().next().unwrap();
    assert!(first.contains(r"exit 3 #\n::set-output name=image::x\rerror: "), "{first}");
}

#[test]
fn logs_in_files_keep_what_builds_wrote() {
    let engine = hostile_engine("\u{1b}[31mred\u{1b}[0m\u{202e}##[x]");
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\nRUN true\n")]);
    let logs = tempfile::tempdir().unwrap();
    let mut command = tree.command(&["--nobuildkit", "--ci", "github", "--logs-dir"]);
    command.arg(logs.path()).env("DOCKER_HOST", format!("tcp://{engine}"));
    let run = Run::of(command).expect(1);
    assert!(run.stderr.contains("app | red\\u{202e}## [x]"), "{run:?}");
    let log = fs::read_to_string(logs.path().join("app.log")).unwrap();
    assert!(log.contains("\u{1b}[31mred\u{1b}[0m\u{202e}##[x]\n"), "{log:?}");
}

#[test]
fn words_of_registries_are_only_read() {
    for hostile in HOSTILE {
        let errors = json!({ "errors": [{ "code": "TOOMANYREQUESTS", "message": format!("{hostile} and so on") }] });
        let registry = server(vec![
            ("GET /v2/", 429, errors.to_string()),
            ("HEAD /v2/", 429, errors.to_string()),
        ]);
        let engine = hostile_engine("0");
        let tree = TestTree::new(&[("app", "FROM debian:bookworm\n")]);
        let mut command = tree.command(&["--nobuildkit", "--ci", "github", "--push"]);
        command.args(["--skip-unchanged=registry", "--registry", &registry, "--plan"]);
        command.env("DOCKER_HOST", format!("tcp://{engine}"));
        let run = Run::of(command);
        expect_clean(&run, hostile);
        assert!(run.stderr.contains(" and so on"), "{run:?}");
    }
}

const SECRET: &str = "planted-a91c";

#[test]
fn values_of_build_arguments_that_look_like_secrets_are_not_shown() {
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\n")]).in_namespace("family");
    let pairs = format!("DB_PASSWORD:{SECRET}, api-key:{SECRET}, TOKEN:a:{SECRET}, COLOUR:blue");
    let conf = tree.path().join("build.conf");
    fs::write(&conf, format!("[DEFAULT]\nbuild_args = {pairs}\n")).unwrap();
    let commands: [&[&str]; 6] = [
        &["config", "show"],
        &["build", "--plan"],
        &["build", "--plan", "--format", "json"],
        &["build", "--list-images"],
        &["explain", "app"],
        &["lint", "--ignore", "no-profile"],
    ];
    for command in commands {
        for from in [&["--config-file", "build.conf"][..], &["--build-args", &pairs]] {
            let run = run(&tree, &[command, OPTIONS.as_slice(), from].concat());
            assert!(!format!("{run:?}").contains(SECRET), "{run:?}");
            if command == ["config", "show"] {
                let shown = run.expect(0).stdout;
                for line in ["DB_PASSWORD:*** ", "api-key:*** ", "TOKEN:*** ", "COLOUR:blue "] {
                    assert!(shown.contains(line), "{line}: {shown}");
                }
            }
        }
    }
}

#[test]
fn a_build_argument_that_is_badly_written_is_not_shown_if_it_looks_like_a_secret() {
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\n")]).in_namespace("family");
    for pairs in [
        format!("DB_PASSWORD={SECRET}"),
        format!("A:1, DB_PASSWORD {SECRET}"),
        format!("DB_PASSWORD:{SECRET}, oops"),
        format!("DB_PASSWORD:1, DB_PASSWORD:{SECRET}"),
    ] {
        fs::write(tree.path().join("x.conf"), format!("[DEFAULT]\nbuild_args = {pairs}\n"))
            .unwrap();
        for from in [&["--config-file", "x.conf"][..], &["--build-args", &pairs]] {
            let run = run(&tree, &[&["config", "show"], OPTIONS.as_slice(), from].concat());
            let run = run.expect(2);
            assert!(!format!("{run:?}").contains(SECRET), "{run:?}");
            assert!(run.stderr.contains("write name:value, name:value"), "{run:?}");
        }
    }
    let run =
        run(&tree, &[&["config", "show"], OPTIONS.as_slice(), &["--build-args", "A"]].concat());
    assert!(run.expect(2).stderr.contains("'A' in build_args is not a pair"));
}
