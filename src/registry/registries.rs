//! Clients of all registries of a run, one for each host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;

use crate::client_config::credentials::Credentials;
use crate::image::ImageRef;

use super::error::Error;
use super::image_repository::Repository;
use super::token::Tokens;
use super::transport::Transport;

/// Host of the default registry, for references without one, and its other names.
const DEFAULT_HOST: &str = "registry-1.docker.io";
const DEFAULT_ALIASES: [&str; 2] = ["docker.io", "index.docker.io"];

/// Namespace of the default registry's repositories that have none.
const DEFAULT_NAMESPACE: &str = "library";

/// Clients of all registries of a run.
#[derive(Debug)]
pub struct Registries {
    timeout: Duration,
    registries: tokio::sync::Mutex<BTreeMap<String, Arc<Registry>>>,
    notices: Notices,
}

impl Registries {
    /// Creates clients with this `timeout` for each answer.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, registries: tokio::sync::Mutex::default(), notices: Notices::default() }
    }

    /// Returns the repository of an image. On the first request to its registry, `is_plain` decides
    /// if plain HTTP is used.
    ///
    /// # Errors
    /// Returns the error of `is_plain`, and an error if the registry's name is not a host.
    pub async fn repository<E: From<Error>>(
        &self,
        image: &ImageRef,
        credentials: Option<Credentials>,
        is_plain: impl AsyncFnOnce(&str) -> Result<bool, E>,
    ) -> Result<Repository, E> {
        let host = host_of(image);
        let mut registries = self.registries.lock().await;
        let registry = match registries.get(host) {
            Some(known) => known.clone(),
            None => {
                let is_plain = is_plain(host).await?;
                let new = Registry::new(host, is_plain, self.timeout, self.notices.clone())?;
                registries.entry(host.to_owned()).or_insert(Arc::new(new)).clone()
            }
        };
        Ok(Repository::new(registry, repository_of(image), credentials))
    }

    /// Takes the notices about registries. Each is returned only once in a run.
    pub fn take_notices(&self) -> Vec<String> {
        self.notices.take()
    }
}

/// Client of one registry.
#[derive(Debug)]
pub struct Registry {
    /// Host and port, as in references.
    pub(super) host: String,
    pub(super) base: Url,
    pub(super) transport: Transport,
    pub(super) tokens: Tokens,
}

impl Registry {
    pub(super) fn new(
        host: &str,
        is_plain: bool,
        timeout: Duration,
        notices: Notices,
    ) -> Result<Self, Error> {
        let scheme = if is_plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|error| {
            Error::wrong(format!("'{host}' is not the host of a registry: {error}"))
        })?;
        let transport = Transport::new(base.clone(), timeout);
        Ok(Self { host: host.to_owned(), base, transport, tokens: Tokens::new(notices) })
    }
}

/// Notices about registries: all that were ever added, and those not taken yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices(Arc<Mutex<(BTreeSet<String>, Vec<String>)>>);

impl Notices {
    fn locked(&self) -> MutexGuard<'_, (BTreeSet<String>, Vec<String>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, text: String) {
        let (seen, untold) = &mut *self.locked();
        if seen.insert(text.clone()) {
            untold.push(text);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.locked().1)
    }
}

/// Returns the host of an image's registry.
pub fn host_of(image: &ImageRef) -> &str {
    match image.registry() {
        Some(host) if !DEFAULT_ALIASES.contains(&host) => host,
        _ => DEFAULT_HOST,
    }
}

fn repository_of(image: &ImageRef) -> String {
    let repository = image.repository();
    if host_of(image) == DEFAULT_HOST && !repository.contains('/') {
        return format!("{DEFAULT_NAMESPACE}/{repository}");
    }
    repository.to_owned()
}

/// Returns true if the name is that of a registry on this machine, for which plain HTTP is allowed.
pub fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => registry,
    };
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_of_this_machine_are_local() {
        for local in ["127.0.0.1:5000", "127.0.0.9", "localhost", "localhost:1", "[::1]:5000"] {
            assert!(is_loopback(local), "{local}");
        }
        for other in ["h.example", "h.example:5000", "10.0.0.1:5000", "localhost.example"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn references_without_a_registry_mean_the_default_one() {
        let table = [
            ("debian:12", DEFAULT_HOST, "library/debian"),
            ("ns/app", DEFAULT_HOST, "ns/app"),
            ("docker.io/debian", DEFAULT_HOST, "library/debian"),
            ("index.docker.io/ns/app", DEFAULT_HOST, "ns/app"),
            ("h.example:5/app", "h.example:5", "app"),
        ];
        for (reference, host, repository) in table {
            let image = reference.parse().unwrap();
            assert_eq!((host_of(&image), &*repository_of(&image)), (host, repository));
        }
    }
}
