//! Reports on a run. Each report is made from the run's events alone.

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

/// Receives the events of a run.
pub trait Subscriber {
    /// Handles an event; `at` is the time since the start of the run.
    fn hear(&mut self, at: Duration, event: &Event);
}
