//! Malicious sources and servers of sources: names that are paths, answers without end, passwords
//! that others could read, programs that are planted.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::{self, Authority, Reply, Server, listen};
use crate::support::idle::idle_engine;
use crate::support::{Cleanup, Engine, FETCHING, Run, TestTree, in_shell, kiln, kolla, wait_for};
use base64::Engine as _;
use kiln::internals::image::SourceName;

/// Creates a tree with an image `app` that has a source.
fn tree() -> TestTree {
    let tree = TestTree::new(&[("app", "FROM debian:bookworm\nADD app-archive /app\n")]);
    tree.write("tree.toml", FETCHING);
    tree
}

/// Returns the section of a configuration file for the source of `app`.
fn section(kind: &str, location: &str, more: &str) -> String {
    format!("[app]\ntype = {kind}\nlocation = {location}\n{more}\n")
}

/// Returns a build of `app` with an engine that has no images.
fn build(tree: &TestTree, configuration: &str, arguments: &[&str]) -> Command {
    let path = tree.path().join("build.conf");
    fs::write(&path, configuration).unwrap();
    let mut command = tree.command(&["--nobuildkit", "--config-file", path.to_str().unwrap()]);
    command.args(arguments).env("DOCKER_HOST", format!("tcp://{}", idle_engine()));
    command
}

/// Returns the reason why the source of `app` can't be fetched.
#[track_caller]
fn reason(run: Run) -> String {
    let run = run.expect(1);
    run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned()
}

/// Fails the test unless the source of `app` was fetched: the engine, which has no images, failed
/// the build.
#[track_caller]
fn expect_fetched(run: &Run) {
    assert!([1, 3].contains(&run.code), "{run:?}");
    let reason = run.summary()["failed"][0]["reason"].as_str().unwrap().to_owned();
    assert!(!reason.starts_with("the source"), "{reason}");
}

/// Runs a command, and fails the test if it takes longer than `seconds`.
#[track_caller]
fn soon(command: Command, seconds: u64) -> Run {
    let began = Instant::now();
    let run = Run::of(command);
    assert!(began.elapsed() < Duration::from_secs(seconds), "{:?}: {run:?}", began.elapsed());
    run
}

/// Reads the head of a request.
fn head(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        head.push_str(&line);
        line.clear();
    }
    head
}

/// Never answers.
fn silent(connection: TcpStream) {
    thread::sleep(Duration::from_secs(120));
    drop(connection);
}

/// Answers by HTTP with one byte after each pause.
fn dripping(pause: Duration) -> impl Fn(TcpStream) {
    move |mut connection| {
        head(&connection);
        let start = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 1000000\r\n\r\n";
        if connection.write_all(start.as_bytes()).is_ok() {
            while connection.write_all(b"0").is_ok() {
                thread::sleep(pause);
            }
        }
    }
}

/// Names that are paths, or not valid words.
const HOSTILE_NAMES: [&str; 9] = [
    "app-plugin-x/../../../../OUT",
    "../OUT",
    "/tmp/kiln-OUT",
    "app-additions-../../OUT",
    "app/../../OUT",
    "..",
    "app-plugin-",
    "a b",
    ".app",
];

/// Runs the commands that read sources, as far as they need no engine for that.
fn commands_that_read(tree: &TestTree, more: &[&str]) -> Vec<Run> {
    let commands: [&[&str]; 8] = [
        &["build", "--nopull"],
        &["build", "--list-images"],
        &["build", "--skip-unchanged", "--plan"],
        &["explain", "app"],
        &["affected", "--since", "HEAD"],
        &["lint"],
        &["config", "show"],
        &["build", "--template-only"],
    ];
    let run = |arguments: &&[&str]| {
        let mut command = kiln();
        command.args(*arguments).args(["--namespace", "n", "--tag", "t", "--tree"]);
        command.arg(tree.path()).args(more).current_dir(tree.path());
        command.env("DOCKER_HOST", format!("tcp://{}", idle_engine()));
        soon(command, 60)
    };
    commands.iter().map(run).collect()
}

#[test]
fn names_of_a_tree_that_are_no_names_are_refused() {
    for name in HOSTILE_NAMES {
        let parent = tempfile::tempdir().unwrap();
        let tree = tree();
        let place = parent.path().join("file");
        fs::write(&place, "content").unwrap();
        let manifest = format!(
            "{FETCHING}\n[sources.'{name}']\ntype = 'local'\nlocation = '{}'\n",
            place.display()
        );
        tree.write("tree.toml", &manifest);
        let line = 1 + manifest[..manifest.find(name).unwrap()].matches('\n').count();
        for run in commands_that_read(&tree, &[]) {
            let run = run.expect(2);
            assert!(run.stderr.contains(&format!("tree.toml:{line}:")), "{name}: {run:?}");
            assert!(run.stderr.contains("is not a name of a source"), "{name}: {run:?}");
        }
        assert!(!Path::new("/tmp/kiln-OUT").exists());
    }
}

