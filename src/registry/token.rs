//! Authorization of requests to a registry, as its challenge demands: with the user's password, or
//! with a token that a token service issues for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::registry_error::Error;
use super::transport::{Redirects, Request};
use crate::client_config::Credentials;

/// Largest answer of a token service, in bytes.
const MOST_OF_TOKEN: usize = 1 << 20;

/// Lifetime of a token that states none, and largest lifetime of any token, both in seconds; and
/// the time before its end from which a token is no longer used.
const USUAL_LIFE: u64 = 60;
const LONGEST_LIFE: u64 = 24 * 3600;
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// Client id that is sent to token services.
const CLIENT_ID: &str = "kiln";

/// Access to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read access.
    Pull,
    /// Read and write access.
    Push,
}

impl Access {
    /// Returns the scope that a token for this access to `repository` is requested with.
    pub(super) fn scope(self, repository: &str) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        };
        format!("repository:{repository}:{actions}")
    }
}

/// Authentication scheme that a registry demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scheme {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// Authorization of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    /// True if the authorization is new or the only possible one, so that another try would not
    /// help.
    pub(super) is_fresh: bool,
}

/// Token of a token service.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// Value of `Authorization`.
    pub(super) header: HeaderValue,
    /// Time from which it is no longer used.
    end: Instant,
}

/// Authorization state of a registry: its scheme and the tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Held until the first request is answered.
    first: Turn,
    scheme: Mutex<Option<Scheme>>,
    tokens: Mutex<BTreeMap<String, Token>>,
}

impl Tokens {
    /// Waits until the first request has been answered; returns the turn if the caller sends the
    /// first request.
    pub(super) async fn after_first(&self) -> Option<FirstTurn<'_>> {
        self.first.take().await
    }

    /// Returns the scheme that the registry demands; `None` as long as it has demanded none.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the token for a scope; `None` if there is none, or its lifetime has ended.
    pub(super) fn valid(&self, scope: &str) -> Option<Token> {
        let known = self.tokens().get(scope).cloned();
        known.filter(|token| token.end > Instant::now())
    }

    /// Keeps the token for a scope.
    pub(super) fn insert(&self, scope: String, token: Token) {
        self.tokens().insert(scope, token);
    }

    /// Drops the token for a scope.
    pub(super) fn forget(&self, scope: &str) {
        self.tokens().remove(scope);
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the scheme that the registry demands, and drops the token that it refused.
    ///
    /// # Errors
    /// When the registry demands a scheme that is not supported.
    pub(super) fn learn(
        &self,
        challenges: &[Challenge],
        access: Access,
        repository: &str,
    ) -> Result<(), Error> {
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let scheme = match bearer {
            Some(bearer) => {
                let realm = bearer.parameter("realm").filter(|realm| !realm.is_empty());
                let realm = realm.ok_or_else(|| {
                    Error::denied("it requires a token, but names no realm to get one from")
                })?;
                let service = bearer.parameter("service").map(str::to_owned);
                Scheme::Bearer { realm: realm.to_owned(), service }
            }
            None if challenges.iter().any(|challenge| challenge.scheme == "basic") => Scheme::Basic,
            None => {
                return Err(Error::denied("it requires an unknown authentication scheme"));
            }
        };
        self.forget(&access.scope(repository));
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme);
        Ok(())
    }
}

/// Turn that only the first caller gets, while the others wait for its end.
#[derive(Debug, Default)]
struct Turn {
    is_over: AtomicBool,
    held: tokio::sync::Mutex<()>,
}

/// Turn of the first caller; dropping it ends the turn.
pub(super) struct FirstTurn<'a> {
    turn: &'a Turn,
    _held: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn {
    async fn take(&self) -> Option<FirstTurn<'_>> {
        if self.is_over.load(Ordering::Acquire) {
            return None;
        }
        let held = self.held.lock().await;
        let is_over = self.is_over.load(Ordering::Acquire);
        (!is_over).then_some(FirstTurn { turn: self, _held: held })
    }
}

impl Drop for FirstTurn<'_> {
    fn drop(&mut self) {
        self.turn.is_over.store(true, Ordering::Release);
    }
}

/// Returns the request for a token: a GET with the user's password or without credentials, or a
/// POST with an identity token.
///
/// # Errors
/// When the password has characters that no header may have.
pub(super) fn token_request(
    mut url: Url,
    service: Option<&str>,
    scope: &str,
    credentials: Option<&Credentials>,
) -> Result<(Request, Option<HeaderValue>), Error> {
    let service = service.map(|service| ("service", service));
    let asked = service.into_iter().chain([("scope", scope)]);
    let identity_token = credentials.and_then(|known| known.identity_token.as_ref());
    let login = credentials.filter(|known| known.has_login());
    let (method, body, authorization) = match (identity_token, login) {
        (Some(token), _) => {
            let token = String::from_utf8_lossy(token.expose());
            let mut form = Url::parse("form:").expect("a literal");
            form.query_pairs_mut()
                .extend_pairs([("grant_type", "refresh_token"), ("client_id", CLIENT_ID)])
                .extend_pairs(asked)
                .append_pair("refresh_token", &token);
            let form = Bytes::from(form.query().unwrap_or_default().to_owned());
            let media_type = "application/x-www-form-urlencoded".to_owned();
            (Method::POST, Some((media_type, form)), None)
        }
        (None, Some(Credentials { user, password, .. })) => {
            url.query_pairs_mut().extend_pairs(asked);
            (Method::GET, None, Some(basic(user, password.expose())?))
        }
        (None, None) => {
            url.query_pairs_mut().extend_pairs(asked);
            (Method::GET, None, None)
        }
    };
    let redirects = Redirects::SameOrigin;
    let request = Request { method, url, accept: "", body, most: MOST_OF_TOKEN, redirects };
    Ok((request, authorization))
}

