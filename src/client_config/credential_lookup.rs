//! Look-up of credentials for registries in the files of Docker's and Podman's clients.
//!
//! The files are read in the given order, each by the rules of its client; the first with
//! credentials for a registry is used. No part of a credential is ever included in a message.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::auth_file::{AuthFile, Known};
use super::credential_files::{CredentialFile, Rules};
use super::credentials::{Credentials, CredentialsError, FoundCredentials, Reason};
use super::{docker_auth, helper, podman_auth};
use crate::files::{self, MOST_OF_CONFIGURATION};

/// Files with credentials, by priority.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    files: Vec<CredentialFile>,
    timeout: Duration,
}

impl CredentialFiles {
    /// Creates the list of files; `timeout` is the limit for each helper that they name.
    pub fn new(files: Vec<CredentialFile>, timeout: Duration) -> Self {
        Self { files, timeout }
    }

    /// Returns the credentials for a repository of a registry, or for the whole registry if
    /// `repository` is empty; `None` if no file has any.
    ///
    /// # Errors
    /// When a file can't be read or parsed, or a helper fails.
    pub async fn look_up(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let found = self.find(registry, repository).await?;
        Ok(found.map(|found| found.credentials))
    }

    /// Returns the credentials as [`Self::look_up`] does, with their origin.
    ///
    /// # Errors
    /// When a file can't be read or parsed, or a helper fails.
    pub async fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<FoundCredentials>, CredentialsError> {
        if registry.is_empty() {
            return Ok(None);
        }
        let registry = if registry == docker_auth::HUB_KEY { "docker.io" } else { registry };
        for file in &self.files {
            let failed = |reason: Reason| CredentialsError {
                registry: registry.to_owned(),
                file: file.path.clone(),
                reason,
            };
            let Some(text) = read(&file.path).map_err(|reason| failed(reason.into()))? else {
                continue;
            };
            let found = self.look_into(file.rules, &text, registry, repository).await;
            let (found, helper) = found.map_err(failed)?;
            if found.is_none() && !file.is_last {
                continue;
            }
            let path = file.path.display();
            let origin = match helper {
                Some(helper) => format!("{path} ({helper})"),
                None => path.to_string(),
            };
            return Ok(found.map(|credentials| FoundCredentials { credentials, origin }));
        }
        Ok(None)
    }

    /// Returns the command by which the client of the engine logs in to a registry.
    pub fn login_command(&self) -> &'static str {
        match self.files.first().map(|file| file.rules) {
            Some(Rules::Podman | Rules::PodmanForFormer) => "podman login",
            Some(Rules::Docker) | None => "docker login",
        }
    }

    /// Returns the credentials in a file with this `text`, and the name of the helper that was
    /// asked for them.
    async fn look_into(
        &self,
        rules: Rules,
        text: &[u8],
        registry: &str,
        repository: &str,
    ) -> Result<(Option<Credentials>, Option<String>), Reason> {
        let file = match rules {
            Rules::Docker | Rules::Podman => AuthFile::parse(text)?,
            Rules::PodmanForFormer => AuthFile::parse_former(text)?,
        };
        let known = match rules {
            Rules::Docker => docker_auth::find(&file, registry, repository)?,
            Rules::Podman => podman_auth::find(&file, registry, repository, false)?,
            Rules::PodmanForFormer => podman_auth::find(&file, registry, repository, true)?,
        };
        let (found, helper) = match known {
            Known::Nothing => (None, None),
            Known::Here(credentials) => (Some(credentials), None),
            Known::Helper { origin, name, registry, beside } => {
                let helper = format!("docker-credential-{name}");
                let answer = helper::ask(name, registry, self.timeout).await;
                let found = answered(answer, beside).map_err(|reason| {
                    let text = format!("{origin}: {reason}");
                    Reason { text, ..reason }
                })?;
                (found, Some(helper))
            }
        };
        Ok((found.filter(|found| !found.is_empty()), helper))
    }
}

/// Returns the credentials of a helper, with the registry token that the file has besides. The
/// file's credentials replace those of a helper that fails.
fn answered(
    answer: Result<Option<Credentials>, Reason>,
    beside: Option<Credentials>,
) -> Result<Option<Credentials>, Reason> {
    match answer {
        Ok(found) => {
            let found = found.unwrap_or_else(Credentials::none);
            let registry_token = beside.and_then(|beside| beside.registry_token);
            Ok(Some(Credentials { registry_token, ..found }))
        }
        Err(reason) => match beside.filter(|beside| !beside.is_empty()) {
            Some(beside) => Ok(Some(beside)),
            None => Err(reason),
        },
    }
}

