//! Sources of images: what the manifest of the tree says, changed by sections of configuration
//! files key by key, as kolla-build's sections are.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::{Given, Layers};
use crate::diagnostic::Diagnostic;
use crate::source::{Kind, Source};
use crate::tree::{Manifest, SourceEntry};

/// The keys of a section that describes a source.
pub(super) const KEYS: [&str; 5] = ["type", "location", "reference", "sha256", "enabled"];

/// A section of a configuration file that describes a source: its values by key.
pub(super) type Section = BTreeMap<String, Given>;

/// All enabled sources, by name. What is wrong is added to `errors`.
pub(super) fn sources(
    layers: &Layers,
    manifest: &Manifest,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Source> {
    let names: BTreeSet<&String> = manifest.sources.keys().chain(layers.sources().keys()).collect();
    let nothing = Section::new();
    names
        .into_iter()
        .filter_map(|name| {
            let section = layers.sources().get(name).unwrap_or(&nothing);
            match source(name, manifest.sources.get(name), section) {
                Ok(source) => source,
                Err(error) => {
                    errors.push(error);
                    None
                }
            }
        })
        .collect()
}

fn source(
    name: &str,
    entry: Option<&SourceEntry>,
    section: &Section,
) -> Result<Option<Source>, Diagnostic> {
    let text = |key: &str, of_tree: Option<&String>| {
        section.get(key).map(|given| given.value.clone()).or_else(|| of_tree.cloned())
    };
    let enabled = match section.get("enabled") {
        None => entry.and_then(|entry| entry.enabled).unwrap_or(true),
        Some(given) => super::boolean(&given.value)
            .ok_or_else(|| given.refuse(format!("'{}' is neither true nor false", given.value)))?,
    };
    if !enabled {
        return Ok(None);
    }
    let kind = text("type", entry.map(|entry| &entry.r#type)).unwrap_or_default();
    let Some(kind) = Kind::named(&kind) else {
        let message = format!("the source [{name}] is of no known type: '{kind}'");
        let diagnostic = section.get("type").map_or_else(
            || Diagnostic::new(message.clone()),
            |given| given.refuse(message.clone()),
        );
        let names = Kind::NAMES.map(|(name, _)| name);
        return Err(diagnostic.help(format!("write type = {}", names.join(", or type = "))));
    };
    let location = text("location", entry.map(|entry| &entry.location));
    let Some(location) = location.filter(|location| !location.is_empty()) else {
        return Err(Diagnostic::new(format!("the source [{name}] has no location")));
    };
    // A reference or digest of the tree's belongs to the tree's location.
    let of_tree = entry.filter(|_| !section.contains_key("location"));
    Ok(Some(Source {
        name: name.to_owned(),
        kind,
        location,
        reference: text("reference", of_tree.and_then(|entry| entry.reference.as_ref())),
        sha256: text("sha256", of_tree.and_then(|entry| entry.sha256.as_ref())),
    }))
}
