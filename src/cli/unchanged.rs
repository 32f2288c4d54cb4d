//! What is unchanged: the fingerprints that the images of a run would carry, beside those that the
//! images in the engine and the registry do.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use rayon::prelude::*;

use super::{Failure, terminal};
use crate::diagnostic::Diagnostic;
use crate::engine::docker::DockerEngine;
use crate::engine::{Engine as _, EngineError, Inspected, Known};
use crate::files::private_folder;
use crate::fingerprint::{Change, Fingerprinted, LABEL, Parts, in_label, is_verified};
use crate::graph::{self, Index};
use crate::image::{ImageName, ImageRef, Whereabouts};
use crate::plan::{Decision, Plan, Skip};
use crate::runner::patience::Patience;
use crate::runner::{Material, bases};
use crate::settings::Building;
use crate::source;

/// How many sources and registries are asked at once.
const AT_ONCE: usize = 16;

/// What stands for something that can't be told: no image carries it.
const UNKNOWN: &str = "unknown";

/// The fingerprints of a run.
pub struct Survey {
    /// Those that the images of the plan would carry, by name.
    pub expected: BTreeMap<ImageName, Fingerprinted>,
    /// What the engine has.
    pub known: BTreeMap<ImageRef, Known>,
    /// The images in the engine whose layers are not on those of their parents, whatever fingerprint
    /// they carry.
    misplaced: BTreeSet<ImageName>,
}

/// How the image that the engine has compares with the one that would be built.
pub enum Standing {
    /// There is none of this name and tag.
    Absent,
    /// It carries no fingerprint.
    Unlabelled,
    /// It carries the same fingerprint.
    Unchanged,
    /// It does, and its layers are not on those of its parent.
    Misplaced,
    /// It is made of other parts, as these tell.
    Changed(Vec<Change>),
    /// It carries this fingerprint, and does not tell of which parts.
    BuiltAs(String),
}

impl Survey {
    /// Asks the engine what it has and, where `pull` says so, for newer external images first.
    ///
    /// # Errors
    /// When the engine can't be asked, or a file of the tree can't be read.
    pub async fn of(
        engine: &DockerEngine,
        plan: &Plan<'_>,
        materials: &BTreeMap<ImageName, Material>,
        pull: bool,
        pace: source::Pace,
    ) -> Result<Self, Failure> {
        let bases = Bases::of(engine, plan, materials, pull).await?;
        let own = own_parts(plan, materials, pace).await?;
        let graph = plan.graph();
        let external = |_: &ImageName, reference: &ImageRef| {
            bases.part(reference).unwrap_or(UNKNOWN).to_owned()
        };
        let names = graph.images().iter().map(|image| image.name.clone());
        let expected = names.zip(graph.fingerprints(&own, &external)).collect();
        let known = engine.images().await?;
        let mut survey = Self { expected, known, misplaced: BTreeSet::new() };
        survey.look_at_layers(engine, plan, materials, &bases).await?;
        Ok(survey)
    }

