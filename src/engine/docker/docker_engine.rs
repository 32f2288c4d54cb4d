//! Client of an engine: its connection, and the operations of [`Engine`].

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::OnceCell;

use crate::client_config::CredentialFiles;
use crate::client_config::endpoint::Endpoint;
use crate::diagnostic::with_causes;
use crate::engine::buildkit::unique_name;
use crate::engine::connection::{ConnectError, Connections};
use crate::engine::{
    BuildRequest, Builder, Engine, EngineError, ImageInfo, Inspected, Sink, SquashOptions,
};
use crate::image::{ImageRef, Platform};
use crate::registry::{self, EngineConfig, RegistryConfig};

/// Bollard's message for a stream that ended within a record.
const LEFT_OVER: &str = "bytes remaining on stream";

/// Longest id of an image, in characters.
const MOST_OF_ID: usize = 200;

/// Connection to an engine that has answered.
#[derive(Debug)]
pub struct DockerEngine {
    pub(super) docker: Docker,
    pub(super) endpoint: Endpoint,
    pub(super) connections: Connections,
    description: String,
    pub(super) is_podman: bool,
    platform: Option<Platform>,
    pub(super) credential_files: CredentialFiles,
    registry_config: OnceCell<RegistryConfig>,
    pub(super) timeout: Duration,
}

