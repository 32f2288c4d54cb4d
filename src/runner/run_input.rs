//! Input of a run: its settings, the services that it uses, and the input of each build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::engine::BuildOptions;
use crate::event::{Existing, Outcome};
use crate::graph::Index;
use crate::image::{Destinations, ImageName, ImageRef};
use crate::plan::{Forecast, Plan};
use crate::registry::ImageRegistry;
use crate::retry::RetryPolicy;
use crate::source::{Fetcher, ImageSources};

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Largest number of builds at the same time.
    pub threads: usize,
    /// Largest number of pushes at the same time; `None` if nothing is pushed.
    pub push_threads: Option<usize>,
    /// True if pushes wait until all images are built, and nothing is pushed if one failed.
    pub push_all_or_none: bool,
    /// Images whose failure does not prevent the pushes in that mode.
    pub forgiven: BTreeSet<ImageName>,
    /// Bounds on the retries of builds, pushes and fetches.
    pub retry: RetryPolicy,
    /// True if external images are pulled first.
    pub pull: bool,
    /// Registries that images are pushed to.
    pub destinations: Destinations,
    /// External images that are known to be out of reach, each with the outcome of the images that
    /// need it.
    pub unavailable: BTreeMap<ImageRef, Outcome>,
    /// State of images that exist already, where the caller queried it.
    pub existing: BTreeMap<ImageName, Existing>,
    /// Durations of builds in earlier runs, where they are known.
    pub durations: BTreeMap<ImageName, Duration>,
    /// True if the image with the longest remaining chain of builds starts first; otherwise images
    /// start by name.
    pub priorities: bool,
}

/// Input of an image's build.
#[derive(Debug, Clone)]
pub struct BuildInput {
    /// Build context, without the files that have to be fetched.
    pub context: Context,
    /// Sources to fetch into the context; `None` if there are none.
    pub sources: Option<ImageSources>,
    /// Options of the build.
    pub options: Arc<BuildOptions>,
}

/// Services that a run uses.
pub struct Backends<E> {
    /// Engine that builds and pushes.
    pub engine: Arc<E>,
    /// Description of the engine for the reports.
    pub engine_name: String,
    /// Registries that serve the images.
    pub registry: Arc<dyn ImageRegistry>,
    /// Fetcher of the sources that are not in the tree.
    pub fetcher: Arc<dyn Fetcher>,
}

/// External image, and the platform to pull it for; `None` for the engine's own platform.
pub type Pull = (ImageRef, Option<String>);

/// Returns the external images to pull before the builds, each for the platform of its `FROM` or
/// that of the build, and those that are wanted for several platforms. An engine has only one image
/// under a reference, so the latter are left to the builds, each of which gets its own.
pub fn bases(
    plan: &Plan<'_>,
    inputs: &BTreeMap<ImageName, BuildInput>,
) -> (Vec<Pull>, BTreeSet<ImageRef>) {
    let graph = plan.graph();
    let mut wanted: BTreeMap<&ImageRef, BTreeSet<Option<String>>> = BTreeMap::new();
    for image in plan.to_build() {
        let of_build = &inputs[&graph.images()[image].name].options.platform;
        for used in graph.uses(image).iter().filter(|used| used.sibling.is_none()) {
            let platform = used.platform.as_ref().map(ToString::to_string);
            wanted.entry(&used.image).or_default().insert(platform.or_else(|| of_build.clone()));
        }
    }
    let (of_one, ambiguous): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.into_iter().partition(|(_, platforms)| platforms.len() == 1);
    let pulls = of_one.into_iter().flat_map(|(reference, platforms)| {
        platforms.into_iter().map(|platform| (reference.clone(), platform))
    });
    (pulls.collect(), ambiguous.into_keys().cloned().collect())
}

/// Returns the images with sources to fetch, in the order in which they can be built.
pub(super) fn to_fetch(
    plan: &Plan<'_>,
    forecast: &Forecast<'_>,
    inputs: &BTreeMap<ImageName, BuildInput>,
) -> Vec<Index> {
    let images = plan.graph().images();
    let has_sources = |image: &Index| {
        let sources = &inputs[&images[*image].name].sources;
        sources.as_ref().is_some_and(|sources| !sources.is_empty())
    };
    let mut to_fetch: Vec<Index> = plan.to_build().filter(has_sources).collect();
    let (earliest, ranks) = (forecast.earliest(), forecast.ranks(true));
    to_fetch.sort_by_key(|image| (earliest[*image], ranks[*image]));
    to_fetch
}
