//! Resolution of all settings, before anything else is done.
//!
//! [`Layers`] collects the given values; [`settle`] turns them and the manifest of the tree into
//! one immutable [`Settings`], in which every value is typed and checked. No later code reads the
//! environment, a configuration file or a default.

mod axes;
mod conflicts;
mod credential_files;
mod endpoint;
mod example;
pub mod ini;
mod interpolate;
mod layers;
pub mod options;
mod platform;
mod profiles;
mod references;
mod secrets;
mod show;
mod sources;
mod state;
mod templating;
mod trust;
mod types;
mod users;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::Regex;

use crate::diagnostic::{Diagnostic, Diagnostics, Result};
use crate::dialect::{self, Dialect};
use crate::endpoint::Endpoint;
use crate::image::{Naming, Whereabouts};
use crate::source::Source;
use crate::tree::{Base, InstallType, Manifest, PresetValue, UserVariables};

use axes::OneOf;
pub use axes::settle;
use credential_files::credential_files;
pub use example::example;
pub use layers::{Given, Layers, Origin};
use options::{Kind, OPTIONS, option};
pub use platform::Platform;
pub use profiles::Profiles;
use references::References;
pub use secrets::{Lent, SecretSource};
pub use show::{Shown, show};
pub use templating::Templating;
pub use trust::{check_found_file, check_manifest, checkout_of};

/// File name that stands for standard output.
const STDOUT: &str = "-";

/// Base, install type and architecture that images are built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// Name of the base distro.
    pub base: String,
    /// Install type that images are named and rendered as: the origin of the software.
    pub install_type: String,
    /// External image, without tag.
    pub base_image: String,
    /// Tag of the external image.
    pub base_tag: String,
    /// Machine architecture, by the kernel's name.
    pub arch: String,
}

impl Axis {
    /// Returns Debian's name of the machine architecture; the kernel's name if Debian has no other.
    pub fn debian_arch(&self) -> &str {
        debian_arch(&self.arch)
    }

    /// Returns the axis as the type that [`dialect`] uses.
    pub fn as_dialects_ask(&self) -> dialect::Axis<'_> {
        dialect::Axis {
            base: &self.base,
            base_tag: &self.base_tag,
            arch: &self.arch,
            install_type: &self.install_type,
        }
    }
}

/// Settings of building and pushing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Building {
    /// Largest number of concurrent builds.
    pub threads: usize,
    /// True if images with the longest remaining chain of builds start first; otherwise images
    /// start in order of their names.
    pub priorities: bool,
    /// File with the durations of earlier builds; `None` if there is no folder for it.
    pub durations_file: Option<PathBuf>,
    /// Largest number of concurrent pushes; `None` if nothing is pushed.
    pub push_threads: Option<usize>,
    /// True if images are pushed only after all have been built without a failure.
    pub push_all_or_none: bool,
    /// Number of retries after a failure.
    pub retries: usize,
    /// Longest time that the engine, or a server of sources, may be silent.
    pub timeout: Duration,
    /// True if newer external images are pulled.
    pub pull: bool,
    /// True if the engine may use its build cache.
    pub cache: bool,
    /// True if containers of failed builds are kept.
    pub keep: bool,
    /// True if BuildKit is used where the engine has it.
    pub buildkit: bool,
    /// Network that builds run in.
    pub network_mode: String,
    /// Place where an unchanged image has to be for its build to be skipped; `None` if nothing is
    /// skipped.
    pub skip_unchanged: Option<Whereabouts>,
    /// Settings of squashing; `None` if images are not squashed.
    pub squash: Option<Squash>,
    /// Platform to build for; `None` for the engine's own.
    pub platform: Option<Platform>,
    /// Registries that images are pushed to in addition to the one in their names.
    pub registries: Vec<String>,
    /// True if the configured engine is Podman.
    pub is_podman: bool,
    /// Address of the engine; `None` if no engine is needed.
    pub endpoint: Option<Endpoint>,
    /// Files in which credentials for registries are looked up, in order.
    pub credential_files: Vec<PathBuf>,
    /// Images whose failure does not make the run fail.
    pub allowed_to_fail: Vec<String>,
    /// Values of build arguments, by name.
    pub build_args: BTreeMap<String, String>,
    /// Date of everything that is made, in seconds since 1970, if SOURCE_DATE_EPOCH is set.
    pub epoch: Option<i64>,
    /// Secrets and ssh agents that builds may use, and that images do not contain.
    pub lent: Lent,
}

/// Settings of squashing an image's layers into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squash {
    /// True if the original image is removed after squashing.
    pub cleanup: bool,
    /// Temporary folder for squashing; `None` for one of the system's.
    pub tmp_dir: Option<PathBuf>,
}

/// Action to take on the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Build it.
    Build,
    /// List the images.
    ListImages,
    /// Print the dependencies between images.
    ListDependencies,
    /// Print the plan, with reasons.
    Plan(PlanFormat),
    /// Write the dependency graph.
    SaveDependency(Target, GraphFormat),
    /// Write Dockerfiles and contexts only.
    TemplateOnly,
}

impl Task {
    /// Returns true for a build and for the plan of one: both refuse the same options.
    pub fn is_of_build(&self) -> bool {
        matches!(self, Self::Build | Self::Plan(_))
    }
}

/// Format of a printed plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFormat {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// Format of a dependency graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphFormat {
    /// Format of Graphviz.
    Dot,
    /// JSON for programs.
    Json,
    /// Format of Mermaid.
    Mermaid,
}

/// Destination of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// Amount of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// Failures and progress.
    Normal,
    /// Failures, progress and the logs of images.
    Debug,
}