impl DockerEngine {
    /// Connects to the engine at `endpoint`. Every wait for the engine takes at most `timeout`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn connect(endpoint: Endpoint, timeout: Duration) -> Result<Self, EngineError> {
        let unreachable = |failure: ConnectError| EngineError::Unreachable {
            endpoint: endpoint.to_string(),
            cause: failure.cause,
            cure: failure.cure,
        };
        let failed = |error: bollard::errors::Error| {
            let known = match &error {
                bollard::errors::Error::IOError { err } => ConnectError::from_source(err),
                other => ConnectError::from_source(other),
            };
            unreachable(known.unwrap_or_else(|| ConnectError::no_answer(with_causes(&error))))
        };
        let connections = Connections::to(endpoint.clone()).map_err(unreachable)?;
        let docker = connections.docker(timeout).map_err(failed)?;
        let asked = async {
            let docker = docker.negotiate_version().await?;
            let version = docker.version().await?;
            Ok((docker, version))
        };
        let (docker, version) = match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer.map_err(failed)?,
            Err(_) => {
                let cause = EngineError::Silent(timeout).to_string();
                return Err(unreachable(ConnectError::no_answer(cause)));
            }
        };
        let names: Vec<String> = version
            .components
            .unwrap_or_default()
            .into_iter()
            .map(|component| component.name)
            .collect();
        let is_podman = names.iter().any(|name| name.contains("Podman"));
        let platform = version.os.zip(version.arch);
        let platform = platform.and_then(|(os, arch)| format!("{os}/{arch}").parse().ok());
        let product = if is_podman { "Podman" } else { "Docker Engine" };
        let description =
            format!("{product} {} at {endpoint}", version.version.unwrap_or_default());
        Ok(Self {
            docker,
            endpoint,
            connections,
            description,
            is_podman,
            platform,
            credential_files: CredentialFiles::default(),
            registry_config: OnceCell::new(),
            timeout,
        })
    }

    /// Sets the files to look up registry credentials in, by priority.
    #[must_use]
    pub fn with_credentials(self, credential_files: CredentialFiles) -> Self {
        Self { credential_files, ..self }
    }

    /// Returns true if the engine is Podman.
    pub fn is_podman(&self) -> bool {
        self.is_podman
    }

    /// Returns the platform of the engine; `None` if it does not tell a known one.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Returns a description of the engine: product, version and endpoint.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the builder to use: Buildah with Podman, otherwise BuildKit if it is `wanted`.
    pub fn builder(&self, wanted: bool) -> Builder {
        match (self.is_podman, wanted) {
            (true, _) => Builder::Buildah,
            (false, true) => Builder::BuildKit,
            (false, false) => Builder::Classic,
        }
    }

    /// Waits for a whole answer within the timeout. Bollard's own timeout covers only its
    /// beginning.
    pub(super) async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer.map_err(|error| self.explain(error)),
            Err(_) => Err(EngineError::Silent(self.timeout)),
        }
    }

    /// Returns the next record of a stream within the timeout. If the result `is_heard` already, an
    /// incomplete record at the end of the stream is ignored.
    pub(super) async fn next<T>(
        &self,
        stream: &mut (impl Stream<Item = Result<T, bollard::errors::Error>> + Unpin),
        is_heard: bool,
    ) -> Result<Option<T>, EngineError> {
        match tokio::time::timeout(self.timeout, stream.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(record))) => Ok(Some(record)),
            Ok(Some(Err(error))) => match self.explain(error) {
                EngineError::Broken(cause) if is_heard && cause == LEFT_OVER => Ok(None),
                error => Err(error),
            },
            Err(_) => Err(EngineError::Silent(self.timeout)),
        }
    }

    /// Returns the image that the engine has under `name`, a reference or an id; `None` if it has
    /// none.
    pub(super) async fn inspected(&self, name: &str) -> Result<Option<Inspected>, EngineError> {
        let found = async {
            match self.docker.inspect_image(name).await {
                Err(bollard::errors::Error::DockerResponseServerError {
                    status_code: 404, ..
                }) => Ok(None),
                found => found.map(Some),
            }
        };
        let Some(image) = self.answer(found).await? else { return Ok(None) };
        let Some(id) = image.id.map(checked_id).transpose()? else { return Ok(None) };
        let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
        let layers = image.root_fs.and_then(|layers| layers.layers).unwrap_or_default();
        let platform = image.os.zip(image.architecture);
        Ok(Some(Inspected {
            id,
            platform: platform.and_then(|(os, arch)| format!("{os}/{arch}").parse().ok()),
            labels: labels.into_iter().collect(),
            size: image.size.and_then(|bytes| u64::try_from(bytes).ok()),
            layers: layers.into(),
            tagged: image.metadata.and_then(|it| it.last_tag_time).map(|at| at.to_string()),
        }))
    }

    /// Returns the image that the engine has under `name`; an error if it has none.
    pub(super) async fn known(&self, name: &str) -> Result<Inspected, EngineError> {
        let unknown = || EngineError::NoEvidence(format!("it does not have {name}"));
        self.inspected(name).await?.ok_or_else(unknown)
    }

    /// Removes a reference, and the image if it has no other.
    pub(super) async fn untag(&self, reference: &ImageRef) -> Result<(), EngineError> {
        // Intermediate images stay, since other builds may use them as a cache.
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        let name = reference.to_string();
        let removed = self.docker.remove_image(&name, Some(options), None);
        self.answer(removed).await.map(drop)
    }

    /// Returns the engine's configuration of registries, which is requested once.
    pub(super) async fn registry_config(&self) -> Result<&RegistryConfig, EngineError> {
        let requested = async || {
            let info = self.answer(self.docker.info()).await?;
            let known = info.registry_config.and_then(|config| config.index_configs);
            let plain = known.unwrap_or_default().into_iter();
            Ok(RegistryConfig {
                default: info.index_server_address.unwrap_or_default(),
                // Only Podman knows which registry it uses if a reference has none.
                is_default_known: !self.is_podman,
                plain: plain
                    .filter(|(_, registry)| registry.secure == Some(false))
                    .map(|(host, _)| host)
                    .collect(),
            })
        };
        self.registry_config.get_or_try_init(requested).await
    }

    fn explain(&self, error: bollard::errors::Error) -> EngineError {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { message, .. } => {
                EngineError::Refused(message.trim_end().to_owned())
            }
            Error::DockerStreamError { error } => EngineError::Refused(error.trim_end().to_owned()),
            Error::RequestTimeoutError => EngineError::Silent(self.timeout),
            Error::InvalidURIError { err } => {
                EngineError::Rejected(format!("the request to the engine is invalid: {err}"))
            }
            other => EngineError::Broken(with_causes(&other)),
        }
    }
}

