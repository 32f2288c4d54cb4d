//! HTTP servers of a test on the loopback device, with TLS or without, which answer with scripted
//! replies and record the requests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Values by names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    /// Returns the value of `Authorization`; empty if there is none.
    pub fn authorization(&self) -> &str {
        self.headers.get("authorization").map_or("", String::as_str)
    }
}

/// Answer of a server to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, additional headers, body.
    Whole(u16, String, Vec<u8>),
    /// Start of an answer, followed by the same bytes without end.
    Endless(String, Vec<u8>),
    /// Start of an answer, followed by one byte each second.
    Drip(String),
}

/// Returns a JSON answer.
pub fn json(status: u16, body: &str) -> Reply {
    let head = "Content-Type: application/json\r\n".to_owned();
    Reply::Whole(status, head, body.as_bytes().to_vec())
}

/// Returns an answer without a body.
pub fn empty(status: u16, headers: &str) -> Reply {
    Reply::Whole(status, headers.to_owned(), Vec::new())
}

/// Start of an answer whose body ends with the connection.
pub const OPEN_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Running server.
pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server without TLS.
    pub fn plain(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(handler))
    }

    /// Starts a server with TLS, whose certificate is valid for all names of the loopback device.
    pub fn with_tls(
        authority: &Authority,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.server()), Arc::new(handler))
    }

    fn start(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, asked: Arc::default(), connections: Arc::default() };
        let (asked, connections) = (server.asked.clone(), server.connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::Relaxed);
                let (asked, handler, tls) = (asked.clone(), handler.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &asked, &*handler),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream), &asked, &*handler)
                    }
                });
            }
        });
        server
    }

    /// Returns all requests so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// Returns the number of requests with this method and with `word` in the path.
    pub fn count(&self, method: &str, word: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|r| r.method == method && r.path.contains(word)).count()
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn serve(stream: impl Read + Write, asked: &Mutex<Vec<Request>>, handler: &Handler) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read(&mut stream)?;
        let is_head = request.method == "HEAD";
        asked.lock().unwrap().push(request.clone());
        match handler(&request) {
            Reply::Whole(status, headers, body) => {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\n\r\n"
                );
                let body = if is_head { &[][..] } else { &body };
                stream.get_mut().write_all(&[head.as_bytes(), body].concat()).ok()?;
            }
            Reply::Endless(head, part) => {
                stream.get_mut().write_all(head.as_bytes()).ok()?;
                loop {
                    stream.get_mut().write_all(&part).ok()?;
                }
            }
            Reply::Drip(head) => {
                stream.get_mut().write_all(head.as_bytes()).ok()?;
                loop {
                    stream.get_mut().write_all(b" ").ok()?;
                    stream.get_mut().flush().ok()?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
        stream.get_mut().flush().ok()?;
    }
}

fn read(stream: &mut BufReader<impl Read>) -> Option<Request> {
    let mut first = String::new();
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Request { method, path, headers, body })
}

/// CA of a test.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }
}

impl Authority {
    /// Returns the certificate file by which clients trust the CA.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1", "127.0.0.2", "localhost"].map(str::to_owned);
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            );
        Arc::new(config.unwrap())
    }
}
