//! Requests and answers over HTTP: selects the client for each host, follows redirects within
//! limits, and limits the time and size of an answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode, Url, Version};
use serde::Deserialize;

use super::answer_kind::{Purpose, kind_of_answer};
use super::challenge::{Challenge, challenges};
use super::connection_limit::{ConnectionLimit, InProgress, LONGEST_IDLE};
use super::reach::{Addresses, Reach};
use super::registry_error::{Error, Kind};
use crate::diagnostic::with_causes;
use crate::tls;

/// Largest number of redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// Largest answer with an error, and largest part of its text in a message, both in bytes.
const MOST_OF_ERROR: usize = 64 << 10;
const MOST_OF_WORDS: usize = 500;

/// Largest list of headers over HTTP/2, in bytes; hyper itself limits those over HTTP/1.
const MOST_OF_HEADERS: u32 = 256 << 10;

/// Environment variables that name proxies.
const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Request to a registry or a token service.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Value of `Accept`; empty for none.
    pub(super) accept: &'static str,
    /// Media type and content of the request's body.
    pub(super) body: Option<(String, Bytes)>,
    /// Largest answer, in bytes.
    pub(super) most: usize,
    /// Redirects that are followed.
    pub(super) redirects: Redirects,
}

/// Rule for following redirects. Credentials are never sent to another origin than the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirects {
    /// To any host that is as safe.
    Anywhere,
    /// Within the same scheme, host and port.
    SameOrigin,
}

/// Answer with any status.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// URL that it comes from.
    url: Url,
    method: Method,
}

/// HTTP clients for a registry and for the hosts that it names.
#[derive(Debug)]
pub(super) struct Transport {
    base: Url,
    timeout: Duration,
    /// Largest number of open connections to each host.
    connections: usize,
    clients: Mutex<BTreeMap<String, Host>>,
}

/// Client for one host.
#[derive(Debug, Clone)]
struct Host {
    client: Client,
    limit: ConnectionLimit,
    reach: Reach,
}

impl Transport {
    /// Creates the clients for the registry at `base`, with this `timeout` for each answer, and with
    /// at most so many `connections` to each host.
    pub(super) fn new(base: Url, timeout: Duration, connections: usize) -> Self {
        Self { base, timeout, connections, clients: Mutex::default() }
    }

    /// Sends a request and follows redirects.
    ///
    /// # Errors
    /// When no complete answer arrives, or a redirect is refused.
    pub(super) async fn ask(
        &self,
        question: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        match tokio::time::timeout(self.timeout, self.follow(question, authorization)).await {
            Ok(answer) => answer,
            Err(_) => {
                let (host, seconds) = (shown_origin(&question.url), self.timeout.as_secs());
                let text = format!("{host} gave no complete answer within {seconds} s (--timeout)");
                Err(Error::out_of_reach(text))
            }
        }
    }

    async fn follow(
        &self,
        question: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let mut url = question.url.clone();
        let mut authorization = authorization;
        for _ in 0..=MOST_REDIRECTS {
            let (response, in_progress) = self.send(question, &url, authorization).await?;
            let Some(next) = redirect(&response)? else {
                let is_last = is_last_of_connection(&response);
                let answer = read(response, question, url).await;
                if is_last || answer.is_err() {
                    in_progress.connection_closed();
                }
                return answer;
            };
            drop(in_progress);
            self.require_safe(&url, &next, question.redirects).await?;
            if next.origin() != url.origin() {
                authorization = None;
            }
            url = next;
        }
        let host = shown_origin(&question.url);
        Err(Error::wrong(format!("{host} redirects more than {MOST_REDIRECTS} times")))
    }