#[test]
fn names_of_a_configuration_that_are_no_names_are_refused() {
    for name in HOSTILE_NAMES {
        let tree = tree();
        let text =
            format!("[DEFAULT]\npull = no\n[{name}]\ntype = url\nlocation = http://127.0.0.1:1/\n");
        tree.write("mine.conf", &text);
        let path = tree.path().join("mine.conf");
        let runs = commands_that_read(&tree, &["--config-file", path.to_str().unwrap()]);
        let mut check = kiln();
        check.args(["config", "check", "--tree"]).arg(tree.path()).arg(&path);
        for run in runs.into_iter().chain([Run::of(check)]) {
            let run = run.expect(2);
            assert!(run.stderr.contains("mine.conf:3:"), "{name}: {run:?}");
            assert!(run.stderr.contains("is not a name of a source"), "{name}: {run:?}");
        }
    }
}

#[test]
fn names_of_a_kolla_tree_that_are_no_names_are_refused() {
    let release = kolla::install("23.0.0");
    let lib = fs::read_dir(release.join("lib")).unwrap().next().unwrap().unwrap().path();
    let folder = tempfile::tempdir().unwrap();
    for part in [lib.join("site-packages/kolla"), release.join("share/kolla/docker")] {
        if part.is_dir() {
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(part).arg(folder.path());
            Run::of(copy).expect(0);
        }
    }
    let table = folder.path().join("kolla/common/sources.yaml");
    let text = fs::read_to_string(&table).unwrap();
    fs::write(
        &table,
        format!(
            "{text}\nnova-base-plugin-x/../../y:\n  type: url\n  location: http://127.0.0.1:1/\n"
        ),
    )
    .unwrap();
    let mut command = kiln();
    command.args(["build", "--list-images", "-b", "debian", "--dialect", "23", "--tree"]);
    let run = Run::of({
        command.arg(folder.path());
        command
    });
    let run = run.expect(2);
    assert!(
        run.stderr.contains("'nova-base-plugin-x/../../y' is not a name of a source"),
        "{run:?}"
    );
    assert!(run.stderr.contains("sources.yaml"), "{run:?}");
}

#[test]
fn names_of_every_release_are_names() {
    let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("releases");
    let mut count = 0;
    for entry in fs::read_dir(releases).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let tables: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in tables["sources"].as_object().unwrap().keys() {
            SourceName::new(name).unwrap();
            count += 1;
        }
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn silent_servers_are_given_up() {
    let port = listen(silent);
    let [http, git] = ["http", "git"].map(|scheme| format!("{scheme}://127.0.0.1:{port}/app"));
    let table = [
        ("url", http.clone()),
        ("git", http.clone()),
        ("git", git),
        ("git", format!("ssh://127.0.0.1:{port}/app")),
        ("pip", format!("app @ {http}/app-1.tar.gz")),
    ];
    for (kind, location) in table {
        let tree = tree();
        let text = section(kind, &location, "reference = main");
        let run = soon(build(&tree, &text, &["--timeout", "3", "--retries", "0"]), 25);
        let reason_of = |run: Run| {
            let reason = reason(run);
            let is_named = reason.starts_with("the source [app] ");
            assert!(is_named && reason.ends_with(" (--timeout)"), "{reason}");
        };
        reason_of(run);
        // A second attempt may succeed.
        let run = soon(build(&tree, &text, &["--timeout", "1", "--retries", "1"]), 40);
        assert!(run.stderr.contains("retrying in"), "{location}: {run:?}");
        reason_of(run);
    }
    assert!(left_behind(&format!("127.0.0.1:{port}")).is_empty());
}

#[test]
fn silent_servers_are_given_up_before_the_build_too() {
    let port = listen(silent);
    for scheme in ["http", "git"] {
        let tree = tree();
        let text = section("git", &format!("{scheme}://127.0.0.1:{port}/app"), "reference = main");
        let arguments = ["--timeout", "3", "--retries", "0", "--skip-unchanged", "--plan"];
        soon(build(&tree, &text, &arguments), 25).expect(0);
    }
    assert!(left_behind(&format!("127.0.0.1:{port}")).is_empty());
}

#[test]
fn servers_that_drip_are_given_up() {
    for pause in [Duration::from_secs(5), Duration::from_millis(700)] {
        let port = listen(dripping(pause));
        for kind in ["url", "git"] {
            let tree = tree();
            let text = section(kind, &format!("http://127.0.0.1:{port}/app"), "reference = main");
            let run = soon(build(&tree, &text, &["--timeout", "3", "--retries", "0"]), 25);
            let reason = reason(run);
            assert!(reason.ends_with(" (--timeout)"), "{reason}");
        }
    }
}

/// Speaks the start of git's own protocol, and then sends messages without end.
fn talking(mut connection: TcpStream) {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let mut request = [0; 4096];
    let _ = connection.read(&mut request);
    let id = "1".repeat(40);
    let refs = line(&format!("{id} HEAD\0side-band-64k symref=HEAD:refs/heads/main\n"))
        + &line(&format!("{id} refs/heads/main\n"))
        + "0000";
    let _ = connection.write_all(refs.as_bytes());
    let _ = connection.read(&mut request);
    let _ = connection.write_all(line("NAK\n").as_bytes());
    let message = line(&format!("\u{2}{}\n", "x".repeat(60_000)));
    while connection.write_all(message.as_bytes()).is_ok() {}
}

#[test]
fn endless_answer_is_given_up_in_bounded_memory() {
    let port = listen(talking);
    let tree = tree();
    let text = section("git", &format!("git://127.0.0.1:{port}/app"), "reference = main");
    let command = build(&tree, &text, &["--timeout", "20", "--retries", "0"]);
    let mut limited = in_shell("ulimit -v 1000000", &command);
    limited.env("MALLOC_ARENA_MAX", "1");
    let reason = reason(soon(limited, 60));
    assert!(reason.contains("it prints more than 16 MiB"), "{reason}");
}

/// Returns the arguments of other processes that contain this text.
fn left_behind(text: &str) -> Vec<String> {
    thread::sleep(Duration::from_millis(200));
    arguments_of_all().into_iter().filter(|arguments| arguments.contains(text)).collect()
}

fn arguments_of_all() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter_map(|process| fs::read(process.join("cmdline")).ok())
        .map(|arguments| String::from_utf8_lossy(&arguments).replace('\0', " "))
        .collect()
}

