//! `kiln build`: leads the data through the pipeline, from settings to report.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tokio::signal::unix::{SignalKind, signal};

use super::args::Given;
use super::config::print_out;
use super::ingredients::ingredients;
use super::{Exit, Failure, terminal};
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Place, Result as Diagnosed, collect};
use crate::dialect::Dialect;
use crate::dockerfile;
use crate::engine::docker::DockerEngine;
use crate::engine::{BuildOptions, Engine as _};
use crate::event::{Event, Outcome};
use crate::graph::{self, Graph, Index};
use crate::image::{ImageName, Naming};
use crate::plan::{Decision, Plan, Selection};
use crate::report::Subscriber;
use crate::report::logs::Logs;
use crate::report::progress::{Detail, Progress};
use crate::report::summary::Summary;
use crate::runner::{self, Material};
use crate::settings::{
    self, Building, Layers, Output, Profiles, Settings, Task, Verbosity, settle,
};
use crate::source;
use crate::template::{self, Rendered};
use crate::tree::{Language, Tree, TreeFile};

/// Where configuration files are looked for, the first found is read: below the working folder,
/// the user's configuration folder, and the system's.
const CONFIG_FILE: &str = "build.conf";

/// What kolla-build calls its configuration file.
const KOLLA_CONFIG_FILE: &str = "kolla-build.conf";

/// The folder that is the tree if it holds a manifest.
const TREE_FOLDER: &str = "docker";

/// What is settled before the work begins, and what it was settled from.
pub struct Prepared {
    /// All that was given.
    pub layers: Layers,
    /// The tree that it was given for.
    pub tree: Tree,
    /// What it comes to.
    pub settings: Settings,
}

/// Settles these options and configuration files.
pub fn prepare(given: &Given, config_files: &[PathBuf]) -> Result<Prepared, Failure> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let found = default_config_file(&environment);
    let config_files = if config_files.is_empty() { found.as_slice() } else { config_files };
    let layers = Layers::gather(given.clone(), config_files, &environment)?;
    warn_of_no_effect(&layers);
    let tree = open_tree(&layers)?;
    warn_of_guess(&tree);
    let profiles = Profiles::new(tree.profiles()?, &layers);
    let settings = settle(&layers, tree.manifest(), &profiles)?;
    Ok(Prepared { layers, tree, settings })
}

/// Runs the command with these options and configuration files.
pub fn run(given: &Given, config_files: &[PathBuf]) -> Result<Exit, Failure> {
    let Prepared { mut tree, settings, .. } = prepare(given, config_files)?;
    add_ca_certificates(&mut tree, &settings)?;
    add_apt_files(&mut tree, &settings)?;
    let rendered = template::render_all(&tree, &ingredients(&settings, &tree)?)?;
    let graph = connect(&tree, &settings, &rendered)?;
    warn_of_stray_sources(&tree, &graph, &settings);
    let contexts = contexts(&tree, &settings, rendered)?;
    let mut selection = selection(&settings, &tree);
    refuse_empty(&Plan::new(&graph, &selection), &settings)?;
    let runtime = runtime()?;
    let engine = if needs_engine(&settings) {
        let Building { endpoint, timeout, .. } = &settings.building;
        Some(runtime.block_on(DockerEngine::connect(endpoint.as_deref(), *timeout))?)
    } else {
        None
    };
    if let (Some(engine), true) = (&engine, settings.skip_existing) {
        selection.existing = runtime.block_on(engine.images())?;
    }
    let plan = Plan::new(&graph, &selection);
    if let Some(folder) = work_folder(&settings)? {
        write_contexts(&folder, &tree, &plan, &contexts)?;
    }
    match (&settings.task, engine) {
        (Task::Build, Some(engine)) => runtime.block_on(build(engine, &plan, contexts, &settings)),
        (task, _) => show(task, &plan),
    }
}

/// The first of the usual configuration files that exists: Kiln's, else kolla-build's.
fn default_config_file(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let of_user = match (environment.get("XDG_CONFIG_HOME"), environment.get("HOME")) {
        (Some(folder), _) if !folder.is_empty() => Some(PathBuf::from(folder)),
        (_, Some(home)) => Some(Path::new(home).join(".config")),
        _ => None,
    };
    let of_user = of_user.map(|folder| folder.join("kiln").join(CONFIG_FILE));
    let of_system = Path::new("/etc/kiln").join(CONFIG_FILE);
    let home = environment.get("HOME").map(PathBuf::from);
    let of_kolla_build = [
        home.as_ref().map(|home| home.join(".kolla")),
        home,
        Some(PathBuf::from("/etc/kolla")),
        Some(PathBuf::from("/etc")),
    ];
    let of_kolla_build = of_kolla_build.into_iter().flatten().map(|f| f.join(KOLLA_CONFIG_FILE));
    [Some(PathBuf::from(CONFIG_FILE)), of_user, Some(of_system)]
        .into_iter()
        .flatten()
        .chain(of_kolla_build)
        .find(|path| path.is_file())
        .into_iter()
        .collect()
}

