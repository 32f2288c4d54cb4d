//! Work with files of any size, on threads for it: the tasks that wait for servers and engines go on
//! meanwhile, and nobody waits for its end once it is not wanted any more.

use std::panic;

/// Runs `work` on a thread that may block, and returns its result.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
}