#[test]
fn fetching_programs_end_with_an_interrupted_run() {
    let port = listen(silent);
    for (arguments, wait) in [(["--skip-unchanged", "--plan"], 130), (["--retries", "0"], 130)] {
        for signal in ["INT", "TERM"] {
            let tree = tree();
            let temporary = tempfile::tempdir().unwrap();
            let location = format!("http://127.0.0.1:{port}/{signal}");
            let text = section("git", &location, "reference = main");
            let mut command = build(&tree, &text, &arguments);
            command.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut run = command.spawn().unwrap();
            wait_for("the program that fetches", || {
                arguments_of_all().iter().any(|of| of.contains(&location))
            });
            let process = run.id().to_string();
            let status = Command::new("kill").args(["-s", signal, &process]).status();
            assert!(status.unwrap().success());
            assert_eq!(run.wait().unwrap().code(), Some(wait), "{arguments:?} {signal}");
            assert!(left_behind(&location).is_empty(), "{arguments:?} {signal}");
            let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().collect();
            assert!(left.is_empty(), "{arguments:?} {signal}: {left:?}");
        }
    }
}

#[track_caller]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    git.args(arguments);
    Run::of(git).expect(0).stdout.trim().to_owned()
}

/// Creates a repository with a file, on the branch `main`.
fn repository(folder: &Path) -> PathBuf {
    let at = folder.join("repository");
    fs::create_dir(&at).unwrap();
    git(&at, &["init", "--quiet", "--initial-branch=main"]);
    fs::write(at.join("file"), "of the source\n").unwrap();
    git(&at, &["add", "."]);
    git(&at, &["commit", "--quiet", "--message=one"]);
    git(&at, &["update-server-info"]);
    at
}

/// User and password of a source, plain and as they are written in a URL.
const USER_INFO: (&str, &str) = ("deploy:GIT/P@SS:W", "deploy:GIT%2FP%40SS:W");

/// Parts of them that must not be visible.
const TELLING: [&str; 4] = ["GIT/P@SS", "GIT%2FP", "P%40SS", "GIT/P"];

