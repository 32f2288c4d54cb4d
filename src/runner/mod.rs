//! Runs a plan: builds and pushes images, as many at the same time as allowed, each as soon as the
//! images that it needs exist.
//!
//! One dispatcher owns all state of a run. Workers build or push a single image and only send
//! events and return results, so there is nothing to lock. A failure is passed to all descendants
//! before any other work is started. Among images that are ready, the one with the longest expected
//! chain of builds starts first. Sources are fetched ahead of the builds, so that no thread waits
//! for a download.

mod dispatcher;
mod engine_outcome;
mod evidence;
mod prefetch;
mod pull;
mod run_input;
mod worker;
mod worker_task;

pub use dispatcher::run;
pub use pull::pull;
pub use run_input::{Backends, BuildInput, Options, bases};

#[cfg(test)]
mod tests;
