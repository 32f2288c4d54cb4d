//! Commands that build nothing, observed by strace on a malicious tree: the files that they write,
//! the programs that they run, and the sockets that they open.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::checkout::checkout;
use crate::support::{Run, kiln};
use regex::Regex;

/// System calls that change files, start programs or open sockets.
const CALLS: &str = "trace=openat,open,openat2,creat,mkdir,mkdirat,mknod,mknodat,unlink,unlinkat,rmdir,rename,\
     renameat,renameat2,link,linkat,symlink,symlinkat,truncate,chmod,fchmodat,chown,lchown,fchownat,utimensat,\
     setxattr,mount,execve,execveat,socket,connect,bind,listen";

/// Socket of an engine that does not exist.
const ENGINE: &str = "/nonexistent/engine.sock";

/// Effects of a command's system calls, and the command's result.
struct Watched {
    run: Run,
    /// Paths that were written, created, removed, or whose permissions were changed.
    written: BTreeSet<PathBuf>,
    /// File names of programs.
    programs: BTreeSet<String>,
    /// Addresses that were connected to, and families of sockets.
    sockets: BTreeSet<String>,
}

/// Environment variables with their values; `None` removes one.
type Variables<'a> = [(&'a str, Option<&'a str>)];

/// Runs a command in the folder `at` under strace, with these variables in its environment; temporary
/// files go to `temporary`.
fn watch(at: &Path, temporary: &Path, command: &[&str], variables: &Variables) -> Watched {
    let record = tempfile::NamedTempFile::new().unwrap();
    let program = kiln();
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-y", "-qq", "-s", "4096", "-e", "signal=none", "-e", CALLS, "-o"])
        .arg(record.path());
    traced.arg(program.get_program()).args(command).current_dir(at);
    let given = variables.iter().map(|(name, value)| (OsStr::new(*name), value.map(OsStr::new)));
    for (name, value) in program.get_envs().chain(given) {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.env("HOME", at.join("home")).env("TMPDIR", temporary).env_remove("DOCKER_CONTEXT");
    traced.env("DOCKER_HOST", format!("unix://{ENGINE}"));
    let run = Run::of(traced);
    let record = fs::read_to_string(record.path()).unwrap();
    assert!(record.contains("execve("), "strace saw nothing: {run:?}");
    let (mut written, mut programs, mut sockets) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let call = Regex::new(r"^\d+ +(\w+)\((.*)$").unwrap();
    let quoted = Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap();
    let folder = Regex::new(r"^[^<]*\b(?:AT_FDCWD|\d+)<([^>]*)>").unwrap();
    for line in record.lines() {
        let Some(found) = call.captures(line) else { continue };
        let (name, rest) = (&found[1], &found[2]);
        let has_failed = rest.contains(" = -1 ");
        let folder =
            folder.captures(rest).map_or(at.to_owned(), |folder| PathBuf::from(&folder[1]));
        let paths = quoted.captures_iter(rest).map(|path| folder.join(&path[1]));
        match name {
            "open" | "openat" | "openat2" => {
                let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"];
                if flags.iter().any(|flag| rest.contains(flag)) {
                    written.extend(paths.take(1));
                }
            }
            "execve" | "execveat" => {
                let names = paths.take(1).filter(|_| !has_failed);
                programs
                    .extend(names.map(|path| path.file_name().unwrap().to_string_lossy().into()));
            }
            "socket" => drop(sockets.insert(rest.split(',').next().unwrap().to_owned())),
            "connect" | "bind" | "listen" => drop(sockets.insert(rest.to_owned())),
            // The first of the two paths is only stored as text.
            "symlink" | "symlinkat" => written.extend(paths.last()),
            _ => written.extend(paths),
        }
    }
    Watched { run, written, programs, sockets }
}

/// Creates a repository with a tree that tries to run programs, write files and contact servers.
fn hostile_checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let write = |path: &str, text: &str| {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), text).unwrap();
    };
    fs::create_dir_all(at("home")).unwrap();
    let ran = at("ran").display().to_string();
    let program = format!("touch {ran}; cat");
    write(
        "tree/tree.toml",
        &format!(
            r#"
            profiles = "profiles"
            [defaults]
            base = "one"
            namespace = "ns"
            install_type = "source"
            [bases.one]
            image = "127.0.0.1:9/debian"
            tag = "bookworm"
            package_type = "deb"
            package_manager = "apt"
            install_types = ["source"]
            [install_types.source]
            fetches_sources = true
            [sources]
            app = {{ type = "git", location = "ext::sh -c '{program}'", reference = "--upload-pack={program}" }}
            app-plugin-x = {{ type = "url", location = "http://127.0.0.1:9/x" }}
            app-plugin-y = {{ type = "pip", location = "no-such-package==1" }}
            base = {{ type = "git", location = "ssh://127.0.0.1/x" }}
            [[unbuildable]]
            images = ["other"]
            reason = "\u001b[2J::error::x"
            [checks]
            app = "touch {ran}"
            "#
        ),
    );
    write("tree/profiles/all.list", ".\n");
    write("tree/base/Dockerfile.tera", "FROM {{ base_image }}:{{ base_distro_tag }}\nADD * /\n");
    write(
        "tree/app/Dockerfile.tera",
        "FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}\nCOPY --from=127.0.0.1:9/x:1 / /\n\
         RUN --mount=type=secret,id=k touch /x\n",
    );
    write("tree/other/Dockerfile.tera", "FROM scratch\nCOPY * /\n");
    write("tree/app/pip.py", &format!("open({ran:?}, 'w')\n"));
    write("tree/app/.dockerignore", "**/*\n");
    write("pip.py", &format!("open({ran:?}, 'w')\n"));
    write("tree/.gitattributes", "* filter=x diff=x\n");
    write(
        "build.conf",
        "[DEFAULT]\nlogs_dir = logs\nwork_dir = work\nreport = report.html\njunit = j.xml\n",
    );
    commit(folder.path(), &program);
    write("tree/base/changed", "now\n");
    folder
}

