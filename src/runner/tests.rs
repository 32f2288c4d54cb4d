//! Tests of the dispatcher and its workers with a scripted engine, in paused time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::{Backends, BuildInput, Options, run};
use crate::context::{Context, MeasuredContext};
use crate::dockerfile;
use crate::engine::{
    BuildOptions, BuildRequest, Engine, EngineError, ImageInfo, Inspected, Output, Sink,
    SquashOptions,
};
use crate::event::{Event, Existing, Outcome, Transfer};
use crate::fingerprint::{LABEL, in_label};
use crate::graph::Graph;
use crate::graph::tests::{graph, naming};
use crate::image::{Destinations, ImageName, ImageRef};
use crate::plan::{Facts, Plan, Selection};
use crate::registry::{self, ImageRegistry, NotServed, PushListError};
use crate::retry::{FIRST_PAUSE, JITTER, RetryPolicy};
use crate::source::{self, FetchError, Fetcher, ImageSources};

/// Engine with scripted answers that records the calls.
#[derive(Default)]
struct Scripted {
    /// References whose builds fail, with the number of failing tries and the error.
    failing: Mutex<HashMap<String, (usize, EngineError)>>,
    unpushable: BTreeMap<String, EngineError>,
    /// Images that the registry has already.
    pushed: BTreeSet<String>,
    unpullable: BTreeSet<String>,
    known: BTreeSet<String>,
    /// Duration of each build; 10 ms if it is not given.
    takes: BTreeMap<String, Duration>,
    /// Images with a source, and the duration of its fetch.
    sourced: BTreeMap<String, Duration>,
    /// Images whose sources can't be fetched: this many tries fail temporarily, then one
    /// permanently.
    unfetchable: Mutex<BTreeMap<String, usize>>,
    /// Number of times that the engine does not answer.
    away: Mutex<usize>,
    /// True if builds never end.
    hanging: bool,
    started: Notify,
    log: Mutex<Vec<String>>,
    /// Fingerprint in the label of each image.
    fingerprints: Mutex<BTreeMap<String, Option<String>>>,
    busy: Mutex<(usize, usize)>,
    /// Images in the engine, by id.
    images: Mutex<BTreeMap<String, Inspected>>,
    /// Ids of the images, by reference.
    tags: Mutex<BTreeMap<String, String>>,
    /// Actions of a third party: each happens once, at the named event.
    meddling: Mutex<Vec<(&'static str, Meddling)>>,
}

/// Action of a third party on a reference.
#[derive(Debug, Clone, Copy)]
enum Meddling {
    /// Moves the reference to the image with this id.
    Move(&'static str, &'static str),
    /// Removes the reference.
    Remove(&'static str),
}

/// Returns an image with these layers, and a label if there is a fingerprint.
fn inspected(id: &str, layers: &[&str], fingerprint: Option<&str>) -> Inspected {
    let label = fingerprint.map(|fingerprint| (LABEL.to_owned(), format!("{fingerprint} {{}}")));
    Inspected {
        id: id.to_owned(),
        labels: label.into_iter().collect(),
        size: None,
        layers: layers.iter().map(ToString::to_string).collect(),
        tagged: None,
        platform: None,
    }
}

fn short(reference: &ImageRef) -> String {
    reference.repository().trim_start_matches("family/p-").to_owned()
}

impl Scripted {
    fn note(&self, what: &str, reference: &ImageRef) {
        self.log.lock().unwrap().push(format!("{what} {}", short(reference)));
    }

