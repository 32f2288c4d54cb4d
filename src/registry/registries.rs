//! Clients of all registries of a run, one for each host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::image_manifest;
use super::image_registry::{EngineConfig, ImageRegistry, Labels, NotServed, PushListError};
use super::image_repository::Repository;
use super::label_cache::LabelCache;
use super::notices::Notices;
use super::registry_error::{Error, Kind};
use super::registry_host::RegistryHost;
use crate::client_config::{CredentialFiles, FoundCredentials};
use crate::image::{Digest, ImageRef};
use crate::retry::{FIRST_PAUSE, RetryPolicy};

/// Longest wait for a registry to serve what was pushed, and longest pause between two questions.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Host of the default registry, for references without one, and its other names.
const DEFAULT_HOST: &str = "registry-1.docker.io";
const DEFAULT_ALIASES: [&str; 2] = ["docker.io", "index.docker.io"];

/// Namespace of the default registry's repositories that have none.
const DEFAULT_NAMESPACE: &str = "library";

/// Clients of all registries of a run.
pub struct Registries {
    timeout: Duration,
    /// Bounds on the retries of questions.
    retry: RetryPolicy,
    credential_files: CredentialFiles,
    engine: Arc<dyn EngineConfig>,
    labels: LabelCache,
    hosts: tokio::sync::Mutex<BTreeMap<String, Arc<RegistryHost>>>,
    notices: Notices,
    /// Registries that are out of reach of this program, although the engine may reach them.
    unreached: Mutex<BTreeSet<String>>,
    connections: usize,
}

impl Registries {
    /// Creates clients with this `timeout` for each answer, with at most `connections` open
    /// connections to each registry. Questions are retried as `retry` says, with credentials that are
    /// looked up anew. `engine` has the configuration of the registries.
    pub fn new(
        timeout: Duration,
        retry: RetryPolicy,
        connections: usize,
        credential_files: CredentialFiles,
        engine: Arc<dyn EngineConfig>,
        labels: LabelCache,
    ) -> Self {
        Self {
            timeout,
            retry,
            credential_files,
            engine,
            labels,
            hosts: tokio::sync::Mutex::default(),
            notices: Notices::default(),
            unreached: Mutex::default(),
            connections,
        }
    }

    /// Returns the repository of an image, with the credentials for it. The first request to a
    /// registry decides if plain HTTP is used.
    ///
    /// # Errors
    /// When the registry's name is not a host, or its configuration or credentials can't be read.
    async fn repository(&self, image: &ImageRef) -> Result<Repository, Error> {
        let registry = self.registry(host_of(image)).await?;
        let credentials = self.credentials(image).await?;
        let login = self.credential_files.login_command();
        let login = match registry.host.as_str() {
            DEFAULT_HOST => login.to_owned(),
            host => format!("{login} {host}"),
        };
        Ok(Repository::new(registry, repository_of(image), credentials, login))
    }

    /// Retries a question.
    async fn retried<T, F: Future<Output = Result<T, Error>>>(
        &self,
        question: impl Fn() -> F,
    ) -> Result<T, Error> {
        self.retry.run(|_| question(), |_, _| {}).await
    }

    async fn registry(&self, host: &str) -> Result<Arc<RegistryHost>, Error> {
        let mut hosts = self.hosts.lock().await;
        if let Some(known) = hosts.get(host) {
            return Ok(known.clone());
        }
        let is_plain =
            is_loopback(host) || self.engine.registry_config().await?.plain.contains(host);
        let new = RegistryHost::new(
            host,
            is_plain,
            self.timeout,
            self.connections,
            self.notices.clone(),
        )?;
        Ok(hosts.entry(host.to_owned()).or_insert(Arc::new(new)).clone())
    }

    async fn credentials(&self, image: &ImageRef) -> Result<Option<FoundCredentials>, Error> {
        let registry = match image.registry() {
            Some(registry) => registry.to_owned(),
            None => self.engine.registry_config().await?.default.clone(),
        };
        Ok(self.credential_files.find(&registry, image.repository()).await?)
    }

    async fn digest(&self, image: &ImageRef) -> Result<Option<Digest>, Error> {
        self.repository(image).await?.digest(tag_or_digest(image)).await
    }

    async fn digest_of_id(&self, image: &ImageRef, id: &str) -> Result<Option<String>, Error> {
        let repository = self.repository(image).await?;
        let found = repository.manifest(tag_or_digest(image)).await?;
        // An engine names an image by its configuration, or by its manifest.
        let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        let is_it = |digest: &Digest| hex(digest.as_str()) == hex(id);
        let same = found.filter(|manifest| {
            is_it(&manifest.digest) || manifest.config.as_ref().is_some_and(is_it)
        });
        Ok(same.map(|manifest| manifest.digest.to_string()))
    }

    /// Returns the digest of the list of `images`, which it pushes as `list`.
    async fn push_list(&self, list: &ImageRef, images: &[ImageRef]) -> Result<Digest, Error> {
        let mut entries = Vec::new();
        for image in images {
            let found = self.repository(image).await?.image(tag_or_digest(image)).await?;
            // It was pushed a moment ago: a registry with several replicas may need some time.
            let missing = || {
                Error::new(
                    Kind::Busy { pause: None },
                    format!("{image}: the registry has no such image"),
                )
            };
            let entry = found.ok_or_else(missing)?.list_entry();
            entries.push(entry.map_err(|reason| Error::wrong(format!("{image}: {reason}")))?);
        }
        let (media_type, content) = image_manifest::list(&entries);
        let repository = self.repository(list).await?;
        repository.put_manifest(tag_or_digest(list), media_type, content).await
    }

