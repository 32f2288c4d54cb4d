//! Resolved settings: typed and checked values, in groups by what uses them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::client_config::CredentialFile;
use crate::client_config::endpoint::Endpoint;
use crate::console::{CiService, Verbosity};
use crate::dialect::AxisNames;
use crate::image::{Destinations, ImageLocation, Naming, Platform};
use crate::name_pattern::NamePattern;
use crate::secret::Secret;
use crate::source::Source;
use crate::tree::{Base, InstallType, UserVariables};

/// All resolved settings of a run.
#[derive(Debug)]
pub struct Settings {
    /// Settings of the whole run.
    pub run: RunSettings,
    /// Settings of each axis, at least one.
    pub axes: Vec<AxisSettings>,
}

/// Settings of a whole run, the same for all its axes.
#[derive(Debug)]
pub struct RunSettings {
    /// Action to take on the plan.
    pub task: Task,
    /// Day of the run, as `20260131`.
    pub today: String,
    /// Day or week whose packages the images get: instructions of an earlier one are not taken from
    /// the build cache; `None` if they may be of any age.
    pub refresh: Option<String>,
    /// Selection of images.
    pub selection: SelectionSettings,
    /// Files of the site that become part of the tree.
    pub site: SiteFiles,
    /// Course of the builds.
    pub build: BuildSettings,
    /// Pushing to registries.
    pub push: PushSettings,
    /// Container engine.
    pub engine: EngineSettings,
    /// Configuration of the clients of container engines.
    pub clients: ClientSettings,
    /// Output of the run.
    pub output: OutputSettings,
    /// State that a run keeps for later runs.
    pub state: StateSettings,
}

/// Settings of one axis of a run.
#[derive(Debug)]
pub struct AxisSettings {
    /// Base, install type and architecture that images are built for.
    pub axis: Axis,
    /// Entry of the manifest for the base.
    pub base: Base,
    /// Entry of the manifest for the install type.
    pub install_type: InstallType,
    /// Label that tells the images of this axis from those of others; `None` if there is one axis
    /// only.
    pub label: Option<String>,
    /// Rule for the names of images.
    pub naming: Naming,
    /// Rule for the names of the manifest lists that join the images of several platforms.
    pub lists: Option<Naming>,
    /// Rule for the names of images that are the same for every install type, if they have one of
    /// their own.
    pub infra_naming: Option<Naming>,
    /// Maintainer of the images: a label.
    pub maintainer: String,
    /// Further values for templates.
    pub templating: Templating,
    /// Service users, by name.
    pub users: BTreeMap<String, UserVariables>,
    /// All sources, sorted by name; empty if the install type fetches none.
    pub sources: Vec<Source>,
    /// Options of the builds that may differ between axes.
    pub build: AxisBuildSettings,
}

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

    /// Returns the names by which the rules of a release select.
    pub fn names(&self) -> AxisNames<'_> {
        AxisNames {
            base: &self.base,
            base_tag: &self.base_tag,
            arch: &self.arch,
            install_type: &self.install_type,
        }
    }
}

/// Returns Debian's name of a machine architecture.
pub(super) fn debian_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "ppc64le" => "ppc64el",
        other => other,
    }
}

/// Values for templates in addition to the axis and the names of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templating {
    /// Release of the services.
    pub release: String,
    /// Code name of the release.
    pub codename: Option<String>,
    /// Branch of the services' sources.
    pub branch: String,
    /// Name of the branch in git.
    pub branch_slashed: String,
    /// URL below which the services' source archives are.
    pub tarballs_base: String,
    /// Templates laid over those of all images.
    pub overrides: Vec<PathBuf>,
    /// The user's file of package repositories.
    pub repos_yaml: Option<PathBuf>,
    /// Files and URLs that set up package repositories on bases with rpm.
    pub rpm_setup_config: Vec<String>,
    /// True if package caches are removed.
    pub clean_package_cache: bool,
    /// True if containers start with dumb-init.
    pub use_dumb_init: bool,
    /// True if images get the scripts of health checks.
    pub healthchecks: bool,
    /// True if images that are the same for every install type have a name prefix of their own.
    pub infra_rename: bool,
    /// Folder of patches.
    pub patches_path: Option<PathBuf>,
    /// Settings of pip, as build arguments with their values.
    pub pip_arguments: Vec<(String, String)>,
    /// Variables of the environment that templates see.
    pub environment: BTreeMap<String, String>,
}