    fn note_word(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Adds an image under a reference.
    fn with(self, name: &str, image: Inspected) -> Self {
        self.tags.lock().unwrap().insert(name.to_owned(), image.id.clone());
        self.images.lock().unwrap().insert(image.id.clone(), image);
        self
    }

    /// Schedules the actions of a third party.
    fn meddled_with(self, meddling: &[(&'static str, Meddling)]) -> Self {
        Self { meddling: Mutex::new(meddling.to_vec()), ..self }
    }

    fn come_to(&self, what: &str, name: &str) {
        let mut meddling = self.meddling.lock().unwrap();
        let event = format!("{what} {name}");
        for (_, meddling) in meddling.extract_if(.., |(when, _)| *when == event) {
            let mut tags = self.tags.lock().unwrap();
            match meddling {
                Meddling::Move(name, id) => {
                    let image = &mut self.images.lock().unwrap();
                    image.get_mut(id).unwrap().tagged = Some(event.clone());
                    tags.insert(name.to_owned(), id.to_owned());
                }
                Meddling::Remove(name) => drop(tags.remove(name)),
            }
        }
    }

    /// Returns the image under a reference.
    fn under(&self, name: &str) -> Option<Inspected> {
        let id = self.tags.lock().unwrap().get(name).cloned();
        let known = || self.known.contains(name).then(|| inspected("known", &[], None));
        id.map(|id| self.images.lock().unwrap()[&id].clone()).or_else(known)
    }

    /// Returns the layers of an image that is built from this context now.
    fn layers_from(&self, name: &str, context: &MeasuredContext) -> Vec<String> {
        let mut text = String::new();
        let mut dockerfile = context.entries()[0].open().unwrap();
        std::io::Read::read_to_string(&mut dockerfile, &mut text).unwrap();
        let dockerfile = dockerfile::parse(&text, &dockerfile::ReadingInput::default()).unwrap();
        let parent = dockerfile.parent().and_then(|parent| self.under(&short(&parent.image)));
        let of_parent = parent.map(|parent| parent.layers.to_vec()).unwrap_or_default();
        [of_parent, vec![format!("of {name}")]].concat()
    }
}

impl Engine for Scripted {
    async fn answers(&self) -> bool {
        self.note_word("ask");
        let mut away = self.away.lock().unwrap();
        *away = away.saturating_sub(1);
        *away == 0
    }

    async fn images(&self) -> Result<BTreeMap<ImageRef, ImageInfo>, EngineError> {
        unreachable!("the runner asks for single images")
    }

    async fn image(&self, reference: &ImageRef) -> Result<Option<Inspected>, EngineError> {
        Ok(self.under(&short(reference)))
    }

    async fn pull(
        &self,
        reference: &ImageRef,
        _: Option<&str>,
        sink: Sink<'_>,
    ) -> Result<(), EngineError> {
        self.note("pull", reference);
        sink(Output::Bytes { done: 1, total: 2 });
        if self.unpullable.contains(&short(reference)) {
            return Err(EngineError::Refused("not found".to_owned()));
        }
        Ok(())
    }

    async fn build(
        &self,
        order: BuildRequest<'_>,
        sink: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        let reference = order.reference;
        let printed = order.labels.get(LABEL).map(|label| in_label(label).to_owned());
        self.fingerprints.lock().unwrap().insert(short(reference), printed);
        self.note("build", reference);
        self.started.notify_one();
        {
            let mut busy = self.busy.lock().unwrap();
            busy.0 += 1;
            busy.1 = busy.1.max(busy.0);
        }
        if self.hanging {
            std::future::pending::<()>().await;
        }
        sink(Output::Line("working".to_owned()));
        self.come_to("build", &short(reference));
        let layers = self.layers_from(&short(reference), order.context);
        let usual = Duration::from_millis(10);
        let takes = self.takes.get(&short(reference)).copied().unwrap_or(usual);
        tokio::time::sleep(takes).await;
        self.busy.lock().unwrap().0 -= 1;
        self.note("end", reference);
        if let Some((left, error)) = self.failing.lock().unwrap().get_mut(&short(reference))
            && *left > 0
        {
            *left -= 1;
            return Err(error.clone());
        }
        let mut images = self.images.lock().unwrap();
        let tries = images.keys().filter(|id| **id == format!("id-{}", short(reference))).count();
        let image = Inspected {
            id: format!("id{}-{}", "+".repeat(tries), short(reference)),
            labels: order.labels.clone(),
            size: None,
            layers: layers.into(),
            tagged: None,
            platform: None,
        };
        images.insert(image.id.clone(), image.clone());
        drop(images);
        self.come_to("end", &short(reference));
        Ok(image)
    }

    async fn squash(
        &self,
        built: Inspected,
        reference: &ImageRef,
        parent: Option<&Inspected>,
        _: &SquashOptions,
        _: Sink<'_>,
    ) -> Result<Inspected, EngineError> {
        let parent = parent.map(|parent| parent.id.as_str()).unwrap_or_default();
        self.note(&format!("squash {} from {parent}", built.id), reference);
        let squashed = Inspected { id: format!("squashed-{}", short(reference)), ..built };
        self.images.lock().unwrap().insert(squashed.id.clone(), squashed.clone());
        self.tag(&squashed.id, reference).await?;
        Ok(squashed)
    }

    async fn tag(&self, id: &str, reference: &ImageRef) -> Result<(), EngineError> {
        match reference.registry() {
            Some(registry) => self.note(&format!("tag {registry}"), reference),
            None => {
                self.tags.lock().unwrap().insert(short(reference), id.to_owned());
                self.come_to("tagged", &short(reference));
            }
        }
        Ok(())
    }

    async fn discard(&self, id: &str) {
        self.note_word(&format!("discard {id}"));
        self.images.lock().unwrap().remove(id);
    }

    async fn push(
        &self,
        id: &str,
        reference: &ImageRef,
        _: Sink<'_>,
    ) -> Result<String, EngineError> {
        assert!(id.ends_with(&short(reference)), "{id} is not {reference}");
        self.note("push", reference);
        if let Some(error) = self.unpushable.get(&short(reference)) {
            return Err(error.clone());
        }
        Ok(format!("digest-{}", short(reference)))
    }
}

impl ImageRegistry for Scripted {
    fn digest<'a>(
        &'a self,
        _: &'a ImageRef,
    ) -> BoxFuture<'a, Result<Option<String>, registry::Error>> {
        Box::pin(async { Ok(None) })
    }

    fn labels<'a>(
        &'a self,
        _: &'a ImageRef,
    ) -> BoxFuture<'a, Result<BTreeMap<String, String>, registry::Error>> {
        unreachable!("a run asks for no labels")
    }

    fn digest_of_id<'a>(
        &'a self,
        image: &'a ImageRef,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, registry::Error>> {
        self.note(&format!("registry has {id}?"), image);
        let digest = self.pushed.contains(&short(image)).then(|| format!("digest of {id}"));
        Box::pin(async { Ok(digest) })
    }

    fn confirm_pushed<'a>(
        &'a self,
        image: &'a ImageRef,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, NotServed>> {
        Box::pin(async move {
            assert_eq!(digest, format!("digest-{}", short(image)));
            Ok(Vec::new())
        })
    }

    fn push_list<'a>(
        &'a self,
        list: &'a ImageRef,
        images: &'a [ImageRef],
    ) -> BoxFuture<'a, Result<String, PushListError>> {
        Box::pin(async move {
            let images: Vec<_> = images.iter().map(ToString::to_string).collect();
            self.note(&format!("list of {}", images.join(" ")), list);
            if self.unpushable.contains_key(&short(list)) {
                return Err(NotServed("denied".to_owned()).into());
            }
            Ok(format!("digest-{list}"))
        })
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn save_labels(&self) {}
}

impl Fetcher for Scripted {
    fn fetch<'a>(
        &'a self,
        image: &'a ImageName,
        _: &'a ImageSources,
        _: &'a Path,
    ) -> BoxFuture<'a, Result<source::Fetched, FetchError>> {
        Box::pin(async move {
            self.log.lock().unwrap().push(format!("fetch {image}"));
            let mut fetch = Fetch { engine: self, image, end: "dropped" };
            tokio::time::sleep(self.sourced[image.as_str()]).await;
            fetch.end = "fetched";
            let Some(left) = self.unfetchable.lock().unwrap().remove(image.as_str()) else {
                return Ok(source::Fetched::default());
            };
            let transient = left > 0;
            if transient {
                let image = image.as_str().to_owned();
                self.unfetchable.lock().unwrap().insert(image, left - 1);
            }
            let [name, location, reason] = ["s", "l", "gone"].map(str::to_owned);
            Err(FetchError { name, location, reason, transient })
        })
    }
}

/// Fetch in progress, which records its end when it is dropped.
struct Fetch<'a> {
    engine: &'a Scripted,
    image: &'a ImageName,
    end: &'static str,
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.engine.log.lock().unwrap().push(format!("{} {}", self.end, self.image));
    }
}

/// Returns the sources of an image with one local source.
fn sources() -> ImageSources {
    let own = source::Source {
        name: crate::image::SourceName::new("s").unwrap(),
        kind: source::Kind::Local,
        location: "l".to_owned(),
        reference: None,
        digest: source::Digest::Unknown,
    };
    ImageSources { own: Some(own), ..ImageSources::default() }
}

const FAMILY: &[(&str, &str)] = &[
    ("base", "FROM debian:1"),
    ("mid", "FROM @base"),
    ("leaf-a", "FROM @mid"),
    ("leaf-b", "FROM @mid\nCOPY --from=@tool / /"),
    ("tool", "FROM other:1"),
];

