//! Does what a plan says: builds and pushes, as many at once as allowed, each image as soon as
//! what it needs is there.
//!
//! One dispatcher owns all state of a run. Workers build or push a single image and only send
//! events and return results, so there is nothing to lock. A failure is dealt out to all
//! descendants before anything else is started. Among images that could start, the one with the
//! longest chain of builds behind it goes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{Id, JoinError, JoinSet};

use crate::context::Context;
use crate::engine::{BuildOptions, Engine, EngineError, Output};
use crate::event::{Event, Outcome};
use crate::graph::{Graph, Index};
use crate::image::{ImageName, ImageRef};
use crate::plan::Plan;
use crate::source::{self, FetchError, ImageSources};
use crate::tree::TreeFile;

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
    /// How each image is built.
    pub build: BuildOptions,
}

/// What an image is built from.
#[derive(Debug, Clone)]
pub struct Material {
    /// Its build context, as far as it lies in the tree.
    pub context: Context,
    /// What is to be fetched into the context; `None` where nothing is.
    pub sources: Option<ImageSources>,
}

/// Builds what `plan` says, each image from its `materials`, and tells `emit` all
/// that happens. When `interrupt` is ready, what is under way is given up and the run ends.
///
/// Returns the outcome of every image that was to be built.
pub async fn run<E: Engine>(
    engine: Arc<E>,
    engine_name: String,
    plan: &Plan<'_>,
    materials: BTreeMap<ImageName, Material>,
    options: Options,
    interrupt: impl Future<Output = ()>,
    emit: &mut dyn FnMut(Event),
) -> BTreeMap<ImageName, Outcome> {
    let started = Instant::now();
    let (to_build, set_aside) = plan.announce();
    emit(Event::Started { engine: engine_name, to_build, set_aside });
    let mut dispatcher = Dispatcher::new(engine, plan, materials, options, emit);
    dispatcher.work(interrupt).await;
    let outcomes = dispatcher.outcomes();
    emit(Event::Ended { took: started.elapsed() });
    outcomes
}

/// What a worker is at.
#[derive(Debug, Clone)]
enum Work {
    Pull(ImageRef),
    Build(Index),
    Push(Index),
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

/// What came of it: the image's id or digest.
type Done = Result<String, Failure>;

/// How far an image has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// So many of the images it needs are not there yet.
    Waiting(usize),
    Building,
    /// Built under this id; its push is queued or under way.
    Pushing(String),
    Finished(Outcome),
}

struct Dispatcher<'a, E> {
    engine: Arc<E>,
    graph: &'a Graph,
    urgency: Vec<usize>,
    materials: BTreeMap<ImageName, Material>,
    options: Options,
    emit: &'a mut dyn FnMut(Event),
    states: BTreeMap<Index, State>,
    begun: HashMap<Index, Instant>,
    pulls: Vec<ImageRef>,
    /// External images that can't be had, each with the reason.
    missing: BTreeMap<ImageRef, Failure>,
    ready: BinaryHeap<(usize, Reverse<Index>)>,
    to_push: VecDeque<Index>,
    tasks: JoinSet<Done>,
    at: HashMap<Id, Work>,
    send: UnboundedSender<Event>,
    heard: mpsc::UnboundedReceiver<Event>,
}

impl<'a, E: Engine> Dispatcher<'a, E> {
    fn new(
        engine: Arc<E>,
        plan: &Plan<'a>,
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
        let pulls =
            if options.pull { plan.externals().into_iter().cloned().collect() } else { Vec::new() };
        let (send, heard) = mpsc::unbounded_channel();
        Self {
            engine,
            graph,
            urgency: plan.urgency(),
            materials,
            options,
            emit,
            states,
            begun: HashMap::new(),
            pulls,
            missing: BTreeMap::new(),
            ready: BinaryHeap::new(),
            to_push: VecDeque::new(),
            tasks: JoinSet::new(),
            at: HashMap::new(),
            send,
            heard,
        }
    }

    async fn work(&mut self, interrupt: impl Future<Output = ()>) {
        let mut interrupt = pin!(interrupt);
        self.start_pulls();
        if self.until_idle(interrupt.as_mut()).await {
            self.queue_roots();
            self.until_idle(interrupt).await;
        }
    }

