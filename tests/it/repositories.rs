//! Malicious repositories of trees: no program that they configure is run, in any command that
//! calls git. Legitimate ones are read, however they were created.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Run, kiln, kolla};

/// Family of two images in a repository of its own, below `docker`.
struct Checkout {
    folder: tempfile::TempDir,
}

const MANIFEST: &str = "[defaults]\nnamespace = 'n'\nbase = 'one'\ninstall_type = 'binary'\n[bases.one]\n\
                        image = 'debian'\ntag = 'bookworm'\npackage_type = 'deb'\n\
                        package_manager = 'apt'\ninstall_types = ['binary']\n";

impl Checkout {
    /// Creates the family and commits two versions of it.
    fn new() -> Self {
        let checkout = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(checkout.top()).unwrap();
        checkout.git(&["init", "--quiet", "--initial-branch=main"]);
        checkout.write("docker/tree.toml", MANIFEST);
        checkout.write("docker/app/Dockerfile.tera", "FROM debian:bookworm\nCOPY run.sh /\n");
        checkout.write("docker/app/run.sh", "then\n");
        checkout.commit();
        checkout.write("docker/app/run.sh", "now\n");
        checkout.commit();
        checkout
    }

    fn top(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        git(&self.top(), arguments)
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=a commit"]);
    }

    /// Sets a key of the repository's configuration.
    fn set(&self, key: &str, value: &str) {
        self.git(&["config", key, value]);
    }

    /// Creates a program that leaves a trace when it runs, and returns its path.
    fn program(&self) -> String {
        let program = self.folder.path().join("program");
        let text = format!("#!/bin/sh\ntouch '{}'\ncat\n", self.trace().display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program.display().to_string()
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("ran")
    }

    /// Returns all commands that call git for the tree.
    fn commands(&self, since: &str) -> [Command; 3] {
        [
            vec!["affected", "--since", since],
            vec!["build", "--changed-since", since, "--list-images"],
            vec!["explain", "app", "--changed-since", since],
        ]
        .map(|arguments| {
            let mut command = kiln();
            command.args(arguments).args(["--tree", "docker"]).current_dir(self.top());
            command.env("DOCKER_HOST", "unix:///nonexistent/engine.sock");
            command
        })
    }

    /// Returns the changes since the previous commit.
    fn affected(&self) -> Run {
        let [affected, ..] = self.commands("HEAD~1");
        Run::of(affected)
    }
}

#[track_caller]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    git.args(["-c", "protocol.file.allow=always"]).args(arguments);
    Run::of(git).expect(0).stdout.trim().to_owned()
}

const CHANGED: &str = "app: file run.sh changed\n";

/// Removes an object of the previous commit, like a partial clone that has not fetched it.
fn lose_a_file(checkout: &Checkout) {
    let id = checkout.git(&["rev-parse", "HEAD~1:docker/app/run.sh"]);
    fs::remove_file(checkout.top().join(".git/objects").join(&id[..2]).join(&id[2..])).unwrap();
    checkout.set("core.repositoryFormatVersion", "1");
    checkout.set("extensions.partialClone", "origin");
    checkout.set("remote.origin.promisor", "true");
}

type Plant = fn(&Checkout, &str);

