//! `kiln build`: runs the pipeline, from settings to reports.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::future::BoxFuture;

use super::affected_command::leave_out_unaffected;
use super::arguments;
use super::build_durations::{self, Stopwatch};
use super::exit::{Exit, Failure};
use super::host::HOST;
use super::lists;
use super::name_locks::lock_image_names;
use super::plan_view;
use super::report_input::catalogue;
use super::reports::Reports;
use super::secret_values::loan;
use super::signals::interrupts;
use super::terminal;
use crate::client_config::credentials::CredentialFiles;
use crate::client_config::endpoint::Endpoint;
use crate::console;
use crate::context::Context;
use crate::diagnostic::Diagnostic;
use crate::engine::docker::DockerEngine;
use crate::engine::squash;
use crate::engine::{
    BuildOptions, BuildSecrets, Builder, EPOCH, Engine as _, ImageInfo, Oversized, Squashing,
};
use crate::event::{Event, Existing, Outcome};
use crate::graph::{self, Graph};
use crate::image::{ImageName, ImageRef, Whereabouts};
use crate::incremental::survey::Survey;
use crate::plan::{Decision, Plan, Selection, Unaffected};
use crate::registry::{ImageRegistry, LabelCache, Registries};
use crate::retry::RetryPolicy;
use crate::runner::{self, Backends, BuildInput};
use crate::secret::is_secret_name;
use crate::settings::options::CommandName;
use crate::settings::{AxisSettings, BuildSettings, RunSettings, Settings, Task};
use crate::source::{self, FromOrigin, Pace};
use crate::workspace::{Contexts, Request, Snapshot, Workspace, work_folder, write_contexts};

/// Switch that prints the version, as in kolla-build.
const VERSION: &str = "version";

/// Help text of `build` below the options.
const AFTER_BUILD: &str = "\
Every option except --config-file and --config-dir can also be set in build.conf (see 'kiln config \
example') or in the environment as KILN_<OPTION>. 'kiln config show' prints the effective value of each \
option and its origin.

Exit codes: 0 all images are built, 1 an image failed, 2 usage or configuration error, or a report could \
not be written, 3 the engine or the registry is unreachable, 4 no image matched, 130 interrupted.

Examples:
  List the images of a profile in build order; needs no engine:
      kiln build --base debian --profile demo --list-images

  Build these images and write a log of each:
      kiln build --base debian --profile demo --logs-dir logs

  Write the Dockerfiles of images whose names end in 'api', and of their ancestors:
      kiln build --base debian --template-only --work-dir out 'api$'

  Build your own tree for two distributions, with a template override:
      kiln build --tree ./images --base debian,ubuntu --template-override mine.j2

  Every night: build and push only images that changed since the last push:
      kiln build --registry registry.example.com --push --skip-unchanged=registry";

/// Returns the grammar of `kiln build`.
pub fn command() -> Command {
    Command::new("build")
        .about("Render, order, build and push images")
        .after_help(AFTER_BUILD)
        .arg(
            Arg::new(VERSION)
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print the version and exit"),
        )
        .defer(|command| arguments::with_options(command, CommandName::Build))
}

/// Returns true if the version is requested instead of a build.
pub fn wants_version(matches: &ArgMatches) -> bool {
    matches.get_flag(VERSION)
}

