//! Kiln renders trees of Dockerfile templates, and orders, builds and pushes the container images
//! that come of them.
//!
//! Data flows one way through the modules: [`settings`] to [`tree`] to [`template`] to
//! [`dockerfile`] to [`graph`] to [`plan`] to [`runner`] to [`report`]. Everything before the
//! runner is pure: it opens no socket and reads no clock. `docs/architecture.md` describes the
//! modules.

pub mod cli;
pub mod client_config;
pub mod console;
pub mod context;
pub mod crypto;
pub mod diagnostic;
pub mod dialect;
pub mod dockerfile;
pub mod durations;
pub mod endpoint;
pub mod engine;
pub mod event;
pub mod files;
pub mod fingerprint;
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
pub mod graph;
pub mod image;
pub mod lint;
pub mod patterns;
pub mod plan;
pub mod program;
pub mod registry;
pub mod report;
pub mod runner;
pub mod secret;
pub mod settings;
pub mod source;
pub mod template;
pub mod tree;
pub mod visible;