/// Programs planted in a repository, each with a short command of git that runs it; empty if there
/// is none.
const PLANTED: &[(&str, Plant, &[&str])] = &[
    ("monitor", |c, program| c.set("core.fsmonitor", program), &["status"]),
    (
        "filter by attributes of the tree",
        |c, program| {
            c.write(".gitattributes", "* filter=x\n");
            c.commit();
            c.commit_again();
            c.set("filter.x.smudge", program);
            c.set("filter.x.clean", program);
        },
        &["checkout", "HEAD~1", "--", "."],
    ),
    (
        "filter process by attributes of the repository",
        |c, program| {
            c.write(".git/info/attributes", "* filter=x\n");
            c.set("filter.x.process", program);
            c.set("filter.x.required", "true");
        },
        &[],
    ),
    (
        "ssh for a missing file",
        |c, program| {
            lose_a_file(c);
            c.set("remote.origin.url", "ssh://somewhere.invalid/repo");
            c.set("core.sshCommand", program);
        },
        &[],
    ),
    (
        "upload-pack for a missing file",
        |c, program| {
            lose_a_file(c);
            c.set("remote.origin.url", "/nonexistent");
            c.set("remote.origin.uploadpack", program);
        },
        &[],
    ),
    (
        "transport helper for a missing file",
        |c, program| {
            lose_a_file(c);
            c.set("protocol.ext.allow", "always");
            c.set("remote.origin.url", &format!("ext::{program}"));
        },
        &[],
    ),
    (
        "credential helper for a missing file",
        |c, program| {
            lose_a_file(c);
            c.set("remote.origin.url", "http://127.0.0.1:9/repo");
            c.set("credential.helper", program);
        },
        &[],
    ),
    (
        "included configuration",
        |c, program| {
            c.write(".git/more", &format!("[core]\nfsmonitor = {program}\n"));
            c.set("include.path", "more");
        },
        &["status"],
    ),
    (
        "included configuration by the folder",
        |c, program| {
            c.write(".git/more", &format!("[core]\nfsmonitor = {program}\n"));
            c.set("includeIf.gitdir:/.path", "more");
        },
        &["status"],
    ),
    (
        "configuration of the work tree",
        |c, program| {
            c.set("extensions.worktreeConfig", "true");
            c.write(".git/config.worktree", &format!("[core]\nfsmonitor = {program}\n"));
        },
        &["status"],
    ),
    (
        "hooks",
        |c, program| {
            for hook in ["post-checkout", "post-index-change", "reference-transaction"] {
                fs::copy(program, c.top().join(".git/hooks").join(hook)).unwrap();
            }
        },
        &["checkout", "--quiet", "--detach", "HEAD"],
    ),
    (
        "hooks elsewhere",
        |c, program| {
            c.write("docker/hooks/post-checkout", &fs::read_to_string(program).unwrap());
            let hook = c.top().join("docker/hooks/post-checkout");
            fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
            c.set("core.hooksPath", "docker/hooks");
        },
        &["checkout", "--quiet", "--detach", "HEAD"],
    ),
    ("pager", |c, program| c.set("core.pager", program), &[]),
    (
        "signature",
        |c, program| {
            c.set("log.showSignature", "true");
            c.set("gpg.program", program);
        },
        &[],
    ),
    (
        "diff driver",
        |c, program| {
            c.write(".git/info/attributes", "* diff=x\n");
            c.set("diff.x.textconv", program);
            c.set("diff.external", program);
        },
        &["diff", "HEAD~1"],
    ),
    ("alias", |c, program| c.set("alias.rev-parse", &format!("!{program}")), &[]),
    ("alternate references", |c, program| c.set("core.alternateRefsCommand", program), &[]),
];

impl Checkout {
    fn commit_again(&self) {
        self.write("docker/app/run.sh", "later\n");
        self.commit();
    }
}

#[test]
fn nothing_that_a_repository_configures_is_run() {
    for (name, plant, by_git) in PLANTED {
        let checkout = Checkout::new();
        let program = checkout.program();
        plant(&checkout, &program);
        drop(fs::remove_file(checkout.trace()));
        if !by_git.is_empty() {
            let mut git = Command::new("git");
            git.arg("-C").arg(checkout.top()).args(*by_git).output().unwrap();
            assert!(checkout.trace().exists(), "{name}: git itself does not run it");
            fs::remove_file(checkout.trace()).unwrap();
        }
        for command in checkout.commands("HEAD~1") {
            let run = Run::of(command);
            assert!(!checkout.trace().exists(), "{name}: {run:?}");
            let is_read = run.code == 0 || run.stderr.contains("may be a partial clone");
            assert!(is_read, "{name}: {run:?}");
        }
    }
}