/// Files of the site that become part of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFiles {
    /// CA certificates.
    pub ca_certificates: Option<PathBuf>,
    /// The user's sources.list.
    pub apt_sources_list: Option<PathBuf>,
    /// The user's preferences of apt.
    pub apt_preferences: Option<PathBuf>,
}

/// Settings of the selection of images.
#[derive(Debug)]
pub struct SelectionSettings {
    /// Patterns that are searched in image names; `None` selects all images.
    pub patterns: Option<Vec<NamePattern>>,
    /// True if images that are declared unbuildable are built, too.
    pub enable_unbuildable: bool,
    /// Commit to compare with: images that have not changed since are left out.
    pub changed_since: Option<String>,
    /// True if images that the engine has are left out.
    pub skip_existing: bool,
    /// Place where an unchanged image has to be for its build to be skipped; `None` if nothing is
    /// skipped.
    pub skip_unchanged: Option<ImageLocation>,
    /// True if images that are parents of others are left out.
    pub skip_parents: bool,
    /// Images whose failure does not make the run fail.
    pub allowed_to_fail: Vec<String>,
}

/// Settings of the course of the builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// Largest number of concurrent builds.
    pub threads: usize,
    /// True if images with the longest remaining chain of builds start first; otherwise images
    /// start in order of their names.
    pub priorities: bool,
    /// Number of retries after a failure.
    pub retries: usize,
    /// True if newer external images are pulled.
    pub pull: bool,
    /// True if the engine may use its build cache.
    pub cache: bool,
    /// True if containers of failed builds are kept.
    pub keep: bool,
    /// True if BuildKit is used where the engine has it.
    pub buildkit: bool,
    /// Date of everything that is made, in seconds since 1970, if SOURCE_DATE_EPOCH is set.
    pub epoch: Option<i64>,
    /// Secrets and ssh agents that builds may use, and that images do not contain.
    pub secrets: SecretSources,
}

/// Options of the builds on one axis: their values may refer to the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisBuildSettings {
    /// Network that builds run in.
    pub network_mode: String,
    /// Platform to build for; `None` for the engine's own.
    pub platform: Option<Platform>,
    /// Values of build arguments, by name.
    pub build_args: BTreeMap<String, String>,
    /// Build arguments that the user gives as such. Only these replace defaults of `ARG` before a
    /// `FROM`. The others are proxies and package indexes of the network that a build runs in, which
    /// must not decide what an image is made from.
    pub given_args: BTreeMap<String, String>,
    /// Settings of squashing; `None` if images are not squashed.
    pub squash: Option<SquashSettings>,
}

/// Settings of squashing an image's layers into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SquashSettings {
    /// True if the original image is removed after squashing.
    pub cleanup: bool,
    /// Temporary folder for squashing; `None` for one of the system's.
    pub tmp_dir: Option<PathBuf>,
}

/// Origins of the secrets and ssh agents that builds may request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretSources {
    /// Origins of secrets, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Sockets of ssh agents, by id.
    pub agents: BTreeMap<String, PathBuf>,
}

impl SecretSources {
    /// Returns true if there are neither secrets nor agents.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.agents.is_empty()
    }
}

/// Origin of the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// File, which is read when building begins.
    File(PathBuf),
    /// Variable of the environment, with this value.
    Variable(Secret),
}

/// Settings of pushing to registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSettings {
    /// Largest number of concurrent pushes; `None` if nothing is pushed.
    pub threads: Option<usize>,
    /// True if images are pushed only after all have been built without a failure.
    pub all_or_none: bool,
    /// Registries that images are pushed to.
    pub destinations: Destinations,
}

impl PushSettings {
    /// Returns true if images are pushed.
    pub fn is_wanted(&self) -> bool {
        self.threads.is_some()
    }
}

/// Settings of the container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Address of the engine; `None` if no engine is needed.
    pub endpoint: Option<Endpoint>,
    /// True if the engine is said to be Podman. One that is not may still be at the address.
    pub is_podman: bool,
    /// Longest time that the engine, or a server of sources, may be silent.
    pub timeout: Duration,
}

/// Configuration of the clients of container engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Files in which credentials for registries are looked up, in order.
    pub credential_files: Vec<CredentialFile>,
}

/// Settings of the state that a run keeps for later runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSettings {
    /// File with the durations of earlier builds; `None` if there is no folder for it.
    pub durations_file: Option<PathBuf>,
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

/// Settings of the output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSettings {
    /// Amount of output.
    pub verbosity: Verbosity,
    /// Folder that Dockerfiles and contexts are written to.
    pub work_dir: Option<PathBuf>,
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
    pub ci: Option<CiService>,
}
