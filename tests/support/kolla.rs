//! Releases of the real kolla-build, installed from PyPI, and the environment for their programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of the releases and their data; scripts/kolla-releases uses the same.
pub fn directory() -> PathBuf {
    std::env::var_os("KILN_CONFORMANCE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance"),
        PathBuf::from,
    )
}

/// Installs a release, unless it is installed, and returns its virtual environment.
pub fn install(version: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kolla-releases");
    let output = Command::new(script).arg(version).output().expect("the script starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "kolla {version} from PyPI is needed:\n{stderr}");
    PathBuf::from(stdout.trim_end())
}

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

/// Creates a checkout of kolla-build 23.0.0 with one image, whose tables contain these options and
/// sources, both written in Python.
pub fn checkout(options: &str, sources: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "BASE_OS_DISTRO = ['debian']\nBASE_ARCH = ['x86_64']\n\
         DEFAULT_BASE_TAGS = {{'debian': {{'name': 'debian', 'tag': 'bookworm'}}}}\n\
         DISTRO_PRETTY_NAME = {{'debian': 'Debian'}}\n_PROFILE_OPTS = []\n\
         _CLI_OPTS = [cfg.StrOpt('base', default='debian'), {options}]\n\
         _BASE_OPTS = [cfg.StrOpt('namespace', default='kolla'), \
         cfg.StrOpt('openstack_release', default='2026.2')]\n"
    );
    for (path, text) in [
        ("docker/base/Dockerfile.j2", "FROM debian:bookworm\n"),
        ("docker/macros.j2", ""),
        ("kolla/common/config.py", config.as_str()),
        ("kolla/common/users.py", "USERS = {}\n"),
        ("kolla/common/sources.py", &format!("SOURCES = {{{sources}}}\n")),
        ("kolla/image/unbuildable.py", "UNBUILDABLE_IMAGES = {}\n"),
        ("kolla/template/repos.yaml", "debian:\n  a: b\n"),
        ("kolla-23.0.0.dist-info/METADATA", "Version: 23.0.0\n"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}
