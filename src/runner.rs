//! Does what a plan says: builds and pushes, as many at once as allowed, each image as soon as
//! what it needs is there.
//!
//! One dispatcher owns all state of a run. Workers build or push a single image and only send
//! events and return results, so there is nothing to lock. A failure is dealt out to all
//! descendants before anything else is started. Among images that could start, the one whose chain of
//! builds is expected to take longest goes first. Sources are fetched ahead of the builds, so that no
//! thread waits for a download.

mod ahead;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::context::Context;
use crate::engine::{BuildOptions, Engine, EngineError, Order, Output};
use crate::event::{Event, Outcome, Pushed};
use crate::fingerprint::{Fingerprinted, LABEL, Parts};
use crate::graph::{self, Graph, Index};
use crate::image::{ImageName, ImageRef};
use crate::plan::{Forecast, Plan};
use crate::source::{self, FetchError, Fetcher, ImageSources};
use crate::tree::TreeFile;
use ahead::Ahead;

/// How long to wait before the second try.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait at most between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How the work is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many builds at once.
    pub threads: usize,
    /// How many pushes at once; `None` where nothing is pushed.
    pub push_threads: Option<usize>,
    /// How many tries follow a failed one.
    pub retries: usize,
    /// Whether external images are asked for first.
    pub pull: bool,
    /// Registries that images are pushed to beside the one in their references.
    pub registries: Vec<String>,
    /// The fingerprints of images that are there already.
    pub fingerprints: BTreeMap<ImageName, String>,
    /// How long builds took in earlier runs, as far as that is known.
    pub durations: BTreeMap<ImageName, Duration>,
    /// Whether the image that most time hangs on starts first; images start by name otherwise.
    pub priorities: bool,
}

/// What an image is built from.
#[derive(Debug, Clone)]
pub struct Material {
    /// Its build context, as far as it lies in the tree.
    pub context: Context,
    /// What is to be fetched into the context; `None` where nothing is.
    pub sources: Option<ImageSources>,
    /// How it is built.
    pub options: Arc<BuildOptions>,
}

/// What a run works with.
pub struct Means<E> {
    /// Builds and pushes.
    pub engine: Arc<E>,
    /// The engine in words.
    pub engine_name: String,
    /// Fetches what is not in the tree.
    pub fetcher: Arc<dyn Fetcher>,
}

/// Builds what `plan` says, each image from its `materials`, and tells `emit` all
/// that happens. When `interrupt` is ready, what is under way is given up and the run ends.
///
/// Returns the outcome of every image that was to be built.
pub async fn run<E: Engine>(
    means: Means<E>,
    plan: &Plan<'_>,
    materials: BTreeMap<ImageName, Material>,
    options: Options,
    interrupt: impl Future<Output = ()>,
    emit: &mut dyn FnMut(Event),
) -> BTreeMap<ImageName, Outcome> {
    let started = Instant::now();
    let (to_build, set_aside) = plan.announce();
    let forecast = Forecast::new(plan, &options.durations);
    let estimate = forecast.total(options.threads);
    let engine = means.engine_name.clone();
    emit(Event::Started { engine, to_build, set_aside, estimate });
    let mut dispatcher = Dispatcher::new(means, plan, &forecast, materials, options, emit);
    dispatcher.work(interrupt).await;
    let outcomes = dispatcher.outcomes();
    emit(Event::Ended { took: started.elapsed() });
    outcomes
}

/// What a worker is at.
#[derive(Debug, Clone)]
enum Work {
    Pull(ImageRef),
    Fetch(Index),
    Build(Index),
    Push(Index),
    PushList(ImageRef),
}

impl Work {
    fn is_pull(&self) -> bool {
        matches!(self, Self::Pull(_))
    }

    fn is_build(&self) -> bool {
        matches!(self, Self::Build(_))
    }

    fn is_push(&self) -> bool {
        matches!(self, Self::Push(_) | Self::PushList(_))
    }
}

/// Why a worker did not do its work.
#[derive(Debug, Clone)]
struct Failure {
    text: String,
    /// Whether the engine or a registry was out of reach.
    out_of_reach: bool,
}

impl Failure {
    fn new(text: String) -> Self {
        Self { text, out_of_reach: false }
    }

    /// The outcome of it: of this `kind`, unless somebody was out of reach.
    fn outcome(self, kind: fn(String) -> Outcome) -> Outcome {
        if self.out_of_reach { Outcome::ConnectionError(self.text) } else { kind(self.text) }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { text: error.to_string(), out_of_reach: error.is_connection() }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::new(error.to_string())
    }
}

/// What an engine is sent for a build, with what is in it and how it is built.
#[derive(Debug, Clone)]
struct Packed {
    context: Bytes,
    parts: Parts,
    options: Arc<BuildOptions>,
}

/// What a build begins with.
#[derive(Debug, Clone)]
enum Stock {
    /// Nothing has to be fetched: it is packed on the way.
    Loose(Material),
    /// What was fetched is packed with the rest.
    Packed(Packed),
}

/// What came of it.
#[derive(Debug, Clone)]
enum Product {
    /// What can be built.
    Packed(Packed),
    /// The engine has an image.
    Image {
        id: String,
        /// What it carries as its fingerprint, if all that it is made of is known.
        fingerprint: Option<String>,
        /// How long the try took that made it.
        took: Duration,
    },
    /// Registries have what was pushed.
    Pushed(Vec<Pushed>),
    /// Nothing that anybody has to know of.
    Nothing,
}

type Done = Result<Product, Failure>;

/// How far an image has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// So many of the images it needs are not there yet.
    Waiting(usize),
    Building,
    /// Built under this id; its push is queued or under way.
    Pushing(String),
    /// Built and pushed; the list that joins it with others is not.
    Pushed(String, Vec<Pushed>),
    Finished(Outcome),
}

