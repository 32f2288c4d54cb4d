//! Session with BuildKit, which serves the requests of a running build. The build gets the files of
//! its context, the secrets and ssh agents that it may use, and credentials for the registries that
//! it pulls from.
//!
//! The engine sends the requests, so the roles are reversed: Kiln opens a connection, upgrades it
//! to HTTP/2, and serves gRPC on it. A session ends when its value is dropped, with its tasks and
//! its connection.

mod context_files;
mod message_stream;
mod session;

pub use context_files::ContextFiles;
pub use session::{Session, unique_name};