fn retries(retries: usize) -> RetryPolicy {
    RetryPolicy { retries, max_pause: Duration::from_secs(60) }
}

fn options() -> Options {
    Options {
        threads: 8,
        push_threads: None,
        retry: retries(0),
        pull: false,
        destinations: Destinations::default(),
        unavailable: BTreeMap::new(),
        existing: BTreeMap::new(),
        push_all_or_none: false,
        forgiven: BTreeSet::new(),
        durations: BTreeMap::new(),
        priorities: true,
    }
}

/// Runs the family. Returns `name status` of every image, and the events.
fn run_family(
    engine: &Arc<Scripted>,
    options: Options,
    facts: &Facts,
    interrupt: impl Future<Output = ()>,
) -> (Vec<String>, Vec<Event>) {
    run_graph(&graph(FAMILY).unwrap(), engine, options, &BuildOptions::plain(), facts, interrupt)
}

fn run_graph(
    graph: &Graph,
    engine: &Arc<Scripted>,
    options: Options,
    build_options: &BuildOptions,
    facts: &Facts,
    interrupt: impl Future<Output = ()>,
) -> (Vec<String>, Vec<Event>) {
    let plan = Plan::new(graph, &Selection::default(), facts);
    let build_options = Arc::new(build_options.clone());
    let inputs = graph
        .images()
        .iter()
        .map(|image| {
            let context = Context::new(image.text.clone(), []);
            let options = build_options.clone();
            let is_sourced = engine.sourced.contains_key(image.name.as_str());
            let sources = is_sourced.then(sources);
            (image.name.clone(), BuildInput { context, sources, options })
        })
        .collect();
    let backends = Backends {
        engine: engine.clone(),
        engine_name: "scripted".to_owned(),
        registry: engine.clone(),
        fetcher: engine.clone(),
    };
    let mut events = Vec::new();
    let mut emit = |_, event| events.push(event);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let outcomes = runtime.block_on(run(backends, &plan, inputs, options, interrupt, &mut emit));
    let shown = outcomes.iter().map(|(name, outcome)| format!("{name} {}", outcome.status()));
    (shown.collect(), events)
}

fn all_built() -> Vec<String> {
    ["base", "leaf-a", "leaf-b", "mid", "tool"].map(|name| format!("{name} built")).to_vec()
}

fn position(log: &[String], what: &str) -> usize {
    log.iter().position(|entry| entry == what).unwrap_or_else(|| panic!("{what} in {log:?}"))
}

#[test]
fn every_image_starts_after_all_it_needs() {
    let engine = Arc::new(Scripted::default());
    let (outcomes, _) = run_family(&engine, options(), &Facts::default(), std::future::pending());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    for (child, parent) in
        [("mid", "base"), ("leaf-a", "mid"), ("leaf-b", "mid"), ("leaf-b", "tool")]
    {
        let (start, end) = (format!("build {child}"), format!("end {parent}"));
        assert!(position(&log, &start) > position(&log, &end), "{log:?}");
    }
}

#[test]
fn the_longest_chain_goes_first_and_threads_bound_the_builds() {
    let engine = Arc::new(Scripted::default());
    let one = Options { threads: 1, ..options() };
    run_family(&engine, one, &Facts::default(), std::future::pending());
    assert_eq!(engine.busy.lock().unwrap().1, 1);
    let builds: Vec<_> = engine.log().into_iter().filter(|l| l.starts_with("build")).collect();
    assert_eq!(builds[..2], ["build base", "build mid"]);
}

#[test]
fn failure_affects_descendants_alone() {
    let engine = Scripted::default();
    let error = EngineError::Refused("exit code 1".to_owned());
    engine.failing.lock().unwrap().insert("mid".to_owned(), (9, error));
    let engine = Arc::new(engine);
    let (outcomes, events) =
        run_family(&engine, options(), &Facts::default(), std::future::pending());
    assert_eq!(
        outcomes,
        ["base built", "leaf-a parent_error", "leaf-b parent_error", "mid error", "tool built"]
    );
    let finished = events.iter().filter(|e| matches!(e, Event::Finished { .. })).count();
    assert_eq!(finished, FAMILY.len());
}

#[test]
fn a_lost_engine_is_a_connection_error() {
    let engine = Scripted::default();
    let error = EngineError::Broken("gone".to_owned());
    engine.failing.lock().unwrap().insert("tool".to_owned(), (9, error));
    let (outcomes, _) =
        run_family(&Arc::new(engine), options(), &Facts::default(), std::future::pending());
    assert!(outcomes.contains(&"tool connection_error".to_owned()), "{outcomes:?}");
}

#[test]
fn failed_builds_are_retried() {
    let engine = Scripted::default();
    let error = EngineError::Refused("once".to_owned());
    engine.failing.lock().unwrap().insert("base".to_owned(), (2, error));
    let engine = Arc::new(engine);
    let thrice = Options { retry: retries(2), ..options() };
    let (outcomes, events) = run_family(&engine, thrice, &Facts::default(), std::future::pending());
    assert_eq!(outcomes, all_built());
    let pauses: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            Event::Retrying { pause, .. } => Some(*pause),
            _ => None,
        })
        .collect();
    let [first, second] = pauses[..] else { panic!("{pauses:?}") };
    assert!((FIRST_PAUSE..=FIRST_PAUSE.mul_f64(1.0 + JITTER)).contains(&first));
    assert!((FIRST_PAUSE * 2..=(FIRST_PAUSE * 2).mul_f64(1.0 + JITTER)).contains(&second));
}

#[test]
fn a_skipped_parent_serves_its_children() {
    let engine = Arc::new(Scripted::default());
    let existing = BTreeSet::from([naming().reference("base").unwrap()]);
    let facts = Facts { existing, ..Facts::default() };
    let (outcomes, _) = run_family(&engine, options(), &facts, std::future::pending());
    assert_eq!(outcomes, ["leaf-a built", "leaf-b built", "mid built", "tool built"]);
}

/// Outcomes of a run in which the build of `base` fails.
const BELOW_A_FAILED_BASE: [&str; 5] =
    ["base error", "leaf-a parent_error", "leaf-b parent_error", "mid parent_error", "tool built"];

/// Returns an image with the refusal of its push.
fn denied(name: &str) -> (String, EngineError) {
    (name.to_owned(), EngineError::Refused("denied".to_owned()))
}

