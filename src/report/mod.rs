//! What is said about a run: each report listens to the run's events and to nothing else.

pub mod catalogue;
pub mod ci;
pub mod html;
pub mod junit;
pub mod logs;
mod plain;
pub mod progress;
pub mod record;
pub mod summary;
#[cfg(test)]
mod testing;

use std::time::Duration;

use crate::event::Event;

/// Hears the events of a run.
pub trait Subscriber {
    /// Takes note of an event that happened so long after the run began.
    fn hear(&mut self, at: Duration, event: &Event);
}
