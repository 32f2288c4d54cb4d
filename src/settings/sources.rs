//! Sources of images: what the manifest of the tree says, changed by sections of configuration
//! files key by key, as kolla-build's sections are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::interpolate::interpolate;
use super::layers::{Given, Layers};
use crate::diagnostic::Diagnostic;
use crate::source::{Kind, Source};
use crate::tree::{Manifest, SourceEntry};

/// The keys of a section that describes a source.
pub(super) const KEYS: [&str; 6] =
    ["type", "location", "reference", "sha256", "enabled", "version"];

/// A section of a configuration file that describes a source: its values by key.
pub(super) type Section = BTreeMap<String, Given>;

/// What a source depends on beside its own values.
pub(super) struct Surroundings<'a> {
    /// The value of an option, for references to it.
    pub(super) value_of: &'a dyn Fn(&str) -> Option<String>,
    /// The architecture as Debian calls it.
    pub(super) debian_arch: &'a str,
    /// The folder that the paths of local sources start from.
    pub(super) locals_base: &'a Path,
}

/// All enabled sources, by name. What is wrong is added to `errors`.
pub(super) fn sources(
    layers: &Layers,
    manifest: &Manifest,
    surroundings: &Surroundings<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Source> {
    let names: BTreeSet<&String> = manifest.sources.keys().chain(layers.sources().keys()).collect();
    let nothing = Section::new();
    names
        .into_iter()
        .filter_map(|name| {
            let section = layers.sources().get(name).unwrap_or(&nothing);
            match source(name, manifest.sources.get(name), section, surroundings) {
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
    surroundings: &Surroundings<'_>,
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
        let message = format!("the source [{name}] has no location");
        return Err(match section.values().next() {
            Some(given) => given.refuse(message),
            None => Diagnostic::new(message),
        });
    };
    // A reference or digest of the tree's belongs to the tree's location and version.
    let changed = ["location", "version"].iter().any(|key| section.contains_key(*key));
    let of_tree = entry.filter(|_| !changed);
    let version = text("version", entry.and_then(|entry| entry.version.as_ref()));
    let value_of = |name: &str| match name {
        "version" => Some(version.clone().unwrap_or_default()),
        _ => (surroundings.value_of)(name),
    };
    let complete = |key: &str, value: String| {
        interpolate(&value, &value_of).map_err(|unknown| {
            let message =
                format!("there is no option '{unknown}', which the source [{name}] refers to");
            let diagnostic = match section.get(key) {
                Some(given) => given.refuse(message),
                None => Diagnostic::new(message),
            };
            diagnostic.help("write $$ for a dollar sign")
        })
    };
    let reference = text("reference", of_tree.and_then(|entry| entry.reference.as_ref()));
    let digest = match section.get("sha256") {
        Some(given) => digest_for(&given.value, surroundings.debian_arch),
        None => of_tree.and_then(|entry| {
            let by_arch = entry.sha256_by_arch.get(surroundings.debian_arch);
            entry.sha256.as_ref().or(by_arch).cloned()
        }),
    };
    let location = complete("location", location)?;
    let location = match kind {
        Kind::Local => surroundings.locals_base.join(location).display().to_string(),
        _ => location,
    };
    Ok(Some(Source {
        name: name.to_owned(),
        kind,
        location,
        reference: reference.map(|reference| complete("reference", reference)).transpose()?,
        sha256: digest,
    }))
}

/// The digest in a text: the text itself, or what pairs of architecture and digest have for `arch`.
fn digest_for(text: &str, arch: &str) -> Option<String> {
    match super::dictionary(text) {
        Ok(by_arch) => by_arch.get(arch).cloned(),
        Err(_) => Some(text.to_owned()),
    }
}