    async fn send(
        &self,
        question: &Request,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Response, InProgress), Error> {
        let Host { client, limit, .. } = self.client(url).await?;
        let in_progress = limit.request().await;
        let mut request = client.request(question.method.clone(), url.clone());
        if !question.accept.is_empty() {
            request = request.header(ACCEPT, question.accept);
        }
        if let Some(value) = authorization {
            let mut value = value.clone();
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some((media_type, content)) = &question.body {
            request = request.header(CONTENT_TYPE, media_type).body(content.clone());
        }
        let started = Instant::now();
        let sent = request.send().await;
        trace_request(&question.method, url, &sent, started.elapsed());
        let sent = sent.map_err(|error| {
            if error.is_connect() {
                // The host's name may resolve to another address by now.
                self.clients().remove(&key(url));
            } else {
                in_progress.connection_closed();
            }
            broken(url, error)
        });
        Ok((sent?, in_progress))
    }

    /// Checks that a redirect or realm leads to a URL that is as safe as the previous one and that
    /// the registry may name.
    ///
    /// # Errors
    /// When the URL is refused, or its host can't be resolved.
    pub(super) async fn require_safe(
        &self,
        from: &Url,
        to: &Url,
        redirects: Redirects,
    ) -> Result<(), Error> {
        let refuse = |reason: &str| {
            let (from, to) = (shown_origin(from), shown_origin(to));
            Err(Error::not_safe(format!("{from} redirects to {to}, which Kiln refuses: {reason}")))
        };
        if !matches!(to.scheme(), "http" | "https") || to.host_str().is_none() {
            return refuse("it is not an HTTP URL");
        }
        if !to.username().is_empty() || to.password().is_some() {
            return refuse("the URL contains a user name");
        }
        if to.scheme() == "http" && from.scheme() == "https" {
            return refuse("it is plain HTTP, but the redirecting URL is not");
        }
        if redirects == Redirects::SameOrigin && from.origin() != to.origin() {
            return refuse("this request must not leave its host");
        }
        if self.reach(to).await? == Reach::Local && self.reach(&self.base).await? == Reach::Remote {
            return refuse("it is an address of this machine, but the registry is on another one");
        }
        Ok(())
    }

    /// Returns the class of the addresses of a URL's host.
    ///
    /// # Errors
    /// When the host's name can't be resolved.
    pub(super) async fn reach(&self, url: &Url) -> Result<Reach, Error> {
        Ok(self.client(url).await?.reach)
    }

    /// Returns the client for the host of a URL.
    async fn client(&self, url: &Url) -> Result<Host, Error> {
        if let Some(known) = self.clients().get(&key(url)) {
            return Ok(known.clone());
        }
        let addresses = match Addresses::of(url).await {
            Ok(addresses) => addresses,
            // The proxy may be able to resolve the name.
            Err(_) if has_proxy() => Addresses { reach: Reach::Remote, found: Vec::new() },
            Err(error) => {
                let host = shown_origin(url);
                return Err(Error::out_of_reach(format!("{host} can't be resolved: {error}")));
            }
        };
        let mut clients = self.clients();
        if let Some(known) = clients.get(&key(url)) {
            return Ok(known.clone());
        }
        let limit = ConnectionLimit::new(self.connections);
        let client = self.build(url, &addresses, &limit).map_err(|error| {
            Error::out_of_reach(format!("can't create an HTTP client: {}", with_causes(&error)))
        })?;
        let host = Host { client, limit, reach: addresses.reach };
        clients.insert(key(url), host.clone());
        Ok(host)
    }

    fn build(
        &self,
        url: &Url,
        addresses: &Addresses,
        limit: &ConnectionLimit,
    ) -> reqwest::Result<Client> {
        tls::install_provider();
        let mut builder = Client::builder()
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.timeout)
            .connector_layer(limit.clone())
            .pool_max_idle_per_host(limit.most())
            .pool_idle_timeout(LONGEST_IDLE)
            .http2_max_header_list_size(MOST_OF_HEADERS);
        if addresses.reach == Reach::Local {
            builder = builder.no_proxy();
        }
        if !addresses.found.is_empty() {
            let host = url.host_str().unwrap_or_default();
            builder = builder.resolve_to_addrs(host, &addresses.found);
        }
        builder.build()
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0))
}

fn has_proxy() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    PROXY_VARIABLES.iter().any(|name| is_set(name) || is_set(&name.to_ascii_lowercase()))
}

/// Returns scheme, host and port of a URL, for messages: path and query may contain secrets.
pub(super) fn shown_origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn broken(url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    Error::out_of_reach(format!("{}: {}", shown_origin(url), with_causes(&error)))
}

/// Traces a request: its method, host and path, and the status of the answer. The query, the
/// headers and the bodies may contain secrets.
fn trace_request(
    method: &Method,
    url: &Url,
    sent: &Result<Response, reqwest::Error>,
    took: Duration,
) {
    let (host, path, milliseconds) = (shown_origin(url), url.path(), took.as_millis());
    match sent {
        Ok(response) => {
            let status = response.status().as_u16();
            tracing::debug!(target: "kiln::registry", %method, host, path, status, milliseconds);
        }
        Err(error) => {
            let error = if error.is_connect() { "not connected" } else { "no answer" };
            tracing::debug!(target: "kiln::registry", %method, host, path, error, milliseconds);
        }
    }
}