/// Returns the contents of a file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match files::read(path, MOST_OF_CONFIGURATION) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    use base64::Engine as _;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// Returns the credentials that are found for a repository in files with these contents, as one
    /// line; `-` for none.
    fn found(files: &[(Rules, &str)], registry: &str, repository: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let missing = CredentialFile::new(folder.path().join("missing"), Rules::Docker);
        let mut all = vec![missing];
        for (number, (rules, text)) in files.iter().enumerate() {
            let path = folder.path().join(number.to_string());
            fs::write(&path, text).unwrap();
            all.push(CredentialFile::new(path, *rules));
        }
        let files = CredentialFiles::new(all, Duration::from_secs(5));
        let found = runtime().block_on(files.look_up(registry, repository));
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map_or("-".to_owned(), |found| shown(&found)))
    }

    fn shown(found: &Credentials) -> String {
        let text =
            |secret: &crate::secret::Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let mut shown = Vec::new();
        if found.has_login() {
            shown.push(format!("{}:{}", found.user, text(&found.password)));
        }
        shown
            .extend(found.identity_token.as_ref().map(|token| format!("identity {}", text(token))));
        shown
            .extend(found.registry_token.as_ref().map(|token| format!("registry {}", text(token))));
        shown.join(" ")
    }

    fn auth(login: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(login)
    }

    /// Returns a file with an `auth` for each key, of a user that is called like the key's number.
    fn file(keys: &[&str]) -> String {
        let entries = keys.iter().enumerate().map(|(number, key)| {
            ((*key).to_owned(), serde_json::json!({ "auth": auth(&format!("u{number}:s")) }))
        });
        serde_json::json!({ "auths": entries.collect::<serde_json::Map<_, _>>() }).to_string()
    }

    /// Values that docker 20.10 and 28.2 send to an engine, and that podman 4.3 and skopeo 1.9 send
    /// to a registry.
    #[test]
    fn entry_is_the_one_that_the_client_takes() {
        let table: &[(&[&str], &str, &str, &str, &str)] = &[
            (&["h:1"], "h:1", "a/b", "u0:s", "u0:s"),
            (&["h"], "h:1", "a/b", "-", "-"),
            (&["h:1"], "h", "a/b", "-", "-"),
            (&["H"], "h", "a/b", "-", "-"),
            (&["https://h:1/v1/"], "h:1", "a/b", "u0:s", "u0:s"),
            (&["http://h"], "h", "a/b", "u0:s", "u0:s"),
            (&["https://u@h/"], "h", "a/b", "u0:s", "-"),
            (&["oci://h/v2"], "h", "a/b", "u0:s", "-"),
            (&["h/v2"], "h", "a/b", "u0:s", "-"),
            (&["h/", "h"], "h", "a/b", "u1:s", "u1:s"),
            (&["h/a/b", "h/a", "h"], "h", "a/b", "u2:s", "u0:s"),
            (&["h/a/b", "h/a"], "h", "a/c", "u1:s", "u1:s"),
            (&["h/a", "h/z"], "h", "z/c", "u1:s", "u1:s"),
            (&["h/a", "h"], "h", "ab/c", "u1:s", "u1:s"),
            (&["h/a/b:1"], "h", "a/b", "u0:s", "-"),
            (&["h/a", "h"], "h", "", "u1:s", "u1:s"),
            (&["https://h/a", "h"], "h", "a/b", "u1:s", "u1:s"),
            // Names of Docker Hub.
            (&["https://index.docker.io/v1/"], "docker.io", "a/b", "u0:s", "u0:s"),
            (&["https://index.docker.io/v1/"], "index.docker.io", "a/b", "u0:s", "u0:s"),
            (&["https://index.docker.io/v1/"], "registry-1.docker.io", "", "u0:s", "u0:s"),
            (
                &["https://index.docker.io/v1/"],
                "https://index.docker.io/v1/",
                "a/b",
                "u0:s",
                "u0:s",
            ),
            (&["https://index.docker.io/v2/"], "docker.io", "a/b", "-", "u0:s"),
            (&["docker.io"], "docker.io", "a/b", "-", "u0:s"),
            (&["docker.io"], "index.docker.io", "a/b", "-", "u0:s"),
            (&["index.docker.io"], "docker.io", "a/b", "-", "u0:s"),
            (&["registry-1.docker.io"], "docker.io", "a/b", "-", "u0:s"),
            (&["registry-1.docker.io"], "registry-1.docker.io", "a/b", "u0:s", "u0:s"),
            (&["docker.io/a", "docker.io"], "index.docker.io", "a/b", "-", "u0:s"),
            (&["docker.io.example.com"], "docker.io", "a/b", "-", "-"),
        ];
        for (keys, registry, repository, docker, podman) in table {
            let text = file(keys);
            let of = |rules| found(&[(rules, &text)], registry, repository).unwrap();
            assert_eq!(of(Rules::Docker), *docker, "Docker: {keys:?} {registry}/{repository}");
            assert_eq!(of(Rules::Podman), *podman, "Podman: {keys:?} {registry}/{repository}");
        }
    }

    #[test]
    fn entry_is_read_as_the_client_reads_it() {
        let me = auth("me:s");
        let table = [
            (r#"{"auth": "ME"}"#, "me:s", "me:s"),
            (r#"{"auth": ""}"#, "-", "-"),
            (r#"{"auth": null, "username": null}"#, "-", "-"),
            ("{}", "-", "-"),
            ("null", "-", "-"),
            (r#"{"username": "u", "password": "p"}"#, "u:p", "-"),
            (r#"{"auth": "", "username": "u", "password": "p"}"#, "u:p", "-"),
            (r#"{"auth": "ME", "username": "u", "password": "p"}"#, "me:s", "me:s"),
            (r#"{"auth": "ME", "identitytoken": "i"}"#, "me:s identity i", "me:s identity i"),
            (r#"{"identitytoken": "i"}"#, "identity i", "-"),
            (r#"{"registrytoken": "r"}"#, "registry r", "-"),
            (r#"{"auth": "ME", "registrytoken": "r"}"#, "me:s registry r", "me:s"),
            // me:p:q and two zero bytes; me: without a password.
            (r#"{"auth": "bWU6cDpxAAA="}"#, "me:p:q", "me:p:q"),
            (r#"{"auth": "bWU6"}"#, "me:", "me:"),
        ];
        for (entry, docker, podman) in table {
            let text = format!(r#"{{"auths": {{"h": {}}}}}"#, entry.replace("ME", &me));
            let of = |rules| found(&[(rules, &text)], "h", "a").unwrap();
            assert_eq!(of(Rules::Docker), docker, "Docker: {entry}");
            assert_eq!(of(Rules::Podman), podman, "Podman: {entry}");
        }
    }

    #[test]
    fn former_file_has_entries_alone() {
        let me = format!(r#"{{"https://h/v1/": {{"auth": "{}"}}, "g/a": {{}}}}"#, auth("me:s"));
        assert_eq!(found(&[(Rules::PodmanForFormer, &me)], "h", "a/b").unwrap(), "me:s");
        assert_eq!(found(&[(Rules::PodmanForFormer, &me)], "g", "a/b").unwrap(), "-");
    }

    #[test]
    fn file_without_credentials_leaves_them_to_the_next() {
        let two = file(&["h"]);
        for one in ["{}", r#"{"auths": {"h": {"auth": ""}}}"#, r#"{"auths": null}"#] {
            for rules in [Rules::Docker, Rules::Podman] {
                let of = found(&[(rules, one), (Rules::Podman, &two)], "h", "a").unwrap();
                assert_eq!(of, "u0:s", "{one}");
            }
        }
    }

    #[test]
    fn file_that_is_the_last_hides_those_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| CredentialFile::new(folder.path().join(name), Rules::Podman);
        let last = CredentialFile { is_last: true, ..place("last") };
        fs::write(folder.path().join("next"), file(&["h"])).unwrap();
        let files = CredentialFiles::new(vec![last, place("next")], Duration::from_secs(5));
        assert!(runtime().block_on(files.look_up("h", "a")).unwrap().is_some());
        fs::write(folder.path().join("last"), "{}").unwrap();
        assert!(runtime().block_on(files.look_up("h", "a")).unwrap().is_none());
    }

    /// Helper that is not installed, so that an error says that it would be asked.
    const ASKED: &str = "docker-credential-no-such-helper";

    #[test]
    fn helper_comes_before_the_file() {
        let me = format!(r#""auths": {{"h": {{}}, "g": {{"auth": "{}"}}}}"#, auth("me:s"));
        let table = [
            (r#""credsStore": "no-such-helper""#, "h", ASKED, "-"),
            (r#""credsStore": """#, "h", "-", "-"),
            (r#""credHelpers": {"h": "no-such-helper"}"#, "h", ASKED, ASKED),
            (r#""credHelpers": {"h/a": "no-such-helper"}"#, "h", "-", "-"),
            (
                r#""credsStore": "no-such-helper", "credHelpers": {"h": ""}"#,
                "h",
                "-",
                r#""" is not a name"#,
            ),
            (r#""credHelpers": {"docker.io": "no-such-helper"}"#, "docker.io", "-", ASKED),
            (r#""credHelpers": {"docker.io": "no-such-helper"}"#, "index.docker.io", "-", ASKED),
            (
                r#""credHelpers": {"https://index.docker.io/v1/": "no-such-helper"}"#,
                "index.docker.io",
                ASKED,
                "-",
            ),
            // Docker's client takes the file's entry if a helper fails.
            (r#""credsStore": "no-such-helper""#, "g", "me:s", "me:s"),
            (r#""credHelpers": {"g": "no-such-helper"}"#, "g", "me:s", ASKED),
        ];
        for (settings, registry, docker, podman) in table {
            let text = format!("{{{settings}, {me}}}");
            for (rules, expected) in [(Rules::Docker, docker), (Rules::Podman, podman)] {
                let of = found(&[(rules, &text)], registry, "a");
                let matches = match &of {
                    Ok(found) => found == expected,
                    Err(message) => message.contains(expected),
                };
                assert!(matches, "{settings} {registry}: {of:?}");
            }
        }
    }

    #[test]
    fn helper_replaces_all_of_an_entry_but_its_registry_token() {
        let login =
            |user: &str| Credentials::of_user(user.to_owned(), crate::secret::Secret::new(*b"s"));
        let token = |text: &str| Some(crate::secret::Secret::new(text.as_bytes()));
        let beside =
            Credentials { identity_token: token("i"), registry_token: token("r"), ..login("file") };
        let of =
            |answer| answered(answer, Some(beside.clone())).map(|found| shown(&found.unwrap()));
        assert_eq!(of(Ok(Some(login("helper")))).unwrap(), "helper:s registry r");
        assert_eq!(of(Ok(None)).unwrap(), "registry r");
        assert_eq!(of(Err("failed".to_owned().into())).unwrap(), "file:s identity i registry r");
        assert!(answered(Err("failed".to_owned().into()), Some(Credentials::none())).is_err());
    }

    #[test]
    fn errors_do_not_contain_the_secret() {
        let table = [
            ("{", "line 1 can't be parsed"),
            ("SECRET", "line 1 can't be parsed"),
            (r#"{"auths": {"h:1": {"auth": "SECRET?"}}}"#, "auth is not user:password in Base64"),
            (
                r#"{"credHelpers": {"h:1": "no-such-helper"}}"#,
                "credHelpers: the credential helper docker-credential-no-such-helper is not in any absolute folder of PATH",
            ),
            (
                r#"{"credHelpers": {"h:1": "x/../helper"}}"#,
                "credHelpers: \"x/../helper\" is not a name of a credential helper: use letters, digits, '.', '_' and '-', without a path",
            ),
        ];
        for (text, reason) in table {
            for rules in [Rules::Docker, Rules::Podman] {
                let message = found(&[(rules, text)], "h:1", "app").unwrap_err();
                assert!(message.starts_with("the credentials for h:1 in "), "{message}");
                assert!(message.ends_with(reason), "{message}");
                assert!(!message.contains("SECRET"), "{message}");
            }
        }
        // U0VDUkVU is SECRET, without a colon; OlNFQ1JFVA== is :SECRET, without a user.
        for auth in ["U0VDUkVU", "OlNFQ1JFVA=="] {
            let text = format!(r#"{{"auths": {{"h:1": {{"auth": "{auth}"}}}}}}"#);
            let message = found(&[(Rules::Docker, &text)], "h:1", "app").unwrap_err();
            assert!(message.ends_with("auth is not user:password in Base64"), "{message}");
        }
    }

    #[test]
    fn files_that_are_no_regular_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("config.json");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, kind) in [(pipe, "a pipe"), (PathBuf::from("/dev/zero"), "a device")] {
            let files = vec![CredentialFile::new(path, Rules::Docker)];
            let files = CredentialFiles::new(files, Duration::from_secs(5));
            let refused = runtime().block_on(files.look_up("h", "a")).unwrap_err();
            assert_eq!(refused.reason, format!("it is {kind}, not a regular file").into());
        }
    }
}
