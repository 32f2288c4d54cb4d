//! `kiln build`: runs the pipeline, from settings to reports.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::arguments;
use super::build_durations::{self, Stopwatch};
use super::build_session::{BuildSession, View, connect, refuse_empty, runtime};
use super::exit::{Exit, Failure};
use super::lists;
use super::name_locks::lock_image_names;
use super::plan_view;
use super::report_input::catalogue;
use super::reports::Reports;
use super::signals::interrupts;
use super::terminal;
use super::workspace_host::HOST;
use crate::console;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::docker::DockerEngine;
use crate::event::{Event, Outcome};
use crate::image::ImageName;
use crate::incremental::{Found, pace};
use crate::plan::Plan;
use crate::registry::ImageRegistry;
use crate::retry::RetryPolicy;
use crate::runner::{self, Backends, BuildInput};
use crate::secret::is_secret_name;
use crate::settings::option_definition::CommandName;
use crate::settings::{BuildSettings, RunSettings, Settings, Task};
use crate::source::FromOrigin;
use crate::workspace::{Request, Snapshot, Workspace, work_folder, write_contexts};

/// Switch that prints the version, as in kolla-build.
const VERSION: &str = "version";

/// Placeholder in [`AFTER_BUILD`] for the words by which the user calls `build`.
const CALL: &str = "{call}";

/// Help text of `build` below the options.
const AFTER_BUILD: &str = "\
Every option except --config-file and --config-dir can also be set in build.conf (see 'kiln config \
example') or in the environment as KILN_<OPTION>. 'kiln config show' prints the effective value of each \
option and its origin.

Exit codes: 0 all images are built, 1 an image failed, 2 usage or configuration error, or a report could \
not be written, 3 the engine or the registry is unreachable, 4 no image matched, 130 interrupted.

Examples:
  List the images of a profile in build order; needs no engine:
      {call} --base debian --profile demo --list-images

  Build these images and write a log of each:
      {call} --base debian --profile demo --logs-dir logs

  Write the Dockerfiles of images whose names end in 'api', and of their ancestors:
      {call} --base debian --template-only --work-dir out 'api$'

  Build your own tree for two distributions, with a template override:
      {call} --tree ./images --base debian,ubuntu --template-override mine.j2

  Every night: build and push only images that changed since the last push:
      {call} --registry registry.example.com --push --skip-unchanged=registry";

/// Returns the grammar of `kiln build`.
pub fn command() -> Command {
    grammar("build", "kiln build")
}

/// Returns the grammar of a program that does the same as `kiln build`.
pub fn command_of(program: &'static str) -> Command {
    grammar(program, program)
}

/// Returns the grammar of the command `name`, which is called as `call` in its examples.
fn grammar(name: &'static str, call: &str) -> Command {
    Command::new(name)
        .about("Render, order, build and push images")
        .after_help(AFTER_BUILD.replace(CALL, call))
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
pub fn run(request: &Request) -> Result<Exit, Failure> {
    let workspace = Workspace::load(request, &Snapshot::Worktree, HOST, None)?;
    let selection = workspace.selection()?;
    refuse_empty(&workspace.graph, &selection)?;
    refuse_names_in_registries(&workspace)?;
    let view = View::new(request, workspace, selection)?;
    let settings = &view.workspace.settings;
    warn_of_secrets(settings);
    let _locks = match settings.run.task {
        Task::Build => lock_image_names(settings),
        _ => Vec::new(),
    };
    let (view, found, builds) = match settings.run.engine.endpoint.clone() {
        Some(endpoint) => {
            let runtime = runtime()?;
            let session = async {
                let engine = connect(endpoint, &view.workspace.settings).await?;
                let view = view.fitted_to(&engine, request)?.unwrap_or(view);
                Ok::<_, Failure>((BuildSession::begin(engine, &view, false).await?, view))
            };
            let (session, view) = runtime.block_on(session)?;
            let BuildSession { engine, registry, inputs, found } = session;
            (view, found, Some((runtime, Builds { engine, registry, inputs })))
        }
        None => {
            let found = Found::without_engine(view.unaffected());
            (view, found, None)
        }
    };
    // Never dropped: the program ends after this function, and freeing the memory piece by piece
    // would only take time.
    let view = ManuallyDrop::new(view);
    let View { workspace: Workspace { tree, settings, graph, contexts, .. }, .. } = &*view;
    let run = &settings.run;
    let plan = Plan::new(graph, &view.selection, &found.facts);
    if let Some(folder) = work_folder(run)? {
        let written = write_contexts(&folder, tree, &plan, contexts, &terminal::warn)?;
        terminal::warn(&format!(
            "wrote {} images of {} to {}",
            written.images,
            tree.origin(),
            written.folder.display()
        ));
    }
    match (&run.task, builds) {
        (Task::Build, Some((runtime, builds))) => {
            let reports =
                Reports::new(&run.output, run.build.threads, catalogue(graph, tree, contexts))?;
            runtime.block_on(build(builds, &found, &plan, run, reports))
        }
        (Task::Plan(format), _) => {
            plan_view::show(*format, &plan, run, found.survey.as_ref(), view.changes.as_ref())
        }
        (task, _) => lists::show(task, &plan),
    }
}

/// Refuses an image that an engine could not push to one of the registries because of its name.
fn refuse_names_in_registries(workspace: &Workspace) -> Result<(), Failure> {
    let push = &workspace.settings.run.push;
    if !push.is_wanted() {
        return Ok(());
    }
    let refused: Vec<Diagnostic> = workspace
        .graph
        .images()
        .iter()
        .filter_map(|image| push.destinations.check(&image.reference).err())
        .map(|error| Diagnostic::new(error.to_string()).help("check --registry"))
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(Diagnostics(refused).into()) }
}

/// Engine, registries and inputs of the builds of a run.
struct Builds {
    engine: Arc<DockerEngine>,
    registry: Arc<dyn ImageRegistry>,
    inputs: BTreeMap<ImageName, BuildInput>,
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

/// Builds the images of the plan, and reports on the run.
async fn build(
    builds: Builds,
    found: &Found,
    plan: &Plan<'_>,
    run: &RunSettings,
    mut reports: Reports,
) -> Result<Exit, Failure> {
    let existing = found.existing(plan);
    let Builds { engine, registry, inputs } = builds;
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
        pull: pull && found.survey.is_none(),
        destinations: run.push.destinations.clone(),
        unavailable: found.survey.as_ref().map(|it| it.unavailable.clone()).unwrap_or_default(),
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
    let outcomes = runner::run(backends, plan, inputs, options, interrupts(), &mut emit).await;
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
