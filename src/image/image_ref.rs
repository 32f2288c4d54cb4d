//! References by which engines and registries know an image, with the rules of the distribution
//! specification for each of their parts.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Reason why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{reference}' is not an image reference: {reason}")]
pub struct ReferenceError {
    /// Rejected text.
    pub reference: String,
    /// Rule that it breaks.
    pub reason: &'static str,
}

/// Reference as the distribution specification writes it: `[registry/]repository[:tag][@digest]`.
///
/// Two references are equal if all their parts are; a missing tag (without a digest) is the tag
/// `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageRef {
    /// Returns the registry's host and port, if the reference names one.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// Returns the path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; `latest` if neither tag nor digest is given, `None` if only a digest is.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the reference has one.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Returns the same reference in another repository of another registry, given as host and port.
    #[must_use]
    pub(super) fn at(&self, registry: Option<String>, repository: String) -> Self {
        Self { registry, repository, ..self.clone() }
    }

    /// Returns registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        match &self.registry {
            Some(registry) => format!("{registry}/{}", self.repository),
            None => self.repository.clone(),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refuse = |reason| Err(ReferenceError { reference: text.to_owned(), reason });
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, repository) = match rest.split_once('/') {
            Some((host, path)) if names_registry(host) => (Some(host), path),
            _ => (None, rest),
        };
        // Engines take a host with an underscore for a component of the repository.
        if registry.is_some_and(|host| !is_registry(host) && !is_path_component(host)) {
            return refuse(
                "a registry is a host, or an IPv6 address in brackets, with a port up to 65535",
            );
        }
        if repository.is_empty() {
            return refuse("it has no repository");
        }
        if !repository.split('/').all(is_path_component) {
            return refuse(
                "a repository is lower-case letters and digits, with one '.', '_' or '__', or hyphens, \
                 between them",
            );
        }
        if length_of_name(registry, repository) > MOST_OF_NAME {
            return refuse("registry and repository have more than 255 characters");
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return refuse(
                "a tag is up to 128 letters, digits, '_', '.', '-', and starts with none of the last two",
            );
        }
        if digest.is_some_and(|digest| !is_reference_digest(digest)) {
            return refuse("a digest is an algorithm, a colon, and at least 32 hexadecimal digits");
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Ok(Self {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// Largest number of characters of a name, including its registry, that engines accept.
const MOST_OF_NAME: usize = 255;

/// Registry and namespace that an engine adds to a name without one.
const IMPLIED_REGISTRY: &str = "docker.io/";
const IMPLIED_NAMESPACE: &str = "library/";

/// Returns the number of characters of a name as an engine counts them, including a registry and a
/// namespace that it adds.
fn length_of_name(registry: Option<&str>, repository: &str) -> usize {
    let before = match registry {
        Some(registry) => registry.len() + 1,
        None if repository.contains('/') => IMPLIED_REGISTRY.len(),
        None => IMPLIED_REGISTRY.len() + IMPLIED_NAMESPACE.len(),
    };
    before + repository.len()
}

/// Returns true if the first component of a name is a registry rather than a part of the
/// repository.
fn names_registry(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

/// Returns true for `host[:port]`, where the host is a name, an IPv4 address, or an IPv6 address in
/// brackets.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            (None, after.strip_prefix(':').or((!after.is_empty()).then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    host.is_none_or(|host| host.split('.').all(is_host_label)) && port.is_none_or(is_port)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Returns true for runs of letters and digits with single separators between them: `.`, `_`, `__`,
/// or any number of hyphens.
fn is_path_component(component: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let is_enclosed = bytes.first().is_some_and(|byte| is_alphanumeric(*byte))
        && bytes.last().is_some_and(|byte| is_alphanumeric(*byte));
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_enclosed && separators.into_iter().all(is_separator)
}

fn is_separator(text: &str) -> bool {
    matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-')
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_reference_digest(digest: &str) -> bool {
    let is_part_of_algorithm = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.split(['-', '_', '+', '.']).all(is_part_of_algorithm)
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Option<String>, String, Option<String>, Option<String>) {
        let reference: ImageRef = text.parse().unwrap();
        (reference.registry, reference.repository, reference.tag, reference.digest)
    }

    #[test]
    fn references_come_apart_where_they_should() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let owned = |s: &str| Some(s.to_owned());
        let table = [
            ("debian", None, "debian", owned("latest"), None),
            ("debian:bookworm", None, "debian", owned("bookworm"), None),
            ("ns/name", None, "ns/name", owned("latest"), None),
            ("host:5000/ns/name", owned("host:5000"), "ns/name", owned("latest"), None),
            ("host:5000/ns/name:1.0", owned("host:5000"), "ns/name", owned("1.0"), None),
            ("localhost/name:t", owned("localhost"), "name", owned("t"), None),
            ("a.b/c/d:T-1_x", owned("a.b"), "c/d", owned("T-1_x"), None),
        ];
        for (text, registry, repository, tag, no_digest) in table {
            assert_eq!(parts(text), (registry, repository.to_owned(), tag, no_digest), "{text}");
        }
        let (_, _, tag, found) = parts(&format!("debian@{digest}"));
        assert_eq!((tag, found), (None, Some(digest.clone())));
        for algorithm in ["sha512", "a", "multihash+base58"] {
            let text = format!("a@{algorithm}:{}", "f".repeat(32));
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
        for algorithm in ["", "a/b", "..", "a?", "1a", "a--b", "a b"] {
            let text = format!("a@{algorithm}:{}", "f".repeat(32));
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
        let both = format!("host:1/a:b@{digest}");
        assert_eq!(both.parse::<ImageRef>().unwrap().to_string(), both);
    }

    #[test]
    fn invalid_reference_is_refused() {
        for text in
            ["", ":tag", "Upper/case", "a//b", "a:b c", "a@sha256:1", "-a", "a/", "a:.b", "$X"]
        {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn path_components_are_those_of_the_distribution_specification() {
        let table = [
            ("a", true),
            ("a.b", true),
            ("a_b", true),
            ("a__b", true),
            ("a-b", true),
            ("a---b", true),
            ("0a-9.b_c", true),
            (".x", false),
            ("x.", false),
            ("_x", false),
            ("x-", false),
            ("a..b", false),
            ("a___b", false),
            ("a.-b", false),
            ("a-_b", false),
            ("a._b", false),
            ("A", false),
            ("é", false),
            ("a\n", false),
        ];
        for (component, is_taken) in table {
            for text in [component.to_owned(), format!("ns/{component}"), format!("{component}/x")]
            {
                // A component with a dot before a slash is a registry.
                if text.starts_with(component) && text.contains('/') && component.contains('.') {
                    continue;
                }
                assert_eq!(text.parse::<ImageRef>().is_ok(), is_taken, "{text:?}");
            }
        }
    }

    #[test]
    fn registries_are_hosts_with_ports() {
        let table = [
            ("h.example", true),
            ("H.example:1", true),
            ("127.0.0.1:65535", true),
            ("localhost", true),
            ("a-b.c", true),
            ("[::1]:5000", true),
            ("[2001:db8::1]", true),
            ("h:0", false),
            ("h:65536", false),
            ("h:", false),
            ("h:+5", false),
            ("h:5x", false),
            (":5000", false),
            ("-h.example", false),
            ("h-.example", false),
            ("h..example", false),
            ("h.example.", false),
            ("h_x.example", true),
            ("h_x.example:5000", false),
            ("u@h.example", false),
            ("[::1", false),
            ("[::1]5", false),
            ("[x]:5", false),
            ("[]:5", false),
        ];
        for (registry, is_taken) in table {
            let text = format!("{registry}/ns/x:t");
            assert_eq!(text.parse::<ImageRef>().is_ok(), is_taken, "{text}");
        }
    }

    #[test]
    fn names_are_as_long_as_engines_take_them() {
        let of = |before: &str, length: usize| {
            format!("{before}{}", "a".repeat(length - before.len())).parse::<ImageRef>().is_ok()
        };
        assert!(of("h.example/", 255) && !of("h.example/", 256));
        assert!(of("ns/", 245) && !of("ns/", 246));
        assert!(of("", 237) && !of("", 238));
        let tag = |length| format!("a:{}", "t".repeat(length)).parse::<ImageRef>().is_ok();
        assert!(tag(128) && !tag(129));
    }
}
