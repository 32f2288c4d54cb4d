//! Places in which the clients of container engines store credentials for registries.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::variables::{Lookup, client_folder, folder, home};

/// File with credentials, and the rules by which it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFile {
    /// Path of the file, which need not exist.
    pub path: PathBuf,
    /// Rules by which an entry is looked up.
    pub rules: Rules,
    /// True if no file after this one is read if it exists.
    pub is_last: bool,
}

/// Rules by which a client finds the entry for a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Rules of Docker's client.
    Docker,
    /// Rules of Podman.
    Podman,
    /// Rules of Podman for the file of a former version of Docker's client, `.dockercfg`.
    PodmanForFormer,
}

impl CredentialFile {
    /// Creates a file that leaves registries without an entry to the next files.
    pub fn new(path: PathBuf, rules: Rules) -> Self {
        Self { path, rules, is_last: false }
    }
}

/// Returns the files to search for credentials, in order: those of the client of the engine in use.
///
/// Docker's client has one file, in `DOCKER_CONFIG` or `~/.docker`. Podman's own files come after
/// it, so that a login by either client serves; the client itself does not read them.
///
/// Podman uses `REGISTRY_AUTH_FILE` if it is set, or else the file in `DOCKER_CONFIG`. Otherwise it
/// reads a file that lasts until the next boot, one in the user's configuration, as specified in
/// containers-auth.json(5), and then those of Docker's client.
pub fn credential_files(variable: Lookup<'_>, is_podman: bool) -> Vec<CredentialFile> {
    let podman = |path| CredentialFile::new(path, Rules::Podman);
    let named = folder(variable, "REGISTRY_AUTH_FILE").map(podman);
    let podmans = || of_podman(variable).into_iter().map(podman);
    let dockers = client_folder(variable).map(|folder| folder.join("config.json"));
    if !is_podman {
        let dockers = dockers.map(|path| CredentialFile::new(path, Rules::Docker));
        let podmans = named.map_or_else(|| podmans().collect(), |named| vec![named]);
        return dockers.into_iter().chain(podmans).collect();
    }
    if let Some(named) = named {
        return vec![named];
    }
    let dockers = dockers.map(podman);
    if folder(variable, "DOCKER_CONFIG").is_some() {
        let dockers = dockers.map(|file| CredentialFile { is_last: true, ..file });
        return dockers.into_iter().chain(podmans()).collect();
    }
    let former = home(variable).map(|home| home.join(".dockercfg"));
    let former = former.map(|path| CredentialFile::new(path, Rules::PodmanForFormer));
    podmans().chain(dockers).chain(former).collect()
}

/// Returns Podman's own files, if no variable names another one.
fn of_podman(variable: Lookup<'_>) -> Vec<PathBuf> {
    let for_now = folder(variable, "XDG_RUNTIME_DIR").map(|folder| folder.join("containers"));
    let for_now = for_now.or_else(|| Some(Path::new("/run/containers").join(user_id()?)));
    let kept =
        folder(variable, "XDG_CONFIG_HOME").or_else(|| Some(home(variable)?.join(".config")));
    let kept = kept.map(|folder| folder.join("containers"));
    [for_now, kept].into_iter().flatten().map(|folder| folder.join("auth.json")).collect()
}

/// Returns the id of the user that this process runs as.
fn user_id() -> Option<String> {
    fs::metadata("/proc/self").ok().map(|process| process.uid().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn files(environment: &[(&str, &str)], is_podman: bool) -> String {
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let variable = |name: &str| environment.get(name).cloned();
        let shown = credential_files(&variable, is_podman).into_iter().map(|file| {
            let mark = match file.rules {
                Rules::Docker => "D",
                Rules::Podman => "P",
                Rules::PodmanForFormer => "F",
            };
            let last = if file.is_last { "!" } else { "" };
            format!("{mark}{last}:{}", file.path.display())
        });
        let shown: Vec<_> = shown.collect();
        shown.join(" ").replace(&format!("/{}/", user_id().unwrap()), "/UID/")
    }

    #[test]
    fn the_files_are_those_of_the_client_of_the_engine_in_use() {
        type Environment = &'static [(&'static str, &'static str)];
        let table: &[(Environment, &str, &str)] = &[
            (&[], "P:/run/containers/UID/auth.json", "P:/run/containers/UID/auth.json"),
            (
                &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")],
                "D:/h/.docker/config.json P:/r/containers/auth.json P:/h/.config/containers/auth.json",
                "P:/r/containers/auth.json P:/h/.config/containers/auth.json P:/h/.docker/config.json F:/h/.dockercfg",
            ),
            (
                &[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/a")],
                "D:/d/config.json P:/a",
                "P:/a",
            ),
            (
                &[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("XDG_RUNTIME_DIR", "/r")],
                "D:/d/config.json P:/r/containers/auth.json P:/h/.config/containers/auth.json",
                "P!:/d/config.json P:/r/containers/auth.json P:/h/.config/containers/auth.json",
            ),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_RUNTIME_DIR", "")],
                "D:/h/.docker/config.json P:/run/containers/UID/auth.json P:/c/containers/auth.json",
                "P:/run/containers/UID/auth.json P:/c/containers/auth.json P:/h/.docker/config.json F:/h/.dockercfg",
            ),
        ];
        for (environment, dockers, podmans) in table {
            assert_eq!(files(environment, false), *dockers);
            assert_eq!(files(environment, true), *podmans);
        }
    }
}
