//! Dispatcher of a run: owns its state, starts the tasks and handles their results.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::evidence::{Identity, RequiredImage};
use super::prefetch::Prefetch;
use super::pull::pull;
use super::run_input::{Backends, BuildInput, Options, Pull, bases, to_fetch};
use super::worker::{Input, TaskOutput, TaskResult, Worker};
use super::worker_task::{State, Task};
use crate::engine::{BuildOptions, Engine, Inspected};
use crate::event::{BuiltImage, Event, Outcome, Pushed, Transfer, Warning};
use crate::fingerprint::LABEL;
use crate::graph::{Graph, Index, Use};
use crate::image::{ImageName, ImageRef};
use crate::plan::{Forecast, Plan};
use crate::registry::ImageRegistry;
use crate::source::Fetcher;

/// Builds the images of `plan`, each from its `inputs`, and calls `emit` with each event and the
/// time since the start of the run. When `interrupt` completes, cancels all work in progress and
/// ends the run.
///
/// Returns the outcome of every image that was to be built.
pub async fn run<E: Engine>(
    backends: Backends<E>,
    plan: &Plan<'_>,
    inputs: BTreeMap<ImageName, BuildInput>,
    options: Options,
    interrupt: impl Future<Output = ()>,
    emit: &mut dyn FnMut(Duration, Event),
) -> BTreeMap<ImageName, Outcome> {
    let started = Instant::now();
    let (to_build, set_aside) = plan.announce();
    let forecast = Forecast::new(plan, &options.durations);
    let estimate = forecast.total(options.threads);
    let beginning = Event::Started {
        at: SystemTime::now(),
        engine: backends.engine_name.clone(),
        threads: options.threads,
        to_build,
        set_aside,
        estimate,
        expected: forecast.by_name(),
        existing: options.existing.clone(),
    };
    emit(Duration::ZERO, beginning);
    let mut tell = |event| emit(started.elapsed(), event);
    let mut dispatcher = Dispatcher::new(backends, plan, &forecast, inputs, options, &mut tell);
    dispatcher.work(interrupt).await;
    let outcomes = dispatcher.outcomes();
    tell(Event::Ended { took: started.elapsed() });
    outcomes
}

struct Dispatcher<'a, E> {
    engine: Arc<E>,
    registry: Arc<dyn ImageRegistry>,
    fetcher: Arc<dyn Fetcher>,
    graph: &'a Graph,
    /// Rank of each image among those that are ready to start.
    ranks: Vec<usize>,
    inputs: BTreeMap<ImageName, BuildInput>,
    options: Options,
    /// Identities of the images that exist already or were built so far.
    identities: BTreeMap<Index, Identity>,
    /// External images that differ between platforms and are needed for several platforms.
    ambiguous: BTreeSet<ImageRef>,
    emit: &'a mut dyn FnMut(Event),
    states: BTreeMap<Index, State>,
    started: HashMap<Index, Instant>,
    pulls: Vec<Pull>,
    /// External images that could not be pulled, each with the failure.
    missing: BTreeMap<ImageRef, Outcome>,
    /// Images whose needs are all built, in the order in which they start.
    ready: BTreeSet<(usize, Index)>,
    prefetch: Prefetch,
    to_push: VecDeque<Index>,
    /// Built images whose push waits until all others are built.
    held: Vec<Index>,
    /// Manifest lists, each with the references of the images that it joins.
    lists: BTreeMap<ImageRef, Vec<ImageRef>>,
    tasks: JoinSet<TaskResult>,
    running: HashMap<Id, Task>,
    send: UnboundedSender<Event>,
    received: mpsc::UnboundedReceiver<Event>,
}