/// Runs `kiln build` with this command line.
pub fn run(line: &Request) -> Result<Exit, Failure> {
    // Never dropped: the program ends after this function, and freeing the memory piece by piece
    // would only take time.
    let workspace = ManuallyDrop::new(Workspace::load(line, &Snapshot::Worktree, HOST)?);
    let Workspace { tree, settings, graph, contexts, .. } = &*workspace;
    let run = &settings.run;
    let mut selection = workspace.selection();
    refuse_empty(&Plan::new(graph, &selection), run)?;
    let different = leave_out_unaffected(line, &workspace, &mut selection)?;
    warn_of_secrets(settings);
    let _locks = match run.task {
        Task::Build => lock_image_names(settings),
        _ => Vec::new(),
    };
    let shop = match run.engine.endpoint.clone() {
        Some(endpoint) => {
            let runtime = runtime()?;
            let shop = Shop::open(endpoint, graph, contexts, settings, &mut selection, false);
            let (shop, interrupt) = runtime.block_on(unless_interrupted(shop))?;
            Some((runtime, shop, interrupt))
        }
        None => None,
    };
    let plan = Plan::new(graph, &selection);
    if let Some(folder) = work_folder(run)? {
        let written = write_contexts(&folder, tree, &plan, contexts, &terminal::warn)?;
        terminal::warn(&format!(
            "wrote {} images of {} to {}",
            written.images,
            tree.origin(),
            written.folder.display()
        ));
    }
    match (&run.task, shop) {
        (Task::Build, Some((runtime, shop, interrupt))) => {
            let reports =
                Reports::new(&run.output, run.build.threads, catalogue(graph, tree, contexts))?;
            runtime.block_on(build(shop, &plan, run, reports, interrupt))
        }
        (Task::Plan(format), shop) => {
            let survey = shop.and_then(|(_, shop, _)| shop.survey);
            plan_view::show(*format, &plan, run, survey.as_ref(), &different)
        }
        (task, _) => lists::show(task, &plan),
    }
}

/// Warns of build arguments that look like secrets: they stay in the history of images.
fn warn_of_secrets(settings: &Settings) {
    if settings.run.task != Task::Build {
        return;
    }
    let of_axes = settings.axes.iter().flat_map(|axis| axis.build.build_args.keys());
    let names: BTreeSet<&String> = of_axes.filter(|name| is_secret_name(name)).collect();
    for name in names {
        terminal::warn(&format!(
            "warning: the build argument {name} looks like a secret and will be stored in the image history; pass it with --secret"
        ));
    }
}

/// An engine, and all that is needed to build with it.
pub struct Shop {
    engine: Arc<DockerEngine>,
    registry: Arc<dyn ImageRegistry>,
    inputs: BTreeMap<ImageName, BuildInput>,
    /// Survey of the existing images; `None` if none was made.
    pub survey: Option<Survey>,
    /// Images that the engine has, if they were listed without a survey.
    known: BTreeMap<ImageRef, ImageInfo>,
}

impl Shop {
    /// Connects to the engine, and adds facts to `selection` that only the engine knows. A survey
    /// is made if `is_surveyed` is true, or if unchanged images are to be skipped.
    pub async fn open(
        endpoint: Endpoint,
        graph: &Graph,
        contexts: &Contexts,
        settings: &Settings,
        selection: &mut Selection,
        is_surveyed: bool,
    ) -> Result<Self, Failure> {
        let run = &settings.run;
        let engine = Arc::new(engine(endpoint, settings).await?);
        let registry = registries(&engine, run);
        let inputs = inputs(&engine, contexts, settings)?;
        // A survey covers all wanted images, the unaffected ones included.
        let unaffected = selection.unaffected.take();
        let mut survey = None;
        let skips = run.selection.skip_unchanged.is_some();
        if skips || is_surveyed {
            let plan = Plan::new(graph, selection);
            let pull = run.build.pull && skips;
            let pace = pace(run);
            let found =
                Survey::of(&*engine, &*registry, &plan, &inputs, pull, pace, HOST.warn).await?;
            if skips {
                selection.unchanged = found.unchanged(&*registry, &plan, run, HOST.warn).await?;
            }
            survey = Some(found);
        }
        let mut known = BTreeMap::new();
        if run.selection.skip_existing || unaffected.is_some() {
            let has: BTreeSet<ImageRef> = match &survey {
                Some(survey) => survey.known.keys().cloned().collect(),
                None => {
                    known = engine.images().await?;
                    known.keys().cloned().collect()
                }
            };
            selection.unaffected = unaffected.map(|unaffected| {
                let unchanged = skips.then_some(&selection.unchanged);
                Unaffected { missing: missing(graph, &has, unchanged), ..unaffected }
            });
            if run.selection.skip_existing {
                selection.existing = has;
            }
        }
        Ok(Self { engine, registry, inputs, survey, known })
    }