struct Dispatcher<'a, E> {
    engine: Arc<E>,
    fetcher: Arc<dyn Fetcher>,
    graph: &'a Graph,
    /// The place of each image in the order in which those that can start do.
    turns: Vec<usize>,
    materials: BTreeMap<ImageName, Material>,
    options: Options,
    /// The fingerprints of images that are there, and of those built so far.
    fingerprints: BTreeMap<Index, String>,
    /// External images of which there is another one for each of several platforms.
    ambiguous: BTreeSet<ImageRef>,
    emit: &'a mut dyn FnMut(Event),
    states: BTreeMap<Index, State>,
    begun: HashMap<Index, Instant>,
    pulls: Vec<Pull>,
    /// External images that can't be had, each with the reason.
    missing: BTreeMap<ImageRef, Failure>,
    /// The images that wait for no other, by turn.
    ready: BTreeSet<(usize, Index)>,
    ahead: Ahead,
    to_push: VecDeque<Index>,
    /// Manifest lists, each with the references of the images that it joins.
    lists: BTreeMap<ImageRef, Vec<ImageRef>>,
    tasks: JoinSet<Done>,
    at: HashMap<Id, Work>,
    send: UnboundedSender<Event>,
    heard: mpsc::UnboundedReceiver<Event>,
}

impl<'a, E: Engine> Dispatcher<'a, E> {
    fn new(
        means: Means<E>,
        plan: &Plan<'a>,
        forecast: &Forecast<'_>,
        materials: BTreeMap<ImageName, Material>,
        options: Options,
        emit: &'a mut dyn FnMut(Event),
    ) -> Self {
        let graph = plan.graph();
        let states: BTreeMap<Index, State> = plan
            .to_build()
            .map(|image| {
                let needs = graph.needs(image).into_iter().filter(|n| plan.is_built(*n)).count();
                (image, State::Waiting(needs))
            })
            .collect();
        let (pulls, ambiguous) = bases(plan, &materials);
        let mut pulls = if options.pull { pulls } else { Vec::new() };
        pulls.extend(plan.to_fetch().into_iter().map(|reference| (reference.clone(), None)));
        let known = options.fingerprints.iter();
        let fingerprints = known
            .filter_map(|(name, fingerprint)| Some((graph.index_of(name)?, fingerprint.clone())))
            .collect();
        let (send, heard) = mpsc::unbounded_channel();
        let ahead = Ahead::new(options.threads, to_fetch(plan, forecast, &materials));
        Self {
            engine: means.engine,
            fetcher: means.fetcher,
            graph,
            turns: forecast.turns(options.priorities),
            materials,
            options,
            fingerprints,
            ambiguous,
            emit,
            states,
            begun: HashMap::new(),
            pulls,
            missing: BTreeMap::new(),
            ready: BTreeSet::new(),
            ahead,
            to_push: VecDeque::new(),
            lists: plan
                .lists()
                .into_iter()
                .map(|(list, images)| (list.clone(), images.into_iter().cloned().collect()))
                .collect(),
            tasks: JoinSet::new(),
            at: HashMap::new(),
            send,
            heard,
        }
    }

    async fn work(&mut self, interrupt: impl Future<Output = ()>) {
        self.start_pulls();
        self.queue_roots();
        self.until_idle(pin!(interrupt)).await;
    }

