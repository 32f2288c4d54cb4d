//! Configuration of the clients of container engines: where they keep credentials for registries, and
//! the programs that know them.

pub mod credentials;
mod helper;
