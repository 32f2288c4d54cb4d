//! Rules by which Podman finds the credentials for a repository in `auth.json` and in the files of
//! Docker's client (containers/image, `pkg/docker/config`).

use std::borrow::Cow;

use super::auth_file::{AuthFile, Entry, Known};
use super::credentials::Credentials;

/// Name by which Podman compares the names of Docker Hub.
const HUB: &str = "index.docker.io";

/// Finds the credentials for a repository of a registry, or for the whole registry if `repository`
/// is empty. `is_former` says that the file is of a former version of Docker's client, whose keys
/// are URLs of registries.
///
/// # Errors
/// When the entry can't be decoded; the reason contains nothing of it.
pub(super) fn find<'a>(
    file: &'a AuthFile,
    registry: &'a str,
    repository: &str,
    is_former: bool,
) -> Result<Known<'a>, String> {
    let registry = if registry == HUB { "docker.io" } else { registry };
    if let Some(name) = file.helper_of(registry) {
        return Ok(Known::Helper { origin: "credHelpers", name, registry, beside: None });
    }
    match entry(file, registry, repository, is_former) {
        Some(entry) => Ok(Known::Here(credentials(&entry)?)),
        None => Ok(Known::Nothing),
    }
}

/// Returns the entry of the repository, of the innermost of its namespaces that has one, or of the
/// registry, also under another spelling.
fn entry(file: &AuthFile, registry: &str, repository: &str, is_former: bool) -> Option<Entry> {
    let whole = match repository {
        "" => Cow::Borrowed(registry),
        _ => Cow::Owned(format!("{registry}/{repository}")),
    };
    let ends = whole.match_indices('/').map(|(end, _)| end);
    let mut keys: Vec<&str> = ends.chain([whole.len()]).map(|end| &whole[..end]).collect();
    if is_former {
        keys = vec![registry];
    }
    let exact = keys.iter().rev().find_map(|key| file.entry(key));
    exact.or_else(|| {
        let wanted = normal(registry);
        let key = file.keys().find(|key| normal(registry_of(key, is_former)) == wanted)?;
        file.entry(key)
    })
}

/// Returns the registry that a key is for. Only URLs have a path that does not count.
fn registry_of(key: &str, is_former: bool) -> &str {
    let rest = key.strip_prefix("http://").unwrap_or(key);
    let rest = rest.strip_prefix("https://").unwrap_or(rest);
    match rest.split_once('/') {
        Some((host, _)) if is_former || rest != key => host,
        _ => rest,
    }
}

/// Returns the one name of a registry with several names.
fn normal(registry: &str) -> &str {
    match registry {
        "registry-1.docker.io" | "docker.io" => HUB,
        other => other,
    }
}

/// Returns the credentials of an entry: `auth`, and an identity token beside it.
fn credentials(entry: &Entry) -> Result<Credentials, String> {
    let Some((user, password)) = entry.login()? else { return Ok(Credentials::none()) };
    let identity_token = entry.identity_token();
    Ok(Credentials { identity_token, ..Credentials::of_user(user, password) })
}
