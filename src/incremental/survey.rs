//! Finds unchanged images: compares the fingerprints that the images of a run would have with those
//! of the images in the engine and the registry.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use rayon::prelude::*;

use super::SurveyError;
use crate::diagnostic::Diagnostic;
use crate::engine::{Engine, EngineError, ImageInfo, Inspected};
use crate::files::private_folder;
use crate::fingerprint::{Change, Fingerprinted, LABEL, Parts, in_label, is_verified};
use crate::graph::{self, Index};
use crate::image::{ImageName, ImageRef, Whereabouts};
use crate::plan::{Decision, Plan, Skip};
use crate::registry::ImageRegistry;
use crate::retry::RetryPolicy;
use crate::runner::{BuildInput, bases};
use crate::settings::RunSettings;
use crate::source;

/// Number of sources or registries that are queried at once.
const AT_ONCE: usize = 16;

/// Value of a part that can't be determined. No image has it.
const UNKNOWN: &str = "unknown";

/// Expected fingerprints of a run, and the existing images.
pub struct Survey {
    /// Expected fingerprints of the plan's images, by name.
    pub expected: BTreeMap<ImageName, Fingerprinted>,
    /// Images that the engine has.
    pub known: BTreeMap<ImageRef, ImageInfo>,
    /// Images in the engine whose layers are not on top of their parents' layers, whatever their
    /// fingerprints.
    misplaced: BTreeSet<ImageName>,
}

/// Comparison of the image in the engine with the one that would be built.
pub enum Standing {
    /// The engine has no image of this name and tag.
    Absent,
    /// The image has no fingerprint.
    Unlabelled,
    /// The image has the same fingerprint.
    Unchanged,
    /// The image has the same fingerprint, but its layers are not on top of its parent's.
    Misplaced,
    /// The image is made of different parts, which its label lists.
    Changed(Vec<Change>),
    /// The image has this fingerprint; its label does not tell its parts, or they show no change.
    BuiltAs(String),
}

