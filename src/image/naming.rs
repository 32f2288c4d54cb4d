//! Rule that makes references out of short names, and finds the short names in references.

use super::image_ref::{ImageRef, ReferenceError};

/// Rule that names the images of one tree for one base and one install type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    namespace: String,
    prefix: String,
    tag: String,
}

impl Naming {
    /// Creates the rule for references `[registry/]namespace/<prefix><name>:<tag>`.
    ///
    /// # Errors
    /// When the parts can't form a valid reference with any name.
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

    /// Returns the same rule with another prefix.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self.clone() }
    }

    /// Returns the namespace, preceded by the registry if there is one, as templates get it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the text before the name of an image.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the tag of every image.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the reference of the image called `name`.
    ///
    /// # Errors
    /// When the name can't be part of a reference.
    pub fn reference(&self, name: &str) -> Result<ImageRef, ReferenceError> {
        format!("{}/{}{name}:{}", self.namespace, self.prefix, self.tag).parse()
    }

    /// Returns the form of the references of this rule, with `*` for the name.
    pub fn pattern(&self) -> String {
        format!("{}/{}*:{}", self.namespace, self.prefix, self.tag)
    }

    /// Returns the short name in a reference made by this rule; `None` for any other reference.
    pub fn name_in<'a>(&self, reference: &'a ImageRef) -> Option<&'a str> {
        let namespace = match reference.registry() {
            Some(registry) => self.namespace.strip_prefix(registry)?.strip_prefix('/')?,
            None => &self.namespace,
        };
        if reference.tag() != Some(&self.tag) || reference.digest().is_some() {
            return None;
        }
        reference
            .repository()
            .strip_prefix(namespace)?
            .strip_prefix('/')?
            .strip_prefix(self.prefix.as_str())
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_way_there_and_back() {
        for registry in [None, Some("127.0.0.1:5000")] {
            let naming = Naming::new(registry, "family", "debian-binary-", "1.0").unwrap();
            let reference = naming.reference("some-api").unwrap();
            assert_eq!(naming.name_in(&reference), Some("some-api"));
        }
    }

    #[test]
    fn references_outside_of_the_naming_rule_are_external() {
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
