//! Finds unchanged images: compares the fingerprints that the images of a run would have with those
//! of the images in the engine and the registry.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use rayon::prelude::*;

use super::SurveyError;
use crate::diagnostic::Diagnostic;
use crate::engine::{Engine, EngineError, ImageInfo, Inspected};
use crate::event::Outcome;
use crate::files::private_folder;
use crate::fingerprint::{Change, FingerprintedParts, LABEL, Parts, in_label, is_verified};
use crate::graph::{self, Index};
use crate::image::{Destinations, ImageLocation, ImageName, ImageRef, Platform};
use crate::plan::{Decision, Plan, Skip};
use crate::registry::{self, ImageRegistry};
use crate::retry::RetryPolicy;
use crate::runner::{BuildInput, bases, pull};
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
    /// External images that can't be pulled and that the engine does not have, each with the outcome
    /// of the images that need it.
    pub unavailable: BTreeMap<ImageRef, Outcome>,
    /// Images in the engine whose layers are not on top of their parents' layers, whatever their
    /// fingerprints.
    misplaced: BTreeSet<ImageName>,
}

/// Places where an unchanged image has to be for its build to be skipped.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// True if an image that only the registry has is accepted.
    pub in_registry: bool,
    /// Registries that images are pushed to, all of which have to have the image; `None` if nothing
    /// is pushed.
    pub pushed_to: Option<&'a Destinations>,
    /// Largest number of questions at the same time.
    pub at_once: usize,
}

