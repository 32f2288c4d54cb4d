//! Operations of a container engine, and their requests and results.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::build_options::{BuildOptions, SquashOptions};
use super::engine_error::EngineError;
use crate::context::MeasuredContext;
use crate::image::{ImageRef, Platform};

/// Request to build one image.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// Reference that the image will get after the build.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests' engine asks for it"))]
    pub reference: &'a ImageRef,
    /// Build context with a Dockerfile.
    pub context: &'a MeasuredContext,
    /// Options of the build.
    pub options: &'a BuildOptions,
    /// Labels in addition to those of the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
}

/// Image as an engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
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
    /// Platform of the image; `None` if the engine does not report it.
    pub platform: Option<Platform>,
}

impl Inspected {
    /// Returns true if the lowest layers are exactly those of `base`.
    pub fn is_on(&self, base: &Self) -> bool {
        self.layers.starts_with(&base.layers)
    }

    /// Returns true if the image is for the operating system and the architecture of a platform, or
    /// its own are unknown.
    pub fn is_for(&self, platform: &Platform) -> bool {
        self.platform.as_ref().is_none_or(|own| {
            own.os() == platform.os() && own.architecture() == platform.architecture()
        })
    }
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
    /// A build has had no output for a while.
    Silence {
        /// Time since the last output.
        silence: Duration,
        /// Silence after which the build is given up.
        limit: Duration,
        /// Last line of the output, even if it is incomplete; empty if there was none.
        last: String,
    },
    /// Progress of a pull.
    Bytes {
        /// Number of bytes received.
        done: u64,
        /// Number of bytes to receive, as far as it is known; it grows while more layers begin.
        total: u64,
    },
}

/// Callback for the output of an engine's operation, while it runs.
pub type Sink<'a> = &'a mut (dyn FnMut(Output) + Send);

/// Container engine. Dropping the future of an operation cancels it.
pub trait Engine: Send + Sync + 'static {
    /// Returns true if the engine answers now.
    fn answers(&self) -> impl Future<Output = bool> + Send;

    /// Returns all images of the engine by reference, in one call.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn images(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<ImageRef, ImageInfo>, EngineError>> + Send;

    /// Returns the image that the engine has under a reference; `None` if it has none.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn image(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<Option<Inspected>, EngineError>> + Send;

    /// Pulls an image from its registry, for `platform` or the engine's own.
    ///
    /// # Errors
    /// When the image can't be pulled.
    fn pull(
        &self,
        reference: &ImageRef,
        platform: Option<&str>,
        sink: Sink<'_>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Builds an image without tagging it. Returns the image as the engine describes it.
    ///
    /// # Errors
    /// When the build fails, or reports success without evidence.
    fn build(
        &self,
        request: BuildRequest<'_>,
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
        how: &SquashOptions,
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

    /// Pushes the image with this id, which is tagged with `reference`, to the registry in the
    /// reference. Returns the digest that the engine reports; the caller confirms it.
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
