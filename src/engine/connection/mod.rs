//! Connections to an engine over a socket, the network with or without TLS, or ssh. Bollard's
//! requests and the raw connections of [`buildkit`](super::buildkit) both use them.
//!
//! Every error of a connection is reported as a [`ConnectError`]: a cause and its cure.

mod client_tls;
mod connect_error;
mod connector;
mod meter;
mod ssh;
mod tls_refusal;

pub use connect_error::ConnectError;
pub use connector::Connections;
#[cfg(test)]
pub use connector::HasBody;
pub use meter::{Record, records};
