//! Client for registries that follow the distribution specification: it requests manifests, blobs
//! and tags over HTTP, without an engine.
//!
//! A [`Registries`] is shared by a run. It has one client for each host, which reuses its
//! connections, and keeps tokens until they expire. Credentials are sent to their registry, and to
//! the token service that it names if that is as safe; never over plain HTTP if the registry itself
//! uses TLS, and never to another origin by a redirect. Every answer is limited in size and time.

mod answer_kind;
mod challenge;
mod connection_limit;
mod image_manifest;
mod image_registry;
mod image_repository;
mod label_cache;
mod notices;
mod reach;
mod registries;
mod registry_error;
mod registry_host;
mod token;
mod transport;

pub use answer_kind::{Purpose, kind_of_text};
pub use challenge::challenges;
pub use image_registry::{EngineConfig, ImageRegistry, NotServed, PushListError, RegistryConfig};
pub use label_cache::LabelCache;
pub use registries::Registries;
pub use registry_error::{Error, Kind};

#[cfg(test)]
mod request_count_tests;