impl<'a, E: Engine> Dispatcher<'a, E> {
    fn new(
        backends: Backends<E>,
        plan: &Plan<'a>,
        forecast: &Forecast<'_>,
        inputs: BTreeMap<ImageName, BuildInput>,
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
        let (pulls, ambiguous) = bases(plan, &inputs);
        let mut pulls = if options.pull { pulls } else { Vec::new() };
        pulls.extend(plan.to_fetch().into_iter().map(|index| {
            let image = &graph.images()[index];
            (image.reference.clone(), inputs[&image.name].options.platform.clone())
        }));
        let existing = options.existing.iter();
        let identities = existing.filter_map(|(name, there)| {
            let identity = Identity::Carrying(there.fingerprint.clone()?);
            Some((graph.index_of(name)?, identity))
        });
        let identities = identities.collect();
        let missing = options.unavailable.clone();
        let (send, received) = mpsc::unbounded_channel();
        let prefetch = Prefetch::new(options.threads, to_fetch(plan, forecast, &inputs));
        Self {
            engine: backends.engine,
            registry: backends.registry,
            fetcher: backends.fetcher,
            graph,
            ranks: forecast.ranks(options.priorities),
            inputs,
            options,
            identities,
            ambiguous,
            emit,
            states,
            started: HashMap::new(),
            pulls,
            missing,
            ready: BTreeSet::new(),
            prefetch,
            to_push: VecDeque::new(),
            held: Vec::new(),
            lists: plan
                .lists()
                .into_iter()
                .map(|(list, images)| (list.clone(), images.into_iter().cloned().collect()))
                .collect(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            send,
            received,
        }
    }

    async fn work(&mut self, interrupt: impl Future<Output = ()>) {
        self.start_pulls();
        self.queue_roots();
        self.until_idle(pin!(interrupt)).await;
    }

    /// Starts all work that can start and handles each result, until nothing is in progress or an
    /// interrupt comes.
    async fn until_idle(&mut self, mut interrupt: Pin<&mut impl Future<Output = ()>>) {
        loop {
            self.start_what_can();
            if self.running.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut interrupt => return self.give_up().await,
                Some(event) = self.received.recv() => self.emit(event),
                Some(result) = self.tasks.join_next_with_id() => {
                    self.pass_on_events();
                    self.settle(result);
                }
            }
        }
    }

    fn emit(&mut self, event: Event) {
        (self.emit)(event);
    }

    fn name(&self, image: Index) -> ImageName {
        self.graph.images()[image].name.clone()
    }

    /// Emits the events that workers have sent so far, so that they come before the workers'
    /// results.
    fn pass_on_events(&mut self) {
        while let Ok(event) = self.received.try_recv() {
            self.emit(event);
        }
    }

    fn spawn(
        &mut self,
        task: Task,
        work: impl Future<Output = TaskResult> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.tasks.spawn(work);
        self.running.insert(handle.id(), task);
        handle
    }

    fn start_pulls(&mut self) {
        for (reference, platform) in std::mem::take(&mut self.pulls) {
            self.emit(Event::Pulling(reference.clone()));
            let retry = self.options.retry;
            let (engine, send) = (self.engine.clone(), self.send.clone());
            let task = Task::Pull(reference.clone());
            let pulled = async move {
                let warn = |text| {
                    let warning = Warning { subject: reference.clone(), text };
                    drop(send.send(Event::Warning(warning)));
                };
                let progress = |done, total| {
                    let transfer = Transfer { artifact: reference.clone(), done, total };
                    drop(send.send(Event::Transferred(transfer)));
                };
                pull(&*engine, &reference, platform.as_deref(), retry, warn, progress).await?;
                Ok(TaskOutput::Nothing)
            };
            self.spawn(task, pulled);
        }
    }

    /// Queues every image that waits for no other one.
    fn queue_roots(&mut self) {
        for (&image, _) in self.states.iter().filter(|(_, state)| **state == State::Waiting(0)) {
            self.ready.insert((self.ranks[image], image));
        }
    }