    /// Returns the images of the plan that exist and are not built.
    fn existing(&self, plan: &Plan<'_>) -> BTreeMap<ImageName, Existing> {
        let known = self.survey.as_ref().map_or(&self.known, |survey| &survey.known);
        let images = plan.graph().images().iter().enumerate();
        let skipped = images.filter(|(index, _)| !plan.is_built(*index));
        let existing = skipped.map(|(index, image)| {
            let survey = self.survey.as_ref();
            let existing = Existing {
                id: known.get(&image.reference).map(|known| known.id.clone()),
                fingerprint: survey.and_then(|survey| survey.of_skipped(plan, index)),
            };
            (image.name.clone(), existing)
        });
        existing.filter(|(_, existing)| *existing != Existing::default()).collect()
    }
}

/// Returns the missing images: those that are not among the `unchanged` ones, or, if these are not
/// known, those that the engine does not have.
fn missing(
    graph: &Graph,
    has: &BTreeSet<ImageRef>,
    unchanged: Option<&BTreeMap<ImageName, Whereabouts>>,
) -> BTreeSet<ImageName> {
    let is_missing = |image: &&graph::Image| match unchanged {
        Some(unchanged) => !unchanged.contains_key(&image.name),
        None => !has.contains(&image.reference),
    };
    graph.images().iter().filter(is_missing).map(|image| image.name.clone()).collect()
}

/// Returns the timeout for servers of sources, the same as for engines.
fn pace(run: &RunSettings) -> Pace {
    Pace { silence: run.engine.timeout }
}