/// The tree that is asked for, with all that is laid over it.
pub fn open_tree(layers: &Layers) -> Diagnosed<Tree> {
    let dialect = match layers.early("dialect") {
        Some(given) if !given.value.is_empty() => Some(dialect(&given)?),
        _ => None,
    };
    let mut tree = match layers.early("tree") {
        Some(given) if !given.value.is_empty() => Tree::open(Path::new(&given.value), dialect)?,
        _ if Tree::is_at(Path::new(TREE_FOLDER)) => Tree::open(Path::new(TREE_FOLDER), dialect)?,
        _ => Tree::embedded()?,
    };
    for folder in settings::overlays(layers, tree.manifest())? {
        tree.overlay(&folder)?;
    }
    Ok(tree)
}

/// Puts the site's certificates where the tree wants them.
fn add_ca_certificates(tree: &mut Tree, settings: &Settings) -> Diagnosed<()> {
    let Some(file) = &settings.ca_certificates else { return Ok(()) };
    let Some(path) = tree.manifest().ca_certificates.clone() else {
        return Err(Diagnostic::new("the tree has no place for CA certificates")
            .help("name one as ca_certificates in tree.toml, or leave out --ca-certificates")
            .into());
    };
    tree.add_file(&path, file)
}

/// The dialect that the user names.
fn dialect(given: &settings::Given) -> Diagnosed<Dialect> {
    let version = given.value.parse().map_err(|_| {
        given
            .refuse(format!("'{}' is no release of kolla-build", given.value))
            .help("write it as 14.11, or 23 for the last of a series")
    })?;
    Ok(Dialect::of(version))
}

/// Says of each option that is given in vain why it is.
pub fn warn_of_no_effect(layers: &Layers) {
    for line in layers.without_effect() {
        terminal::warn(&format!("warning: {line}"));
    }
}

/// Says how the release was found out where nothing tells it.
fn warn_of_guess(tree: &Tree) {
    if let Some(guess) = tree.release().and_then(|release| release.guess.as_ref()) {
        terminal::warn(&format!("warning: {guess}"));
    }
}

/// Puts the user's files for apt where the images look for them.
fn add_apt_files(tree: &mut Tree, settings: &Settings) -> Diagnosed<()> {
    let templating = &settings.templating;
    let files = [
        ("base/sources.list", &templating.apt_sources_list),
        ("base/apt_preferences", &templating.apt_preferences),
    ];
    for (path, file) in files {
        if let Some(file) = file {
            tree.add_file(path, file)?;
        }
    }
    Ok(())
}

/// Reads the references of all Dockerfiles and connects the images.
fn connect(tree: &Tree, settings: &Settings, rendered: &[Rendered]) -> Diagnosed<Graph> {
    let images: Vec<_> =
        rendered.par_iter().map(|image| graph_image(tree, settings, image)).collect();
    let mut images = collect(images)?;
    if let Some(apart) = &settings.naming_apart {
        name_apart(&mut images, &settings.naming, apart, &tree.manifest().named_by_type)?;
    }
    Graph::new(images, &settings.naming)
}

/// Gives the names of `apart` to all `images` but those of `kept` and what is built on them.
fn name_apart(
    images: &mut [graph::Image],
    naming: &Naming,
    apart: &Naming,
    kept: &[String],
) -> Diagnosed<()> {
    let parents: BTreeMap<String, String> = images
        .iter()
        .filter_map(|image| {
            let parent = &image.dockerfile.parent()?.image;
            let name = naming.name_in(parent).or_else(|| apart.name_in(parent))?;
            Some((image.name.to_string(), name.to_owned()))
        })
        .collect();
    for image in images {
        let mut line = std::iter::successors(Some(image.name.as_str()), |name| {
            parents.get(*name).map(String::as_str)
        });
        // A line that never ends is a cycle, which the graph tells of.
        if line.by_ref().take(parents.len() + 1).any(|name| kept.iter().any(|kept| kept == name)) {
            continue;
        }
        let reference = apart.reference(image.name.as_str());
        let reference = reference.map_err(|error| Diagnostic::new(error.to_string()))?;
        image.alias = Some(std::mem::replace(&mut image.reference, reference));
    }
    Ok(())
}

