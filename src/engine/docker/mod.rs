//! Docker Engine API through bollard, for Docker and compatible engines.
//!
//! This module guards against some behaviour of bollard. A stream may end without the image id that
//! marks a success, and a bare `{"error": ...}` record is returned as an empty, successful one: so
//! a build needs an id, and inspecting this id has to find the image. A stream may stall forever:
//! every wait for its next record has a timeout. And if the line end after the last record arrives
//! separately, bollard takes it for the start of a record that never ends.
//!
//! Podman answers the same calls with differences: it lists images under names with a registry,
//! does not store the digests that registries returned, and completes a running step after its
//! client has disconnected.

mod classify;
mod docker_engine;
mod image_build;
mod listener;
mod short_names;
mod transfer;

pub use docker_engine::DockerEngine;
