//! HTTP servers of a test on the loopback device, with TLS or without: they answer with scripted
//! replies, which may be cut off, stall or never end, and record the requests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
        self.header("authorization")
    }

    /// Returns the value of a header with this name in lower case; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns `METHOD path`, without the version of the engine's API.
    pub fn call(&self) -> String {
        let path = self.path.strip_prefix("/v1.41").unwrap_or(&self.path);
        format!("{} {path}", self.method)
    }
}

/// Answer of a server to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, additional headers, body.
    Whole(u16, String, Vec<u8>),
    /// Parts of a JSON body, which are sent as chunks.
    Parts(Vec<String>),
    /// Start of a JSON body whose announced length is larger; the connection is closed.
    Cut(String),
    /// The same, without closing the connection.
    Stall(String),
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

/// Returns the answers of an engine without images.
pub fn idle_engine_reply(request: &Request) -> Reply {
    match request.path.as_str() {
        path if path.contains("/version") => {
            json(200, r#"{"Version":"0","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#)
        }
        path if path.contains("/images/json") => json(200, "[]"),
        path if path.contains("/info") => json(200, "{}"),
        _ => missing(),
    }
}

/// Returns the answer of an engine to a request for something that it does not have.
fn missing() -> Reply {
    json(404, r#"{"message":"not there"}"#)
}

/// Returns a handler that answers by the start of [`Request::call`], and everything else with a 404.
pub fn by_call(answers: Vec<(&'static str, Reply)>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let call = request.call();
        let answer = answers.iter().find(|(start, _)| call.starts_with(start));
        answer.map_or_else(missing, |(_, reply)| reply.clone())
    }
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
        let (asked, connections) = <(Arc<Mutex<Vec<Request>>>, Arc<AtomicUsize>)>::default();
        let (heard, counted) = (asked.clone(), connections.clone());
        let port = listen(move |stream| {
            counted.fetch_add(1, Ordering::Relaxed);
            match tls.clone() {
                None => serve(stream, &heard, &*handler),
                Some(tls) => {
                    let connection = ServerConnection::new(tls).unwrap();
                    serve(StreamOwned::new(connection, stream), &heard, &*handler)
                }
            };
        });
        Self { port, asked, connections }
    }

    /// Returns the address, as host:port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
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

/// Listens on a loopback port and calls `answer` with each connection, in a thread of its own. Returns
/// the port.
pub fn listen(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(connection));
        }
    });
    port
}

/// Head of an answer whose body is longer than what follows.
const LONG_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n";

/// First byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

fn serve(stream: impl Read + Write, asked: &Mutex<Vec<Request>>, handler: &Handler) -> Option<()> {
    let mut stream = BufReader::new(stream);
    // Engines try TLS first, and take an answer without TLS for the reason to do without.
    if stream.fill_buf().ok()?.first() == Some(&TLS_HANDSHAKE) {
        let refusal = b"HTTP/1.0 400 Bad Request\r\n\r\nThis is not a TLS server.\n";
        return stream.get_mut().write_all(refusal).ok();
    }
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
            Reply::Parts(parts) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunk = |part: &String| format!("{:x}\r\n{part}\r\n", part.len());
                let body: String = parts.iter().map(chunk).collect();
                let answer = format!("{head}{body}0\r\n\r\n");
                stream.get_mut().write_all(answer.as_bytes()).ok()?;
            }
            Reply::Cut(body) => {
                let answer = format!("{LONG_HEAD}{body}");
                return stream.get_mut().write_all(answer.as_bytes()).ok();
            }
            Reply::Stall(body) => {
                let answer = format!("{LONG_HEAD}{body}");
                stream.get_mut().write_all(answer.as_bytes()).ok()?;
                let _ = stream.read(&mut [0]);
                return None;
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
    let mut is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    while is_chunked {
        let mut size = String::new();
        stream.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        is_chunked = size > 0;
    }
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
