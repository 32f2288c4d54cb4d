//! Failed connections: the cause in words, and the cure.

use std::error::Error;
use std::io;
use std::path::Path;

use tokio_rustls::rustls;

/// Cure if nothing listens at the address.
const START: &str = "start the engine, or set DOCKER_HOST to its address (unix:///path, tcp://host:port or ssh://user@host)";

/// Failed connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ConnectError {
    /// Cause of the failure.
    pub cause: String,
    /// Advice to the user.
    pub cure: String,
}

impl ConnectError {
    /// Creates a failure with its cure.
    pub fn new(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cause: cause.into(), cure: cure.into() }
    }

    /// Creates a failure whose only cure is to check the engine and its address.
    pub fn no_answer(cause: impl Into<String>) -> Self {
        Self::new(cause, START)
    }

    /// Returns the failure to open a socket of this machine.
    pub(super) fn socket(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => {
                Self::no_answer(format!("there is no socket {}", path.display()))
            }
            io::ErrorKind::PermissionDenied => Self::new(
                "permission denied",
                format!(
                    "be in the group that {} belongs to (as root: usermod --append --groups GROUP \
                     USER, then log in anew), or use an engine of your own",
                    path.display()
                ),
            ),
            io::ErrorKind::ConnectionRefused => {
                Self::no_answer("connection refused: no process listens on the socket")
            }
            _ => Self::no_answer(error.to_string()),
        }
    }

    /// Returns the failure to reach a host.
    pub(super) fn network(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::no_answer("connection refused"),
            _ => Self::no_answer(error.to_string()),
        }
    }

    /// Returns the failure to start a program.
    pub(super) fn program(program: &str, error: &io::Error) -> Self {
        Self::new(
            format!("the program {program} can't be run: {error}"),
            format!("install {program}, which ssh:// addresses need"),
        )
    }

    /// Returns the failure of an ssh process, with its messages as the cause.
    pub(super) fn ssh(said: &str) -> Self {
        let said = said.trim();
        let cause = if said.is_empty() { "it ended without any output" } else { said };
        Self::new(
            format!("ssh: {}", cause.replace("\r\n", "\n").replace('\n', "; ")),
            "to test it, run: ssh [user@]host docker system dial-stdio; the remote host needs the Docker client",
        )
    }

    /// Returns the failure to use a file that TLS needs.
    pub(super) fn file(path: &Path, reason: &str) -> Self {
        Self::new(
            format!("the file {} can't be used: {reason}", path.display()),
            "the folder that DOCKER_CERT_PATH names, or the context, must have ca.pem, cert.pem and key.pem",
        )
    }

    /// Returns the failure for an error of either side of a TLS connection.
    pub(super) fn tls(error: &rustls::Error) -> Self {
        use rustls::{AlertDescription as Alert, CertificateError, Error};
        match error {
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::new(
                format!("its certificate is for another host: {error}"),
                "use a host name that is in the engine's certificate",
            ),
            Error::InvalidCertificate(_) => Self::new(
                format!("its certificate is not trusted: {error}"),
                "ca.pem must contain the CA that issued the engine's certificate",
            ),
            Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired,
            ) => Self::new(
                format!("it does not accept this client's certificate: {error}"),
                "cert.pem and key.pem must be issued by a CA that the engine trusts",
            ),
            Error::InvalidMessage(_) => Self::new(
                format!("it does not speak TLS: {error}"),
                "leave DOCKER_TLS_VERIFY unset for an engine without TLS",
            ),
            _ => Self::no_answer(format!("TLS failed: {error}")),
        }
    }

    /// Returns the failure in the chain of causes of another library's error; `None` if there is
    /// none.
    pub fn from_source(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let found = Self::of(error).or_else(|| {
                let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
                Self::of(inner)
            });
            if found.is_some() {
                return found;
            }
            next = error.source();
        }
        None
    }

    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let own = error.downcast_ref::<Self>().cloned();
        own.or_else(|| error.downcast_ref::<rustls::Error>().map(Self::tls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outside")]
    struct Outside(#[source] io::Error);

    #[test]
    fn a_failure_is_found_behind_other_errors() {
        let failure = ConnectError::ssh("no\r\nway\r\n");
        assert_eq!(failure.cause, "ssh: no; way");
        let wrapped = Outside(io::Error::other(failure.clone()));
        assert_eq!(ConnectError::from_source(&wrapped), Some(failure));
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let found = ConnectError::from_source(&Outside(io::Error::other(alert))).unwrap();
        assert!(found.cause.contains("this client's certificate"), "{found:?}");
        assert_eq!(ConnectError::from_source(&Outside(io::Error::other("else"))), None);
    }
}