/// Connects to the engine, and checks that the tools needed besides it are available.
async fn engine(endpoint: Endpoint, settings: &Settings) -> Result<DockerEngine, Failure> {
    let run = &settings.run;
    let engine = DockerEngine::connect(endpoint, run.engine.timeout).await?;
    let is_squashed = settings.axes.iter().any(|axis| axis.build.squash.is_some());
    let squashes = run.task == Task::Build && is_squashed;
    if squashes && !engine.is_podman() {
        squash::require().map_err(|reason| {
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
pub fn refuse_empty(plan: &Plan<'_>, run: &RunSettings) -> Result<(), Failure> {
    let images = plan.graph().images();
    let known: BTreeSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
    let names = || known.iter().copied();
    if !plan.is_empty() {
        for pattern in run.selection.patterns.iter().flatten() {
            if !names().any(|name| pattern.is_match(name)) {
                terminal::warn(&format!("warning: no image matches '{pattern}'"));
            }
        }
        return Ok(());
    }
    let patterns = run.selection.patterns.iter().flatten();
    let asked: Vec<_> = patterns.clone().map(|pattern| format!("'{pattern}'")).collect();
    let mut diagnostic = match asked.len() {
        0 => Diagnostic::new("there is nothing to build"),
        1..=5 => Diagnostic::new(format!("no image to build matches {}", asked.join(", "))),
        n => Diagnostic::new(format!("no image to build matches any of the {n} patterns")),
    };
    for (index, image) in images.iter().enumerate() {
        if let Decision::Unbuildable(reason) = plan.decision(index)
            && patterns.clone().any(|pattern| pattern.is_match(image.name.as_str()))
        {
            diagnostic = diagnostic.note(format!("'{}' is unbuildable: {reason}", image.name));
        }
    }
    if let [pattern] = run.selection.patterns.as_deref().unwrap_or_default()
        && !names().any(|name| pattern.is_match(name))
    {
        diagnostic = diagnostic.suggest(pattern.as_str(), names());
    }
    Err(Failure { exit: Exit::NothingMatched, diagnostics: diagnostic.into() })
}

/// Builds the images of the plan, and reports on the run.
async fn build(
    shop: Shop,
    plan: &Plan<'_>,
    run: &RunSettings,
    mut reports: Reports,
    interrupt: impl Future<Output = ()>,
) -> Result<Exit, Failure> {
    let existing = shop.existing(plan);
    let Shop { engine, registry, inputs, survey, .. } = shop;
    let BuildSettings { threads, retries, pull, buildkit, priorities, .. } = run.build;
    let allowed = &run.selection.allowed_to_fail;
    let names = plan.graph().images().iter().map(|image| &image.name);
    let is_allowed = |name: &&ImageName| allowed.iter().any(|allowed| allowed == name.as_str());
    let forgiven: BTreeSet<ImageName> = names.filter(is_allowed).cloned().collect();
    let durations_file = run.state.durations_file.as_deref();
    let options = runner::Options {
        threads,
        push_threads: run.push.threads,
        push_all_or_none: run.push.all_or_none,
        forgiven: forgiven.clone(),
        retry: RetryPolicy { retries, max_pause: run.engine.timeout },
        // The survey has already pulled them.
        pull: pull && survey.is_none(),
        registries: run.push.registries.clone(),
        existing,
        durations: build_durations::known(durations_file, plan),
        priorities,
    };
    let backends = Backends {
        engine_name: format!("{} with {}", engine.description(), engine.builder(buildkit)),
        engine,
        registry: registry.clone(),
        fetcher: Arc::new(FromOrigin::new(pace(run))),
    };
    let mut stopwatch = Stopwatch::default();
    let mut emit = |at: Duration, event: Event| {
        stopwatch.hear(&event);
        reports.hear(at, &event);
    };
    let outcomes = runner::run(backends, plan, inputs, options, interrupt, &mut emit).await;
    stopwatch.keep(durations_file, plan);
    for notice in registry.take_notices() {
        terminal::warn(&format!("warning: {notice}"));
    }
    let unwritten = reports.conclude(&run.output);
    console::say_diagnostics(&unwritten);
    let counted = outcomes.iter().filter(|(name, outcome)| {
        let is_forgiven = forgiven.contains(name) && !outcome.is_success();
        if is_forgiven {
            terminal::warn(&format!("warning: '{name}' is allowed to fail"));
        }
        !is_forgiven
    });
    match verdict(counted.map(|(_, outcome)| outcome), &|name| forgiven.contains(name)) {
        Exit::Done if !unwritten.0.is_empty() => Ok(Exit::Usage),
        exit => Ok(exit),
    }
}

/// Returns the input of every image: its context, its sources and the build options.
fn inputs(
    engine: &DockerEngine,
    contexts: &Contexts,
    settings: &Settings,
) -> Result<BTreeMap<ImageName, BuildInput>, Failure> {
    let run = &settings.run;
    let builder = engine.builder(run.build.buildkit);
    let loan = loan(&run.build.secrets, builder, engine)?;
    let of_axes: BTreeMap<Option<&str>, (&AxisSettings, Arc<BuildOptions>)> = settings
        .axes
        .iter()
        .map(|axis| {
            let options = Arc::new(build_options(builder, run, axis, &loan));
            (axis.label.as_deref(), (axis, options))
        })
        .collect();
    for (_, options) in of_axes.values() {
        options.refuse_oversized().map_err(oversized)?;
    }
    let input = |(name, (_, context)): (&ImageName, &(String, Context))| {
        let (settings, options) = of_axes[&name.axis()].clone();
        let fetches = settings.install_type.fetches_sources;
        let sources = fetches.then(|| source::of_image(name, &settings.sources));
        (name.clone(), BuildInput { context: context.clone(), sources, options })
    };
    Ok(contexts.iter().map(input).collect())
}

fn oversized(Oversized { size, limit, largest }: Oversized) -> Diagnostic {
    Diagnostic::new(format!(
        "the build arguments need {size} bytes in a request to the engine, which are limited to {limit}"
    ))
    .help(format!(
        "shorten {largest}, the largest of --build-args, or pass it to builds as a file in their contexts or with --secret"
    ))
}

/// Returns the options for building the images of an axis with `builder`.
pub fn build_options(
    builder: Builder,
    run: &RunSettings,
    axis: &AxisSettings,
    loan: &BuildSecrets,
) -> BuildOptions {
    let (of_run, of_axis) = (&run.build, &axis.build);
    let mut build_args = of_axis.build_args.clone();
    if let (Builder::BuildKit, Some(seconds)) = (builder, of_run.epoch) {
        build_args.entry(EPOCH.to_owned()).or_insert_with(|| seconds.to_string());
    }
    BuildOptions {
        builder,
        cache: of_run.cache,
        keep: of_run.keep,
        network_mode: of_axis.network_mode.clone(),
        platform: of_axis.platform.as_ref().map(ToString::to_string),
        build_args,
        secrets: loan.clone(),
        squash: of_axis
            .squash
            .as_ref()
            .map(|squash| Squashing { cleanup: squash.cleanup, tmp_dir: squash.tmp_dir.clone() }),
    }
}

/// Awaits `work`, unless the user interrupts it. Returns the result, and a future that completes
/// when the user interrupts later.
pub async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<(T, BoxFuture<'static, ()>), Failure> {
    let mut interrupt: BoxFuture<'static, ()> = Box::pin(interrupts()?);
    tokio::select! {
        done = work => Ok((done?, interrupt)),
        () = &mut interrupt => Err(Failure {
            exit: Exit::Interrupted,
            diagnostics: Diagnostic::new("interrupted before anything was built").into(),
        }),
    }
}

/// Returns the exit code for these outcomes: the worst one decides. An image whose ancestor failed
/// adds nothing to the ancestor's own outcome, unless that is forgiven: then it counts as failed.
fn verdict<'a>(
    outcomes: impl Iterator<Item = &'a Outcome>,
    is_forgiven: &dyn Fn(&ImageName) -> bool,
) -> Exit {
    let exits = outcomes.map(|outcome| match outcome {
        Outcome::Built { .. } => (0, Exit::Done),
        Outcome::ParentError { ancestor } if is_forgiven(ancestor) => (2, Exit::Failed),
        Outcome::ParentError { .. } => (0, Exit::Done),
        Outcome::ConnectionError(_) => (1, Exit::OutOfReach),
        Outcome::Error(_) | Outcome::PushError(_) => (2, Exit::Failed),
        Outcome::Interrupted => (3, Exit::Interrupted),
    });
    exits.max_by_key(|(weight, _)| *weight).map_or(Exit::Done, |(_, exit)| exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BuiltImage;

    #[test]
    fn the_worst_outcome_decides() {
        let built = Outcome::Built { made: BuiltImage::default(), pushed: Vec::new() };
        let error = Outcome::Error(String::new());
        let connection = Outcome::ConnectionError(String::new());
        let parent = Outcome::ParentError { ancestor: ImageName::new("a") };
        let nobody = |_: &ImageName| false;
        let verdict_of = |outcomes: &[Outcome]| verdict(outcomes.iter(), &nobody);
        assert_eq!(verdict_of(&[]), Exit::Done);
        assert_eq!(verdict_of(std::slice::from_ref(&built)), Exit::Done);
        assert_eq!(verdict_of(&[built.clone(), connection.clone(), parent]), Exit::OutOfReach);
        assert_eq!(verdict_of(&[connection, error.clone(), built]), Exit::Failed);
        assert_eq!(verdict_of(&[error, Outcome::Interrupted]), Exit::Interrupted);
        let forgiven = [Outcome::ParentError { ancestor: ImageName::new("a") }];
        assert_eq!(verdict(forgiven.iter(), &|name| name.as_str() == "a"), Exit::Failed);
    }
}
