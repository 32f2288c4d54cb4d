//! Client of the registry at one host, and the authorization of requests to it.
//!
//! The realm of a challenge is a URL that the registry chooses, and the password is sent there. So
//! it has to be as safe as the registry: HTTPS for a registry over TLS, HTTPS or this machine for a
//! registry on this machine, and never this machine for a remote registry.

use std::time::Duration;

use reqwest::Url;

use super::notices::Notices;
use super::reach::Reach;
use super::registry_error::{Error, Kind};
use super::token::{
    Access, Authorization, NO_HEADER, Scheme, Token, Tokens, basic, bearer, parse_token,
    token_request,
};
use super::transport::{Answer, Redirects, Transport, shown_origin};
use crate::client_config::Credentials;

/// Client of the registry at one host.
#[derive(Debug)]
pub struct RegistryHost {
    /// Host and port, as in references.
    pub(super) host: String,
    /// URL that the paths of its API are relative to.
    pub(super) base: Url,
    pub(super) transport: Transport,
    pub(super) tokens: Tokens,
    notices: Notices,
}

impl RegistryHost {
    /// Creates the client, with this `timeout` for each answer, and with at most so many
    /// `connections`.
    ///
    /// # Errors
    /// When `host` is not a host.
    pub(super) fn new(
        host: &str,
        is_plain: bool,
        timeout: Duration,
        connections: usize,
        notices: Notices,
    ) -> Result<Self, Error> {
        let scheme = if is_plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|error| {
            Error::wrong(format!("'{host}' is not the host of a registry: {error}"))
        })?;
        let transport = Transport::new(base.clone(), timeout, connections);
        let tokens = Tokens::default();
        Ok(Self { host: host.to_owned(), base, transport, tokens, notices })
    }

    /// Returns the authorization of a request; `None` if none is known to be needed, or there are
    /// no credentials for it.
    ///
    /// # Errors
    /// When a token is needed and can't be fetched.
    pub(super) async fn authorization(
        &self,
        repository: &str,
        access: Access,
        credentials: Option<&Credentials>,
    ) -> Result<Option<Authorization>, Error> {
        let scheme = self.tokens.scheme();
        match (scheme, credentials) {
            (None, _) | (Some(Scheme::Basic), None) => Ok(None),
            (Some(Scheme::Basic), Some(known)) if known.has_login() => {
                let header = basic(&known.user, known.password.expose())?;
                Ok(Some(Authorization { header, is_fresh: true }))
            }
            (Some(Scheme::Basic), Some(known)) => {
                let kind =
                    if known.identity_token.is_some() { "an identity" } else { "a registry" };
                Err(Error::denied(format!(
                    "the registry {} requires a password, but its credentials are {kind} token: log in with a password or an access token",
                    self.host
                )))
            }
            (
                Some(Scheme::Bearer { .. }),
                Some(Credentials { registry_token: Some(token), .. }),
            ) => {
                let header = bearer(&String::from_utf8_lossy(token.expose()));
                let header = header.ok_or_else(|| Error::denied(NO_HEADER))?;
                Ok(Some(Authorization { header, is_fresh: true }))
            }
            (Some(Scheme::Bearer { realm, service }), credentials) => {
                let scope = access.scope(repository);
                if let Some(token) = self.tokens.valid(&scope) {
                    return Ok(Some(Authorization { header: token.header, is_fresh: false }));
                }
                let token =
                    self.fetch_token(&realm, service.as_deref(), &scope, credentials).await?;
                let header = token.header.clone();
                self.tokens.insert(scope, token);
                Ok(Some(Authorization { header, is_fresh: true }))
            }
        }
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Token, Error> {
        let url = self.realm(realm).await?;
        if credentials.is_some() && url.host_str() != self.base.host_str() {
            self.notices.add(format!(
                "the registry {} uses the token service {}, which receives the credentials",
                self.host,
                shown_origin(&url)
            ));
        }
        let (request, authorization) = token_request(url, service, scope, credentials)?;
        let answer = self.transport.ask(&request, authorization.as_ref()).await;
        let answer = answer.and_then(Answer::successful).map_err(|error| {
            let kind = match error.kind {
                Kind::Missing | Kind::Uncreated | Kind::Immutable => Kind::WrongAnswer,
                other => other,
            };
            Error::new(kind, format!("the token service of {}: {error}", self.host))
        })?;
        parse_token(&answer.body).ok_or_else(|| {
            let service = shown_origin(&request.url);
            Error::wrong(format!("the token service {service} of {} returned no token", self.host))
        })
    }

    /// Returns the URL of a token service if credentials for the registry may be sent there.
    async fn realm(&self, realm: &str) -> Result<Url, Error> {
        let url = Url::parse(realm).map_err(|error| {
            let host = &self.host;
            Error::denied(format!(
                "the registry {host} names a token service that is not a URL: {error}"
            ))
        })?;
        let named = |error: Error| {
            Error::new(
                error.kind,
                format!("the registry {} names its token service: {error}", self.host),
            )
        };
        self.transport.require_safe(&self.base, &url, Redirects::Anywhere).await.map_err(named)?;
        let is_plain_elsewhere = url.scheme() == "http"
            && self.transport.reach(&self.base).await? == Reach::Local
            && self.transport.reach(&url).await? == Reach::Remote;
        if is_plain_elsewhere {
            let (host, service) = (&self.host, shown_origin(&url));
            return Err(Error::not_safe(format!(
                "the registry {host} names the token service {service}, which Kiln refuses: it uses plain HTTP to another machine"
            )));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(host: &str, is_plain: bool) -> RegistryHost {
        RegistryHost::new(host, is_plain, Duration::from_secs(5), 1, Notices::default()).unwrap()
    }

    #[tokio::test]
    async fn realms_are_as_safe_as_their_registry() {
        let table = [
            ("203.0.113.1", false, "https://203.0.113.1/token", None),
            ("203.0.113.1", false, "https://198.51.100.1/token", None),
            ("203.0.113.1", false, "http://203.0.113.1/token", Some("plain HTTP")),
            ("203.0.113.1", false, "HTTP://198.51.100.1/token", Some("plain HTTP")),
            ("203.0.113.1", false, "https://127.0.0.1/token", Some("this machine")),
            ("203.0.113.1", false, "https://169.254.169.254/token", Some("this machine")),
            ("203.0.113.1", false, "https://me:pw@198.51.100.1/", Some("user name")),
            ("203.0.113.1", false, "file:///etc/passwd", Some("not an HTTP URL")),
            ("203.0.113.1", false, "/token", Some("is not a URL")),
            ("203.0.113.1", true, "http://198.51.100.1/token", None),
            ("203.0.113.1", true, "http://127.0.0.1/token", Some("this machine")),
            ("127.0.0.1:5000", true, "http://127.0.0.1:5001/token", None),
            ("127.0.0.1:5000", true, "https://198.51.100.1/token", None),
            ("127.0.0.1:5000", true, "http://198.51.100.1/token", Some("to another machine")),
            ("127.0.0.1:5000", false, "http://127.0.0.1:5001/token", Some("plain HTTP")),
        ];
        for (host, is_plain, realm, refused) in table {
            let found = registry(host, is_plain).realm(realm).await;
            match refused {
                None => assert_eq!(found.unwrap().as_str(), realm),
                Some(word) => {
                    let error = found.unwrap_err();
                    assert!(error.text.contains(word) && error.text.contains(host), "{error}");
                }
            }
        }
    }
}
