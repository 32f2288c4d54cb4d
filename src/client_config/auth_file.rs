//! Files in which the clients store credentials: `config.json` of Docker, `auth.json` of Podman.
//!
//! Both have the same format, which is read here. The clients differ in the entry that they take
//! for a registry: `docker_auth` and `podman_auth` own their rules.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::credentials::Credentials;
use crate::secret::Secret;

/// File of a client: only the keys about credentials.
#[derive(Deserialize)]
pub(super) struct AuthFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default, rename = "credsStore")]
    creds_store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// Credentials for a registry as a file has them.
#[derive(Deserialize, Clone, Default)]
pub(super) struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Source of the credentials for a registry, by the rules of a client.
pub(super) enum Known<'a> {
    /// None are known.
    Nothing,
    /// Credentials that are in the file.
    Here(Credentials),
    /// Credentials that a helper has.
    Helper {
        /// Key of the file that names the helper.
        origin: &'static str,
        /// Name of the helper.
        name: &'a str,
        /// Registry to ask the helper for.
        registry: &'a str,
        /// Credentials that are in the file besides, if the client uses them.
        beside: Option<Credentials>,
    },
}

impl AuthFile {
    /// Parses a file.
    ///
    /// # Errors
    /// The reason, without any text of the file.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| cannot_parse(&error))
    }

    /// Parses a file of a former version of Docker's client, which has nothing but the entries.
    ///
    /// # Errors
    /// The reason, without any text of the file.
    pub(super) fn parse_former(text: &[u8]) -> Result<Self, String> {
        let auths = serde_json::from_slice(text).map_err(|error| cannot_parse(&error))?;
        Ok(Self { auths: Some(auths), creds_store: None, cred_helpers: None })
    }

    /// Returns the entry with this key.
    pub(super) fn entry(&self, key: &str) -> Option<Entry> {
        self.auths.as_ref()?.get(key).map(|entry| entry.clone().unwrap_or_default())
    }

    /// Returns the keys of all entries, sorted.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.auths.iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Returns the helper of a registry; an empty name says that it has none.
    pub(super) fn helper_of(&self, registry: &str) -> Option<&str> {
        self.cred_helpers.as_ref()?.get(registry).map(String::as_str)
    }

    /// Returns the helper of all registries.
    pub(super) fn store(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|name| !name.is_empty())
    }
}

fn cannot_parse(error: &serde_json::Error) -> String {
    format!("line {} can't be parsed", error.line())
}

impl Entry {
    /// Returns user and password of `auth`; `None` if it is not set or has no colon.
    ///
    /// # Errors
    /// When it is not Base64.
    pub(super) fn login(&self) -> Result<Option<(String, Secret)>, String> {
        let Some(auth) = set(self.auth.as_ref()) else { return Ok(None) };
        let text = decoded(auth).ok_or(NOT_READABLE)?;
        Ok(text.split_once(':').map(|(user, password)| {
            (user.to_owned(), Secret::new(password.trim_matches('\0').as_bytes()))
        }))
    }

    /// Returns true if `auth` is set.
    pub(super) fn has_auth(&self) -> bool {
        set(self.auth.as_ref()).is_some()
    }

    /// Returns the user and the password that are in fields of their own.
    pub(super) fn plain_login(&self) -> (String, Secret) {
        let user = self.username.clone().unwrap_or_default();
        (user, Secret::new(self.password.as_deref().unwrap_or_default().as_bytes()))
    }

    /// Returns the identity token.
    pub(super) fn identity_token(&self) -> Option<Secret> {
        set(self.identitytoken.as_ref()).map(|token| Secret::new(token.as_bytes()))
    }

    /// Returns the registry token.
    pub(super) fn registry_token(&self) -> Option<Secret> {
        set(self.registrytoken.as_ref()).map(|token| Secret::new(token.as_bytes()))
    }
}

fn decoded(auth: &str) -> Option<String> {
    let padding = DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    String::from_utf8(GeneralPurpose::new(&STANDARD, config).decode(auth).ok()?).ok()
}

/// Message for an `auth` that can't be decoded.
pub(super) const NOT_READABLE: &str = "auth is not user:password in Base64";

fn set(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}
