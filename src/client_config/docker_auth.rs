//! Rules by which Docker's client finds the credentials for a registry in its `config.json`
//! (docker/cli, `cli/config/configfile` and `cli/config/credentials`).

use super::auth_file::{AuthFile, Entry, Known, NOT_READABLE};
use super::credentials::Credentials;

/// Key of Docker Hub, whatever the name of the image says. An engine has the same name for its
/// default registry.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Name by which BuildKit asks for Docker Hub. An image name may have it, too, and means the same
/// registry then.
const HUB_HOST: &str = "registry-1.docker.io";

/// Finds the credentials for a repository of a registry, or for the whole registry if `repository`
/// is empty.
///
/// # Errors
/// When the entry can't be decoded; the reason contains nothing of it.
pub(super) fn find<'a>(
    file: &'a AuthFile,
    registry: &'a str,
    repository: &str,
) -> Result<Known<'a>, String> {
    match registry {
        "docker.io" | "index.docker.io" => of_key(file, HUB_KEY, repository),
        HUB_HOST => match of_key(file, HUB_KEY, repository)? {
            Known::Nothing => of_key(file, HUB_HOST, repository),
            found => Ok(found),
        },
        other => of_key(file, other, repository),
    }
}

/// Finds the credentials of a key. A helper of the registry, or else the one of all registries, is
/// asked even if the file has an entry; only the entry's registry token is used besides its answer.
fn of_key<'a>(file: &'a AuthFile, key: &'a str, repository: &str) -> Result<Known<'a>, String> {
    let entry = entry(file, key, repository).map(|entry| credentials(&entry));
    let (origin, helper) = match file.helper_of(key) {
        Some(name) => ("credHelpers", Some(name).filter(|name| !name.is_empty())),
        None => ("credsStore", file.store()),
    };
    match (helper, entry.transpose()) {
        (Some(name), entry) => {
            Ok(Known::Helper { origin, name, registry: key, beside: entry.ok().flatten() })
        }
        (None, entry) => Ok(entry?.map_or(Known::Nothing, Known::Here)),
    }
}

/// Returns the entry of a key, or of a URL or path of the same host. Docker takes any of several;
/// the one that is closest to the repository is taken here.
fn entry(file: &AuthFile, key: &str, repository: &str) -> Option<Entry> {
    let whole = format!("{key}/{repository}");
    let closeness = |other: &str| {
        let is_above = whole
            .strip_prefix(other)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || other.ends_with('/'));
        if is_above { other.len() } else { 0 }
    };
    file.entry(key).or_else(|| {
        let same = file.keys().filter(|other| host_of(other) == key);
        let closest = same
            .reduce(|best, other| if closeness(other) > closeness(best) { other } else { best });
        file.entry(closest?)
    })
}

/// Returns the host of a key that is a URL or a path.
fn host_of(key: &str) -> &str {
    let Some((_, rest)) = key.split_once("://") else {
        return key.split('/').next().unwrap_or(key);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Returns the credentials of an entry. Where `auth` is set, it decides user and password.
fn credentials(entry: &Entry) -> Result<Credentials, String> {
    let (user, password) = match entry.login()? {
        Some((user, password)) if !user.is_empty() => (user, password),
        None if !entry.has_auth() => entry.plain_login(),
        _ => return Err(NOT_READABLE.to_owned()),
    };
    Ok(Credentials {
        user,
        password,
        identity_token: entry.identity_token(),
        registry_token: entry.registry_token(),
    })
}
