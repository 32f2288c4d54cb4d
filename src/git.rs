//! The one place where git is run.
//!
//! Git does what its configuration says, and much of that runs programs: hooks, monitors, filters,
//! helpers for transport and credentials. There are two uses, each with a type of its own:
//!
//! - [`Repository`] is data from somebody else, such as the checkout that a tree lies in. Git never
//!   reads its configuration: it is shown a folder of Kiln's own in place of the git directory, which
//!   lends no more than objects, references and the index. Nothing is fetched.
//! - [`Remote`] is a server that a source is fetched from, for the user, with the user's
//!   configuration. The server decides on nothing but the content of files.
//!
//! Neither sees a variable of the repository that the caller happens to work in.

mod export;
mod remote;
mod repository;

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

pub use export::usable_path;
pub use remote::{Remote, RemoteError};
pub use repository::{Refusal, Repository};

use crate::program;

/// Variables that say where the configuration of the user and of the system is.
const OF_USER: [&str; 3] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// Settings that hold for every git, whatever else is configured: it starts no program of a
/// repository's, and nothing that outlives it.
const ALWAYS: [(&str, &str); 8] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("log.showSignature", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
];

/// Prepares to run git in `folder`: it asks nobody anything, speaks plain English, and of the
/// variables that it takes from the environment gets those for the user's configuration and the
/// `allowed` ones.
fn git(folder: &Path, allowed: &[&str]) -> io::Result<Command> {
    let mut git = program::command("git")?;
    git.current_dir(folder).arg("--no-pager");
    for (name, value) in ALWAYS {
        git.arg("-c").arg(format!("{name}={value}"));
    }
    prepare_environment(&mut git, folder, allowed);
    Ok(git)
}

/// Has another program, which works in `folder`, run git with nothing of the caller's repository.
pub fn keep_apart(command: &mut Command, folder: &Path) {
    prepare_environment(command, folder, &[]);
}

/// Takes from a command, which works in `folder`, all variables of git's but those for the user's
/// configuration and the `allowed` ones, and sets those by which git asks nobody anything.
fn prepare_environment(command: &mut Command, folder: &Path, allowed: &[&str]) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_allowed = allowed.contains(&&*text) || OF_USER.contains(&&*text);
        if text.starts_with("GIT_") && !is_allowed {
            command.env_remove(&name);
        }
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    // A repository that the folder happens to lie in is not meant.
    if let Some(above) = folder.parent() {
        command.env("GIT_CEILING_DIRECTORIES", above);
    }
}
