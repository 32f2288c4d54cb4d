//! Workers, each for one task: a pull, a fetch, a build or a push. A worker sends events and
//! returns its result; workers share no state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::BuildInput;
use super::evidence::{Origins, RequiredImage};
use super::patience::{FIRST_PAUSE, Patience, pause_after};
use crate::engine::{BuildOptions, BuildRequest, Engine, EngineError, Inspected, Output};
use crate::event::{Event, Outcome, Pushed};
use crate::files::private_folder;
use crate::fingerprint::{Fingerprinted, LABEL, Parts};
use crate::image::{ImageName, ImageRef};
use crate::source::{self, FetchError, Fetcher, ImageSources};
use crate::tree::TreeFile;

/// Failure of a worker.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) text: String,
    /// True if the engine or a registry was not reachable.
    pub(super) out_of_reach: bool,
}

impl Failure {
    pub(super) fn new(text: String) -> Self {
        Self { text, out_of_reach: false }
    }

    /// Returns the outcome of the failure: a connection error if something was not reachable,
    /// otherwise one of this `kind`.
    pub(super) fn outcome(self, kind: fn(String) -> Outcome) -> Outcome {
        if self.out_of_reach { Outcome::ConnectionError(self.text) } else { kind(self.text) }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { text: error.to_string(), out_of_reach: error.is_connection() }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::new(error.to_string())
    }
}

/// Packed build context, with the parts of the fingerprint that it contains and the build options.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) context: Bytes,
    pub(super) parts: Parts,
    pub(super) options: Arc<BuildOptions>,
}

impl Packed {
    /// Returns the fingerprint of the image made from this context; `parts` are those of the images
    /// it needs.
    fn fingerprinted(&self, mut parts: Parts) -> Fingerprinted {
        parts.extend(self.parts.clone());
        parts.extend(self.options.parts());
        Fingerprinted::of(parts)
    }
}

/// Input of a build.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Nothing has to be fetched: the context is packed when the build starts.
    Unpacked(BuildInput),
    /// The sources were fetched, and the context is packed with them.
    Packed(Packed),
}

impl Input {
    /// Returns the build options.
    pub(super) fn options(&self) -> &BuildOptions {
        match self {
            Self::Unpacked(input) => &input.options,
            Self::Packed(packed) => &packed.options,
        }
    }
}

/// Result of a worker.
#[derive(Debug, Clone)]
pub(super) enum TaskOutput {
    /// The context is ready for a build.
    Packed(Packed),
    /// The engine has the image.
    Image {
        image: Inspected,
        /// Fingerprint in the image's label; `None` if not all of its parts are known.
        fingerprint: Option<String>,
        /// Duration of the successful try.
        took: Duration,
    },
    /// The images were pushed to registries.
    Pushed(Vec<Pushed>),
    /// The work has no result to report.
    Nothing,
}

pub(super) type TaskResult = Result<TaskOutput, Failure>;

/// Pulls an external image. If the pull fails, an image that the engine already has is used, with a
/// warning.
pub(super) async fn pull<E: Engine>(
    engine: Arc<E>,
    reference: ImageRef,
    platform: Option<String>,
    patience: Patience,
    send: UnboundedSender<Event>,
) -> TaskResult {
    let tell = |pause: Duration, error: &EngineError| {
        let seconds = pause.as_secs_f64();
        let text = format!("{reference} could not be pulled, retrying in {seconds:.1}s: {error}");
        let _ = send.send(Event::Warning(text));
    };
    let pulled = patience.bear(|| engine.pull(&reference, platform.as_deref()), tell).await;
    let Err(error) = pulled else { return Ok(TaskOutput::Nothing) };
    if engine.image(&reference).await?.is_some() {
        let text = format!("{reference} can't be pulled, the engine's own is used: {error}");
        let _ = send.send(Event::Warning(text));
        return Ok(TaskOutput::Nothing);
    }
    let text = format!("its base {reference} can't be pulled: {error}");
    Err(Failure { text, out_of_reach: error.is_connection() })
}

