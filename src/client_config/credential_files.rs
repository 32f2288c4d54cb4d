//! Places in which the clients of container engines store credentials for registries.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::variables::{Lookup, client_folder, folder, home};

/// Returns the files to search for credentials, in order: those of the client of the engine in use,
/// then those of the other.
///
/// Docker's client has one file, in `DOCKER_CONFIG` or `~/.docker`. Podman uses
/// `REGISTRY_AUTH_FILE` if it is set; otherwise a file that lasts until the next boot and one in
/// the user's configuration, as specified in containers-auth.json(5).
pub fn credential_files(variable: Lookup<'_>, is_podman: bool) -> Vec<PathBuf> {
    let (dockers, podmans) = (of_docker(variable), of_podman(variable));
    if is_podman { [podmans, dockers].concat() } else { [dockers, podmans].concat() }
}

fn of_docker(variable: Lookup<'_>) -> Vec<PathBuf> {
    client_folder(variable).map(|folder| folder.join("config.json")).into_iter().collect()
}

fn of_podman(variable: Lookup<'_>) -> Vec<PathBuf> {
    if let Some(file) = folder(variable, "REGISTRY_AUTH_FILE") {
        return vec![file];
    }
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
        let files = credential_files(&variable, is_podman);
        let shown: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        shown.join(" ").replace(&format!("/{}/", user_id().unwrap()), "/UID/")
    }

    #[test]
    fn the_files_of_the_engine_in_use_come_first() {
        type Environment = &'static [(&'static str, &'static str)];
        let table: &[(Environment, &str, &str)] = &[
            (&[], "", "/run/containers/UID/auth.json"),
            (
                &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")],
                "/h/.docker/config.json",
                "/r/containers/auth.json /h/.config/containers/auth.json",
            ),
            (
                &[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/a")],
                "/d/config.json",
                "/a",
            ),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_RUNTIME_DIR", "")],
                "/h/.docker/config.json",
                "/run/containers/UID/auth.json /c/containers/auth.json",
            ),
        ];
        for (environment, dockers, podmans) in table {
            assert_eq!(files(environment, false), format!("{dockers} {podmans}").trim());
            assert_eq!(files(environment, true), format!("{podmans} {dockers}").trim());
        }
    }
}
