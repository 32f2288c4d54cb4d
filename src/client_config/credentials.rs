//! Credentials for registries, from the files in which Docker and Podman store them.
//!
//! Both use the same format: credentials by registry, or the name of a helper that has them. The
//! files are read in the given order; the first with credentials for a registry is used. No part of
//! a credential is ever included in a message.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::helper;
use crate::files::{self, MOST_OF_CONFIGURATION};
use crate::secret::Secret;

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Password of a user, or an access token in its place.
    Password {
        /// Name of the user.
        user: String,
        /// Password or access token.
        password: Secret,
    },
    /// Token for which the registry's token service issues access tokens.
    IdentityToken(Secret),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// Failure to read the credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credentials for {registry} in {}: {reason}", .file.display())]
pub struct CredentialsError {
    /// Registry that the credentials are for.
    pub registry: String,
    /// File that was read.
    pub file: PathBuf,
    /// Reason, without any part of a credential.
    pub reason: String,
}

/// Files with credentials, by priority.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    files: Vec<PathBuf>,
    timeout: Duration,
}

impl CredentialFiles {
    /// Creates the list of files; `timeout` is the limit for each helper that they name.
    pub fn new(files: Vec<PathBuf>, timeout: Duration) -> Self {
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
        if registry.is_empty() {
            return Ok(None);
        }
        for file in &self.files {
            let found = self.look_into(file, registry, repository).await.map_err(|reason| {
                CredentialsError { registry: registry.to_owned(), file: file.clone(), reason }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn look_into(
        &self,
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, String> {
        let text = match files::read(path, MOST_OF_CONFIGURATION) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let configuration: Configuration = serde_json::from_slice(&text)
            .map_err(|error| format!("line {} can't be parsed", error.line()))?;
        for key in configuration.keys(registry, repository) {
            let found = match configuration.known(&key) {
                Known::Nothing => None,
                Known::Entry(entry) => Some(entry.credentials()?),
                Known::Helper { key: origin, name } => helper::ask(name, &key, self.timeout)
                    .await
                    .map_err(|reason| format!("{origin}: {reason}"))?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Configuration file of a client: only the keys about credentials.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    auths: Option<BTreeMap<String, Entry>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// Credentials in the format of a file.
#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Source of the credentials for a key.
enum Known<'a> {
    Nothing,
    Entry(&'a Entry),
    Helper { key: &'static str, name: &'a str },
}

impl Configuration {
    /// Returns the keys to look up for a repository: those of its namespaces that the file
    /// contains, the innermost first, and then the registry.
    fn keys(&self, registry: &str, repository: &str) -> Vec<String> {
        let whole = format!("{registry}/{repository}");
        let namespaces = whole.match_indices('/').map(|(end, _)| &whole[..end]).chain([&*whole]);
        let namespaces = namespaces.filter(|key| key.len() > registry.len());
        let is_named = |key: &str| self.auths.as_ref().is_some_and(|auths| auths.contains_key(key));
        let mut keys: Vec<String> =
            namespaces.filter(|key| is_named(key)).map(str::to_owned).collect();
        keys.reverse();
        keys.push(registry.to_owned());
        keys
    }

    fn known(&self, key: &str) -> Known<'_> {
        let set = |name: &&String| !name.is_empty();
        let of_registry = self.cred_helpers.as_ref().and_then(|helpers| helpers.get(key));
        if let Some(name) = of_registry.filter(set) {
            return Known::Helper { key: "credHelpers", name };
        }
        if let Some(entry) = self.entry(key).filter(|entry| !entry.is_empty()) {
            return Known::Entry(entry);
        }
        match self.creds_store.as_ref().filter(set) {
            Some(name) => Known::Helper { key: "credsStore", name },
            None => Known::Nothing,
        }
    }

    /// Returns the entry of this key, or of another name of the same registry.
    fn entry(&self, key: &str) -> Option<&Entry> {
        let auths = self.auths.as_ref()?;
        let same = || {
            let registry = alias(key);
            auths.iter().find(|(key, _)| registry_of(key) == registry).map(|(_, entry)| entry)
        };
        auths.get(key).or_else(same)
    }
}

impl Entry {
    /// Returns true if the entry has no credentials: it only marks that a helper has them.
    fn is_empty(&self) -> bool {
        let is_unset = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        let has_no_password = is_unset(&self.username) || is_unset(&self.password);
        is_unset(&self.identitytoken) && is_unset(&self.auth) && has_no_password
    }

    fn credentials(&self) -> Result<Credentials, String> {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = set(&self.identitytoken) {
            return Ok(Credentials::IdentityToken(Secret::new(token.into_bytes())));
        }
        let plain = set(&self.username).zip(set(&self.password));
        let (user, password) = match (set(&self.auth), plain) {
            (None, plain) => plain.ok_or("it has neither auth nor username and password")?,
            (Some(auth), plain) => {
                let decoded = decoded(&auth).ok_or("auth is not user:password in Base64")?;
                if plain.is_some_and(|plain| plain != decoded) {
                    return Err("auth does not match username and password".to_owned());
                }
                decoded
            }
        };
        Ok(Credentials::Password { user, password: Secret::new(password.into_bytes()) })
    }
}

/// Decodes the user and the password.
fn decoded(auth: &str) -> Option<(String, String)> {
    let padding = DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let text = GeneralPurpose::new(&STANDARD, config).decode(auth).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Returns the registry that a key is for: keys may be URLs.
fn registry_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match rest {
        Some(rest) => alias(rest.split_once('/').map_or(rest, |(host, _)| host)),
        None => alias(key),
    }
}

/// Returns the name that files use for a registry with several names.
fn alias(registry: &str) -> &str {
    match registry {
        "registry-1.docker.io" | "docker.io" => "index.docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Returns the user whose credentials are found for a reference in files with these contents.
    fn user(files: &[&str], reference: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..files.len()).map(|number| folder.path().join(number.to_string())).collect();
        for (path, text) in paths.iter().zip(files) {
            fs::write(path, text).unwrap();
        }
        let missing = folder.path().join("missing");
        let paths: Vec<PathBuf> = [missing].into_iter().chain(paths).collect();
        let (registry, repository) = match reference.split_once('/') {
            Some((host, path)) if host.contains(':') => (host, path),
            _ => ("https://default.example/v1/", reference),
        };
        let files = CredentialFiles::new(paths, Duration::from_secs(5));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(files.look_up(registry, repository));
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map(|found| match found {
            Credentials::Password { user, .. } => user,
            Credentials::IdentityToken(token) => {
                String::from_utf8_lossy(token.expose()).into_owned()
            }
        }))
    }

    /// Returns a file with credentials of the user `name` for each `(key, name)`.
    fn file(entries: &[(&str, &str)]) -> String {
        let entries = entries.iter().map(|(key, name)| {
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("{name}:secret"));
            (key.to_string(), serde_json::json!({ "auth": auth }))
        });
        serde_json::json!({ "auths": entries.collect::<serde_json::Map<_, _>>() }).to_string()
    }

    #[test]
    fn the_innermost_namespace_of_the_first_file_decides() {
        let one = file(&[("h:1", "host"), ("h:1/ns", "namespace"), ("h:1/ns/app", "app")]);
        let two = file(&[("h:1", "other"), ("h:2", "second")]);
        let table = [
            ("h:1/ns/app", Some("app")),
            ("h:1/ns/sub/app", Some("namespace")),
            ("h:1/nsx/app", Some("host")),
            ("h:2/ns/app", Some("second")),
            ("h:3/ns/app", None),
            ("ns/app", None),
        ];
        for (reference, expected) in table {
            let found = user(&[&one, &two], reference).unwrap();
            assert_eq!(found.as_deref(), expected, "{reference}");
        }
        let of_default = file(&[("https://default.example/v1/", "me")]);
        assert_eq!(user(&[&of_default], "ns/app").unwrap().as_deref(), Some("me"));
    }

    #[test]
    fn a_token_serves_as_well() {
        let file = r#"{"auths": {"h:1": {"identitytoken": "token"}}}"#;
        assert_eq!(user(&[file], "h:1/app").unwrap().as_deref(), Some("token"));
    }

    #[test]
    fn errors_do_not_contain_the_secret() {
        let table = [
            ("{", "line 1 can't be parsed"),
            ("SECRET", "line 1 can't be parsed"),
            (r#"{"auths": {"h:1": {"auth": "SECRET?"}}}"#, "auth is not user:password in Base64"),
            (
                r#"{"auths": {"h:1": {"auth": "YTpi", "username": "a", "password": "SECRET"}}}"#,
                "auth does not match username and password",
            ),
            (
                r#"{"credsStore": "no-such-helper"}"#,
                "credsStore: the credential helper docker-credential-no-such-helper is not in any absolute folder of PATH",
            ),
            (
                r#"{"credHelpers": {"h:1": "x/../helper"}}"#,
                "credHelpers: \"x/../helper\" is not a name of a credential helper: use letters, digits, '.', '_' and '-', without a path",
            ),
        ];
        for (text, reason) in table {
            let message = user(&[text], "h:1/app").unwrap_err();
            assert!(message.starts_with("the credentials for h:1 in "), "{message}");
            assert!(message.ends_with(reason), "{message}");
            assert!(!message.contains("SECRET"), "{message}");
        }
    }

    #[test]
    fn registries_are_known_by_all_their_spellings() {
        let hub = file(&[("https://index.docker.io/v1/", "hub"), ("https://h:1/v2/", "url")]);
        for (reference, expected) in [("h:1/a", Some("url")), ("h:2/a", None)] {
            assert_eq!(user(&[&hub], reference).unwrap().as_deref(), expected, "{reference}");
        }
        let configuration: Configuration = serde_json::from_str(&hub).unwrap();
        for key in ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"] {
            assert!(configuration.entry(key).is_some(), "{key}");
        }
        assert!(configuration.entry("docker.io.evil.example").is_none());
    }

    #[test]
    fn entry_without_credentials_leaves_them_to_the_store() {
        let store = r#"{"auths": {"h:1": {"auth": ""}}, "credsStore": "no-such-helper"}"#;
        assert!(user(&[store], "h:1/a").unwrap_err().contains("no-such-helper"));
        assert_eq!(user(&[r#"{"auths": {"h:1": {}}}"#], "h:1/a"), Ok(None));
    }

    #[test]
    fn files_that_are_no_regular_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("config.json");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (path, kind) in [(pipe, "a pipe"), ("/dev/zero".into(), "a device")] {
            let files = CredentialFiles::new(vec![path], Duration::from_secs(5));
            let refused = runtime.block_on(files.look_up("h", "a")).unwrap_err();
            assert_eq!(refused.reason, format!("it is {kind}, not a regular file"));
        }
    }

    #[test]
    fn credentials_show_nothing_of_themselves() {
        let password = Secret::new(*b"SECRET");
        let all = [
            Credentials::IdentityToken(password.clone()),
            Credentials::Password { user: "me".to_owned(), password },
        ];
        assert!(!format!("{all:?}").contains("SECRET"));
    }
}
