//! Configuration of the clients of container engines, Docker's and Podman's: the address of the
//! engine, contexts and TLS, and the credentials for registries.
//!
//! Environment variables come from the caller, as a function of the name.

mod credential_files;
pub mod credentials;
mod docker_context;
pub mod endpoint;
mod helper;
mod variables;

pub use credential_files::credential_files;
pub use docker_context::{configured_endpoint, endpoint_at};
