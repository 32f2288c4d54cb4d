//! Table of all options.
//!
//! The command line, the keys of build.conf, the environment variables, `build.conf.example` and
//! the resolved settings are all derived from this table. The names are kolla-build's.

use super::option_definition::Group::{
    Build, Compatibility, Contents, Engine, Images, Listing, Output, Packages, Push, Selection,
    Templates,
};
use super::option_definition::Kind::{
    Bool, Choice, CommaList, Count, Dict, List, OptionalChoice, Path, Paths, Positional, Repeated,
    Text,
};
use super::option_definition::OptionDefault::{Computed, FromTree, Unset, Value};
use super::option_definition::{CommandName, Form, Opt, opt};

/// All options of `kiln build`.
pub const OPTIONS: &[Opt] = &[
    opt(Images, "base", "base", CommaList, FromTree, "Base distribution; may be repeated")
        .short('b')
        .value("BASE")
        .for_trees(),
    opt(
        Images,
        "install_type",
        "type",
        CommaList,
        FromTree,
        "Install type: the kind of source that the images' software is installed from; may be repeated",
    )
    .short('t')
    .value("TYPE")
    .for_trees(),
    opt(
        Images,
        "base_image",
        "base-image",
        Text,
        FromTree,
        "Base image, without its tag",
    )
    .value("IMAGE")
    .for_trees(),
    opt(Images, "base_tag", "base-tag", Text, FromTree, "Tag of the base image")
        .value("TAG")
        .for_trees(),
    opt(
        Images,
        "base_arch",
        "base-arch",
        Text,
        Computed("the architecture of --platform, else of this machine"),
        "Machine architecture to build for, in the kernel's spelling (x86_64, aarch64)",
    )
    .value("ARCH")
    .for_trees(),
    opt(Images, "namespace", "namespace", Text, FromTree, "Namespace in the image names")
        .short('n')
        .value("NAME")
        .for_trees(),
    opt(Images, "tag", "tag", Text, Computed("the version of Kiln"), "Tag of the images")
        .value("TAG")
        .for_trees(),
    opt(
        Images,
        "registry",
        "registry",
        CommaList,
        Unset,
        "Registry in the image names, as host[:port][/path]; may be repeated: images are pushed to each",
    )
    .value("HOST"),
    opt(Images, "maintainer", "maintainer", Text, FromTree, "Maintainer, stored as a label of the images")
        .value("TEXT")
        .for_trees(),
    opt(
        Templates,
        "tree",
        "tree",
        Path,
        Computed("./docker if it has a tree.toml, else the embedded tree"),
        "Folder of the template tree",
    )
    .value("DIR"),
    opt(
        Templates,
        "docker_dir",
        "docker-dir",
        Paths,
        Unset,
        "Overlay: a folder whose files replace those of the template tree or add to it; may be repeated",
    )
    .short('D')
    .value("DIR"),
    opt(
        Images,
        "image_name_prefix",
        "image-name-prefix",
        Text,
        FromTree,
        "Prefix of the image names",
    )
    .value("TEXT")
    .for_trees(),
    opt(
        Images,
        "infra_rename",
        "infra-rename",
        Bool,
        Value("false"),
        "Use a separate name prefix for images that do not depend on the install type, if the tree's release has one",
    )
    .for_trees(),
    opt(
        Templates,
        "dialect",
        "dialect",
        Text,
        Computed("the release that the tree was written for"),
        "Release of kolla-build whose rules apply to the tree, such as 14.11 or 23",
    )
    .value("VERSION"),
    opt(
        Contents,
        "ca_certificates",
        "ca-certificates",
        Path,
        Unset,
        "File with the CA certificates of the site, which all images will trust",
    )
    .value("FILE"),
    opt(
        Contents,
        "openstack_release",
        "openstack-release",
        Text,
        FromTree,
        "Release of the services in the images",
    )
    .value("RELEASE")
    .for_trees(),
    opt(
        Contents,
        "openstack_release_codename",
        "openstack-release-codename",
        Text,
        FromTree,
        "Code name of that release, as used by package repositories",
    )
    .value("NAME")
    .for_trees(),
    opt(
        Contents,
        "openstack_branch",
        "openstack-branch",
        Text,
        Computed("derived from the release"),
        "Branch of the services' sources",
    )
    .value("BRANCH")
    .for_trees(),
    opt(
        Contents,
        "openstack_branch_slashed",
        "openstack-branch-slashed",
        Text,
        Computed("derived from the release"),
        "Branch of the services' sources, in git's spelling (stable/NAME)",
    )
    .value("BRANCH")
    .for_trees(),
    opt(
        Contents,
        "tarballs_base",
        "tarballs-base",
        Text,
        FromTree,
        "Base URL of the services' source archives",
    )
    .value("URL")
    .for_trees(),
    opt(
        Contents,
        "locals_base",
        "locals-base",
        Path,
        Value("./"),
        "Folder that the locations of local sources can refer to, as $locals_base",
    )
    .value("DIR"),
    opt(
        Contents,
        "debian_arch",
        "debian-arch",
        Text,
        Computed("derived from --base-arch"),
        "Machine architecture in the locations of sources, in Debian's spelling (amd64, arm64)",
    )
    .value("ARCH")
    .for_trees(),
    opt(
        Templates,
        "template_override",
        "template-override",
        Paths,
        Unset,
        "Template override file, applied to the template of every image; may be repeated",
    )
    .value("FILE"),
    opt(
        Packages,
        "repos_yaml",
        "repos-yaml",
        Path,
        FromTree,
        "File that replaces definitions of package repositories",
    )
    .value("FILE"),
    opt(
        Packages,
        "rpm_setup_config",
        "rpm_setup_config",
        List,
        FromTree,
        ".rpm and .repo files and URLs that configure package sources, separated by commas",
    )
    .value("LIST")
    .for_trees(),
    opt(
        Packages,
        "apt_sources_list",
        "apt_sources_list",
        Path,
        Unset,
        "sources.list for the images, instead of the tree's",
    )
    .value("FILE"),
    opt(
        Packages,
        "apt_preferences",
        "apt_preferences",
        Path,
        Unset,
        "apt preferences for the images, instead of the tree's",
    )
    .value("FILE"),
    opt(
        Packages,
        "base_package_type",
        "base_package_type",
        Text,
        Computed("set by the base distribution"),
        "Package type: rpm or deb",
    )
    .value("KIND"),
    opt(
        Packages,
        "distro_package_manager",
        "distro_package_manager",
        Text,
        Computed("set by the base distribution"),
        "Package manager: the program that installs packages",
    )
    .value("PROGRAM"),
    opt(
        Packages,
        "clean_package_cache",
        "clean_package_cache",
        Bool,
        Value("true"),
        "Remove package caches from the images",
    )
    .for_trees(),
    opt(
        Contents,
        "use_dumb_init",
        "use-dumb-init",
        Bool,
        Value("true"),
        "Start containers with dumb-init",
    )
    .for_trees(),
    opt(
        Contents,
        "docker_healthchecks",
        "docker-healthchecks",
        Bool,
        Value("true"),
        "Include health check scripts in the images",
    )
    .for_trees(),
    opt(
        Templates,
        "patches_path",
        "patches-path",
        Path,
        Unset,
        "Folder of patches, with a folder for each image that has a file called series",
    )
    .value("DIR"),
    opt(
        Packages,
        "pip_index_url",
        "pip_index_url",
        Text,
        Unset,
        "Package index that pip uses during builds",
    )
    .value("URL"),
    opt(
        Packages,
        "pip_extra_index_url",
        "pip_extra_index_url",
        Text,
        Unset,
        "Additional package index for pip",
    )
    .value("URL"),
    opt(
        Packages,
        "pip_trusted_host",
        "pip_trusted_host",
        Text,
        Unset,
        "Host whose TLS certificate pip does not verify",
    )
    .value("HOST"),
    opt(
        Selection,
        "regex",
        "regex",
        Positional,
        Unset,
        "Build only images whose name contains a match, and their ancestors; takes precedence over --profile",
    )
    .value("REGEX"),
    opt(
        Selection,
        "profile",
        "profile",
        Repeated,
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
        "Skip images that have not changed since a git commit (see 'kiln affected'), unless a build needs one that the engine does not have",
    )
    .value("REF")
    .forms(&[(CommandName::Affected, Form::Hidden)]),
    opt(
        Selection,
        "skip_existing",
        "skip-existing",
        Bool,
        Value("false"),
        "Skip images whose name and tag the engine already has",
    )
    .forms(&[(CommandName::Affected, Form::Fixed("false"))]),
    opt(
        Selection,
        "skip_unchanged",
        "skip-unchanged",
        OptionalChoice(&["no", "engine", "registry"]),
        Value("no"),
        "Skip images that the engine has and whose Dockerfile, files, sources and parents have not changed; registry: also images that only the registry has",
    )
    .value("WHERE")
    .forms(&[(CommandName::Affected, Form::Fixed("no"))]),
    opt(
        Selection,
        "skip_parents",
        "skip-parents",
        Bool,
        Value("false"),
        "Skip images that other images are built on",
    ),
    opt(
        Selection,
        "enable_unbuildable",
        "enable-unbuildable",
        Bool,
        Value("false"),
        "Also build images that the tree marks as unbuildable for the base and type",
    ),
    opt(Build, "threads", "threads", Count(1), Value("8"), "Number of images to build in parallel")
        .short('T')
        .value("N"),
    opt(
        Build,
        "priorities",
        "priorities",
        Bool,
        Value("true"),
        "Start the longest remaining chain of builds first, using durations of earlier runs; without it, start by name",
    ),
    opt(
        Build,
        "state_dir",
        "state-dir",
        Path,
        Computed("$XDG_STATE_HOME/kiln, else ~/.local/state/kiln"),
        "Folder for the durations of builds, which later runs use",
    )
    .value("DIR"),
    opt(Build, "retries", "retries", Count(0), Value("3"), "Number of retries after a failure")
        .short('r')
        .value("N"),
    opt(
        Engine,
        "timeout",
        "timeout",
        Count(1),
        Value("120"),
        "Seconds without an answer from the engine or from a source's server, after which an operation fails",
    )
    .value("SECONDS"),
    opt(
        Build,
        "allowed_to_fail",
        "allowed-to-fail",
        List,
        Unset,
        "Images whose failure is reported but does not make the run fail, separated by commas",
    )
    .value("LIST"),
    opt(
        Engine,
        "engine",
        "engine",
        Choice(&["docker", "podman"]),
        Value("docker"),
        "Container engine: docker, at the endpoint that the Docker client uses, or podman, at its socket",
    )
    .value("ENGINE")
    .for_users_alone(),
    opt(
        Engine,
        "podman_base_url",
        "podman_base_url",
        Text,
        Value("unix:///run/podman/podman.sock"),
        "URL of Podman's API",
    )
    .value("URL")
    .for_users_alone(),
    opt(
        Images,
        "platform",
        "platform",
        CommaList,
        Unset,
        "Platform to build for, such as linux/arm64; may be repeated: manifest lists join the images of all platforms",
    )
    .value("PLATFORM"),
    opt(Build, "pull", "pull", Bool, Value("true"), "Pull newer versions of base images"),
    opt(
        Build,
        "refresh",
        "refresh",
        Choice(&["no", "day", "week"]),
        Value("no"),
        "Build all images anew in each day or week (UTC), not from cached steps of an earlier one, so that they get newer packages",
    )
    .value("PERIOD"),
    opt(Build, "cache", "cache", Bool, Value("true"), "Use the engine's build cache"),
    opt(
        Build,
        "keep",
        "keep",
        Bool,
        Value("false"),
        "Keep the intermediate containers of failed builds",
    ),
    opt(
        Engine,
        "buildkit",
        "buildkit",
        Bool,
        Value("true"),
        "Build with BuildKit if the engine has it",
    ),
    opt(
        Build,
        "build_args",
        "build-args",
        Dict,
        Unset,
        "Build arguments, as name:value, name:value",
    )
    .value("PAIRS"),
    opt(Build, "network_mode", "network_mode", Text, Value("host"), "Network mode of builds")
        .value("MODE"),
    opt(
        Engine,
        "squash",
        "squash",
        Bool,
        Value("false"),
        "Squash the layers that an image adds to its parent into one; needs --nobuildkit, and docker-squash if the engine is Docker",
    ),
    opt(
        Engine,
        "squash_cleanup",
        "squash-cleanup",
        Bool,
        Value("true"),
        "Remove the unsquashed image after squashing",
    ),
    opt(
        Engine,
        "squash_tmp_dir",
        "squash-tmp-dir",
        Path,
        Unset,
        "Temporary folder for squashing",
    )
    .value("DIR"),
    opt(
        Build,
        "secret",
        "secret",
        Repeated,
        Unset,
        "Secret for builds, as id=NAME[,src=FILE][,env=VARIABLE][,type=file|env]; may be repeated",
    )
    .value("SPEC")
    .for_users_alone(),
    opt(
        Build,
        "ssh",
        "ssh",
        Repeated,
        Unset,
        "ssh agent for builds, as default or ID[=SOCKET]; may be repeated",
    )
    .value("SPEC")
    .for_users_alone(),
    opt(Push, "push", "push", Bool, Value("false"), "Push the images that are built")
        .for_users_alone(),
    opt(
        Push,
        "push_when",
        "push-when",
        Choice(&["built", "all"]),
        Value("built"),
        "When to push: built: each image as soon as it is built; all: all images at the end, if none failed",
    )
    .value("WHEN"),
    opt(Push, "push_threads", "push-threads", Count(1), Value("1"), "Number of images to push in parallel")
        .value("N"),
    opt(Listing, "list_images", "list-images", Bool, Value("false"), "List the selected images")
        .forms(&[(CommandName::Affected, Form::Fixed("true"))]),
    opt(
        Listing,
        "plan",
        "plan",
        Bool,
        Value("false"),
        "Print the plan: the images to build, their order, the reasons and the estimated time; as JSON with --format json",
    ),
    opt(
        Listing,
        "list_dependencies",
        "list-dependencies",
        Bool,
        Value("false"),
        "Print the dependencies of the selected images as nested JSON",
    )
    .short('l'),
    opt(
        Listing,
        "save_dependency",
        "save-dependency",
        Path,
        Unset,
        "Write the dependency graph to this file, or to standard output if it is -",
    )
    .value("FILE"),
    opt(
        Listing,
        "graph_format",
        "graph-format",
        Choice(&["dot", "json", "mermaid"]),
        Computed("by the file name: .json, .mmd or .mermaid, else dot"),
        "Format of the graph that --save-dependency writes: dot for Graphviz, json, or mermaid",
    )
    .value("FORMAT"),
    opt(
        Listing,
        "template_only",
        "template-only",
        Bool,
        Value("false"),
        "Only write the Dockerfiles and their contexts to the work folder",
    ),
    opt(
        Listing,
        "work_dir",
        "work-dir",
        Path,
        Computed("a new temporary folder for --template-only, else none"),
        "Write the Dockerfiles and their contexts to this folder",
    )
    .value("DIR"),
    opt(
        Output,
        "logs_dir",
        "logs-dir",
        Path,
        Unset,
        "Write a log of each image to this folder",
    )
    .value("DIR"),
    opt(Output, "quiet", "quiet", Bool, Value("false"), "Print only failures").short('q'),
    opt(Output, "debug", "debug", Bool, Value("false"), "Print the logs of the images while they are built")
        .short('d'),
    opt(
        Output,
        "summary",
        "summary",
        Bool,
        Value("true"),
        "Print a summary of all images at the end",
    ),
    opt(
        Output,
        "format",
        "format",
        Choice(&["json", "none"]),
        Value("json"),
        "Format of the summary and of --plan on standard output",
    )
    .short('f')
    .value("FORMAT")
    .forms(&[
        (
            CommandName::Affected,
            Form::Own { words: &["text", "json"], default: "text", help: "Format of the list" },
        ),
        (
            CommandName::Lint,
            Form::Own { words: &["text", "json"], default: "text", help: "Format of the findings" },
        ),
    ]),
    opt(
        Output,
        "ci",
        "ci",
        Choice(&["none", "github", "gitlab"]),
        Computed("detected by GITHUB_ACTIONS or GITLAB_CI"),
        "CI service to write for: logs of failed images are folded, and failures are annotated in files",
    )
    .value("SERVICE"),
    opt(
        Output,
        "junit",
        "junit",
        Path,
        Unset,
        "Write a JUnit report to this file",
    )
    .value("FILE"),
    opt(
        Output,
        "summary_json_file",
        "summary-json-file",
        Path,
        Unset,
        "Write the summary as JSON to this file instead of standard output",
    )
    .value("FILE"),
    opt(
        Output,
        "report",
        "report",
        Path,
        Unset,
        "Write an HTML report to this file",
    )
    .value("FILE"),
    opt(
        Compatibility,
        "buildkit_builder",
        "buildkit-builder",
        Text,
        Unset,
        "Builder of docker buildx",
    )
    .value("NAME")
    .without_effect("Kiln uses the engine's own BuildKit, not docker buildx"),
];

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

/// Returns the values that a `command` uses whatever is given, by the names of the options.
pub fn fixed_values(command: CommandName) -> impl Iterator<Item = (&'static str, &'static str)> {
    OPTIONS.iter().filter_map(move |option| match option.form_in(command)? {
        Form::Fixed(value) => Some((option.name, value)),
        Form::Hidden | Form::Own { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::settings::option_definition::Kind;

    #[test]
    fn options_have_the_forms_of_their_commands() {
        let format = |command| option("format").in_command(command).unwrap().kind;
        assert_eq!(format(CommandName::Build), Kind::Choice(&["json", "none"]));
        assert_eq!(format(CommandName::Lint), Kind::Choice(&["text", "json"]));
        let fixed: Vec<_> = fixed_values(CommandName::Affected).collect();
        let expected =
            [("skip_existing", "false"), ("skip_unchanged", "no"), ("list_images", "true")];
        assert_eq!(fixed, expected);
        assert_eq!(fixed_values(CommandName::Build).count(), 0);
        let of_lint = Opt { commands: &[CommandName::Lint], ..*option("format") };
        assert!(of_lint.in_command(CommandName::Build).is_none());
        assert!(of_lint.in_command(CommandName::Lint).is_some());
    }

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
