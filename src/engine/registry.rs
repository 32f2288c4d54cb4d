//! What is asked of registries without an engine between: manifest lists, which engines don't make, and
//! what registries have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, ImageIndexEntry,
    OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex, Platform,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::EngineError;
use crate::crypto;
use crate::diagnostic::with_causes;
use crate::fingerprint::digest;
use crate::image::ImageRef;

/// A connection to one registry.
pub(super) struct Registry {
    client: Client,
    auth: RegistryAuth,
    /// Asks what the client does not pass on.
    plain: reqwest::Client,
}

impl Registry {
    /// Talks to a registry, in plain text if `is_plain`, waiting for `timeout` at most for any word.
    pub(super) fn new(
        is_plain: bool,
        credentials: Option<DockerCredentials>,
        timeout: Duration,
    ) -> Result<Self, EngineError> {
        let protocol = if is_plain { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            platform_resolver: None,
            read_timeout: Some(timeout),
            connect_timeout: Some(timeout),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        crypto::provide();
        let client = Client::try_from(config).map_err(explain)?;
        let plain = reqwest::Client::builder()
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .build()
            .map_err(|error| EngineError::Registry(with_causes(&error)))?;
        Ok(Self { client, auth: auth(credentials)?, plain })
    }

    /// Joins `images` in a manifest list called `list`, all of them in this registry. Returns the
    /// list's digest, by which the registry, asked again, knows it.
    pub(super) async fn push_list(
        &self,
        list: &ImageRef,
        images: &[ImageRef],
    ) -> Result<String, EngineError> {
        let mut manifests = Vec::new();
        for image in images {
            manifests.push(self.entry(image).await?);
        }
        let is_dockers =
            manifests.iter().any(|entry| entry.media_type == IMAGE_MANIFEST_MEDIA_TYPE);
        let media_type =
            if is_dockers { IMAGE_MANIFEST_LIST_MEDIA_TYPE } else { OCI_IMAGE_INDEX_MEDIA_TYPE };
        let index = OciImageIndex {
            schema_version: 2,
            media_type: Some(media_type.to_owned()),
            manifests,
            artifact_type: None,
            annotations: None,
        };
        let body = serde_json::to_vec(&index).expect("a list is JSON");
        let digest = format!("sha256:{}", digest(&body));
        let reference = reference(list)?;
        self.client.store_auth_if_needed(reference.resolve_registry(), &self.auth).await;
        let media_type = HeaderValue::from_static(media_type);
        if let Err(error) = self.client.push_manifest_raw(&reference, body, media_type).await {
            return Err(self.explain(error).await);
        }
        self.confirm(list, &digest).await?;
        Ok(digest)
    }

    /// Holds what the registry serves as `image` against the `digest` of what it was sent.
    ///
    /// # Errors
    /// `NoEvidence` where it serves something else or nothing; others where it can't be asked.
    pub(super) async fn confirm(&self, image: &ImageRef, digest: &str) -> Result<(), EngineError> {
        match self.digest(image).await? {
            Some(served) if served == digest => Ok(()),
            Some(served) => Err(EngineError::NoEvidence(format!(
                "the registry was sent {digest} and serves {served} as {image}"
            ))),
            None => Err(EngineError::NoEvidence(format!("the registry does not have {image}"))),
        }
    }

    /// The labels of an image; none where the registry does not have it.
    pub(super) async fn labels(
        &self,
        image: &ImageRef,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        #[derive(Default, Deserialize)]
        struct Image {
            #[serde(default)]
            config: Config,
        }
        #[derive(Default, Deserialize)]
        struct Config {
            #[serde(rename = "Labels")]
            labels: Option<BTreeMap<String, String>>,
        }
        let reference = reference(image)?;
        let (_, _, config) =
            match self.client.pull_manifest_and_config(&reference, &self.auth).await {
                Ok(found) => found,
                Err(error) if is_missing(&error) => return Ok(BTreeMap::new()),
                Err(error) => return Err(self.explain(error).await),
            };
        let image: Image = serde_json::from_str(&config).unwrap_or_default();
        Ok(image.config.labels.unwrap_or_default())
    }

    /// The digest of an image or list, if the registry has it.
    pub(super) async fn digest(&self, image: &ImageRef) -> Result<Option<String>, EngineError> {
        match self.client.fetch_manifest_digest(&reference(image)?, &self.auth).await {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// What went wrong, and how long the registry asks to be left alone where it can't do what is
    /// asked. The client keeps no headers of answers, so that it is asked once more for them.
    async fn explain(&self, error: OciDistributionError) -> EngineError {
        let url = match &error {
            OciDistributionError::ServerError { url, .. }
            | OciDistributionError::RegistryError { url, .. } => url.clone(),
            _ => return explain(error),
        };
        match explain(error) {
            EngineError::Busy { reason, .. } => {
                EngineError::Busy { reason, pause: self.asked_pause(&url).await }
            }
            other => other,
        }
    }

    /// The seconds of a `Retry-After`; a date in its place is not understood.
    async fn asked_pause(&self, url: &str) -> Option<Duration> {
        let answer = self.plain.head(url).send().await.ok()?;
        let header = answer.headers().get(reqwest::header::RETRY_AFTER)?;
        Some(Duration::from_secs(header.to_str().ok()?.trim().parse().ok()?))
    }

    /// What a list says of an image.
    async fn entry(&self, image: &ImageRef) -> Result<ImageIndexEntry, EngineError> {
        let of_image = async |error| match self.explain(error).await {
            EngineError::Refused(reason) => EngineError::Refused(format!("{image}: {reason}")),
            other => other,
        };
        let reference = reference(image)?;
        let accepted = [IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE];
        let pulled = self.client.pull_manifest_raw(&reference, &self.auth, &accepted).await;
        let (manifest, digest) = match pulled {
            Ok(found) => found,
            Err(error) => return Err(of_image(error).await),
        };
        let config = self.client.pull_manifest_and_config(&reference, &self.auth).await;
        let (parsed, _, config) = match config {
            Ok(found) => found,
            Err(error) => return Err(of_image(error).await),
        };
        let platform: Platform = serde_json::from_str(&config)
            .map_err(|error| EngineError::Refused(format!("{image} tells no platform: {error}")))?;
        Ok(ImageIndexEntry {
            media_type: parsed.media_type.unwrap_or_else(|| OCI_IMAGE_MEDIA_TYPE.to_owned()),
            digest,
            size: manifest.len() as i64,
            platform: Some(platform),
            annotations: None,
            artifact_type: None,
        })
    }
}

/// Whether a registry on this machine is meant, which may speak in plain text.
pub(super) fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => registry,
    };
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

fn auth(credentials: Option<DockerCredentials>) -> Result<RegistryAuth, EngineError> {
    match credentials {
        None => Ok(RegistryAuth::Anonymous),
        Some(DockerCredentials { username: Some(username), password: Some(password), .. }) => {
            Ok(RegistryAuth::Basic(username, password))
        }
        Some(_) => Err(EngineError::Refused(
            "only the engine can use an identity token: log in with a password or an access token"
                .to_owned(),
        )),
    }
}

fn reference(image: &ImageRef) -> Result<Reference, EngineError> {
    let text = image.to_string();
    Reference::try_from(text).map_err(|error| EngineError::Refused(error.to_string()))
}

/// Whether a registry says that it does not have what is asked for.
fn is_missing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_)
        | OciDistributionError::ImageIndexParsingNoPlatformResolverError => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| {
                matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown)
            })
        }
        _ => false,
    }
}

fn explain(error: OciDistributionError) -> EngineError {
    match error {
        OciDistributionError::RequestError(error) => EngineError::Registry(with_causes(&error)),
        OciDistributionError::IoError(error) => EngineError::Registry(error.to_string()),
        OciDistributionError::ServerError { code: 429 | 500..=599, .. } => {
            EngineError::Busy { reason: with_causes(&error), pause: None }
        }
        OciDistributionError::ServerError { code: 401 | 403, .. }
        | OciDistributionError::UnauthorizedError { .. } => {
            EngineError::Denied(with_causes(&error))
        }
        OciDistributionError::RegistryError { ref envelope, .. } => {
            let says = |code| envelope.errors.iter().any(|error| error.code == code);
            let reason = with_causes(&error);
            if says(OciErrorCode::Toomanyrequests) {
                EngineError::Busy { reason, pause: None }
            } else if says(OciErrorCode::Denied) || says(OciErrorCode::Unauthorized) {
                EngineError::Denied(reason)
            } else {
                EngineError::Refused(reason)
            }
        }
        other => EngineError::Refused(with_causes(&other)),
    }
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
}