    /// Starts what can be started and settles what ends, until nothing is under way or an interrupt
    /// comes.
    async fn until_idle(&mut self, mut interrupt: Pin<&mut impl Future<Output = ()>>) {
        loop {
            self.start_what_can();
            if self.at.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut interrupt => return self.give_up().await,
                Some(event) = self.heard.recv() => (self.emit)(event),
                Some(result) = self.tasks.join_next_with_id() => {
                    self.pass_on_events();
                    self.settle(result);
                }
            }
        }
    }

    fn name(&self, image: Index) -> ImageName {
        self.graph.images()[image].name.clone()
    }

    /// Tells what the workers said so far, so that it comes before what they returned.
    fn pass_on_events(&mut self) {
        while let Ok(event) = self.heard.try_recv() {
            (self.emit)(event);
        }
    }

    fn spawn(
        &mut self,
        work: Work,
        task: impl Future<Output = Done> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.tasks.spawn(task);
        self.at.insert(handle.id(), work);
        handle
    }

    fn start_pulls(&mut self) {
        for (reference, platform) in std::mem::take(&mut self.pulls) {
            (self.emit)(Event::Pulling(reference.clone()));
            let pull = pull(self.engine.clone(), reference.clone(), platform, self.send.clone());
            self.spawn(Work::Pull(reference), pull);
        }
    }

    /// Makes every image that waits for nothing ready.
    fn queue_roots(&mut self) {
        for (&image, _) in self.states.iter().filter(|(_, state)| **state == State::Waiting(0)) {
            self.ready.insert((self.turns[image], image));
        }
    }

    fn start_what_can(&mut self) {
        while self.busy(Work::is_pull) == 0 && self.busy(Work::is_build) < self.options.threads {
            let Some(image) = self.next_build() else { break };
            self.start_build(image);
        }
        while let Some(image) = self.ahead.next(self.ready.iter().map(|(_, image)| *image)) {
            self.start_fetch(image);
        }
        let push_threads = self.options.push_threads.unwrap_or(0);
        while self.busy(Work::is_push) < push_threads {
            let Some(image) = self.to_push.pop_front() else { break };
            self.start_push(image);
        }
    }

    fn busy(&self, work: fn(&Work) -> bool) -> usize {
        self.at.values().filter(|at| work(at)).count()
    }

    /// Takes the first by turn of the images that wait for nothing but a thread.
    fn next_build(&mut self) -> Option<Index> {
        let next = self.ready.iter().find(|(_, image)| self.ahead.is_at_hand(*image)).copied()?;
        self.ready.remove(&next);
        Some(next.1)
    }

    fn start_fetch(&mut self, image: Index) {
        let material = self.material(image);
        let worker = self.worker(image);
        let fetch = async move { Ok(Product::Packed(worker.pack(material).await?)) };
        let fetch = self.spawn(Work::Fetch(image), fetch);
        self.ahead.begun(image, fetch);
    }

    fn material(&mut self, image: Index) -> Material {
        let name = &self.graph.images()[image].name;
        self.materials.remove(name).expect("every image has its material")
    }

    fn start_build(&mut self, image: Index) {
        self.begun.insert(image, Instant::now());
        let images = self.graph.images();
        let needed = self.graph.needs(image).into_iter().map(|needed| &images[needed].reference);
        let mut referred_to = self.graph.externals(image).into_iter().chain(needed);
        let missing = referred_to.find_map(|reference| self.missing.get(reference));
        if let Some(failure) = missing.cloned() {
            self.not_built(image, failure);
            return;
        }
        let stock = match self.ahead.take(image) {
            None => Stock::Loose(self.material(image)),
            Some(Ok(packed)) => Stock::Packed(packed),
            Some(Err(failure)) => {
                let name = self.name(image);
                (self.emit)(Event::BuildStarted { name, attempt: 1 });
                self.not_built(image, failure);
                return;
            }
        };
        self.states.insert(image, State::Building);
        let worker = self.worker(image);
        let parent = self.graph.images()[image].dockerfile.parent();
        let parent = parent.map(|parent| parent.image.clone());
        let needs = self.needs(image);
        self.spawn(Work::Build(image), worker.build(stock, parent, needs));
    }

    /// What an image is made of that is no part of its context: the images that it refers to.
    fn needs(&self, image: Index) -> Vec<(String, Need)> {
        let images = self.graph.needs(image).into_iter().map(|needed| {
            let sibling = &self.graph.images()[needed];
            let need = match self.fingerprints.get(&needed) {
                Some(fingerprint) => Need::Known(fingerprint.clone()),
                None => Need::IdOf(sibling.reference.clone()),
            };
            (graph::image_part(&sibling.name), need)
        });
        let bases = self.graph.externals(image).into_iter().map(|reference| {
            let need = match self.ambiguous.contains(reference) {
                true => Need::DigestOf(reference.clone()),
                false => Need::IdOf(reference.clone()),
            };
            (graph::base_part(reference), need)
        });
        images.chain(bases).collect()
    }

    fn start_push(&mut self, image: Index) {
        let worker = self.worker(image);
        (self.emit)(Event::PushStarted { name: worker.name.clone() });
        self.spawn(Work::Push(image), worker.push(self.options.registries.clone()));
    }

    fn worker(&self, image: Index) -> Worker<E> {
        Worker {
            engine: self.engine.clone(),
            fetcher: self.fetcher.clone(),
            name: self.name(image),
            reference: self.graph.images()[image].reference.clone(),
            retries: self.options.retries,
            send: self.send.clone(),
        }
    }

    /// Takes note of what a worker returned.
    fn settle(&mut self, result: Result<(Id, Done), JoinError>) {
        let (id, done) = result.unwrap_or_else(|error| {
            (error.id(), Err(Failure::new(format!("the worker broke down: {error}"))))
        });
        let work = self.at.remove(&id).expect("every task is at some work");
        match (work, done) {
            (Work::Pull(reference), Err(error)) => {
                self.missing.insert(reference, error);
            }
            (Work::Fetch(image), Ok(Product::Packed(packed))) => {
                self.ahead.ended(image, Ok(packed));
            }
            (Work::Fetch(image), Err(failure)) => self.ahead.ended(image, Err(failure)),
            (Work::Build(image), Ok(Product::Image { id, fingerprint, took })) => {
                let name = self.name(image);
                (self.emit)(Event::Built { name, took });
                self.fingerprints.extend(fingerprint.map(|fingerprint| (image, fingerprint)));
                self.built(image, id);
            }
            (Work::Build(image), Err(failure)) => self.not_built(image, failure),
            (Work::Push(image), Ok(Product::Pushed(pushed))) => self.pushed(image, pushed),
            (Work::Push(image), Err(failure)) => {
                self.finish(image, failure.outcome(Outcome::PushError));
            }
            (Work::PushList(list), Ok(Product::Pushed(pushed))) => {
                pushed.into_iter().for_each(|pushed| (self.emit)(Event::ListPushed(pushed)));
                self.finish_joined(&list, None);
            }
            (Work::PushList(list), Err(failure)) => self.finish_joined(&list, Some(&failure)),
            (Work::Pull(_), Ok(_)) => {}
            (work, Ok(product)) => unreachable!("{work:?} makes no {product:?}"),
        }
    }

    /// Releases what waited for `image`, and pushes it or is done with it.
    fn built(&mut self, image: Index, id: String) {
        for child in self.graph.needed_by(image) {
            if let Some(State::Waiting(needs)) = self.states.get_mut(&child) {
                *needs -= 1;
                if *needs == 0 {
                    self.ready.insert((self.turns[child], child));
                }
            }
        }
        if self.options.push_threads.is_some() {
            self.states.insert(image, State::Pushing(id));
            self.to_push.push_back(image);
        } else {
            self.finish(image, Outcome::Built { id, pushed: Vec::new() });
        }
    }

    fn pushed(&mut self, image: Index, pushed: Vec<Pushed>) {
        let Some(State::Pushing(id)) = self.states.get(&image).cloned() else {
            unreachable!("only a built image is pushed")
        };
        match self.graph.images()[image].list.clone() {
            None => self.finish(image, Outcome::Built { id, pushed }),
            Some(list) => {
                self.states.insert(image, State::Pushed(id, pushed));
                self.join(list);
            }
        }
    }

    /// The images that are built in this run for a list.
    fn joined_by(&self, list: &ImageRef) -> Vec<Index> {
        let images = self.graph.images();
        let of_list =
            self.states.keys().filter(|image| images[**image].list.as_ref() == Some(list));
        of_list.copied().collect()
    }

    /// Pushes a list once all that it joins is pushed. Where one of its images failed there is no
    /// list, and the others are done.
    fn join(&mut self, list: ImageRef) {
        let joined = self.joined_by(&list);
        let is = |state: fn(&State) -> bool| joined.iter().all(|image| state(&self.states[image]));
        if is(|state| matches!(state, State::Pushed(..))) {
            let worker = self.worker(joined[0]);
            let images = self.lists.get(&list).cloned().unwrap_or_default();
            let registries = self.options.registries.clone();
            self.spawn(Work::PushList(list.clone()), worker.push_list(list, images, registries));
        } else if is(|state| matches!(state, State::Pushed(..) | State::Finished(_))) {
            let text =
                format!("the manifest list {list} is not pushed: not all its images are there");
            (self.emit)(Event::Warning(text));
            self.finish_joined(&list, None);
        }
    }

    /// Is done with all images that wait for a list.
    fn finish_joined(&mut self, list: &ImageRef, failure: Option<&Failure>) {
        for image in self.joined_by(list) {
            let Some(State::Pushed(id, pushed)) = self.states.get(&image).cloned() else {
                continue;
            };
            let outcome = match failure {
                None => Outcome::Built { id, pushed },
                Some(failure) => failure.clone().outcome(Outcome::PushError),
            };
            self.conclude(image, outcome);
        }
    }

    /// Deals out a failed build: to the image, and to every descendant that waits for it.
    fn not_built(&mut self, image: Index, failure: Failure) {
        self.finish(image, failure.outcome(Outcome::Error));
        let ancestor = self.name(image);
        let mut open: VecDeque<Index> = self.graph.needed_by(image).into_iter().collect();
        while let Some(child) = open.pop_front() {
            if matches!(self.states.get(&child), Some(State::Waiting(needs)) if *needs > 0) {
                self.finish(child, Outcome::ParentError { ancestor: ancestor.clone() });
                open.extend(self.graph.needed_by(child));
            }
        }
    }

    /// Is done with an image, and with the list that it would have been a part of.
    fn finish(&mut self, image: Index, outcome: Outcome) {
        self.conclude(image, outcome);
        if let Some(list) = self.graph.images()[image].list.clone() {
            self.join(list);
        }
    }

    fn conclude(&mut self, image: Index, outcome: Outcome) {
        self.ahead.give_up(image);
        let took = self.begun.get(&image).map(Instant::elapsed).unwrap_or_default();
        self.states.insert(image, State::Finished(outcome.clone()));
        let name = self.name(image);
        (self.emit)(Event::Finished { name, outcome, took });
    }

    /// Drops all work under way; whatever is not finished never will be.
    async fn give_up(&mut self) {
        (self.emit)(Event::Interrupting);
        self.tasks.shutdown().await;
        self.pass_on_events();
        let open: Vec<Index> = self
            .states
            .iter()
            .filter(|(_, state)| !matches!(state, State::Finished(_)))
            .map(|(image, _)| *image)
            .collect();
        for image in open {
            self.conclude(image, Outcome::Interrupted);
        }
    }

    fn outcomes(&self) -> BTreeMap<ImageName, Outcome> {
        self.states
            .iter()
            .map(|(image, state)| match state {
                State::Finished(outcome) => (self.name(*image), outcome.clone()),
                State::Waiting(_) | State::Building | State::Pushing(_) | State::Pushed(..) => {
                    unreachable!("a run ends with every image finished")
                }
            })
            .collect()
    }
}

