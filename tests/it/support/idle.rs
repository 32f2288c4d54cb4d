//! Fake engine that is reachable and has no images.

use super::http::{Server, idle_engine_reply};

/// Starts the engine and returns its address.
pub fn idle_engine() -> String {
    Server::plain(idle_engine_reply).address()
}
