//! The caller of this module, as far as loading a workspace needs it.

use crate::diagnostic::Diagnostic;

/// Callbacks of the caller.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Receives each warning, without a prefix.
    pub warn: &'a dyn Fn(&str),
    /// Called before any warning if the configuration names a continuous integration service, which
    /// may read the output.
    pub expect_service: fn(),
    /// Reports the template that exceeds a limit of rendering, and ends the program.
    pub give_up: fn(Diagnostic),
}