/// Serves the files of a folder slowly, by HTTP, to clients with the password.
fn slow_files(folder: PathBuf, pause: Duration) -> u16 {
    let token = base64::engine::general_purpose::STANDARD.encode(USER_INFO.0);
    listen(move |mut connection| {
        let head = head(&connection);
        let path = head.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap().to_owned();
        let is_known = head.lines().any(|line| {
            line.to_ascii_lowercase().starts_with("authorization: basic ") && line.contains(&token)
        });
        thread::sleep(pause);
        let (status, body) = match fs::read(folder.join(path.trim_start_matches('/'))) {
            _ if !is_known => ("401 No\r\nWWW-Authenticate: Basic realm=\"x\"", Vec::new()),
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 None", Vec::new()),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
    })
}

/// Returns everything that other users of the machine can see during `run`: arguments of processes,
/// and git's configuration and logs in the temporary folder. Also returns the number of
/// observations.
fn seen_during(run: &mut Child, temporary: &Path) -> (String, usize) {
    let (mut seen, mut looks) = (String::new(), 0);
    while run.try_wait().unwrap().is_none() {
        for arguments in arguments_of_all() {
            seen.push_str(&arguments);
            seen.push('\n');
        }
        // Git would keep these files, so they count even if others may not read them now.
        look_into(temporary, &mut seen);
        looks += 1;
        thread::sleep(Duration::from_millis(15));
    }
    (seen, looks)
}

fn look_into(folder: &Path, seen: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            look_into(&path, seen);
        } else if path.ends_with(".git/config") || path.to_string_lossy().contains("/logs/") {
            seen.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}

#[test]
fn password_of_a_git_source_is_never_visible() {
    Engine::Docker.require();
    let folder = tempfile::tempdir().unwrap();
    let at = repository(folder.path());
    let port = slow_files(at.join(".git"), Duration::from_millis(60));
    let location = format!("http://{}@127.0.0.1:{port}/", USER_INFO.1);
    let tree = tree();
    let _cleanup = Cleanup::new(tree.namespace());
    let configuration = tree.path().join("build.conf");
    fs::write(&configuration, section("git", &location, "reference = main")).unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".gitconfig"), "[credential]\nhelper = store\n").unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let mut command = tree.command(&["--config-file", configuration.to_str().unwrap()]);
    command.env("TMPDIR", temporary.path()).env("HOME", home.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (seen, looks) = seen_during(&mut child, temporary.path());
    let run = Run::from(child.wait_with_output().unwrap());
    assert!(looks > 10 && seen.contains("clone") && seen.contains("[remote \"origin\"]"), "{seen}");
    let run = run.expect(0);
    for telling in TELLING {
        assert!(!seen.contains(telling), "{telling} was to be seen");
        assert!(!format!("{run:?}").contains(telling), "{run:?}");
    }
    assert!(!home.path().join(".git-credentials").exists(), "git has kept the password");
    let reference = format!("{}/one-source-app:t", tree.namespace());
    let below = "/app/app-archive-main";
    let file = |path: &str| Engine::Docker.file_in(&reference, &format!("{below}/{path}"));
    assert_eq!(file("file"), "of the source\n");
    assert!(file(".git/config").contains(&format!("url = http://127.0.0.1:{port}/")));
}

#[test]
fn password_of_a_pip_source_is_no_argument() {
    let folder = tempfile::tempdir().unwrap();
    let port = slow_files(folder.path().to_owned(), Duration::from_millis(500));
    for location in [
        format!("app @ http://{}@127.0.0.1:{port}/app-1.tar.gz", USER_INFO.1),
        format!("app @ http://127.0.0.1:{port}/app-1.tar.gz?token={}", "GIT%2FP%40SS"),
        format!("git+http://{}@127.0.0.1:{port}/app@main", USER_INFO.1),
        format!("app @ git+http://{}@127.0.0.1:{port}/app", USER_INFO.1),
    ] {
        let tree = tree();
        let temporary = tempfile::tempdir().unwrap();
        let mut command = build(&tree, &section("pip", &location, ""), &["--retries", "0"]);
        command.env("TMPDIR", temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (seen, _) = seen_during(&mut child, temporary.path());
        let run = Run::from(child.wait_with_output().unwrap());
        assert!(seen.contains("pip download"), "{seen}");
        for telling in TELLING {
            assert!(!seen.contains(telling), "{location}: {telling} was to be seen");
            assert!(!format!("{run:?}").contains(telling), "{run:?}");
        }
        reason(run);
    }
}

#[test]
fn secrets_of_locations_are_in_no_reason() {
    let table = [
        ("url", "http://user:p/w@127.0.0.1:1/x", "p/w"),
        ("url", "http://user:p@w@127.0.0.1:1/x", "p@w"),
        ("url", "http://user:p%2Fw@127.0.0.1:1/x", "p%2Fw"),
        ("url", "http://127.0.0.1:1/x?token=OPEN", "OPEN"),
        ("url", "http://127.0.0.1:1/x?a=b&X-Amz-Signature=OPEN&c=d", "OPEN"),
        ("url", "http://127.0.0.1:1/x?sv=1&sig=OPEN%3D", "OPEN"),
        ("git", "http://user:p/w@127.0.0.1:1/x", "p/w"),
        ("git", "http://user:pOPENw@127.0.0.1:1/x", "OPEN"),
        ("git", "http://127.0.0.1:1/x?private_token=OPEN", "OPEN"),
        ("git", "ssh://user:pOPENw@127.0.0.1:1/x", "OPEN"),
        ("git", "git://user:pOPENw@127.0.0.1:1/x", "OPEN"),
        ("pip", "x @ http://user:pOPENw@127.0.0.1:1/x-1.tar.gz", "OPEN"),
        ("pip", "x @ http://127.0.0.1:1/x-1.tar.gz?token=OPEN", "OPEN"),
    ];
    for (kind, location, secret) in table {
        let tree = tree();
        // A dollar sign would start a reference, so no location has one.
        let run =
            Run::of(build(&tree, &section(kind, location, ""), &["--retries", "0", "--debug"]));
        assert!(!format!("{run:?}").contains(secret), "{location}: {run:?}");
        reason(run);
    }
}

#[test]
fn transports_that_run_programs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("ran");
    for location in [
        format!("ext::sh -c touch% {}", trace.display()),
        "fd::0".to_owned(),
        "ftp://127.0.0.1:1/x".to_owned(),
        "codecommit::region://x".to_owned(),
        "-oProxyCommand=true:x".to_owned(),
        format!("ssh://-oProxyCommand=touch {}/x", trace.display()),
        format!("--upload-pack=touch {}", trace.display()),
    ] {
        let tree = tree();
        let run = soon(build(&tree, &section("git", &location, ""), &["--retries", "0"]), 20);
        reason(run);
        assert!(!trace.exists(), "{location}");
    }
}

