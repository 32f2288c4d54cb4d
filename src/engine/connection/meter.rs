//! Limits on the data that an engine sends.
//!
//! Bollard keeps a whole answer in memory, and a stream up to the end of its next record, however
//! long they are. So the bytes are counted here, where they arrive: a connection that exceeds the
//! limit of an answer or of a record fails.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bollard::{BollardRequest, Docker};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::tls_refusal::LastTlsError;

const MIB: usize = 1 << 20;

/// Largest head of an answer, in bytes, with the data that arrives before the head has been read.
/// Hyper itself refuses heads of half that size.
const MOST_OF_HEAD: usize = MIB;

/// Largest answer, in bytes. The list of all images has its own limit, since it grows with the
/// engine's images.
const MOST_OF_ANSWER: usize = 16 * MIB;
const MOST_OF_LIST: usize = 128 * MIB;

/// Largest answer with an error, in bytes.
const MOST_OF_ERROR: usize = MIB;

/// Largest record of a stream, in bytes. BuildKit puts one MiB of a log into a record, and all
/// instructions of a Dockerfile. Bollard searches all data of a record again whenever more arrives.
const MOST_OF_RECORD: usize = 4 * MIB;

/// Subject of the error about a record that is too long.
const A_RECORD: &str = "a record";

/// Path of the list of all images.
const LIST: &str = "/images/json";

/// Count of the bytes of a stream's record in progress.
#[derive(Debug, Default)]
struct Allowance {
    spent: AtomicUsize,
    is_exceeded: AtomicBool,
}

/// Records of one stream. None may be larger than [`MOST_OF_RECORD`].
#[derive(Debug, Clone, Default)]
pub(super) struct Records(Arc<Allowance>);

/// Requests a stream of records over the connections of `docker`, with a limit on each record. The
/// request is passed through `change`.
///
/// A separate task reads the stream, and ends with it: the search for the end of a long record can
/// take longer than the reader's timeout.
pub fn records<T: Send + 'static>(
    docker: &Docker,
    change: impl Fn(BollardRequest) -> BollardRequest + Send + Sync + 'static,
    ask: impl for<'a> FnOnce(&'a Docker) -> BoxStream<'a, Record<T>> + Send + 'static,
) -> impl Stream<Item = Record<T>> + Send + Unpin {
    let records = Records::default();
    let marked = records.clone();
    let docker = docker.clone().with_request_modifier(move |request| {
        let mut request = change(request);
        request.extensions_mut().insert(marked.clone());
        request
    });
    let (sender, mut receiver) = mpsc::channel(1);
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut stream = ask(&docker);
        while let Some(record) = stream.next().await {
            if sender.send(records.told(record)).await.is_err() {
                return;
            }
        }
    });
    stream::poll_fn(move |context| {
        // Kept as long as the stream, since dropping it ends the task.
        let _ = &reading;
        receiver.poll_recv(context)
    })
}

/// Record of a stream, or the error in its place.
pub type Record<T> = Result<T, bollard::errors::Error>;

impl Records {
    /// Resets the count for the next record, and replaces the error of a record that was too large.
    fn told<T>(&self, record: Record<T>) -> Record<T> {
        self.0.spent.store(0, Ordering::Relaxed);
        match record {
            Err(_) if self.0.is_exceeded.load(Ordering::Relaxed) => {
                Err(too_long(A_RECORD, MOST_OF_RECORD).into())
            }
            record => record,
        }
    }
}

/// Limit on the data that may arrive over a connection until the next reset.
#[derive(Debug)]
enum Limit {
    /// At most `left` bytes more, of `most` in all, until the next request.
    Bytes { left: usize, most: usize },
    /// Records, as long as their stream is read.
    Records(Weak<Allowance>),
    /// No limit: another protocol, with its own limits.
    None,
}

/// Counter of the bytes that arrive over a connection.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Mutex<Limit>>);

impl Limit {
    fn bytes(most: usize) -> Self {
        Self::Bytes { left: most, most }
    }
}