#[test]
fn bare_repository_in_a_clean_clone_is_refused() {
    let checkout = Checkout::new();
    let program = checkout.program();
    let bare = checkout.top().join("docker");
    git(checkout.folder.path(), &["init", "--quiet", "--bare", bare.to_str().unwrap()]);
    fs::remove_dir_all(bare.join("hooks")).unwrap();
    checkout.write("docker/refs/heads/keep", "");
    checkout.write("docker/objects/info/keep", "");
    checkout.write(
        "docker/config",
        &format!("[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = {program}\n[filter \"x\"]\nsmudge = {program}\n"),
    );
    checkout.write("docker/.gitattributes", "* filter=x\n");
    checkout.commit();
    let clone = checkout.folder.path().join("clone");
    git(checkout.folder.path(), &["clone", "--quiet", "repo", "clone"]);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    for mut command in checkout.commands("HEAD") {
        let run = Run::of({
            command.current_dir(&clone);
            command
        });
        let run = run.expect(2);
        assert!(run.stderr.contains("/docker' is itself a git directory"), "{run:?}");
        assert!(!checkout.trace().exists(), "{run:?}");
    }
}

#[test]
fn git_directory_elsewhere_is_refused() {
    let other = Checkout::new();
    type Move = fn(&Path, &Path);
    let moves: [(&str, Move, &str); 4] = [
        ("link", |git, other| symlink(other, git).unwrap(), "is a symbolic link"),
        (
            "file",
            |git, other| fs::write(git, format!("gitdir: {}\n", other.display())).unwrap(),
            "its .git points to",
        ),
        (
            "text",
            |git, _| fs::write(git, "something").unwrap(),
            "its .git is not a link to a folder",
        ),
        (
            "pipe",
            |git, _| assert!(Command::new("mkfifo").arg(git).status().unwrap().success()),
            "it is a pipe",
        ),
    ];
    for (name, place, reason) in moves {
        let checkout = Checkout::new();
        let git_dir = checkout.top().join(".git");
        fs::remove_dir_all(&git_dir).unwrap();
        place(&git_dir, &other.top().join(".git"));
        let run = checkout.affected().expect(2);
        assert!(run.stderr.contains(reason), "{name}: {run:?}");
        assert!(run.stderr.contains("clone the repository instead"), "{name}: {run:?}");
    }
    // A work tree that is configured to be elsewhere is ignored.
    let checkout = Checkout::new();
    checkout.set("core.worktree", other.top().to_str().unwrap());
    assert_eq!(checkout.affected().expect(0).stdout, CHANGED);
}

#[test]
fn pipes_in_a_repository_are_not_waited_for() {
    for path in [
        ".git/config",
        ".git/packed-refs",
        ".git/index",
        ".git/info/exclude",
        ".git/shallow",
        ".git/HEAD",
        ".git/FETCH_HEAD",
    ] {
        let checkout = Checkout::new();
        let pipe = checkout.top().join(path);
        drop(fs::remove_file(&pipe));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let began = Instant::now();
        let run = checkout.affected();
        assert!(began.elapsed() < Duration::from_secs(20), "{path}: {run:?}");
        assert!(run.code == 2 || run.stdout == CHANGED, "{path}: {run:?}");
    }
    let checkout = Checkout::new();
    let pipe = checkout.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for key in ["core.excludesFile", "core.attributesFile", "include.path", "mailmap.file"] {
        let text = fs::read_to_string(checkout.top().join(".git/config")).unwrap();
        let (section, name) = key.split_once('.').unwrap();
        let more = format!("{text}[{section}]\n{name} = {}\n", pipe.display());
        checkout.write(".git/config", &more);
    }
    assert_eq!(checkout.affected().expect(0).stdout, CHANGED);
}