#[test]
fn variables_of_another_repository_are_ignored() {
    Engine::Docker.require();
    let folder = tempfile::tempdir().unwrap();
    let at = repository(folder.path());
    let outer = tempfile::tempdir().unwrap();
    let outer = repository(outer.path());
    fs::write(outer.join("other"), "").unwrap();
    git(&outer, &["add", "."]);
    git(&outer, &["commit", "--quiet", "--message=another"]);
    let of_outer = outer.join(".git").display().to_string();
    let tree = tree();
    let _cleanup = Cleanup::new(tree.namespace());
    let configuration = tree.path().join("build.conf");
    let text = section("git", at.to_str().unwrap(), "reference = main");
    fs::write(&configuration, text).unwrap();
    for (name, value) in [
        ("GIT_DIR", of_outer.clone()),
        ("GIT_WORK_TREE", outer.display().to_string()),
        ("GIT_OBJECT_DIRECTORY", format!("{of_outer}/objects")),
        ("GIT_INDEX_FILE", format!("{of_outer}/index")),
        ("GIT_COMMON_DIR", of_outer.clone()),
        ("GIT_TEMPLATE_DIR", outer.display().to_string()),
        ("GIT_CONFIG_PARAMETERS", "'core.bare=true'".to_owned()),
    ] {
        let mut command = tree.command(&["--config-file", configuration.to_str().unwrap()]);
        command.env(name, value);
        let run = Run::of(command).expect(0);
        let reference = format!("{}/one-source-app:t", tree.namespace());
        let file = Engine::Docker.file_in(&reference, "/app/app-archive-main/file");
        assert_eq!(file, "of the source\n", "{name}: {run:?}");
        assert_eq!(git(&outer, &["symbolic-ref", "HEAD"]), "refs/heads/main", "{name}");
        assert_eq!(git(&outer, &["status", "--porcelain"]), "", "{name}");
    }
}

#[test]
fn hooks_and_submodules_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = repository(folder.path());
    let trace = folder.path().join("ran");
    let home = tempfile::tempdir().unwrap();
    let hooks = home.path().join("template/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in ["post-checkout", "reference-transaction"] {
        let hook = hooks.join(hook);
        fs::write(&hook, format!("#!/bin/sh\ntouch '{}'\n", trace.display())).unwrap();
        fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = format!(
        "[init]\ntemplateDir = {}\n[core]\nhooksPath = {}\n[submodule]\nrecurse = true\n[clone]\ndefaultRemoteName = other\n",
        home.path().join("template").display(),
        hooks.display()
    );
    fs::write(home.path().join(".gitconfig"), config).unwrap();
    fs::write(at.join(".gitmodules"), "[submodule \"x\"]\npath = x\nurl = ext::sh -c false\n")
        .unwrap();
    let id = git(&at, &["rev-parse", "HEAD"]);
    git(&at, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},x")]);
    git(&at, &["add", ".gitmodules"]);
    git(&at, &["commit", "--quiet", "--message=a submodule"]);
    let tree = tree();
    let text = section("git", at.to_str().unwrap(), "reference = main");
    let mut command = build(&tree, &text, &["--retries", "0"]);
    command.env("HOME", home.path());
    expect_fetched(&Run::of(command));
    assert!(!trace.exists());
}

/// Returns a redirect to an address.
fn redirect(location: &str) -> Reply {
    http::empty(302, &format!("Location: {location}\r\n"))
}

/// Starts a server of an archive.
fn archive_server() -> Server {
    Server::plain(|_| Reply::Whole(200, String::new(), b"hello".to_vec()))
}

#[test]
fn redirect_from_tls_to_plain_http_is_refused() {
    let plain = archive_server();
    let location = format!("http://{}/archive", plain.address());
    let authority = Authority::default();
    let port = Server::with_tls(&authority, move |_| redirect(&location)).port;
    for more in ["", "sha256 = 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"] {
        let tree = tree();
        let text = section("url", &format!("https://127.0.0.1:{port}/archive"), more);
        let mut command = build(&tree, &text, &["--retries", "0"]);
        command.env("SSL_CERT_FILE", authority.file());
        command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        let reason = reason(Run::of(command));
        assert!(reason.contains("redirects from https to plain http"), "{reason}");
    }
    assert_eq!(plain.asked().len(), 0);
}