/// Returns true if the server closes the connection after this answer.
fn is_last_of_connection(response: &Response) -> bool {
    let says_close = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    response.version() <= Version::HTTP_10
        || response.headers().get(CONNECTION).is_some_and(says_close)
}

/// Returns the target of a redirect; `None` if the answer is not one.
fn redirect(response: &Response) -> Result<Option<Url>, Error> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !is_redirect {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| response.url().join(location).ok());
    next.map(Some).ok_or_else(|| {
        Error::wrong(format!("{} redirects without a location", shown_origin(response.url())))
    })
}

async fn read(mut response: Response, question: &Request, url: Url) -> Result<Answer, Error> {
    let status = response.status();
    let is_wanted = status.is_success();
    let most = if is_wanted { question.most } else { MOST_OF_ERROR };
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| broken(&url, error))? {
        if body.len() + part.len() <= most {
            body.extend_from_slice(&part);
        } else if is_wanted {
            let host = shown_origin(&url);
            return Err(Error::wrong(format!("{host} sent an answer of more than {most} bytes")));
        } else {
            body.extend_from_slice(&part[..most - body.len()]);
            break;
        }
    }
    let headers = response.headers().clone();
    Ok(Answer { status, headers, body, url, method: question.method.clone() })
}

/// Body of an error in the format of registries.
#[derive(Deserialize, Default)]
struct Envelope {
    #[serde(default)]
    errors: Vec<RegistryError>,
}

#[derive(Deserialize)]
struct RegistryError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Answer {
    /// Returns true if the answer comes from the origin of `url`, and not from one that a redirect
    /// led to.
    pub(super) fn is_from(&self, url: &Url) -> bool {
        self.url.origin() == url.origin()
    }

    /// Returns the challenges of an answer that demands an authorization.
    pub(super) fn challenges(&self) -> Vec<Challenge> {
        let headers = self.headers.get_all(WWW_AUTHENTICATE).iter();
        headers.filter_map(|value| value.to_str().ok()).flat_map(challenges).collect()
    }

    /// Returns the value of a header as text; `None` if it is missing or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the answer if its status is a success.
    ///
    /// # Errors
    /// When the status is any other; the error's kind follows the meaning of the answer.
    pub(super) fn successful(self) -> Result<Self, Error> {
        if self.status.is_success() { Ok(self) } else { Err(self.error()) }
    }

