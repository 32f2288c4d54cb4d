//! Credentials for a registry, and the failure to find them.

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

/// Credentials for a registry: a password, tokens, or both. The user of the credentials decides
/// which of them is sent, as an engine does.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user; empty if there are only tokens.
    pub user: String,
    /// Password of the user, or an access token in its place.
    pub password: Secret,
    /// Token for which the registry's token service issues access tokens.
    pub identity_token: Option<Secret>,
    /// Access token that the registry gets as it is.
    pub registry_token: Option<Secret>,
}

impl Credentials {
    /// Returns credentials without any part.
    pub fn none() -> Self {
        Self::of_user(String::new(), Secret::new(*b""))
    }

    /// Returns the credentials of a user with a password.
    pub fn of_user(user: String, password: Secret) -> Self {
        Self { user, password, identity_token: None, registry_token: None }
    }

    /// Returns credentials that are an identity token.
    pub fn of_identity(token: Secret) -> Self {
        Self { identity_token: Some(token), ..Self::none() }
    }

    /// Returns true if there is a user or a password.
    pub fn has_login(&self) -> bool {
        !self.user.is_empty() || !self.password.expose().is_empty()
    }

    /// Returns true if there is neither a login nor a token.
    pub fn is_empty(&self) -> bool {
        !self.has_login() && self.identity_token.is_none() && self.registry_token.is_none()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// Credentials that were found, and their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCredentials {
    /// The credentials.
    pub credentials: Credentials,
    /// File that they are in, and the helper that it names, if one gave them.
    pub origin: String,
}

/// Failure to read the credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credentials for {registry} in {}: {reason}", .file.display())]
pub struct CredentialsError {
    /// Registry that the credentials are for.
    pub registry: String,
    /// File that was read.
    pub file: PathBuf,
    /// Reason of the failure.
    pub reason: Reason,
}

/// Reason why no credentials can be read, without any part of a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Reason {
    /// Reason in words.
    pub text: String,
    /// True if it may be gone at the next attempt: a helper failed.
    pub is_transient: bool,
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, is_transient: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_show_nothing_of_themselves() {
        let secret = Secret::new(*b"SECRET");
        let all = [
            Credentials::of_identity(secret.clone()),
            Credentials::of_user("me".to_owned(), secret),
        ];
        assert!(!format!("{all:?}").contains("SECRET"));
    }
}
