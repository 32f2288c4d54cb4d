//! Streams of messages that a session sends to BuildKit.

use std::pin::Pin;

use futures_util::Stream;
use tonic::Status;

/// Size of the pieces of a file, or of an agent's answer, in a message, in bytes.
pub(super) const CHUNK: usize = 32 * 1024;

/// Streamed response.
pub(super) type MessageStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
