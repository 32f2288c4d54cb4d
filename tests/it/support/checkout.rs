//! Small checkouts of kolla-build.

use std::fs;

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