    /// Returns the labels of an image in its registry; empty if the registry does not have it.
    async fn labels(&self, image: &ImageRef) -> Result<Labels, Error> {
        let repository = self.repository(image).await?;
        if self.labels.knows(image) {
            let Some(digest) = repository.digest(tag_or_digest(image)).await? else {
                return Ok(Labels::new());
            };
            if let Some(labels) = self.labels.get(image, &digest) {
                return Ok(labels);
            }
        }
        let Some(found) = repository.image(tag_or_digest(image)).await? else {
            return Ok(Labels::new());
        };
        self.labels.insert(image, found.digest(), found.labels());
        Ok(found.labels())
    }

    /// Checks that the registry serves this digest as `image`.
    async fn confirm(&self, image: &ImageRef, digest: &str) -> Result<Result<(), String>, Error> {
        Ok(match self.digest(image).await? {
            Some(served) if served.as_str() == digest => Ok(()),
            Some(served) => Err(format!(
                "the registry serves {served} as {image} instead of the pushed {digest}"
            )),
            None => Err(format!("the registry does not have {image}")),
        })
    }

    /// Asks until the registry serves this digest as `image`, for at most [`CONFIRMED_WITHIN`] and the
    /// timeout for an answer.
    async fn confirm_soon(
        &self,
        image: &ImageRef,
        digest: &str,
    ) -> Result<Result<(), String>, Error> {
        let limit = CONFIRMED_WITHIN.min(self.timeout);
        let end = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        let mut last = Err(Error::out_of_reach(format!("no answer for {} s", limit.as_secs())));
        loop {
            let asked = self.retried(|| self.confirm(image, digest));
            match tokio::time::timeout_at(end, asked).await {
                Ok(Ok(Ok(()))) => return Ok(Ok(())),
                Ok(Ok(Err(reason))) => last = Ok(Err(reason)),
                Ok(Err(error)) if last.is_err() => return Err(error),
                // It has already answered that it does not serve the digest.
                Ok(Err(_)) => {}
                Err(_) => return last,
            }
            if Instant::now() + pause >= end {
                return last;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Returns the registry to ask about a push; `None` if it is unknown or out of reach.
    async fn registry_to_ask<'a>(&self, image: &'a ImageRef) -> Option<&'a str> {
        let registry = match image.registry() {
            Some(registry) => registry,
            None if self
                .engine
                .registry_config()
                .await
                .is_ok_and(|known| known.is_default_known) =>
            {
                ""
            }
            None => return None,
        };
        (!self.unreached().contains(registry)).then_some(registry)
    }

    fn unreached(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unreached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImageRegistry for Registries {
    fn digest<'a>(&'a self, image: &'a ImageRef) -> BoxFuture<'a, Result<Option<String>, Error>> {
        Box::pin(async move {
            let digest = self.retried(|| self.digest(image)).await?;
            Ok(digest.map(|digest| digest.to_string()))
        })
    }

    fn labels<'a>(&'a self, image: &'a ImageRef) -> BoxFuture<'a, Result<Labels, Error>> {
        Box::pin(self.retried(|| self.labels(image)))
    }

    fn digest_of_id<'a>(
        &'a self,
        image: &'a ImageRef,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, Error>> {
        Box::pin(async move {
            match self.registry_to_ask(image).await {
                Some(_) => self.retried(|| self.digest_of_id(image, id)).await,
                None => Ok(None),
            }
        })
    }

    fn confirm_pushed<'a>(
        &'a self,
        image: &'a ImageRef,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, NotServed>> {
        Box::pin(async move {
            let Some(registry) = self.registry_to_ask(image).await else { return Ok(Vec::new()) };
            let confirmed = self.confirm_soon(image, digest).await;
            let mut lines = self.take_notices();
            match confirmed {
                Ok(served) => served.map_err(NotServed)?,
                Err(error) => {
                    if error.kind == Kind::OutOfReach {
                        self.unreached().insert(registry.to_owned());
                    }
                    lines.push(format!(
                        "the pushed image can't be confirmed in the registry: {error}"
                    ));
                }
            }
            Ok(lines)
        })
    }

    fn push_list<'a>(
        &'a self,
        list: &'a ImageRef,
        images: &'a [ImageRef],
    ) -> BoxFuture<'a, Result<String, PushListError>> {
        Box::pin(async move {
            let digest = self.push_list(list, images).await?.to_string();
            self.confirm_soon(list, &digest).await?.map_err(NotServed)?;
            Ok(digest)
        })
    }

    fn take_notices(&self) -> Vec<String> {
        self.notices.take()
    }

    fn save_labels(&self) {
        self.labels.save();
    }
}

/// Returns the digest or else the tag of an image.
fn tag_or_digest(image: &ImageRef) -> &str {
    image.digest().or(image.tag()).unwrap_or_default()
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
