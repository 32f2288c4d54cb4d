//! TLS over a connection. The engine's certificate and host name are always verified.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::connect_error::ConnectError;
use crate::client_config::endpoint::{Identity, TlsFiles};
use crate::files::{self, MOST_OF_CONFIGURATION};
use crate::tls;

/// TLS configuration for one engine.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the files for connections to `host`.
    ///
    /// # Errors
    /// When a file is missing or invalid, or `host` is not a host name.
    pub fn new(files: &TlsFiles, host: &str) -> Result<Self, ConnectError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::no_answer(format!("'{host}' is not a host name")))?;
        tls::install_provider();
        let builder = ClientConfig::builder().with_root_certificates(roots(files)?);
        let configuration = match &files.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|error| ConnectError::file(key, &error.to_string()))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| ConnectError::file(key, &error.to_string()))?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(configuration)), name })
    }

    /// Performs the TLS handshake on an open connection.
    ///
    /// # Errors
    /// When the engine's certificate is not valid for it, or the engine does not use TLS.
    pub async fn over(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| {
            ConnectError::from_source(&error).unwrap_or_else(|| ConnectError::network(&error))
        })
    }
}

/// Returns the CAs that are trusted for the engine: those in the configured file, or the system's.
fn roots(files: &TlsFiles) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| ConnectError::file(path, &error.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let refuse = |reason: &str| ConnectError::file(path, reason);
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(&error.to_string()))?;
    if found.is_empty() { Err(refuse("it contains no certificate")) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    files::read(path, MOST_OF_CONFIGURATION)
        .map_err(|error| ConnectError::file(path, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_regular_files_are_refused() {
        let files = |path: &str| TlsFiles { ca: Some(path.into()), identity: None };
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("ca.pem");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, kind) in [(pipe.to_str().unwrap(), "a pipe"), ("/dev/zero", "a device")] {
            let refused = Tls::new(&files(path), "h").err().expect("it is refused");
            assert!(refused.cause.contains(&format!("it is {kind}, not a regular file")));
        }
    }
}