/// Worker for one image. Errors of sending events are ignored: the dispatcher may have stopped
/// receiving.
pub(super) struct Worker<E> {
    pub(super) engine: Arc<E>,
    pub(super) fetcher: Arc<dyn Fetcher>,
    pub(super) name: ImageName,
    pub(super) reference: ImageRef,
    pub(super) patience: Patience,
    pub(super) send: UnboundedSender<Event>,
}

impl<E: Engine> Worker<E> {
    pub(super) async fn build(self, input: Input, needs: Vec<RequiredImage>) -> TaskResult {
        self.tell(Event::BuildStarted { name: self.name.clone(), attempt: 1 });
        let packed = match input {
            Input::Unpacked(input) => self.pack(input).await?,
            Input::Packed(packed) => packed,
        };
        for attempt in 1.. {
            if attempt > 1 {
                self.tell(Event::BuildStarted { name: self.name.clone(), attempt });
            }
            let began = Instant::now();
            let tried = self.build_once(&packed, &needs).await;
            let took = began.elapsed();
            if let Some(built) = self.settled(attempt, tried).await {
                let (image, fingerprint) = built?;
                return Ok(TaskOutput::Image { image, fingerprint, took });
            }
        }
        unreachable!("the last try settles it")
    }

    /// Builds the image, and tags it once it is confirmed to be made from what its fingerprint
    /// says. Returns the image in the engine and its fingerprint; `None` instead of the fingerprint
    /// if not all parts of the image are known. An image that can't be confirmed or tagged is
    /// discarded.
    async fn build_once(
        &self,
        packed: &Packed,
        needs: &[RequiredImage],
    ) -> Result<(Inspected, Option<String>), EngineError> {
        let origins = Origins::of(&*self.engine, needs).await?;
        let printed = origins.parts().map(|parts| packed.fingerprinted(parts));
        let label = printed.as_ref().map(|printed| (LABEL.to_owned(), printed.label()));
        let labels = label.into_iter().collect();
        let Packed { context, options, .. } = packed;
        let order = BuildRequest { reference: &self.reference, context, options, labels: &labels };
        let built = self.engine.build(order, &mut |output| self.tell_output(output)).await?;
        let id = built.id.clone();
        let named = match origins.confirm(&*self.engine, &built).await {
            Ok(()) => self.name(built, origins.parent(), options).await,
            Err(error) => Err(error),
        };
        match named {
            Ok(image) => Ok((image, printed.map(|printed| printed.fingerprint.to_string()))),
            Err(error) => {
                self.engine.discard(&id).await;
                Err(error)
            }
        }
    }

    /// Tags the built image, or squashes it and tags the result if the options say so.
    async fn name(
        &self,
        built: Inspected,
        parent: Option<&Inspected>,
        options: &BuildOptions,
    ) -> Result<Inspected, EngineError> {
        let Some(how) = &options.squash else {
            self.engine.tag(&built.id, &self.reference).await?;
            return Ok(built);
        };
        let mut sink = |output| self.tell_output(output);
        self.engine.squash(built, &self.reference, parent, how, &mut sink).await
    }

    /// Pushes the image with this id to the registry in its reference, and then to the `others`.
    pub(super) async fn push(self, id: String, others: Vec<String>) -> TaskResult {
        let mut pushed = Vec::new();
        for reference in self.reference.and_in(&others) {
            let digest = self.push_as(&id, &reference).await?;
            pushed.push(Pushed { reference, digest });
        }
        Ok(TaskOutput::Pushed(pushed))
    }

    async fn push_as(&self, id: &str, reference: &ImageRef) -> Result<String, Failure> {
        for attempt in 1.. {
            let tried = self.push_once(id, reference).await;
            if let Some(digest) = self.settled(attempt, tried).await {
                return digest;
            }
        }
        unreachable!("the last try settles it")
    }

    async fn push_once(&self, id: &str, reference: &ImageRef) -> Result<String, EngineError> {
        if *reference != self.reference {
            self.engine.tag(id, reference).await?;
        }
        let mut sink = |output| self.tell_output(output);
        self.engine.push(id, reference, &mut sink).await
    }

