//! Workers, each for one task: a fetch, a build or a push. A worker sends events and
//! returns its result; workers share no state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::engine_outcome::outcome;
use super::evidence::{Origins, RequiredImage};
use super::run_input::BuildInput;
use crate::context::MeasuredContext;
use crate::engine::{BuildOptions, BuildRequest, Engine, EngineError, Inspected, Output};
use crate::event::{Event, Outcome, Pushed, Transfer};
use crate::files::{TemporaryFolder, private_folder};
use crate::fingerprint::{FingerprintedParts, LABEL, Parts};
use crate::image::{Destinations, ImageName, ImageRef};
use crate::registry::{ImageRegistry, PushListError};
use crate::retry::{FIRST_PAUSE, RetryPolicy};
use crate::source::{self, FetchError, FetchedFile, Fetcher, ImageSources};
use crate::tree::TreeFile;

/// Measured build context, with the parts of the fingerprint that it contains and the build options.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) context: MeasuredContext,
    pub(super) parts: Parts,
    pub(super) options: Arc<BuildOptions>,
    /// Folder with the fetched files of the context, which is removed after the build.
    pub(super) _fetched: Option<Arc<TemporaryFolder>>,
}

impl Packed {
    /// Returns the fingerprint of the image made from this context; `parts` are those of the images
    /// it needs.
    fn fingerprinted(&self, mut parts: Parts) -> FingerprintedParts {
        parts.extend(self.parts.clone());
        parts.extend(self.options.parts());
        FingerprintedParts::of(parts)
    }
}

/// Input of a build.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Nothing has to be fetched: the context is measured when the build starts.
    Unpacked(BuildInput),
    /// The sources were fetched, and the context is measured with them.
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

/// Result of a task: its output, or the outcome of the image that it was for.
pub(super) type TaskResult = Result<TaskOutput, Outcome>;

/// Worker for one image. Errors of sending events are ignored: the dispatcher may have stopped
/// receiving.
pub(super) struct Worker<E> {
    pub(super) engine: Arc<E>,
    pub(super) registry: Arc<dyn ImageRegistry>,
    pub(super) fetcher: Arc<dyn Fetcher>,
    pub(super) name: ImageName,
    pub(super) reference: ImageRef,
    pub(super) retry: RetryPolicy,
    pub(super) send: UnboundedSender<Event>,
}

impl<E: Engine> Worker<E> {
    pub(super) async fn build(self, input: Input, needs: Vec<RequiredImage>) -> TaskResult {
        self.emit(Event::BuildStarted { name: self.name.clone(), attempt: 1 });
        let packed = match input {
            Input::Unpacked(input) => self.pack(input).await?,
            Input::Packed(packed) => packed,
        };
        let built = self.retry(|attempt| self.build_attempt(attempt, &packed, &needs)).await;
        built.map_err(|error| outcome(&error, Outcome::Error, ""))
    }

    /// Retries an operation of the engine. Before each retry waits until the engine answers.
    async fn retry<T, F: Future<Output = Result<T, EngineError>>>(
        &self,
        operation: impl Fn(usize) -> F,
    ) -> Result<T, EngineError> {
        let attempt = |attempt| {
            let operation = operation(attempt);
            async move {
                if attempt > 1 {
                    self.await_engine().await;
                }
                operation.await
            }
        };
        self.retry.run(attempt, |pause, error| self.emit_retry(pause, error)).await
    }

    async fn build_attempt(
        &self,
        attempt: usize,
        packed: &Packed,
        needs: &[RequiredImage],
    ) -> Result<TaskOutput, EngineError> {
        if attempt > 1 {
            self.emit(Event::BuildStarted { name: self.name.clone(), attempt });
        }
        let started = Instant::now();
        let (image, fingerprint) = self.build_once(packed, needs).await?;
        Ok(TaskOutput::Image { image, fingerprint, took: started.elapsed() })
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
        let origins = Origins::inspect(&*self.engine, &*self.registry, needs).await?;
        let printed = origins.parts().map(|parts| packed.fingerprinted(parts));
        let label = printed.as_ref().map(|printed| (LABEL.to_owned(), printed.label()));
        let labels = label.into_iter().collect();
        let Packed { context, options, .. } = packed;
        let request =
            BuildRequest { reference: &self.reference, context, options, labels: &labels };
        let built = self.engine.build(request, &mut |output| self.emit_output(output)).await?;
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
        let mut sink = |output| self.emit_output(output);
        self.engine.squash(built, &self.reference, parent, how, &mut sink).await
    }

    /// Pushes the image with this id to the registry in its reference, and to the other ones.
    pub(super) async fn push(self, id: String, destinations: Destinations) -> TaskResult {
        let mut pushed = Vec::new();
        for reference in destinations.of(&self.reference) {
            let digest = self.retry(|_| self.push_once(&id, &reference)).await;
            let digest = digest.map_err(|error| outcome(&error, Outcome::PushError, ""))?;
            pushed.push(Pushed { reference, digest });
        }
        Ok(TaskOutput::Pushed(pushed))
    }

