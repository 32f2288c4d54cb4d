//! What Kiln asks of a container engine, and nothing more.
//!
//! [`Engine`] is narrow on purpose: the runner is tested against a scripted one, and [`docker`]
//! is the one adapter to the real thing. An answer counts only with evidence: a build returns an
//! image that the engine, asked again, describes; a push returns the digest that the registry keeps.
//! A build gives its image no reference: that is for whoever has seen what it was made from.

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

/// Which builder of the engine does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// The first one, a container and a commit for each instruction.
    Classic,
    /// BuildKit.
    BuildKit,
    /// Podman's.
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

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// By whom.
    pub builder: Builder,
    /// Whether cached steps may be used.
    pub cache: bool,
    /// Whether the containers of failed steps are kept (the classic builder only).
    pub keep: bool,
    /// The network that instructions run in.
    pub network_mode: String,
    /// The platform to build for, if it is not the engine's own.
    pub platform: Option<String>,
    /// The values of build arguments.
    pub build_args: BTreeMap<String, String>,
    /// How what the image adds to its parent is made one layer, if it is.
    pub squash: Option<Squashing>,
    /// What instructions may use and images do not keep (BuildKit only).
    pub loan: Loan,
}

/// The argument by which builders date what they make.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Arguments that say how to reach the network, or when, and not what an image is: builders know
/// them without being told, in small letters, too.
const NO_PARTS: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", EPOCH];

/// Largest size of all build arguments in a request, in bytes. They are a part of its URL, of which the
/// library for HTTP takes 64 KiB; the rest is for labels, names and the other options.
const LARGEST_BUILD_ARGS: usize = 48 * 1024;

/// Why build arguments can't be sent to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    /// Bytes that they take.
    pub size: usize,
    /// Bytes that they may take.
    pub limit: usize,
    /// The name of the largest.
    pub largest: String,
}

impl BuildOptions {
    /// Refuses build arguments that fit in no request.
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

    /// Those of the options that an image is made of.
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

/// Bytes that a text takes in the query of a URL.
fn size_in_url(text: &str) -> usize {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*-._ ".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { 1 } else { "%00".len() }).sum()
}

/// One image to build.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The reference that it is meant for, and does not get yet.
    pub reference: &'a ImageRef,
    /// A tar archive with a Dockerfile.
    pub context: &'a Bytes,
    /// How it is built.
    pub options: &'a BuildOptions,
    /// Labels that it gets beside those of its Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
}

/// An image as an engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How much it takes, in bytes, if the engine tells.
    pub size: Option<u64>,
}

/// An image as an engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How much it takes, in bytes, if the engine tells.
    pub size: Option<u64>,
    /// The digests of its layers, the lowest first.
    pub layers: Arc<[String]>,
    /// When it was last given a reference, if the engine tells (Docker does).
    pub tagged: Option<String>,
}

impl Inspected {
    /// Whether its lowest layers are all those of `base`.
    pub fn is_on(&self, base: &Self) -> bool {
        self.layers.starts_with(&base.layers)
    }
}

/// How an image is squashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squashing {
    /// Whether the image that was squashed is removed.
    pub cleanup: bool,
    /// The folder to work in, if it is not one of the system's.
    pub tmp_dir: Option<PathBuf>,
}

/// What a build is lent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loan {
    /// Secrets, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// The sockets of ssh agents, by id.
    pub agents: BTreeMap<String, PathBuf>,
}

/// A part of what an engine says while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It begins an instruction.
    Step {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        total: usize,
        /// The instruction.
        instruction: String,
    },
    /// A line for the log.
    Line(String),
}

/// Takes what an engine says as it says it.
pub type Sink<'a> = &'a mut (dyn FnMut(Output) + Send);