    /// Starts what can be started and settles what ends, until nothing is under way. Returns
    /// whether it came to that without an interrupt.
    async fn until_idle(&mut self, mut interrupt: Pin<&mut impl Future<Output = ()>>) -> bool {
        loop {
            self.start_what_can();
            if self.at.is_empty() {
                return true;
            }
            tokio::select! {
                biased;
                () = &mut interrupt => {
                    self.give_up().await;
                    return false;
                }
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

    fn spawn(&mut self, work: Work, task: impl Future<Output = Done> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.at.insert(handle.id(), work);
    }

    fn start_pulls(&mut self) {
        for reference in std::mem::take(&mut self.pulls) {
            (self.emit)(Event::Pulling(reference.clone()));
            let pull = pull(self.engine.clone(), reference.clone(), self.send.clone());
            self.spawn(Work::Pull(reference), pull);
        }
    }

    /// Makes every image that waits for nothing ready.
    fn queue_roots(&mut self) {
        for (&image, _) in self.states.iter().filter(|(_, state)| **state == State::Waiting(0)) {
            self.ready.push((self.urgency[image], Reverse(image)));
        }
    }

    fn start_what_can(&mut self) {
        let busy = |work: fn(&Work) -> bool, at: &HashMap<Id, Work>| {
            at.values().filter(|at| work(at)).count()
        };
        while busy(|work| matches!(work, Work::Build(_)), &self.at) < self.options.threads {
            let Some((_, Reverse(image))) = self.ready.pop() else { break };
            self.start_build(image);
        }
        let push_threads = self.options.push_threads.unwrap_or(0);
        while busy(|work| matches!(work, Work::Push(_)), &self.at) < push_threads {
            let Some(image) = self.to_push.pop_front() else { break };
            self.start_push(image);
        }
    }

    fn start_build(&mut self, image: Index) {
        self.begun.insert(image, Instant::now());
        let missing = self.graph.externals(image).into_iter().find_map(|r| self.missing.get(r));
        if let Some(failure) = missing.cloned() {
            self.not_built(image, failure);
            return;
        }
        self.states.insert(image, State::Building);
        let worker = self.worker(image);
        let material = self.materials.remove(&worker.name).expect("every image has its material");
        self.spawn(Work::Build(image), worker.build(material, self.options.build.clone()));
    }

    fn start_push(&mut self, image: Index) {
        let worker = self.worker(image);
        (self.emit)(Event::PushStarted { name: worker.name.clone() });
        self.spawn(Work::Push(image), worker.push());
    }

    fn worker(&self, image: Index) -> Worker<E> {
        Worker {
            engine: self.engine.clone(),
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
            (Work::Pull(_), Ok(_)) => {}
            (Work::Pull(reference), Err(error)) => {
                self.missing.insert(reference, error);
            }
            (Work::Build(image), Ok(id)) => self.built(image, id),
            (Work::Build(image), Err(failure)) => self.not_built(image, failure),
            (Work::Push(image), Ok(digest)) => self.pushed(image, digest),
            (Work::Push(image), Err(failure)) => {
                self.finish(image, failure.outcome(Outcome::PushError));
            }
        }
    }

    /// Releases what waited for `image`, and pushes it or is done with it.
    fn built(&mut self, image: Index, id: String) {
        for child in self.graph.needed_by(image) {
            if let Some(State::Waiting(needs)) = self.states.get_mut(&child) {
                *needs -= 1;
                if *needs == 0 {
                    self.ready.push((self.urgency[child], Reverse(child)));
                }
            }
        }
        if self.options.push_threads.is_some() {
            self.states.insert(image, State::Pushing(id));
            self.to_push.push_back(image);
        } else {
            self.finish(image, Outcome::Built { id, digest: None });
        }
    }

    fn pushed(&mut self, image: Index, digest: String) {
        let Some(State::Pushing(id)) = self.states.get(&image).cloned() else {
            unreachable!("only a built image is pushed")
        };
        self.finish(image, Outcome::Built { id, digest: Some(digest) });
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

    fn finish(&mut self, image: Index, outcome: Outcome) {
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
            self.finish(image, Outcome::Interrupted);
        }
    }

    fn outcomes(&self) -> BTreeMap<ImageName, Outcome> {
        self.states
            .iter()
            .map(|(image, state)| match state {
                State::Finished(outcome) => (self.name(*image), outcome.clone()),
                State::Waiting(_) | State::Building | State::Pushing(_) => {
                    unreachable!("a run ends with every image finished")
                }
            })
            .collect()
    }
}

/// Fetches an external image. One that can't be fetched, but that the engine has, will do.
async fn pull<E: Engine>(
    engine: Arc<E>,
    reference: ImageRef,
    send: UnboundedSender<Event>,
) -> Done {
    let Err(error) = engine.pull(&reference).await else { return Ok(String::new()) };
    if let Some(id) = engine.image_id(&reference).await? {
        let text = format!("{reference} can't be pulled, the engine's own is used: {error}");
        let _ = send.send(Event::Warning(text));
        return Ok(id);
    }
    let text = format!("its base {reference} can't be pulled: {error}");
    Err(Failure { text, out_of_reach: error.is_connection() })
}

/// Works on one image. Its events may fall into nothing once the dispatcher has given up.
struct Worker<E> {
    engine: Arc<E>,
    name: ImageName,
    reference: ImageRef,
    retries: usize,
    send: UnboundedSender<Event>,
}

impl<E: Engine> Worker<E> {
    async fn build(self, material: Material, options: BuildOptions) -> Done {
        self.tell(Event::BuildStarted { name: self.name.clone(), attempt: 1 });
        let context = self.pack(material).await?;
        for attempt in 1.. {
            if attempt > 1 {
                self.tell(Event::BuildStarted { name: self.name.clone(), attempt });
            }
            let mut sink = |output| self.tell_output(output);
            let context = context.clone();
            match self.engine.build(&self.reference, context, &options, &mut sink).await {
                Ok(id) => return Ok(id),
                Err(error) if attempt > self.retries => return Err(error.into()),
                Err(error) => self.pause(attempt, &error.to_string()).await,
            }
        }
        unreachable!("the last try returns")
    }

    async fn push(self) -> Done {
        for attempt in 1.. {
            let mut sink = |output| self.tell_output(output);
            match self.engine.push(&self.reference, &mut sink).await {
                Ok(digest) => return Ok(digest),
                Err(error) if attempt > self.retries => return Err(error.into()),
                Err(error) => self.pause(attempt, &error.to_string()).await,
            }
        }
        unreachable!("the last try returns")
    }

    /// The archive that the engine is sent: the context with what its sources are fetched to.
    async fn pack(&self, material: Material) -> Result<Bytes, Failure> {
        let Material { mut context, sources } = material;
        // Holds what is fetched until the archive is packed.
        let mut folder = None;
        if let Some(sources) = sources {
            let fetched = tempfile::Builder::new()
                .prefix("kiln-sources-")
                .tempdir()
                .map_err(|error| Failure::new(format!("no temporary folder: {error}")))?;
            for (path, file) in self.fetch(&sources, fetched.path()).await? {
                context.add(path, TreeFile::on_disk(file));
            }
            folder = Some(fetched);
        }
        let packed = tokio::task::spawn_blocking(move || context.pack(Vec::new())).await;
        drop(folder);
        match packed {
            Ok(Ok(bytes)) => Ok(Bytes::from(bytes)),
            Ok(Err(error)) => Err(Failure::new(format!("its context can't be packed: {error}"))),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }

    async fn fetch(
        &self,
        sources: &ImageSources,
        folder: &Path,
    ) -> Result<Vec<(String, PathBuf)>, FetchError> {
        for attempt in 1.. {
            match source::fetch(&self.name, sources, folder).await {
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
    use crate::engine::{Builder, Sink};
    use crate::graph::tests::{graph, naming};
    use crate::plan::Selection;
    use std::collections::BTreeSet;
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
        /// Builds never end while this is set.
        hanging: bool,
        started: Notify,
        log: Mutex<Vec<String>>,
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
        async fn images(&self) -> Result<BTreeSet<ImageRef>, EngineError> {
            unreachable!("the runner asks for single images")
        }

        async fn image_id(&self, reference: &ImageRef) -> Result<Option<String>, EngineError> {
            Ok(self.known.contains(&short(reference)).then(|| "known".to_owned()))
        }

        async fn pull(&self, reference: &ImageRef) -> Result<(), EngineError> {
            self.note("pull", reference);
            if self.unpullable.contains(&short(reference)) {
                return Err(EngineError::Refused("not found".to_owned()));
            }
            Ok(())
        }

        async fn build(
            &self,
            reference: &ImageRef,
            context: Bytes,
            _: &BuildOptions,
            sink: Sink<'_>,
        ) -> Result<String, EngineError> {
            assert!(!context.is_empty());
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
            tokio::time::sleep(Duration::from_millis(10)).await;
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

        async fn push(&self, reference: &ImageRef, _: Sink<'_>) -> Result<String, EngineError> {
            self.note("push", reference);
            if self.unpushable.contains(&short(reference)) {
                return Err(EngineError::Refused("denied".to_owned()));
            }
            Ok(format!("digest-{}", short(reference)))
        }
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
            build: BuildOptions {
                builder: Builder::Classic,
                cache: true,
                keep: false,
                network_mode: "host".to_owned(),
                platform: None,
                build_args: BTreeMap::new(),
            },
        }
    }

    /// Runs the family; gives `name status` of every image, and the events.
    fn run_family(
        engine: &Arc<Scripted>,
        options: Options,
        selection: &Selection,
        interrupt: impl Future<Output = ()>,
    ) -> (Vec<String>, Vec<Event>) {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, selection);
        let materials = graph
            .images()
            .iter()
            .map(|image| {
                let context = Context::new(image.text.to_string(), BTreeMap::new());
                (image.name.clone(), Material { context, sources: None })
            })
            .collect();
        let mut events = Vec::new();
        let mut emit = |event| events.push(event);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let outcomes = runtime.block_on(run(
            engine.clone(),
            "scripted".to_owned(),
            &plan,
            materials,
            options,
            interrupt,
            &mut emit,
        ));
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
            Event::Finished { name, outcome: Outcome::Built { digest, .. }, .. }
                if name.as_str() == "mid" =>
            {
                digest.clone()
            }
            _ => None,
        });
        assert_eq!(digest.as_deref(), Some("digest-mid"));
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
}
