//! Interface to container engines, limited to the operations that Kiln needs.
//!
//! [`Engine`] is small so that the runner can be tested against a scripted engine; [`docker`] is
//! the only real implementation. A success counts only with evidence: a build returns an image that
//! the engine describes when it is asked again, and a push returns the digest that the registry
//! stores. A build does not tag its image: the caller does, once it has checked what the image was
//! made from.

mod api;
mod build_options;
mod buildkit;
mod connection;
mod context_sending;
pub mod docker;
mod engine_error;
mod line_buffer;
pub mod squash;

pub use api::{BuildRequest, Engine, ImageInfo, Inspected, Output, Sink};
pub use build_options::{BuildOptions, BuildSecrets, Builder, EPOCH, Oversized, SquashOptions};
pub use engine_error::EngineError;