#[test]
fn redirect_carries_no_secret_to_another_host() {
    let other = archive_server();
    let target = format!("http://{}/archive", other.address());
    let port = Server::plain(move |_| redirect(&target)).port;
    let tree = tree();
    let location = format!("http://deploy:OPEN@127.0.0.1:{port}/archive?token=OPENED");
    Run::of(build(&tree, &section("url", &location, ""), &["--retries", "0"]));
    let asked = other.asked();
    assert_eq!(asked[0].call(), "GET /archive");
    let head = format!("{:?}", asked[0]).to_ascii_lowercase();
    for telling in ["authorization", "referer", "open"] {
        assert!(!head.contains(telling), "{head}");
    }
}

/// Returns a server that demands a login, and answers the right one with `reply`.
fn guarded(login: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    use base64::Engine as _;
    let expected = base64::engine::general_purpose::STANDARD.encode(login);
    Server::plain(move |request| {
        let is_known = request.authorization() == format!("Basic {expected}");
        if is_known { reply() } else { http::empty(401, "WWW-Authenticate: Basic realm=x\r\n") }
    })
}

#[test]
fn login_for_a_url_is_the_one_of_the_netrc_file() {
    let archive = || Reply::Whole(200, String::new(), b"hello".to_vec());
    let server = guarded("robot:planted pass", archive);
    let home = tempfile::tempdir().unwrap();
    let location = format!("http://127.0.0.1:{}/lib.tar.gz", server.port);
    let with_user = format!("http://other:x@127.0.0.1:{}/lib.tar.gz", server.port);
    let of_host = "machine 127.0.0.1 login robot password \"planted pass\"\n";
    let table = [
        (".netrc", of_host, "", &location, true),
        ("_netrc", of_host, "", &location, true),
        (".netrc", "default login robot password planted\\ pass", "", &location, true),
        ("named", of_host, "named", &location, true),
        // As in Python's requests, the file comes before the URL.
        (".netrc", of_host, "", &with_user, true),
        (".netrc", "machine localhost login robot password \"planted pass\"", "", &location, false),
        (".netrc", of_host, "missing", &location, false),
        ("unused", "", "", &location, false),
    ];
    for (name, text, named, location, is_fetched) in table {
        for old in [".netrc", "_netrc", "named"] {
            drop(fs::remove_file(home.path().join(old)));
        }
        fs::write(home.path().join(name), text).unwrap();
        let tree = tree();
        let mut command = build(&tree, &section("url", location, ""), &["--retries", "0"]);
        command.env("HOME", home.path()).env_remove("NETRC");
        if !named.is_empty() {
            command.env("NETRC", home.path().join(named));
        }
        let run = Run::of(command);
        assert!(!format!("{run:?}").contains("planted"), "{run:?}");
        if is_fetched {
            expect_fetched(&run);
        } else {
            assert!(reason(run).ends_with("the server says 401 Unauthorized"), "{text}");
        }
    }
}

#[test]
fn login_of_the_netrc_file_is_not_carried_to_another_host() {
    let other = archive_server();
    let target = format!("http://localhost:{}/archive", other.port);
    let server = guarded("robot:s", move || redirect(&target));
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".netrc"), "machine 127.0.0.1 login robot password s").unwrap();
    let location = format!("http://127.0.0.1:{}/lib.tar.gz", server.port);
    let tree = tree();
    let mut command = build(&tree, &section("url", &location, ""), &["--retries", "0"]);
    command.env("HOME", home.path()).env_remove("NETRC");
    expect_fetched(&Run::of(command));
    assert_eq!(other.asked().len(), 1);
    assert_eq!(other.asked()[0].authorization(), "");
}

