//! Registry with faults or habits: a real one behind a proxy of the test, which may answer in the
//! registry's place or close the connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use super::http;
use super::registry::Registry;

/// Request to the registry; its body is still to come.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Value of `Authorization`; empty if there is none.
    pub authorization: String,
}

impl Asked {
    /// Returns the repository of the request, and the path in it; `None` if it is about none.
    pub fn place(&self) -> Option<(&str, &str)> {
        let path = self.path.split('?').next()?.strip_prefix("/v2/")?;
        let parts = ["/manifests/", "/blobs/"].map(|part| path.find(part));
        let end = parts.into_iter().flatten().min()?;
        Some((&path[..end], &path[end + 1..]))
    }

    /// Returns true if `word` is in the path, which a space ends.
    pub fn has_in_path(&self, word: &str) -> bool {
        format!("{} ", self.path).contains(word)
    }

    /// Returns true for a request that pushes.
    pub fn is_push(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// Misbehaviour in place of the registry's answer.
#[derive(Debug, Clone)]
pub enum Misdeed {
    /// Answers with this status, these headers and this body.
    Answer(u16, String, String),
    /// Reads a part of the request's body, if it has one, and closes the connection.
    Cut,
}

/// Returns an answer with this status, additional headers, and body.
pub fn answer(status: u16, headers: impl Into<String>, body: impl Into<String>) -> Misdeed {
    Misdeed::Answer(status, headers.into(), body.into())
}

/// Returns an answer with an error in the format of registries.
pub fn refusal(status: u16, code: &str, message: &str) -> Misdeed {
    let error = serde_json::json!({ "code": code, "message": message });
    answer(status, "", serde_json::json!({ "errors": [error] }).to_string())
}

type Habit = dyn Fn(&Asked) -> Option<Misdeed> + Send + Sync;

/// Registry behind a proxy.
pub struct RegistryProxy {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _behind: Registry,
}

impl RegistryProxy {
    /// Starts a registry whose answers are those of `habit`, where it has one. `habit` gets each
    /// request after it was recorded.
    pub fn new(habit: impl Fn(&Asked) -> Option<Misdeed> + Send + Sync + 'static) -> Self {
        let behind = Registry::open();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (heard, real, habit) = (asked.clone(), behind.address.clone(), Arc::new(habit));
        let port = http::listen(move |connection| {
            serve(&connection, &real, &heard, &*habit);
        });
        Self { address: format!("127.0.0.1:{port}"), asked, _behind: behind }
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    /// Returns the number of requests that were begun with this method and with `word` in their
    /// path, which a space ends.
    pub fn was_asked(&self, method: &str, word: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.method == method && asked.has_in_path(word)).count()
    }
}

/// Serves one request, the only one of its connection.
fn serve(
    connection: &TcpStream,
    real: &str,
    heard: &Mutex<Vec<Asked>>,
    habit: &Habit,
) -> Option<()> {
    let mut reader = BufReader::new(connection);
    // Engines try TLS first.
    if reader.fill_buf().ok()?.first()? == &0x16 {
        return connection.shutdown(Shutdown::Both).ok();
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        reader.read_until(b'\n', &mut head).ok().filter(|read| *read > 0)?;
    }
    let head = String::from_utf8(head).ok()?;
    let (first, headers) = head.split_once("\r\n")?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let authorization = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
    });
    let asked = Asked { method, path, authorization: authorization.unwrap_or_default() };
    heard.lock().unwrap().push(asked.clone());
    let mut writer = connection;
    match habit(&asked) {
        Some(Misdeed::Answer(status, more, body)) => {
            let length = body.len();
            let body = if asked.method == "HEAD" { "" } else { &body };
            let answer = format!(
                "HTTP/1.1 {status} Status\r\n{more}Content-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            writer.write_all(answer.as_bytes()).ok()?;
            // A client that is still sending gets the answer all the same.
            connection.shutdown(Shutdown::Write).ok()?;
            std::io::copy(&mut reader, &mut std::io::sink()).ok()?;
        }
        Some(Misdeed::Cut) => {
            let _ = reader.read(&mut [0; 64]);
            connection.shutdown(Shutdown::Both).ok()?;
        }
        None => {
            let mut behind = TcpStream::connect(real).ok()?;
            let head = format!("{first}\r\nConnection: close\r\n{headers}");
            behind.write_all(head.as_bytes()).ok()?;
            behind.write_all(reader.buffer()).ok()?;
            let (mut from, mut to) = (connection.try_clone().ok()?, behind.try_clone().ok()?);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::io::copy(&mut behind, &mut writer).ok()?;
            connection.shutdown(Shutdown::Both).ok()?;
        }
    }
    Some(())
}