fn graph_image(tree: &Tree, settings: &Settings, rendered: &Rendered) -> Diagnosed<graph::Image> {
    let name = &rendered.folder.name;
    let template = tree.display_path(&rendered.folder.template());
    let reference = settings.naming.reference(name.as_str()).map_err(|error| {
        Diagnostic::new(error.to_string()).note(format!("the name is that of {template}'s folder"))
    })?;
    let dockerfile = dockerfile::parse(&rendered.text, &BTreeMap::new()).map_err(|error| {
        let place =
            Place::new(format!("{template} (rendered)"), rendered.text.as_str(), error.span);
        let mut diagnostic = Diagnostic::new(error.message).at(place);
        diagnostic.help = error.help;
        diagnostic
    })?;
    Ok(graph::Image {
        name: name.clone(),
        reference,
        alias: None,
        template,
        text: rendered.text.as_str().into(),
        dockerfile,
    })
}

/// The folder and the context of every image, by name.
type Contexts = BTreeMap<ImageName, (String, Context)>;

fn contexts(tree: &Tree, settings: &Settings, rendered: Vec<Rendered>) -> Diagnosed<Contexts> {
    let patches = settings.templating.patches_path.as_deref();
    let has_patches = tree.dialect().has_patches();
    let contexts = rendered.into_iter().map(|Rendered { folder, text }| {
        let mut context = Context::new(text, tree.context(&folder));
        if has_patches && folder.language == Language::Jinja {
            add_patches(&mut context, patches, &folder.name)?;
        }
        Ok((folder.name, (folder.path, context)))
    });
    Ok(collect(contexts)?.into_iter().collect())
}

/// The folder of an image's patches within its context, and the list of them.
const PATCHES: &str = "patches";
const SERIES: &str = "series";

/// Puts the series of patches that the folder `patches` has for an image into its context.
fn add_patches(context: &mut Context, patches: Option<&Path>, image: &ImageName) -> Diagnosed<()> {
    context.add_folder(PATCHES.to_owned());
    let Some(folder) = patches.map(|folder| folder.join(image.as_str())) else { return Ok(()) };
    let series = folder.join(SERIES);
    if !series.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(&series).map_err(|error| {
        Diagnostic::new(format!("'{}' can't be read: {error}", series.display()))
    })?;
    let named = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    for name in named.chain([SERIES]) {
        let path = folder.join(name);
        if path.is_file() {
            context.add(format!("{PATCHES}/{name}"), TreeFile::on_disk(path));
        }
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::new(format!("no threads can be had: {error}")).into())
}

/// Only building and looking for existing images need an engine.
fn needs_engine(settings: &Settings) -> bool {
    settings.task == Task::Build || settings.skip_existing
}

/// What is wanted, as far as the engine need not be asked for it.
fn selection(settings: &Settings, tree: &Tree) -> Selection {
    let axis = &settings.axis;
    let unbuildable = tree
        .manifest()
        .unbuildable
        .iter()
        .filter(|_| !settings.enable_unbuildable)
        .filter(|entry| {
            let package_manager = &settings.base.package_manager;
            entry.applies(axis.as_dialects_ask(), package_manager, tree.dialect())
        })
        .flat_map(|entry| {
            entry.images.iter().map(|name| (ImageName::new(name), entry.reason.clone()))
        })
        .collect();
    Selection {
        patterns: settings.patterns.clone(),
        unbuildable,
        skip_parents: settings.skip_parents,
        existing: BTreeSet::new(),
    }
}

/// Sources of the user's that belong to no image of the tree are most likely misspelled.
fn warn_of_stray_sources(tree: &Tree, graph: &Graph, settings: &Settings) {
    let of_tree = &tree.manifest().sources;
    for source in settings.sources.iter().filter(|source| !of_tree.contains_key(&source.name)) {
        let image = source::image_of(&source.name);
        if graph.index_of(&ImageName::new(image)).is_none() {
            terminal::warn(&format!("warning: the source [{}] belongs to no image", source.name));
        }
    }
}

