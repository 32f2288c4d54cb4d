//! Client of an engine: its connection, and the operations of [`Engine`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, BuilderVersion, CreateImageOptionsBuilder, ListImagesOptionsBuilder,
    PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use bollard::{BollardRequest, Docker, body_full};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use regex::Regex;

use super::listener::Listener;
use crate::client_config::credentials::{CredentialFiles, Credentials};
use crate::client_config::endpoint::Endpoint;
use crate::diagnostic::with_causes;
use crate::engine::buildkit::{Session, unique_name};
use crate::engine::connection::{ConnectError, Connections, records};
use crate::engine::squash;
use crate::engine::{
    BuildRequest, BuildSecrets, Builder, Engine, EngineError, ImageInfo, Inspected, Output, Sink,
    Squashing,
};
use crate::image::{Digest, ImageRef};
use crate::registry::{self, Registries, Repository};
use crate::secret::Secret;

/// Namespace of images without one in the default registry.
const LIBRARY: &str = "library/";

/// Status line of a push that contains the image's digest in the registry.
static PUSHED_DIGEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"digest: (sha256:[0-9a-f]{64})").expect("a literal"));

/// Engine messages which mean that a registry could not be reached, rather than having refused.
static OUT_OF_REACH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "dial tcp|no such host|connection refused|connection reset|i/o timeout|no route to host|\
         TLS handshake timeout|Client.Timeout|server misbehaving|network is unreachable|broken pipe|\
         EOF$",
    )
    .expect("a literal")
});

/// Engine messages which mean that a registry answered that it is temporarily unable.
static BUSY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?i)toomanyrequests|too many requests|unexpected (?:HTTP )?status(?: code)?:? .*\\b5\\d\\d\\b|\
         status(?: code)?:? 5\\d\\d\\b|internal server error|bad gateway|service unavailable|\
         gateway time-?out|insufficient storage|unknown: unknown error",
    )
    .expect("a literal")
});

/// Engine messages which mean that a registry denies access.
static DENIED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?i)\\bunauthorized|\\bdenied\\b|no basic auth credentials|authentication required|\
         \\b403 forbidden",
    )
    .expect("a literal")
});

/// Bollard's message for a stream that ended within a record.
const LEFT_OVER: &str = "bytes remaining on stream";

/// Longest id of an image, in characters.
const MOST_OF_ID: usize = 200;

/// Remote context that BuildKit reads from the session.
const FROM_SESSION: &str = "client-session";

/// Longest wait for a registry to report what it serves after a push.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