/// Returns the value of `Authorization` for a password.
///
/// # Errors
/// When the password has characters that no header may have.
pub(super) fn basic(user: &str, password: &[u8]) -> Result<HeaderValue, Error> {
    let pair = [user.as_bytes(), b":", password].concat();
    let value = format!("Basic {}", STANDARD.encode(pair));
    HeaderValue::try_from(value).map_err(|_| Error::denied(NO_HEADER))
}

/// Message for credentials with characters that no header may have.
pub(super) const NO_HEADER: &str = "the credentials can't be sent in a header";

/// Returns the value of `Authorization` for a token; `None` if the token has characters that no
/// header may have.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("Bearer {token}")).ok()
}

/// Parses the token in the answer of a token service; `None` if there is none.
pub(super) fn parse_token(answer: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Given {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<f64>,
    }
    let given: Given = serde_json::from_slice(answer).ok()?;
    let token = given.token.or(given.access_token).filter(|token| !token.is_empty())?;
    let life = given.expires_in.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    let life = life.map_or(USUAL_LIFE, |seconds| seconds.min(LONGEST_LIFE as f64) as u64);
    let life = Duration::from_secs(life.max(USUAL_LIFE)) - LAST_MOMENTS;
    let header = bearer(&token)?;
    Some(Token { header, end: Instant::now() + life })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::challenge::challenges;
    use crate::secret::Secret;

    #[test]
    fn token_is_asked_for_by_either_kind_of_credentials() {
        let url = || Url::parse("https://h.example/token?x=y").unwrap();
        let secret = || Secret::new(*b"S&T");
        let asked = |credentials: Option<Credentials>| {
            let (question, header) =
                token_request(url(), Some("s&v"), "repository:a:pull", credentials.as_ref())
                    .unwrap();
            let body = question.body.map(|(_, body)| String::from_utf8(body.to_vec()).unwrap());
            let header = header.map(|header| header.to_str().unwrap().to_owned());
            (question.method, question.url.to_string(), body, header)
        };
        let with_scope =
            "https://h.example/token?x=y&service=s%26v&scope=repository%3Aa%3Apull".to_owned();
        assert_eq!(asked(None), (Method::GET, with_scope.clone(), None, None));
        let password = Credentials::of_user("me".to_owned(), secret());
        let basic = "Basic bWU6UyZU".to_owned();
        assert_eq!(asked(Some(password)), (Method::GET, with_scope, None, Some(basic)));
        let form = "grant_type=refresh_token&client_id=kiln&service=s%26v&\
                    scope=repository%3Aa%3Apull&refresh_token=S%26T";
        let posted = asked(Some(Credentials::of_identity(secret())));
        assert_eq!(posted, (Method::POST, url().to_string(), Some(form.to_owned()), None));
    }

    #[test]
    fn tokens_are_read_with_their_lives() {
        let life = |answer: &str| {
            let token = parse_token(answer.as_bytes())?;
            let left = token.end - Instant::now() + LAST_MOMENTS;
            Some((token.header.to_str().unwrap().to_owned(), left.as_secs_f64().round() as u64))
        };
        let of = |token: &str, life: u64| Some((format!("Bearer {token}"), life));
        let table = [
            (r#"{"token":"a"}"#, of("a", 60)),
            (r#"{"access_token":"b","expires_in":300}"#, of("b", 300)),
            (r#"{"token":"a","access_token":"b","expires_in":5}"#, of("a", 60)),
            (r#"{"token":"a","expires_in":1e300}"#, of("a", 86400)),
            (r#"{"token":"a","expires_in":-1}"#, of("a", 60)),
            (r#"{"token":""}"#, None),
            (r#"{"token":"a\r\nX: y"}"#, None),
            (r#"{"token":3}"#, None),
            ("{}", None),
            ("", None),
        ];
        for (answer, expected) in table {
            assert_eq!(life(answer), expected, "{answer}");
        }
    }

    #[test]
    fn unusable_challenge_is_reported() {
        let learn = |header: &str| {
            let tokens = Tokens::default();
            tokens.learn(&challenges(header), Access::Pull, "a").map(|()| tokens.scheme())
        };
        assert_eq!(learn("Basic realm=x").unwrap(), Some(Scheme::Basic));
        let bearer = learn(r#"Basic realm=x, Bearer realm="https://a",service="s""#).unwrap();
        let service = Some("s".to_owned());
        assert_eq!(bearer, Some(Scheme::Bearer { realm: "https://a".to_owned(), service }));
        assert!(learn("Bearer service=s").unwrap_err().text.contains("no realm"));
        assert!(learn("Negotiate").unwrap_err().text.contains("unknown"));
        assert!(learn("").is_err());
    }
}
