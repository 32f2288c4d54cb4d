//! Reports on a run. Each report is made from the run's events alone.

pub mod catalogue;
pub mod ci;
pub mod format;
pub mod html;
pub mod junit;
pub mod logs;
mod plain;
pub mod progress;
pub mod record;
mod subscriber;
pub mod summary;
pub mod summary_text;
#[cfg(test)]
mod testing;

pub use subscriber::Subscriber;
