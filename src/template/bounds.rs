//! What rendering may take: text, memory and time.
//!
//! Templates are data from someone else, and a language with loops says in one line what takes longer
//! than anyone lives. Jinja2's engine counts its steps, Tera's does not, and neither counts what it
//! keeps in memory. So a thread looks on while templates are rendered, and gives the run up where one
//! takes too much: nobody else can end a loop that is in an engine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The bytes of a Dockerfile: a hundred times what the longest of known trees have.
const LONGEST_DOCKERFILE: usize = 4 << 20;

/// What is said of a longer one.
pub(super) const TOO_LONG: &str = "it makes more than 4 MiB of text";

/// What a run may take while it renders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Seconds that a processor spends on one template, so that a busy machine refuses nothing. Whole
    /// trees take less than one.
    seconds: u64,
    /// Bytes of memory that come to what was taken before. Hundreds of images take a tenth.
    memory: u64,
}

/// The limits that hold.
pub(super) const LIMITS: Limits = Limits { seconds: 10, memory: 1 << 30 };

/// How often is looked: memory can't be filled faster than some MB in that time.
const PERIOD: Duration = Duration::from_millis(10);

/// What is rendered now, as seen by the thread that looks on.
#[derive(Default)]
pub(super) struct Watch {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    running: Vec<Running>,
}

/// A template that is being rendered.
struct Running {
    path: String,
    thread: Option<PathBuf>,
    /// The seconds that the thread had been at work when it was first looked at.
    before: Option<u64>,
}

/// Ends what [`Watch::over`] began to look at.
pub(super) struct Rendering<'a> {
    watch: &'a Watch,
    path: &'a str,
}

impl Watch {
    /// Does `work` with a thread looking on, which has `give_up` say which template takes more than
    /// the limits, and why. In a program that does not return. Nobody waits for the thread: it ends
    /// after the work does, by itself.
    pub(super) fn during<T>(
        limits: Limits,
        give_up: impl Fn(&str, String) + Send + 'static,
        work: impl FnOnce(&Self) -> T,
    ) -> T {
        let watch = Arc::new(Self::default());
        let looking_on = Arc::clone(&watch);
        thread::spawn(move || looking_on.look_on(limits, give_up));
        let _end = End(&watch);
        work(&watch)
    }

    /// Looks at the rendering of the template at `path` on this thread, until what it returns is
    /// dropped.
    pub(super) fn over<'a>(&'a self, path: &'a str) -> Rendering<'a> {
        let thread = THIS_THREAD.with(Clone::clone);
        self.state().running.push(Running { path: path.to_owned(), thread, before: None });
        Rendering { watch: self, path }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_on(&self, limits: Limits, give_up: impl Fn(&str, String)) {
        let mut memory_before = None;
        while !self.ends_within(PERIOD) {
            let now = memory();
            let taken = now.saturating_sub(*memory_before.get_or_insert(now));
            let mut state = self.state();
            if state.ended {
                return;
            }
            if taken > limits.memory {
                let running = state.running.iter_mut();
                let longest = running.map(|one| (one.seconds(), one.path.clone())).max();
                let path = longest.map(|(_, path)| path).unwrap_or_default();
                return give_up(&path, format!("more than {} MiB of memory", limits.memory >> 20));
            }
            let endless = state
                .running
                .iter_mut()
                .find_map(|one| (one.seconds() >= limits.seconds).then(|| one.path.clone()));
            if let Some(path) = endless {
                return give_up(&path, format!("more than {} seconds", limits.seconds));
            }
        }
    }

    /// Waits for the end of all work, for so long at most.
    fn ends_within(&self, time: Duration) -> bool {
        let waited = self.ended.wait_timeout_while(self.state(), time, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

/// Ends looking on, however the work ends.
struct End<'a>(&'a Watch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.ended.notify_all();
    }
}

impl Drop for Rendering<'_> {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        if let Some(at) = state.running.iter().position(|one| one.path == self.path) {
            state.running.swap_remove(at);
        }
    }
}

impl Running {
    /// The seconds that have been spent on it since it was first looked at.
    fn seconds(&mut self) -> u64 {
        let now = seconds_at_work(self.thread.as_ref());
        now.saturating_sub(*self.before.get_or_insert(now))
    }
}

thread_local! {
    /// Where the system tells of this thread; `None` where it does not.
    static THIS_THREAD: Option<PathBuf> = {
        let thread = std::fs::read_link("/proc/thread-self").ok();
        thread.map(|thread| PathBuf::from("/proc").join(thread).join("schedstat"))
    };
}

/// How long a thread has been on a processor; 0 where the system does not tell.
fn seconds_at_work(thread: Option<&PathBuf>) -> u64 {
    let told = thread.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    nanoseconds.unwrap_or(0) / 1_000_000_000
}

/// The bytes of memory that the program has; 0 where the system does not tell.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The text of a Dockerfile while it is written.
#[derive(Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Text {
    /// The text, unless writing it failed; `too_long` is said where it became too long.
    pub(super) fn written<E>(
        self,
        written: Result<(), E>,
        too_long: impl FnOnce() -> E,
    ) -> Result<String, E> {
        match written {
            Ok(()) => Ok(String::from_utf8(self.bytes).expect("templates make text")),
            Err(_) if self.is_too_long => Err(too_long()),
            Err(error) => Err(error),
        }
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > LONGEST_DOCKERFILE - self.bytes.len() {
            self.is_too_long = true;
            return Err(io::Error::other("the text is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the watch gives up while this thread is busy with a template.
    fn given_up(limits: Limits, mut step: impl FnMut()) -> (String, String) {
        let told = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&told);
        let give_up = move |path: &str, why| *heard.lock().unwrap() = Some((path.to_owned(), why));
        Watch::during(limits, give_up, |watch| {
            drop(watch.over("b"));
            let _rendering = watch.over("a");
            loop {
                step();
                if let Some(told) = told.lock().unwrap().take() {
                    return told;
                }
            }
        })
    }

    #[test]
    fn what_takes_too_long_is_named() {
        let limits = Limits { seconds: 1, memory: u64::MAX };
        let (path, why) = given_up(limits, || {});
        assert_eq!((path.as_str(), why.as_str()), ("a", "more than 1 seconds"));
    }

    #[test]
    fn what_takes_too_much_memory_is_named() {
        let limits = Limits { seconds: u64::MAX, memory: 32 << 20 };
        let mut kept = Vec::new();
        let (path, why) = given_up(limits, || kept.resize(kept.len() + 4096, 1u8));
        assert_eq!((path.as_str(), why.as_str()), ("a", "more than 32 MiB of memory"));
    }

    #[test]
    fn what_takes_little_is_let_be() {
        let done = Watch::during(
            LIMITS,
            |path, _| panic!("{path}"),
            |watch| {
                let _rendering = watch.over("a");
                1
            },
        );
        assert_eq!(done, 1);
    }
}
