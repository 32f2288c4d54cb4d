//! Digests of content as registries write them. Every digest that names content is checked here
//! before it becomes part of a path, an argument or a line of output.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

/// Algorithms that registries use, each with its number of hexadecimal digits.
const ALGORITHMS: [(&str, usize); 2] = [("sha256", 64), ("sha512", 128)];

/// Digest of some content: `sha256:` or `sha512:` and lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// Error for a text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is sha256: or sha512: and all of its lower-case hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// Computes the SHA-256 digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(format!("sha256:{}", hexadecimal(&Sha256::digest(content))))
    }

    /// Returns true if `content` has this digest.
    pub fn is_of(&self, content: &[u8]) -> bool {
        match self.0.split_once(':') {
            Some(("sha512", digits)) => digits == hexadecimal(&Sha512::digest(content)),
            _ => *self == Self::of(content),
        }
    }

    /// Returns the digest as text: algorithm, colon, digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError)?;
        let is_hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_known = ALGORITHMS.contains(&(algorithm, digits.len()));
        if is_known && is_hexadecimal { Ok(Self(text.to_owned())) } else { Err(DigestError) }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_of_the_content_it_was_made_of() {
        let of_nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), of_nothing);
        assert!(Digest::of(b"a").is_of(b"a") && !Digest::of(b"a").is_of(b"b"));
        let long = format!("sha512:{}", hexadecimal(&Sha512::digest(b"a")));
        let long: Digest = long.parse().unwrap();
        assert!(long.is_of(b"a") && !long.is_of(b"b"));
    }

    #[test]
    fn text_that_is_no_whole_digest_is_refused() {
        let digits = "0".repeat(64);
        assert!(format!("sha256:{digits}").parse::<Digest>().is_ok());
        let wrong = [
            String::new(),
            digits.clone(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:{}A", &digits[1..]),
            format!("md5:{digits}"),
            format!("SHA256:{digits}"),
            format!("sha512:{digits}"),
            format!("sha256:{}/", &digits[1..]),
            format!("sha256:{}\n", &digits[1..]),
            format!("../sha256:{digits}"),
        ];
        for text in wrong {
            assert_eq!(text.parse::<Digest>(), Err(DigestError), "{text:?}");
        }
    }
}