/// Commits the files of a folder to a new repository, and then configures git to run `program`
/// wherever a configuration can.
fn commit(folder: &Path, program: &str) {
    let git = |arguments: &[&str]| {
        let run = Command::new("git").arg("-C").arg(folder).args(arguments).output().unwrap();
        assert!(run.status.success(), "{arguments:?}: {run:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=first"]);
    for (name, value) in [
        ("core.fsmonitor", program),
        ("core.hooksPath", "hooks"),
        ("core.sshCommand", program),
        ("core.pager", program),
        ("core.alternateRefsCommand", program),
        ("filter.x.smudge", program),
        ("filter.x.clean", program),
        ("filter.x.process", program),
        ("diff.x.textconv", program),
        ("diff.external", program),
        ("log.showSignature", "true"),
        ("gpg.program", program),
        ("remote.origin.url", "ssh://127.0.0.1/x"),
        ("remote.origin.uploadpack", program),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
    ] {
        git(&["config", name, value]);
    }
}

const COMMANDS: &[&[&str]] = &[
    &["build", "--list-images"],
    &["build", "--list-dependencies"],
    &["build", "--save-dependency", "-"],
    &["build", "--plan"],
    &["build", "--plan", "--format", "json"],
    &["build", "--changed-since", "HEAD", "--list-images"],
    &["explain", "app"],
    &["explain", "app", "--changed-since", "HEAD"],
    &["affected", "--since", "HEAD"],
    &["affected", "--since", "HEAD", "--format", "json"],
    &["lint"],
    &["config", "show"],
];

