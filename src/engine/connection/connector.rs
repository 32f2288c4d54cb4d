//! Connections to one engine, kept and reused.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::body::Incoming;
use hyper::header::UPGRADE;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::connect_error::ConnectError;
use super::meter::{Meter, Metered, Records};
use super::tls_refusal::LastTlsError;
use super::{client_tls, ssh};
use crate::client_config::endpoint::{Address, Endpoint};
use crate::diagnostic::with_causes;
use crate::engine::EngineError;

/// Byte stream to an engine and back.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type BoxedStream = Box<dyn Stream>;

impl Connection for Metered<BoxedStream> {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.meter())
    }
}

/// Body of bollard's requests. Bollard does not export the type.
type Body = <BollardRequest as HasBody>::Body;

/// Gives access to the type of a request's body.
pub trait HasBody {
    /// Type of the body.
    type Body;
}

impl<B> HasBody for Request<B> {
    type Body = B;
}

/// Connections to one engine, kept and reused where possible.
#[derive(Clone)]
pub struct Connections {
    endpoint: Arc<Endpoint>,
    client: Client<Connector, Body>,
    refusal: LastTlsError,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Connections {
    /// Creates the connections to `endpoint`, without opening one.
    ///
    /// # Errors
    /// When a file that TLS needs can't be used.
    pub fn to(endpoint: Endpoint) -> Result<Self, ConnectError> {
        let endpoint = Arc::new(endpoint);
        let tls = match (&endpoint.address, &endpoint.tls) {
            (Address::Tcp { host, .. }, Some(files)) => Some(client_tls::Tls::new(files, host)?),
            _ => None,
        };
        let refusal = LastTlsError::default();
        let connector = Connector { endpoint: endpoint.clone(), tls, refusal: refusal.clone() };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { endpoint, client, refusal })
    }

    /// Returns bollard's client over these connections, which waits at most `timeout` for an
    /// answer.
    ///
    /// # Errors
    /// Returns bollard's error if it can't create the client.
    pub fn docker(&self, timeout: Duration) -> Result<Docker, bollard::errors::Error> {
        let address = format!("http://{}", self.authority());
        let connections = self.clone();
        Docker::connect_with_custom_transport(
            move |request| connections.clone().answer(request),
            Some(address),
            timeout.as_secs(),
            API_DEFAULT_VERSION,
        )
    }

    /// Sends a request of bollard's and returns the answer.
    ///
    /// For a build, bollard also opens a session of its own, without secrets and agents, and
    /// continues without it if that fails. So it is refused here.
    async fn answer(
        self,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, bollard::errors::Error> {
        if request.headers().contains_key(UPGRADE) {
            let reason = "sessions are not bollard's to open";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason).into());
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let records = request.extensions_mut().remove::<Records>();
        let started = Instant::now();
        let response = self.client.request(request).await;
        let status = response.as_ref().ok().map(|response| response.status().as_u16());
        self.trace(&method, &path, status, started.elapsed());
        let response = response.map_err(|error| match self.connect_error(&error) {
            Some(failure) => bollard::errors::Error::from(io::Error::other(failure)),
            None => error.into(),
        })?;
        if let Some(meter) = response.extensions().get::<Meter>() {
            meter.expect(&path, response.status(), records.as_ref());
        }
        Ok(response)
    }

    /// Requests a connection for another protocol, which the request names.
    ///
    /// # Errors
    /// When the engine can't be asked, or refuses.
    pub async fn upgraded(
        &self,
        path: &str,
        mut request: Request<()>,
    ) -> Result<Upgraded, EngineError> {
        let uri = format!("http://{}{path}", self.authority());
        *request.uri_mut() = uri.parse().expect("a host and a path");
        let request = request.map(|()| bollard::body_full(bytes::Bytes::new()));
        let started = Instant::now();
        let response = self.client.request(request).await.map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        self.trace(&Method::POST, path, Some(status), started.elapsed());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            return Err(EngineError::Refused(format!("{path} was answered with {status}")));
        }
        if let Some(meter) = response.extensions().get::<Meter>() {
            meter.lift();
        }
        hyper::upgrade::on(response).await.map_err(|error| self.broken(&error))
    }

    /// Traces a request: its method, host and path, and the status of the answer; `None` if there is
    /// none. The query, the headers and the bodies may contain secrets.
    fn trace(&self, method: &Method, path: &str, status: Option<u16>, took: Duration) {
        let (host, milliseconds) = (self.authority(), took.as_millis());
        tracing::debug!(target: "kiln::engine", %method, host, path, status, milliseconds);
    }

    /// Returns the failure behind a failed request: the one in its error, or a stored refusal.
    fn connect_error(&self, error: &(dyn std::error::Error + 'static)) -> Option<ConnectError> {
        let refusal = self.refusal.take();
        ConnectError::from_source(error).or(refusal)
    }

    /// Returns the error of a connection that can't be used any more.
    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> EngineError {
        let known = self.connect_error(error).map(|failure| failure.cause);
        EngineError::Broken(known.unwrap_or_else(|| with_causes(error)))
    }

    /// Returns the host and port for requests. With a socket or ssh, any host is accepted.
    fn authority(&self) -> String {
        match &self.endpoint.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) | Address::Ssh(_) => "localhost".to_owned(),
        }
    }
}

/// Opens connections.
#[derive(Clone)]
struct Connector {
    endpoint: Arc<Endpoint>,
    tls: Option<client_tls::Tls>,
    refusal: LastTlsError,
}

impl Connector {
    async fn open(self) -> Result<BoxedStream, ConnectError> {
        match &self.endpoint.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Ok(Box::new(stream.map_err(|error| ConnectError::socket(path, &error))?))
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| ConnectError::network(&error))?;
                stream.set_nodelay(true).map_err(|error| ConnectError::network(&error))?;
                match &self.tls {
                    Some(tls) => Ok(Box::new(tls.over(stream).await?)),
                    None => Ok(Box::new(stream)),
                }
            }
            Address::Ssh(target) => Ok(Box::new(ssh::SshStream::open(target)?)),
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Metered<BoxedStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        let refusal = self.refusal.clone();
        Box::pin(async {
            let stream = connector.open().await?;
            Ok(TokioIo::new(Metered::new(stream, refusal)))
        })
    }
}
