//! Interface to container engines, limited to the operations that Kiln needs.
//!
//! [`Engine`] is small so that the runner can be tested against a scripted engine; [`docker`] is
//! the only real implementation. A success counts only with evidence: a build returns an image that
//! the engine describes when it is asked again, and a push returns the digest that the registry
//! stores. A build does not tag its image: the caller does, once it has checked what the image was
//! made from.

mod connection;
pub mod docker;
mod lines;
mod listener;
mod session;
pub mod squash;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::client_config::credentials::CredentialsError;
use crate::fingerprint::{BUILD_ARGUMENT, Parts, digest};
use crate::image::ImageRef;
use crate::registry;
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
    pub squash: Option<Squashing>,
    /// Secrets and ssh agents for the instructions, which the image does not keep (BuildKit only).
    pub loan: Loan,
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

/// Order to build one image.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Reference that the image will get after the build.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests' engine asks for it"))]
    pub reference: &'a ImageRef,
    /// Tar archive with a Dockerfile.
    pub context: &'a Bytes,
    /// Options of the build.
    pub options: &'a BuildOptions,
    /// Labels in addition to those of the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
}

/// Image as an engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Id of the image.
    pub id: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Size of the image, in bytes; `None` if the engine does not report it.
    pub size: Option<u64>,
}

/// Image as an engine describes it when it is inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Id of the image.
    pub id: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Size of the image, in bytes; `None` if the engine does not report it.
    pub size: Option<u64>,
    /// Digests of the layers, from the lowest.
    pub layers: Arc<[String]>,
    /// Time when it last got a reference; `None` if the engine does not report it (Docker does).
    pub tagged: Option<String>,
}

impl Inspected {
    /// Returns true if the lowest layers are exactly those of `base`.
    pub fn is_on(&self, base: &Self) -> bool {
        self.layers.starts_with(&base.layers)
    }
}

/// Settings for squashing an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squashing {
    /// True if the original image is removed.
    pub cleanup: bool,
    /// Folder for temporary files; `None` for the system's.
    pub tmp_dir: Option<PathBuf>,
}

/// Secrets and ssh agents that a build may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loan {
    /// Secrets, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of ssh agents, by id.
    pub agents: BTreeMap<String, PathBuf>,
}

/// Piece of the output of an engine's operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An instruction begins.
    Step {
        /// Number of the step, from 1.
        number: usize,
        /// Number of steps in the build.
        total: usize,
        /// Text of the instruction.
        instruction: String,
    },
    /// Line for the log.
    Line(String),
}

/// Callback for the output of an engine's operation, while it runs.
pub type Sink<'a> = &'a mut (dyn FnMut(Output) + Send);

/// Error of an engine's operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine answers.
    #[error("no engine answers at {endpoint}: {cause}")]
    Unreachable {
        /// Endpoint that was tried.
        endpoint: String,
        /// Cause of the failure.
        cause: String,
        /// Advice to the user.
        cure: String,
    },
    /// The connection broke, or the engine's answer was invalid.
    #[error("the connection to the engine failed: {0}")]
    Broken(String),
    /// The engine sent no data for this long.
    #[error("no word from the engine for {} s (--timeout)", .0.as_secs())]
    Silent(Duration),
    /// The registry can't be reached.
    #[error("the registry is out of reach: {0}")]
    Registry(String),
    /// The registry answers that it is temporarily unable: there are too many requests, or it has
    /// an internal error.
    #[error("{reason}")]
    Busy {
        /// Answer of the registry.
        reason: String,
        /// Pause that the registry asks for; `None` if it asks for none.
        pause: Option<Duration>,
    },
    /// The registry denies access; a retry does not help.
    #[error("{0}")]
    Denied(String),
    /// The engine refuses the operation, or the build failed.
    #[error("{0}")]
    Refused(String),
    /// The engine reports success without evidence for it.
    #[error("the engine reported no failure, but {0}")]
    NoEvidence(String),
    /// A needed image is not the one that it has to be.
    #[error("{0}")]
    Moved(String),
    /// The request can't be expressed.
    #[error("{0}")]
    Unaskable(String),
}