/// Says so where nothing matched, or one of several patterns did not.
fn refuse_empty(plan: &Plan<'_>, settings: &Settings) -> Result<(), Failure> {
    let names = || plan.graph().images().iter().map(|image| image.name.as_str());
    if !plan.is_empty() {
        for pattern in settings.patterns.iter().flatten() {
            if !names().any(|name| pattern.is_match(name)) {
                terminal::warn(&format!("warning: no image matches '{pattern}'"));
            }
        }
        return Ok(());
    }
    let patterns = settings.patterns.iter().flatten();
    let asked: Vec<_> = patterns.clone().map(|pattern| format!("'{pattern}'")).collect();
    let mut diagnostic = match asked.len() {
        0 => Diagnostic::new("there is nothing to build"),
        1..=5 => Diagnostic::new(format!("no image to build matches {}", asked.join(", "))),
        n => Diagnostic::new(format!("no image to build matches any of the {n} patterns")),
    };
    for (index, image) in plan.graph().images().iter().enumerate() {
        if let Decision::Unbuildable(reason) = plan.decision(index)
            && patterns.clone().any(|pattern| pattern.is_match(image.name.as_str()))
        {
            diagnostic = diagnostic.note(format!("'{}' is unbuildable: {reason}", image.name));
        }
    }
    if let [pattern] = settings.patterns.as_deref().unwrap_or_default()
        && !names().any(|name| pattern.is_match(name))
    {
        diagnostic = diagnostic.suggest(pattern.as_str(), names());
    }
    Err(Failure { exit: Exit::NothingMatched, diagnostics: diagnostic.into() })
}

/// Where contexts are written, if they are: what was asked for, or a new temporary folder.
fn work_folder(settings: &Settings) -> Result<Option<PathBuf>, Failure> {
    match (&settings.work_dir, &settings.task) {
        (Some(folder), _) => Ok(Some(folder.clone())),
        (None, Task::TemplateOnly) => {
            let folder = std::env::temp_dir().join(format!("kiln-{}", std::process::id()));
            fs::create_dir(&folder).map_err(|error| {
                Diagnostic::new(format!("'{}' can't be made: {error}", folder.display()))
                    .help("choose a folder with --work-dir")
            })?;
            Ok(Some(folder))
        }
        (None, _) => Ok(None),
    }
}

/// Writes the context of every image that is to be built to `folder/docker`, which is emptied
/// before: nothing of an earlier run stays.
fn write_contexts(
    folder: &Path,
    tree: &Tree,
    plan: &Plan<'_>,
    contexts: &Contexts,
) -> Result<(), Failure> {
    let target = folder.join(TREE_FOLDER);
    let refuse = |error: std::io::Error| {
        Diagnostic::new(format!("the work folder '{}' can't be written: {error}", folder.display()))
    };
    if Tree::is_at(&target) || tree.lies_in(&target) {
        return Err(Diagnostic::new(format!("'{}' is a template tree", target.display()))
            .help("choose another folder with --work-dir: it is emptied first")
            .into());
    }
    match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(refuse(error).into());
        }
        _ => {}
    }
    let images = plan.graph().images();
    let names: Vec<_> = match tree.release() {
        Some(release) if release.dialect.renders_all() => images.iter().map(|i| &i.name).collect(),
        _ => plan.to_build().map(|i| &images[i].name).collect(),
    };
    names
        .par_iter()
        .try_for_each(|name| {
            let (path, context) = &contexts[*name];
            context.write_to(&target.join(path))
        })
        .map_err(refuse)?;
    terminal::warn(&format!(
        "{} images of {} are in {}",
        names.len(),
        tree.origin(),
        target.display()
    ));
    Ok(())
}

/// Prints what is asked for instead of building.
fn show(task: &Task, plan: &Plan<'_>) -> Result<Exit, Failure> {
    let graph = plan.graph();
    let shown = |image: Index| plan.is_built(image);
    match task {
        Task::Build | Task::TemplateOnly => Ok(Exit::Done),
        Task::ListImages => {
            let names = plan.to_build().map(|image| &graph.images()[image].name);
            let lines = names.enumerate().map(|(n, name)| format!("{} : {name}\n", n + 1));
            print_out(&lines.collect::<String>())
        }
        Task::ListDependencies => {
            let nested = serde_json::to_string_pretty(&graph.nested(&shown)).expect("plain JSON");
            print_out(&format!("{nested}\n"))
        }
        Task::SaveDependency(file) => {
            fs::write(file, graph.dot(&shown)).map_err(|error| {
                Diagnostic::new(format!("'{}' can't be written: {error}", file.display()))
            })?;
            Ok(Exit::Done)
        }
    }
}

