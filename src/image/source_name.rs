//! Names of sources, as trees and configuration files give them.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of a source: `<image>`, `<image>-plugin-<x>` or `<image>-additions-<x>`.
///
/// A name consists of ASCII letters, digits, `.`, `_` and `-`, so that it can be shown anywhere; it
/// is never a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

/// Largest number of characters of a name.
const LONGEST: usize = 200;

/// Text between the name of an image and that of a plugin.
const PLUGIN: &str = "-plugin-";

/// Text between the name of an image and that of an addition.
const ADDITIONS: &str = "-additions-";

impl SourceName {
    /// Checks a name.
    ///
    /// # Errors
    /// When the name is not valid for a source.
    pub fn new(name: &str) -> Result<Self, SourceNameError> {
        let (image, part) = split(name);
        let is_usable = name.len() <= LONGEST && is_word(image) && part.is_none_or(is_word);
        if is_usable { Ok(Self(name.to_owned())) } else { Err(SourceNameError(name.to_owned())) }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the image that the source belongs to.
    pub fn image(&self) -> &str {
        split(&self.0).0
    }

    /// Returns true if the source is a plugin of `image`.
    pub fn is_plugin_of(&self, image: &str) -> bool {
        self.is_part_of(image, PLUGIN)
    }

    /// Returns true if the source is an addition to `image`.
    pub fn is_addition_to(&self, image: &str) -> bool {
        self.is_part_of(image, ADDITIONS)
    }

    fn is_part_of(&self, image: &str, what: &str) -> bool {
        self.0.strip_prefix(image).is_some_and(|rest| rest.starts_with(what))
    }
}

/// Splits a name into that of the image and, if there is one, that of the plugin or addition.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once(PLUGIN).or_else(|| name.split_once(ADDITIONS)) {
        Some((image, part)) => (image, Some(part)),
        None => (name, None),
    }
}

/// Returns true for a word of valid characters that begins with a letter or digit.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
}

/// Error for a name that is not valid for a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNameError(String);

/// Cure of [`SourceNameError`], part of its text.
const CURE: &str = "use <image>, <image>-plugin-<x> or <image>-additions-<x>, with letters, digits, '.', '_' and '-'";

impl fmt::Display for SourceNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST_SHOWN: usize = 80;
        let shown: String =
            self.0.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect();
        let rest = if self.0.chars().nth(LONGEST_SHOWN).is_some() { "..." } else { "" };
        write!(f, "'{shown}{rest}' is not a name of a source: {CURE}")
    }
}

impl std::error::Error for SourceNameError {}

impl TryFrom<String> for SourceName {
    type Error = SourceNameError;

    fn try_from(name: String) -> Result<Self, SourceNameError> {
        Self::new(&name)
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> Self {
        name.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for SourceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SourceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_plugins_and_additions_are_taken() {
        for (name, image) in [
            ("app", "app"),
            ("etcd", "etcd"),
            ("some-base", "some-base"),
            ("app-plugin-x", "app"),
            ("app-plugin-My.Plugin_2", "app"),
            ("App-Plugin-x", "App-Plugin-x"),
            ("app-additions-x", "app"),
            ("1app", "1app"),
            ("app-plugin", "app-plugin"),
        ] {
            assert_eq!(
                SourceName::new(name).map(|name| name.image().to_owned()).as_deref(),
                Ok(image)
            );
        }
    }

    #[test]
    fn names_that_are_paths_or_no_words_are_refused() {
        let long = "a".repeat(LONGEST + 1);
        for name in [
            "",
            ".",
            "..",
            "/",
            "/etc",
            "../a",
            "a/b",
            "a/../b",
            "a..b",
            ".a",
            "-a",
            "_a",
            "a b",
            "a\n",
            "a\0",
            "a\u{1b}[2J",
            "a\u{202e}b",
            "ä",
            "a:b",
            "a\\b",
            "a$b",
            "app-plugin-",
            "app-plugin-../x",
            "app-plugin-.x",
            "app-plugin-x/../../y",
            "-plugin-x",
            "app-additions-",
            "app-additions-/x",
            "~",
            "a\r",
            &long,
        ] {
            let error = SourceName::new(name).unwrap_err().to_string();
            assert!(!error.chars().any(char::is_control), "{error}");
        }
    }
}