/// Settings of the output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Amount of output.
    pub verbosity: Verbosity,
    /// Folder for the logs of images.
    pub logs_dir: Option<PathBuf>,
    /// True if a summary is printed.
    pub summary: bool,
    /// True if the summary is written to standard output as JSON.
    pub json: bool,
    /// File for the summary as JSON.
    pub summary_json_file: Option<PathBuf>,
    /// File for the HTML report.
    pub report: Option<PathBuf>,
    /// File for the JUnit report.
    pub junit: Option<PathBuf>,
    /// Service for continuous integration whose log the output becomes.
    pub ci: Option<Service>,
}

/// Service for continuous integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
}

/// All resolved settings of a run on one axis.
#[derive(Debug)]
pub struct Settings {
    /// Base, install type and architecture that images are built for.
    pub axis: Axis,
    /// Entry of the manifest for the base.
    pub base: Base,
    /// Label that tells the images of this axis from those of others; `None` if there is one axis
    /// only.
    pub label: Option<String>,
    /// Rule for the names of images.
    pub naming: Naming,
    /// Rule for the names of the manifest lists that join the images of several platforms.
    pub lists: Option<Naming>,
    /// Rule for the names of images that are the same for every install type, if they have one of
    /// their own.
    pub naming_apart: Option<Naming>,
    /// Maintainer of the images: a label.
    pub maintainer: String,
    /// Entry of the manifest for the install type.
    pub install_type: InstallType,
    /// Further values for templates.
    pub templating: Templating,
    /// Service users, by name.
    pub users: BTreeMap<String, UserVariables>,
    /// All sources, sorted by name; empty if the install type fetches none.
    pub sources: Vec<Source>,
    /// File with the CA certificates of the site.
    pub ca_certificates: Option<PathBuf>,
    /// Regular expressions that are searched in image names; `None` selects all images.
    pub patterns: Option<Vec<Regex>>,
    /// True if images that are declared unbuildable are built, too.
    pub enable_unbuildable: bool,
    /// Commit to compare with: images that have not changed since are left out.
    pub changed_since: Option<String>,
    /// True if images that the engine has are left out.
    pub skip_existing: bool,
    /// True if images that are parents of others are left out.
    pub skip_parents: bool,
    /// Settings of building and pushing.
    pub building: Building,
    /// Action to take on the plan.
    pub task: Task,
    /// Day of the run, as `20260131`.
    pub today: String,
    /// Folder that Dockerfiles and contexts are written to.
    pub work_dir: Option<PathBuf>,
    /// Settings of the output.
    pub output: Output,
}

fn settle_values(mut values: Values<'_>, profiles: &Profiles) -> Result<Settings> {
    let (layers, manifest) = (values.layers, values.manifest);
    let one_of = values.one_of.clone();
    values.check_all();
    let axis_and_base = values.axis();
    let naming = axis_and_base.as_ref().and_then(|(axis, ..)| values.naming(axis));
    let patterns = values.patterns(profiles);
    let templating = values.templating();
    let task = values.task();
    let building = values.building(&templating, &task);
    values.refuse_conflicts(&building, &task);
    let output = values.output();
    let users = users::users(layers, manifest, &mut values.errors);
    let maintainer = values.text("maintainer").unwrap_or_default();
    let sources = match &axis_and_base {
        Some((_, _, install_type)) if install_type.fetches_sources => values.sources(),
        _ => Vec::new(),
    };
    let ca_certificates = values.path("ca_certificates");
    let enable_unbuildable = values.flag("enable_unbuildable");
    let changed_since = values.text("changed_since");
    let skip_existing = values.flag("skip_existing");
    let skip_parents = values.flag("skip_parents");
    let work_dir = values.path("work_dir");
    match (axis_and_base, naming, values.errors) {
        (Some((axis, base, install_type)), Some((naming, lists)), errors) if errors.is_empty() => {
            Ok(Settings {
                label: one_of.label,
                base,
                lists,
                naming_apart: apart(&naming, &axis, manifest, &templating),
                naming,
                axis,
                maintainer,
                install_type,
                templating,
                users,
                sources,
                ca_certificates,
                patterns,
                enable_unbuildable,
                changed_since,
                skip_existing,
                skip_parents,
                building,
                task,
                today: today(layers),
                work_dir,
                output,
            })
        }
        (_, _, errors) => Err(Diagnostics(errors)),
    }
}

/// Returns all errors of configuration files for a tree, including those in values that a build
/// would not use. Options that the files leave to the command line may be missing.
pub fn check(layers: &Layers, manifest: &Manifest, profiles: &Profiles) -> Vec<Diagnostic> {
    let mut errors = profiles.wrong(References::new(layers, manifest));
    for (layers, one_of) in axes::axes(layers, manifest) {
        let mut partial = Values { is_partial: true, one_of, ..Values::new(&layers, manifest) };
        drop(partial.sources());
        errors.append(&mut partial.errors);
        if let Err(found) = settle_values(partial, profiles) {
            errors.extend(found.0);
        }
    }
    Diagnostics(errors).distinct().0
}

/// Returns the folders that are laid over a tree with this `manifest`.
///
/// # Errors
/// When one refers to an unknown option.
pub fn overlays(layers: &Layers, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let mut values = Values::new(layers, manifest);
    let folders = values.all("docker_dir").into_iter().map(|given| given.value.into()).collect();
    if values.errors.is_empty() { Ok(folders) } else { Err(Diagnostics(values.errors)) }
}

/// Returns the rule for the names of images that are the same for every install type; `None` if
/// they follow the common rule.
fn apart(
    naming: &Naming,
    axis: &Axis,
    manifest: &Manifest,
    templating: &Templating,
) -> Option<Naming> {
    let knows = manifest.dialect.is_some_and(Dialect::has_infra_prefix);
    (knows && templating.infra_rename).then(|| naming.with_prefix(&format!("{}-infra-", axis.base)))
}