/// Builds what the plan says and reports on it.
async fn build(
    engine: DockerEngine,
    plan: &Plan<'_>,
    contexts: Contexts,
    settings: &Settings,
) -> Result<Exit, Failure> {
    let Building { threads, push_threads, retries, pull, cache, keep, .. } = settings.building;
    let builder = engine.builder(settings.building.buildkit);
    let options = runner::Options {
        threads,
        push_threads,
        retries,
        pull,
        build: BuildOptions {
            builder,
            cache,
            keep,
            network_mode: settings.building.network_mode.clone(),
            platform: settings.building.platform.clone(),
            build_args: settings.building.build_args.clone(),
        },
    };
    let name = format!("{} with {builder}", engine.description());
    let materials = materials(contexts, settings);
    let mut reports = Reports::new(&settings.output)?;
    let interrupt = interrupts()?;
    let mut emit = |event: Event| reports.hear(&event);
    let outcomes =
        runner::run(Arc::new(engine), name, plan, materials, options, interrupt, &mut emit).await;
    reports.conclude(&settings.output)?;
    let allowed = &settings.building.allowed_to_fail;
    let is_allowed = |name: &ImageName| allowed.iter().any(|allowed| allowed == name.as_str());
    let counted = outcomes.iter().filter(|(name, outcome)| {
        let forgiven = is_allowed(name) && !matches!(outcome, Outcome::Built { .. });
        if forgiven {
            terminal::warn(&format!("warning: '{name}' is allowed to fail"));
        }
        !forgiven
    });
    Ok(verdict(counted.map(|(_, outcome)| outcome), &is_allowed))
}

/// The context of every image with the sources that belong into it.
fn materials(contexts: Contexts, settings: &Settings) -> BTreeMap<ImageName, Material> {
    let fetches = settings.install_type.fetches_sources;
    contexts
        .into_iter()
        .map(|(name, (_, context))| {
            let sources = fetches.then(|| source::of_image(&name, &settings.sources));
            (name, Material { context, sources })
        })
        .collect()
}

/// Ready when the user asks to stop; a second time ends the program at once.
fn interrupts() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Diagnostic::new(format!("signals can't be heard: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(Exit::Interrupted as i32);
        });
    })
}

/// The exit code for these outcomes: the worst of them decides. Whatever an ancestor came to decides
/// for its descendants, unless it is forgiven.
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

/// All that listens to a run.
struct Reports {
    progress: Progress,
    logs: Option<Logs>,
    summary: Summary,
}

impl Reports {
    fn new(output: &Output) -> Result<Self, Failure> {
        let detail = match output.verbosity {
            Verbosity::Quiet => Detail::Failures,
            Verbosity::Normal => Detail::Changes,
            Verbosity::Debug => Detail::Logs,
        };
        let logs = match &output.logs_dir {
            None => None,
            Some(folder) => Some(Logs::create(folder).map_err(|error| {
                Diagnostic::new(format!(
                    "the log folder '{}' can't be made: {error}",
                    folder.display()
                ))
            })?),
        };
        Ok(Self { progress: Progress::on_stderr(detail), logs, summary: Summary::default() })
    }

    fn hear(&mut self, event: &Event) {
        self.progress.hear(event);
        self.summary.hear(event);
        if let Some(logs) = &mut self.logs {
            logs.hear(event);
        }
    }

    /// Writes what is written once a run is over.
    fn conclude(&self, output: &Output) -> Result<(), Failure> {
        if let Some(error) = self.logs.as_ref().and_then(Logs::failure) {
            terminal::warn(&format!("warning: the logs are incomplete: {error}"));
        }
        if !output.summary {
            return Ok(());
        }
        if output.verbosity != Verbosity::Quiet {
            terminal::warn(self.summary.text().trim_end());
        }
        let json = self.summary.json();
        if let Some(file) = &output.summary_json_file {
            let pretty = serde_json::to_string_pretty(&json).expect("plain JSON");
            fs::write(file, format!("{pretty}\n")).map_err(|error| {
                Diagnostic::new(format!(
                    "the summary can't be written to '{}': {error}",
                    file.display()
                ))
            })?;
        }
        if output.json {
            print_out(&format!("{json}\n"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_outcome_decides() {
        let built = Outcome::Built { id: String::new(), digest: None };
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