/// What stands for an image that another refers to.
#[derive(Debug, Clone)]
enum Need {
    /// Its fingerprint.
    Known(String),
    /// The id that the engine has for it.
    IdOf(ImageRef),
    /// The digest that its registry has for it: the engine has another one for each platform.
    DigestOf(ImageRef),
}

/// An external image, and the platform that it is wanted for.
type Pull = (ImageRef, Option<String>);

/// The external images to ask for before the builds. An engine has one image under a reference:
/// those that are wanted for several platforms, the second half, are left to the builds, each of
/// which gets its own.
pub fn bases(
    plan: &Plan<'_>,
    materials: &BTreeMap<ImageName, Material>,
) -> (Vec<Pull>, BTreeSet<ImageRef>) {
    let graph = plan.graph();
    let mut wanted: BTreeMap<&ImageRef, BTreeSet<Option<&String>>> = BTreeMap::new();
    for image in plan.to_build() {
        let platform = materials[&graph.images()[image].name].options.platform.as_ref();
        for reference in graph.externals(image) {
            wanted.entry(reference).or_default().insert(platform);
        }
    }
    let (of_one, ambiguous): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.into_iter().partition(|(_, platforms)| platforms.len() == 1);
    let pulls = of_one.into_iter().flat_map(|(reference, platforms)| {
        platforms.into_iter().map(|platform| (reference.clone(), platform.cloned()))
    });
    (pulls.collect(), ambiguous.into_keys().cloned().collect())
}

/// The images whose sources are fetched, those that can be built soonest first.
fn to_fetch(
    plan: &Plan<'_>,
    forecast: &Forecast<'_>,
    materials: &BTreeMap<ImageName, Material>,
) -> Vec<Index> {
    let images = plan.graph().images();
    let has_sources = |image: &Index| {
        let sources = &materials[&images[*image].name].sources;
        sources.as_ref().is_some_and(|sources| !sources.is_empty())
    };
    let mut to_fetch: Vec<Index> = plan.to_build().filter(has_sources).collect();
    let (earliest, turns) = (forecast.earliest(), forecast.turns(true));
    to_fetch.sort_by_key(|image| (earliest[*image], turns[*image]));
    to_fetch
}

/// Fetches an external image. One that can't be fetched, but that the engine has, will do.
async fn pull<E: Engine>(
    engine: Arc<E>,
    reference: ImageRef,
    platform: Option<String>,
    send: UnboundedSender<Event>,
) -> Done {
    let Err(error) = engine.pull(&reference, platform.as_deref()).await else {
        return Ok(Product::Nothing);
    };
    if engine.image_id(&reference).await?.is_some() {
        let text = format!("{reference} can't be pulled, the engine's own is used: {error}");
        let _ = send.send(Event::Warning(text));
        return Ok(Product::Nothing);
    }
    let text = format!("its base {reference} can't be pulled: {error}");
    Err(Failure { text, out_of_reach: error.is_connection() })
}

/// A reference, and the same in each of the `others`.
fn in_all(reference: &ImageRef, others: &[String]) -> Vec<ImageRef> {
    let others = others.iter().map(|registry| reference.in_registry(registry));
    [reference.clone()].into_iter().chain(others).collect()
}

/// Works on one image. Its events may fall into nothing once the dispatcher has given up.
struct Worker<E> {
    engine: Arc<E>,
    fetcher: Arc<dyn Fetcher>,
    name: ImageName,
    reference: ImageRef,
    retries: usize,
    send: UnboundedSender<Event>,
}