#[test]
fn read_only_commands_write_no_file_and_open_no_socket() {
    let checkout = hostile_checkout();
    let at = checkout.path().canonicalize().unwrap();
    let script = at.join("script");
    fs::write(&script, format!("touch '{}'\n", at.join("ran").display())).unwrap();
    let script = script.to_str();
    // A shell without SHELL asks for the user, and one with BASH_ENV or ENV may run a script first.
    let user: &Variables = &[("SHELL", Some("/bin/bash")), ("BASH_ENV", None), ("ENV", None)];
    let service: &Variables = &[("SHELL", None), ("BASH_ENV", script), ("ENV", script)];
    let runs = COMMANDS.iter().flat_map(|command| [(command, user), (command, service)]);
    for (command, variables) in runs {
        let command = [command, ["--tree", "tree"].as_slice()].concat();
        let temporary = tempfile::tempdir().unwrap();
        let watched = watch(&at, temporary.path(), &command, variables);
        let Watched { run, written, programs, sockets } = watched;
        assert!(run.code == 0 || command[0] == "lint" && run.code == 1, "{command:?}: {run:?}");
        assert!(!at.join("ran").exists(), "{command:?} ran a program of the checkout");
        // A commit is unpacked temporarily.
        let looks_back = command.iter().any(|word| word.ends_with("since"));
        let is_elsewhere = |path: &&PathBuf| {
            !(path.starts_with("/dev") || looks_back && path.starts_with(temporary.path()))
        };
        let elsewhere: Vec<_> = written.iter().filter(is_elsewhere).collect();
        assert!(elsewhere.is_empty(), "{command:?} wrote {elsewhere:?}");
        let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "{command:?} left {left:?}");
        let allowed: &[&str] = match command[0] {
            _ if looks_back => &["kiln", "git"],
            // The shells read commands, and run none.
            "lint" => &["kiln", "sh", "bash"],
            _ => &["kiln"],
        };
        let others: Vec<_> =
            programs.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(others.is_empty(), "{command:?} ran {others:?}");
        let asks_engine = command[0] == "explain";
        let is_engine = |socket: &&String| {
            asks_engine && (socket.as_str() == "AF_UNIX" || socket.contains(ENGINE))
        };
        let others: Vec<_> = sockets.iter().filter(|socket| !is_engine(socket)).collect();
        assert!(others.is_empty(), "{command:?} opened {others:?}");
    }
    for made in ["logs", "work", "report.html", "j.xml"] {
        assert!(!at.join(made).exists(), "{made}");
    }
}

#[test]
fn version_of_a_kolla_checkout_is_read_without_running_its_programs() {
    let checkout = checkout("", "");
    let at = checkout.path().canonicalize().unwrap();
    let ran = at.join("ran");
    // Without metadata, git is asked for the version.
    fs::remove_dir_all(at.join("kolla-23.0.0.dist-info")).unwrap();
    commit(&at, &format!("touch {}; cat", ran.display()));
    let git = |arguments: &[&str]| {
        let run = Command::new("git").arg("-C").arg(&at).args(arguments).output().unwrap();
        String::from_utf8(run.stdout).unwrap().trim().to_owned()
    };
    git(&["tag", "23.0.0"]);
    let head = git(&["rev-parse", "HEAD"]);
    for commit_is_missing in [false, true] {
        if commit_is_missing {
            let object = format!(".git/objects/{}/{}", &head[..2], &head[2..]);
            fs::remove_file(at.join(object)).unwrap();
        }
        for command in
            [["build", "--list-images", "--tree", "."].as_slice(), &["tree", "tables", "."]]
        {
            let temporary = tempfile::tempdir().unwrap();
            let Watched { run, written, programs, sockets } =
                watch(&at, temporary.path(), command, &[]);
            run.expect(0);
            assert!(!ran.exists(), "{command:?} ran a program of the checkout");
            let is_elsewhere =
                |path: &&PathBuf| !path.starts_with("/dev") && !path.starts_with(temporary.path());
            let elsewhere: Vec<_> = written.iter().filter(is_elsewhere).collect();
            assert!(elsewhere.is_empty(), "{command:?} wrote {elsewhere:?}");
            assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "{command:?}");
            assert!(
                programs.iter().all(|name| ["kiln", "git"].contains(&name.as_str())),
                "{programs:?}"
            );
            assert_eq!(sockets, BTreeSet::new());
        }
    }
}