#[test]
fn refused_push_is_tried_as_often_as_its_kind_allows_and_counts_if_the_registry_has_the_image() {
    use registry::Kind;
    let busy = Kind::Busy { pause: None };
    let table = [
        (Kind::Immutable, false, 1),
        (Kind::Uncreated, false, 1),
        (Kind::Denied, false, 2),
        (busy, false, 4),
        (Kind::Immutable, true, 1),
        (Kind::Denied, true, 1),
        (Kind::Uncreated, true, 1),
    ];
    for (kind, is_there, pushes) in table {
        let error = EngineError::Registry(registry::Error::new(kind, "refused"));
        let engine = Arc::new(Scripted {
            unpushable: [("base".to_owned(), error)].into(),
            pushed: is_there.then(|| "base".to_owned()).into_iter().collect(),
            ..Scripted::default()
        });
        let pushing = Options { push_threads: Some(1), retry: retries(3), ..options() };
        let (outcomes, events) =
            run_family(&engine, pushing, &Facts::default(), std::future::pending());
        let status = if is_there { "base built" } else { "base push_error" };
        assert_eq!(outcomes[0], status, "{kind:?}");
        assert_eq!(engine.log().iter().filter(|it| *it == "push base").count(), pushes, "{kind:?}");
        let asked = engine.log().iter().any(|it| it == "registry has id-base? base");
        assert_eq!(asked, kind != busy, "{kind:?}");
        let told = events.iter().any(|event| {
            matches!(event, Event::Log { line, .. } if line.contains("has this very image"))
        });
        assert_eq!(told, is_there, "{kind:?}");
    }
}

#[test]
fn image_on_an_unavailable_base_is_not_built() {
    let reason = "its base debian:1 can't be pulled: toomanyrequests";
    let unavailable =
        BTreeMap::from([("debian:1".parse().unwrap(), Outcome::Error(reason.to_owned()))]);
    let engine = Arc::new(Scripted::default());
    let options = Options { unavailable, ..options() };
    let (outcomes, _) = run_family(&engine, options, &Facts::default(), std::future::pending());
    assert_eq!(outcomes, BELOW_A_FAILED_BASE);
}

#[test]
fn each_built_image_is_pushed_and_a_failed_push_harms_no_child() {
    let engine =
        Scripted { unpushable: [denied("base"), denied("tool")].into(), ..Scripted::default() };
    let pushing = Options { push_threads: Some(1), ..options() };
    let (outcomes, events) =
        run_family(&Arc::new(engine), pushing, &Facts::default(), std::future::pending());
    assert_eq!(
        outcomes,
        ["base push_error", "leaf-a built", "leaf-b built", "mid built", "tool push_error"]
    );
    let digest = events.iter().find_map(|e| match e {
        Event::Finished { name, outcome: Outcome::Built { pushed, .. }, .. }
            if name.as_str() == "mid" =>
        {
            pushed.first().map(|pushed| pushed.digest.clone())
        }
        _ => None,
    });
    assert_eq!(digest.as_deref(), Some("digest-mid"));
}

/// The fingerprints computed while building are those computed for the whole graph beforehand, if
/// the external images are the same.
#[test]
fn images_carry_the_fingerprints_that_the_graph_has() {
    let known = ["debian".to_owned(), "other".to_owned()].into();
    let engine = Arc::new(Scripted { known, ..Scripted::default() });
    run_family(&engine, options(), &Facts::default(), std::future::pending());
    let graph = graph(FAMILY).unwrap();
    let own = graph.images().iter().map(|image| {
        let context = Context::new(image.text.clone(), []);
        (image.name.clone(), context.parts().unwrap())
    });
    let printed = graph.fingerprints(&own.collect(), &|_, _| "known".to_owned());
    let carried = engine.fingerprints.lock().unwrap();
    for (image, printed) in graph.images().iter().zip(printed) {
        let carried = carried[image.name.as_str()].as_deref();
        assert_eq!(carried, Some(printed.fingerprint.as_str()), "{}", image.name);
    }
}

#[test]
fn image_on_an_unknown_parent_has_no_fingerprint() {
    let known = ["debian".to_owned()].into();
    let engine = Arc::new(Scripted { known, ..Scripted::default() });
    run_family(&engine, options(), &Facts::default(), std::future::pending());
    let carried = engine.fingerprints.lock().unwrap();
    let without: Vec<_> =
        carried.iter().filter(|(_, printed)| printed.is_none()).map(|(name, _)| name).collect();
    assert_eq!(without, ["leaf-b", "tool"]);
}

#[test]
fn an_image_is_pushed_to_all_registries() {
    let engine = Arc::new(Scripted::default());
    let destinations = Destinations::new(&["first", "h:1", "h:2"].map(str::to_owned)).unwrap();
    let pushing = Options { push_threads: Some(1), destinations, ..options() };
    let (outcomes, events) =
        run_family(&engine, pushing, &Facts::default(), std::future::pending());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    let of_base: Vec<_> = log.iter().filter(|l| l.ends_with(" base")).collect();
    let expected = ["build base", "end base", "push base", "tag h:1 base", "push base"];
    assert_eq!(of_base[..5], expected);
    let pushed = events.iter().find_map(|event| match event {
        Event::Finished { outcome: Outcome::Built { pushed, .. }, .. } => Some(pushed.clone()),
        _ => None,
    });
    let names: Vec<_> = pushed.unwrap().into_iter().map(|pushed| pushed.reference.name()).collect();
    assert!(names[1].starts_with("h:1/") && names[2].starts_with("h:2/"), "{names:?}");
}

#[test]
fn built_image_is_squashed_down_to_its_parent() {
    let engine = Arc::new(Scripted::default());
    let squash = Some(SquashOptions { cleanup: true, tmp_dir: None });
    let build = BuildOptions { squash, ..BuildOptions::plain() };
    let graph = graph(FAMILY).unwrap();
    let everything = Facts::default();
    let (outcomes, events) =
        run_graph(&graph, &engine, options(), &build, &everything, std::future::pending());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    assert!(
        position(&log, "squash id-mid from squashed-base mid") < position(&log, "build leaf-a"),
        "{log:?}"
    );
    assert!(
        events.iter().any(|event| matches!(event,
        Event::Finished { outcome: Outcome::Built { made, .. }, .. } if made.id == "squashed-mid"))
    );
}

/// Returns the graph of one image for two platforms.
fn for_two_platforms() -> Graph {
    let naming = naming();
    let images = ["amd64", "arm64"].map(|platform| crate::graph::Image {
        name: ImageName::new("app").on(Some(platform)),
        naming: Arc::new(naming.clone()),
        reference: format!("family/p-{platform}:1").parse().unwrap(),
        list: Some("family/p-list:1".parse().unwrap()),
        alias: None,
        template: String::new(),
        text: "FROM debian:1".into(),
        dockerfile: crate::dockerfile::parse(
            "FROM debian:1",
            &crate::dockerfile::ReadingInput::default(),
        )
        .unwrap(),
        target: crate::image::Platform::of_host().into(),
        builds_all_stages: false,
    });
    Graph::new(images.to_vec()).unwrap()
}

