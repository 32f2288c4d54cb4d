//! Configuration of the clients of container engines, Docker's and Podman's: the address of the
//! engine, contexts and TLS, and the credentials for registries.
//!
//! Environment variables come from the caller, as a function of the name.

mod auth_file;
mod credential_files;
mod credential_lookup;
mod credentials;
mod docker_auth;
mod docker_context;
pub mod endpoint;
mod helper;
mod podman_auth;
mod variables;

pub use credential_files::{CredentialFile, credential_files};
pub use credential_lookup::CredentialFiles;
pub use credentials::{Credentials, CredentialsError, FoundCredentials};
pub use docker_context::{configured_endpoint, endpoint_at};