impl Survey {
    /// Queries the engine for its images; if `pull` is true, pulls newer external images first.
    ///
    /// # Errors
    /// When the engine can't be queried, or a file of the tree can't be read.
    pub async fn of<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        inputs: &BTreeMap<ImageName, BuildInput>,
        pull: bool,
        pace: source::Pace,
        warn: &dyn Fn(&str),
    ) -> Result<Self, SurveyError> {
        let bases = Bases::of(engine, registry, plan, inputs, pull, warn).await?;
        let own = own_parts(plan, inputs, pace).await?;
        let graph = plan.graph();
        let external = |_: &ImageName, reference: &ImageRef| {
            bases.part(reference).unwrap_or(UNKNOWN).to_owned()
        };
        let names = graph.images().iter().map(|image| image.name.clone());
        let expected = names.zip(graph.fingerprints(&own, &external)).collect();
        let known = engine.images().await?;
        let mut survey = Self { expected, known, misplaced: BTreeSet::new() };
        survey.look_at_layers(engine, plan, inputs, &bases).await?;
        Ok(survey)
    }

    /// Checks that the images with the expected fingerprint are on top of their parents' layers.
    /// Only earlier versions of Kiln labelled images without checking that.
    async fn look_at_layers<E: Engine>(
        &mut self,
        engine: &E,
        plan: &Plan<'_>,
        inputs: &BTreeMap<ImageName, BuildInput>,
        bases: &Bases,
    ) -> Result<(), SurveyError> {
        let graph = plan.graph();
        let doubtful: Vec<Index> = graph
            .order()
            .iter()
            .copied()
            .filter(|index| self.is_doubtful(&graph.images()[*index]))
            .collect();
        let parents = doubtful.iter().filter_map(|index| graph.parent(*index));
        let to_ask: BTreeSet<Index> = doubtful.iter().copied().chain(parents).collect();
        let asked = to_ask.into_iter().map(|index| async move {
            Ok::<_, EngineError>((index, engine.image(&graph.images()[index].reference).await?))
        });
        let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        let mut found: BTreeMap<Index, Inspected> = BTreeMap::new();
        while let Some(answer) = answers.next().await {
            let (index, image) = answer?;
            found.extend(image.map(|image| (index, image)));
        }
        drop(answers);
        // An image comes after its parent.
        for index in doubtful {
            let image = &graph.images()[index];
            let is_local = |base: &ImageRef| {
                let is_for_some = inputs[&image.name].options.platform.is_some();
                !is_for_some
                    && !image.dockerfile.names_platforms()
                    && !bases.digests.contains_key(base)
            };
            let parent = match (graph.parent(index), image.dockerfile.parent()) {
                (Some(parent), _) => {
                    let of_tree = &graph.images()[parent];
                    found
                        .get(&parent)
                        .filter(|_| self.is_in_engine(&of_tree.name, &of_tree.reference))
                }
                (None, Some(base)) if is_local(&base.image) => bases.images.get(&base.image),
                (None, _) => continue,
            };
            let is_placed = match (found.get(&index), parent) {
                (Some(image), Some(parent)) => image.is_on(parent),
                _ => false,
            };
            if !is_placed {
                self.misplaced.insert(image.name.clone());
            }
        }
        Ok(())
    }

    /// Returns true if an image has the expected fingerprint, but its label does not confirm that
    /// its layers were checked.
    fn is_doubtful(&self, image: &graph::Image) -> bool {
        let known = self.known.get(&image.reference);
        let label = known.and_then(|known| known.labels.get(LABEL));
        self.is_in_engine(&image.name, &image.reference)
            && !label.is_some_and(|label| is_verified(label))
    }

    /// Returns the images of the plan that need not be built, and where each is: in the engine, or
    /// else in the registry if the settings accept that. If images are pushed, only those that all
    /// registries have need not be built.
    ///
    /// # Errors
    /// When a registry can't be queried.
    pub async fn unchanged(
        &self,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        run: &RunSettings,
        warn: &dyn Fn(&str),
    ) -> Result<BTreeMap<ImageName, Whereabouts>, SurveyError> {
        let is_pushed = run.push.is_wanted();
        let asks_registry =
            is_pushed || run.selection.skip_unchanged == Some(Whereabouts::Registry);
        let retry = RetryPolicy { retries: run.build.retries, max_pause: run.engine.timeout };
        let mut unchanged = BTreeMap::new();
        let mut to_ask = Vec::new();
        for (name, reference) in images(plan) {
            match self.is_in_engine(name, reference) {
                true if !is_pushed => drop(unchanged.insert(name.clone(), Whereabouts::Engine)),
                _ if asks_registry => to_ask.push((name, reference)),
                _ => {}
            }
        }
        let others: &[String] = if is_pushed { &run.push.registries } else { &[] };
        let asked = to_ask.into_iter().map(|(name, reference)| async move {
            for reference in reference.and_in(others) {
                let labels = retry.run(|_| registry.labels(&reference), |_, _| {}).await?;
                if !self.is_expected(name, labels.get(LABEL).map(String::as_str)) {
                    return Ok(None);
                }
            }
            let is_here = self.is_in_engine(name, reference);
            let whereabouts = if is_here { Whereabouts::Engine } else { Whereabouts::Registry };
            Ok::<_, EngineError>(Some((name.clone(), whereabouts)))
        });
        let mut answers = stream::iter(asked).buffer_unordered(run.build.threads);
        while let Some(answer) = answers.next().await {
            for notice in registry.take_notices() {
                warn(&notice);
            }
            unchanged.extend(answer?);
        }
        registry.save_labels();
        Ok(unchanged)
    }

    /// Returns the fingerprint of an image that is not built, if it is known to exist: the image is
    /// skipped as unchanged, or the engine has it with the expected fingerprint.
    pub fn of_skipped(&self, plan: &Plan<'_>, index: Index) -> Option<String> {
        let image = &plan.graph().images()[index];
        let is_known = match plan.decision(index) {
            Decision::Skip(Skip::Unchanged | Skip::InRegistry) => true,
            _ => self.is_in_engine(&image.name, &image.reference),
        };
        let printed = self.expected.get(&image.name).filter(|_| is_known);
        printed.map(|printed| printed.fingerprint.to_string())
    }

    /// Compares the image in the engine with the one that would be built; `None` if the expected
    /// fingerprint is not known.
    pub fn standing(&self, image: &graph::Image) -> Option<Standing> {
        let printed = self.expected.get(&image.name)?;
        let Some(known) = self.known.get(&image.reference) else { return Some(Standing::Absent) };
        let Some(label) = known.labels.get(LABEL) else { return Some(Standing::Unlabelled) };
        if in_label(label) == printed.fingerprint.as_str() {
            let is_misplaced = self.misplaced.contains(&image.name);
            return Some(if is_misplaced { Standing::Misplaced } else { Standing::Unchanged });
        }
        Some(match printed.changes_since(label) {
            Some(changes) if !changes.is_empty() => Standing::Changed(changes),
            _ => Standing::BuiltAs(in_label(label).to_owned()),
        })
    }

    fn is_in_engine(&self, name: &ImageName, reference: &ImageRef) -> bool {
        let known = self.known.get(reference);
        self.is_expected(name, known.and_then(|known| known.labels.get(LABEL)).map(String::as_str))
    }

    fn is_expected(&self, name: &ImageName, label: Option<&str>) -> bool {
        let expected = self.expected.get(name).map(|printed| printed.fingerprint.as_str());
        let carries_it = expected.is_some() && expected == label.map(in_label);
        carries_it && !self.misplaced.contains(name)
    }
}