#[test]
fn variables_of_another_repository_are_ignored() {
    let checkout = Checkout::new();
    let other = Checkout::new();
    let program = checkout.program();
    let of_other = other.top().join(".git");
    let of_other = of_other.to_str().unwrap();
    let in_other = |name: &str| format!("{of_other}/{name}");
    let monitor = format!("'core.fsmonitor={program}'");
    let table: Vec<Vec<(&str, String)>> = vec![
        vec![("GIT_DIR", of_other.to_owned())],
        vec![("GIT_DIR", of_other.to_owned()), ("GIT_WORK_TREE", "/".to_owned())],
        vec![("GIT_OBJECT_DIRECTORY", in_other("objects"))],
        vec![("GIT_ALTERNATE_OBJECT_DIRECTORIES", in_other("objects"))],
        vec![("GIT_COMMON_DIR", of_other.to_owned())],
        vec![("GIT_INDEX_FILE", in_other("index"))],
        vec![("GIT_CONFIG", in_other("config"))],
        vec![("GIT_CONFIG_PARAMETERS", monitor)],
        vec![
            ("GIT_CONFIG_COUNT", "1".to_owned()),
            ("GIT_CONFIG_KEY_0", "core.fsmonitor".to_owned()),
            ("GIT_CONFIG_VALUE_0", program.clone()),
        ],
        vec![("GIT_NAMESPACE", "x".to_owned())],
        vec![("GIT_SHALLOW_FILE", in_other("HEAD"))],
        vec![("GIT_GRAFT_FILE", in_other("HEAD"))],
        vec![("GIT_PREFIX", "docker/".to_owned())],
        vec![("GIT_CEILING_DIRECTORIES", checkout.top().display().to_string())],
        vec![("GIT_EXEC_PATH", "/nonexistent".to_owned())],
        vec![("GIT_EXTERNAL_DIFF", program.clone())],
        vec![("GIT_PAGER", program.clone())],
        vec![("GIT_TRACE", "1".to_owned())],
        vec![("GIT_LITERAL_PATHSPECS", "1".to_owned())],
    ];
    for variables in table {
        for (command, expected) in checkout.commands("HEAD~1").into_iter().zip([CHANGED, "app"]) {
            let mut command = command;
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            let run = Run::of(command).expect(0);
            assert!(run.stdout.contains(expected), "{variables:?}: {run:?}");
            assert!(!checkout.trace().exists(), "{variables:?}");
        }
    }
}

#[test]
fn files_of_a_commit_are_its_objects() {
    let checkout = Checkout::new();
    checkout.write("docker/app/run.sh", "$Id$\nline\n");
    checkout.commit();
    checkout.write(".git/info/attributes", "* text eol=crlf ident\n");
    checkout.set("core.autocrlf", "true");
    let [mut affected, ..] = checkout.commands("HEAD");
    affected.env("HOME", "/nonexistent");
    assert_eq!(Run::of(affected).expect(0).stdout, "");
}

/// Creates a commit whose tree has a file of this name, and returns its id.
fn commit_of_file_called(checkout: &Checkout, mode: &str, name: &str) -> String {
    let blob = checkout.git(&["rev-parse", "HEAD:docker/app/run.sh"]);
    let docker = checkout.git(&["rev-parse", "HEAD:docker"]);
    let id = |id: &str| -> Vec<u8> {
        (0..id.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap())
            .collect()
    };
    let mut entries = vec![("40000", "docker", id(&docker)), (mode, name, id(&blob))];
    entries.sort_by_key(|(_, name, _)| name.to_string());
    let mut tree = Vec::new();
    for (mode, name, id) in entries {
        tree.extend(format!("{mode} {name}\0").bytes());
        tree.extend(id);
    }
    let file = checkout.folder.path().join("tree");
    fs::write(&file, tree).unwrap();
    let write = ["hash-object", "-t", "tree", "-w", "--literally", file.to_str().unwrap()];
    let tree = checkout.git(&write);
    checkout.git(&["commit-tree", &tree, "-m", "hostile"])
}

