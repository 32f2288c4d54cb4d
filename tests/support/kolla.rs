//! Releases of the real kolla-build, installed from PyPI, and how a program of theirs is run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where all about them is kept; scripts/kolla-releases says the same.
pub fn directory() -> PathBuf {
    std::env::var_os("KILN_CONFORMANCE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance"),
        PathBuf::from,
    )
}

/// Installs a release, unless it is there, and returns its virtual environment.
pub fn install(version: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kolla-releases");
    let output = Command::new(script).arg(version).output().expect("the script starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "kolla {version} from PyPI is needed:\n{stderr}");
    PathBuf::from(stdout.trim_end())
}

/// Keeps what a program does from depending on whose machine this is: no configuration but the
/// case's own, no engine, no proxies.
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

/// Where working directories are: in memory if that can be, since there are millions of files.
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if tempfile::tempdir_in(memory).is_ok() { memory.to_owned() } else { std::env::temp_dir() }
}