    fn start_what_can(&mut self) {
        while self.busy(Task::is_pull) == 0 && self.busy(Task::is_build) < self.options.threads {
            let Some(image) = self.next_build() else { break };
            self.start_build(image);
        }
        while let Some(image) = self.prefetch.next(self.ready.iter().map(|(_, image)| *image)) {
            self.start_fetch(image);
        }
        self.release_held();
        let push_threads = self.options.push_threads.unwrap_or(0);
        while self.busy(Task::is_push) < push_threads {
            let Some(image) = self.to_push.pop_front() else { break };
            self.start_push(image);
        }
    }

    fn busy(&self, work: fn(&Task) -> bool) -> usize {
        self.running.values().filter(|at| work(at)).count()
    }

    /// Takes the first image in order that waits only for a thread.
    fn next_build(&mut self) -> Option<Index> {
        let next = self.ready.iter().find(|(_, image)| self.prefetch.is_ready(*image)).copied()?;
        self.ready.remove(&next);
        Some(next.1)
    }

    fn start_fetch(&mut self, image: Index) {
        let input = self.input(image);
        let worker = self.worker(image);
        let fetch = async move { Ok(TaskOutput::Packed(worker.pack(input).await?)) };
        let fetch = self.spawn(Task::Fetch(image), fetch);
        self.prefetch.started(image, fetch);
    }

    fn input(&mut self, image: Index) -> BuildInput {
        let name = &self.graph.images()[image].name;
        self.inputs.remove(name).expect("every image has its input")
    }

    fn start_build(&mut self, image: Index) {
        self.started.insert(image, Instant::now());
        let images = self.graph.images();
        let needed = self.graph.needs(image).into_iter().map(|needed| &images[needed].reference);
        let mut referred_to = self.graph.externals(image).into_iter().chain(needed);
        let missing = referred_to.find_map(|reference| self.missing.get(reference));
        if let Some(failure) = missing.cloned() {
            self.not_built(image, failure);
            return;
        }
        let input = match self.prefetch.take(image) {
            None => Input::Unpacked(self.input(image)),
            Some(Ok(packed)) => Input::Packed(packed),
            Some(Err(failure)) => {
                let name = self.name(image);
                self.emit(Event::BuildStarted { name, attempt: 1 });
                self.not_built(image, failure);
                return;
            }
        };
        self.states.insert(image, State::Building);
        let worker = self.worker(image);
        let needs = self.needs(image, input.options());
        self.spawn(Task::Build(image), worker.build(input, needs));
    }

    /// Returns the images that an image is made from: the parts of it that are not in its context.
    fn needs(&self, image: Index, options: &BuildOptions) -> Vec<RequiredImage> {
        let parent = self.graph.images()[image].dockerfile.parent().map(|parent| &parent.image);
        let of_build = options.platform.as_ref().and_then(|platform| platform.parse().ok());
        let parts = self.graph.uses(image).iter().filter(|used| used.is_part);
        // An external image that is asked for by several platforms is ambiguous.
        let parts: BTreeMap<&ImageRef, &Use> = parts.map(|used| (&used.image, used)).collect();
        let need = |(reference, used): (&ImageRef, &Use)| {
            let identity = match used.sibling {
                Some(needed) => self.identities.get(&needed).cloned().unwrap_or(Identity::Present),
                None if self.ambiguous.contains(reference) => Identity::ForEach,
                None => match used.platform.as_ref().or(of_build.as_ref()) {
                    Some(platform) => Identity::PresentFor(platform.clone()),
                    None => Identity::Present,
                },
            };
            RequiredImage {
                part: self.graph.part(used),
                reference: reference.clone(),
                is_parent: Some(reference) == parent,
                identity,
                is_being_tagged: self.options.destinations.has_others(),
            }
        };
        parts.into_iter().map(need).collect()
    }

    fn start_push(&mut self, image: Index) {
        let worker = self.worker(image);
        self.emit(Event::PushStarted { name: worker.name.clone() });
        let Some(State::Pushing(made)) = self.states.get(&image) else {
            unreachable!("only a built image is pushed")
        };
        let push = worker.push(made.id.clone(), self.options.destinations.clone());
        self.spawn(Task::Push(image), push);
    }

