//! What is said about a run: each report listens to the run's events and to nothing else.

pub mod logs;
pub mod progress;
pub mod summary;

use crate::event::Event;

/// Hears the events of a run.
pub trait Subscriber {
    /// Takes note of an event.
    fn hear(&mut self, event: &Event);
}
