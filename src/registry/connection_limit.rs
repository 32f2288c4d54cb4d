//! Limit of the open connections to a host.
//!
//! hyper starts a new connection when no idle one is at hand, even if one comes back a moment
//! later. Here a new connection is opened only while fewer than the limit are open. Otherwise the
//! request gets the next one that comes back, as there are never more requests than connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

/// Longest time that an idle connection stays open.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(10);

/// Time without any answer after which a waiting connection is opened all the same: the server may
/// have closed others without a word.
const STALLED: Duration = Duration::from_secs(1);

/// Time between two checks of a waiting connection.
const CHECKED_EVERY: Duration = Duration::from_millis(20);

/// Limit of the requests and the connections to a host.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit(Arc<State>);

#[derive(Debug)]
struct State {
    most: usize,
    requests: Arc<Semaphore>,
    open: AtomicUsize,
    /// Time of the last answer.
    answered: Mutex<Instant>,
}

/// Request in progress, from before it is sent until its answer is read.
pub(super) struct InProgress {
    limit: ConnectionLimit,
    _permit: OwnedSemaphorePermit,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        *self.limit.0.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl InProgress {
    /// Records that the connection of this request is not used again.
    pub(super) fn connection_closed(&self) {
        self.limit.closed();
    }
}

impl ConnectionLimit {
    /// Creates a limit of `most` connections, at least one.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self(Arc::new(State {
            most,
            requests: Arc::new(Semaphore::new(most)),
            open: AtomicUsize::new(0),
            answered: Mutex::new(Instant::now()),
        }))
    }

    /// Returns the limit of connections.
    pub(super) fn most(&self) -> usize {
        self.0.most
    }

    /// Waits until there may be one more request.
    pub(super) async fn request(&self) -> InProgress {
        let permit = self.0.requests.clone().acquire_owned().await.expect("it is never closed");
        let is_first = self.0.requests.available_permits() + 1 == self.0.most;
        if is_first && self.since_answer() > LONGEST_IDLE {
            self.0.open.store(0, Ordering::Release);
        }
        InProgress { limit: self.clone(), _permit: permit }
    }

    fn is_idle(&self) -> bool {
        self.0.requests.available_permits() == self.0.most
    }

    fn since_answer(&self) -> Duration {
        self.0.answered.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn may_open(&self) -> bool {
        let add = |open: usize| (open < self.0.most).then_some(open + 1);
        self.0.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok()
    }

    fn closed(&self) {
        let remove = |open: usize| open.checked_sub(1);
        let _ = self.0.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, remove);
    }

    /// Waits until a connection may be opened. Returns false if no request needs it any more.
    async fn wait(&self) -> bool {
        let began = Instant::now();
        while !self.may_open() {
            if self.is_idle() {
                return false;
            }
            if self.since_answer().min(began.elapsed()) > STALLED {
                return true;
            }
            tokio::time::sleep(CHECKED_EVERY).await;
        }
        true
    }
}

impl<S> Layer<S> for ConnectionLimit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { limit: self.clone(), inner }
    }
}

/// Connector with a limit.
#[derive(Debug, Clone)]
pub(super) struct Limited<S> {
    limit: ConnectionLimit,
    inner: S,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S, R> Service<R> for Limited<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let limit = self.limit.clone();
        // The service that was ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            if !limit.wait().await {
                return Err(io::Error::from(io::ErrorKind::Interrupted).into());
            }
            let connected = inner.call(request).await;
            if connected.is_err() {
                limit.closed();
            }
            connected
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_opened_up_to_the_limit() {
        let limit = ConnectionLimit::new(2);
        let request = limit.request().await;
        assert!(limit.wait().await && limit.wait().await);
        assert!(!limit.may_open());
        request.connection_closed();
        assert!(limit.wait().await);
        drop(request);
        assert!(!limit.wait().await, "no request needs another one");
    }

    #[tokio::test]
    async fn stalled_requests_open_another_connection() {
        let limit = ConnectionLimit::new(1);
        let _request = limit.request().await;
        assert!(limit.wait().await);
        let began = Instant::now();
        assert!(limit.wait().await);
        assert!(began.elapsed() >= STALLED);
    }
}