#[test]
fn certificate_of_a_url_is_trusted_by_the_variables_of_pythons_requests() {
    let authority = Authority::default();
    let port =
        Server::with_tls(&authority, |_| Reply::Whole(200, String::new(), b"hello".to_vec())).port;
    let folder = tempfile::tempdir().unwrap();
    fs::copy(authority.file(), folder.path().join("0123abcd.0")).unwrap();
    fs::write(folder.path().join("README"), "no certificate").unwrap();
    let empty = tempfile::tempdir().unwrap();
    let other = Authority::default();
    let cure = "name the file of the CA in REQUESTS_CA_BUNDLE)";
    let (requests, curl) = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE");
    let (file, folder, empty) = (authority.file(), folder.path().into(), empty.path().into());
    type Variables<'a> = &'a [(&'static str, PathBuf)];
    let table: [(Variables<'_>, Option<&str>); 9] = [
        (&[(requests, file.clone())], None),
        (&[(curl, file.clone())], None),
        (&[(requests, folder)], None),
        (&[(requests, "".into()), (curl, file.clone())], None),
        (&[(requests, file.clone()), (curl, other.file())], None),
        (&[(requests, other.file()), (curl, file)], Some(cure)),
        (&[], Some(cure)),
        (&[(requests, "/nonexistent/ca".into())], Some("REQUESTS_CA_BUNDLE names /nonexistent/ca")),
        (&[(curl, empty)], Some("it has no certificate")),
    ];
    for (variables, refused) in table {
        let text = section("url", &format!("https://localhost:{port}/lib.tar.gz"), "");
        let tree = tree();
        let retries = if refused.is_some() { "3" } else { "0" };
        let mut command = build(&tree, &text, &["--retries", retries]);
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", requests, curl] {
            command.env_remove(name);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let run = soon(command, 20);
        match refused {
            None => expect_fetched(&run),
            Some(words) => {
                let reason = reason(run);
                assert!(reason.contains(words), "{variables:?}: {reason}");
            }
        }
    }
}

#[test]
fn local_source_is_where_its_location_says() {
    let tree = tree();
    for folder in ["near/lib", "base/lib"] {
        tree.write(&format!("elsewhere/{folder}/file"), "x");
    }
    let at = tree.path().join("elsewhere");
    let base = format!("[DEFAULT]\nlocals_base = {}/base\n", at.display());
    for (locals_base, location, is_there) in [
        ("", "near/lib", true),
        ("", "./near/lib/", true),
        ("", "$locals_base/near/lib", true),
        ("locals_base = base", "$locals_base/lib", true),
        ("locals_base = ./base/", "${locals_base}lib/", true),
        (&*base, "$locals_base/lib", true),
        (&*base, "near/lib", true),
        ("locals_base = base", "lib", false),
        (&*base, "lib", false),
        ("", "near/lib/..", false),
    ] {
        let base = locals_base.trim_start_matches("[DEFAULT]\n");
        let text = format!("[DEFAULT]\n{base}\n{}", section("local", location, ""));
        let mut command = build(&tree, &text, &["--retries", "0"]);
        command.current_dir(&at);
        let run = Run::of(command);
        if is_there {
            expect_fetched(&run);
        } else {
            assert!(reason(run).starts_with("the source [app]"), "{location}");
        }
    }
}

#[test]
fn redirects_without_end_are_refused() {
    let port = listen(|mut connection| {
        let head = head(&connection);
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {path}x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let _ = connection.write_all(answer.as_bytes());
    });
    let tree = tree();
    let text = section("url", &format!("http://127.0.0.1:{port}/x"), "");
    let reason = reason(soon(build(&tree, &text, &["--retries", "3"]), 20));
    assert!(reason.contains("redirected more than"), "{reason}");
}

#[test]
fn local_sources_that_are_no_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let pipe = |path: &str| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&at("pipe"));
    let _socket = UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    pipe(&at("folder/pipe"));
    std::os::unix::fs::symlink("pipe", at("link")).unwrap();
    fs::File::create(at("huge")).unwrap().set_len(9 << 30).unwrap();
    for (place, told) in [
        (at("pipe"), "it is a pipe"),
        (at("link"), "it is a pipe"),
        (at("socket"), "it is a socket"),
        ("/dev/zero".to_owned(), "it is a device"),
        (at("folder"), "it is a pipe"),
        (at("huge"), "larger than 8 GiB"),
    ] {
        for name in ["app", "app-plugin-x"] {
            let tree = tree();
            let text = section("local", &place, "").replace("[app]", &format!("[{name}]"));
            let run = soon(build(&tree, &text, &["--retries", "0"]), 20);
            let reason = reason(run);
            assert!(reason.contains(told), "{place}: {reason}");
            soon(build(&tree, &text, &["--skip-unchanged", "--plan"]), 20).expect(0);
        }
    }
}

#[test]
fn links_of_a_local_folder_are_not_followed() {
    Engine::Docker.require();
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("local");
    fs::create_dir(&local).unwrap();
    fs::write(folder.path().join("secret"), "of this machine").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), local.join("link")).unwrap();
    std::os::unix::fs::symlink("..", local.join("up")).unwrap();
    let tree = TestTree::new(&[(
        "app",
        "FROM debian:bookworm\nADD app-archive /app\nRUN test -L /app/local/link && test ! -e /app/local/link && test -L /app/local/up\n",
    )]);
    tree.write("tree.toml", FETCHING);
    let _cleanup = Cleanup::new(tree.namespace());
    let configuration = tree.path().join("build.conf");
    fs::write(&configuration, section("local", local.to_str().unwrap(), "")).unwrap();
    tree.build(&["--config-file", configuration.to_str().unwrap()]).expect(0);
}

/// Returns the folders that a command with umask 000 creates directly below the temporary one, with
/// their modes.
fn folders_made(command: &Command, temporary: &Path) -> Vec<String> {
    let calls = tempfile::NamedTempFile::new().unwrap();
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("umask 000; exec strace -f -qq -e trace=mkdir,mkdirat -o \"$CALLS\" \"$0\" \"$@\"");
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        shell.env(name, value);
    }
    shell.env("CALLS", calls.path()).env("TMPDIR", temporary);
    Run::of(shell);
    let text = fs::read_to_string(calls.path()).unwrap();
    let is_here = |line: &&str| {
        let path = line.split('"').nth(1).unwrap_or_default();
        Path::new(path).parent() == Some(temporary)
    };
    text.lines().filter(|line| line.ends_with("= 0")).filter(is_here).map(str::to_owned).collect()
}

