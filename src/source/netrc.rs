//! Users and passwords for the servers of sources, from the file that Python's requests reads:
//! `$NETRC`, else `~/.netrc` or `~/_netrc`.
//!
//! The file is read as Python's netrc reads it. A file with an error counts as none, as it does
//! for kolla-build.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::iter::Peekable;
use std::path::PathBuf;
use std::str::Chars;

use crate::files::{self, MOST_OF_CONFIGURATION};

/// User and password for a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// Name of the user.
    pub(super) user: String,
    /// Password of the user.
    pub(super) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

/// Returns the login for a host in the user's file.
pub(super) fn login_for(host: &str) -> Option<Login> {
    let text = files::read(&file()?, MOST_OF_CONFIGURATION).ok()?;
    login_in(&String::from_utf8(text).ok()?, host)
}

/// Returns the user's file: the one that `NETRC` names, else the first that exists.
fn file() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = named("NETRC") {
        return Some(file);
    }
    let home = named("HOME")?;
    [".netrc", "_netrc"].map(|name| home.join(name)).into_iter().find(|path| path.exists())
}

/// Returns the login for a host in the text of a file, or the one that it has for all other hosts.
fn login_in(text: &str, host: &str) -> Option<Login> {
    let mut entries = entries(text)?;
    entries.remove(host).or_else(|| entries.remove(DEFAULT))
}

/// Word before the login for all hosts without an entry.
const DEFAULT: &str = "default";

/// Parses the entries by host; `None` if the text has an error.
fn entries(text: &str) -> Option<BTreeMap<String, Login>> {
    let mut words = Words { text: text.chars().peekable(), at_line_end: false };
    let mut entries = BTreeMap::new();
    let mut next = words.word();
    while let Some(word) = next {
        let host = match word.as_str() {
            "machine" => words.word()?,
            DEFAULT => DEFAULT.to_owned(),
            "macdef" => {
                words.skip_macro();
                next = words.word();
                continue;
            }
            comment if comment.starts_with('#') => {
                words.skip_comment();
                next = words.word();
                continue;
            }
            _ => return None,
        };
        let (login, after) = words.login()?;
        entries.insert(host, login);
        next = after;
    }
    Some(entries)
}

/// Words of a file.
struct Words<'a> {
    text: Peekable<Chars<'a>>,
    /// True if the last word was the last of its line.
    at_line_end: bool,
}

impl Words<'_> {
    /// Returns the next word, without quotes and escapes.
    fn word(&mut self) -> Option<String> {
        while self.text.next_if(|c| c.is_whitespace()).is_some() {}
        let mut word = String::new();
        let is_quoted = self.text.next_if_eq(&'"').is_some();
        if !is_quoted && self.text.peek().is_none() {
            return None;
        }
        while let Some(c) = self.text.next() {
            match c {
                '"' if is_quoted => return Some(word),
                c if c.is_whitespace() && !is_quoted => {
                    self.at_line_end = c == '\n';
                    return Some(word);
                }
                '\\' => word.extend(self.text.next()),
                c => word.push(c),
            }
        }
        self.at_line_end = true;
        Some(word)
    }

    /// Returns the login of an entry, and the word after it.
    fn login(&mut self) -> Option<(Login, Option<String>)> {
        let mut login = Login::default();
        loop {
            let Some(word) = self.word() else { return Some((login, None)) };
            match word.as_str() {
                "login" | "user" => login.user = self.word().unwrap_or_default(),
                "account" => drop(self.word()),
                "password" => login.password = self.word().unwrap_or_default(),
                "machine" | DEFAULT | "macdef" => return Some((login, Some(word))),
                comment if comment.starts_with('#') => self.skip_comment(),
                _ => return None,
            }
        }
    }

    fn skip_comment(&mut self) {
        if !self.at_line_end {
            self.text.by_ref().find(|c| *c == '\n');
        }
    }

    /// Skips a macro, which ends with an empty line.
    fn skip_macro(&mut self) {
        let mut before = ' ';
        for c in self.text.by_ref() {
            if c == '\n' && before == '\n' {
                return;
            }
            before = c;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that Python's netrc gives.
    #[test]
    fn logins_are_read_as_python_reads_them() {
        let table = [
            ("machine h login me password s", "me:s"),
            ("machine h\n  login me\n  password s\n", "me:s"),
            ("machine h user me account a password s", "me:s"),
            ("machine other login x password y\nmachine h login me password s\n", "me:s"),
            ("machine h login a password b\nmachine h login me password s\n", "me:s"),
            ("machine other login x password y\n", "-"),
            ("default login me password s\n", "me:s"),
            ("machine h login me password s default login x password y", "me:s"),
            ("# of the site\nmachine h login me # mine\n password s\n", "me:s"),
            ("#\nmachine h login me password s", "me:s"),
            ("machine h login me password #s", "me:#s"),
            ("machine h login me password \"a b\"", "me:a b"),
            ("machine h login me password a\\ b", "me:a b"),
            ("macdef init\ncd /x\n\nmachine h login me password s", "me:s"),
            ("machine h password s", ":s"),
            ("machine h login me passwort s", "-"),
            ("login me password s", "-"),
            ("machine hh login me password s", "-"),
            ("", "-"),
        ];
        for (text, expected) in table {
            let found = login_in(text, "h");
            let shown = found.map_or("-".to_owned(), |l| format!("{}:{}", l.user, l.password));
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn login_shows_nothing_of_itself() {
        let login = login_in("machine h login me password SECRET", "h");
        assert!(!format!("{login:?}").contains("SECRET"));
    }
}