/// Returns the registries of a run that pushes to the default one and to a second one.
fn second() -> Destinations {
    Destinations::new(&["first".to_owned(), "h:1".to_owned()]).unwrap()
}

/// Returns the outcomes of a run for two platforms, and the manifest lists that it pushed.
fn joined(engine: Scripted) -> (Vec<String>, Vec<String>) {
    let pushing = Options { push_threads: Some(1), destinations: second(), ..options() };
    let (outcomes, events) = run_graph(
        &for_two_platforms(),
        &Arc::new(engine),
        pushing,
        &BuildOptions::plain(),
        &Facts::default(),
        std::future::pending(),
    );
    let lists = events.iter().filter_map(|event| match event {
        Event::ListPushed(pushed) => Some(pushed.reference.to_string()),
        _ => None,
    });
    (outcomes, lists.collect())
}

#[test]
fn images_of_several_platforms_are_joined_once_all_are_pushed() {
    let (outcomes, lists) = joined(Scripted::default());
    assert_eq!(outcomes, ["amd64/app built", "arm64/app built"]);
    assert_eq!(lists, ["family/p-list:1", "h:1/family/p-list:1"]);
}

#[test]
fn list_with_a_missing_image_is_not_pushed() {
    let unpushable = [denied("arm64")].into();
    let (outcomes, lists) = joined(Scripted { unpushable, ..Scripted::default() });
    assert_eq!(outcomes, ["amd64/app built", "arm64/app push_error"]);
    assert_eq!(lists, Vec::<String>::new());
}

#[test]
fn a_list_that_is_refused_fails_its_images() {
    let unpushable = [denied("list")].into();
    let (outcomes, lists) = joined(Scripted { unpushable, ..Scripted::default() });
    assert_eq!(outcomes, ["amd64/app push_error", "arm64/app push_error"]);
    assert_eq!(lists, Vec::<String>::new());
}

#[test]
fn an_external_image_out_of_reach_will_do_if_the_engine_has_it() {
    let unpullable = ["debian".to_owned(), "other".to_owned()].into();
    let known = ["debian".to_owned()].into();
    let engine = Scripted { unpullable, known, ..Scripted::default() };
    let pulling = Options { pull: true, ..options() };
    let (outcomes, events) =
        run_family(&Arc::new(engine), pulling, &Facts::default(), std::future::pending());
    assert_eq!(
        outcomes,
        ["base built", "leaf-a built", "leaf-b parent_error", "mid built", "tool error"]
    );
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Event::Warning(w) if w.subject.to_string() == "debian:1"))
    );
}

#[test]
fn pull_reports_its_bytes_and_its_end() {
    let known = ["debian".to_owned(), "other".to_owned()].into();
    let engine = Scripted { known, ..Scripted::default() };
    let pulling = Options { pull: true, ..options() };
    let (_, events) =
        run_family(&Arc::new(engine), pulling, &Facts::default(), std::future::pending());
    let debian: ImageRef = "debian:1".parse().unwrap();
    let of_debian: Vec<_> = events
        .iter()
        .filter(|event| match event {
            Event::Pulling(reference) | Event::PullEnded(reference) => *reference == debian,
            Event::Transferred(transfer) => transfer.artifact == debian,
            _ => false,
        })
        .cloned()
        .collect();
    let transfer = Transfer { artifact: debian.clone(), done: 1, total: 2 };
    assert_eq!(
        of_debian,
        [Event::Pulling(debian.clone()), Event::Transferred(transfer), Event::PullEnded(debian)]
    );
}

#[test]
fn an_interrupt_ends_the_run_with_every_image_accounted_for() {
    let engine = Arc::new(Scripted { hanging: true, ..Scripted::default() });
    let waiting = engine.clone();
    let interrupt = async move { waiting.started.notified().await };
    let (outcomes, events) = run_family(&engine, options(), &Facts::default(), interrupt);
    assert!(outcomes.iter().all(|outcome| outcome.ends_with(" interrupted")), "{outcomes:?}");
    assert_eq!(outcomes.len(), FAMILY.len());
    assert!(matches!(events.last(), Some(Event::Ended { .. })));
}

/// Returns a chain of ten builds of one minute each, and sixty builds of 20 seconds that come first
/// by name and need nothing. Returns the durations, too.
fn skewed() -> (Vec<(String, String)>, BTreeMap<String, Duration>) {
    let letter = |n: usize| char::from(b'a' + n as u8);
    let of_chain = |n: usize| format!("z-chain-{}", letter(n));
    let chain = (0..10).map(|n| match n {
        0 => (of_chain(0), "FROM debian:1".to_owned()),
        n => (of_chain(n), format!("FROM @{}", of_chain(n - 1))),
    });
    let of_leaf = |n: usize| format!("leaf-{}{}", letter(n / 10), letter(n % 10));
    let leaves = (0..60).map(|n| (of_leaf(n), "FROM debian:1".to_owned()));
    let images: Vec<(String, String)> = chain.chain(leaves).collect();
    let takes = images.iter().map(|(name, _)| {
        (name.clone(), Duration::from_secs(if name.starts_with('z') { 60 } else { 20 }))
    });
    (images.clone(), takes.collect())
}

/// Returns the duration and the events of a skewed run on three threads.
fn run_skewed(priorities: bool) -> (Duration, Vec<Event>) {
    let (images, takes) = skewed();
    let images: Vec<_> = images.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let durations = takes.iter().map(|(name, took)| (ImageName::new(name), *took)).collect();
    let engine = Arc::new(Scripted { takes, ..Scripted::default() });
    let (_, events) = run_graph(
        &graph(&images).unwrap(),
        &engine,
        Options { threads: 3, durations, priorities, ..options() },
        &BuildOptions::plain(),
        &Facts::default(),
        std::future::pending(),
    );
    let Some(Event::Ended { took }) = events.last() else { panic!("no end") };
    (*took, events)
}

#[test]
fn the_longest_path_first_takes_little_more_than_it_has_to() {
    let least = Duration::from_secs(600);
    let (with, events) = run_skewed(true);
    assert!(with >= least && with <= least.mul_f64(1.05), "{with:?}");
    let (without, _) = run_skewed(false);
    assert!(without >= least.mul_f64(1.5), "{without:?}");
    let Some(Event::Started { estimate, .. }) = events.first() else { panic!("no start") };
    assert_eq!(*estimate, Some(least));
}