    fn worker(&self, image: Index) -> Worker<E> {
        Worker {
            engine: self.engine.clone(),
            registry: self.registry.clone(),
            fetcher: self.fetcher.clone(),
            name: self.name(image),
            reference: self.graph.images()[image].reference.clone(),
            retry: self.options.retry,
            send: self.send.clone(),
        }
    }

    /// Handles the result of a worker.
    fn settle(&mut self, result: Result<(Id, TaskResult), JoinError>) {
        let (id, done) = result.unwrap_or_else(|error| {
            (error.id(), Err(Outcome::Error(format!("the worker panicked: {error}"))))
        });
        let task = self.running.remove(&id).expect("every task is known");
        if let Task::Pull(reference) = &task {
            self.emit(Event::PullEnded(reference.clone()));
        }
        match (task, done) {
            (Task::Pull(reference), Err(error)) => {
                self.missing.insert(reference, error);
            }
            (Task::Fetch(image), Ok(TaskOutput::Packed(packed))) => {
                self.prefetch.finished(image, Ok(packed));
            }
            (Task::Fetch(image), Err(failure)) => self.prefetch.finished(image, Err(failure)),
            (Task::Build(index), Ok(TaskOutput::Image { image, fingerprint, took })) => {
                let name = self.name(index);
                self.emit(Event::Built { name, took });
                let made = built_image(&image, fingerprint.clone());
                self.identities.insert(index, Identity::Built { image, fingerprint });
                self.built(index, made);
            }
            (Task::Build(image), Err(failure)) => self.not_built(image, failure),
            (Task::Push(image), Ok(TaskOutput::Pushed(pushed))) => self.pushed(image, pushed),
            (Task::Push(image), Err(outcome)) => {
                self.finish(image, outcome);
            }
            (Task::PushList(list), Ok(TaskOutput::Pushed(pushed))) => {
                pushed.into_iter().for_each(|pushed| self.emit(Event::ListPushed(pushed)));
                self.finish_joined(&list, None);
            }
            (Task::PushList(list), Err(failure)) => self.finish_joined(&list, Some(&failure)),
            (Task::Pull(_), Ok(_)) => {}
            (task, Ok(output)) => unreachable!("{task:?} has no {output:?}"),
        }
    }

    /// Queues the children for which `image` was the last need; then queues its push or finishes
    /// it.
    fn built(&mut self, image: Index, made: BuiltImage) {
        for child in self.graph.needed_by(image) {
            if let Some(State::Waiting(needs)) = self.states.get_mut(&child) {
                *needs -= 1;
                if *needs == 0 {
                    self.ready.insert((self.ranks[child], child));
                }
            }
        }
        if self.options.push_threads.is_some() {
            self.states.insert(image, State::Pushing(made));
            match self.options.push_all_or_none {
                true => self.held.push(image),
                false => self.to_push.push_back(image),
            }
        } else {
            self.finish(image, Outcome::Built { made, pushed: Vec::new() });
        }
    }