    /// Looks whether the images that carry their fingerprint are on the layers of their parents. Only
    /// former versions of Kiln labelled images of which nobody had seen that.
    async fn look_at_layers(
        &mut self,
        engine: &DockerEngine,
        plan: &Plan<'_>,
        materials: &BTreeMap<ImageName, Material>,
        bases: &Bases,
    ) -> Result<(), Failure> {
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
        // Every image comes after its parent.
        for index in doubtful {
            let image = &graph.images()[index];
            let is_local = |base: &ImageRef| {
                let is_for_some = materials[&image.name].options.platform.is_some();
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

    /// Whether an image is as it would be built by its label, which says nothing of its layers.
    fn is_doubtful(&self, image: &graph::Image) -> bool {
        let known = self.known.get(&image.reference);
        let label = known.and_then(|known| known.labels.get(LABEL));
        self.is_in_engine(&image.name, &image.reference)
            && !label.is_some_and(|label| is_verified(label))
    }

    /// The images of the plan that need not be built, with where they are: in the engine, or else in
    /// the registry if `building` says that this will do. Where images are pushed, only what all
    /// registries have need not be built.
    ///
    /// # Errors
    /// When a registry can't be asked.
    pub async fn unchanged(
        &self,
        engine: &DockerEngine,
        plan: &Plan<'_>,
        building: &Building,
    ) -> Result<BTreeMap<ImageName, Whereabouts>, Failure> {
        let is_pushed = building.push_threads.is_some();
        let asks_registry = is_pushed || building.skip_unchanged == Some(Whereabouts::Registry);
        let patience = Patience { retries: building.retries, longest: building.timeout };
        let mut unchanged = BTreeMap::new();
        let mut to_ask = Vec::new();
        for (name, reference) in images(plan) {
            match self.is_in_engine(name, reference) {
                true if !is_pushed => drop(unchanged.insert(name.clone(), Whereabouts::Engine)),
                _ if asks_registry => to_ask.push((name, reference)),
                _ => {}
            }
        }
        let others: &[String] = if is_pushed { &building.registries } else { &[] };
        let asked = to_ask.into_iter().map(|(name, reference)| async move {
            for reference in reference.and_in(others) {
                let ask = || engine.labels_in_registry(&reference);
                let labels = patience.bear(ask, |_, _| {}).await?;
                if !self.is_expected(name, labels.get(LABEL).map(String::as_str)) {
                    return Ok(None);
                }
            }
            let is_here = self.is_in_engine(name, reference);
            let whereabouts = if is_here { Whereabouts::Engine } else { Whereabouts::Registry };
            Ok::<_, EngineError>(Some((name.clone(), whereabouts)))
        });
        let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            for notice in engine.take_notices() {
                terminal::warn(&format!("warning: {notice}"));
            }
            unchanged.extend(answer?);
        }
        Ok(unchanged)
    }

    /// The fingerprint of an image of the plan that is not built, if it is known to be there: that it
    /// is unchanged, wherever it is, or happens to be so.
    pub fn of_skipped(&self, plan: &Plan<'_>, index: Index) -> Option<String> {
        let image = &plan.graph().images()[index];
        let is_known = match plan.decision(index) {
            Decision::Skip(Skip::Unchanged | Skip::InRegistry) => true,
            _ => self.is_in_engine(&image.name, &image.reference),
        };
        let printed = self.expected.get(&image.name).filter(|_| is_known);
        printed.map(|printed| printed.fingerprint.to_string())
    }

    /// How the image in the engine compares with the one that would be built; `None` where nothing is
    /// known of what that would be made of.
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

/// The images that a plan would build or has no need to, and their references.
fn images<'a>(plan: &Plan<'a>) -> Vec<(&'a ImageName, &'a ImageRef)> {
    let images = plan.graph().images().iter().enumerate();
    let wanted = images.filter(|(index, _)| plan.is_wanted(*index));
    wanted.map(|(_, image)| (&image.name, &image.reference)).collect()
}

/// The external images of a plan, as far as the engine has them.
#[derive(Default)]
struct Bases {
    images: BTreeMap<ImageRef, Inspected>,
    /// Of those that the engine has for each of several platforms, the digests in their registries.
    digests: BTreeMap<ImageRef, String>,
}

impl Bases {
    async fn of(
        engine: &DockerEngine,
        plan: &Plan<'_>,
        materials: &BTreeMap<ImageName, Material>,
        pull: bool,
    ) -> Result<Self, Failure> {
        let (bases, ambiguous) = bases(plan, materials);
        let mut found = Self::default();
        for reference in ambiguous {
            if let Some(digest) = engine.digest(&reference).await.unwrap_or(None) {
                found.digests.insert(reference, digest);
            }
        }
        for (reference, platform) in bases {
            if pull && let Err(error) = engine.pull(&reference, platform.as_deref()).await {
                terminal::warn(&format!("warning: {reference} can't be pulled: {error}"));
            }
            if let Some(image) = engine.image(&reference).await? {
                found.images.insert(reference, image);
            }
        }
        Ok(found)
    }

    /// What stands for an image in a fingerprint.
    fn part(&self, reference: &ImageRef) -> Option<&str> {
        let id = self.images.get(reference).map(|image| image.id.as_str());
        id.or_else(|| self.digests.get(reference).map(String::as_str))
    }
}

/// What each image of the plan and of its ancestors has of its own.
async fn own_parts(
    plan: &Plan<'_>,
    materials: &BTreeMap<ImageName, Material>,
    pace: source::Pace,
) -> Result<BTreeMap<ImageName, Parts>, Failure> {
    let names: Vec<&ImageName> = images(plan).into_iter().map(|(name, _)| name).collect();
    let of_context = |name: &&ImageName| {
        let material = &materials[*name];
        let mut parts = material.context.parts()?;
        parts.extend(material.options.parts());
        Ok(((*name).clone(), parts))
    };
    let parts: std::io::Result<BTreeMap<ImageName, Parts>> =
        names.par_iter().map(of_context).collect();
    let mut parts =
        parts.map_err(|error| Diagnostic::new(format!("the tree can't be read: {error}")))?;
    let of_sources = names.into_iter().filter_map(|name| {
        let sources = materials[name].sources.clone()?;
        Some(async move { (name, source_parts(&sources, pace).await) })
    });
    let mut of_sources = stream::iter(of_sources).buffer_unordered(AT_ONCE);
    while let Some((name, found)) = of_sources.next().await {
        parts.entry(name.clone()).or_default().extend(found);
    }
    Ok(parts)
}

/// What the sources of an image are now. One that nothing can be told of makes the image be built,
/// which then tells what is wrong.
async fn source_parts(sources: &source::ImageSources, pace: source::Pace) -> Parts {
    let Ok(folder) = private_folder("kiln-sources-") else { return unknown_sources() };
    source::parts(sources, folder.path(), pace).await.unwrap_or_else(|_| unknown_sources())
}

fn unknown_sources() -> Parts {
    Parts::from([("sources".to_owned(), UNKNOWN.to_owned())])
}
