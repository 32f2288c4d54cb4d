//! Environment for programs that are compared: nothing of this machine's configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a program independent of this machine: no configuration but the test case's own, no
/// engine, no proxies.
pub fn isolate(command: &mut Command) {
    command.env_clear();
    for name in ["PATH", "TZ"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
        .env("TMPDIR", scratch())
        .env("LANG", "C.UTF-8")
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
}

/// Returns the parent of working directories: in memory if possible, since there are millions of
/// files.
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if tempfile::tempdir_in(memory).is_ok() { memory.to_owned() } else { std::env::temp_dir() }
}