impl Meter {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Limit::bytes(MOST_OF_HEAD))))
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the limit for the content of an answer, by the path of its request and its status.
    /// `records` are given if the content is a stream of them.
    pub(super) fn expect(&self, path: &str, status: StatusCode, records: Option<&Records>) {
        *self.limit() = match records {
            Some(records) if status.is_success() => Limit::Records(Arc::downgrade(&records.0)),
            _ if !status.is_success() => Limit::bytes(MOST_OF_ERROR),
            _ if path.ends_with(LIST) => Limit::bytes(MOST_OF_LIST),
            _ => Limit::bytes(MOST_OF_ANSWER),
        };
    }

    /// Removes the limit, for another protocol on the connection.
    pub(super) fn lift(&self) {
        *self.limit() = Limit::None;
    }

    /// Resets the limit for a new request. The limit on records stays while their stream is read,
    /// since the body of their request may still be sent.
    fn sent(&self) {
        let mut limit = self.limit();
        match &*limit {
            Limit::None => {}
            Limit::Records(allowance) if allowance.strong_count() > 0 => {}
            Limit::Bytes { .. } | Limit::Records(_) => *limit = Limit::bytes(MOST_OF_HEAD),
        }
    }

    fn received(&self, bytes: usize) -> io::Result<()> {
        match &mut *self.limit() {
            Limit::None => Ok(()),
            Limit::Bytes { left, most } => {
                *left = left.checked_sub(bytes).ok_or_else(|| too_long("an answer", *most))?;
                Ok(())
            }
            Limit::Records(allowance) => {
                let Some(allowance) = allowance.upgrade() else { return Ok(()) };
                let spent = allowance.spent.fetch_add(bytes, Ordering::Relaxed) + bytes;
                if spent <= MOST_OF_RECORD {
                    return Ok(());
                }
                allowance.is_exceeded.store(true, Ordering::Relaxed);
                Err(too_long(A_RECORD, MOST_OF_RECORD))
            }
        }
    }
}

fn too_long(part: &str, most: usize) -> io::Error {
    io::Error::other(format!("the engine sent {part} of more than {} MiB", most / MIB))
}

/// Connection that counts the bytes that arrive and stores refusals.
pub(super) struct Metered<S> {
    stream: S,
    meter: Meter,
    refusal: LastTlsError,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, refusal: LastTlsError) -> Self {
        Self { stream, meter: Meter::new(), refusal }
    }

    pub(super) fn meter(&self) -> Meter {
        self.meter.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) => self.meter.received(buffer.filled().len() - before)?,
            Poll::Ready(Err(error)) => self.refusal.hear(error),
            Poll::Pending => {}
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.meter.sent();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.meter.sent();
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: StatusCode = StatusCode::OK;

    /// Returns the number of MiB that a meter lets pass.
    fn passed(meter: &Meter) -> usize {
        (0..1000).take_while(|_| meter.received(MIB).is_ok()).count()
    }

    #[test]
    fn answers_are_limited_by_what_they_answer() {
        let table = [
            ("/v1.41/version", OK, MOST_OF_ANSWER),
            ("/v1.41/images/json", OK, MOST_OF_LIST),
            ("/v1.41/images/json", StatusCode::INTERNAL_SERVER_ERROR, MOST_OF_ERROR),
        ];
        for (path, status, most) in table {
            let meter = Meter::new();
            assert_eq!(passed(&meter), MOST_OF_HEAD / MIB);
            meter.sent();
            meter.expect(path, status, None);
            assert_eq!(passed(&meter), most / MIB, "{path}");
            let error = meter.received(MIB).unwrap_err().to_string();
            assert!(error.starts_with("the engine sent an answer of more than "), "{error}");
        }
    }

    #[test]
    fn stream_is_limited_by_its_records_alone() {
        let (meter, records) = (Meter::new(), Records::default());
        meter.expect("/build", OK, Some(&records));
        for _ in 0..10 {
            for _ in 0..MOST_OF_RECORD / MIB {
                // The request's body may still be sent.
                meter.sent();
                meter.received(MIB).unwrap();
            }
            records.0.spent.store(0, Ordering::Relaxed);
        }
        assert_eq!(passed(&meter), MOST_OF_RECORD / MIB);
        assert!(records.0.is_exceeded.load(Ordering::Relaxed));
        drop(records);
        meter.sent();
        assert_eq!(passed(&meter), MOST_OF_HEAD / MIB);
        let failed = Records::default();
        meter.expect("/build", StatusCode::BAD_REQUEST, Some(&failed));
        assert_eq!(passed(&meter), MOST_OF_ERROR / MIB);
    }

    #[test]
    fn another_protocol_is_not_limited() {
        let meter = Meter::new();
        meter.lift();
        meter.sent();
        assert_eq!(passed(&meter), 1000);
    }
}
