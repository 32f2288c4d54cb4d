//! Kiln renders trees of Dockerfile templates, and orders, builds and pushes the container images
//! that come of them.
//!
//! Data flows one way through the modules: [`settings`] to [`tree`] to [`template`] to
//! [`dockerfile`] to [`graph`] to [`plan`] to [`runner`] to [`report`]. Everything before the
//! runner reads files, never the network or an engine; the date is an argument.
//! `docs/architecture.md` describes the modules.

pub mod cli;
mod client_config;
mod console;
mod context;
mod diagnostic;
mod dialect;
mod dockerfile;
mod durations;
mod engine;
mod event;
mod files;
mod fingerprint;
mod fuzzing;
mod git;
mod graph;
mod image;
mod incremental;
#[doc(hidden)]
pub mod internals;
mod lint;
mod lock;
mod name_pattern;
mod plan;
mod program;
mod registry;
mod report;
mod retry;
mod runner;
#[cfg(test)]
mod schemas;
mod secret;
mod settings;
mod source;
mod template;
mod tls;
mod tree;
mod visible;
mod words;
mod workspace;