#[test]
fn names_in_a_commit_that_lead_out_are_refused() {
    for (mode, name) in [
        ("100644", ".."),
        ("100644", ".git"),
        ("100755", ".GIT"),
        ("100644", "../../out"),
        ("100644", "/tmp/kiln-out"),
        ("120000", "."),
    ] {
        let checkout = Checkout::new();
        let commit = commit_of_file_called(&checkout, mode, name);
        let [affected, ..] = checkout.commands(&commit);
        let run = Run::of(affected).expect(2);
        assert!(run.stderr.contains("which no checkout can have"), "{name}: {run:?}");
    }
}

#[test]
fn export_is_private_whatever_the_umask() {
    let checkout = Checkout::new();
    let temporary = tempfile::tempdir().unwrap();
    let program = format!(
        "umask 000; exec strace -f -qq -e trace=mkdir,mkdirat -o '{}' \"$0\" \"$@\"",
        checkout.folder.path().join("calls").display()
    );
    let [affected, ..] = checkout.commands("HEAD~1");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(program).arg(affected.get_program()).args(affected.get_args());
    shell.current_dir(checkout.top()).env("TMPDIR", temporary.path());
    Run::of(shell).expect(0);
    let calls = fs::read_to_string(checkout.folder.path().join("calls")).unwrap();
    let made: Vec<_> = calls
        .lines()
        .filter(|line| line.contains("\"") && line.contains(temporary.path().to_str().unwrap()))
        .filter(|line| {
            let path = line.split('"').nth(1).unwrap();
            Path::new(path).parent() == Some(temporary.path())
        })
        .collect();
    assert!(!made.is_empty(), "{calls}");
    assert!(made.iter().all(|line| line.contains(", 0700)")), "{made:?}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "something is left");
}

#[test]
fn repositories_of_all_makes_are_read() {
    let checkout = Checkout::new();
    let beside = checkout.folder.path().join("beside");
    checkout.git(&["worktree", "add", "--quiet", beside.to_str().unwrap(), "HEAD"]);
    let around = checkout.folder.path().join("around");
    git(checkout.folder.path(), &["init", "--quiet", "around"]);
    git(&around, &["submodule", "--quiet", "add", "../repo", "part"]);
    let nested = checkout.folder.path().join("nested");
    git(&around, &["commit", "--quiet", "--message=part"]);
    git(&around, &["worktree", "add", "--quiet", nested.to_str().unwrap(), "HEAD"]);
    git(&nested, &["submodule", "--quiet", "update", "--init"]);
    let packed = checkout.folder.path().join("packed");
    git(checkout.folder.path(), &["clone", "--quiet", "--no-local", "repo", "packed"]);
    git(&packed, &["pack-refs", "--all"]);
    git(&packed, &["update-index", "--split-index"]);
    for top in [checkout.top(), beside, around.join("part"), nested.join("part"), packed] {
        let [mut affected, ..] = checkout.commands("HEAD~1");
        affected.current_dir(&top);
        assert_eq!(Run::of(affected).expect(0).stdout, CHANGED, "{}", top.display());
    }
}

#[test]
fn repositories_of_other_formats_are_read() {
    for format in [["--object-format=sha256"], ["--ref-format=reftable"]] {
        let checkout = Checkout::new();
        fs::remove_dir_all(checkout.top().join(".git")).unwrap();
        let init = [&["init", "--quiet"], format.as_slice()].concat();
        checkout.git(&init);
        checkout.write("docker/app/run.sh", "then\n");
        checkout.commit();
        checkout.commit_again();
        assert_eq!(checkout.affected().expect(0).stdout, CHANGED, "{format:?}");
    }
}

#[test]
fn commits_are_named_as_git_names_them() {
    let checkout = Checkout::new();
    let clone = checkout.folder.path().join("clone");
    git(checkout.folder.path(), &["clone", "--quiet", "repo", "clone"]);
    git(&clone, &["fetch", "--quiet", "origin", "main"]);
    fs::write(clone.join("docker/app/run.sh"), "later\n").unwrap();
    git(&clone, &["commit", "--quiet", "--all", "--message=later"]);
    git(&clone, &["tag", "v1", "HEAD~1"]);
    let id = git(&clone, &["rev-parse", "--short", "HEAD~1"]);
    let names =
        ["HEAD~1", "HEAD@{1}", "@{upstream}", "main@{u}", "origin/main", "FETCH_HEAD", "v1", &id];
    for name in names {
        let [mut affected, ..] = checkout.commands(name);
        affected.current_dir(&clone);
        assert_eq!(Run::of(affected).expect(0).stdout, CHANGED, "{name}");
    }
}

/// Creates a checkout of kolla whose version is a tag.
fn kolla_checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let release = kolla::install("23.0.0");
    let lib = fs::read_dir(release.join("lib")).unwrap().next().unwrap().unwrap().path();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(lib.join("site-packages/kolla")).arg(folder.path());
    Run::of(copy).expect(0);
    let share = release.join("share/kolla/docker");
    if share.is_dir() {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(share).arg(folder.path());
        Run::of(copy).expect(0);
    }
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "--all"]);
    git(folder.path(), &["commit", "--quiet", "--message=kolla"]);
    git(folder.path(), &["tag", "22.1.0"]);
    folder
}