#[test]
fn duration_is_that_of_the_successful_attempt() {
    let engine = Scripted::default();
    let error = EngineError::Refused("once".to_owned());
    engine.failing.lock().unwrap().insert("base".to_owned(), (2, error));
    let options = Options { retry: retries(2), push_threads: Some(1), ..options() };
    let (_, events) =
        run_family(&Arc::new(engine), options, &Facts::default(), std::future::pending());
    let measured = events.iter().filter_map(|event| match event {
        Event::Built { name, took } => Some((name.to_string(), took.as_millis())),
        _ => None,
    });
    let measured: BTreeMap<String, u128> = measured.collect();
    assert_eq!(measured.len(), FAMILY.len());
    assert!(measured.values().all(|took| (10..15).contains(took)), "{measured:?}");
}

#[test]
fn nothing_is_measured_of_what_fails() {
    let engine = Scripted::default();
    let error = EngineError::Refused("no".to_owned());
    engine.failing.lock().unwrap().insert("base".to_owned(), (9, error));
    let (_, events) =
        run_family(&Arc::new(engine), options(), &Facts::default(), std::future::pending());
    let measured = events.iter().filter(|event| matches!(event, Event::Built { .. })).count();
    assert_eq!(measured, 1);
}

const SECOND: Duration = Duration::from_secs(1);

/// Returns durations by image, given in seconds.
fn seconds(of: &[(&str, u32)]) -> BTreeMap<String, Duration> {
    of.iter().map(|(name, seconds)| (name.to_string(), SECOND * *seconds)).collect()
}

fn took(events: &[Event]) -> Duration {
    let Some(Event::Ended { took }) = events.last() else { panic!("no end") };
    *took
}

#[test]
fn sources_are_fetched_while_a_parent_builds() {
    let takes = seconds(&[("base", 60)]);
    let sourced = seconds(&[("mid", 50), ("leaf-a", 55)]);
    let engine = Arc::new(Scripted { takes, sourced, ..Scripted::default() });
    let (outcomes, events) =
        run_family(&engine, options(), &Facts::default(), std::future::pending());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    assert!(position(&log, "fetched leaf-a") < position(&log, "end base"), "{log:?}");
    assert!(took(&events) < SECOND * 61, "{:?}", took(&events));
}

#[test]
fn no_thread_waits_for_a_download() {
    let takes = seconds(&[("base", 5), ("tool", 25)]);
    let engine =
        Arc::new(Scripted { takes, sourced: seconds(&[("base", 30)]), ..Scripted::default() });
    let one = Options { threads: 1, ..options() };
    let (_, events) = run_family(&engine, one, &Facts::default(), std::future::pending());
    let log = engine.log();
    assert!(position(&log, "end tool") < position(&log, "fetched base"), "{log:?}");
    let starts = events.iter().filter_map(|event| match event {
        Event::BuildStarted { name, .. } => Some(name.to_string()),
        _ => None,
    });
    assert_eq!(starts.take(2).collect::<Vec<_>>(), ["tool", "base"]);
    assert!(took(&events) < SECOND * 36, "{:?}", took(&events));
}

/// Returns the largest number of waiting contexts, and the number when the build of `base` ends.
fn waiting(log: &[String]) -> (usize, usize) {
    let (mut now, mut most, mut at_end_of_base) = (0, 0, 0);
    for entry in log {
        match entry.split_once(' ').unwrap() {
            ("fetch", _) => now += 1,
            ("build", name) if name != "base" => now -= 1,
            ("end", "base") => at_end_of_base = now,
            _ => {}
        }
        most = most.max(now);
    }
    (most, at_end_of_base)
}

#[test]
fn packed_contexts_in_memory_are_bounded() {
    let names: Vec<String> = (0..40u8)
        .map(|n| format!("i-{}{}", char::from(b'a' + n / 8), char::from(b'a' + n % 8)))
        .collect();
    let mut images = vec![("base", "FROM debian:1")];
    images.extend(names.iter().map(|name| (name.as_str(), "FROM @base")));
    let sourced: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut takes: Vec<_> = names.iter().map(|name| (name.as_str(), 7)).collect();
    takes.push(("base", 100));
    let engine = Arc::new(Scripted {
        takes: seconds(&takes),
        sourced: seconds(&sourced),
        ..Scripted::default()
    });
    let (outcomes, events) = run_graph(
        &graph(&images).unwrap(),
        &engine,
        Options { threads: 2, ..options() },
        &BuildOptions::plain(),
        &Facts::default(),
        std::future::pending(),
    );
    assert!(outcomes.iter().all(|outcome| outcome.ends_with(" built")), "{outcomes:?}");
    assert_eq!(waiting(&engine.log()), (4, 2));
    assert!(took(&events) < SECOND * 241, "{:?}", took(&events));
}

#[test]
fn a_source_that_cannot_be_had_fails_its_image_when_its_turn_comes() {
    let takes = seconds(&[("base", 60)]);
    let engine = Arc::new(Scripted {
        takes,
        sourced: seconds(&[("mid", 1)]),
        unfetchable: Mutex::new([("mid".to_owned(), 1)].into()),
        ..Scripted::default()
    });
    let (outcomes, events) = run_family(
        &engine,
        Options { retry: retries(1), ..options() },
        &Facts::default(),
        std::future::pending(),
    );
    let expected =
        ["base built", "leaf-a parent_error", "leaf-b parent_error", "mid error", "tool built"];
    assert_eq!(outcomes, expected);
    let of_mid: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Retrying { name, .. } if name.as_str() == "mid" => Some("retrying"),
            Event::BuildStarted { name, attempt: 1 } if name.as_str() == "mid" => Some("started"),
            Event::Built { name, .. } if name.as_str() == "base" => Some("base is built"),
            Event::Finished { name, outcome, .. } if name.as_str() == "mid" => {
                assert_eq!(outcome.detail().unwrap(), "the source [s] l: gone");
                Some("finished")
            }
            _ => None,
        })
        .collect();
    assert_eq!(of_mid, ["retrying", "base is built", "started", "finished"]);
}

