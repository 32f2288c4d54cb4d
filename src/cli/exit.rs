//! The end of the program: the exit code, the errors of a command, and the only way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::low_level;

use crate::console;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::EngineError;
use crate::files;
use crate::incremental::SurveyError;
use crate::program;
use crate::registry;

/// Exit codes, as documented in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// An image failed.
    Failed = 1,
    /// The command line, a configuration or a tree is wrong, or a report could not be written.
    Usage = 2,
    /// The engine or the registry is out of reach.
    OutOfReach = 3,
    /// Nothing matched.
    NothingMatched = 4,
    /// The user interrupted the run.
    Interrupted = 130,
}

/// Reason why a command ended early: its errors and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// Exit code of the program.
    pub exit: Exit,
    /// Errors to print.
    pub diagnostics: Diagnostics,
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { exit: Exit::Usage, diagnostics }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics::from(diagnostic).into()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let diagnostic = Diagnostic::new(error.to_string());
        let diagnostic = match &error {
            EngineError::Unreachable { cure, .. }
            | EngineError::Registry(registry::Error { cure: Some(cure), .. }) => {
                diagnostic.help(cure)
            }
            _ => diagnostic,
        };
        let exit = if error.is_out_of_reach() { Exit::OutOfReach } else { Exit::Failed };
        Self { exit, diagnostics: diagnostic.into() }
    }
}

impl From<SurveyError> for Failure {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Tree(diagnostics) => diagnostics.into(),
            SurveyError::Engine(error) => error.into(),
        }
    }
}

/// True once a signal ends the program.
static ENDED_BY_SIGNAL: AtomicBool = AtomicBool::new(false);

/// Prints the errors of a command that failed, and ends the program.
pub fn end_with(result: Result<Exit, Failure>) -> ! {
    // The signal's thread has killed all programs and removed the temporary folders. Errors because
    // of that are none.
    while ENDED_BY_SIGNAL.load(Ordering::SeqCst) {
        thread::park();
    }
    let exit = result.unwrap_or_else(|failure| {
        console::say_diagnostics(&failure.diagnostics);
        failure.exit
    });
    leave_nothing();
    console::flush();
    // Skip destructors: otherwise the allocator would release all memory block by block; the OS
    // reclaims it at once.
    low_level::exit(exit as i32)
}

/// Prints the diagnostic and ends the program, because its current work does not terminate.
pub fn give_up(why: Diagnostic) {
    end_with(Err(why.into()))
}

/// Ends the program at once because of a signal, as an interrupted one.
pub fn end_interrupted() -> ! {
    clean_up_after_signal();
    low_level::exit(Exit::Interrupted as i32)
}

/// Ends the program as the signal would have ended it.
pub fn end_by(signal: i32) -> ! {
    clean_up_after_signal();
    // Fails for signals that end no program.
    drop(low_level::emulate_default_handler(signal));
    low_level::exit(Exit::Interrupted as i32)
}

/// Leaves nothing behind. Nothing is printed or flushed: another thread may be blocked while it
/// writes to standard output, and the signal is to end that, too.
fn clean_up_after_signal() {
    ENDED_BY_SIGNAL.store(true, Ordering::SeqCst);
    leave_nothing();
}

/// Kills the programs that still run, and then removes the temporary folders, to which they may be
/// writing.
fn leave_nothing() {
    program::kill_all();
    files::remove_temporary_folders();
}
