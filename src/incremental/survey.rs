//! Finds unchanged images: compares the fingerprints that the images of a run would have with those
//! of the images in the engine and the registry.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use rayon::prelude::*;

use super::SurveyError;
use crate::diagnostic::Diagnostic;
use crate::engine::{Engine, EngineError, ImageInfo, Inspected};
use crate::files::private_folder;
use crate::fingerprint::{Change, FingerprintedParts, LABEL, Parts, in_label, is_verified};
use crate::graph::{self, Index};
use crate::image::{ImageLocation, ImageName, ImageRef, Platform};
use crate::plan::{Decision, Plan, Skip};
use crate::registry::ImageRegistry;
use crate::retry::RetryPolicy;
use crate::runner::{BuildInput, bases};
use crate::source;

/// Number of sources or registries that are queried at once.
const AT_ONCE: usize = 16;

/// Value of a part that can't be determined. No image has it.
const UNKNOWN: &str = "unknown";

/// Expected fingerprints of a run, and the existing images.
pub struct Survey {
    /// Expected fingerprints of the plan's images, by name.
    pub expected: BTreeMap<ImageName, FingerprintedParts>,
    /// Images that the engine has.
    pub known: BTreeMap<ImageRef, ImageInfo>,
    /// Images in the engine whose layers are not on top of their parents' layers, whatever their
    /// fingerprints.
    misplaced: BTreeSet<ImageName>,
}

/// Places where an unchanged image has to be for its build to be skipped.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// True if an image that only the registry has is accepted.
    pub in_registry: bool,
    /// Registries that images are pushed to in addition to the one in their references, all of
    /// which have to have the image; `None` if nothing is pushed.
    pub pushed_to: Option<&'a [String]>,
    /// Bounds on the retries of questions to registries.
    pub retry: RetryPolicy,
    /// Largest number of questions at the same time.
    pub at_once: usize,
}

