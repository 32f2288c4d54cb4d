//! Signals that ask the program to end.
//!
//! A thread handles them, so that they have their effect whatever the other threads wait for. While
//! images are built, the first signal only interrupts the run; the second one ends the program.

use std::fs;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;

use super::exit::{end_by, end_interrupted};

/// Signals that ask the program to end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Time after the first signal in which SIGTERM and SIGHUP belong to it: `timeout` sends both to its
/// program and to the program's group, as do terminals that are closed and their shells.
const SAME_MOMENT: Duration = Duration::from_millis(100);

/// Effect of the next signal.
enum Effect {
    /// The signal ends the program as it ends any other one.
    End,
    /// The signal ends the program, which counts as interrupted.
    EndInterrupted,
    /// The signal interrupts a run.
    Interrupt(oneshot::Sender<()>),
    /// The run was interrupted at this time: the signal ends the program.
    EndBySecond(Instant),
}

static EFFECT: Mutex<Effect> = Mutex::new(Effect::End);

fn effect() -> MutexGuard<'static, Effect> {
    EFFECT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that waits for signals. Signals that the program inherited as ignored, as under
/// `nohup`, stay ignored. Without the thread, signals have their default effect.
pub fn watch() {
    let ignored = ignored_signals();
    let wanted = SIGNALS.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let handle = signals.handle();
    let waiting = thread::Builder::new().spawn(move || signals.forever().for_each(handle_signal));
    if waiting.is_err() {
        handle.close();
    }
}

/// Returns the set of ignored signals, bit 0 for signal 1; empty where the system does not tell.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn handle_signal(signal: i32) {
    let mut effect = effect();
    match mem::replace(&mut *effect, Effect::EndBySecond(Instant::now())) {
        Effect::End => end_by(signal),
        Effect::EndInterrupted => end_interrupted(),
        Effect::Interrupt(run) => {
            if run.send(()).is_err() {
                // The run is over.
                end_by(signal);
            }
        }
        Effect::EndBySecond(first) if signal != SIGINT && first.elapsed() < SAME_MOMENT => {
            *effect = Effect::EndBySecond(first);
        }
        Effect::EndBySecond(_) => end_interrupted(),
    }
}

/// Makes the program count as interrupted if a signal ends it from now on.
pub fn count_as_interrupted() {
    *effect() = Effect::EndInterrupted;
}

/// Returns a future that completes on the first signal, which from now on does not end the program.
/// After that, another one ends it at once.
pub fn interrupts() -> impl Future<Output = ()> + Send + 'static {
    let (send, receive) = oneshot::channel();
    *effect() = Effect::Interrupt(send);
    async move {
        // The sender is dropped only after it has sent.
        drop(receive.await);
    }
}