/// Returns the names and references of the images that a plan builds or skips.
fn images<'a>(plan: &Plan<'a>) -> Vec<(&'a ImageName, &'a ImageRef)> {
    let images = plan.graph().images().iter().enumerate();
    let wanted = images.filter(|(index, _)| plan.is_wanted(*index));
    wanted.map(|(_, image)| (&image.name, &image.reference)).collect()
}

/// External images of a plan.
#[derive(Default)]
struct Bases {
    images: BTreeMap<ImageRef, Inspected>,
    /// Registry digests of the external images of which the engine has one for each of several
    /// platforms.
    digests: BTreeMap<ImageRef, String>,
}

impl Bases {
    async fn of<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        inputs: &BTreeMap<ImageName, BuildInput>,
        pull: bool,
        warn: &dyn Fn(&str),
    ) -> Result<Self, SurveyError> {
        let (bases, ambiguous) = bases(plan, inputs);
        let mut found = Self::default();
        for reference in ambiguous {
            if let Some(digest) = registry.digest(&reference).await.unwrap_or(None) {
                found.digests.insert(reference, digest);
            }
        }
        for (reference, platform) in bases {
            if pull && let Err(error) = engine.pull(&reference, platform.as_deref()).await {
                warn(&format!("{reference} can't be pulled: {error}"));
            }
            if let Some(image) = engine.image(&reference).await? {
                found.images.insert(reference, image);
            }
        }
        Ok(found)
    }

    /// Returns the identity of an external image for fingerprints: its id in the engine, or its
    /// digest in the registry if several platforms share the tag. `None` if neither is known.
    fn part(&self, reference: &ImageRef) -> Option<&str> {
        let id = self.images.get(reference).map(|image| image.id.as_str());
        id.or_else(|| self.digests.get(reference).map(String::as_str))
    }
}

/// Returns the own parts of each image that the plan builds or skips: context, build options and
/// sources.
async fn own_parts(
    plan: &Plan<'_>,
    inputs: &BTreeMap<ImageName, BuildInput>,
    pace: source::Pace,
) -> Result<BTreeMap<ImageName, Parts>, SurveyError> {
    let names: Vec<&ImageName> = images(plan).into_iter().map(|(name, _)| name).collect();
    let of_context = |name: &&ImageName| {
        let input = &inputs[*name];
        let mut parts = input.context.parts()?;
        parts.extend(input.options.parts());
        Ok(((*name).clone(), parts))
    };
    let parts: std::io::Result<BTreeMap<ImageName, Parts>> =
        names.par_iter().map(of_context).collect();
    let mut parts =
        parts.map_err(|error| Diagnostic::new(format!("the tree can't be read: {error}")))?;
    let of_sources = names.into_iter().filter_map(|name| {
        let sources = inputs[name].sources.clone()?;
        Some(async move { (name, source_parts(&sources, pace).await) })
    });
    let mut of_sources = stream::iter(of_sources).buffer_unordered(AT_ONCE);
    while let Some((name, found)) = of_sources.next().await {
        parts.entry(name.clone()).or_default().extend(found);
    }
    Ok(parts)
}

/// Returns the current state of an image's sources as parts. If it can't be determined, the part is
/// unknown: the image is built, and the build reports the error.
async fn source_parts(sources: &source::ImageSources, pace: source::Pace) -> Parts {
    let Ok(folder) = private_folder("kiln-sources-") else { return unknown_sources() };
    source::parts(sources, folder.path(), pace).await.unwrap_or_else(|_| unknown_sources())
}

fn unknown_sources() -> Parts {
    Parts::from([("sources".to_owned(), UNKNOWN.to_owned())])
}
