//! Facts for a plan, gathered from an engine and registries.

use std::collections::{BTreeMap, BTreeSet};

use super::SurveyError;
use super::build_inputs::pace;
use super::survey::{Places, Survey, SurveySettings};
use crate::engine::{Engine, ImageInfo};
use crate::event::Existing;
use crate::graph::{self, Graph};
use crate::image::{ImageLocation, ImageName, ImageRef};
use crate::plan::{Facts, Plan, Selection, Unaffected};
use crate::registry::ImageRegistry;
use crate::retry::RetryPolicy;
use crate::runner::BuildInput;
use crate::settings::RunSettings;

/// Images of a run, about which facts are gathered.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Images of all axes.
    pub graph: &'a Graph,
    /// Images that the user asks for.
    pub selection: &'a Selection,
    /// Input of the build of each image.
    pub inputs: &'a BTreeMap<ImageName, BuildInput>,
    /// Settings of the run.
    pub run: &'a RunSettings,
}

/// Facts, and the answers that they are made of.
#[derive(Default)]
pub struct Found {
    /// Facts for the plan.
    pub facts: Facts,
    /// Survey of the existing images; `None` if none was made.
    pub survey: Option<Survey>,
    /// Images that the engine has, if they were listed without a survey.
    known: BTreeMap<ImageRef, ImageInfo>,
}

impl Found {
    /// Returns the facts that are known without an engine.
    pub fn without_engine(unaffected: Option<Unaffected>) -> Self {
        Self { facts: Facts { unaffected, ..Facts::default() }, ..Self::default() }
    }

    /// Gathers the facts that the settings ask for. A survey is made if `is_surveyed` is true, or if
    /// unchanged images are to be skipped.
    ///
    /// # Errors
    /// When the engine or a registry can't be queried, or a file of the tree can't be read.
    pub async fn gather<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        subject: Subject<'_>,
        unaffected: Option<Unaffected>,
        is_surveyed: bool,
        warn: &dyn Fn(&str),
    ) -> Result<Self, SurveyError> {
        let Subject { graph, selection, inputs, run } = subject;
        let skips = run.selection.skip_unchanged.is_some();
        let mut found = Self::default();
        if skips || is_surveyed {
            // A survey covers all wanted images, the unaffected ones included.
            let wanted = Plan::new(graph, selection, &Facts::default());
            let settings = SurveySettings {
                pull: run.build.pull && skips,
                retry: RetryPolicy { retries: run.build.retries, max_pause: run.engine.timeout },
                pace: pace(run),
            };
            let survey = Survey::of(engine, registry, &wanted, inputs, settings, warn).await?;
            if skips {
                found.facts.unchanged =
                    survey.unchanged(registry, &wanted, &places(run), warn).await?;
            }
            found.survey = Some(survey);
        }
        if run.selection.skip_existing || unaffected.is_some() {
            if found.survey.is_none() {
                found.known = engine.images().await?;
            }
            let existing: BTreeSet<ImageRef> = found.known().keys().cloned().collect();
            found.facts.unaffected = unaffected.map(|unaffected| {
                let unchanged = skips.then_some(&found.facts.unchanged);
                Unaffected { missing: missing(graph, &existing, unchanged), ..unaffected }
            });
            if run.selection.skip_existing {
                found.facts.existing = existing;
            }
        }
        Ok(found)
    }

    /// Returns the images that the engine has.
    fn known(&self) -> &BTreeMap<ImageRef, ImageInfo> {
        self.survey.as_ref().map_or(&self.known, |survey| &survey.known)
    }

    /// Returns the images of the plan that exist and are not built.
    pub fn existing(&self, plan: &Plan<'_>) -> BTreeMap<ImageName, Existing> {
        let known = self.known();
        let images = plan.graph().images().iter().enumerate();
        let skipped = images.filter(|(index, _)| !plan.is_built(*index));
        let existing = skipped.map(|(index, image)| {
            let survey = self.survey.as_ref();
            let existing = Existing {
                id: known.get(&image.reference).map(|known| known.id.clone()),
                fingerprint: survey.and_then(|survey| survey.of_skipped(plan, index)),
            };
            (image.name.clone(), existing)
        });
        existing.filter(|(_, existing)| *existing != Existing::default()).collect()
    }
}

/// Returns the places where an unchanged image has to be.
fn places(run: &RunSettings) -> Places<'_> {
    Places {
        in_registry: run.selection.skip_unchanged == Some(ImageLocation::Registry),
        pushed_to: run.push.is_wanted().then_some(&run.push.destinations),
        at_once: run.build.threads,
    }
}

/// Returns the missing images: those that are not among the `unchanged` ones, or, if these are not
/// known, those that the engine does not have.
fn missing(
    graph: &Graph,
    has: &BTreeSet<ImageRef>,
    unchanged: Option<&BTreeMap<ImageName, ImageLocation>>,
) -> BTreeSet<ImageName> {
    let is_missing = |image: &&graph::Image| match unchanged {
        Some(unchanged) => !unchanged.contains_key(&image.name),
        None => !has.contains(&image.reference),
    };
    graph.images().iter().filter(is_missing).map(|image| image.name.clone()).collect()
}