    /// Queues the held pushes once all images are built. Fails them if an image was not built,
    /// unless that failure is forgiven.
    fn release_held(&mut self) {
        let is_open = |state: &State| matches!(state, State::Waiting(_) | State::Building);
        if self.held.is_empty() || self.states.values().any(is_open) {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let Some(failed) = self.first_failed() else {
            self.to_push.extend(held);
            return;
        };
        let reason = format!("not pushed, because {failed} failed (--push-when all)");
        for image in held {
            self.finish(image, Outcome::PushError(reason.clone()));
        }
    }

    /// Returns the first image whose failure prevents the pushes; `None` if there is none.
    fn first_failed(&self) -> Option<ImageName> {
        let failed = self.states.iter().find(|(image, state)| {
            let culprit = match state {
                State::Finished(Outcome::Built { .. }) => return false,
                State::Finished(Outcome::ParentError { ancestor }) => ancestor.clone(),
                State::Finished(_) => self.name(**image),
                _ => return false,
            };
            !self.options.forgiven.contains(&culprit)
        });
        failed.map(|(image, _)| self.name(*image))
    }

    fn pushed(&mut self, image: Index, pushed: Vec<Pushed>) {
        let Some(State::Pushing(made)) = self.states.get(&image).cloned() else {
            unreachable!("only a built image is pushed")
        };
        match self.graph.images()[image].list.clone() {
            None => self.finish(image, Outcome::Built { made, pushed }),
            Some(list) => {
                self.states.insert(image, State::Pushed(made, pushed));
                self.join(list);
            }
        }
    }

    /// Returns the images of a manifest list that are built in this run.
    fn joined_by(&self, list: &ImageRef) -> Vec<Index> {
        let images = self.graph.images();
        let of_list =
            self.states.keys().filter(|image| images[**image].list.as_ref() == Some(list));
        of_list.copied().collect()
    }

    /// Pushes a manifest list once all its images are pushed. If one of them failed, pushes no list
    /// and finishes the others.
    fn join(&mut self, list: ImageRef) {
        let joined = self.joined_by(&list);
        let is = |state: fn(&State) -> bool| joined.iter().all(|image| state(&self.states[image]));
        if is(|state| matches!(state, State::Pushed(..))) {
            let worker = self.worker(joined[0]);
            let images = self.lists.get(&list).cloned().unwrap_or_default();
            let destinations = self.options.destinations.clone();
            self.spawn(Task::PushList(list.clone()), worker.push_list(list, images, destinations));
        } else if is(|state| matches!(state, State::Pushed(..) | State::Finished(_))) {
            let text = "the manifest list is not pushed: some of its images are missing".to_owned();
            self.emit(Event::Warning(Warning { subject: list.clone(), text }));
            self.finish_joined(&list, None);
        }
    }

    /// Finishes all images that wait for a manifest list.
    fn finish_joined(&mut self, list: &ImageRef, failure: Option<&Outcome>) {
        for image in self.joined_by(list) {
            let Some(State::Pushed(made, pushed)) = self.states.get(&image).cloned() else {
                continue;
            };
            let outcome = match failure {
                None => Outcome::Built { made, pushed },
                Some(outcome) => outcome.clone(),
            };
            self.conclude(image, outcome);
        }
    }

    /// Finishes an image whose build failed, and every descendant that waits for it.
    fn not_built(&mut self, image: Index, outcome: Outcome) {
        self.finish(image, outcome);
        let ancestor = self.name(image);
        let mut open: VecDeque<Index> = self.graph.needed_by(image).into_iter().collect();
        while let Some(child) = open.pop_front() {
            if matches!(self.states.get(&child), Some(State::Waiting(needs)) if *needs > 0) {
                self.finish(child, Outcome::ParentError { ancestor: ancestor.clone() });
                open.extend(self.graph.needed_by(child));
            }
        }
    }

    /// Finishes an image, and checks the manifest list that it belongs to.
    fn finish(&mut self, image: Index, outcome: Outcome) {
        self.conclude(image, outcome);
        if let Some(list) = self.graph.images()[image].list.clone() {
            self.join(list);
        }
    }

    fn conclude(&mut self, image: Index, outcome: Outcome) {
        self.prefetch.give_up(image);
        let took = self.started.get(&image).map(Instant::elapsed).unwrap_or_default();
        self.states.insert(image, State::Finished(outcome.clone()));
        let name = self.name(image);
        self.emit(Event::Finished { name, outcome, took });
    }

    /// Cancels all work in progress, and marks every unfinished image as interrupted.
    async fn give_up(&mut self) {
        self.emit(Event::Interrupting);
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

/// Returns a built image in the form for events, without the label of the fingerprint.
fn built_image(image: &Inspected, fingerprint: Option<String>) -> BuiltImage {
    let Inspected { id, mut labels, size, .. } = image.clone();
    labels.remove(LABEL);
    BuiltImage { id, size, labels, fingerprint }
}
