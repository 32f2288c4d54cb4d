//! Registries that the images of a run are pushed to, and the references of an image in each.

use std::str::FromStr;

use super::image_ref::{ImageRef, ReferenceError};

/// Registry with the path below which the images of a run lie in it, as `--registry` names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct RegistryRoot {
    /// Host and port; `None` for the engine's default registry.
    host: Option<String>,
    path: Option<String>,
}

impl FromStr for RegistryRoot {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        const NAME: &str = "x";
        let refused =
            |error: ReferenceError| ReferenceError { reference: text.to_owned(), ..error };
        let named: ImageRef = format!("{text}/{NAME}").parse().map_err(refused)?;
        let path = named.repository().strip_suffix(NAME).unwrap_or_default().trim_end_matches('/');
        let path = Some(path).filter(|path| !path.is_empty()).map(str::to_owned);
        Ok(Self { host: named.registry().map(str::to_owned), path })
    }
}

impl RegistryRoot {
    /// Returns the part of a repository below this root.
    fn strip<'a>(&self, repository: &'a str) -> &'a str {
        let below = self.path.as_ref().and_then(|path| repository.strip_prefix(path.as_str()));
        below.and_then(|below| below.strip_prefix('/')).unwrap_or(repository)
    }

    fn join(&self, below: &str) -> String {
        self.path.as_ref().map_or(below.to_owned(), |path| format!("{path}/{below}"))
    }
}

/// Registries of a run. The first one is in the references of the images; a path in another one
/// stands for the path in the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destinations {
    first: RegistryRoot,
    others: Vec<RegistryRoot>,
}

impl Destinations {
    /// Creates the registries from their texts, `host[:port][/path]`; without any, there is the one
    /// that the references of the images name.
    ///
    /// # Errors
    /// When a text can't be the beginning of a reference.
    pub fn new(registries: &[String]) -> Result<Self, ReferenceError> {
        let Some((first, others)) = registries.split_first() else { return Ok(Self::default()) };
        let others = others.iter().map(|registry| registry.parse());
        Ok(Self { first: first.parse()?, others: others.collect::<Result<_, _>>()? })
    }

    /// Returns true if there are registries besides the one in the references of the images.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Returns the reference of an image in each registry; the first one is `image` itself.
    pub fn of(&self, image: &ImageRef) -> Vec<ImageRef> {
        let below = self.first.strip(image.repository());
        let elsewhere = |root: &RegistryRoot| image.at(root.host.clone(), root.join(below));
        [image.clone()].into_iter().chain(self.others.iter().map(elsewhere)).collect()
    }

    /// Checks that engines take the references of an image in all registries.
    ///
    /// # Errors
    /// When one of them is not a reference.
    pub fn check(&self, image: &ImageRef) -> Result<(), ReferenceError> {
        self.of(image).iter().try_for_each(|image| image.to_string().parse().map(|_: ImageRef| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(registries: &[&str], image: &str) -> Vec<String> {
        let registries: Vec<String> = registries.iter().map(ToString::to_string).collect();
        let all = Destinations::new(&registries).unwrap().of(&image.parse().unwrap());
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn path_of_each_registry_stands_for_that_of_the_first() {
        let table: [(&[&str], &str, &[&str]); 7] = [
            (&[], "ns/a:1", &["ns/a:1"]),
            (&["h:1"], "h:1/ns/a:1", &["h:1/ns/a:1"]),
            (&["h:1", "g.example"], "h:1/ns/a:1", &["h:1/ns/a:1", "g.example/ns/a:1"]),
            (&["h:1", "g:2/team/x"], "h:1/ns/a:1", &["h:1/ns/a:1", "g:2/team/x/ns/a:1"]),
            (&["h:1/p", "g:2/q"], "h:1/p/ns/a:1", &["h:1/p/ns/a:1", "g:2/q/ns/a:1"]),
            (&["h:1/p", "h:1", "me"], "h:1/p/p/a:1", &["h:1/p/p/a:1", "h:1/p/a:1", "me/p/a:1"]),
            (&["h:1/p", "[::1]:5/q"], "h:1/pp/a:1", &["h:1/pp/a:1", "[::1]:5/q/pp/a:1"]),
        ];
        for (registries, image, expected) in table {
            assert_eq!(names(registries, image), expected, "{registries:?}");
        }
    }

    #[test]
    fn host_of_a_registry_with_a_path_is_its_host_alone() {
        let registries = ["h:1/p".to_owned(), "localhost:5/team/x".to_owned(), "me".to_owned()];
        let all = Destinations::new(&registries).unwrap().of(&"h:1/p/ns/a:1".parse().unwrap());
        let parts: Vec<_> =
            all.iter().map(|image| (image.registry(), image.repository())).collect();
        assert_eq!(
            parts,
            [(Some("h:1"), "p/ns/a"), (Some("localhost:5"), "team/x/ns/a"), (None, "me/ns/a"),]
        );
    }

    #[test]
    fn registries_that_no_engine_takes_are_refused() {
        for wrong in ["https://h.example", "h.example/", "/p", "h:0", "h:1/P", "h:1//p", "a b", ""]
        {
            let registries = ["h:1".to_owned(), wrong.to_owned()];
            let refused = Destinations::new(&registries).unwrap_err();
            assert_eq!(refused.reference, wrong);
        }
    }

    #[test]
    fn name_that_is_too_long_in_one_registry_is_refused() {
        let of = |path: usize| {
            let registries = ["h:1".to_owned(), format!("g:2/{}", "p".repeat(path))];
            Destinations::new(&registries).unwrap().check(&"h:1/ns/a:1".parse().unwrap())
        };
        assert!(of(246).is_ok() && of(247).is_err());
    }
}
