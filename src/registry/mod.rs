//! Client for registries that follow the distribution specification: it requests manifests, blobs
//! and tags over HTTP, without an engine.
//!
//! A [`Registries`] is shared by a run. It has one client for each host, which reuses its
//! connections, and keeps tokens until they expire. Credentials are sent to their registry, and to
//! the token service that it names if that is as safe; never over plain HTTP if the registry itself
//! uses TLS, and never to another origin by a redirect. Every answer is limited in size and time.

mod challenge;
mod error;
mod image_manifest;
mod image_repository;
mod reach;
mod registries;
mod token;
mod transport;

pub use challenge::challenges;
pub use error::{Error, Kind};
pub use image_manifest::list;
pub use image_repository::Repository;
pub use registries::{Registries, is_loopback};