impl<E: Engine> Worker<E> {
    async fn build(
        self,
        stock: Stock,
        parent: Option<ImageRef>,
        needs: Vec<(String, Need)>,
    ) -> Done {
        self.tell(Event::BuildStarted { name: self.name.clone(), attempt: 1 });
        let packed = match stock {
            Stock::Loose(material) => self.pack(material).await?,
            Stock::Packed(packed) => packed,
        };
        let Packed { context, mut parts, options } = packed;
        parts.extend(options.parts());
        let printed = self.fingerprint(parts, needs).await?;
        let label = printed.as_ref().map(|printed| (LABEL.to_owned(), printed.label()));
        let labels = label.into_iter().collect();
        let order = Order {
            reference: &self.reference,
            context: &context,
            options: &options,
            labels: &labels,
        };
        for attempt in 1.. {
            if attempt > 1 {
                self.tell(Event::BuildStarted { name: self.name.clone(), attempt });
            }
            let began = Instant::now();
            let tried = self.build_once(order, parent.as_ref()).await;
            let took = began.elapsed();
            if let Some(id) = self.settled(attempt, tried).await {
                let fingerprint = printed.map(|printed| printed.fingerprint.to_string());
                return Ok(Product::Image { id: id?, fingerprint, took });
            }
        }
        unreachable!("the last try settles it")
    }

    /// What the image will carry as its fingerprint; `None` where it is not known what it is made of.
    async fn fingerprint(
        &self,
        mut parts: Parts,
        needs: Vec<(String, Need)>,
    ) -> Result<Option<Fingerprinted>, EngineError> {
        for (part, need) in needs {
            let told = match need {
                Need::Known(fingerprint) => Some(fingerprint),
                Need::IdOf(reference) => self.engine.image_id(&reference).await?,
                // An image can be built without its registry.
                Need::DigestOf(reference) => self.engine.digest(&reference).await.unwrap_or(None),
            };
            let Some(told) = told else { return Ok(None) };
            parts.insert(part, told);
        }
        Ok(Some(Fingerprinted::of(parts)))
    }

    async fn build_once(
        &self,
        order: Order<'_>,
        parent: Option<&ImageRef>,
    ) -> Result<String, EngineError> {
        let mut sink = |output| self.tell_output(output);
        let id = self.engine.build(order, &mut sink).await?;
        match &order.options.squash {
            None => Ok(id),
            Some(how) => self.engine.squash(&self.reference, parent, how, &mut sink).await,
        }
    }

    /// Pushes the image to the registry in its reference, and then to the `others`.
    async fn push(self, others: Vec<String>) -> Done {
        let mut pushed = Vec::new();
        for reference in in_all(&self.reference, &others) {
            let digest = self.push_as(&reference).await?;
            pushed.push(Pushed { reference, digest });
        }
        Ok(Product::Pushed(pushed))
    }

    async fn push_as(&self, reference: &ImageRef) -> Result<String, Failure> {
        for attempt in 1.. {
            let tried = self.push_once(reference).await;
            if let Some(digest) = self.settled(attempt, tried).await {
                return digest;
            }
        }
        unreachable!("the last try settles it")
    }

    async fn push_once(&self, reference: &ImageRef) -> Result<String, EngineError> {
        if *reference != self.reference {
            self.engine.tag(&self.reference, reference).await?;
        }
        let mut sink = |output| self.tell_output(output);
        self.engine.push(reference, &mut sink).await
    }

    /// Joins `images` in a list in the registry of its reference, and in the `others`.
    async fn push_list(self, list: ImageRef, images: Vec<ImageRef>, others: Vec<String>) -> Done {
        let mut pushed = Vec::new();
        for reference in in_all(&list, &others) {
            let images: Vec<ImageRef> = match reference.registry() {
                Some(registry) => images.iter().map(|image| image.in_registry(registry)).collect(),
                None => images.clone(),
            };
            let digest = self.push_list_as(&reference, &images).await?;
            pushed.push(Pushed { reference, digest });
        }
        Ok(Product::Pushed(pushed))
    }

    async fn push_list_as(&self, list: &ImageRef, images: &[ImageRef]) -> Result<String, Failure> {
        for attempt in 1.. {
            let tried = self.engine.push_list(list, images).await;
            if let Some(digest) = self.settled(attempt, tried).await {
                return digest.map_err(|failure| Failure {
                    text: format!("the manifest list {list}: {}", failure.text),
                    ..failure
                });
            }
        }
        unreachable!("the last try settles it")
    }

    /// What a try has settled: success, or failure as often as there may be. Otherwise waits before
    /// the next try.
    async fn settled<T>(
        &self,
        attempt: usize,
        tried: Result<T, EngineError>,
    ) -> Option<Result<T, Failure>> {
        match tried {
            Ok(done) => Some(Ok(done)),
            Err(error) if attempt > self.retries => Some(Err(error.into())),
            Err(error) => {
                self.pause(attempt, &error.to_string()).await;
                None
            }
        }
    }