/// Comparison of the image in the engine with the one that would be built.
pub enum Comparison {
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
                let mut uses = graph.uses(index).iter().filter(|used| used.image == *base);
                inputs[&image.name].options.platform.is_none()
                    && uses.all(|used| used.platform.is_none())
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
    /// else in the registry if `places` accept that. If images are pushed, only those that all
    /// registries have need not be built.
    ///
    /// # Errors
    /// When a registry can't be queried.
    pub async fn unchanged(
        &self,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        places: &Places<'_>,
        warn: &dyn Fn(&str),
    ) -> Result<BTreeMap<ImageName, ImageLocation>, SurveyError> {
        let is_pushed = places.pushed_to.is_some();
        let asks_registry = is_pushed || places.in_registry;
        let mut unchanged = BTreeMap::new();
        let mut to_ask = Vec::new();
        for (name, reference) in images(plan) {
            match self.is_in_engine(name, reference) {
                true if !is_pushed => drop(unchanged.insert(name.clone(), ImageLocation::Engine)),
                _ if asks_registry => to_ask.push((name, reference)),
                _ => {}
            }
        }
        let others = places.pushed_to.unwrap_or_default();
        let asked = to_ask.into_iter().map(|(name, reference)| async move {
            for reference in reference.and_in(others) {
                let labels = places.retry.run(|_| registry.labels(&reference), |_, _| {}).await?;
                if !self.is_expected(name, labels.get(LABEL).map(String::as_str)) {
                    return Ok(None);
                }
            }
            let is_here = self.is_in_engine(name, reference);
            let location = if is_here { ImageLocation::Engine } else { ImageLocation::Registry };
            Ok::<_, EngineError>(Some((name.clone(), location)))
        });
        let mut answers = stream::iter(asked).buffer_unordered(places.at_once);
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
    pub fn comparison(&self, image: &graph::Image) -> Option<Comparison> {
        let printed = self.expected.get(&image.name)?;
        let Some(known) = self.known.get(&image.reference) else { return Some(Comparison::Absent) };
        let Some(label) = known.labels.get(LABEL) else { return Some(Comparison::Unlabelled) };
        if in_label(label) == printed.fingerprint.as_str() {
            let is_misplaced = self.misplaced.contains(&image.name);
            return Some(if is_misplaced { Comparison::Misplaced } else { Comparison::Unchanged });
        }
        Some(match printed.changes_since(label) {
            Some(changes) if !changes.is_empty() => Comparison::Changed(changes),
            _ => Comparison::BuiltAs(in_label(label).to_owned()),
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
    /// Registry digests of the external images that the engine has for several platforms, or for
    /// another one than theirs.
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
            if pull
                && let Err(error) = engine.pull(&reference, platform.as_deref(), &mut |_| {}).await
            {
                warn(&format!("{reference} can't be pulled: {error}"));
            }
            let Some(image) = engine.image(&reference).await? else { continue };
            let wanted: Option<Platform> = platform.and_then(|platform| platform.parse().ok());
            if wanted.is_none_or(|wanted| image.is_for(&wanted)) {
                found.images.insert(reference, image);
            } else if let Some(digest) = registry.digest(&reference).await.unwrap_or(None) {
                // The builder does not use the engine's image, but that of the registry.
                found.digests.insert(reference, digest);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::context::Context;
    use crate::engine::{BuildOptions, BuildRequest, Sink, SquashOptions};
    use crate::graph::Graph;
    use crate::graph::tests::graph;
    use crate::plan::{Facts, Selection};
    use crate::registry::{self, NotServed, PushListError};

    /// Family of images, each on the same external image.
    const FAMILY: &[(&str, &str)] = &[("app", "FROM debian:1"), ("other", "FROM debian:1")];

    /// Engine and registry with these images.
    #[derive(Default)]
    struct Scripted {
        images: BTreeMap<ImageRef, Inspected>,
        in_registry: BTreeMap<String, String>,
    }

    fn image(layers: &[&str], label: Option<String>) -> Inspected {
        Inspected {
            id: format!("id of {}", layers.join(" ")),
            labels: label.map(|label| (LABEL.to_owned(), label)).into_iter().collect(),
            size: None,
            layers: layers.iter().map(ToString::to_string).collect(),
            tagged: None,
            platform: None,
        }
    }

    fn reference(name: &str) -> ImageRef {
        format!("family/p-{name}:1").parse().unwrap()
    }

    impl Scripted {
        /// Returns an engine that has the external image, and `app` with these layers and this label.
        fn with_app(layers: &[&str], label: Option<String>) -> Self {
            Self::default()
                .with("debian:1", image(&["base"], None))
                .with("family/p-app:1", image(layers, label))
        }

        fn with(mut self, reference: &str, image: Inspected) -> Self {
            self.images.insert(reference.parse().unwrap(), image);
            self
        }
    }

    impl Engine for Scripted {
        async fn answers(&self) -> bool {
            true
        }

        async fn images(&self) -> Result<BTreeMap<ImageRef, ImageInfo>, EngineError> {
            let listed = self.images.iter().map(|(reference, image)| {
                let Inspected { id, labels, size, .. } = image.clone();
                (reference.clone(), ImageInfo { id, labels, size })
            });
            Ok(listed.collect())
        }

        async fn image(&self, reference: &ImageRef) -> Result<Option<Inspected>, EngineError> {
            Ok(self.images.get(reference).cloned())
        }

        async fn pull(
            &self,
            _: &ImageRef,
            _: Option<&str>,
            _: Sink<'_>,
        ) -> Result<(), EngineError> {
            unreachable!("nothing is pulled")
        }

        async fn build(&self, _: BuildRequest<'_>, _: Sink<'_>) -> Result<Inspected, EngineError> {
            unreachable!("nothing is built")
        }

        async fn squash(
            &self,
            _: Inspected,
            _: &ImageRef,
            _: Option<&Inspected>,
            _: &SquashOptions,
            _: Sink<'_>,
        ) -> Result<Inspected, EngineError> {
            unreachable!("nothing is squashed")
        }

        async fn tag(&self, _: &str, _: &ImageRef) -> Result<(), EngineError> {
            unreachable!("nothing is tagged")
        }

        async fn discard(&self, _: &str) {
            unreachable!("nothing is discarded")
        }

        async fn push(&self, _: &str, _: &ImageRef, _: Sink<'_>) -> Result<String, EngineError> {
            unreachable!("nothing is pushed")
        }
    }

    impl ImageRegistry for Scripted {
        fn digest<'a>(
            &'a self,
            _: &'a ImageRef,
        ) -> BoxFuture<'a, Result<Option<String>, registry::Error>> {
            Box::pin(async { Ok(Some("digest of the registry".to_owned())) })
        }

        fn labels<'a>(
            &'a self,
            image: &'a ImageRef,
        ) -> BoxFuture<'a, Result<BTreeMap<String, String>, registry::Error>> {
            let label = self.in_registry.get(&image.to_string()).cloned();
            let labels = label.map(|label| (LABEL.to_owned(), label)).into_iter().collect();
            Box::pin(async { Ok(labels) })
        }

        fn confirm_pushed<'a>(
            &'a self,
            _: &'a ImageRef,
            _: &'a str,
        ) -> BoxFuture<'a, Result<Vec<String>, NotServed>> {
            unreachable!("nothing is pushed")
        }

