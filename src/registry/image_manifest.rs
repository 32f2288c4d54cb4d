//! Manifests, configurations and manifest lists in the formats of registries. Everything from them
//! that is copied into a list or a label is validated here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::Digest;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Value of `Accept` for manifests and manifest lists of either format.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Longest part of a platform, in bytes.
const MOST_OF_PART: usize = 128;

/// Manifest of an image, or a manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) digest: Digest,
    media_type: String,
    size: usize,
    /// Digest of the image's configuration; `None` for a manifest list.
    pub(super) config: Option<Digest>,
}

impl Manifest {
    /// Parses a manifest that was served as `media_type`.
    ///
    /// # Errors
    /// Returns the reason in words that continue "the manifest".
    pub(super) fn read(digest: Digest, media_type: &str, content: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Read {
            media_type: Option<String>,
            config: Option<Config>,
        }
        #[derive(Deserialize)]
        struct Config {
            digest: String,
        }
        let read: Read =
            serde_json::from_slice(content).map_err(|error| format!("can't be parsed: {error}"))?;
        let media_type = read.media_type.as_deref().unwrap_or(media_type);
        let is_list = [DOCKER_LIST, OCI_INDEX].contains(&media_type);
        let config = read.config.filter(|_| !is_list);
        let config = config.map(|config| config.digest.parse()).transpose();
        let config = config
            .map_err(|error| format!("names a configuration that can't be fetched: {error}"))?;
        // A manifest list may contain only these two formats.
        let media_type = if media_type == DOCKER_MANIFEST { DOCKER_MANIFEST } else { OCI_MANIFEST };
        Ok(Self { digest, media_type: media_type.to_owned(), size: content.len(), config })
    }
}

/// Image of a registry, with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub(super) manifest: Manifest,
    pub(super) config: Vec<u8>,
}

/// Platform of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture, as Go names it.
    pub architecture: String,
    /// Operating system, as Go names it.
    pub os: String,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
    os_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl Platform {
    fn parts(&self) -> impl Iterator<Item = &String> {
        let all = [&self.architecture, &self.os].into_iter();
        all.chain(&self.os_version).chain(self.os_features.iter().flatten()).chain(&self.variant)
    }
}

fn is_part_of_platform(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= MOST_OF_PART && text.bytes().all(is_part)
}

/// Entry of a manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListEntry {
    media_type: String,
    digest: String,
    size: usize,
    platform: Platform,
}

impl Image {
    /// Returns the digest of the manifest.
    pub(super) fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// Returns the labels of the image; empty if its configuration is not one of an image.
    pub fn labels(&self) -> BTreeMap<String, String> {
        #[derive(Default, Deserialize)]
        struct Read {
            #[serde(default)]
            config: Option<Config>,
        }
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "Labels")]
            labels: Option<BTreeMap<String, String>>,
        }
        let read: Read = serde_json::from_slice(&self.config).unwrap_or_default();
        read.config.and_then(|config| config.labels).unwrap_or_default()
    }

    /// Returns the entry for the image in a manifest list.
    ///
    /// # Errors
    /// When its configuration names no valid platform.
    pub fn list_entry(&self) -> Result<ListEntry, String> {
        let platform: Platform = serde_json::from_slice(&self.config)
            .map_err(|error| format!("its configuration names no platform: {error}"))?;
        let is_named = !platform.architecture.is_empty() && !platform.os.is_empty();
        if !is_named || !platform.parts().all(|part| is_part_of_platform(part)) {
            return Err("its configuration names an invalid platform".to_owned());
        }
        let Manifest { digest, media_type, size, .. } = &self.manifest;
        let (media_type, digest) = (media_type.clone(), digest.to_string());
        Ok(ListEntry { media_type, digest, size: *size, platform })
    }
}

/// Creates a manifest list. Returns its media type and its content.
pub(super) fn list(entries: &[ListEntry]) -> (&'static str, Vec<u8>) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        schema_version: u8,
        media_type: &'static str,
        manifests: &'a [ListEntry],
    }
    let is_docker = entries.iter().any(|entry| entry.media_type == DOCKER_MANIFEST);
    let media_type = if is_docker { DOCKER_LIST } else { OCI_INDEX };
    let list = List { schema_version: 2, media_type, manifests: entries };
    (media_type, serde_json::to_vec(&list).expect("a list is JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(media_type: &str, content: &str) -> Result<Manifest, String> {
        Manifest::read(Digest::of(content.as_bytes()), media_type, content.as_bytes())
    }

    fn image(config: &str) -> Image {
        let manifest = read(DOCKER_MANIFEST, "{}").unwrap();
        Image { manifest, config: config.as_bytes().to_vec() }
    }

    #[test]
    fn lists_have_no_configuration() {
        let digest = Digest::of(b"");
        let config = format!(r#"{{"config":{{"digest":"{digest}"}}}}"#);
        for media_type in [DOCKER_MANIFEST, OCI_MANIFEST, ""] {
            assert_eq!(read(media_type, &config).unwrap().config, Some(digest.clone()));
        }
        for media_type in [DOCKER_LIST, OCI_INDEX] {
            assert_eq!(read(media_type, &config).unwrap().config, None);
        }
        assert_eq!(read(OCI_INDEX, r#"{"manifests":[]}"#).unwrap().config, None);
    }

    #[test]
    fn manifest_that_names_no_digest_is_refused() {
        for content in [
            "",
            "[]",
            r#"{"config":{"digest":"sha256:1"}}"#,
            r#"{"config":{"digest":"../../../secret"}}"#,
            r#"{"config":{}}"#,
        ] {
            assert!(read(OCI_MANIFEST, content).is_err(), "{content}");
        }
    }

    #[test]
    fn labels_are_those_of_the_configuration() {
        let found = image(r#"{"config":{"Labels":{"a":"b"}}}"#).labels();
        assert_eq!(found, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        for config in ["", "{}", r#"{"config":null}"#, r#"{"config":{"Labels":null}}"#, "[3]"] {
            assert!(image(config).labels().is_empty(), "{config}");
        }
    }

    #[test]
    fn list_names_each_platform() {
        let entry = image(r#"{"architecture":"arm64","os":"linux","variant":"v8","x":1}"#);
        let (media_type, content) = list(&[entry.list_entry().unwrap()]);
        assert_eq!(media_type, DOCKER_LIST);
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[{{"mediaType":"{DOCKER_MANIFEST}","digest":"{}","size":2,"platform":{{"architecture":"arm64","os":"linux","variant":"v8"}}}}]}}"#,
            Digest::of(b"{}")
        );
        assert_eq!(String::from_utf8(content).unwrap(), expected);
        for config in [
            "{}",
            r#"{"architecture":"","os":"linux"}"#,
            r#"{"architecture":"a\nb","os":"linux"}"#,
            r#"{"architecture":"amd64","os":"linux","os.version":"1 \u001b[2J"}"#,
            r#"{"architecture":"amd64","os":"linux","os.features":["a/b"]}"#,
        ] {
            assert!(image(config).list_entry().is_err(), "{config}");
        }
    }
}
