//! Table of all options: spelling, kind, default and meaning of each.
//!
//! The command line, the keys of build.conf, the environment variables, `build.conf.example` and
//! the resolved settings are all derived from this table. The names are kolla-build's.

use super::types::boolean;

/// Kind of the values of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--name` and `--noname`; true or false in a file.
    Bool,
    /// Whole number of at least this.
    Count(usize),
    /// Any text.
    Text,
    /// Path; in a file, relative to the working folder.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words; the flag without a word means the second.
    Degree(&'static [&'static str]),
    /// Texts separated by commas.
    List,
    /// One word or several, separated by commas; on the command line the option may be repeated.
    Several,
    /// Pairs of name and value, with a colon between them and separated by commas.
    Dict,
    /// Any number of texts: the option may be repeated, and the values of files and command line
    /// add up.
    Many,
    /// Like `Many`, for paths.
    Paths,
    /// Words of the command line that belong to no option; they replace a file's.
    Positional,
}

impl Kind {
    /// Returns true if the option has a single value, to which other texts can refer.
    pub fn is_of_one_value(self) -> bool {
        match self {
            Self::Bool
            | Self::Count(_)
            | Self::Text
            | Self::Path
            | Self::Choice(_)
            | Self::Degree(_)
            | Self::Several => true,
            Self::List | Self::Dict | Self::Many | Self::Paths | Self::Positional => false,
        }
    }
}

/// Value of an option that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// No value.
    Unset,
    /// This text.
    Is(&'static str),
    /// Value from the tree's manifest, under `[defaults]` or for the base.
    OfTree,
    /// Value found at run time, described here.
    Found(&'static str),
}

/// Effect of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The option does what its help says.
    AsSaid,
    /// No effect, for this reason: the option is accepted for compatibility with kolla-build.
    Nothing(&'static str),
}

/// Least trusted party that may set an option.
///
/// A template tree and a configuration file that came along with one are data from someone else:
/// they may define images, but not what happens on the machine that builds these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// Only the user: on the command line, in the environment, and in configuration files that are
    /// outside of the current checkout or named with `--config-file`.
    User,
    /// Also a configuration file found in a checkout; its paths may not leave the checkout.
    Checkout,
    /// Also the manifest of a template tree.
    Tree,
}

/// Group of options, with a heading in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Base, type and names of images.
    Images,
    /// Templates.
    Templates,
    /// Content of images.
    Contents,
    /// Package repositories.
    Packages,
    /// Selection of images.
    Selection,
    /// Course of a build.
    Build,
    /// Container engine.
    Engine,
    /// Pushing to registries.
    Push,
    /// Output of lists in place of a build.
    Listing,
    /// Output of a run.
    Output,
    /// Options of kolla-build that have no effect in Kiln.
    Compatibility,
}

impl Group {
    /// Returns the heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Images => "What the images are",
            Self::Templates => "Where the templates are",
            Self::Contents => "What is in the images",
            Self::Packages => "Packages",
            Self::Selection => "Which images",
            Self::Build => "Building",
            Self::Engine => "The engine",
            Self::Push => "Pushing",
            Self::Listing => "Instead of building",
            Self::Output => "Output",
            Self::Compatibility => "Accepted since kolla-build has them",
        }
    }
}

/// Option of `kiln build`.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Key in a file.
    pub name: &'static str,
    /// Spelling on the command line, without the two hyphens.
    pub flag: &'static str,
    /// Short form.
    pub short: Option<char>,
    /// Kind of its values.
    pub kind: Kind,
    /// Value if it is not given.
    pub default: Fallback,
    /// Placeholder of the value in the help.
    pub value: &'static str,
    /// Group in the help.
    pub group: Group,
    /// Meaning, in a sentence.
    pub help: &'static str,
    /// Effect of giving it.
    pub effect: Effect,
    /// Least trusted party that may set it.
    pub authority: Authority,
}

impl Opt {
    /// Returns the name of the environment variable that sets the option.
    pub fn environment(&self) -> String {
        format!("KILN_{}", self.name.to_ascii_uppercase())
    }

    /// Returns true if the manifest of a template tree may set the option, and values of a tree may
    /// refer to it.
    pub fn is_for_trees(&self) -> bool {
        self.authority == Authority::Tree
    }

    /// Returns true if `value` means the same as not giving the option.
    pub fn is_default(&self, value: &str) -> bool {
        match (self.default, self.kind) {
            (Fallback::Is(default), Kind::Bool) => boolean(default) == boolean(value),
            (Fallback::Is(default), _) => default == value,
            _ => value.is_empty(),
        }
    }