#[test]
fn nothing_is_fetched_for_what_will_not_be_built() {
    let engine = Scripted {
        takes: seconds(&[("base", 5)]),
        sourced: seconds(&[("mid", 1), ("leaf-a", 1000), ("leaf-b", 1000)]),
        unfetchable: Mutex::new([("mid".to_owned(), 0)].into()),
        ..Scripted::default()
    };
    let error = EngineError::Refused("no".to_owned());
    engine.failing.lock().unwrap().insert("base".to_owned(), (9, error));
    let engine = Arc::new(engine);
    let (outcomes, events) =
        run_family(&engine, options(), &Facts::default(), std::future::pending());
    assert_eq!(outcomes, BELOW_A_FAILED_BASE);
    let log = engine.log();
    assert!(position(&log, "dropped leaf-a") > position(&log, "end base"), "{log:?}");
    position(&log, "dropped leaf-b");
    assert!(took(&events) < SECOND * 6, "{:?}", took(&events));
}

#[test]
fn an_interrupt_drops_fetches() {
    let engine = Arc::new(Scripted {
        hanging: true,
        sourced: seconds(&[("mid", 1000)]),
        ..Scripted::default()
    });
    let interrupt = async { tokio::time::sleep(SECOND * 5).await };
    let (outcomes, events) = run_family(&engine, options(), &Facts::default(), interrupt);
    assert!(outcomes.iter().all(|outcome| outcome.ends_with(" interrupted")), "{outcomes:?}");
    position(&engine.log(), "dropped mid");
    assert!(took(&events) < SECOND * 6, "{:?}", took(&events));
}

/// Runs the family in the mode that pushes all or nothing, with a failing tool. Returns the
/// outcomes and the pushes.
fn all_or_nothing(forgiven: &[&str]) -> (Vec<String>, Vec<String>) {
    let refused = (1, EngineError::Refused("no".to_owned()));
    let engine = Arc::new(Scripted {
        failing: Mutex::new(HashMap::from([("tool".to_owned(), refused)])),
        ..Scripted::default()
    });
    let pushing = Options {
        push_threads: Some(1),
        push_all_or_none: true,
        forgiven: forgiven.iter().map(|name| ImageName::new(name)).collect(),
        retry: retries(0),
        ..options()
    };
    let (outcomes, _) = run_family(&engine, pushing, &Facts::default(), std::future::pending());
    let pushes = engine.log().into_iter().filter(|entry| entry.starts_with("push ")).collect();
    (outcomes, pushes)
}

