//! Limits of rendering: text, memory and time.
//!
//! Templates come from third parties, and one line with nested loops can run practically forever.
//! Jinja2's engine counts its steps, Tera's does not, and neither counts the memory that it holds.
//! So a watchdog thread observes rendering and ends the run when a template exceeds a limit:
//! nothing else can end a loop inside an engine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Largest size of a Dockerfile, in bytes: a hundred times the longest one of known trees.
const LONGEST_DOCKERFILE: usize = 4 << 20;

/// Error message for a Dockerfile that is larger than [`LONGEST_DOCKERFILE`].
pub(super) const TOO_LONG: &str = "it renders more than 4 MiB of text";

/// Limits of a run while it renders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Processor seconds per template. Processor time is measured, so that a busy machine refuses
    /// no template. Whole trees take less than one second.
    seconds: u64,
    /// Bytes of memory that the process may gain while it renders. Hundreds of images take a tenth
    /// of it.
    memory: u64,
}

/// Limits that the program applies.
pub(super) const LIMITS: Limits = Limits { seconds: 10, memory: 1 << 30 };

/// Interval between two checks: memory can't grow by more than some MB in that time.
const PERIOD: Duration = Duration::from_millis(10);

/// Templates that are being rendered, shared with the watchdog thread.
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

/// Template that is being rendered.
struct Running {
    path: String,
    thread: Option<PathBuf>,
    /// Processor seconds of the thread at the first check of this template; `None` before that
    /// check.
    before: Option<u64>,
}

/// Guard that ends the observation begun by [`Watch::over`].
pub(super) struct Rendering<'a> {
    watch: &'a Watch,
    path: &'a str,
}

impl Watch {
    /// Runs `work` while a watchdog thread observes it. The thread calls `give_up` with the path of
    /// the template that exceeds a limit, and the limit. In the program `give_up` does not return.
    /// The thread is not joined: it ends by itself after `work` does.
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

    /// Observes the rendering of the template at `path` on this thread until the returned guard is
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

    /// Waits at most `time` for the end of all work. Returns true if it has ended.
    fn ends_within(&self, time: Duration) -> bool {
        let waited = self.ended.wait_timeout_while(self.state(), time, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

/// Guard that ends the watchdog, even if the work panics.
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
    /// Returns the processor seconds spent since the first check of this template.
    fn seconds(&mut self) -> u64 {
        let now = seconds_at_work(self.thread.as_ref());
        now.saturating_sub(*self.before.get_or_insert(now))
    }
}

thread_local! {
    /// Path of this thread's `schedstat` in `/proc`; `None` where the system has none.
    static THIS_THREAD: Option<PathBuf> = {
        let thread = std::fs::read_link("/proc/thread-self").ok();
        thread.map(|thread| PathBuf::from("/proc").join(thread).join("schedstat"))
    };
}

/// Returns the processor time of a thread in whole seconds; 0 where the system does not report it.
fn seconds_at_work(thread: Option<&PathBuf>) -> u64 {
    let told = thread.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    nanoseconds.unwrap_or(0) / 1_000_000_000
}

/// Returns the resident memory of the process in bytes; 0 where the system does not report it.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Text of a Dockerfile while it is written; refuses more than [`LONGEST_DOCKERFILE`] bytes.
#[derive(Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Text {
    /// Returns the text if `written` is `Ok`. The error is `too_long()` if the text became too
    /// long, and that of `written` otherwise.
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

    /// Returns the path and the reason that the watchdog reports while this thread is busy with a
    /// template.
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
    fn slow_template_is_named() {
        let limits = Limits { seconds: 1, memory: u64::MAX };
        let (path, why) = given_up(limits, || {});
        assert_eq!((path.as_str(), why.as_str()), ("a", "more than 1 seconds"));
    }

    #[test]
    fn template_with_too_much_memory_is_named() {
        let limits = Limits { seconds: u64::MAX, memory: 32 << 20 };
        let mut kept = Vec::new();
        let (path, why) = given_up(limits, || kept.resize(kept.len() + 4096, 1u8));
        assert_eq!((path.as_str(), why.as_str()), ("a", "more than 32 MiB of memory"));
    }

    #[test]
    fn cheap_templates_are_rendered() {
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
