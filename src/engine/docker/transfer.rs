//! Transfers of images between the engine and registries.

use std::collections::BTreeMap;
use std::convert;
use std::sync::LazyLock;

use bollard::auth::DockerCredentials;
use bollard::models::ProgressDetail;
use bollard::query_parameters::{CreateImageOptionsBuilder, PushImageOptionsBuilder};
use futures_util::StreamExt as _;
use regex::Regex;

use super::classify::{of_pull, of_push};
use super::docker_engine::DockerEngine;
use crate::engine::connection::records;
use crate::engine::{EngineError, Output, Sink};
use crate::image::{Digest, ImageRef};
use crate::secret::Secret;

/// Status line of a push that contains the image's digest in the registry.
static PUSHED_DIGEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"digest: (sha256:[0-9a-f]{64})").expect("a literal"));

/// Status of a layer that is received. Later, the engine reports the same layer's unpacking.
const DOWNLOADS: &str = "Downloading";

impl DockerEngine {
    /// Pulls an image, and inspects it.
    pub(super) async fn pull_image(
        &self,
        reference: &ImageRef,
        platform: Option<&str>,
        sink: Sink<'_>,
    ) -> Result<(), EngineError> {
        let options = CreateImageOptionsBuilder::default()
            .from_image(&reference.to_string())
            .platform(platform.unwrap_or_default())
            .build();
        let credentials = self.credentials_for_engine(reference).await?;
        let mut stream = records(&self.docker, convert::identity, move |docker| {
            docker.create_image(Some(options), None, credentials).boxed()
        });
        let mut layers = LayerBytes::default();
        // The image is inspected at the end, as evidence of the pull.
        while let Some(record) = self.next(&mut stream, true).await.map_err(of_pull)? {
            if let Some(message) = record.error_detail.and_then(|detail| detail.message) {
                return Err(of_pull(EngineError::Refused(message)));
            }
            let bytes = record.progress_detail.as_ref().and_then(layer_bytes);
            if let (Some(layer), Some(bytes), Some(DOWNLOADS)) =
                (record.id, bytes, record.status.as_deref())
            {
                sink(layers.advance(layer, bytes));
            }
        }
        self.known(&reference.to_string()).await.map(drop)
    }

    /// Pushes an image. Returns the digest that the engine reports.
    pub(super) async fn push_image(
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
        while let Some(record) = self.next(&mut stream, digest.is_some()).await.map_err(of_push)? {
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
        Ok(digest.to_string())
    }

    /// Returns the credentials for the registry of `reference` in the form for the engine.
    async fn credentials_for_engine(
        &self,
        reference: &ImageRef,
    ) -> Result<Option<DockerCredentials>, EngineError> {
        let registry = match reference.registry() {
            Some(registry) => registry.to_owned(),
            None => self.registry_config().await?.default.clone(),
        };
        let found = self.credential_files.look_up(&registry, reference.repository()).await?;
        let Some(found) = found else { return Ok(None) };
        let text = |secret: Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let set = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Some(DockerCredentials {
            username: set(found.user),
            password: set(text(found.password)),
            identitytoken: found.identity_token.map(text),
            registrytoken: found.registry_token.map(text),
            serveraddress: Some(registry),
            ..DockerCredentials::default()
        }))
    }
}

/// Bytes of the layers that a pull moves: for each layer those that were moved, and all of it.
#[derive(Debug, Default)]
struct LayerBytes(BTreeMap<String, (u64, u64)>);

impl LayerBytes {
    /// Records the bytes of one layer. Returns the sums of all layers.
    fn advance(&mut self, layer: String, bytes: (u64, u64)) -> Output {
        self.0.insert(layer, bytes);
        let (done, total) =
            self.0.values().fold((0, 0), |(done, total), layer| (done + layer.0, total + layer.1));
        Output::Bytes { done, total }
    }
}

/// Returns the bytes of a layer that were moved, and all of it; `None` if the record does not say
/// the size.
fn layer_bytes(progress: &ProgressDetail) -> Option<(u64, u64)> {
    let total = u64::try_from(progress.total?).ok().filter(|total| *total > 0)?;
    let done = progress.current.and_then(|current| u64::try_from(current).ok()).unwrap_or(0);
    Some((done.min(total), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_pull_are_those_of_all_layers() {
        let mut layers = LayerBytes::default();
        let records = [
            ("a", Some(10), Some(100), Some((10, 100))),
            ("b", Some(5), Some(50), Some((15, 150))),
            ("a", Some(120), Some(100), Some((105, 150))),
            ("b", None, Some(50), Some((100, 150))),
            ("c", Some(5), None, None),
            ("c", Some(5), Some(0), None),
            ("c", Some(5), Some(-1), None),
            ("c", Some(-5), Some(7), Some((100, 157))),
        ];
        for (layer, current, total, expected) in records {
            let found = layer_bytes(&ProgressDetail { current, total });
            let found = found.map(|bytes| layers.advance(layer.to_owned(), bytes));
            let expected = expected.map(|(done, total)| Output::Bytes { done, total });
            assert_eq!(found, expected, "{layer} {current:?} {total:?}");
        }
    }
}