        fn push_list<'a>(
            &'a self,
            _: &'a ImageRef,
            _: &'a [ImageRef],
        ) -> BoxFuture<'a, Result<String, PushListError>> {
            unreachable!("nothing is pushed")
        }

        fn take_notices(&self) -> Vec<String> {
            Vec::new()
        }

        fn save_labels(&self) {}
    }

    fn inputs(graph: &Graph) -> BTreeMap<ImageName, BuildInput> {
        let options = Arc::new(BuildOptions::plain());
        let input = |image: &graph::Image| {
            let context = Context::new(image.text.clone(), []);
            (image.name.clone(), BuildInput { context, sources: None, options: options.clone() })
        };
        graph.images().iter().map(input).collect()
    }

    const PACE: source::Pace = source::Pace { silence: Duration::from_secs(1) };

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn survey(engine: &Scripted, graph: &Graph) -> Survey {
        let (plan, inputs) =
            (Plan::new(graph, &Selection::default(), &Facts::default()), inputs(graph));
        block_on(Survey::of(engine, engine, &plan, &inputs, false, PACE, &|_| {})).unwrap()
    }

    /// Returns the label that a build of `app` would give its image.
    fn expected_label(graph: &Graph) -> String {
        let survey = survey(&Scripted::default().with("debian:1", image(&["base"], None)), graph);
        survey.expected[&ImageName::new("app")].label()
    }

    /// Returns the state of `app` in a word.
    fn state_of_app(engine: &Scripted, graph: &Graph) -> String {
        let app = &graph.images()[graph.index_of(&ImageName::new("app")).unwrap()];
        match survey(engine, graph).comparison(app).unwrap() {
            Comparison::Absent => "absent".to_owned(),
            Comparison::Unlabelled => "unlabelled".to_owned(),
            Comparison::Unchanged => "unchanged".to_owned(),
            Comparison::Misplaced => "misplaced".to_owned(),
            Comparison::Changed(changes) => format!("{} changed", changes.len()),
            Comparison::BuiltAs(fingerprint) => format!("built as {fingerprint}"),
        }
    }

    /// Returns the label in the first format, whose images were tagged without a check of their layers.
    fn of_first_format(label: &str) -> String {
        format!("{} {{}}", in_label(label))
    }

    #[test]
    fn state_of_an_image_follows_its_label_and_layers() {
        let graph = graph(FAMILY).unwrap();
        let label = expected_label(&graph);
        let on_base = ["base", "app"];
        let table = [
            (Scripted::default().with("debian:1", image(&["base"], None)), "absent"),
            (Scripted::with_app(&on_base, None), "unlabelled"),
            (Scripted::with_app(&on_base, Some(label.clone())), "unchanged"),
            (Scripted::with_app(&on_base, Some(of_first_format(&label))), "unchanged"),
            (Scripted::with_app(&["else", "app"], Some(of_first_format(&label))), "misplaced"),
            (Scripted::with_app(&on_base, Some("0123".to_owned())), "built as 0123"),
        ];
        for (engine, expected) in table {
            assert_eq!(state_of_app(&engine, &graph), expected);
        }
    }

    #[test]
    fn base_for_another_platform_than_asked_is_known_by_the_registry() {
        let base_of = |from: &str, platform: &str| {
            let graph = graph(&[("app", from)]).unwrap();
            let base = Inspected { platform: platform.parse().ok(), ..image(&["base"], None) };
            let engine = Scripted::default().with("debian:1", base);
            let survey = survey(&engine, &graph);
            survey.expected[&ImageName::new("app")].parts["base debian:1"].clone()
        };
        let (engines, registrys) = ("id of base", "digest of the registry");
        for (from, platform, expected) in [
            ("FROM debian:1", "linux/s390x", engines),
            ("FROM --platform=linux/s390x debian:1", "linux/s390x", engines),
            ("FROM --platform=linux/arm64 debian:1", "linux/arm64/v8", engines),
            ("FROM --platform=linux/s390x debian:1", "unknown", engines),
            ("FROM --platform=linux/s390x debian:1", "linux/riscv64", registrys),
            ("FROM --platform=linux/arm64 debian:1", "linux/arm", registrys),
            ("FROM --platform=windows/arm64 debian:1", "linux/arm64", registrys),
        ] {
            assert_eq!(base_of(from, platform), expected, "{from}, {platform}");
        }
    }

    #[test]
    fn image_on_another_base_is_changed() {
        let graph = graph(FAMILY).unwrap();
        let engine = Scripted::with_app(&["base", "app"], Some(expected_label(&graph)));
        let engine = engine.with("debian:1", image(&["newer base"], None));
        assert_eq!(state_of_app(&engine, &graph), "1 changed");
    }

    #[test]
    fn unchanged_images_are_where_the_places_accept_them() {
        let graph = graph(FAMILY).unwrap();
        let label = expected_label(&graph);
        let app = || reference("app").to_string();
        let in_engine = || Scripted::with_app(&["base", "app"], Some(label.clone()));
        let nowhere = || Scripted::default().with("debian:1", image(&["base"], None));
        let with_registry = |engine: Scripted, label: &str| Scripted {
            in_registry: BTreeMap::from([(app(), label.to_owned())]),
            ..engine
        };
        let places = |in_registry, pushed_to| Places {
            in_registry,
            pushed_to,
            retry: RetryPolicy { retries: 0, max_pause: Duration::ZERO },
            at_once: 2,
        };
        let (engine, registry) = (Some(ImageLocation::Engine), Some(ImageLocation::Registry));
        let pushed: Option<&[String]> = Some(&[]);
        let table = [
            (in_engine(), places(false, None), engine),
            (in_engine(), places(false, pushed), None),
            (with_registry(in_engine(), &label), places(false, pushed), engine),
            (with_registry(nowhere(), &label), places(false, None), None),
            (with_registry(nowhere(), &label), places(true, None), registry),
            (with_registry(nowhere(), "0123 {}"), places(true, None), None),
        ];
        for (scripted, places, expected) in table {
            let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
            let survey = survey(&scripted, &graph);
            let found = block_on(survey.unchanged(&scripted, &plan, &places, &|_| {})).unwrap();
            assert_eq!(found.get(&ImageName::new("app")).copied(), expected, "{places:?}");
        }
    }
}