/// Connection to an engine that has answered.
#[derive(Debug)]
pub struct DockerEngine {
    docker: Docker,
    endpoint: Endpoint,
    connections: Connections,
    description: String,
    is_podman: bool,
    credential_files: CredentialFiles,
    registries: Registries,
    timeout: Duration,
    unreached: Mutex<BTreeSet<String>>,
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
        let product = if is_podman { "Podman" } else { "Docker Engine" };
        let description =
            format!("{product} {} at {endpoint}", version.version.unwrap_or_default());
        Ok(Self {
            docker,
            endpoint,
            connections,
            description,
            is_podman,
            credential_files: CredentialFiles::default(),
            registries: Registries::new(timeout),
            timeout,
            unreached: Mutex::default(),
        })
    }

    /// Sets the files to look up registry credentials in, by priority.
    #[must_use]
    pub fn with_credentials(self, files: Vec<PathBuf>) -> Self {
        let credential_files = CredentialFiles::new(files, self.timeout);
        Self { credential_files, ..self }
    }

    /// Returns true if the engine is Podman.
    pub fn is_podman(&self) -> bool {
        self.is_podman
    }

    /// Returns the labels of an image in its registry; empty if the registry does not have it.
    ///
    /// # Errors
    /// When the registry can't be asked.
    pub async fn labels_in_registry(
        &self,
        reference: &ImageRef,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let image = self.repository(reference).await?.image(tag_or_digest(reference)).await?;
        Ok(image.map(|image| image.labels()).unwrap_or_default())
    }

    /// Takes the notices about registries. Each is returned only once.
    pub fn take_notices(&self) -> Vec<String> {
        self.registries.take_notices()
    }

    /// Returns the repository of an image in its registry.
    async fn repository(&self, reference: &ImageRef) -> Result<Repository, EngineError> {
        let credentials = self.credentials(reference).await?;
        let is_plain = async |host: &str| {
            Ok::<_, EngineError>(registry::is_loopback(host) || self.is_insecure(host).await?)
        };
        self.registries.repository(reference, credentials, is_plain).await
    }

    /// Checks that the registry serves the pushed digest as `image`.
    ///
    /// # Errors
    /// `NoEvidence` when it serves another image or none; other errors when it can't be asked.
    async fn confirm_served(&self, image: &ImageRef, digest: &str) -> Result<(), EngineError> {
        match self.digest(image).await? {
            Some(served) if served == digest => Ok(()),
            Some(served) => Err(EngineError::NoEvidence(format!(
                "{digest} was pushed as {image}, but the registry serves {served}"
            ))),
            None => Err(EngineError::NoEvidence(format!("the registry does not have {image}"))),
        }
    }

    /// Checks that the registry of `reference` serves what the engine reports to have pushed. If
    /// the registry can't be asked, the push counts as confirmed: the engine may reach the registry
    /// where this program does not, or with credentials that only allow pushes.
    async fn confirm_pushed(
        &self,
        reference: &ImageRef,
        digest: &str,
        sink: Sink<'_>,
    ) -> Result<(), EngineError> {
        // Only Podman knows which registry it uses if the reference has none.
        let Some(registry) = reference.registry().or((!self.is_podman).then_some("")) else {
            return Ok(());
        };
        if self.unreached().contains(registry) {
            return Ok(());
        }
        let asked = self.confirm_served(reference, digest);
        let answer = tokio::time::timeout(CONFIRMED_WITHIN, asked).await;
        for notice in self.take_notices() {
            sink(Output::Line(notice));
        }
        let no_answer =
            || EngineError::Registry(format!("no answer for {} s", CONFIRMED_WITHIN.as_secs()));
        match answer.unwrap_or_else(|_| Err(no_answer())) {
            Ok(()) => Ok(()),
            Err(error @ EngineError::NoEvidence(_)) => Err(error),
            Err(error) => {
                if error.is_connection() {
                    self.unreached().insert(registry.to_owned());
                }
                let line = format!("the pushed image can't be confirmed in the registry: {error}");
                sink(Output::Line(line));
                Ok(())
            }
        }
    }

    /// Returns the registries that this program can't reach, although the engine may.
    fn unreached(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unreached.lock().unwrap_or_else(PoisonError::into_inner)
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

    async fn open_session(
        &self,
        context: &Bytes,
        loan: &BuildSecrets,
    ) -> Result<Session, EngineError> {
        let files = self.credential_files.clone();
        let session = Session::open(&self.connections, context, loan.clone(), files);
        let opened = tokio::time::timeout(self.timeout, session).await;
        opened.unwrap_or(Err(EngineError::Silent(self.timeout)))
    }

    /// Waits for a whole answer within the timeout. Bollard's own timeout covers only its
    /// beginning.
    async fn answer<T>(
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
    async fn next<T>(
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
    async fn inspected(&self, name: &str) -> Result<Option<Inspected>, EngineError> {
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
        Ok(Some(Inspected {
            id,
            labels: labels.into_iter().collect(),
            size: image.size.and_then(|bytes| u64::try_from(bytes).ok()),
            layers: layers.into(),
            tagged: image.metadata.and_then(|it| it.last_tag_time).map(|at| at.to_string()),
        }))
    }

    /// Returns the image that the engine has under `name`; an error if it has none.
    async fn known(&self, name: &str) -> Result<Inspected, EngineError> {
        let unknown = || EngineError::NoEvidence(format!("it does not have {name}"));
        self.inspected(name).await?.ok_or_else(unknown)
    }

    /// Removes a reference, and the image if it has no other.
    async fn untag(&self, reference: &ImageRef) -> Result<(), EngineError> {
        // Intermediate images stay, since other builds may use them as a cache.
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        let name = reference.to_string();
        let removed = self.docker.remove_image(&name, Some(options), None);
        self.answer(removed).await.map(drop)
    }

    /// Returns the number of layers of an image above its parent, or of all its layers without one.
    async fn layers_above(&self, id: &str, parent: Option<&str>) -> Result<usize, EngineError> {
        let history = self.answer(self.docker.image_history(id)).await?;
        let own = history.iter().take_while(|layer| Some(layer.id.as_str()) != parent);
        Ok(own.count())
    }

    /// Returns true if the engine is configured to use plain HTTP with a registry.
    async fn is_insecure(&self, registry: &str) -> Result<bool, EngineError> {
        let info = self.answer(self.docker.info()).await?;
        let configured = info.registry_config.and_then(|config| config.index_configs);
        let secure = configured.and_then(|known| known.get(registry)?.secure);
        Ok(secure == Some(false))
    }

    /// Returns the credentials for the registry of `reference` from the credential files.
    async fn credentials(&self, reference: &ImageRef) -> Result<Option<Credentials>, EngineError> {
        let registry = self.registry_name(reference).await?;
        Ok(self.credential_files.look_up(&registry, reference.repository()).await?)
    }

    /// Returns the same credentials in the form for the engine.
    async fn credentials_for_engine(
        &self,
        reference: &ImageRef,
    ) -> Result<Option<DockerCredentials>, EngineError> {
        let Some(found) = self.credentials(reference).await? else { return Ok(None) };
        let text = |secret: Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let serveraddress = Some(self.registry_name(reference).await?);
        let credentials = DockerCredentials { serveraddress, ..DockerCredentials::default() };
        Ok(Some(match found {
            Credentials::IdentityToken(token) => {
                DockerCredentials { identitytoken: Some(text(token)), ..credentials }
            }
            Credentials::Password { user, password } => DockerCredentials {
                username: Some(user),
                password: Some(text(password)),
                ..credentials
            },
        }))
    }

    /// Returns the name under which the credentials for an image's registry are stored.
    async fn registry_name(&self, reference: &ImageRef) -> Result<String, EngineError> {
        match reference.registry() {
            Some(registry) => Ok(registry.to_owned()),
            None => self.default_registry().await,
        }
    }

    /// Returns the engine's default registry for references without one; empty if the engine does
    /// not report it.
    async fn default_registry(&self) -> Result<String, EngineError> {
        let info = self.answer(self.docker.info()).await?;
        Ok(info.index_server_address.unwrap_or_default())
    }

    /// Returns the prefixes that the engine adds to image names without a registry, as far as these
    /// `tags` show them: an image with such a prefix is also found by its name without it.
    async fn implied_prefixes(
        &self,
        tags: impl Iterator<Item = &String>,
    ) -> Result<BTreeSet<String>, EngineError> {
        let candidates: BTreeMap<&str, &String> =
            tags.flat_map(|tag| prefixes_of(tag).map(move |prefix| (prefix, tag))).collect();
        let mut implied = BTreeSet::new();
        for (prefix, tag) in candidates {
            let inspected = self.docker.inspect_image(&tag[prefix.len()..]);
            let Ok(found) = self.answer(inspected).await else { continue };
            if found.repo_tags.unwrap_or_default().contains(tag) {
                implied.insert(prefix.to_owned());
            }
        }
        Ok(implied)
    }

    /// Returns the listed images by their short names, without the prefix that the engine adds to
    /// names without a registry.
    async fn short_names(
        &self,
        listed: &BTreeMap<String, ImageInfo>,
    ) -> Result<BTreeMap<String, ImageInfo>, EngineError> {
        let prefixes = self.implied_prefixes(listed.keys()).await?;
        let mut claims: BTreeMap<&str, Vec<&ImageInfo>> = BTreeMap::new();
        for (tag, known) in listed {
            if let Some(short) = short_name(tag, &prefixes) {
                claims.entry(short).or_default().push(known);
            }
        }
        let mut short_names = BTreeMap::new();
        for (short, claimants) in claims {
            let known = match claimants[..] {
                [only] => Some(only),
                _ => {
                    let meant = self.answer(self.docker.inspect_image(short)).await?;
                    let meant = meant.id.unwrap_or_default();
                    claimants.into_iter().find(|known| known.id == meant)
                }
            };
            short_names.extend(known.map(|known| (short.to_owned(), known.clone())));
        }
        Ok(short_names)
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
                EngineError::Unaskable(format!("the request to the engine is invalid: {err}"))
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

    async fn digest(&self, reference: &ImageRef) -> Result<Option<String>, EngineError> {
        let repository = self.repository(reference).await?;
        let digest = repository.digest(tag_or_digest(reference)).await?;
        Ok(digest.map(|digest| digest.to_string()))
    }

    async fn pull(&self, reference: &ImageRef, platform: Option<&str>) -> Result<(), EngineError> {
        let options = CreateImageOptionsBuilder::default()
            .from_image(&reference.to_string())
            .platform(platform.unwrap_or_default())
            .build();
        let credentials = self.credentials_for_engine(reference).await?;
        let mut stream = records(&self.docker, convert::identity, move |docker| {
            docker.create_image(Some(options), None, credentials).boxed()
        });
        // The image is inspected at the end, as evidence of the pull.
        while let Some(record) = self.next(&mut stream, true).await.map_err(of_registry)? {
            if let Some(message) = record.error_detail.and_then(|detail| detail.message) {
                return Err(of_registry(EngineError::Refused(message)));
            }
        }
        self.known(&reference.to_string()).await.map(drop)
    }

    async fn build(
        &self,
        order: BuildRequest<'_>,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        let BuildRequest { context, options, labels, .. } = order;
        let build_args: HashMap<_, _> = options.build_args.clone().into_iter().collect();
        let labels: HashMap<_, _> = labels.clone().into_iter().collect();
        let mut query = BuildImageOptionsBuilder::default()
            .dockerfile(crate::context::DOCKERFILE)
            .nocache(!options.cache)
            .rm(true)
            .forcerm(!options.keep)
            .networkmode(&options.network_mode)
            .buildargs(&build_args)
            .labels(&labels);
        if let Some(platform) = &options.platform {
            query = query.platform(platform);
        }
        // The session stays open until the build ends.
        let session = match options.builder {
            Builder::BuildKit => Some(self.open_session(context, &options.loan).await?),
            Builder::Classic | Builder::Buildah => None,
        };
        let mut sent = context.clone();
        if let Some(session) = &session {
            query = query.version(BuilderVersion::BuilderBuildKit).session(session.id());
            query = query.remote(FROM_SESSION);
            sent = Bytes::new();
        }
        let change = match &options.squash {
            Some(_) if self.is_podman => in_one_layer,
            _ => convert::identity,
        };
        let mut stream = records(&self.docker, change, move |docker| {
            docker.build_image(query.build(), None, Some(body_full(sent))).boxed()
        });
        let mut listener = Listener::new(sink);
        while let Some(record) = self.next(&mut stream, listener.image_id().is_some()).await? {
            listener.hear(record);
        }
        let id = listener.image_id().map(str::to_owned).ok_or_else(|| {
            EngineError::NoEvidence("its answer ended without an image ID".to_owned())
        })?;
        drop(listener);
        let built = self.known(&id).await?;
        if built.id == id {
            return Ok(built);
        }
        Err(EngineError::NoEvidence(format!("it has {}, not {id}", built.id)))
    }

    /// Squashes the image under a unique reference, and tags the result with `reference` once it is
    /// checked to be on its parent: docker-squash identifies an image by its reference and tags the
    /// result.
    async fn squash(
        &self,
        built: Inspected,
        reference: &ImageRef,
        parent: Option<&Inspected>,
        how: &Squashing,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        let parent_id = parent.map(|parent| parent.id.as_str());
        if self.is_podman || self.layers_above(&built.id, parent_id).await? < 2 {
            self.tag(&built.id, reference).await?;
            return Ok(built);
        }
        let private = private_reference();
        self.tag(&built.id, &private).await?;
        let environment = self.endpoint.environment();
        let squashed = async {
            squash::run(&environment, &private, parent_id, how, sink).await?;
            let squashed = self.known(&private.to_string()).await?;
            if squashed.id == built.id {
                return Err(EngineError::NoEvidence(format!("{reference} is still {}", built.id)));
            }
            if parent.is_some_and(|parent| !squashed.is_on(parent)) {
                let reason =
                    "the squashed image is not built on the layers of its parent".to_owned();
                return Err(EngineError::NoEvidence(reason));
            }
            self.tag(&squashed.id, reference).await?;
            Ok(squashed)
        };
        let squashed = squashed.await;
        drop(self.untag(&private).await);
        squashed
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

    async fn push_list(&self, list: &ImageRef, images: &[ImageRef]) -> Result<String, EngineError> {
        let mut entries = Vec::new();
        for image in images {
            let refuse = |reason: String| EngineError::Refused(format!("{image}: {reason}"));
            let found = self.repository(image).await?.image(tag_or_digest(image)).await?;
            let found = found.ok_or_else(|| refuse("the registry has no such image".to_owned()))?;
            entries.push(found.list_entry().map_err(refuse)?);
        }
        let (media_type, content) = registry::list(&entries);
        let repository = self.repository(list).await?;
        let digest = repository.put_manifest(tag_or_digest(list), media_type, content).await?;
        self.confirm_served(list, digest.as_str()).await?;
        Ok(digest.to_string())
    }

    async fn push(
        &self,
        id: &str,
        reference: &ImageRef,
        sink: Sink<'_>,
    ) -> Result<String, EngineError> {
        let options =
            PushImageOptionsBuilder::default().tag(reference.tag().unwrap_or_default()).build();
        let credentials = self.credentials_for_engine(reference).await?;
        let name = reference.name();
        let pushed = name.clone();
        let mut stream = records(&self.docker, convert::identity, move |docker| {
            docker.push_image(&pushed, Some(options), credentials).boxed()
        });
        let mut digest: Option<Digest> = None;
        while let Some(record) =
            self.next(&mut stream, digest.is_some()).await.map_err(of_registry)?
        {
            let Some(status) = record.status else { continue };
            if let Some(found) = PUSHED_DIGEST.captures(&status) {
                digest = found[1].parse().ok();
            }
            if record.progress_detail.is_none_or(|progress| progress.total.is_none()) {
                sink(Output::Line(status));
            }
        }
        let digest = digest.ok_or_else(|| {
            EngineError::NoEvidence("its answer ended without the registry's digest".to_owned())
        })?;
        let image = self.answer(self.docker.inspect_image(&reference.to_string())).await?;
        if image.id.as_deref() != Some(id) {
            let reason = format!(
                "{reference} is not the image that was to be pushed: something else moved the tag"
            );
            return Err(EngineError::Moved(reason));
        }
        let pushed = format!("{name}@{digest}");
        if !self.is_podman && !image.repo_digests.unwrap_or_default().contains(&pushed) {
            return Err(EngineError::NoEvidence(format!("it does not have {pushed}")));
        }
        self.confirm_pushed(reference, digest.as_str(), sink).await?;
        Ok(digest.to_string())
    }
}

/// Changes a request so that Podman builds the layers that an image adds to its parent as one.
/// Podman's own option to squash would include the parent's layers.
fn in_one_layer(mut request: BollardRequest) -> BollardRequest {
    let uri = request.uri().to_string();
    if uri.contains("/build?")
        && let Ok(changed) = format!("{uri}&layers=false").parse()
    {
        *request.uri_mut() = changed;
    }
    request
}

/// Returns the digest or else the tag of an image.
fn tag_or_digest(image: &ImageRef) -> &str {
    image.digest().or(image.tag()).unwrap_or_default()
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
fn private_reference() -> ImageRef {
    let reference = format!("kiln-private/{}:unfinished", unique_name());
    reference.parse().expect("it is plain")
}

/// Returns the prefixes of a listed reference that the engine may have added, the longest first.
fn prefixes_of(listed: &str) -> impl Iterator<Item = &str> {
    let host = listed.find('/').map(|end| end + 1);
    let library = host.filter(|end| listed[*end..].starts_with(LIBRARY));
    let ends = [library.map(|end| end + LIBRARY.len()), host];
    ends.into_iter().flatten().map(|end| &listed[..end])
}

/// Returns a listed reference without the prefix that the engine added; `None` if it added none.
fn short_name<'a>(listed: &'a str, prefixes: &BTreeSet<String>) -> Option<&'a str> {
    let implied = prefixes_of(listed).find(|prefix| prefixes.contains(*prefix));
    implied.map(|prefix| &listed[prefix.len()..])
}

/// Classifies an error of a registry: not reachable, temporarily unable, denied, or refused.
fn of_registry(error: EngineError) -> EngineError {
    let EngineError::Refused(message) = error else { return error };
    let is = |pattern: &Regex| pattern.is_match(message.trim());
    if is(&OUT_OF_REACH) {
        EngineError::Registry(message)
    } else if is(&BUSY) {
        EngineError::Busy { reason: message, pause: None }
    } else if is(&DENIED) {
        EngineError::Denied(message)
    } else {
        EngineError::Refused(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_puts_before_a_name_is_not_in_the_short_one() {
        let prefixes = ["localhost/", "hub.example/", "hub.example/library/"];
        let prefixes = prefixes.map(str::to_owned).into();
        let table = [
            ("ns/x:t", None),
            ("127.0.0.1:5000/ns/x:t", None),
            ("localhost/ns/x:t", Some("ns/x:t")),
            ("hub.example/ns/x:t", Some("ns/x:t")),
            ("hub.example/library/x:t", Some("x:t")),
        ];
        for (listed, short) in table {
            assert_eq!(short_name(listed, &prefixes), short);
        }
    }

    #[test]
    fn a_registry_out_of_reach_is_told_from_one_that_refuses() {
        let refused = |text: &str| of_registry(EngineError::Refused(text.to_owned()));
        let out_of_reach =
            "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
        assert!(refused(out_of_reach).is_connection());
        for denied in [
            "denied: requested access to the resource is denied",
            "unauthorized: authentication required",
            "no basic auth credentials",
            "received unexpected HTTP status: 403 Forbidden",
        ] {
            assert!(refused(denied).is_final(), "{denied}");
        }
        for busy in [
            "toomanyrequests: You have reached your pull rate limit.",
            "received unexpected HTTP status: 503 Service Unavailable",
            "received unexpected HTTP status: 500 Internal Server Error",
            "error parsing HTTP 429 response body: invalid character 's': \"429 Too Many Requests\"",
        ] {
            assert!(refused(busy).is_passing() && !refused(busy).is_connection(), "{busy}");
        }
        let other = refused("manifest invalid: manifest invalid");
        assert!(!other.is_passing() && !other.is_final());
    }
}