    /// Returns true if the values are paths.
    pub fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Path | Kind::Paths)
    }

    /// Returns true if values from several layers add up instead of replacing each other.
    pub fn adds_up(&self) -> bool {
        matches!(self.kind, Kind::Many | Kind::Paths)
    }
}

/// Returns the option called `name`.
///
/// # Panics
/// When there is none: all names passed are constants of the program.
pub fn option(name: &str) -> &'static Opt {
    OPTIONS
        .iter()
        .find(|option| option.name == name)
        .unwrap_or_else(|| panic!("no option is called {name}"))
}

const fn opt(
    group: Group,
    name: &'static str,
    flag: &'static str,
    kind: Kind,
    default: Fallback,
    help: &'static str,
) -> Opt {
    let (effect, authority) = (Effect::AsSaid, Authority::Checkout);
    Opt { name, flag, short: None, kind, default, value: "VALUE", group, help, effect, authority }
}

impl Opt {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn value(mut self, value: &'static str) -> Self {
        self.value = value;
        self
    }

    /// Allows the manifests of trees to set the option, too.
    const fn for_trees(mut self) -> Self {
        self.authority = Authority::Tree;
        self
    }

    /// Forbids configuration files of a checkout to set the option.
    const fn for_users_alone(mut self) -> Self {
        self.authority = Authority::User;
        self
    }

    const fn without_effect(mut self, reason: &'static str) -> Self {
        self.effect = Effect::Nothing(reason);
        self
    }
}

use Fallback::{Found, Is, OfTree, Unset};
use Group::{
    Build, Compatibility, Contents, Engine, Images, Listing, Output, Packages, Push, Selection,
    Templates,
};
use Kind::{Bool, Choice, Count, Degree, Dict, List, Many, Path, Paths, Positional, Several, Text};

