//! Connections to an engine, whatever they go over: a socket, the network with or without TLS, or
//! ssh. Bollard's requests come here.
//!
//! Whatever fails on the way is told as a [`Failure`]: a cause and what to do about it.

mod failure;
mod ssh;
mod tls;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::{Address, Endpoint};

pub use failure::Failure;

/// What bytes go through to an engine and come back.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type BoxedStream = Box<dyn Stream>;

impl Connection for BoxedStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// The body of bollard's requests, which it has no name for.
type Body = <BollardRequest as HasBody>::Body;

trait HasBody {
    type Body;
}

impl<B> HasBody for Request<B> {
    type Body = B;
}

/// Connections to one engine, kept and used again where that is possible.
#[derive(Clone)]
pub struct Connections {
    endpoint: Arc<Endpoint>,
    client: Client<Connector, Body>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Connections {
    /// Connections to `endpoint`; none is opened yet.
    ///
    /// # Errors
    /// When a file that TLS needs can't be used.
    pub fn to(endpoint: Endpoint) -> Result<Self, Failure> {
        let endpoint = Arc::new(endpoint);
        let tls = match (&endpoint.address, &endpoint.tls) {
            (Address::Tcp { host, .. }, Some(files)) => Some(tls::Tls::new(files, host)?),
            _ => None,
        };
        let connector = Connector { endpoint: endpoint.clone(), tls };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { endpoint, client })
    }

    /// Bollard's client over these connections, which waits for an answer for `timeout` at most.
    ///
    /// # Errors
    /// Those of bollard.
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

    /// The answer to a request of bollard's.
    async fn answer(
        self,
        request: BollardRequest,
    ) -> Result<Response<Incoming>, bollard::errors::Error> {
        self.client.request(request).await.map_err(|error| match Failure::behind(&error) {
            Some(failure) => io::Error::other(failure).into(),
            None => error.into(),
        })
    }

    /// The host that requests are addressed to. Behind a socket, any will do.
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
    tls: Option<tls::Tls>,
}

impl Connector {
    async fn open(self) -> Result<BoxedStream, Failure> {
        match &self.endpoint.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Ok(Box::new(stream.map_err(|error| Failure::of_socket(path, &error))?))
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| Failure::of_network(&error))?;
                stream.set_nodelay(true).map_err(|error| Failure::of_network(&error))?;
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
    type Response = TokioIo<BoxedStream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async { connector.open().await.map(TokioIo::new) })
    }
}