    /// Joins `images` in a manifest list in the registry of its reference, and in the `others`.
    pub(super) async fn push_list(
        self,
        list: ImageRef,
        images: Vec<ImageRef>,
        others: Vec<String>,
    ) -> TaskResult {
        let mut pushed = Vec::new();
        for reference in list.and_in(&others) {
            let images: Vec<ImageRef> = match reference.registry() {
                Some(registry) => images.iter().map(|image| image.in_registry(registry)).collect(),
                None => images.clone(),
            };
            let digest = self.push_list_as(&reference, &images).await?;
            pushed.push(Pushed { reference, digest });
        }
        Ok(TaskOutput::Pushed(pushed))
    }

    async fn push_list_as(&self, list: &ImageRef, images: &[ImageRef]) -> Result<String, Failure> {
        for attempt in 1.. {
            let tried = self.engine.push_list(list, images).await;
            if let Some(digest) = self.settled(attempt, tried).await {
                return digest.map_err(|failure| Failure {
                    text: format!("the manifest list {list}: {}", failure.text),
                    ..failure
                });
            }
        }
        unreachable!("the last try settles it")
    }

    /// Returns the final result of a try: a success, or a failure that can't or must not be
    /// retried. Otherwise waits and returns `None` for the next try.
    async fn settled<T>(
        &self,
        attempt: usize,
        tried: Result<T, EngineError>,
    ) -> Option<Result<T, Failure>> {
        match tried {
            Ok(done) => Some(Ok(done)),
            Err(error) if error.is_final() || attempt > self.patience.retries => {
                Some(Err(error.into()))
            }
            Err(error) => {
                self.pause(self.patience.pause(attempt, &error), &error.to_string()).await;
                if error.is_connection() {
                    self.await_engine().await;
                }
                None
            }
        }
    }

    /// Waits until the engine answers, for at most the longest wait of the retry limits.
    async fn await_engine(&self) {
        let patient = async {
            while !self.engine.answers().await {
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(self.patience.longest, patient).await;
    }

    /// Fetches the sources and packs the context with them.
    pub(super) async fn pack(&self, input: BuildInput) -> Result<Packed, Failure> {
        let BuildInput { mut context, sources, options } = input;
        // Keeps the fetched files until the archive is packed.
        let mut folder = None;
        let mut of_sources = Parts::new();
        let of_tree = context.clone();
        if let Some(sources) = sources {
            let fetched = private_folder("kiln-sources-")
                .map_err(|error| Failure::new(format!("no temporary folder: {error}")))?;
            let source::Fetched { files, parts } = self.fetch(&sources, fetched.path()).await?;
            for (path, file) in files {
                context.add(path, TreeFile::on_disk(file));
            }
            of_sources = parts;
            folder = Some(fetched);
        }
        let packed = tokio::task::spawn_blocking(move || {
            Ok::<_, std::io::Error>((context.pack(Vec::new())?, of_tree.parts()?))
        });
        let packed = packed.await;
        drop(folder);
        match packed {
            Ok(Ok((bytes, mut parts))) => {
                parts.extend(of_sources);
                Ok(Packed { context: Bytes::from(bytes), parts, options })
            }
            Ok(Err(error)) => Err(Failure::new(format!("its context can't be packed: {error}"))),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }

    pub(super) async fn fetch(
        &self,
        sources: &ImageSources,
        folder: &Path,
    ) -> Result<source::Fetched, FetchError> {
        for attempt in 1.. {
            match self.fetcher.fetch(&self.name, sources, folder).await {
                Err(error) if error.transient && attempt <= self.patience.retries => {
                    self.pause(pause_after(attempt), &error.to_string()).await;
                }
                result => return result,
            }
        }
        unreachable!("the last try returns")
    }

    /// Sends the retry event and waits before the next try.
    async fn pause(&self, pause: Duration, error: &str) {
        let (name, error) = (self.name.clone(), error.to_owned());
        self.tell(Event::Retrying { name, error, pause });
        tokio::time::sleep(pause).await;
    }

    fn tell_output(&self, output: Output) {
        let name = self.name.clone();
        self.tell(match output {
            Output::Step { number, total, instruction } => {
                Event::Step { name, number, total, instruction }
            }
            Output::Line(line) => Event::Log { name, line },
        });
    }

    fn tell(&self, event: Event) {
        let _ = self.send.send(event);
    }
}