/// Settings of the questions of a survey, which are those of the run that follows.
#[derive(Debug, Clone, Copy)]
pub struct SurveySettings {
    /// True if newer external images are pulled first.
    pub pull: bool,
    /// Bounds on the retries of pulls, and of questions about sources.
    pub retry: RetryPolicy,
    /// Limits on the time of questions about sources.
    pub pace: source::Pace,
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
    /// Queries the engine for its images; pulls newer external images first if `settings` say so.
    ///
    /// # Errors
    /// When the engine can't be queried, or a file of the tree can't be read.
    pub async fn of<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        inputs: &BTreeMap<ImageName, BuildInput>,
        settings: SurveySettings,
        warn: &dyn Fn(&str),
    ) -> Result<Self, SurveyError> {
        let bases = Bases::of(engine, registry, plan, inputs, settings, warn).await?;
        let own = own_parts(plan, inputs, settings, warn).await?;
        let graph = plan.graph();
        let external = |_: &ImageName, reference: &ImageRef| {
            bases.part(reference).unwrap_or(UNKNOWN).to_owned()
        };
        let names = graph.images().iter().map(|image| image.name.clone());
        let expected = names.zip(graph.fingerprints(&own, &external)).collect();
        let known = engine.images().await?;
        let misplaced = BTreeSet::new();
        let unavailable = bases.unavailable.clone();
        let mut survey = Self { expected, known, unavailable, misplaced };
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
    /// registries have need not be built. An image that a registry does not let this run see counts
    /// as not there then, with one warning for each registry: the push shows if it is allowed.
    ///
    /// # Errors
    /// When a registry can't be queried, or hides an image that is not pushed.
    pub async fn unchanged(
        &self,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        places: &Places<'_>,
        warn: &dyn Fn(&str),
    ) -> Result<BTreeMap<ImageName, ImageLocation>, SurveyError> {
        let asks_registry = places.pushed_to.is_some() || places.in_registry;
        let mut unchanged = BTreeMap::new();
        let mut to_ask = Vec::new();
        for (name, reference) in images(plan) {
            match self.is_in_engine(name, reference) {
                true if places.pushed_to.is_none() => {
                    unchanged.insert(name.clone(), ImageLocation::Engine);
                }
                _ if asks_registry => to_ask.push((name, reference)),
                _ => {}
            }
        }
        let asked = to_ask.into_iter().map(|(name, reference)| async move {
            let answer = self.ask(registry, name, reference, places.pushed_to).await?;
            Ok::<_, EngineError>((name, reference, answer))
        });
        let mut hidden = Hidden::default();
        let mut answers = stream::iter(asked).buffer_unordered(places.at_once);
        while let Some(answer) = answers.next().await {
            for notice in registry.take_notices() {
                warn(&notice);
            }
            let (name, reference, answer) = answer?;
            match answer {
                Served::Expected => {
                    hidden.shown.insert(reference.registry().map(str::to_owned));
                    let is_here = self.is_in_engine(name, reference);
                    let location =
                        if is_here { ImageLocation::Engine } else { ImageLocation::Registry };
                    unchanged.insert(name.clone(), location);
                }
                Served::Otherwise(host) => drop(hidden.shown.insert(host)),
                Served::Hidden(image, error) => hidden.add(image, error),
            }
        }
        hidden.warnings().iter().for_each(|text| warn(text));
        registry.save_labels();
        Ok(unchanged)
    }

    /// Asks the registry of an image, or all registries that images are pushed to, for it.
    async fn ask(
        &self,
        registry: &dyn ImageRegistry,
        name: &ImageName,
        reference: &ImageRef,
        pushed_to: Option<&Destinations>,
    ) -> Result<Served, EngineError> {
        let all = pushed_to.map_or_else(|| vec![reference.clone()], |to| to.of(reference));
        for image in all {
            let labels = match registry.labels(&image).await {
                Ok(labels) => labels,
                Err(error) if error.kind == registry::Kind::Denied && pushed_to.is_some() => {
                    return Ok(Served::Hidden(image, error));
                }
                Err(error) => return Err(error.after(&image.to_string()).into()),
            };
            if !self.is_expected(name, labels.get(LABEL).map(String::as_str)) {
                return Ok(Served::Otherwise(image.registry().map(str::to_owned)));
            }
        }
        Ok(Served::Expected)
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

/// Answer of the registries about an image.
enum Served {
    /// All of them have it with the expected fingerprint.
    Expected,
    /// This registry has another image or none.
    Otherwise(Option<String>),
    /// The registry of this reference does not let this run see the image.
    Hidden(ImageRef, registry::Error),
}

/// Images that registries do not let a run see.
#[derive(Default)]
struct Hidden {
    /// Hidden images by registry, each with the refusal of the first.
    images: BTreeMap<Option<String>, (Vec<ImageRef>, registry::Error)>,
    /// Registries that have answered about an image.
    shown: BTreeSet<Option<String>>,
}

impl Hidden {
    fn add(&mut self, image: ImageRef, error: registry::Error) {
        let host = image.registry().map(str::to_owned);
        self.images.entry(host).or_insert((Vec::new(), error)).0.push(image);
    }

    /// Returns a warning for each registry.
    fn warnings(&self) -> Vec<String> {
        self.images
            .iter()
            .map(|(host, (images, error))| self.warning(host, images, error))
            .collect()
    }

    fn warning(
        &self,
        host: &Option<String>,
        images: &[ImageRef],
        error: &registry::Error,
    ) -> String {
        let shown = host.as_deref().unwrap_or("the default registry");
        let first = images.iter().min().map(ToString::to_string).unwrap_or_default();
        let which = match images.len() {
            1 => first,
            count => format!("{count} images, such as {first}"),
        };
        let text =
            format!("{shown} does not show {which}; what is hidden counts as absent: {error}");
        match &error.cure {
            Some(cure) if !self.shown.contains(host) => {
                format!("{text}; it shows none at all: if it should, {cure}")
            }
            _ => text,
        }
    }
}

/// External images of a plan.
#[derive(Default)]
struct Bases {
    images: BTreeMap<ImageRef, Inspected>,
    /// Registry digests of the external images that the engine has for several platforms, or for
    /// another one than theirs.
    digests: BTreeMap<ImageRef, String>,
    /// Images that can't be pulled and that the engine does not have.
    unavailable: BTreeMap<ImageRef, Outcome>,
}

impl Bases {
    async fn of<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        plan: &Plan<'_>,
        inputs: &BTreeMap<ImageName, BuildInput>,
        settings: SurveySettings,
        warn: &dyn Fn(&str),
    ) -> Result<Self, SurveyError> {
        let (bases, ambiguous) = bases(plan, inputs);
        let mut found = Self::default();
        for reference in ambiguous {
            found.add_digest(registry, reference, warn).await;
        }
        if settings.pull {
            let pulls = bases.iter().map(|(reference, platform)| async move {
                let warn = |text: String| warn(&format!("{reference}: {text}"));
                let platform = platform.as_deref();
                let pulled =
                    pull(engine, reference, platform, settings.retry, warn, |_, _| {}).await;
                pulled.err().map(|outcome| (reference.clone(), outcome))
            });
            found.unavailable = join_all(pulls).await.into_iter().flatten().collect();
        }
        for (reference, outcome) in &found.unavailable {
            let reason = outcome.detail().unwrap_or_default();
            warn(&format!("images on {reference} are neither compared nor built: {reason}"));
        }
        for (reference, platform) in bases {
            let Some(image) = engine.image(&reference).await? else { continue };
            let wanted: Option<Platform> = platform.and_then(|platform| platform.parse().ok());
            if wanted.is_none_or(|wanted| image.is_for(&wanted)) {
                found.images.insert(reference, image);
            } else {
                // The builder does not use the engine's image, but that of the registry.
                found.add_digest(registry, reference, warn).await;
            }
        }
        Ok(found)
    }

    /// Adds an external image by its digest in its registry.
    async fn add_digest(
        &mut self,
        registry: &dyn ImageRegistry,
        reference: ImageRef,
        warn: &dyn Fn(&str),
    ) {
        match registry.digest(&reference).await {
            Ok(digest) => self.digests.extend(digest.map(|digest| (reference, digest))),
            Err(error) => warn(&format!(
                "images on {reference} can't be compared, and are built: its digest in the registry is unknown: {error}"
            )),
        }
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
    settings: SurveySettings,
    warn: &dyn Fn(&str),
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
        Some(async move { (name, source_parts(&sources, settings).await) })
    });
    let mut of_sources = stream::iter(of_sources).buffer_unordered(AT_ONCE);
    while let Some((name, found)) = of_sources.next().await {
        let found = found.unwrap_or_else(|reason| {
            warn(&format!(
                "{name} can't be compared, and is built: its sources are unknown: {reason}"
            ));
            unknown_sources()
        });
        parts.entry(name.clone()).or_default().extend(found);
    }
    Ok(parts)
}

