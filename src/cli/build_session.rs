//! A build session: the engine, the registries and the inputs of builds, and the facts found there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::secret_values::read_secrets;
use super::signals;
use super::terminal;
use super::workspace_host::{HOST, SILENT_HOST};
use crate::client_config::CredentialFiles;
use crate::client_config::endpoint::Endpoint;
use crate::diagnostic::Diagnostic;
use crate::engine::docker::DockerEngine;
use crate::engine::squash;
use crate::graph::Graph;
use crate::image::ImageName;
use crate::incremental::{Changes, Found, Subject, build_inputs, changes_since};
use crate::plan::{Selection, Unaffected};
use crate::registry::{ImageRegistry, LabelCache, Registries};
use crate::retry::RetryPolicy;
use crate::runner::BuildInput;
use crate::settings::{RunSettings, Settings, Task};
use crate::workspace::{BuilderTraits, Request, Snapshot, Workspace};

/// Images of a request, with the selection and the changes that it asks for.
pub struct View {
    /// Images of the request.
    pub workspace: Workspace,
    /// Selection among them.
    pub selection: Selection,
    /// Changes since the commit that the options name; `None` if they name none.
    pub changes: Option<Changes>,
}

impl View {
    /// Returns the view of a workspace that is loaded for this request, with its selection.
    pub fn new(
        request: &Request,
        workspace: Workspace,
        selection: Selection,
    ) -> Result<Self, Failure> {
        let changes = changes_since(request, &workspace, &selection, SILENT_HOST)?;
        Ok(Self { workspace, selection, changes })
    }

    /// Returns the view for the builds of an engine; `None` if it is this one. Otherwise the
    /// engine's builder reads Dockerfiles in another way than expected: on another platform, or not
    /// the same stages.
    pub fn fitted_to(
        &self,
        engine: &DockerEngine,
        request: &Request,
    ) -> Result<Option<Self>, Failure> {
        let Workspace { builder: expected, settings, .. } = &self.workspace;
        let builder = BuilderTraits {
            platform: engine.platform().unwrap_or(&expected.platform).clone(),
            builds_all_stages: engine.builder(settings.run.build.buildkit).builds_all_stages(),
        };
        if builder == *expected {
            return Ok(None);
        }
        let snapshot = Snapshot::Worktree;
        let workspace = Workspace::load(request, &snapshot, SILENT_HOST, Some(&builder))?;
        let selection = workspace.selection()?;
        Self::new(request, workspace, selection).map(Some)
    }

    /// Returns the images that have not changed since the commit; `None` if none is named.
    pub fn unaffected(&self) -> Option<Unaffected> {
        self.changes.as_ref().map(|changes| changes.unaffected(&self.workspace))
    }
}

/// An engine, and all that is needed to build with it.
pub struct BuildSession {
    /// The engine.
    pub engine: Arc<DockerEngine>,
    /// Clients of the registries.
    pub registry: Arc<dyn ImageRegistry>,
    /// Input of the build of each image.
    pub inputs: BTreeMap<ImageName, BuildInput>,
    /// Facts about the images.
    pub found: Found,
}

impl BuildSession {
    /// Gathers the facts that the settings ask for from the engine and the registries. A survey is
    /// made if `is_surveyed` is true, or if unchanged images are to be skipped.
    pub async fn begin(
        engine: DockerEngine,
        view: &View,
        is_surveyed: bool,
    ) -> Result<Self, Failure> {
        let View { workspace: Workspace { graph, settings, contexts, .. }, selection, .. } = view;
        let (run, unaffected) = (&settings.run, view.unaffected());
        let engine = Arc::new(engine);
        let registry = registries(&engine, run);
        let builder = engine.builder(run.build.buildkit);
        let secrets = read_secrets(&run.build.secrets, builder, &engine)?;
        let inputs = build_inputs(builder, &secrets, contexts, settings)?;
        let subject = Subject { graph, selection, inputs: &inputs, run };
        let found =
            Found::gather(&*engine, &*registry, subject, unaffected, is_surveyed, HOST.warn)
                .await?;
        Ok(Self { engine, registry, inputs, found })
    }
}