    /// Returns the error for an answer that is not a success.
    pub(super) fn error(&self) -> Error {
        let errors = serde_json::from_slice::<Envelope>(&self.body).unwrap_or_default().errors;
        let said = errors.iter().map(|error| match (&*error.code, &*error.message) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{}: {message}", code.to_lowercase()),
        });
        let said = said.collect::<Vec<_>>().join("; ");
        let is_read = matches!(self.method, Method::GET | Method::HEAD);
        let purpose = if is_read { Purpose::Read } else { Purpose::Write };
        let kind = match kind_of_answer(purpose, self.status.as_u16(), &said) {
            Some(Kind::Busy { .. }) => Kind::Busy { pause: self.pause(SystemTime::now()) },
            Some(kind) => kind,
            None => Kind::WrongAnswer,
        };
        let said = cut(&said);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let (host, path) = (shown_origin(&self.url), self.url.path());
        Error::new(kind, format!("{} {host}{path}: {}{said}", self.method, self.status))
    }

    /// Returns the pause in the `Retry-After` header, in seconds or up to a date; `None` if there
    /// is none.
    fn pause(&self, now: SystemTime) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        let now = Timestamp::try_from(now).ok()?;
        Duration::try_from(date.duration_since(now)).ok().or(Some(Duration::ZERO))
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MOST_OF_WORDS {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(MOST_OF_WORDS)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, retry_after: &str) -> Answer {
        let mut headers = HeaderMap::new();
        if !retry_after.is_empty() {
            headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.as_bytes().to_vec(),
            url: Url::parse("https://h.example/v2/a/manifests/t?token=SECRET").unwrap(),
            method: Method::GET,
        }
    }

    #[test]
    fn errors_are_classified() {
        let json = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"why"}}]}}"#);
        let busy = Kind::Busy { pause: None };
        let table = [
            (404, String::new(), Kind::Missing),
            (400, json("NAME_UNKNOWN"), Kind::Missing),
            (401, json("UNAUTHORIZED"), Kind::Denied),
            (403, "no JSON".to_owned(), Kind::Denied),
            (400, json("DENIED"), Kind::Denied),
            (429, String::new(), busy),
            (403, json("TOOMANYREQUESTS"), busy),
            (500, json("DENIED"), busy),
            (503, String::new(), busy),
            (400, json("MANIFEST_INVALID"), Kind::WrongAnswer),
            (418, "{}".to_owned(), Kind::WrongAnswer),
        ];
        for (status, body, kind) in table {
            let error = answer(status, &body, "").error();
            assert_eq!(error.kind, kind, "{status} {body}");
            assert!(error.text.contains(&status.to_string()), "{error}");
            assert!(!error.text.contains("SECRET"), "{error}");
        }
        let told = answer(401, &json("DENIED"), "").error().text;
        let expected = "GET https://h.example/v2/a/manifests/t: 401 Unauthorized: denied: why";
        assert_eq!(told, expected);
        let long = answer(400, &json(&"é".repeat(10_000)), "").error();
        assert!(long.text.len() < 700, "{}", long.text.len());
    }

    #[test]
    fn pauses_are_seconds_or_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let pause = |text: &str| answer(503, "", text).pause(now).map(|pause| pause.as_secs());
        assert_eq!(pause("7"), Some(7));
        assert_eq!(pause("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0));
        assert_eq!(pause("99999999999"), Some(99_999_999_999));
        for none in ["", "soon", "-1", "1.5", "99999999999999999999999999"] {
            assert_eq!(pause(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn redirects_to_refused_addresses_fail() {
        use Redirects::{Anywhere, SameOrigin};
        let table = [
            ("https://203.0.113.1", "https://198.51.100.1/x", Anywhere, None),
            ("https://203.0.113.1", "https://198.51.100.1/x", SameOrigin, Some("leave its host")),
            (
                "https://203.0.113.1",
                "https://203.0.113.1:444/x",
                SameOrigin,
                Some("leave its host"),
            ),
            ("https://203.0.113.1", "https://203.0.113.1/x", SameOrigin, None),
            ("https://203.0.113.1", "http://203.0.113.1/x", Anywhere, Some("plain HTTP")),
            ("https://203.0.113.1", "http://198.51.100.1/x", Anywhere, Some("plain HTTP")),
            ("https://203.0.113.1", "ftp://198.51.100.1/x", Anywhere, Some("not an HTTP URL")),
            ("https://203.0.113.1", "data:text/plain,x", Anywhere, Some("not an HTTP URL")),
            ("https://203.0.113.1", "https://me@198.51.100.1/", Anywhere, Some("user name")),
            ("https://203.0.113.1", "https://:p@198.51.100.1/", Anywhere, Some("user name")),
            ("https://203.0.113.1", "https://127.0.0.1/x", Anywhere, Some("this machine")),
            ("https://203.0.113.1", "https://127.1/x", Anywhere, Some("this machine")),
            ("https://203.0.113.1", "https://localhost/x", Anywhere, Some("this machine")),
            ("https://203.0.113.1", "https://[::1]/x", Anywhere, Some("this machine")),
            ("https://203.0.113.1", "https://169.254.169.254/x", Anywhere, Some("this machine")),
            ("http://203.0.113.1", "http://169.254.169.254/x", Anywhere, Some("this machine")),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/x", Anywhere, None),
            ("https://127.0.0.1:5000", "https://localhost:5001/x", Anywhere, None),
        ];
        for (from, to, redirects, refused) in table {
            let from = Url::parse(from).unwrap();
            let transport = Transport::new(from.clone(), Duration::from_secs(5), 1);
            let found = transport.require_safe(&from, &Url::parse(to).unwrap(), redirects).await;
            match refused {
                None => assert_eq!(found, Ok(()), "{to}"),
                Some(word) => {
                    let error = found.unwrap_err();
                    assert_eq!(error.kind, Kind::Unsafe);
                    assert!(error.text.contains(word), "{error}");
                }
            }
        }
    }
}