/// Returns the current state of an image's sources as parts.
///
/// # Errors
/// Returns the reason why it can't be determined.
async fn source_parts(
    sources: &source::ImageSources,
    settings: SurveySettings,
) -> Result<Parts, String> {
    let folder = private_folder("kiln-sources-").map_err(|error| error.to_string())?;
    let parts = |_| source::parts(sources, folder.path(), settings.pace);
    settings.retry.run(parts, |_, _| {}).await.map_err(|error| error.to_string())
}

fn unknown_sources() -> Parts {
    Parts::from([("sources".to_owned(), UNKNOWN.to_owned())])
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::context::Context;
    use crate::engine::{BuildOptions, BuildRequest, Sink, SquashOptions};
    use crate::graph::Graph;
    use crate::graph::tests::graph;
    use crate::plan::{Facts, Selection};
    use crate::registry::{NotServed, PushListError};

    /// Family of images, each on the same external image.
    const FAMILY: &[(&str, &str)] = &[("app", "FROM debian:1"), ("other", "FROM debian:1")];

    /// Engine and registry with these images.
    #[derive(Default)]
    struct Scripted {
        images: BTreeMap<ImageRef, Inspected>,
        in_registry: BTreeMap<String, String>,
        /// Images that the registry does not let anybody see.
        hidden: BTreeSet<String>,
        /// Number of pulls that fail before one succeeds.
        failing_pulls: AtomicUsize,
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
            let left = |left: usize| left.checked_sub(1);
            match self.failing_pulls.fetch_update(SeqCst, SeqCst, left) {
                Ok(_) => Err(EngineError::Refused("toomanyrequests".to_owned())),
                Err(_) => Ok(()),
            }
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
            let is_hidden = self.hidden.contains(&image.to_string());
            Box::pin(async move {
                if is_hidden {
                    let refusal = registry::Error::new(registry::Kind::Denied, "401");
                    return Err(registry::Error { cure: Some("log in".to_owned()), ..refusal });
                }
                Ok(labels)
            })
        }

        fn digest_of_id<'a>(
            &'a self,
            _: &'a ImageRef,
            _: &'a str,
        ) -> BoxFuture<'a, Result<Option<String>, registry::Error>> {
            unreachable!("nothing is pushed")
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

    const SETTINGS: SurveySettings = SurveySettings {
        pull: false,
        retry: RetryPolicy { retries: 2, max_pause: Duration::ZERO },
        pace: source::Pace { silence: Duration::from_secs(1) },
    };

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(future)
    }

    fn survey(engine: &Scripted, graph: &Graph) -> Survey {
        let (plan, inputs) =
            (Plan::new(graph, &Selection::default(), &Facts::default()), inputs(graph));
        block_on(Survey::of(engine, engine, &plan, &inputs, SETTINGS, &|_| {})).unwrap()
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
        let places = |in_registry, pushed_to| Places { in_registry, pushed_to, at_once: 2 };
        let (engine, registry) = (Some(ImageLocation::Engine), Some(ImageLocation::Registry));
        let first = Destinations::default();
        let pushed = Some(&first);
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

    /// Surveys with pulls, which fail so many times. Returns the unavailable images, and the warnings.
    fn survey_with_pulls(failing: usize, engine: Scripted) -> (Survey, Vec<String>) {
        let graph = graph(&FAMILY[..1]).unwrap();
        let (plan, inputs) =
            (Plan::new(&graph, &Selection::default(), &Facts::default()), inputs(&graph));
        let engine = Scripted { failing_pulls: failing.into(), ..engine };
        let told = RefCell::new(Vec::new());
        let warn = |text: &str| told.borrow_mut().push(text.to_owned());
        let settings = SurveySettings { pull: true, ..SETTINGS };
        let survey =
            block_on(Survey::of(&engine, &engine, &plan, &inputs, settings, &warn)).unwrap();
        (survey, told.into_inner())
    }

    #[test]
    fn pull_of_a_survey_is_retried_as_that_of_a_run() {
        let with_base = || Scripted::default().with("debian:1", image(&["base"], None));
        let (survey, told) = survey_with_pulls(2, with_base());
        assert!(survey.unavailable.is_empty(), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
        let (survey, told) = survey_with_pulls(3, with_base());
        assert!(survey.unavailable.is_empty(), "{told:?}");
        assert!(told[2].ends_with("the engine's own image is used: toomanyrequests"), "{told:?}");
    }

    #[test]
    fn base_that_cannot_be_pulled_is_no_change() {
        let (survey, told) = survey_with_pulls(3, Scripted::default());
        let outcome = &survey.unavailable[&"debian:1".parse().unwrap()];
        let reason = "its base debian:1 can't be pulled: toomanyrequests";
        assert_eq!(outcome, &Outcome::Error(reason.to_owned()));
        let last = format!("images on debian:1 are neither compared nor built: {reason}");
        assert_eq!(told.last(), Some(&last));
    }

    #[test]
    fn hidden_images_count_as_absent_if_they_are_pushed() {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
        let labels = BTreeMap::from([(reference("app").to_string(), expected_label(&graph))]);
        let name = |name: &str| reference(name).to_string();
        let table = [
            (
                vec!["other"],
                true,
                Ok(1),
                "does not show family/p-other:1; what is hidden counts as absent: 401",
            ),
            (
                vec!["app", "other"],
                true,
                Ok(0),
                "does not show 2 images, such as family/p-app:1; what is hidden counts as absent: 401; it shows none at all: if it should, log in",
            ),
            (vec!["other"], false, Err("family/p-other:1: 401"), ""),
        ];
        for (hidden, is_pushed, expected, told) in table {
            let engine = Scripted {
                in_registry: labels.clone(),
                hidden: hidden.iter().map(|hidden| name(hidden)).collect(),
                ..Scripted::default().with("debian:1", image(&["base"], None))
            };
            let survey = survey(&engine, &graph);
            let first = Destinations::default();
            let places =
                Places { in_registry: true, pushed_to: is_pushed.then_some(&first), at_once: 2 };
            let warnings = RefCell::new(Vec::new());
            let warn = |text: &str| warnings.borrow_mut().push(text.to_owned());
            match block_on(survey.unchanged(&engine, &plan, &places, &warn)) {
                Ok(found) => {
                    assert_eq!(Ok(found.len()), expected);
                    assert_eq!(warnings.into_inner(), [format!("the default registry {told}")]);
                }
                Err(SurveyError::Engine(error)) => {
                    assert_eq!(Err(&*error.to_string()), expected);
                }
                Err(SurveyError::Tree(error)) => panic!("{error:?}"),
            }
        }
    }
}