/// Connects to the engine, and checks that the tools needed besides it are available. If a signal
/// ends the program from now on, it counts as interrupted.
pub async fn connect(endpoint: Endpoint, settings: &Settings) -> Result<DockerEngine, Failure> {
    signals::count_as_interrupted();
    let run = &settings.run;
    let engine = DockerEngine::connect(endpoint, run.engine.timeout).await?;
    let is_squashed = settings.axes.iter().any(|axis| axis.build.squash.is_some());
    let squashes = run.task == Task::Build && is_squashed;
    if squashes && !engine.is_podman() {
        squash::require(run.engine.timeout).await.map_err(|reason| {
            Diagnostic::new(format!("docker-squash can't be run: {reason}"))
                .help("install it (pip install docker-squash), or leave out --squash")
        })?;
    }
    Ok(engine.with_credentials(credential_files(run)))
}

fn credential_files(run: &RunSettings) -> CredentialFiles {
    CredentialFiles::new(run.clients.credential_files.clone(), run.engine.timeout)
}

/// Name of the file with the labels of images in registries, beside that of the durations.
const LABELS: &str = "registry-labels.json";

/// Returns the clients of the registries, with at most one connection for each thread.
fn registries(engine: &Arc<DockerEngine>, run: &RunSettings) -> Arc<dyn ImageRegistry> {
    let labels = run.state.durations_file.as_deref().map(|file| file.with_file_name(LABELS));
    Arc::new(Registries::new(
        run.engine.timeout,
        RetryPolicy { retries: run.build.retries, max_pause: run.engine.timeout },
        run.build.threads,
        credential_files(run),
        engine.clone(),
        LabelCache::new(labels),
    ))
}

/// Longest time that the end of a command waits for work in progress, such as resolving a host
/// name.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// A tokio runtime. Dropping it waits at most [`LAST_MOMENTS`].
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Runs a future to completion.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.as_ref().expect("it is there until it is dropped").block_on(future)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(LAST_MOMENTS);
        }
    }
}

/// Starts a tokio runtime.
///
/// # Errors
/// When its threads can't be started.
pub fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::from(Diagnostic::new(format!("can't start threads: {error}"))))?;
    Ok(Runtime(Some(runtime)))
}

/// Fails if nothing to build matched; warns of each pattern that matches no image.
pub fn refuse_empty(graph: &Graph, selection: &Selection) -> Result<(), Failure> {
    let images = graph.images();
    if selection.matches(graph) {
        for pattern in selection.patterns.iter().flatten() {
            if pattern.found_in.is_empty() {
                terminal::warn(&format!("warning: no image matches '{}'", pattern.text));
            }
        }
        return Ok(());
    }
    let patterns = selection.patterns.iter().flatten();
    let asked: Vec<_> = patterns.clone().map(|pattern| format!("'{}'", pattern.text)).collect();
    let mut diagnostic = match asked.len() {
        0 => Diagnostic::new("there is nothing to build"),
        1..=5 => Diagnostic::new(format!("no image to build matches {}", asked.join(", "))),
        n => Diagnostic::new(format!("no image to build matches any of the {n} patterns")),
    };
    for (image, reason) in images.iter().zip(selection.unbuildable_in(graph)) {
        if let Some(reason) = reason
            && patterns.clone().any(|pattern| pattern.found_in.contains(image.name.as_str()))
        {
            diagnostic = diagnostic.note(format!("'{}' is unbuildable: {reason}", image.name));
        }
    }
    if let [pattern] = selection.patterns.as_deref().unwrap_or_default()
        && pattern.found_in.is_empty()
    {
        let known: BTreeSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
        diagnostic = diagnostic.suggest(&pattern.text, known);
    }
    Err(Failure { exit: Exit::NothingMatched, diagnostics: diagnostic.into() })
}
