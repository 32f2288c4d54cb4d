//! What images are called: the short name of a template's folder, the reference an engine and a
//! registry know the image by, and the rule that leads from one to the other.

mod digest;
mod source_name;

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

pub use digest::{Digest, DigestError};
pub use source_name::{SourceName, SourceNameError};

/// The short name of an image: the name of the folder that holds its template. Where a run has the
/// images of several axes, the one that the image belongs to is a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    axis: Option<Arc<str>>,
    short: Arc<str>,
}

impl ImageName {
    /// Takes a name as it is.
    pub fn new(name: &str) -> Self {
        Self { axis: None, short: name.into() }
    }

    /// The same name on an axis.
    #[must_use]
    pub fn on(&self, axis: Option<&str>) -> Self {
        Self { axis: axis.map(Arc::from), short: self.short.clone() }
    }

    /// The name as the tree has it.
    pub fn as_str(&self) -> &str {
        &self.short
    }

    /// The axis that the image belongs to, where there are several.
    pub fn axis(&self) -> Option<&str> {
        self.axis.as_deref()
    }
}

/// `name`, or `axis/name`.
impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.axis {
            Some(axis) => f.pad(&format!("{axis}/{}", self.short)),
            None => f.pad(&self.short),
        }
    }
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{reference}' is not an image reference: {reason}")]
pub struct ReferenceError {
    /// The text.
    pub reference: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

/// A reference as the distribution specification writes it: `[registry/]repository[:tag][@digest]`.
///
/// Two references are equal when they name the same thing by the same words; a missing tag (and
/// no digest) means `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageRef {
    /// The registry's host and port, if the reference names one.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest is given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the reference names one.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same image in another registry, given as host and port.
    #[must_use]
    pub fn in_registry(&self, registry: &str) -> Self {
        Self { registry: Some(registry.to_owned()), ..self.clone() }
    }

    /// This reference, and the same in each of these registries.
    pub fn and_in(&self, registries: &[String]) -> Vec<Self> {
        let others = registries.iter().map(|registry| self.in_registry(registry));
        [self.clone()].into_iter().chain(others).collect()
    }

    /// Registry and repository, without tag or digest.
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
        // Engines take a host with an underscore for a part of the repository, and the name as a whole.
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

/// Largest number of characters of a name, with its registry, that engines take.
const MOST_OF_NAME: usize = 255;

/// Registry, and namespace, that an engine puts before a name without one.
const IMPLIED_REGISTRY: &str = "docker.io/";
const IMPLIED_NAMESPACE: &str = "library/";

/// Number of characters that an engine counts in a name: those of the registry that it implies, too.
fn length_of_name(registry: Option<&str>, repository: &str) -> usize {
    let before = match registry {
        Some(registry) => registry.len() + 1,
        None if repository.contains('/') => IMPLIED_REGISTRY.len(),
        None => IMPLIED_REGISTRY.len() + IMPLIED_NAMESPACE.len(),
    };
    before + repository.len()
}

/// Returns true where the first component of a name is a registry, and no part of a repository.
fn names_registry(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

/// Returns true for `host[:port]`, the host being a name, an IPv4 address, or an IPv6 address in
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

/// Where an image is that need not be built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// The engine has it.
    Engine,
    /// The registry has it, and the engine need not.
    Registry,
}

/// The rule that names the images of one tree for one base and one install type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    namespace: String,
    prefix: String,
    tag: String,
}

impl Naming {
    /// The rule for images called `[registry/]namespace/<prefix><name>:<tag>`.
    ///
    /// # Errors
    /// When no name could make a valid reference of these parts.
    pub fn new(
        registry: Option<&str>,
        namespace: &str,
        prefix: &str,
        tag: &str,
    ) -> Result<Self, ReferenceError> {
        let namespace = match registry {
            Some(registry) => format!("{registry}/{namespace}"),
            None => namespace.to_owned(),
        };
        let naming = Self { namespace, prefix: prefix.to_owned(), tag: tag.to_owned() };
        naming.reference("x")?;
        Ok(naming)
    }

    /// The same rule with another prefix.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self.clone() }
    }

    /// The namespace, with the registry before it if there is one: what templates are given.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What stands before an image's name.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The tag of every image.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The reference of the image called `name`.
    ///
    /// # Errors
    /// When the name can't be part of a reference.
    pub fn reference(&self, name: &str) -> Result<ImageRef, ReferenceError> {
        format!("{}/{}{name}:{}", self.namespace, self.prefix, self.tag).parse()
    }

    /// What the references made by this rule look like, with `*` for the name.
    pub fn pattern(&self) -> String {
        format!("{}/{}*:{}", self.namespace, self.prefix, self.tag)
    }

    /// The short name in a reference made by this rule; `None` for every other reference.
    pub fn name_in<'a>(&self, reference: &'a ImageRef) -> Option<&'a str> {
        let namespace = match &reference.registry {
            Some(registry) => self.namespace.strip_prefix(registry.as_str())?.strip_prefix('/')?,
            None => &self.namespace,
        };
        if reference.tag.as_deref() != Some(&self.tag) || reference.digest.is_some() {
            return None;
        }
        reference
            .repository
            .strip_prefix(namespace)?
            .strip_prefix('/')?
            .strip_prefix(self.prefix.as_str())
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }
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
    fn what_is_no_reference_is_refused() {
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
                // Before a slash, a dot makes it a registry.
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

    #[test]
    fn a_name_survives_the_way_there_and_back() {
        for registry in [None, Some("127.0.0.1:5000")] {
            let naming = Naming::new(registry, "family", "debian-binary-", "1.0").unwrap();
            let reference = naming.reference("some-api").unwrap();
            assert_eq!(naming.name_in(&reference), Some("some-api"));
        }
    }

    #[test]
    fn references_of_others_are_not_ours() {
        let naming = Naming::new(None, "family", "debian-binary-", "1.0").unwrap();
        for other in [
            "debian:1.0",
            "family/debian-binary-x:2.0",
            "h:1/family/debian-binary-x:1.0",
            "family/debian-binary-x/y:1.0",
        ] {
            assert_eq!(naming.name_in(&other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn impossible_names_are_refused_early() {
        assert!(Naming::new(None, "Family", "p-", "1").is_err());
        assert!(Naming::new(None, "family", "p-", "no tag").is_err());
    }
}