    /// Packs what the engine is sent: the context with what its sources are fetched to.
    async fn pack(&self, material: Material) -> Result<Packed, Failure> {
        let Material { mut context, sources, options } = material;
        // Holds what is fetched until the archive is packed.
        let mut folder = None;
        let mut of_sources = Parts::new();
        let of_tree = context.clone();
        if let Some(sources) = sources {
            let fetched = tempfile::Builder::new()
                .prefix("kiln-sources-")
                .tempdir()
                .map_err(|error| Failure::new(format!("no temporary folder: {error}")))?;
            let source::Fetched { files, parts } = self.fetch(&sources, fetched.path()).await?;
            for (path, file) in files {
                context.add(path, TreeFile::on_disk(file));
            }
            of_sources = parts;
            folder = Some(fetched);
        }
        let packed = tokio::task::spawn_blocking(move || {
            Ok::<_, std::io::Error>((context.pack(Vec::new())?, of_tree.parts()?))
        });
        let packed = packed.await;
        drop(folder);
        match packed {
            Ok(Ok((bytes, mut parts))) => {
                parts.extend(of_sources);
                Ok(Packed { context: Bytes::from(bytes), parts, options })
            }
            Ok(Err(error)) => Err(Failure::new(format!("its context can't be packed: {error}"))),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }

    async fn fetch(
        &self,
        sources: &ImageSources,
        folder: &Path,
    ) -> Result<source::Fetched, FetchError> {
        for attempt in 1.. {
            match self.fetcher.fetch(&self.name, sources, folder).await {
                Err(error) if error.transient && attempt <= self.retries => {
                    self.pause(attempt, &error.to_string()).await;
                }
                result => return result,
            }
        }
        unreachable!("the last try returns")
    }

    /// Waits before the next try, longer each time.
    async fn pause(&self, attempt: usize, error: &str) {
        let pause = FIRST_PAUSE * 2u32.saturating_pow(attempt.saturating_sub(1) as u32);
        let pause = pause.min(LONGEST_PAUSE);
        let (name, error) = (self.name.clone(), error.to_owned());
        self.tell(Event::Retrying { name, error, pause });
        tokio::time::sleep(pause).await;
    }

    fn tell_output(&self, output: Output) {
        let name = self.name.clone();
        self.tell(match output {
            Output::Step { number, total, instruction } => {
                Event::Step { name, number, total, instruction }
            }
            Output::Line(line) => Event::Log { name, line },
        });
    }

    fn tell(&self, event: Event) {
        let _ = self.send.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Builder, Known, Loan, Sink, Squashing};
    use crate::fingerprint::in_label;
    use crate::graph::tests::{graph, naming};
    use crate::plan::Selection;
    use futures_util::future::BoxFuture;
    use std::sync::Mutex;
    use tokio::sync::Notify;

    /// An engine that does as it is told, and remembers what it was asked.
    #[derive(Default)]
    struct Scripted {
        /// References that can't be built, with how many tries fail.
        failing: Mutex<HashMap<String, (usize, EngineError)>>,
        unpushable: BTreeSet<String>,
        unpullable: BTreeSet<String>,
        known: BTreeSet<String>,
        /// How long builds take; ten milliseconds where it is not said.
        takes: BTreeMap<String, Duration>,
        /// Images with a source, and how long that takes to fetch.
        sourced: BTreeMap<String, Duration>,
        /// Sources that can't be had: so many tries fail for now, then one for good.
        unfetchable: Mutex<BTreeMap<String, usize>>,
        /// Builds never end while this is set.
        hanging: bool,
        started: Notify,
        log: Mutex<Vec<String>>,
        /// What each image was to carry as its fingerprint.
        fingerprints: Mutex<BTreeMap<String, Option<String>>>,
        busy: Mutex<(usize, usize)>,
    }

    fn short(reference: &ImageRef) -> String {
        reference.repository().trim_start_matches("family/p-").to_owned()
    }

    impl Scripted {
        fn note(&self, what: &str, reference: &ImageRef) {
            self.log.lock().unwrap().push(format!("{what} {}", short(reference)));
        }

        fn log(&self) -> Vec<String> {
            self.log.lock().unwrap().clone()
        }
    }

    impl Engine for Scripted {
        async fn images(&self) -> Result<BTreeMap<ImageRef, Known>, EngineError> {
            unreachable!("the runner asks for single images")
        }

        async fn image_id(&self, reference: &ImageRef) -> Result<Option<String>, EngineError> {
            Ok(self.known.contains(&short(reference)).then(|| "known".to_owned()))
        }

        async fn digest(&self, _: &ImageRef) -> Result<Option<String>, EngineError> {
            Ok(None)
        }

        async fn pull(&self, reference: &ImageRef, _: Option<&str>) -> Result<(), EngineError> {
            self.note("pull", reference);
            if self.unpullable.contains(&short(reference)) {
                return Err(EngineError::Refused("not found".to_owned()));
            }
            Ok(())
        }

        async fn build(&self, order: Order<'_>, sink: Sink<'_>) -> Result<String, EngineError> {
            let reference = order.reference;
            assert!(!order.context.is_empty());
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
            Ok(format!("id-{}", short(reference)))
        }

        async fn squash(
            &self,
            reference: &ImageRef,
            parent: Option<&ImageRef>,
            _: &Squashing,
            _: Sink<'_>,
        ) -> Result<String, EngineError> {
            let parent = parent.map(short).unwrap_or_default();
            self.note(&format!("squash from {parent}"), reference);
            Ok(format!("squashed-{}", short(reference)))
        }

        async fn tag(&self, _: &ImageRef, other: &ImageRef) -> Result<(), EngineError> {
            self.note(&format!("tag {}", other.registry().unwrap_or("none")), other);
            Ok(())
        }

        async fn push_list(
            &self,
            list: &ImageRef,
            images: &[ImageRef],
        ) -> Result<String, EngineError> {
            let images: Vec<_> = images.iter().map(ToString::to_string).collect();
            self.note(&format!("list of {}", images.join(" ")), list);
            if self.unpushable.contains(&short(list)) {
                return Err(EngineError::Refused("denied".to_owned()));
            }
            Ok(format!("digest-{list}"))
        }

        async fn push(&self, reference: &ImageRef, _: Sink<'_>) -> Result<String, EngineError> {
            self.note("push", reference);
            if self.unpushable.contains(&short(reference)) {
                return Err(EngineError::Refused("denied".to_owned()));
            }
            Ok(format!("digest-{}", short(reference)))
        }
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

    /// A fetch under way, which notes how it ends.
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

    /// Some source.
    fn sources() -> ImageSources {
        let own = source::Source {
            name: "s".to_owned(),
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

    fn options() -> Options {
        Options {
            threads: 8,
            push_threads: None,
            retries: 0,
            pull: false,
            registries: Vec::new(),
            fingerprints: BTreeMap::new(),
            durations: BTreeMap::new(),
            priorities: true,
        }
    }

    fn build_options() -> BuildOptions {
        BuildOptions {
            builder: Builder::Classic,
            cache: true,
            keep: false,
            network_mode: "host".to_owned(),
            platform: None,
            build_args: BTreeMap::new(),
            squash: None,
            loan: Loan::default(),
        }
    }

    /// Runs the family; gives `name status` of every image, and the events.
    fn run_family(
        engine: &Arc<Scripted>,
        options: Options,
        selection: &Selection,
        interrupt: impl Future<Output = ()>,
    ) -> (Vec<String>, Vec<Event>) {
        run_graph(&graph(FAMILY).unwrap(), engine, options, &build_options(), selection, interrupt)
    }

    fn run_graph(
        graph: &Graph,
        engine: &Arc<Scripted>,
        options: Options,
        build_options: &BuildOptions,
        selection: &Selection,
        interrupt: impl Future<Output = ()>,
    ) -> (Vec<String>, Vec<Event>) {
        let plan = Plan::new(graph, selection);
        let build_options = Arc::new(build_options.clone());
        let materials = graph
            .images()
            .iter()
            .map(|image| {
                let context = Context::new(image.text.to_string(), BTreeMap::new());
                let options = build_options.clone();
                let is_sourced = engine.sourced.contains_key(image.name.as_str());
                let sources = is_sourced.then(sources);
                (image.name.clone(), Material { context, sources, options })
            })
            .collect();
        let means = Means {
            engine: engine.clone(),
            engine_name: "scripted".to_owned(),
            fetcher: engine.clone(),
        };
        let mut events = Vec::new();
        let mut emit = |event| events.push(event);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let outcomes =
            runtime.block_on(run(means, &plan, materials, options, interrupt, &mut emit));
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
        let (outcomes, _) =
            run_family(&engine, options(), &Selection::default(), std::future::pending());
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
        run_family(&engine, one, &Selection::default(), std::future::pending());
        assert_eq!(engine.busy.lock().unwrap().1, 1);
        let builds: Vec<_> = engine.log().into_iter().filter(|l| l.starts_with("build")).collect();
        assert_eq!(builds[..2], ["build base", "build mid"]);
    }

    #[test]
    fn a_failure_takes_descendants_along_and_nobody_else() {
        let engine = Scripted::default();
        let error = EngineError::Refused("exit code 1".to_owned());
        engine.failing.lock().unwrap().insert("mid".to_owned(), (9, error));
        let engine = Arc::new(engine);
        let (outcomes, events) =
            run_family(&engine, options(), &Selection::default(), std::future::pending());
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
            run_family(&Arc::new(engine), options(), &Selection::default(), std::future::pending());
        assert!(outcomes.contains(&"tool connection_error".to_owned()), "{outcomes:?}");
    }

    #[test]
    fn what_fails_is_tried_again() {
        let engine = Scripted::default();
        let error = EngineError::Refused("once".to_owned());
        engine.failing.lock().unwrap().insert("base".to_owned(), (2, error));
        let engine = Arc::new(engine);
        let thrice = Options { retries: 2, ..options() };
        let (outcomes, events) =
            run_family(&engine, thrice, &Selection::default(), std::future::pending());
        assert_eq!(outcomes, all_built());
        let pauses: Vec<_> = events
            .iter()
            .filter_map(|e| match e {
                Event::Retrying { pause, .. } => Some(*pause),
                _ => None,
            })
            .collect();
        assert_eq!(pauses, [FIRST_PAUSE, FIRST_PAUSE * 2]);
    }

    #[test]
    fn a_skipped_parent_serves_its_children() {
        let engine = Arc::new(Scripted::default());
        let existing = BTreeSet::from([naming().reference("base").unwrap()]);
        let selection = Selection { existing, ..Selection::default() };
        let (outcomes, _) = run_family(&engine, options(), &selection, std::future::pending());
        assert_eq!(outcomes, ["leaf-a built", "leaf-b built", "mid built", "tool built"]);
    }

    #[test]
    fn each_built_image_is_pushed_and_a_failed_push_harms_no_child() {
        let engine = Scripted {
            unpushable: ["base".to_owned(), "tool".to_owned()].into(),
            ..Scripted::default()
        };
        let pushing = Options { push_threads: Some(1), ..options() };
        let (outcomes, events) =
            run_family(&Arc::new(engine), pushing, &Selection::default(), std::future::pending());
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

    /// What is computed while building is what is computed of the whole graph beforehand, as long as
    /// nothing else is known of the external images than then.
    #[test]
    fn images_carry_the_fingerprints_that_the_graph_has() {
        let known = ["debian".to_owned(), "other".to_owned()].into();
        let engine = Arc::new(Scripted { known, ..Scripted::default() });
        run_family(&engine, options(), &Selection::default(), std::future::pending());
        let graph = graph(FAMILY).unwrap();
        let own = graph.images().iter().map(|image| {
            let context = Context::new(image.text.to_string(), BTreeMap::new());
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
    fn what_stands_on_something_unknown_carries_no_fingerprint() {
        let known = ["debian".to_owned()].into();
        let engine = Arc::new(Scripted { known, ..Scripted::default() });
        run_family(&engine, options(), &Selection::default(), std::future::pending());
        let carried = engine.fingerprints.lock().unwrap();
        let without: Vec<_> =
            carried.iter().filter(|(_, printed)| printed.is_none()).map(|(name, _)| name).collect();
        assert_eq!(without, ["leaf-b", "tool"]);
    }

    #[test]
    fn an_image_is_pushed_to_all_registries() {
        let engine = Arc::new(Scripted::default());
        let registries = vec!["h:1".to_owned(), "h:2".to_owned()];
        let pushing = Options { push_threads: Some(1), registries, ..options() };
        let (outcomes, events) =
            run_family(&engine, pushing, &Selection::default(), std::future::pending());
        assert_eq!(outcomes, all_built());
        let log = engine.log();
        let of_base: Vec<_> = log.iter().filter(|l| l.ends_with(" base")).collect();
        let expected = ["build base", "end base", "push base", "tag h:1 base", "push base"];
        assert_eq!(of_base[..5], expected);
        let pushed = events.iter().find_map(|event| match event {
            Event::Finished { outcome: Outcome::Built { pushed, .. }, .. } => Some(pushed.clone()),
            _ => None,
        });
        let names: Vec<_> =
            pushed.unwrap().into_iter().map(|pushed| pushed.reference.name()).collect();
        assert!(names[1].starts_with("h:1/") && names[2].starts_with("h:2/"), "{names:?}");
    }

    #[test]
    fn what_is_built_is_squashed_down_to_its_parent() {
        let engine = Arc::new(Scripted::default());
        let squash = Some(Squashing { cleanup: true, tmp_dir: None });
        let build = BuildOptions { squash, ..build_options() };
        let graph = graph(FAMILY).unwrap();
        let everything = Selection::default();
        let (outcomes, events) =
            run_graph(&graph, &engine, options(), &build, &everything, std::future::pending());
        assert_eq!(outcomes, all_built());
        let log = engine.log();
        assert!(position(&log, "squash from base mid") < position(&log, "build leaf-a"), "{log:?}");
        assert!(events.iter().any(|event| matches!(event,
            Event::Finished { outcome: Outcome::Built { id, .. }, .. } if id == "squashed-mid")));
    }

    /// One image for two platforms.
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
            dockerfile: crate::dockerfile::parse("FROM debian:1", &BTreeMap::new()).unwrap(),
        });
        Graph::new(images.to_vec()).unwrap()
    }

    /// The outcomes of a run for two platforms, and the lists that came of it.
    fn joined(engine: Scripted) -> (Vec<String>, Vec<String>) {
        let pushing =
            Options { push_threads: Some(1), registries: vec!["h:1".to_owned()], ..options() };
        let (outcomes, events) = run_graph(
            &for_two_platforms(),
            &Arc::new(engine),
            pushing,
            &build_options(),
            &Selection::default(),
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
    fn there_is_no_list_without_one_of_its_images() {
        let unpushable = ["arm64".to_owned()].into();
        let (outcomes, lists) = joined(Scripted { unpushable, ..Scripted::default() });
        assert_eq!(outcomes, ["amd64/app built", "arm64/app push_error"]);
        assert_eq!(lists, Vec::<String>::new());
    }

    #[test]
    fn a_list_that_is_refused_fails_its_images() {
        let unpushable = ["list".to_owned()].into();
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
            run_family(&Arc::new(engine), pulling, &Selection::default(), std::future::pending());
        assert_eq!(
            outcomes,
            ["base built", "leaf-a built", "leaf-b parent_error", "mid built", "tool error"]
        );
        assert!(events.iter().any(|e| matches!(e, Event::Warning(w) if w.starts_with("debian:1"))));
    }

    #[test]
    fn an_interrupt_ends_the_run_with_every_image_accounted_for() {
        let engine = Arc::new(Scripted { hanging: true, ..Scripted::default() });
        let waiting = engine.clone();
        let interrupt = async move { waiting.started.notified().await };
        let (outcomes, events) = run_family(&engine, options(), &Selection::default(), interrupt);
        assert!(outcomes.iter().all(|outcome| outcome.ends_with(" interrupted")), "{outcomes:?}");
        assert_eq!(outcomes.len(), FAMILY.len());
        assert!(matches!(events.last(), Some(Event::Ended { .. })));
    }

    /// A chain of ten builds of a minute each, and sixty builds of twenty seconds that come before
    /// it by name. All stand on nothing.
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

    /// How long a skewed run on three threads takes, and the events of it.
    fn run_skewed(priorities: bool) -> (Duration, Vec<Event>) {
        let (images, takes) = skewed();
        let images: Vec<_> = images.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let durations = takes.iter().map(|(name, took)| (ImageName::new(name), *took)).collect();
        let engine = Arc::new(Scripted { takes, ..Scripted::default() });
        let (_, events) = run_graph(
            &graph(&images).unwrap(),
            &engine,
            Options { threads: 3, durations, priorities, ..options() },
            &build_options(),
            &Selection::default(),
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
    fn what_is_measured_is_the_try_that_made_the_image() {
        let engine = Scripted::default();
        let error = EngineError::Refused("once".to_owned());
        engine.failing.lock().unwrap().insert("base".to_owned(), (2, error));
        let options = Options { retries: 2, push_threads: Some(1), ..options() };
        let (_, events) =
            run_family(&Arc::new(engine), options, &Selection::default(), std::future::pending());
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
            run_family(&Arc::new(engine), options(), &Selection::default(), std::future::pending());
        let measured = events.iter().filter(|event| matches!(event, Event::Built { .. })).count();
        assert_eq!(measured, 1);
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Images and seconds.
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
            run_family(&engine, options(), &Selection::default(), std::future::pending());
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
        let (_, events) = run_family(&engine, one, &Selection::default(), std::future::pending());
        let log = engine.log();
        assert!(position(&log, "end tool") < position(&log, "fetched base"), "{log:?}");
        let starts = events.iter().filter_map(|event| match event {
            Event::BuildStarted { name, .. } => Some(name.to_string()),
            _ => None,
        });
        assert_eq!(starts.take(2).collect::<Vec<_>>(), ["tool", "base"]);
        assert!(took(&events) < SECOND * 36, "{:?}", took(&events));
    }

    /// How many contexts wait, at most, and how many do when the build of `base` ends.
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
            &build_options(),
            &Selection::default(),
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
            Options { retries: 1, ..options() },
            &Selection::default(),
            std::future::pending(),
        );
        let expected =
            ["base built", "leaf-a parent_error", "leaf-b parent_error", "mid error", "tool built"];
        assert_eq!(outcomes, expected);
        let of_mid: Vec<&str> = events
            .iter()
            .filter_map(|event| match event {
                Event::Retrying { name, .. } if name.as_str() == "mid" => Some("retrying"),
                Event::BuildStarted { name, attempt: 1 } if name.as_str() == "mid" => {
                    Some("started")
                }
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
            run_family(&engine, options(), &Selection::default(), std::future::pending());
        assert_eq!(
            outcomes,
            [
                "base error",
                "leaf-a parent_error",
                "leaf-b parent_error",
                "mid parent_error",
                "tool built"
            ]
        );
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
        let (outcomes, events) = run_family(&engine, options(), &Selection::default(), interrupt);
        assert!(outcomes.iter().all(|outcome| outcome.ends_with(" interrupted")), "{outcomes:?}");
        position(&engine.log(), "dropped mid");
        assert!(took(&events) < SECOND * 6, "{:?}", took(&events));
    }
}
