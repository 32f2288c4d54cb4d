//! Refusals that arrive on a connection that is already open.
//!
//! In TLS 1.3 a client completes the handshake before the server has checked the client's
//! certificate. If the refusal arrives before the first request is sent, the sender only learns
//! that there is no connection. So the reason is stored here.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::connect_error::ConnectError;

/// Last refusal on any connection to an engine.
#[derive(Debug, Clone, Default)]
pub(super) struct LastTlsError(Arc<Mutex<Option<ConnectError>>>);

impl LastTlsError {
    /// Stores the failure in an error of a connection, if the error contains one.
    pub(super) fn hear(&self, error: &io::Error) {
        if let Some(failure) = ConnectError::from_source(error) {
            self.keep(failure);
        }
    }

    fn keep(&self, failure: ConnectError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Takes the stored refusal.
    pub(super) fn take(&self) -> Option<ConnectError> {
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

    /// Connection whose only read returns this error.
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

    async fn kept_of(error: io::Error) -> Option<ConnectError> {
        let refusal = LastTlsError::default();
        let mut heard = Metered::new(Ended(Some(error)), refusal.clone());
        heard.read_u8().await.unwrap_err();
        let kept = refusal.take();
        assert_eq!(refusal.take(), None);
        kept
    }

    #[tokio::test]
    async fn tls_refusal_is_kept_once() {
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let failure = kept_of(io::Error::other(alert)).await.unwrap();
        assert!(failure.cause.starts_with("it does not accept this client's certificate"));
        assert_eq!(kept_of(io::ErrorKind::ConnectionReset.into()).await, None);
    }
}