#[test]
fn nothing_is_pushed_where_not_all_is_built() {
    let (outcomes, pushes) = all_or_nothing(&[]);
    let expected = [
        "base push_error",
        "leaf-a push_error",
        "leaf-b parent_error",
        "mid push_error",
        "tool error",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(pushes, Vec::<String>::new());
}

#[test]
fn images_allowed_to_fail_do_not_prevent_pushes() {
    let (outcomes, pushes) = all_or_nothing(&["tool"]);
    let expected = ["base built", "leaf-a built", "leaf-b parent_error", "mid built", "tool error"];
    assert_eq!(outcomes, expected);
    assert_eq!(pushes.len(), 3);
}

#[test]
fn nothing_is_pushed_before_all_is_built() {
    let engine = Arc::new(Scripted::default());
    let pushing = Options { push_threads: Some(1), push_all_or_none: true, ..options() };
    let (outcomes, _) = run_family(&engine, pushing, &Facts::default(), std::future::pending());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    let first_push = log.iter().position(|entry| entry.starts_with("push ")).unwrap();
    let last_end = log.iter().rposition(|entry| entry.starts_with("end ")).unwrap();
    assert!(last_end < first_push, "{log:?}");
}

#[test]
fn an_engine_that_went_away_is_waited_for() {
    let broken = (1, EngineError::Broken("gone".to_owned()));
    let engine = Arc::new(Scripted {
        failing: Mutex::new(HashMap::from([("base".to_owned(), broken)])),
        away: Mutex::new(5),
        ..Scripted::default()
    });
    let one = Options { retry: retries(1), ..options() };
    let (outcomes, _) = run_family(&engine, one, &Facts::default(), std::future::pending());
    assert_eq!(outcomes, all_built());
    assert_eq!(engine.log().iter().filter(|entry| *entry == "ask").count(), 5);

    let broken = (9, EngineError::Broken("gone".to_owned()));
    let engine = Arc::new(Scripted {
        failing: Mutex::new(HashMap::from([("base".to_owned(), broken)])),
        away: Mutex::new(usize::MAX),
        ..Scripted::default()
    });
    let one = Options { retry: retries(1), ..options() };
    let (outcomes, _) = run_family(&engine, one, &Facts::default(), std::future::pending());
    assert_eq!(outcomes[0], "base connection_error");
}

/// Returns an engine that has `debian`, `other` and images that a third party built.
fn meddled_with(meddling: &[(&'static str, Meddling)]) -> Scripted {
    let engine = Scripted::default()
        .with("debian", inspected("id-debian", &["debian"], None))
        .with("other", inspected("id-other", &["other"], None))
        .with("another-debian", inspected("another-debian", &["debian", "newer"], None))
        .with("another-base", inspected("another-base", &["debian", "of another"], None))
        .with("another-tool", inspected("another-tool", &["other", "of another"], None));
    engine.meddled_with(meddling)
}

/// Runs the family with one retry for each image, and with pushes. Returns the outcomes, and the
/// reason of each build that failed itself.
fn meddled(engine: &Arc<Scripted>, options: Options) -> (Vec<String>, Vec<String>) {
    let options = Options { retry: retries(1), push_threads: Some(1), ..options };
    let everything = Facts::default();
    let (outcomes, events) = run_family(engine, options, &everything, std::future::pending());
    let failures = events.into_iter().filter_map(|event| match event {
        Event::Finished { outcome: Outcome::Error(reason), .. } => Some(reason),
        _ => None,
    });
    (outcomes, failures.collect())
}

/// Asserts that every image that this run built has the layers of its parent as that was built.
fn assert_placed(engine: &Scripted) {
    for (name, layers) in [
        ("base", vec!["debian", "of base"]),
        ("mid", vec!["debian", "of base", "of mid"]),
        ("leaf-a", vec!["debian", "of base", "of mid", "of leaf-a"]),
        ("leaf-b", vec!["debian", "of base", "of mid", "of leaf-b"]),
        ("tool", vec!["other", "of tool"]),
    ] {
        let is_ours = |image: &Inspected| image.id.starts_with("id");
        if let Some(image) = engine.under(name).filter(is_ours) {
            assert_eq!(image.layers[..], layers, "{name}");
        }
    }
}

const BELOW_BASE: [&str; 5] =
    ["base built", "leaf-a parent_error", "leaf-b parent_error", "mid error", "tool built"];

#[test]
fn moved_parent_fails_its_children_before_they_are_built() {
    let moved = [("tagged base", Meddling::Move("base", "another-base"))];
    let engine = Arc::new(meddled_with(&moved));
    let (outcomes, failures) = meddled(&engine, options());
    assert_eq!(outcomes, BELOW_BASE);
    let reason = "its parent family/p-base:1 is not the image that this run built: something else \
                  moved the tag; run only one build at a time for images with these names; \
                  runs with the same --state-dir wait for each other";
    assert_eq!(failures, [reason]);
    let log = engine.log();
    assert!(!log.iter().any(|entry| entry == "build mid" || entry == "push mid"), "{log:?}");
}

#[test]
fn removed_parent_fails_its_children_before_they_are_built() {
    let engine = Arc::new(meddled_with(&[("tagged base", Meddling::Remove("base"))]));
    let (outcomes, failures) = meddled(&engine, options());
    assert_eq!(outcomes, BELOW_BASE);
    let reason = "its parent family/p-base:1 is no longer in the engine: something else removed it \
                  after this run built it";
    assert_eq!(failures, [reason]);
}

#[test]
fn child_of_a_parent_that_moves_during_its_build_is_neither_tagged_nor_pushed() {
    // The last image has all layers of the parent, but may have other variables.
    for (when, other) in [
        ("build mid", Meddling::Move("base", "another-base")),
        ("build mid", Meddling::Remove("base")),
        ("end mid", Meddling::Move("base", "alike-base")),
    ] {
        let alike = inspected("alike-base", &["debian", "of base"], None);
        let engine = Arc::new(meddled_with(&[(when, other)]).with("alike-base", alike));
        let (outcomes, failures) = meddled(&engine, options());
        assert_eq!(outcomes, BELOW_BASE, "{when} {other:?}");
        assert_eq!(failures.len(), 1);
        assert!(failures[0].starts_with("its parent family/p-base:1"), "{failures:?}");
        let log = engine.log();
        position(&log, "discard id-mid");
        assert!(!log.iter().any(|entry| entry == "push mid"), "{log:?}");
        assert!(engine.under("mid").is_none());
    }
}

#[test]
fn parent_that_moves_after_its_childs_build_has_no_effect() {
    for other in [Meddling::Move("base", "another-base"), Meddling::Remove("base")] {
        let engine = Arc::new(meddled_with(&[("end mid", other)]));
        let (outcomes, _) = meddled(&engine, options());
        assert_eq!(outcomes, all_built(), "{other:?}");
        assert_placed(&engine);
    }
}

#[test]
fn child_that_came_onto_another_parent_is_built_again() {
    let there_and_back = [
        ("build mid", Meddling::Move("base", "another-base")),
        ("end mid", Meddling::Move("base", "id-base")),
    ];
    let engine = Arc::new(meddled_with(&there_and_back));
    let (outcomes, _) = meddled(&engine, options());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    assert!(position(&log, "discard id-mid") < position(&log, "push mid"), "{log:?}");
    assert_eq!(log.iter().filter(|entry| *entry == "build mid").count(), 2);
    assert_placed(&engine);
}

#[test]
fn image_is_not_believed_whose_files_come_from_another_image() {
    for when in ["tagged tool", "build leaf-b", "end leaf-b"] {
        let engine = Arc::new(meddled_with(&[(when, Meddling::Move("tool", "another-tool"))]));
        let (outcomes, failures) = meddled(&engine, options());
        assert_eq!(outcomes[2], "leaf-b error", "{when}: {outcomes:?}");
        let reason =
            "family/p-tool:1, from which it takes files, is not the image that this run built";
        assert!(failures[0].starts_with(reason), "{failures:?}");
        assert!(engine.under("leaf-b").is_none());
        assert!(!engine.log().iter().any(|entry| entry == "push leaf-b"));
    }
}

#[test]
fn image_is_not_believed_whose_files_may_come_from_another_image() {
    let there_and_back = [
        ("build leaf-b", Meddling::Move("tool", "another-tool")),
        ("end leaf-b", Meddling::Move("tool", "id-tool")),
    ];
    let engine = Arc::new(meddled_with(&there_and_back));
    let (outcomes, _) = meddled(&engine, options());
    assert_eq!(outcomes, all_built());
    let log = engine.log();
    assert!(position(&log, "discard id-leaf-b") < position(&log, "push leaf-b"), "{log:?}");
}

#[test]
fn external_parent_that_moves_during_a_build_makes_it_be_built_again() {
    let newer = [("build base", Meddling::Move("debian", "another-debian"))];
    let engine = Arc::new(meddled_with(&newer));
    let (outcomes, _) = meddled(&engine, options());
    assert_eq!(outcomes, all_built());
    let base = engine.under("base").unwrap();
    assert_eq!(base.layers[..], ["debian", "newer", "of base"]);
    position(&engine.log(), "discard id-base");
}

/// Runs the family without `base`, which the run found with this fingerprint.
fn meddled_with_skipped_base(meddling: &[(&'static str, Meddling)]) -> (Vec<String>, Vec<String>) {
    let found = inspected("found-base", &["debian", "of base"], Some("found"));
    let engine = Arc::new(meddled_with(meddling).with("base", found));
    engine.come_to("start", "run");
    let facts =
        Facts { existing: [naming().reference("base").unwrap()].into(), ..Facts::default() };
    let there =
        Existing { id: Some("found-base".to_owned()), fingerprint: Some("found".to_owned()) };
    let options = Options {
        retry: retries(1),
        existing: BTreeMap::from([(ImageName::new("base"), there)]),
        ..options()
    };
    let (outcomes, events) = run_family(&engine, options, &facts, std::future::pending());
    let reasons = events.iter().filter_map(|event| match event {
        Event::Finished { outcome, .. } => outcome.detail(),
        _ => None,
    });
    (outcomes, reasons.collect())
}

#[test]
fn skipped_parent_that_is_another_by_now_fails_its_children() {
    let (outcomes, _) = meddled_with_skipped_base(&[]);
    assert_eq!(outcomes, ["leaf-a built", "leaf-b built", "mid built", "tool built"]);
    for when in ["start run", "build mid"] {
        let moved = [(when, Meddling::Move("base", "another-base"))];
        let (outcomes, reasons) = meddled_with_skipped_base(&moved);
        assert_eq!(outcomes[2], "mid error", "{when}: {outcomes:?}");
        let reason = "its parent family/p-base:1 is not the image that this run found";
        assert!(reasons.iter().any(|told| told.starts_with(reason)), "{when}: {reasons:?}");
    }
}
