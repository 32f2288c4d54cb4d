//! Values that are used and never shown.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::regular_file;

/// How long a secret may be: BuildKit takes no longer ones.
const MOST_BYTES: u64 = 500 * 1024;

/// Words in the names of things that are most likely secrets.
const TELLING: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "credentials",
    "apikey",
    "private_key",
    "api_key",
];

/// Whether something of this name is most likely a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let name = format!("_{name}_");
    TELLING.iter().any(|word| name.contains(&format!("_{word}_")))
}

/// The value of a secret. It has no spelling: neither `Debug` nor anything else of it shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<Arc<[u8]>>) -> Self {
        Self(value.into())
    }

    /// The secret that a file holds.
    ///
    /// # Errors
    /// When the file can't be read, is no regular file, or holds more than a secret may.
    pub fn read(path: &Path) -> io::Result<Self> {
        regular_file::read(path, MOST_BYTES).map(Self::new)
    }

    /// The value, for the one that it is meant for.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let secret = ["GITHUB_TOKEN", "db-password", "SECRET", "AWS_SECRET_ACCESS_KEY", "API_KEY"];
        assert!(secret.into_iter().all(is_secret_name));
        let others = ["TOKENIZER", "http_proxy", "SECRETARY", "KEY", "passwords_file_mode"];
        assert!(!others.into_iter().any(is_secret_name));
    }

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let secret = Secret::new(*b"open sesame");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)).matches("sesame").count(), 0);
        assert_eq!(secret.expose(), b"open sesame");
    }

    #[test]
    fn a_file_is_read_up_to_what_a_secret_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        for (length, is_taken) in [(0, true), (500 * 1024, true), (500 * 1024 + 1, false)] {
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            assert_eq!(Secret::read(&path).is_ok(), is_taken, "{length}");
        }
    }
}
