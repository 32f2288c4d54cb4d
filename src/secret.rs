//! Values that are used but never shown.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::files;

/// Largest size of a secret, in bytes: the limit of BuildKit.
const MOST_BYTES: u64 = 500 * 1024;

/// Words in names that most likely denote secrets.
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

/// Returns true if `name` most likely denotes a secret: one of its words, separated by `_` or `-`,
/// is telling.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let name = format!("_{name}_");
    TELLING.iter().any(|word| name.contains(&format!("_{word}_")))
}

/// Returns a text in which URLs have no user and password, and parameters of URLs that are most
/// likely secrets have no value. The user of an ssh URL is no secret without a password.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    hidden(text, "")
}

/// Returns the same as [`without_secrets`], with a mark in place of each user and password.
pub fn with_secrets_marked(text: &str) -> Cow<'_, str> {
    hidden(text, "***@")
}

/// Parts of names of URL parameters that are most likely secrets: tokens, signatures and passwords.
const TELLING_PARAMETERS: [&str; 16] = [
    "token",
    "key",
    "sig",
    "passw",
    "pwd",
    "passphrase",
    "secret",
    "auth",
    "cred",
    "session",
    "jwt",
    "x-amz-",
    "x-goog-",
    "sas",
    "code",
    "otp",
];

fn hidden<'a>(text: &'a str, mark: &str) -> Cow<'a, str> {
    const SCHEME_END: &str = "://";
    if !text.contains(SCHEME_END) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(SCHEME_END) {
        let (before, url) = rest.split_at(start + SCHEME_END.len());
        shown.push_str(before);
        let (url, after) = url.split_at(end_of_url(url));
        let is_secret = |end: &usize| !shown.ends_with("ssh://") || url[..*end].contains(':');
        let url = match end_of_user_info(url).filter(is_secret) {
            Some(end) => {
                shown.push_str(mark);
                &url[end..]
            }
            None => url,
        };
        hide_parameters(url, &mut shown);
        rest = after;
    }
    shown.push_str(rest);
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

/// Returns the end of the URL at the beginning of `text`: at white space, or at the scheme of
/// another URL.
fn end_of_url(text: &str) -> usize {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    match text[..end].find("://") {
        Some(next) => {
            let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            text[..next].trim_end_matches(is_of_scheme).len()
        }
        None => end,
    }
}

/// Returns the end of the user and password at the beginning of a URL that is given without its
/// scheme. Users and passwords may be written without escapes, so that they reach up to the last
/// `@` if the text before the path can't be a host alone.
fn end_of_user_info(url: &str) -> Option<usize> {
    let last = url.rfind('@')?;
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    let is_user_info = if authority.contains('@') {
        true
    } else {
        match authority.rsplit_once(':') {
            None => !authority.contains('.') && authority != "localhost",
            Some((host, port)) => {
                let is_port = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
                let is_host = host.contains(['.', '[']) || host == "localhost";
                // `host:1/path@tag` has no path after the tag.
                !(is_port && is_host) || url[last..].contains('/')
            }
        }
    };
    is_user_info.then_some(last + 1)
}

/// Appends a URL to the shown text, with a mark in place of the values of telling parameters.
fn hide_parameters(url: &str, shown: &mut String) {
    let mut rest = url;
    while let Some(start) = rest.find(['?', '&', ';', '#']) {
        let (before, parameter) = rest.split_at(start + 1);
        shown.push_str(before);
        rest = parameter;
        let Some(equals) = rest.find(['=', '?', '&', ';', '#']) else { continue };
        if !rest[equals..].starts_with('=') || !is_telling(&rest[..equals]) {
            continue;
        }
        let value = &rest[equals + 1..];
        let end = value.find(['&', ';', '#', '\'', '"', '<', '>']).unwrap_or(value.len());
        shown.push_str(&rest[..=equals]);
        shown.push_str("***");
        rest = &value[end..];
    }
    shown.push_str(rest);
}

/// Returns true if the name of a parameter most likely denotes a secret. A name with escapes counts
/// as such, since it may hide the word.
fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains('%') || TELLING_PARAMETERS.iter().any(|part| name.contains(part))
}

/// Value of a secret. Neither `Debug` nor any other implementation shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Arc<[u8]>>) -> Self {
        Self(value.into())
    }

    /// Reads the secret in a file.
    ///
    /// # Errors
    /// When the file can't be read, is no regular file, or is larger than a secret may be.
    pub fn read(path: &Path) -> io::Result<Self> {
        files::read(path, MOST_BYTES).map(Self::new)
    }

    /// Returns the value, for the code that has to use it.
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
    fn users_and_passwords_of_urls_are_hidden() {
        let table = [
            ("https://me:p@ss@git.example/app", "https://git.example/app"),
            ("https://me:p%40ss@git.example/app", "https://git.example/app"),
            ("http://user:p/w@host", "http://host"),
            ("http://user:p/w@git.example/app?x=1", "http://git.example/app?x=1"),
            ("http://user:1/w@git.example/app", "http://git.example/app"),
            ("http://a.user:1/w@git.example/app", "http://git.example/app"),
            ("http://user:p@s/w@host:80/a", "http://host:80/a"),
            ("http://user:p?w@host/a", "http://host/a"),
            ("http://user:p#w@host/a", "http://host/a"),
            ("http://user:p:w@host:80/a", "http://host:80/a"),
            ("http://tok/en==@host.example/a", "http://host.example/a"),
            ("http://token@host", "http://host"),
            ("git+https://u:p@h.example/a", "git+https://h.example/a"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("ssh://git:pass@h/a", "ssh://h/a"),
            ("at 'https://u:p@a.b/','http://v:q@c.d/' no", "at 'https://a.b/','http://c.d/' no"),
            ("p=http://u:p@h:3128 q=https://v:w@i", "p=http://h:3128 q=https://i"),
        ];
        for (text, shown) in table {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
        assert_eq!(with_secrets_marked("https://u:p@h/a"), "https://***@h/a");
    }

    #[test]
    fn telling_parameters_of_urls_are_hidden() {
        let table = [
            ("http://h/a?token=x", "http://h/a?token=***"),
            ("http://h/a?b=c&access_token=x&d=e", "http://h/a?b=c&access_token=***&d=e"),
            (
                "http://h/a?X-Amz-Signature=x&X-Amz-Date=y",
                "http://h/a?X-Amz-Signature=***&X-Amz-Date=***",
            ),
            ("https://h/a?sv=1&sig=x%2F==", "https://h/a?sv=1&sig=***"),
            ("https://h/a?PRIVATE-TOKEN=x;b=c", "https://h/a?PRIVATE-TOKEN=***;b=c"),
            ("https://h/a?%74oken=x", "https://h/a?%74oken=***"),
            ("https://h/a#access_token=x", "https://h/a#access_token=***"),
            ("https://h.example/a?password=p/w@x&c=d", "https://h.example/a?password=***&c=d"),
            ("'https://h.example/a?key=x': no", "'https://h.example/a?key=***': no"),
        ];
        for (text, shown) in table {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }

    #[test]
    fn ordinary_values_are_shown() {
        for text in [
            "git@git.example:app",
            "https://h.example/a@v1",
            "git+https://git.example/app.git@stable/1",
            "http://127.0.0.1:80/a@v1",
            "http://[::1]:80/a",
            "http://h/a?b=c&d",
            "http://h/a?token",
            "a@b c://d",
            "",
        ] {
            assert_eq!(without_secrets(text), text);
        }
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
