//! Configuration of the clients of container engines: the files with credentials for registries,
//! and the credential helpers.

pub mod credentials;
mod helper;