impl From<registry::Error> for EngineError {
    fn from(error: registry::Error) -> Self {
        match error.kind {
            registry::Kind::OutOfReach => Self::Registry(error.text),
            registry::Kind::Busy { pause } => Self::Busy { reason: error.text, pause },
            registry::Kind::Denied | registry::Kind::Unsafe => Self::Denied(error.text),
            registry::Kind::Missing | registry::Kind::WrongAnswer => Self::Refused(error.text),
        }
    }
}

impl From<CredentialsError> for EngineError {
    fn from(error: CredentialsError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl EngineError {
    /// Returns true if the engine or registry was not reachable, rather than having refused.
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) | Self::Silent(_) | Self::Registry(_) => {
                true
            }
            Self::Busy { .. }
            | Self::Denied(_)
            | Self::Refused(_)
            | Self::NoEvidence(_)
            | Self::Moved(_)
            | Self::Unaskable(_) => false,
        }
    }

    /// Returns true if the error is known to be temporary.
    pub fn is_passing(&self) -> bool {
        self.is_connection() || matches!(self, Self::Busy { .. })
    }

    /// Returns true if a retry would fail the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Unaskable(_))
    }

    /// Returns the pause that a registry asks for; `None` if it asks for none.
    pub fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Busy { pause, .. } => *pause,
            _ => None,
        }
    }
}

/// Container engine. Dropping the future of an operation cancels it.
pub trait Engine: Send + Sync + 'static {
    /// Returns true if the engine answers now.
    fn answers(&self) -> impl Future<Output = bool> + Send;

    /// Returns all images of the engine by reference, in one call.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn images(&self)
    -> impl Future<Output = Result<BTreeMap<ImageRef, Known>, EngineError>> + Send;

    /// Returns the image that the engine has under a reference; `None` if it has none.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn image(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<Option<Inspected>, EngineError>> + Send;

    /// Returns the digest of `reference` in its registry; `None` if the registry does not have it.
    ///
    /// # Errors
    /// When the registry can't be asked.
    fn digest(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// Pulls an image from its registry, for `platform` or the engine's own.
    ///
    /// # Errors
    /// When the image can't be pulled.
    fn pull(
        &self,
        reference: &ImageRef,
        platform: Option<&str>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Builds an image without tagging it. Returns the image as the engine describes it.
    ///
    /// # Errors
    /// When the build fails, or reports success without evidence.
    fn build(
        &self,
        order: Order<'_>,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<Inspected, EngineError>> + Send;

    /// Squashes the layers that the image `built` adds to `parent` into one, or all layers without
    /// a parent, and tags the result with `reference`. Returns the image that the engine has then.
    ///
    /// # Errors
    /// When the image can't be squashed.
    fn squash(
        &self,
        built: Inspected,
        reference: &ImageRef,
        parent: Option<&Inspected>,
        how: &Squashing,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<Inspected, EngineError>> + Send;

    /// Tags the image with this id with another reference.
    ///
    /// # Errors
    /// When the engine does not have the image, or can't be asked.
    fn tag(
        &self,
        id: &str,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes the image with this id, unless it has a reference. Errors are ignored.
    fn discard(&self, id: &str) -> impl Future<Output = ()> + Send;

    /// Joins images of a registry in a manifest list there. Returns the digest of the list.
    ///
    /// # Errors
    /// When the registry does not have one of the images, or refuses the list.
    fn push_list(
        &self,
        list: &ImageRef,
        images: &[ImageRef],
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Pushes the image with this id, which is tagged with `reference`, to the registry in the
    /// reference. Returns the digest in the registry.
    ///
    /// # Errors
    /// When the push fails, or reports success without evidence.
    fn push(
        &self,
        id: &str,
        reference: &ImageRef,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;
}