impl Engine for DockerEngine {
    async fn answers(&self) -> bool {
        self.answer(self.docker.ping()).await.is_ok()
    }

    async fn images(&self) -> Result<BTreeMap<ImageRef, ImageInfo>, EngineError> {
        let options = ListImagesOptionsBuilder::default().build();
        let images = self.answer(self.docker.list_images(Some(options))).await?;
        let mut known = BTreeMap::new();
        for image in images {
            checked_id(image.id.clone())?;
            let labels: BTreeMap<_, _> = image.labels.into_iter().collect();
            for tag in image.repo_tags {
                let size = u64::try_from(image.size).ok();
                known.insert(tag, ImageInfo { id: image.id.clone(), labels: labels.clone(), size });
            }
        }
        if self.is_podman {
            known.extend(self.short_names(&known).await?);
        }
        let parsed = known.into_iter().filter_map(|(tag, known)| Some((tag.parse().ok()?, known)));
        Ok(parsed.collect())
    }

    async fn image(&self, reference: &ImageRef) -> Result<Option<Inspected>, EngineError> {
        self.inspected(&reference.to_string()).await
    }

    async fn tag(&self, id: &str, reference: &ImageRef) -> Result<(), EngineError> {
        let options = TagImageOptionsBuilder::default()
            .repo(&reference.name())
            .tag(reference.tag().unwrap_or_default())
            .build();
        self.answer(self.docker.tag_image(id, Some(options))).await
    }

    /// Tags the image with a unique reference, and removes that: the engine then keeps an image that
    /// has another one. Removing the id would also remove a reference that it got in the meantime.
    async fn discard(&self, id: &str) {
        let private = private_reference();
        if self.tag(id, &private).await.is_ok() {
            drop(self.untag(&private).await);
        }
    }

    async fn pull(
        &self,
        reference: &ImageRef,
        platform: Option<&str>,
        sink: Sink<'_>,
    ) -> Result<(), EngineError> {
        self.pull_image(reference, platform, sink).await
    }

    async fn build(
        &self,
        request: BuildRequest<'_>,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        self.build_image(request, sink).await
    }

    async fn squash(
        &self,
        built: Inspected,
        reference: &ImageRef,
        parent: Option<&Inspected>,
        how: &SquashOptions,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        self.squash_image(built, reference, parent, how, sink).await
    }

    async fn push(
        &self,
        id: &str,
        reference: &ImageRef,
        sink: Sink<'_>,
    ) -> Result<String, EngineError> {
        self.push_image(id, reference, sink).await
    }
}

impl EngineConfig for DockerEngine {
    fn registry_config(&self) -> BoxFuture<'_, Result<&RegistryConfig, registry::Error>> {
        Box::pin(async {
            let config = DockerEngine::registry_config(self).await;
            config.map_err(|error| registry::Error::out_of_reach(error.to_string()))
        })
    }
}

/// Returns the id of an image if it is valid: it is used in paths and as an argument.
fn checked_id(id: String) -> Result<String, EngineError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':';
    let is_id = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_id && id.len() <= MOST_OF_ID && id.bytes().all(is_part) {
        return Ok(id);
    }
    let shown: String = id.chars().take(MOST_OF_ID).collect();
    Err(EngineError::Broken(format!("{shown:?} is not an image ID")))
}

/// Returns a unique reference for an image that may not have its own yet.
pub(super) fn private_reference() -> ImageRef {
    let reference = format!("kiln-private/{}:unfinished", unique_name());
    reference.parse().expect("it is plain")
}
