//! What an engine says against a connection that is open already.
//!
//! In TLS 1.3 a client is through with the handshake before the other side has looked at its
//! certificate. Where the refusal comes before the first request is on its way, whoever sends that is
//! only told that there is no connection; so what was said is kept beside.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Failure;

/// What was said last against one of the connections to an engine.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<Failure>>>);

impl Refusal {
    /// Keeps what an error on a connection says against it, if it says anything.
    pub(super) fn hear(&self, error: &io::Error) {
        if let Some(failure) = Failure::behind(error) {
            self.keep(failure);
        }
    }

    fn keep(&self, failure: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// It, once.
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
    use tokio_rustls::rustls::{AlertDescription, Error};

    use super::*;
    use crate::engine::connection::meter::Metered;

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
        let mut heard = Metered::new(Ended(Some(error)), refusal.clone());
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