/// Returns the value of SOURCE_DATE_EPOCH, in seconds since 1970.
fn epoch(layers: &Layers) -> Option<i64> {
    layers.variable("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.trim().parse().ok())
}

/// Returns the day of the run: that of SOURCE_DATE_EPOCH in UTC, else today in local time.
fn today(layers: &Layers) -> String {
    let named = epoch(layers).and_then(|seconds| Timestamp::from_second(seconds).ok());
    let day = match named {
        Some(named) => named.to_zoned(TimeZone::UTC),
        None => Timestamp::now().to_zoned(local_time_zone(layers)),
    };
    day.strftime("%Y%m%d").to_string()
}

/// Returns the time zone of the machine, or the one that TZ names. A lookup by name lists all zones
/// of the machine, which takes longer than reading hundreds of templates, so the machine's own zone
/// is read directly from its file.
fn local_time_zone(layers: &Layers) -> TimeZone {
    let is_named = layers.variable("TZ").is_some();
    let own = (!is_named).then(|| std::fs::read("/etc/localtime").ok()).flatten();
    own.and_then(|zone| TimeZone::tzif("", &zone).ok()).unwrap_or_else(TimeZone::system)
}

/// Returns the words in the value of an option that takes several.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(layers::SEPARATOR).map(types::strip).filter(|word| !word.is_empty())
}

/// Returns Debian's name of a machine architecture.
fn debian_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "ppc64le" => "ppc64el",
        other => other,
    }
}

/// Reader of typed values; collects the errors.
struct Values<'a> {
    layers: &'a Layers,
    manifest: &'a Manifest,
    errors: Vec<Diagnostic>,
    one_of: OneOf,
    /// True if a required option may be missing.
    is_partial: bool,
}

impl<'a> Values<'a> {
    fn new(layers: &'a Layers, manifest: &'a Manifest) -> Self {
        Self { layers, manifest, errors: Vec::new(), one_of: OneOf::default(), is_partial: false }
    }

