//! Follows pages of documentation: a folder with the files that they have their reader write, and a
//! bash that runs their commands one after another, with registries where pages name some.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::page;
use crate::support::registry::Registry;
use crate::support::{Cleanup, Run, in_older_words, registry};

/// The namespace of the images that pages build, which becomes one of the test's own.
const NAMESPACE: &str = "acme";

/// Somebody who does what pages say.
pub struct Reader {
    folder: tempfile::TempDir,
    /// Words in pages, each with its replacement on this machine.
    stand_ins: Vec<(String, String)>,
    /// The exit code of the last command.
    pub code: i32,
    /// Output of the last command.
    pub said: String,
    _registries: Vec<Registry>,
    _cleanup: Vec<Cleanup>,
}

impl Reader {
    /// One who is to follow a page: `name` tells its images from those of others, and `text` tells which
    /// registries there have to be.
    pub fn new(name: &str, text: &str) -> Self {
        let name: String =
            name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let name = format!("kiln-docs/{}-{}", name.to_lowercase(), std::process::id());
        let mut cleanup = vec![Cleanup::new(&name)];
        let mut stand_ins = Vec::new();
        let mut registries = Vec::new();
        // Layers of the base are in this one from earlier runs, and need not be packed again.
        stand_ins.push(("registry.example.com".to_owned(), registry()));
        cleanup.push(Cleanup::new(format!("{}/{name}", registry())));
        for (host, start) in [
            ("mirror.example.com", Registry::open as fn() -> Registry),
            ("private.example.com", Registry::private),
        ] {
            if text.contains(&format!("--registry {host}")) {
                let registry = start();
                cleanup.push(Cleanup::new(format!("{}/{name}", registry.address)));
                stand_ins.push((host.to_owned(), registry.address.clone()));
                registries.push(registry);
            }
        }
        stand_ins.push((NAMESPACE.to_owned(), name));
        let folder = tempfile::tempdir().expect("a temporary folder");
        for part in ["bin", "home", "state", "work"] {
            fs::create_dir(folder.path().join(part)).expect("a folder");
        }
        for name in ["kiln", "kolla-build"] {
            let program = assert_cmd::cargo::cargo_bin!("kiln");
            let link = folder.path().join("bin").join(name);
            std::os::unix::fs::symlink(program, link).expect("a link");
        }
        let place = folder.path().join("work").display().to_string();
        fs::write(folder.path().join("state/place"), place).expect("a file");
        fs::write(folder.path().join("state/variables"), "").expect("a file");
        let said = String::new();
        Self { folder, stand_ins, code: 0, said, _registries: registries, _cleanup: cleanup }
    }

    /// The path of a part of the reader's folder: `work` is where the commands are run.
    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// Replaces the words of a page by those of this machine.
    pub fn here(&self, text: &str) -> String {
        self.stand_ins.iter().fold(text.to_owned(), |text, (theirs, ours)| {
            let word = regex::Regex::new(&format!(r"\b{}\b", regex::escape(theirs)));
            word.expect("it is escaped").replace_all(&text, ours.as_str()).into_owned()
        })
    }

    /// Returns the lines of an output as a page would show them.
    fn there(&self, text: &str) -> Vec<String> {
        let text = self
            .stand_ins
            .iter()
            .fold(text.to_owned(), |text, (theirs, ours)| text.replace(ours, theirs));
        let of_the_engine = |line: &&str| line.starts_with("WARNING: IPv4 forwarding");
        text.trim_end().lines().filter(|line| !of_the_engine(line)).map(str::to_owned).collect()
    }

    /// Writes a file.
    pub fn writes(&self, path: &str, text: &str) -> Result<(), String> {
        let text = self.here(text);
        let file = self.path("work").join(path);
        let folder = file.parent().expect("a folder has it");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, text));
        written.map_err(|error| format!("{path}: {error}"))
    }

    /// Puts lines below a heading of a file.
    pub fn inserts(&self, path: &str, heading: &str, text: &str) -> Result<(), String> {
        let old = fs::read_to_string(self.path("work").join(path))
            .map_err(|error| format!("{path}: {error}"))?;
        let new = page::inserted(&old, heading, text);
        self.writes(path, &new.ok_or(format!("{path} has no heading {heading}"))?)
    }

    /// Runs a command where the one before has left off. It may fail where the next one of the page
    /// asks for the exit code; where a page shows nothing, it may say anything.
    pub fn runs(&mut self, command: &str, shown: &[String]) -> Result<(), String> {
        let command = self.here(command);
        let script = format!(
            "exec 2>&1\nset -a\ncd \"$(cat {0}/place)\" && source {0}/variables\n(exit {1})\n{command}\n\
             code=$?\nexport -p >{0}/variables\npwd >{0}/place\nexit $code",
            self.path("state").display(),
            self.code
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "-c", &script]);
        self.settle(&mut bash);
        let run = Run::of(bash);
        self.code = run.code;
        self.said = run.stdout.clone();
        let said = self.there(&in_older_words(&run.stdout));
        let shown: Vec<String> = shown.iter().map(|line| in_older_words(line)).collect();
        if shown.is_empty() || page::agrees(&shown, &said) {
            return Ok(());
        }
        Err(format!("it is shown to say\n{}\nand says\n{}", shown.join("\n"), said.join("\n")))
    }

    /// An environment that nothing of this machine reaches but the engine.
    fn settle(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KILN_") {
                command.env_remove(name);
            }
        }
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("COLUMNS", "100")
            .env("GIT_CONFIG_GLOBAL", self.path("home").join("gitconfig"))
            // No registry of the base is in reach, and asking takes its time.
            .env("KILN_PULL", "false")
            .env_remove("DOCKER_CONFIG")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("GITLAB_CI")
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("RUST_BACKTRACE");
    }

    /// Returns true if the last command failed.
    pub fn failed(&self) -> bool {
        self.code != 0
    }
}