fn shown_version(checkout: &Path, variables: &[(&str, &str)]) -> Run {
    let mut command = kiln();
    command.args(["config", "show", "--tree", ".", "-b", "debian"]).current_dir(checkout);
    command.envs(variables.iter().copied());
    Run::of(command)
}

#[test]
fn version_of_a_checkout_is_asked_without_running_anything() {
    let checkout = kolla_checkout();
    let at = checkout.path();
    let told = |run: &Run| {
        run.stdout.lines().any(|line| line.starts_with("dialect") && line.contains("22.1.0"))
    };
    let run = shown_version(at, &[]).expect(0);
    assert!(told(&run), "{run:?}");

    let other = Checkout::new();
    other.git(&["tag", "9.1.0"]);
    let (of_other, objects) = (other.top().join(".git"), other.top().join(".git/objects"));
    for (name, value) in [("GIT_DIR", &of_other), ("GIT_OBJECT_DIRECTORY", &objects)] {
        let run = shown_version(at, &[(name, value.to_str().unwrap())]).expect(0);
        assert!(told(&run), "{name}: {run:?}");
    }

    let program = other.program();
    let head = git(at, &["rev-parse", "HEAD"]);
    fs::remove_file(at.join(".git/objects").join(&head[..2]).join(&head[2..])).unwrap();
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "ssh://somewhere.invalid/repo"),
        ("core.sshCommand", &program),
        ("core.fsmonitor", &program),
    ] {
        git(at, &["config", key, value]);
    }
    for arguments in [["build", "--list-images"].as_slice(), &["config", "show"], &["lint"]] {
        let mut command = kiln();
        command.args(arguments).args(["--tree", ".", "-b", "debian"]).current_dir(at);
        let run = Run::of(command);
        assert!(!other.trace().exists(), "{run:?}");
    }
}

#[test]
fn git_is_looked_for_in_absolute_folders_alone() {
    let checkout = Checkout::new();
    let program = checkout.program();
    let planted = checkout.top().join("git");
    fs::copy(&program, &planted).unwrap();
    let path = std::env::var("PATH").unwrap();
    for path in [format!(":{path}"), format!(".:{path}"), format!("docker/..:{path}")] {
        let [mut affected, ..] = checkout.commands("HEAD~1");
        affected.env("PATH", &path);
        assert_eq!(Run::of(affected).expect(0).stdout, CHANGED, "{path}");
        assert!(!checkout.trace().exists(), "{path}");
    }
}
