//! Interface of the reports that follow a run.

use std::time::Duration;

use crate::event::Event;

/// Receives the events of a run.
pub trait Subscriber {
    /// Handles an event; `at` is the time since the start of the run.
    fn hear(&mut self, at: Duration, event: &Event);
}