    fn references(&self) -> References<'a> {
        References::new(self.layers, self.manifest)
    }

    /// Returns the value of an option, with its references to other options replaced.
    fn given(&mut self, name: &str) -> Option<Given> {
        let given = self.layers.one(name, self.manifest)?;
        Some(self.complete(name, given))
    }

    /// Returns all values of an option that adds up, with their references replaced.
    fn all(&mut self, name: &str) -> Vec<Given> {
        let given = self.layers.all(name).into_iter();
        given.map(|given| self.complete(name, given)).collect()
    }

    /// Returns a value of the option `name`, with its references to other options replaced.
    fn complete(&mut self, name: &str, given: Given) -> Given {
        let completed = self.references().complete(name, given.clone()).and_then(|completed| {
            if option(name).is_path() {
                trust::check_path(name, &completed)?;
            }
            Ok(completed)
        });
        completed.unwrap_or_else(|error| {
            self.refuse(error);
            given
        })
    }

    /// Records an error, unless it is recorded already: an option may be read more than once.
    fn refuse(&mut self, error: Diagnostic) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Reads every option, including those that have no effect because of others.
    fn check_all(&mut self) {
        for option in OPTIONS {
            match option.kind {
                Kind::Bool => drop(self.flag(option.name)),
                Kind::Count(_) => drop(self.count(option.name)),
                Kind::Choice(_) | Kind::Degree(_) => drop(self.choice(option.name)),
                Kind::Dict => drop(self.dictionary(option.name)),
                Kind::List => drop(self.list(option.name)),
                Kind::Text | Kind::Path | Kind::Several => drop(self.given(option.name)),
                Kind::Many | Kind::Paths | Kind::Positional => drop(self.all(option.name)),
            }
        }
    }

    /// Returns the values of an option that takes a list, with their references replaced.
    fn list(&mut self, name: &str) -> Vec<String> {
        if self.layers.early(name).is_none()
            && let Some((PresetValue::List(values), _)) = layers::of_tree(name, self.manifest)
        {
            return values.clone();
        }
        self.given(name).map(|given| types::list(&given.value)).unwrap_or_default()
    }

    /// Returns the value of an option, or the value derived from other options if it is not given.
    fn text_or_derived(&mut self, name: &str) -> String {
        let given = self.text(name);
        given.or_else(|| self.references().derived(name)).unwrap_or_default()
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.given(name).map(|given| given.value).filter(|value| !value.is_empty())
    }

    /// Returns the words of an option that takes several.
    fn words(&mut self, name: &str) -> Vec<String> {
        let given = self.given(name);
        given.map(|given| words(&given.value).map(str::to_owned).collect()).unwrap_or_default()
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Returns the value of an option that either the tree's manifest or the user has to set.
    fn required(&mut self, name: &str) -> Option<Given> {
        let given = self.given(name).filter(|given| !given.value.is_empty());
        if given.is_none() && !self.is_partial {
            let flag = option(name).flag;
            self.refuse(
                Diagnostic::new(format!(
                    "--{flag} is not given, and the tree has no default for it"
                ))
                .help(format!("give --{flag}, or set {name} under [defaults] in tree.toml")),
            );
        }
        given
    }

    fn flag(&mut self, name: &str) -> bool {
        let Some(given) = self.given(name) else { return false };
        match types::boolean(&given.value) {
            Some(value) => value,
            None => {
                let message = format!("'{}' is not a value of {name}", given.value);
                self.refuse(given.refuse(message).help("write true or false"));
                false
            }
        }
    }

    fn count(&mut self, name: &str) -> usize {
        let Kind::Count(least) = option(name).kind else { unreachable!("{name} is no count") };
        let Some(given) = self.given(name) else { return least };
        let count = types::integer(&given.value).and_then(|count| usize::try_from(count).ok());
        match count {
            Some(count) if count >= least => count,
            _ => {
                let message = format!("{name} can't be '{}'", given.value);
                self.refuse(
                    given.refuse(message).help(format!("write a whole number of at least {least}")),
                );
                least
            }
        }
    }

    fn choice(&mut self, name: &str) -> String {
        let (Kind::Choice(words) | Kind::Degree(words)) = option(name).kind else {
            unreachable!("{name} is no choice")
        };
        let Some(given) = self.given(name) else { return words[0].to_owned() };
        if !words.contains(&given.value.as_str()) {
            let message = format!("{name} can't be '{}'", given.value);
            self.refuse(given.refuse(message).help(format!("choose one of: {}", words.join(", "))));
        }
        given.value
    }

    fn axis(&mut self) -> Option<(Axis, Base, InstallType)> {
        let base = self.required("base")?;
        let Some(known) = self.manifest.bases.get(&base.value) else {
            let message = format!("the tree has no base '{}'", base.value);
            let names = self.manifest.bases.keys().map(String::as_str);
            self.errors.push(base.refuse(message).suggest(&base.value, names));
            return None;
        };
        let install_type = self.required("install_type")?;
        if !known.install_types.contains(&install_type.value) {
            let message = format!("the base '{}' has no type '{}'", base.value, install_type.value);
            let names = known.install_types.iter().map(String::as_str);
            self.errors.push(install_type.refuse(message).suggest(&install_type.value, names));
            return None;
        }
        let about = self.manifest.install_types.get(&install_type.value);
        let about = about.cloned().unwrap_or_default();
        let axis = Axis {
            base: base.value,
            install_type: about.renders_as.clone().unwrap_or(install_type.value),
            base_image: self.text("base_image").unwrap_or_else(|| known.image.clone()),
            base_tag: self.text("base_tag").unwrap_or_else(|| known.tag.clone()),
            arch: self.text_or_derived("base_arch"),
        };
        if axis.base_image.is_empty() {
            let message = format!("the base image of '{}' is unknown", axis.base);
            self.errors.push(Diagnostic::new(message).help("name it with --base-image"));
            return None;
        }
        let dialect = self.manifest.dialect;
        if let Some(reason) = dialect.and_then(|d| d.refusal(axis.as_dialects_ask())) {
            let message =
                format!("the tree's release does not support {} {}", axis.base, axis.install_type);
            self.errors.push(Diagnostic::new(message).note(reason).help("choose --type source"));
            return None;
        }
        let mut base = known.clone();
        if let Some(dialect) = self.manifest.dialect {
            dialect.package_manager(axis.as_dialects_ask()).clone_into(&mut base.package_manager);
        }
        if let Some(given) = self.text("distro_package_manager") {
            base.package_manager = given;
        }
        if let Some(given) = self.text("base_package_type") {
            base.package_type = given;
        }
        Some((axis, base, about))
    }

    /// Returns the rule for the names of images, and that for the manifest lists that join several
    /// platforms.
    fn naming(&mut self, axis: &Axis) -> Option<(Naming, Option<Naming>)> {
        let namespace = self.required("namespace")?;
        if let Err(error) = trust::check_namespace(&namespace) {
            self.errors.push(error);
            return None;
        }
        let prefix = match self.given("image_name_prefix") {
            Some(given) => given.value,
            None => format!("{}-{}-", axis.base, axis.install_type),
        };
        let tag = self.text_or_derived("tag");
        let registry = self.words("registry").into_iter().next();
        let name = |tag: &str| Naming::new(registry.as_deref(), &namespace.value, &prefix, tag);
        let made = match &self.one_of.tag_suffix {
            None => name(&tag).map(|naming| (naming, None)),
            Some(suffix) => {
                name(&format!("{tag}-{suffix}")).and_then(|naming| Ok((naming, Some(name(&tag)?))))
            }
        };
        made.map_err(|error| {
            let parts = ["registry", "namespace", "tag"];
            let mut refused =
                Diagnostic::new(error.to_string()).help("check --registry, --namespace and --tag");
            for part in parts.iter().filter_map(|part| self.given(part)) {
                if let Some(place) = part.origin.place() {
                    refused = refused.at(place.clone());
                }
            }
            self.errors.push(refused);
        })
        .ok()
    }

    /// Returns the patterns on the command line or in a file, else those of the chosen profiles;
    /// `None` if neither is given.
    fn patterns(&mut self, profiles: &Profiles) -> Option<Vec<Regex>> {
        let asked = self.all("regex");
        let chosen = self.all("profile");
        if asked.is_empty() && chosen.is_empty() {
            return None;
        }
        let mut patterns = Vec::new();
        for given in &asked {
            match Regex::new(&given.value) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.errors.push(profiles::bad_regex(given, &error)),
            }
        }
        for given in chosen.iter().filter(|_| asked.is_empty()) {
            match profiles.patterns(given, self.references()) {
                Ok(found) => patterns.extend(found),
                Err(found) => self.errors.extend(found.0),
            }
        }
        Some(patterns)
    }

    /// Returns the sources of all images, with their references to options replaced.
    fn sources(&mut self) -> Vec<Source> {
        let debian_arch = self.text_or_derived("debian_arch");
        let locals_base = self.path("locals_base").unwrap_or_default();
        let surroundings = sources::Surroundings {
            references: References::new(self.layers, self.manifest),
            debian_arch: &debian_arch,
            locals_base: &locals_base,
            is_base_given: self.layers.early("locals_base").is_some(),
        };
        sources::sources(self.layers, self.manifest, &surroundings, &mut self.errors)
    }

    /// Returns the build arguments: the user's, the settings of pip, and the proxies of the
    /// environment.
    fn build_args(&mut self, templating: &Templating) -> BTreeMap<String, String> {
        let mut build_args = self.dictionary("build_args");
        let others = templating.pip_arguments.iter().map(|(name, value)| (name, value));
        for (name, value) in others.chain(&templating.environment) {
            build_args.entry(name.clone()).or_insert_with(|| value.clone());
        }
        build_args
    }

    /// Returns the `name:value` pairs of an option.
    fn dictionary(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some(given) = self.given(name) else { return BTreeMap::new() };
        match types::dictionary(&given.value) {
            Ok(pairs) => pairs,
            Err(wrong) => {
                // Neither the value nor its line is shown if it may contain a secret.
                let error = if types::names_a_secret(&given.value) {
                    Diagnostic::new(format!("{name} of {} has an invalid pair", given.origin))
                } else {
                    given.refuse(format!("'{wrong}' in {name} is not a pair"))
                };
                self.refuse(error.help("write name:value, name:value"));
                BTreeMap::new()
            }
        }
    }

    fn building(&mut self, templating: &Templating, task: &Task) -> Building {
        let push_threads = self.count("push_threads");
        let is_podman = self.choice("engine") == "podman";
        let tmp_dir = self.path("squash_tmp_dir");
        let cleanup = self.flag("squash_cleanup");
        let squash = self.flag("squash").then_some(Squash { cleanup, tmp_dir });
        let is_build = *task == Task::Build;
        let skip_unchanged = match self.choice("skip_unchanged").as_str() {
            "engine" => Some(Whereabouts::Engine),
            "registry" => Some(Whereabouts::Registry),
            _ => None,
        };
        let looks_for_existing = self.flag("skip_existing") || skip_unchanged.is_some();
        Building {
            skip_unchanged,
            credential_files: credential_files(self.layers, is_podman),
            build_args: self.build_args(templating),
            epoch: epoch(self.layers),
            platform: self.platform(),
            registries: self.words("registry").into_iter().skip(1).collect(),
            is_podman,
            endpoint: self.endpoint(is_build || looks_for_existing),
            lent: self.lent(is_build),
            allowed_to_fail: self.list("allowed_to_fail"),
            threads: self.count("threads"),
            priorities: self.flag("priorities"),
            durations_file: self.durations_file(),
            push_threads: self.flag("push").then_some(push_threads),
            push_all_or_none: self.choice("push_when") == "all",
            retries: self.count("retries"),
            timeout: Duration::from_secs(self.count("timeout") as u64),
            pull: self.flag("pull"),
            cache: self.flag("cache"),
            keep: self.flag("keep"),
            buildkit: self.flag("buildkit") && squash.is_none(),
            squash,
            network_mode: self.text("network_mode").unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// Returns the address of the engine, if one is needed. A check of files ignores the Docker
    /// client's settings on this machine, since the files may be used on another one.
    fn endpoint(&mut self, is_needed: bool) -> Option<Endpoint> {
        let found = match self.choice("engine").as_str() {
            "podman" => {
                let given = self.given("podman_base_url")?;
                endpoint::of_option("podman_base_url", &given, self.layers)
            }
            _ if is_needed && !self.is_partial => endpoint::of_docker_client(self.layers),
            _ => return None,
        };
        match found {
            Ok(endpoint) => is_needed.then_some(endpoint),
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }

    /// Returns the task; if several are requested, the one that kolla-build would choose.
    fn task(&mut self) -> Task {
        if self.flag("template_only") {
            Task::TemplateOnly
        } else if let Some(file) = self.path("save_dependency") {
            self.save_dependency(file)
        } else if self.flag("list_images") {
            Task::ListImages
        } else if self.flag("list_dependencies") {
            Task::ListDependencies
        } else if self.flag("plan") {
            Task::Plan(self.plan_format())
        } else {
            Task::Build
        }
    }

    fn save_dependency(&mut self, file: PathBuf) -> Task {
        let ending = file.extension().and_then(OsStr::to_str).unwrap_or_default();
        let of_ending = match ending.to_ascii_lowercase().as_str() {
            "json" => GraphFormat::Json,
            "mmd" | "mermaid" => GraphFormat::Mermaid,
            _ => GraphFormat::Dot,
        };
        let format = match self.given("graph_format").map(|given| given.value).as_deref() {
            Some("dot") => GraphFormat::Dot,
            Some("json") => GraphFormat::Json,
            Some("mermaid") => GraphFormat::Mermaid,
            _ => of_ending,
        };
        let is_stdout = file.as_os_str() == STDOUT;
        let target = if is_stdout { Target::Stdout } else { Target::File(file) };
        Task::SaveDependency(target, format)
    }

    /// Returns the format of the plan: text, unless JSON is requested explicitly. The default of
    /// the option, JSON, holds for the summary only.
    fn plan_format(&mut self) -> PlanFormat {
        match self.given("format") {
            Some(Given { value, origin }) if value == "json" && origin != Origin::Default => {
                PlanFormat::Json
            }
            _ => PlanFormat::Text,
        }
    }

    fn output(&mut self) -> Output {
        let verbosity = match (self.flag("debug"), self.flag("quiet")) {
            (true, _) => Verbosity::Debug,
            (false, true) => Verbosity::Quiet,
            (false, false) => Verbosity::Normal,
        };
        let json = self.choice("format") == "json";
        let summary_json_file = self.path("summary_json_file").filter(|_| json);
        Output {
            verbosity,
            logs_dir: self.path("logs_dir"),
            summary: self.flag("summary"),
            json: json && summary_json_file.is_none(),
            summary_json_file,
            report: self.path("report"),
            junit: self.path("junit"),
            ci: self.service(),
        }
    }

    /// Returns the service that is named by the option, or else detected by its environment
    /// variable.
    fn service(&mut self) -> Option<Service> {
        if self.given("ci").is_some() {
            return match self.choice("ci").as_str() {
                "github" => Some(Service::GitHub),
                "gitlab" => Some(Service::GitLab),
                _ => None,
            };
        }
        let says_so = |name: &str| self.layers.variable(name) == Some("true");
        match (says_so("GITHUB_ACTIONS"), says_so("GITLAB_CI")) {
            (true, _) => Some(Service::GitHub),
            (false, true) => Some(Service::GitLab),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MANIFEST: &str = r#"
        [defaults]
        namespace = "family"
        base = "one"
        install_type = "binary"
        [bases.one]
        image = "one"
        tag = "1"
        package_type = "deb"
        package_manager = "apt"
        install_types = ["binary"]
        [install_types.variant]
        renders_as = "binary"
        variables = { flavour = "v" }
        [install_types.source]
        fetches_sources = true
        [sources]
        app = { type = "pip", location = "app==1", sha256 = "00" }
        other = { type = "git", location = "https://r", reference = "v1" }
        [bases.two]
        image = "two"
        tag = "2"
        package_type = "rpm"
        package_manager = "dnf"
        install_types = ["binary", "source", "variant"]
    "#;

    /// Resolves settings from flags, the text of a file and variables.
    fn settled(
        flags: &[(&'static str, &str)],
        file: &str,
        environment: &[(&str, &str)],
    ) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("build.conf");
        fs::write(&path, file).unwrap();
        let mut given: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (name, value) in flags {
            given.entry(name).or_default().push((*value).to_owned());
        }
        let environment =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let manifest = Manifest::parse(MANIFEST, "tree.toml").unwrap();
        let layers = Layers::gather(given, &[path], &environment)?;
        let files = BTreeMap::from([("few".to_owned(), "# a comment\n^a$\n\nb\n".to_owned())]);
        let profiles = Profiles::new(files, &layers);
        settle(&layers, &manifest, &profiles).map(|mut settled| settled.remove(0))
    }

    fn message(result: Result<Settings>) -> String {
        let diagnostics = result.unwrap_err().0;
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        let diagnostic = &diagnostics[0];
        format!("{} | {}", diagnostic.message, diagnostic.help.as_deref().unwrap_or(""))
    }

    #[test]
    fn the_stronger_layer_wins() {
        let file = "[DEFAULT]\nthreads = 2\n";
        let threads = |flags, file, env| settled(flags, file, env).unwrap().building.threads;
        assert_eq!(threads(&[], "", &[]), 8);
        assert_eq!(threads(&[], file, &[]), 2);
        assert_eq!(threads(&[], file, &[("KILN_THREADS", "3")]), 3);
        assert_eq!(threads(&[("threads", "4")], file, &[("KILN_THREADS", "3")]), 4);
        let of_tree = settled(&[], "", &[]).unwrap();
        assert_eq!(of_tree.axis.base, "one");
        assert_eq!(settled(&[], "[DEFAULT]\nbase = two", &[]).unwrap().axis.base_image, "two");
    }

    #[test]
    fn the_summary_goes_to_a_file_as_json_alone() {
        let output = |flags| settled(flags, "", &[]).unwrap().output;
        let to_file = output(&[("summary_json_file", "f")]);
        assert_eq!((to_file.json, to_file.summary_json_file), (false, Some(PathBuf::from("f"))));
        let none = output(&[("summary_json_file", "f"), ("format", "none")]);
        assert_eq!((none.json, none.summary_json_file), (false, None));
    }

    #[test]
    fn a_graph_is_written_as_its_file_ends_unless_the_format_is_said() {
        let task = |flags: &[(&'static str, &str)]| settled(flags, "", &[]).unwrap().task;
        let file = |name: &str| Target::File(PathBuf::from(name));
        let table = [
            ("graph.dot", GraphFormat::Dot),
            ("graph", GraphFormat::Dot),
            ("graph.json", GraphFormat::Json),
            ("graph.JSON", GraphFormat::Json),
            ("graph.mmd", GraphFormat::Mermaid),
            ("graph.mermaid", GraphFormat::Mermaid),
        ];
        for (name, format) in table {
            let expected = Task::SaveDependency(file(name), format);
            assert_eq!(task(&[("save_dependency", name)]), expected);
        }
        let said = [("save_dependency", "graph.json"), ("graph_format", "mermaid")];
        assert_eq!(task(&said), Task::SaveDependency(file("graph.json"), GraphFormat::Mermaid));
        let stdout = Task::SaveDependency(Target::Stdout, GraphFormat::Dot);
        assert_eq!(task(&[("save_dependency", "-")]), stdout);
    }

    #[test]
    fn a_plan_is_text_unless_json_is_asked_for() {
        let task = |flags: &[(&'static str, &str)], file: &str| {
            settled(&[&[("plan", "true")], flags].concat(), file, &[]).unwrap().task
        };
        assert_eq!(task(&[], ""), Task::Plan(PlanFormat::Text));
        assert_eq!(task(&[("format", "none")], ""), Task::Plan(PlanFormat::Text));
        assert_eq!(task(&[("format", "json")], ""), Task::Plan(PlanFormat::Json));
        assert_eq!(task(&[], "[DEFAULT]\nformat = json\n"), Task::Plan(PlanFormat::Json));
        assert_eq!(task(&[("list_images", "true")], ""), Task::ListImages);
    }

    #[test]
    fn names_follow_from_the_axis() {
        let flags =
            [("base", "two"), ("install_type", "source"), ("registry", "h:1"), ("tag", "t")];
        let settings = settled(&flags, "", &[]).unwrap();
        let reference = settings.naming.reference("x").unwrap();
        assert_eq!(reference.to_string(), "h:1/family/two-source-x:t");
        let plain = settled(&[], "", &[]).unwrap().naming.reference("x").unwrap();
        assert_eq!(plain.to_string(), format!("family/one-binary-x:{}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn patterns_win_over_profiles_and_profiles_add_up() {
        let patterns = |flags: &[(&'static str, &str)], file: &str| {
            let found = settled(flags, file, &[]).unwrap().patterns;
            found.map(|p| p.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(patterns(&[], ""), None);
        assert_eq!(patterns(&[("profile", "few")], "").as_deref(), Some("^a$ b"));
        assert_eq!(patterns(&[("profile", "few"), ("regex", "x")], "").as_deref(), Some("x"));
        let own = "[DEFAULT]\nprofile = own\n[profiles]\nown = ^c, d\nfew = z\n";
        assert_eq!(patterns(&[], own).as_deref(), Some("^c d"));
        assert_eq!(patterns(&[("profile", "few")], own).as_deref(), Some("^c d z"));
    }

    #[test]
    fn wrong_values_are_refused_with_a_cure() {
        type Flags = &'static [(&'static str, &'static str)];
        let table: &[(Flags, &str, &str)] = &[
            (&[("base", "onw")], "", "the tree has no base 'onw' | did you mean 'one'?"),
            (&[("base", "zzz")], "", "the tree has no base 'zzz' | known: one, two"),
            (
                &[("install_type", "binray")],
                "",
                "the base 'one' has no type 'binray' | did you mean 'binary'?",
            ),
            (
                &[("install_type", "source")],
                "",
                "the base 'one' has no type 'source' | known: binary",
            ),
            (&[("threads", "0")], "", "threads can't be '0' | write a whole number of at least 1"),
            (&[("format", "xml")], "", "format can't be 'xml' | it is one of: json, none"),
            (
                &[("save_dependency", "f"), ("graph_format", "svg")],
                "",
                "graph_format can't be 'svg' | it is one of: dot, json, mermaid",
            ),
            (
                &[("graph_format", "json")],
                "",
                "graph_format has no effect without --save-dependency | add --save-dependency FILE, or - for standard output",
            ),
            (&[("profile", "feww")], "", "there is no profile 'feww' | did you mean 'few'?"),
            (&[("regex", "(")], "", "'(' is not a regular expression | "),
            (
                &[],
                "[DEFAULT]\npush = maybe",
                "'maybe' is neither true nor false, as push is | write true or false",
            ),
            (
                &[],
                "[DEFAULT]\nthraeds = 1",
                "there is no option 'thraeds' | did you mean 'threads'?",
            ),
            (
                &[],
                "[DEFAULT]\nbase-tag = 1",
                "there is no option 'base-tag' | in a file it is called 'base_tag'",
            ),
            (
                &[],
                "[profile]\na = b",
                "there is no key 'a' in a section like [profile], which describes a source | did you mean the section [profiles]?",
            ),
            (
                &[("secret", "id=a,sorce=f")],
                "",
                "a secret has no key 'sorce' | did you mean 'source'?",
            ),
            (
                &[("secret", "open sesame")],
                "",
                "a secret consists of key=value pairs | write id=NAME[,src=FILE][,env=VARIABLE][,type=file|env]",
            ),
            (
                &[("secret", "id=a,src=/nonexistent/f")],
                "",
                "the file '/nonexistent/f' of the secret 'a' does not exist | ",
            ),
            (
                &[("secret", "id=a,env=V")],
                "",
                "the environment variable V of the secret 'a' is not set | ",
            ),
            (
                &[("secret", "id=a,src=Cargo.toml"), ("secret", "id=a,src=Cargo.lock")],
                "",
                "the id 'a' is given twice | ",
            ),
            (
                &[("secret", "id=a,src=Cargo.toml"), ("buildkit", "false")],
                "",
                "--secret needs BuildKit, which is switched off | leave out --nobuildkit",
            ),
            (
                &[("secret", "id=a,src=Cargo.toml"), ("squash", "true")],
                "",
                "--secret needs BuildKit, which is switched off | leave out --squash, which uses the classic builder",
            ),
            (
                &[("ssh", "default")],
                "",
                "SSH_AUTH_SOCK is not set: no ssh agent is running | start one with ssh-agent, or write default=SOCKET",
            ),
            (
                &[("ssh", "k=Cargo.toml")],
                "",
                "'Cargo.toml', the ssh agent 'k', is not a socket | Kiln forwards ssh agents, not keys: add the key to an agent with ssh-add",
            ),
            (
                &[("namespace", "Upper")],
                "",
                "'Upper/one-binary-x:1.0.0' is not an image reference: a repository is lower-case letters and digits, with one '.', '_' or '__', or hyphens, between them | check --registry, --namespace and --tag",
            ),
        ];
        for (flags, file, expected) in table {
            assert_eq!(message(settled(flags, file, &[])), *expected);
        }
    }

    #[test]
    fn secrets_of_variables_are_hidden_and_checked_where_there_is_a_build() {
        let flags = [("secret", "id=a,env=V")];
        let settings = settled(&flags, "", &[("V", "open sesame")]).unwrap();
        assert_eq!(settings.building.lent.secrets.len(), 1);
        assert!(!format!("{settings:?}").contains("sesame"));
        let listed = [("secret", "id=a,src=/nonexistent"), ("list_images", "true")];
        assert!(settled(&listed, "", &[]).is_ok());
    }

    #[test]
    fn the_engine_is_looked_for_where_one_is_needed() {
        let wrong = [("DOCKER_HOST", "nowhere")];
        let listing = [("list_images", "true")];
        assert_eq!(settled(&listing, "", &wrong).unwrap().building.endpoint, None);
        assert!(message(settled(&[], "", &wrong)).starts_with("DOCKER_HOST can't be 'nowhere'"));
        let podman = "[DEFAULT]\nengine = podman\npodman_base_url = tcp:/h\n";
        let refused = message(settled(&listing, podman, &wrong));
        assert!(refused.starts_with("podman_base_url can't be 'tcp:/h': it has no scheme"));
    }

    #[test]
    fn a_variant_is_named_as_what_it_renders_as() {
        let settings = settled(&[("base", "two"), ("install_type", "variant")], "", &[]).unwrap();
        assert_eq!(settings.naming.prefix(), "two-binary-");
        assert_eq!(settings.install_type.variables["flavour"].as_str(), Some("v"));
        assert!(settings.sources.is_empty());
    }

    #[test]
    fn references_stand_for_values() {
        let table = [
            ("$base-$$ \\$x", "one-$ $x"),
            ("$threads $push <$registry>", "8 False <>"),
            ("${base_tag} $base_image", "1 one"),
            ("$openstack_branch_slashed", "stable/"),
            ("${other.reference} ${app.enabled}", "v1 True"),
            ("$network_mode\nnetwork_mode = ${engine}x", "dockerx"),
        ];
        for (text, expected) in table {
            let file = format!("[DEFAULT]\nmaintainer = {text}\n");
            assert_eq!(settled(&[], &file, &[]).unwrap().maintainer, expected, "{text}");
        }
        let file = "[DEFAULT]\nallowed_to_fail = $base-a,b\nregex = ^$base$\n";
        let settings = settled(&[], file, &[]).unwrap();
        assert_eq!(settings.building.allowed_to_fail, ["one-a", "b"]);
        assert_eq!(settings.patterns.unwrap()[0].as_str(), "^one$");
    }

    #[test]
    fn references_that_lead_nowhere_are_refused() {
        let cure = "write $$ for a dollar sign";
        let table = [
            (
                "maintainer = $treads",
                "there is no option 'treads', which maintainer refers to | did you mean 'threads'?"
                    .to_owned(),
            ),
            (
                "maintainer = ${other.x}",
                format!("there is no option 'other.x', which maintainer refers to | {cure}"),
            ),
            (
                "locals_base = $locals_base",
                format!(
                    "locals_base refers to 'locals_base', whose value refers to itself | {cure}"
                ),
            ),
            (
                "maintainer = $profile",
                format!("maintainer can't refer to 'profile', which takes several values | {cure}"),
            ),
            (
                "[x-user]\ngroup = $nobody",
                format!("there is no option 'nobody', which group in [x-user] refers to | {cure}"),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(message(settled(&[], &format!("[DEFAULT]\n{text}\n"), &[])), expected);
        }
    }

    #[test]
    fn names_of_sections_may_have_capital_letters() {
        let file = "[DEFAULT]\nprofile = own\n[Profiles]\nown = a\n[X-USER]\nuid = 5\n[x-user]\ngid = 6\n[y-user]\n";
        let settings = settled(&[], file, &[]).unwrap();
        assert_eq!(settings.patterns.unwrap()[0].as_str(), "a");
        let ids = |name: &str| (settings.users[name].uid, settings.users[name].gid);
        assert_eq!(ids("X"), (Some(5), Some(6)));
        assert_eq!(ids("y"), (None, None));
        let errors = settled(&[], "[default]\nthreads = 1\n", &[]).unwrap_err();
        assert_eq!(errors.0[0].help.as_deref(), Some("did you mean the section [DEFAULT]?"));
    }

    #[test]
    fn sections_change_and_add_sources() {
        let flags = [("base", "two"), ("install_type", "source")];
        let sources = |file: &str| {
            let found = settled(&flags, file, &[])?.sources;
            let shown = found.into_iter().map(|s| {
                format!("{} {:?} {} {:?} {:?}", s.name, s.kind, s.location, s.reference, s.digest)
            });
            Ok::<_, Diagnostics>(shown.collect::<Vec<_>>())
        };
        let app = "app Pip app==1 None Sha256(\"00\")";
        let other = "other Git https://r Some(\"v1\") Unknown";
        assert_eq!(sources("").unwrap(), [app, other]);
        let changed = "[app]\nlocation = app==2\n[other]\nenabled = no\n[app-plugin-x]\ntype = local\nlocation = /p\n";
        assert_eq!(
            sources(changed).unwrap(),
            ["app Pip app==2 None Unknown", "app-plugin-x Local /p None Unknown"]
        );
        let message = |file| sources(file).unwrap_err().0.remove(0).message;
        let digest = "[app]\nsha256 = nowhere:aa\n";
        assert!(message(digest).starts_with("there is no digest for "), "{}", message(digest));
        assert_eq!(message("[app]\ntype = svn\n"), "the source [app] has an unknown type: 'svn'");
        assert_eq!(message("[new]\ntype = url\n"), "the source [new] has no location");
        assert_eq!(
            message("[app]\nlocaton = x\n"),
            "there is no key 'locaton' in a section like [app], which describes a source"
        );
    }

    #[test]
    fn every_wrong_value_is_told_at_once() {
        let errors = settled(&[("threads", "x"), ("retries", "-1")], "", &[]).unwrap_err();
        assert_eq!(errors.0.len(), 2);
    }
}