    async fn push_once(&self, id: &str, reference: &ImageRef) -> Result<String, EngineError> {
        if *reference != self.reference {
            self.engine.tag(id, reference).await?;
        }
        let mut sink = |output| self.emit_output(output);
        let digest = match self.engine.push(id, reference, &mut sink).await {
            Err(error) if error.is_refused_push() => {
                return self.already_pushed(id, reference, error).await;
            }
            digest => digest?,
        };
        let lines = self.registry.confirm_pushed(reference, &digest).await?;
        lines.into_iter().for_each(|line| self.emit_output(Output::Line(line)));
        Ok(digest)
    }

    /// Returns the digest of the image with this id in the registry, which has `refused` its push.
    ///
    /// # Errors
    /// Returns the refusal if the registry does not have the image, or can't be asked.
    async fn already_pushed(
        &self,
        id: &str,
        reference: &ImageRef,
        refused: EngineError,
    ) -> Result<String, EngineError> {
        let Ok(Some(digest)) = self.registry.digest_of_id(reference, id).await else {
            return Err(refused);
        };
        self.emit_output(Output::Line(format!(
            "the push was refused, but the registry has this very image as {reference}: {refused}"
        )));
        Ok(digest)
    }

    /// Joins `images` in a manifest list in each registry.
    pub(super) async fn push_list(
        self,
        list: ImageRef,
        images: Vec<ImageRef>,
        destinations: Destinations,
    ) -> TaskResult {
        let images: Vec<Vec<ImageRef>> =
            images.iter().map(|image| destinations.of(image)).collect();
        let mut pushed = Vec::new();
        for (place, reference) in destinations.of(&list).into_iter().enumerate() {
            let images: Vec<ImageRef> = images.iter().map(|image| image[place].clone()).collect();
            let prefix = format!("the manifest list {reference}: ");
            let digest = self.retry(|_| self.push_list_once(&reference, &images)).await;
            let digest = digest.map_err(|error| outcome(&error, Outcome::PushError, &prefix))?;
            pushed.push(Pushed { reference, digest });
        }
        Ok(TaskOutput::Pushed(pushed))
    }

    async fn push_list_once(
        &self,
        list: &ImageRef,
        images: &[ImageRef],
    ) -> Result<String, EngineError> {
        self.registry.push_list(list, images).await.map_err(|error| match error {
            PushListError::Refused(error) => error.into(),
            PushListError::NotServed(error) => error.into(),
        })
    }

    /// Waits until the engine answers, for at most the longest pause of the retry policy.
    async fn await_engine(&self) {
        let answers = async {
            while !self.engine.answers().await {
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(self.retry.max_pause, answers).await;
    }

    /// Fetches the sources and measures the context with them.
    pub(super) async fn pack(&self, input: BuildInput) -> Result<Packed, Outcome> {
        let BuildInput { mut context, sources, options } = input;
        let mut folder = None;
        let mut of_sources = Parts::new();
        if let Some(sources) = sources {
            let fetched = private_folder("kiln-sources-")
                .map_err(|error| Outcome::Error(format!("no temporary folder: {error}")))?;
            let source::Fetched { files, parts } = self
                .fetch(&sources, fetched.path())
                .await
                .map_err(|error| Outcome::Error(error.to_string()))?;
            for FetchedFile { path, file, digest } in files {
                context.add_fetched(path, TreeFile::on_disk(file), digest);
            }
            of_sources = parts;
            folder = Some(Arc::new(fetched));
        }
        match tokio::task::spawn_blocking(move || context.measure()).await {
            Ok(Ok(context)) => {
                let mut parts = context.parts().clone();
                parts.extend(of_sources);
                Ok(Packed { context, parts, options, _fetched: folder })
            }
            Ok(Err(error)) => Err(Outcome::Error(format!("its context can't be packed: {error}"))),
            Err(error) => Err(Outcome::Error(error.to_string())),
        }
    }

    async fn fetch(
        &self,
        sources: &ImageSources,
        folder: &Path,
    ) -> Result<source::Fetched, FetchError> {
        let fetch = |_| self.fetcher.fetch(&self.name, sources, folder);
        self.retry.run(fetch, |pause, error| self.emit_retry(pause, error)).await
    }

    fn emit_retry(&self, pause: Duration, error: &impl ToString) {
        let (name, error) = (self.name.clone(), error.to_string());
        self.emit(Event::Retrying { name, error, pause });
    }

    fn emit_output(&self, output: Output) {
        let name = self.name.clone();
        self.emit(match output {
            Output::Bytes { done, total } => {
                Event::Transferred(Transfer { artifact: self.reference.clone(), done, total })
            }
            Output::Step { number, total, instruction } => {
                Event::Step { name, number, total, instruction }
            }
            Output::Line(line) => Event::Log { name, line },
            Output::Silence { silence, limit, last } => {
                Event::Silent { name, silence, limit, last }
            }
        });
    }

    fn emit(&self, event: Event) {
        let _ = self.send.send(event);
    }
}
