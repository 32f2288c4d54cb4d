//! Short names of images in Podman, which lists images under names with a registry.

use std::collections::{BTreeMap, BTreeSet};

use super::docker_engine::DockerEngine;
use crate::engine::{EngineError, ImageInfo};

/// Namespace of images without one in the default registry.
const LIBRARY: &str = "library/";

impl DockerEngine {
    /// Returns the prefixes that the engine adds to image names without a registry, as far as these
    /// `tags` show them: an image with such a prefix is also found by its name without it.
    async fn implied_prefixes(
        &self,
        tags: impl Iterator<Item = &String>,
    ) -> Result<BTreeSet<String>, EngineError> {
        let candidates: BTreeMap<&str, &String> =
            tags.flat_map(|tag| prefixes_of(tag).map(move |prefix| (prefix, tag))).collect();
        let mut implied = BTreeSet::new();
        for (prefix, tag) in candidates {
            let inspected = self.docker.inspect_image(&tag[prefix.len()..]);
            let Ok(found) = self.answer(inspected).await else { continue };
            if found.repo_tags.unwrap_or_default().contains(tag) {
                implied.insert(prefix.to_owned());
            }
        }
        Ok(implied)
    }

    /// Returns the listed images by their short names, without the prefix that the engine adds to
    /// names without a registry.
    pub(super) async fn short_names(
        &self,
        listed: &BTreeMap<String, ImageInfo>,
    ) -> Result<BTreeMap<String, ImageInfo>, EngineError> {
        let prefixes = self.implied_prefixes(listed.keys()).await?;
        let mut claims: BTreeMap<&str, Vec<&ImageInfo>> = BTreeMap::new();
        for (tag, known) in listed {
            if let Some(short) = short_name(tag, &prefixes) {
                claims.entry(short).or_default().push(known);
            }
        }
        let mut short_names = BTreeMap::new();
        for (short, claimants) in claims {
            let known = match claimants[..] {
                [only] => Some(only),
                _ => {
                    let meant = self.answer(self.docker.inspect_image(short)).await?;
                    let meant = meant.id.unwrap_or_default();
                    claimants.into_iter().find(|known| known.id == meant)
                }
            };
            short_names.extend(known.map(|known| (short.to_owned(), known.clone())));
        }
        Ok(short_names)
    }
}

/// Returns the prefixes of a listed reference that the engine may have added, the longest first.
fn prefixes_of(listed: &str) -> impl Iterator<Item = &str> {
    let host = listed.find('/').map(|end| end + 1);
    let library = host.filter(|end| listed[*end..].starts_with(LIBRARY));
    let ends = [library.map(|end| end + LIBRARY.len()), host];
    ends.into_iter().flatten().map(|end| &listed[..end])
}

/// Returns a listed reference without the prefix that the engine added; `None` if it added none.
fn short_name<'a>(listed: &'a str, prefixes: &BTreeSet<String>) -> Option<&'a str> {
    let implied = prefixes_of(listed).find(|prefix| prefixes.contains(*prefix));
    implied.map(|prefix| &listed[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_of_the_engine_is_removed_from_short_names() {
        let prefixes = ["localhost/", "hub.example/", "hub.example/library/"];
        let prefixes = prefixes.map(str::to_owned).into();
        let table = [
            ("ns/x:t", None),
            ("127.0.0.1:5000/ns/x:t", None),
            ("localhost/ns/x:t", Some("ns/x:t")),
            ("hub.example/ns/x:t", Some("ns/x:t")),
            ("hub.example/library/x:t", Some("x:t")),
        ];
        for (listed, short) in table {
            assert_eq!(short_name(listed, &prefixes), short);
        }
    }
}
