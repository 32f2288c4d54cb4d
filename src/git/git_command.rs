//! Commands that run git, with the settings and the environment that they all have.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::program;

/// Variables that say where the configuration of the user and of the system is.
const OF_USER: [&str; 3] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// Settings passed to every git command, whatever else is configured: git starts no program that a
/// repository names, and no process that outlives the command.
pub(super) const ALWAYS: [(&str, &str); 8] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("log.showSignature", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
];

/// Prepares a command that runs git in `folder`. Git asks for no input and prints untranslated
/// English. Of the variables `GIT_*` in the environment it gets only those that name the user's
/// configuration and the `allowed` ones.
pub(super) fn git(folder: &Path, allowed: &[&str]) -> io::Result<Command> {
    let mut git = program::command("git")?;
    git.current_dir(folder).arg("--no-pager");
    for (name, value) in ALWAYS {
        git.arg("-c").arg(format!("{name}={value}"));
    }
    prepare_environment(&mut git, folder, allowed);
    Ok(git)
}

/// Makes a program that works in `folder`, and may run git, ignore the repository of the caller.
pub fn keep_apart(command: &mut Command, folder: &Path) {
    prepare_environment(command, folder, &[]);
}

/// Removes from the environment of a command that works in `folder` all variables `GIT_*` except
/// those that name the user's configuration and the `allowed` ones, and sets the variables that
/// keep git from asking for input.
pub(super) fn prepare_environment(command: &mut Command, folder: &Path, allowed: &[&str]) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_allowed = allowed.contains(&&*text) || OF_USER.contains(&&*text);
        if text.starts_with("GIT_") && !is_allowed {
            command.env_remove(&name);
        }
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    // Git shall not find a repository that happens to contain the folder.
    if let Some(above) = folder.parent() {
        command.env("GIT_CEILING_DIRECTORIES", above);
    }
}
