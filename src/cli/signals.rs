//! Signals that ask the program to end.
//!
//! Temporary folders are removed before a signal ends the program. While images are built, the
//! first signal only interrupts the run; after that, SIGINT ends the program at once.

use std::fs;
use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use tokio::sync::oneshot;

use super::exit::{Failure, end_by, end_interrupted};
use crate::diagnostic::Diagnostic;

/// Signals that ask the program to end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Effect of the next signal.
enum Effect {
    /// The signal ends the program.
    End,
    /// The signal interrupts a run.
    Interrupt(oneshot::Sender<()>),
    /// The run is already interrupted: SIGINT ends the program.
    EndBySecond,
}

static EFFECT: Mutex<Effect> = Mutex::new(Effect::End);

/// Handle of the thread that waits for signals.
static HANDLE: OnceLock<Handle> = OnceLock::new();

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
    match waiting {
        Ok(_) => drop(HANDLE.set(handle)),
        Err(_) => handle.close(),
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
    match mem::replace(&mut *effect, Effect::EndBySecond) {
        Effect::End => end_by(signal),
        Effect::Interrupt(run) => {
            if run.send(()).is_err() {
                // The run is over.
                end_by(signal);
            }
        }
        Effect::EndBySecond if signal == SIGINT => end_interrupted(),
        Effect::EndBySecond => {}
    }
}

/// Returns a future that completes on the first SIGINT, SIGTERM or SIGHUP, which from now on do not
/// end the program. After that, a SIGINT ends the program at once.
///
/// # Errors
/// When the program can't handle signals.
pub fn interrupts() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let refuse = |reason: String| Diagnostic::new(format!("can't handle signals: {reason}"));
    let handle = HANDLE.get().ok_or_else(|| refuse("no thread waits for them".to_owned()))?;
    for signal in SIGNALS {
        handle.add_signal(signal).map_err(|error| refuse(error.to_string()))?;
    }
    let (send, receive) = oneshot::channel();
    *effect() = Effect::Interrupt(send);
    Ok(async move {
        // The sender is dropped only after it has sent.
        drop(receive.await);
    })
}
