//! Repository of a registry: its requests, with the authorization that the registry demands.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, StatusCode, Url};

use super::image_manifest::{self, Image, Manifest};
use super::registry_error::{Error, Kind};
use super::registry_host::RegistryHost;
use super::token::{Access, Authorization};
use super::transport::{Answer, Redirects, Request};
use crate::client_config::{Credentials, FoundCredentials};
use crate::image::Digest;

/// Largest manifest that is read, in bytes. Registries accept no larger ones.
const MOST_OF_MANIFEST: usize = 4 << 20;

/// Largest configuration of an image, in bytes.
const MOST_OF_CONFIG: usize = 16 << 20;

/// Header with the digest of a manifest.
const DIGEST_HEADER: &str = "docker-content-digest";

/// Repository, with the credentials for it.
#[derive(Debug, Clone)]
pub struct Repository {
    registry: Arc<RegistryHost>,
    name: String,
    credentials: Option<FoundCredentials>,
    /// Command by which a user logs in to the registry.
    login: String,
}

impl Repository {
    pub(super) fn new(
        registry: Arc<RegistryHost>,
        name: String,
        credentials: Option<FoundCredentials>,
        login: String,
    ) -> Self {
        Self { registry, name, credentials, login }
    }

    /// Returns the digest of the manifest under a tag or digest; `None` if the registry does not
    /// have it.
    ///
    /// # Errors
    /// When the registry can't be asked.
    pub async fn digest(&self, reference: &str) -> Result<Option<Digest>, Error> {
        let path = format!("manifests/{reference}");
        let question =
            self.question(Method::HEAD, &path, image_manifest::ACCEPTED, MOST_OF_MANIFEST)?;
        let Some(answer) = found(self.ask(question, Access::Pull).await)? else { return Ok(None) };
        match answer.header(DIGEST_HEADER) {
            Some(digest) => Ok(Some(self.parsed(digest)?)),
            None => Ok(self.manifest(reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// Returns the manifest under a tag or digest; `None` if the registry does not have it. Its
    /// bytes are checked against the digest.
    ///
    /// # Errors
    /// When the registry can't be asked, or serves other bytes.
    pub(super) async fn manifest(&self, reference: &str) -> Result<Option<Manifest>, Error> {
        let path = format!("manifests/{reference}");
        let question =
            self.question(Method::GET, &path, image_manifest::ACCEPTED, MOST_OF_MANIFEST)?;
        let Some(answer) = found(self.ask(question, Access::Pull).await)? else { return Ok(None) };
        let told = answer.header(DIGEST_HEADER).map(|digest| self.parsed(digest)).transpose()?;
        let asked = reference.contains(':').then(|| self.parsed(reference)).transpose()?;
        for digest in told.iter().chain(&asked) {
            self.require(digest, &answer.body)?;
        }
        let digest = asked.or(told).unwrap_or_else(|| Digest::of(&answer.body));
        let media_type = answer.header("content-type").unwrap_or_default();
        let manifest = Manifest::read(digest, media_type, &answer.body);
        manifest.map(Some).map_err(|reason| {
            Error::wrong(format!("the manifest {reference} of {} {reason}", self.shown()))
        })
    }

    /// Returns the image under a tag or digest, with its configuration; `None` if the registry does
    /// not have it, or has a manifest list there.
    ///
    /// # Errors
    /// When the registry can't be asked, or serves bytes that do not match their digest.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let Some(manifest) = self.manifest(reference).await? else { return Ok(None) };
        let Some(config) = &manifest.config else { return Ok(None) };
        let config = self.blob(config, MOST_OF_CONFIG).await?;
        Ok(Some(Image { manifest, config }))
    }

    /// Returns the content of the blob with this digest, of at most `most` bytes.
    async fn blob(&self, digest: &Digest, most: usize) -> Result<Vec<u8>, Error> {
        let question = self.question(Method::GET, &format!("blobs/{digest}"), "", most)?;
        let content = self.ask(question, Access::Pull).await?.body;
        self.require(digest, &content)?;
        Ok(content)
    }

    /// Uploads a manifest under a tag or its digest. Returns the digest.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub async fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        content: Vec<u8>,
    ) -> Result<Digest, Error> {
        let digest = Digest::of(&content);
        let path = format!("manifests/{reference}");
        let mut question = self.question(Method::PUT, &path, "", MOST_OF_MANIFEST)?;
        question.body = Some((media_type.to_owned(), Bytes::from(content)));
        question.redirects = Redirects::SameOrigin;
        self.ask(question, Access::Push).await?;
        Ok(digest)
    }

    fn question(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        most: usize,
    ) -> Result<Request, Error> {
        let url = self.registry.base.join(&format!("{}/{path}", self.name));
        let url = url.ok().filter(|url: &Url| url.path().ends_with(path));
        let url =
            url.ok_or_else(|| Error::wrong(format!("'{path}' is not a path in a registry")))?;
        let redirects = Redirects::Anywhere;
        Ok(Request { method, url, accept, body: None, most, redirects })
    }

    /// Sends a request with the authorization that the registry demands. The first answer shows
    /// which one it is, so no second request is sent before it has arrived.
    async fn ask(&self, question: Request, access: Access) -> Result<Answer, Error> {
        let first = self.registry.tokens.after_first().await;
        let authorized = self.authorized(&question, access).await;
        drop(first);
        let answer = authorized.and_then(Answer::successful);
        answer.map_err(|error| match error.kind {
            Kind::Denied => self.refused(error, access),
            _ => error,
        })
    }

    /// Returns the error of a refusal with the origin of the credentials and the cure, and drops the
    /// token, so that another one is fetched for the next request.
    fn refused(&self, error: Error, access: Access) -> Error {
        self.registry.tokens.forget(&access.scope(&self.name));
        let whose = match &self.credentials {
            Some(found) => format!("with the credentials from {}", found.origin),
            None => "without credentials, since no file has any for it".to_owned(),
        };
        let may = match access {
            Access::Pull => "pull",
            Access::Push => "push",
        };
        let cure = format!("log in with '{}' as a user who may {may} {}", self.login, self.name);
        let Error { kind, text, .. } = error;
        Error { kind, text: format!("{text} ({whose})"), cure: Some(cure) }
    }

    async fn authorized(&self, question: &Request, access: Access) -> Result<Answer, Error> {
        let RegistryHost { transport, tokens, base, .. } = &*self.registry;
        let sent = self.authorization(access).await?;
        let answer = transport.ask(question, sent.as_ref().map(|sent| &sent.header)).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !answer.is_from(base) {
            return Ok(answer);
        }
        if answer.challenges().is_empty() {
            return Ok(answer);
        }
        tokens.learn(&answer.challenges(), access, &self.name).map_err(|error| {
            Error::new(
                error.kind,
                format!("the registry {} answers 401: {error}", self.registry.host),
            )
        })?;
        if sent.as_ref().is_some_and(|sent| sent.is_fresh) {
            return Ok(answer);
        }
        match self.authorization(access).await? {
            Some(other) if Some(&other) != sent.as_ref() => {
                transport.ask(question, Some(&other.header)).await
            }
            _ => Ok(answer),
        }
    }

    async fn authorization(&self, access: Access) -> Result<Option<Authorization>, Error> {
        let credentials: Option<&Credentials> =
            self.credentials.as_ref().map(|found| &found.credentials);
        self.registry.authorization(&self.name, access, credentials).await
    }

    fn parsed(&self, digest: &str) -> Result<Digest, Error> {
        digest.parse().map_err(|error| {
            Error::wrong(format!("{} returns no usable digest: {error}", self.shown()))
        })
    }

    fn require(&self, digest: &Digest, content: &[u8]) -> Result<(), Error> {
        if digest.is_of(content) {
            return Ok(());
        }
        let shown = self.shown();
        Err(Error::wrong(format!("{shown} serves content that does not match {digest}")))
    }

    /// Returns the registry and the name, for messages.
    fn shown(&self) -> String {
        format!("{}/{}", self.registry.host, self.name)
    }
}

/// Separates the answer that an object is missing, as `None`, from other errors.
fn found(answer: Result<Answer, Error>) -> Result<Option<Answer>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error { kind: Kind::Missing, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
