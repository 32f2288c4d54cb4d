//! Settings of building and pushing.

use std::collections::BTreeMap;

use super::resolver::Resolver;
use crate::image::Destinations;
use crate::settings::layers::Layers;
use crate::settings::types::{
    AxisBuildSettings, BuildSettings, PushSettings, SiteFiles, SquashSettings, Task, Templating,
};

impl Resolver<'_> {
    /// Returns the settings of the builds of the whole run.
    pub(super) fn build(&mut self, task: &Task) -> BuildSettings {
        BuildSettings {
            threads: self.count("threads"),
            priorities: self.flag("priorities"),
            retries: self.count("retries"),
            pull: self.flag("pull"),
            cache: self.flag("cache"),
            keep: self.flag("keep"),
            buildkit: self.flag("buildkit") && !self.flag("squash"),
            epoch: epoch(self.layers),
            secrets: self.secret_sources(*task == Task::Build),
        }
    }

    /// Returns the settings of the builds on one axis.
    pub(super) fn axis_build(&mut self, templating: &Templating) -> AxisBuildSettings {
        let tmp_dir = self.path("squash_tmp_dir");
        let cleanup = self.flag("squash_cleanup");
        let given_args = self.dictionary("build_args");
        AxisBuildSettings {
            network_mode: self.text("network_mode").unwrap_or_else(|| "default".to_owned()),
            platform: self.platform(),
            build_args: with_environment(given_args.clone(), templating),
            given_args,
            squash: self.flag("squash").then_some(SquashSettings { cleanup, tmp_dir }),
        }
    }

    /// Returns the settings of pushing.
    pub(super) fn push(&mut self) -> PushSettings {
        let threads = self.count("push_threads");
        PushSettings {
            threads: self.flag("push").then_some(threads),
            all_or_none: self.choice("push_when") == "all",
            destinations: self.destinations(),
        }
    }

    /// Returns the registries that images are pushed to. A first one that can't be used is refused
    /// with the names of the images.
    fn destinations(&mut self) -> Destinations {
        let registries = self.words("registry");
        let refused = match Destinations::new(&registries) {
            Ok(destinations) => return destinations,
            Err(error) => error,
        };
        if registries.first() != Some(&refused.reference)
            && let Some(given) = self.given("registry")
        {
            let text = format!("'{}' can't be a registry: {}", refused.reference, refused.reason);
            self.refuse(given.refuse(text).help("give it as host[:port] or host[:port]/path"));
        }
        Destinations::default()
    }

    /// Returns the files of the site.
    pub(super) fn site_files(&mut self) -> SiteFiles {
        SiteFiles {
            ca_certificates: self.path("ca_certificates"),
            apt_sources_list: self.path("apt_sources_list"),
            apt_preferences: self.path("apt_preferences"),
        }
    }
}

/// Returns the build arguments: the user's, the settings of pip, and the proxies of the environment.
fn with_environment(
    mut build_args: BTreeMap<String, String>,
    templating: &Templating,
) -> BTreeMap<String, String> {
    let others = templating.pip_arguments.iter().map(|(name, value)| (name, value));
    for (name, value) in others.chain(&templating.environment) {
        build_args.entry(name.clone()).or_insert_with(|| value.clone());
    }
    build_args
}

/// Returns the value of SOURCE_DATE_EPOCH, in seconds since 1970.
pub(super) fn epoch(layers: &Layers) -> Option<i64> {
    layers.variable("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.trim().parse().ok())
}