#[test]
fn temporary_folders_are_private_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let local = section("local", folder.path().to_str().unwrap(), "");
    for arguments in
        [["--retries", "0"].as_slice(), &["--skip-unchanged", "--plan"], &["--template-only"]]
    {
        let tree = tree();
        let temporary = tempfile::tempdir().unwrap();
        let made = folders_made(&build(&tree, &local, arguments), temporary.path());
        assert!(!made.is_empty(), "{arguments:?}");
        assert!(made.iter().all(|line| line.contains(", 0700)")), "{arguments:?}: {made:?}");
    }
}

#[test]
fn folder_of_templates_alone_can_not_be_foretold() {
    let temporary = tempfile::tempdir().unwrap();
    let tree = tree();
    let mut command = tree.command(&["--template-only"]);
    let run = Run::of({
        command.env("TMPDIR", temporary.path());
        command
    });
    run.expect(0);
    let made: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().collect();
    let [folder] = made.as_slice() else { panic!("{made:?}") };
    let name = folder.file_name().into_string().unwrap();
    let rest = name.strip_prefix("kiln-").unwrap();
    assert!(rest.chars().any(|c| !c.is_ascii_digit()) || rest.len() > 7, "{name}");
    assert!(folder.path().join("docker/app/Dockerfile").is_file());
}

/// Creates a folder with files that a program could load as code or run.
fn trapped(trace: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let code = format!("open({:?}, 'w').close()\n", trace.display().to_string());
    for module in ["pip.py", "sitecustomize.py", "usercustomize.py", "json.py", "runpy.py"] {
        fs::write(folder.path().join(module), &code).unwrap();
    }
    for program in ["python3", "git", "ssh", "sh", "git-remote-http", "printf"] {
        let path = folder.path().join(program);
        fs::write(&path, format!("#!/bin/sh\n: > '{}'\n", trace.display())).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[test]
fn nothing_of_the_current_folder_is_run() {
    let port = listen(|mut connection| {
        head(&connection);
        let _ = connection
            .write_all(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let holder = tempfile::tempdir().unwrap();
    let trace = holder.path().join("ran");
    let folder = trapped(&trace);
    let path = std::env::var("PATH").unwrap();
    let up = format!("../{}", folder.path().file_name().unwrap().to_str().unwrap());
    for (kind, location) in [
        ("pip", format!("app @ http://127.0.0.1:{port}/app-1.tar.gz")),
        ("pip", format!("git+http://127.0.0.1:{port}/app")),
        ("git", format!("http://127.0.0.1:{port}/app")),
        ("git", "ssh://127.0.0.1:1/app".to_owned()),
    ] {
        for (name, value) in [
            ("NOTHING", String::new()),
            ("PATH", format!(":{path}")),
            ("PATH", format!(".:{path}")),
            ("PATH", format!("{up}:{path}:")),
            ("PYTHONPATH", String::new()),
            ("PYTHONPATH", ".".to_owned()),
            ("PYTHONPATH", format!(":{up}:")),
        ] {
            let tree = tree();
            let text = section(kind, &location, "reference = main");
            let mut command = build(&tree, &text, &["--retries", "0", "--timeout", "20"]);
            command.current_dir(folder.path()).env(name, &value);
            let run = Run::of(command);
            assert!(!trace.exists(), "{kind} {name}={value}: {run:?}");
            reason(run);
        }
    }
}

#[test]
fn trusted_package_is_fetched_wherever_kiln_is_started() {
    let holder = tempfile::tempdir().unwrap();
    let trace = holder.path().join("ran");
    let folder = trapped(&trace);
    let tree = tree();
    let mut command = build(&tree, &section("pip", "iniconfig==2.0.0", ""), &["--retries", "0"]);
    command.current_dir(folder.path());
    expect_fetched(&Run::of(command));
    assert!(!trace.exists());
}

#[test]
fn requirements_that_are_paths_from_here_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let setup = "open('ran', 'w')\n";
    fs::create_dir(folder.path().join("package")).unwrap();
    fs::write(folder.path().join("package/setup.py"), setup).unwrap();
    fs::write(folder.path().join("setup.py"), setup).unwrap();
    for location in [
        "./package",
        ".",
        "..",
        "package",
        "package/",
        "file:package",
        "file://package",
        "--index-url=x",
    ] {
        let tree = tree();
        let mut command = build(&tree, &section("pip", location, ""), &["--retries", "0"]);
        command.current_dir(folder.path());
        let reason = reason(Run::of(command));
        assert!(reason.starts_with("the source [app]"), "{location}: {reason}");
        assert!(!folder.path().join("ran").exists(), "{location}");
        assert!(!folder.path().join("package/ran").exists(), "{location}");
    }
}