/// All options of `kiln build`.
pub const OPTIONS: &[Opt] = &[
    opt(Images, "base", "base", Several, OfTree, "The base distro to build on; may be repeated")
        .short('b')
        .value("BASE")
        .for_trees(),
    opt(
        Images,
        "install_type",
        "type",
        Several,
        OfTree,
        "Where the software in the images comes from; may be repeated",
    )
    .short('t')
    .value("TYPE")
    .for_trees(),
    opt(
        Images,
        "base_image",
        "base-image",
        Text,
        OfTree,
        "The external image to build on, without tag",
    )
    .value("IMAGE")
    .for_trees(),
    opt(Images, "base_tag", "base-tag", Text, OfTree, "The tag of the external image to build on")
        .value("TAG")
        .for_trees(),
    opt(
        Images,
        "base_arch",
        "base-arch",
        Text,
        Found("that of --platform, else this machine's"),
        "The machine architecture to build for, as the kernel calls it",
    )
    .value("ARCH")
    .for_trees(),
    opt(Images, "namespace", "namespace", Text, OfTree, "The namespace of the images' names")
        .short('n')
        .value("NAME")
        .for_trees(),
    opt(Images, "tag", "tag", Text, Found("the version of kiln"), "The tag of the images")
        .value("TAG")
        .for_trees(),
    opt(
        Images,
        "registry",
        "registry",
        Several,
        Unset,
        "The registry in the images' names, as host[:port]; may be repeated: the images are pushed to all",
    )
    .value("HOST"),
    opt(Images, "maintainer", "maintainer", Text, OfTree, "Who looks after the images: a label")
        .value("TEXT")
        .for_trees(),
    opt(
        Templates,
        "tree",
        "tree",
        Path,
        Found("./docker where it holds a tree.toml, else the tree that kiln carries"),
        "The folder of the template tree",
    )
    .value("DIR"),
    opt(
        Templates,
        "docker_dir",
        "docker-dir",
        Paths,
        Unset,
        "A folder laid over the template tree; may be repeated",
    )
    .short('D')
    .value("DIR"),
    opt(
        Images,
        "image_name_prefix",
        "image-name-prefix",
        Text,
        OfTree,
        "What stands before the images' names",
    )
    .value("TEXT")
    .for_trees(),
    opt(
        Images,
        "infra_rename",
        "infra-rename",
        Bool,
        Is("false"),
        "Name images apart that are the same for every type, where the tree's release does",
    )
    .for_trees(),
    opt(
        Templates,
        "dialect",
        "dialect",
        Text,
        Found("the release that the tree belongs to"),
        "The release of kolla-build whose rules hold for the tree, as 14.11 or 23",
    )
    .value("VERSION"),
    opt(
        Contents,
        "ca_certificates",
        "ca-certificates",
        Path,
        Unset,
        "A file with the CA certificates of the site, for all images to trust",
    )
    .value("FILE"),
    opt(
        Contents,
        "openstack_release",
        "openstack-release",
        Text,
        OfTree,
        "The release of the services in the images",
    )
    .value("RELEASE")
    .for_trees(),
    opt(
        Contents,
        "openstack_release_codename",
        "openstack-release-codename",
        Text,
        OfTree,
        "The code name of that release, by which repositories of packages call it",
    )
    .value("NAME")
    .for_trees(),
    opt(
        Contents,
        "openstack_branch",
        "openstack-branch",
        Text,
        Found("what follows from the release"),
        "The branch of the services' sources",
    )
    .value("BRANCH")
    .for_trees(),
    opt(
        Contents,
        "openstack_branch_slashed",
        "openstack-branch-slashed",
        Text,
        Found("what follows from the release"),
        "The same, as git calls it",
    )
    .value("BRANCH")
    .for_trees(),
    opt(
        Contents,
        "tarballs_base",
        "tarballs-base",
        Text,
        OfTree,
        "The URL below which the services' source archives lie",
    )
    .value("URL")
    .for_trees(),
    opt(
        Contents,
        "locals_base",
        "locals-base",
        Path,
        Is("."),
        "The folder that the paths of local sources start from; those of a tree's manifest start from the tree unless it is given",
    )
    .value("DIR"),
    opt(
        Contents,
        "debian_arch",
        "debian-arch",
        Text,
        Found("what follows from --base-arch"),
        "The architecture in the locations of sources, as Debian calls it",
    )
    .value("ARCH")
    .for_trees(),
    opt(
        Templates,
        "template_override",
        "template-override",
        Paths,
        Unset,
        "A template laid over that of every image; may be repeated",
    )
    .value("FILE"),
    opt(
        Packages,
        "repos_yaml",
        "repos-yaml",
        Path,
        OfTree,
        "A file with repositories of packages, for those that the tree knows",
    )
    .value("FILE"),
    opt(
        Packages,
        "rpm_setup_config",
        "rpm_setup_config",
        List,
        OfTree,
        "The .rpm and .repo files and URLs that set up package sources, separated by commas",
    )
    .value("LIST")
    .for_trees(),
    opt(
        Packages,
        "apt_sources_list",
        "apt_sources_list",
        Path,
        Unset,
        "A sources.list for the images, in place of the tree's",
    )
    .value("FILE"),
    opt(
        Packages,
        "apt_preferences",
        "apt_preferences",
        Path,
        Unset,
        "Preferences of apt for the images, in place of the tree's",
    )
    .value("FILE"),
    opt(
        Packages,
        "base_package_type",
        "base_package_type",
        Text,
        Found("that of the base"),
        "The kind of packages: rpm or deb",
    )
    .value("KIND"),
    opt(
        Packages,
        "distro_package_manager",
        "distro_package_manager",
        Text,
        Found("that of the base"),
        "The program that installs packages",
    )
    .value("PROGRAM"),
    opt(
        Packages,
        "clean_package_cache",
        "clean_package_cache",
        Bool,
        Is("true"),
        "Leave no caches of packages in the images",
    )
    .for_trees(),
    opt(
        Contents,
        "use_dumb_init",
        "use-dumb-init",
        Bool,
        Is("true"),
        "Start containers with dumb-init",
    )
    .for_trees(),
    opt(
        Contents,
        "docker_healthchecks",
        "docker-healthchecks",
        Bool,
        Is("true"),
        "Put the scripts of health checks into the images",
    )
    .for_trees(),
    opt(
        Templates,
        "patches_path",
        "patches-path",
        Path,
        Unset,
        "The folder of patches: a folder for each image, with a file called series",
    )
    .value("DIR"),
    opt(
        Packages,
        "pip_index_url",
        "pip_index_url",
        Text,
        Unset,
        "The index that pip installs from during builds",
    )
    .value("URL"),
    opt(
        Packages,
        "pip_extra_index_url",
        "pip_extra_index_url",
        Text,
        Unset,
        "A further index for pip",
    )
    .value("URL"),
    opt(
        Packages,
        "pip_trusted_host",
        "pip_trusted_host",
        Text,
        Unset,
        "A host whose certificate pip does not check",
    )
    .value("HOST"),
    opt(
        Selection,
        "regex",
        "regex",
        Positional,
        Unset,
        "Build only images whose name contains a match, and their ancestors; wins over --profile",
    )
    .value("REGEX"),
    opt(
        Selection,
        "profile",
        "profile",
        Many,
        Unset,
        "Build the images of a profile; may be repeated",
    )
    .short('p')
    .value("PROFILE"),
    opt(
        Selection,
        "changed_since",
        "changed-since",
        Text,
        Unset,
        "Leave out images that are what they were at a git commit, as kiln affected tells, unless a build needs one that the engine does not have",
    )
    .value("REF"),
    opt(
        Selection,
        "skip_existing",
        "skip-existing",
        Bool,
        Is("false"),
        "Leave out images whose name and tag the engine already has",
    ),
    opt(
        Selection,
        "skip_unchanged",
        "skip-unchanged",
        Degree(&["no", "engine", "registry"]),
        Is("no"),
        "Leave out images that the engine has and whose Dockerfile, files, sources and parents are the same; registry: also those that the registry has",
    )
    .value("WHERE"),
    opt(
        Selection,
        "skip_parents",
        "skip-parents",
        Bool,
        Is("false"),
        "Leave out images that others are built on",
    ),
    opt(
        Selection,
        "enable_unbuildable",
        "enable-unbuildable",
        Bool,
        Is("false"),
        "Also build images that the tree says can't be built for the base and type",
    ),
    opt(Build, "threads", "threads", Count(1), Is("8"), "How many images to build at once")
        .short('T')
        .value("N"),
    opt(
        Build,
        "priorities",
        "priorities",
        Bool,
        Is("true"),
        "Start first what most time of building hangs on, going by earlier runs; without it, by name: for comparing both",
    ),
    opt(
        Build,
        "state_dir",
        "state-dir",
        Path,
        Found("kiln in $XDG_STATE_HOME, else ~/.local/state/kiln"),
        "The folder that keeps how long builds took, for later runs to go by",
    )
    .value("DIR"),
    opt(Build, "retries", "retries", Count(0), Is("3"), "How often to try again what failed")
        .short('r')
        .value("N"),
    opt(
        Engine,
        "timeout",
        "timeout",
        Count(1),
        Is("120"),
        "Seconds without any word from the engine, or from a server of sources, after which an operation has failed",
    )
    .value("SECONDS"),
    opt(
        Build,
        "allowed_to_fail",
        "allowed-to-fail",
        List,
        Unset,
        "Images whose failure is told but does not make the run fail, separated by commas",
    )
    .value("LIST"),
    opt(
        Engine,
        "engine",
        "engine",
        Choice(&["docker", "podman"]),
        Is("docker"),
        "The engine: docker where the Docker client finds it, or podman at its socket",
    )
    .value("ENGINE")
    .for_users_alone(),
    opt(
        Engine,
        "podman_base_url",
        "podman_base_url",
        Text,
        Is("unix:///run/podman/podman.sock"),
        "Where podman listens",
    )
    .value("URL")
    .for_users_alone(),
    opt(
        Images,
        "platform",
        "platform",
        Several,
        Unset,
        "The platform to build for, as linux/arm64; may be repeated: the images are joined by manifest lists",
    )
    .value("PLATFORM"),
    opt(Build, "pull", "pull", Bool, Is("true"), "Ask for newer versions of external base images"),
    opt(Build, "cache", "cache", Bool, Is("true"), "Let the engine use its build cache"),
    opt(
        Build,
        "keep",
        "keep",
        Bool,
        Is("false"),
        "Keep the intermediate containers of failed builds",
    ),
    opt(
        Engine,
        "buildkit",
        "buildkit",
        Bool,
        Is("true"),
        "Build with BuildKit where the engine has it",
    ),
    opt(
        Build,
        "build_args",
        "build-args",
        Dict,
        Unset,
        "The values of build arguments, as name:value, name:value",
    )
    .value("PAIRS"),
    opt(Build, "network_mode", "network_mode", Text, Is("host"), "The network that builds run in")
        .value("MODE"),
    opt(
        Engine,
        "squash",
        "squash",
        Bool,
        Is("false"),
        "Make one layer of what an image adds to its parent, with docker-squash where Docker builds; without BuildKit",
    ),
    opt(
        Engine,
        "squash_cleanup",
        "squash-cleanup",
        Bool,
        Is("true"),
        "Remove an image once it is squashed",
    ),
    opt(
        Engine,
        "squash_tmp_dir",
        "squash-tmp-dir",
        Path,
        Unset,
        "The folder to squash images in",
    )
    .value("DIR"),
    opt(
        Build,
        "secret",
        "secret",
        Many,
        Unset,
        "A secret for builds, as id=NAME[,src=FILE][,env=VARIABLE][,type=file|env]; may be repeated",
    )
    .value("SPEC")
    .for_users_alone(),
    opt(
        Build,
        "ssh",
        "ssh",
        Many,
        Unset,
        "An agent of ssh for builds, as default or ID[=SOCKET]; may be repeated",
    )
    .value("SPEC")
    .for_users_alone(),
    opt(Push, "push", "push", Bool, Is("false"), "Push each image once it is built")
        .for_users_alone(),
    opt(
        Push,
        "push_when",
        "push-when",
        Choice(&["built", "all"]),
        Is("built"),
        "Push an image once it is built, or none before all are and none failed",
    )
    .value("WHEN"),
    opt(Push, "push_threads", "push-threads", Count(1), Is("1"), "How many images to push at once")
        .value("N"),
    opt(Listing, "list_images", "list-images", Bool, Is("false"), "List the selected images"),
    opt(
        Listing,
        "plan",
        "plan",
        Bool,
        Is("false"),
        "Tell what would be built, in which order and why, and about how long it would take; with --format json for programs",
    ),
    opt(
        Listing,
        "list_dependencies",
        "list-dependencies",
        Bool,
        Is("false"),
        "Show as nested JSON what is built on what",
    )
    .short('l'),
    opt(
        Listing,
        "save_dependency",
        "save-dependency",
        Path,
        Unset,
        "Write what is built on what to a file, or to standard output where it is -",
    )
    .value("FILE"),
    opt(
        Listing,
        "graph_format",
        "graph-format",
        Choice(&["dot", "json", "mermaid"]),
        Found("by the file's ending: .json, .mmd or .mermaid, else dot"),
        "The format of what --save-dependency writes: for Graphviz, for programs or for Mermaid",
    )
    .value("FORMAT"),
    opt(
        Listing,
        "template_only",
        "template-only",
        Bool,
        Is("false"),
        "Only write the Dockerfiles and their contexts to the work folder",
    ),
    opt(
        Listing,
        "work_dir",
        "work-dir",
        Path,
        Found("a new temporary folder for --template-only, none otherwise"),
        "Write the Dockerfiles and their contexts to this folder",
    )
    .value("DIR"),
    opt(
        Output,
        "logs_dir",
        "logs-dir",
        Path,
        Unset,
        "Write each image's log to a file in this folder",
    )
    .value("DIR"),
    opt(Output, "quiet", "quiet", Bool, Is("false"), "Say only what failed").short('q'),
    opt(Output, "debug", "debug", Bool, Is("false"), "Show the images' logs as they come")
        .short('d'),
    opt(
        Output,
        "summary",
        "summary",
        Bool,
        Is("true"),
        "Sum up at the end what became of each image",
    ),
    opt(
        Output,
        "format",
        "format",
        Choice(&["json", "none"]),
        Is("json"),
        "The format of the summary on standard output, and of --plan where it is given",
    )
    .short('f')
    .value("FORMAT"),
    opt(
        Output,
        "ci",
        "ci",
        Choice(&["none", "github", "gitlab"]),
        Found("the one that GITHUB_ACTIONS or GITLAB_CI tells of"),
        "The service whose log this is: logs of failed images are folded, failures shown in files",
    )
    .value("SERVICE"),
    opt(
        Output,
        "junit",
        "junit",
        Path,
        Unset,
        "Write what became of each image to a file, as a JUnit report",
    )
    .value("FILE"),
    opt(
        Output,
        "summary_json_file",
        "summary-json-file",
        Path,
        Unset,
        "Write the summary as JSON to this file and not to standard output",
    )
    .value("FILE"),
    opt(
        Output,
        "report",
        "report",
        Path,
        Unset,
        "Write a page of HTML that tells what became of the images to this file",
    )
    .value("FILE"),
    opt(
        Compatibility,
        "buildkit_builder",
        "buildkit-builder",
        Text,
        Unset,
        "The builder that docker buildx uses",
    )
    .value("NAME")
    .without_effect("Kiln builds with the BuildKit of the engine itself, and not with docker buildx"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_spelling_stands_for_two_options() {
        let names: BTreeSet<_> = OPTIONS.iter().map(|o| o.name).collect();
        let flags: BTreeSet<_> = OPTIONS.iter().map(|o| o.flag).collect();
        let shorts: BTreeSet<_> = OPTIONS.iter().filter_map(|o| o.short).collect();
        assert_eq!(names.len(), OPTIONS.len());
        assert_eq!(flags.len(), OPTIONS.len());
        assert_eq!(shorts.len(), OPTIONS.iter().filter(|o| o.short.is_some()).count());
    }
}
