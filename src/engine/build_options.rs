//! Options of a build, and the parts that they add to the fingerprint of an image.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::fingerprint::{BUILD_ARGUMENT, Parts, digest};
use crate::secret::Secret;

/// Builder of the engine that runs the builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// The original builder, with a container and a commit for each instruction.
    Classic,
    /// BuildKit.
    BuildKit,
    /// The builder of Podman.
    Buildah,
}

impl Builder {
    /// Returns true if it builds every stage of a Dockerfile, and not only those that the last one
    /// needs.
    pub fn builds_all_stages(self) -> bool {
        self == Self::Classic
    }
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "the classic builder",
            Self::BuildKit => "BuildKit",
            Self::Buildah => "Buildah",
        })
    }
}

/// Options of an image's build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// Builder to use.
    pub builder: Builder,
    /// True if cached steps may be used.
    pub cache: bool,
    /// True if the containers of failed steps are kept (the classic builder only).
    pub keep: bool,
    /// Network that instructions run in.
    pub network_mode: String,
    /// Platform to build for; `None` for the engine's own.
    pub platform: Option<String>,
    /// Values of the build arguments, by name.
    pub build_args: BTreeMap<String, String>,
    /// Settings for squashing the layers that the image adds to its parent into one; `None` to keep
    /// them.
    pub squash: Option<SquashOptions>,
    /// Secrets and ssh agents for the instructions, which the image does not keep (BuildKit only).
    pub secrets: BuildSecrets,
}

/// Build argument from which builders take the timestamps of their results.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Build arguments for access to the network, or for timestamps, which are no parts of an image.
/// Builders predefine them, in lower case, too.
const NO_PARTS: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", EPOCH];

/// Largest size of all build arguments in a request, in bytes. They are a part of its URL, for
/// which the HTTP library accepts 64 KiB; the rest is for labels, names and the other options.
const LARGEST_BUILD_ARGS: usize = 48 * 1024;

/// Build arguments that are too large for a request to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    /// Size of all build arguments, in bytes.
    pub size: usize,
    /// Largest allowed size, in bytes.
    pub limit: usize,
    /// Name of the largest build argument.
    pub largest: String,
}

impl BuildOptions {
    /// Checks that the build arguments fit into a request.
    ///
    /// # Errors
    /// When they are too large.
    pub fn refuse_oversized(&self) -> Result<(), Oversized> {
        let size = size_in_url(&serde_json::to_string(&self.build_args).expect("plain JSON"));
        if size <= LARGEST_BUILD_ARGS {
            return Ok(());
        }
        let largest = self.build_args.iter().max_by_key(|(name, value)| name.len() + value.len());
        let largest = largest.map(|(name, _)| name.clone()).unwrap_or_default();
        Err(Oversized { size, limit: LARGEST_BUILD_ARGS, largest })
    }

    /// Returns the parts of a fingerprint for the options that change the image.
    pub fn parts(&self) -> Parts {
        let mut parts = Parts::new();
        if let Some(platform) = &self.platform {
            parts.insert("platform".to_owned(), platform.clone());
        }
        if self.squash.is_some() {
            parts.insert("squash".to_owned(), "yes".to_owned());
        }
        let is_part = |name: &str| !NO_PARTS.iter().any(|other| name.eq_ignore_ascii_case(other));
        for (name, value) in self.build_args.iter().filter(|(name, _)| is_part(name)) {
            parts.insert(format!("{BUILD_ARGUMENT}{name}"), digest(value.as_bytes()));
        }
        parts
    }
}

/// Returns the number of bytes of a text in the query of a URL.
fn size_in_url(text: &str) -> usize {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*-._ ".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { 1 } else { "%00".len() }).sum()
}

/// Settings for squashing an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SquashOptions {
    /// True if the original image is removed.
    pub cleanup: bool,
    /// Folder for temporary files; `None` for the system's.
    pub tmp_dir: Option<PathBuf>,
}

/// Secrets and ssh agents that a build may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildSecrets {
    /// Secrets, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of ssh agents, by id.
    pub agents: BTreeMap<String, PathBuf>,
}

#[cfg(test)]
impl BuildOptions {
    /// Returns options of the classic builder that change nothing, for tests.
    pub fn plain() -> Self {
        Self {
            builder: Builder::Classic,
            cache: true,
            keep: false,
            network_mode: "host".to_owned(),
            platform: None,
            build_args: BTreeMap::new(),
            squash: None,
            secrets: BuildSecrets::default(),
        }
    }
}
