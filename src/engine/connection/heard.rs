//! What an engine says against a connection that is open already.
//!
//! In TLS 1.3 a client is through with the handshake before the other side has looked at its
//! certificate. Where the refusal comes before the first request is on its way, whoever sends that is
//! only told that there is no connection; so what was said is kept beside.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Failure;

/// What was said last against one of the connections to an engine.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<Failure>>>);

impl Refusal {
    fn keep(&self, failure: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// It, once.
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection whose refusal is kept.
pub(super) struct Heard<S> {
    stream: S,
    refusal: Refusal,
}

impl<S> Heard<S> {
    /// `stream`, whose refusal goes to `refusal`.
    pub(super) fn new(stream: S, refusal: Refusal) -> Self {
        Self { stream, refusal }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &read
            && let Some(failure) = Failure::behind(error)
        {
            self.refusal.keep(failure);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::rustls::{AlertDescription, Error};

    use super::*;

    /// A connection on which nothing can be read but this error.
    struct Ended(Option<io::Error>);

    impl AsyncRead for Ended {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(self.0.take().map_or(Ok(()), Err))
        }
    }

    async fn kept_of(error: io::Error) -> Option<Failure> {
        let refusal = Refusal::default();
        let mut heard = Heard::new(Ended(Some(error)), refusal.clone());
        heard.read_u8().await.unwrap_err();
        let kept = refusal.take();
        assert_eq!(refusal.take(), None);
        kept
    }

    #[tokio::test]
    async fn what_is_said_against_a_connection_is_kept_once() {
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let failure = kept_of(io::Error::other(alert)).await.unwrap();
        assert!(failure.cause.starts_with("it does not accept this client's certificate"));
        assert_eq!(kept_of(io::ErrorKind::ConnectionReset.into()).await, None);
    }
}