/// Why the engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine answers.
    #[error("no engine answers at {endpoint}: {cause}")]
    Unreachable {
        /// What was tried.
        endpoint: String,
        /// What came of it.
        cause: String,
        /// What to do.
        cure: String,
    },
    /// The connection broke, or the engine's words made no sense.
    #[error("the connection to the engine failed: {0}")]
    Broken(String),
    /// Nothing came from the engine for too long.
    #[error("no word from the engine for {} s (--timeout)", .0.as_secs())]
    Silent(Duration),
    /// The registry can't be reached.
    #[error("the registry is out of reach: {0}")]
    Registry(String),
    /// A registry answers that it can't now: that it is asked too often, or has a fault.
    #[error("{reason}")]
    Busy {
        /// Its words.
        reason: String,
        /// How long it asks to be left alone, if it does.
        pause: Option<Duration>,
    },
    /// A registry does not allow it, however often it is asked.
    #[error("{0}")]
    Denied(String),
    /// The engine says no, or the build failed.
    #[error("{0}")]
    Refused(String),
    /// The engine claims success without showing for it.
    #[error("the engine reported no failure, but {0}")]
    NoEvidence(String),
    /// An image that others are made from is not the one that it has to be.
    #[error("{0}")]
    Moved(String),
    /// There is no way to ask for it.
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
    /// Whether somebody was out of reach, as opposed to having answered.
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

    /// Whether it is known to be of the kind that passes.
    pub fn is_passing(&self) -> bool {
        self.is_connection() || matches!(self, Self::Busy { .. })
    }

    /// Whether another try would come to the same.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Unaskable(_))
    }

    /// How long a registry asks to be left alone, if it does.
    pub fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Busy { pause, .. } => *pause,
            _ => None,
        }
    }
}

/// A container engine. Dropping a future of it gives up the work.
pub trait Engine: Send + Sync + 'static {
    /// Whether the engine answers now.
    fn answers(&self) -> impl Future<Output = bool> + Send;

    /// All images the engine has, by reference, in one call.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn images(&self)
    -> impl Future<Output = Result<BTreeMap<ImageRef, Known>, EngineError>> + Send;

    /// The image that the engine has under a reference, if it has one.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn image(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<Option<Inspected>, EngineError>> + Send;

    /// The digest by which the registry of `reference` knows it, if it does.
    ///
    /// # Errors
    /// When the registry can't be asked.
    fn digest(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// Fetches an image from its registry, for a platform if it is not the engine's own.
    ///
    /// # Errors
    /// When the image can't be had.
    fn pull(
        &self,
        reference: &ImageRef,
        platform: Option<&str>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Builds an image, which has no reference then. Returns what the engine has.
    ///
    /// # Errors
    /// When the build fails, or succeeds without evidence.
    fn build(
        &self,
        order: Order<'_>,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<Inspected, EngineError>> + Send;

    /// Makes one layer of what the image `built` adds to `parent`, or of all of it where it has no
    /// parent, and gives the result the `reference`. Returns what the engine has then.
    ///
    /// # Errors
    /// When it can't be squashed.
    fn squash(
        &self,
        built: Inspected,
        reference: &ImageRef,
        parent: Option<&Inspected>,
        how: &Squashing,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<Inspected, EngineError>> + Send;

    /// Gives the image with this id a reference, beside those that it has.
    ///
    /// # Errors
    /// When the engine does not have the image, or can't be asked.
    fn tag(
        &self,
        id: &str,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes the image with this id, as far as nobody has given it a reference. That it can't be
    /// removed is not told.
    fn discard(&self, id: &str) -> impl Future<Output = ()> + Send;

    /// Joins images that are in a registry in a manifest list there. Returns the list's digest.
    ///
    /// # Errors
    /// When the registry does not have an image, or does not take the list.
    fn push_list(
        &self,
        list: &ImageRef,
        images: &[ImageRef],
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Pushes the image with this id, which has the `reference`, to the registry that this names.
    /// Returns the digest it has there.
    ///
    /// # Errors
    /// When the push fails, or succeeds without evidence.
    fn push(
        &self,
        id: &str,
        reference: &ImageRef,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;
}
