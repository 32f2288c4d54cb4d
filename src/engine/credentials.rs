//! Credentials for registries, from the files in which Docker and Podman keep them.
//!
//! Both write the same format: credentials by registry, or the name of a helper that knows them.
//! The files are looked through in the order they are given; the first that has something for a
//! registry decides. Nothing of a credential is ever put into a message.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::EngineError;
use crate::image::ImageRef;

/// What helpers say, by their protocol, when they have nothing for a registry.
const NOTHING_KNOWN: &str = "credentials not found";

/// The credentials for `reference` in the first of `files` that has some; `None` where none has.
/// The registry of a reference that names none is `default_registry`; nothing is known of an empty one.
///
/// Helpers are programs: this blocks.
///
/// # Errors
/// When a file can't be read or is no such file, or a helper fails.
pub fn look_up(
    files: &[PathBuf],
    reference: &ImageRef,
    default_registry: &str,
) -> Result<Option<DockerCredentials>, EngineError> {
    look_through(files, reference.registry().unwrap_or(default_registry), reference.repository())
}

/// The credentials for all of a registry in the first of `files` that has some; `None` where none
/// has.
///
/// Helpers are programs: this blocks.
///
/// # Errors
/// When a file can't be read or is no such file, or a helper fails.
pub fn of_registry(
    files: &[PathBuf],
    registry: &str,
) -> Result<Option<DockerCredentials>, EngineError> {
    look_through(files, registry, "")
}

fn look_through(
    files: &[PathBuf],
    registry: &str,
    repository: &str,
) -> Result<Option<DockerCredentials>, EngineError> {
    if registry.is_empty() {
        return Ok(None);
    }
    for path in files {
        let found = look_into(path, registry, repository).map_err(|reason| {
            let path = path.display();
            EngineError::Refused(format!("the credentials for {registry} in {path}: {reason}"))
        })?;
        if let Some(found) = found {
            return Ok(Some(for_engine(found, registry)));
        }
    }
    Ok(None)
}

fn for_engine(found: DockerCredential, registry: &str) -> DockerCredentials {
    let mut credentials = DockerCredentials {
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    };
    match found {
        DockerCredential::IdentityToken(token) => credentials.identitytoken = Some(token),
        DockerCredential::UsernamePassword(username, password) => {
            credentials.username = Some(username);
            credentials.password = Some(password);
        }
    }
    credentials
}

/// What one file has for a repository, or the reason why that can't be told.
fn look_into(
    path: &Path,
    registry: &str,
    repository: &str,
) -> Result<Option<DockerCredential>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    for key in keys(&text, registry, repository) {
        match docker_credential::get_credential_from_reader(text.as_slice(), &key) {
            Ok(found) => return Ok(Some(found)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                if stdout.contains(NOTHING_KNOWN) || stderr.contains(NOTHING_KNOWN) => {}
            // What a helper prints may be what it should keep.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                return Err(format!("the helper '{helper}' failed"));
            }
            Err(error) => return Err(error.to_string().to_lowercase()),
        }
    }
    Ok(None)
}

/// Under which keys a file may have credentials for a repository: those of its namespaces that the
/// file names, the innermost first, and the registry.
fn keys(file: &[u8], registry: &str, repository: &str) -> Vec<String> {
    let file: serde_json::Value = serde_json::from_slice(file).unwrap_or_default();
    let whole = format!("{registry}/{repository}");
    let namespaces = whole.match_indices('/').map(|(end, _)| &whole[..end]).chain([&*whole]);
    let namespaces = namespaces.filter(|key| key.len() > registry.len());
    let mut keys: Vec<String> =
        namespaces.filter(|key| file["auths"].get(key).is_some()).map(str::to_owned).collect();
    keys.reverse();
    keys.push(registry.to_owned());
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose credentials are found for a reference in files with these texts.
    fn user(files: &[&str], reference: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..files.len()).map(|number| folder.path().join(number.to_string())).collect();
        for (path, text) in paths.iter().zip(files) {
            fs::write(path, text).unwrap();
        }
        let missing = folder.path().join("missing");
        let paths: Vec<PathBuf> = [missing].into_iter().chain(paths).collect();
        let found = look_up(&paths, &reference.parse().unwrap(), "https://default.example/v1/");
        found
            .map(|found| found.and_then(|found| found.username.or(found.identitytoken)))
            .map_err(|error| error.to_string())
    }

    /// A file with credentials of the user `name` for each `(key, name)`.
    fn file(entries: &[(&str, &str)]) -> String {
        use base64::Engine as _;
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
            ("h:1/ns/app:t", Some("app")),
            ("h:1/ns/sub/app:t", Some("namespace")),
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
    fn what_is_wrong_is_told_without_the_secret() {
        let table = [
            ("{", "unable to read config"),
            (r#"{"auths": {"h:1": {"auth": "???"}}}"#, "unable to decode credential"),
            (r#"{"credsStore": "no-such-helper"}"#, "unable to communicate with credential helper"),
        ];
        for (text, reason) in table {
            let message = user(&[text], "h:1/app").unwrap_err();
            assert!(message.starts_with("the credentials for h:1 in "), "{message}");
            assert!(message.ends_with(reason), "{message}");
        }
    }
}
