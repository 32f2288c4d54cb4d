//! Sources of images: those of the tree's manifest, changed key by key by sections of configuration
//! files, as in kolla-build.

use std::path::Path;

use super::convert::{boolean, dictionary};
use super::given::{Given, Origin};
use super::layers::Layers;
use super::option_definition::Authority;
use super::references::References;
use super::sections::{SOURCES, Section};
use super::trust;
use crate::diagnostic::Diagnostic;
use crate::image::SourceName;
use crate::source::{Digest, Kind, Source};
use crate::tree::{Manifest, SourceEntry, leads_down};

/// Values that a source depends on in addition to its own.
pub(super) struct SourceContext<'a> {
    /// Resolver of references to options and to other sources.
    pub(super) references: References<'a>,
    /// Debian's name of the architecture.
    pub(super) debian_arch: &'a str,
}

impl SourceContext<'_> {
    /// Returns the location of a source. A path in the tree's manifest is relative to `folder`, the
    /// tree's own; any other path stays as it is.
    ///
    /// # Errors
    /// When the tree, or a file of a checkout, names a place on this machine outside of its own
    /// folder.
    fn place(
        name: &SourceName,
        kind: Kind,
        location: Given,
        folder: Option<&Path>,
    ) -> Result<String, Diagnostic> {
        let is_of_tree = location.origin.authority() == Authority::Tree;
        let base = folder.filter(|_| is_of_tree);
        let below = |path: &str| match base {
            Some(base) => base.join(path).display().to_string(),
            None => path.to_owned(),
        };
        if let Some(path) = place_on_this_machine(kind, &location.value) {
            let is_own = kind == Kind::Local && base.is_some() && leads_down(path);
            if is_of_tree && !is_own {
                let message = format!(
                    "the source [{name}] of the tree can't use '{path}', which is not in the tree"
                );
                return Err(location.refuse(message).help(format!(
                    "to use it, set its type and location in the section [{name}] of a configuration file"
                )));
            }
            let place = Given { value: below(path), ..location.clone() };
            trust::check_path(&format!("the location of the source [{name}]"), &place)?;
        }
        Ok(match kind {
            Kind::Local => below(&location.value),
            Kind::Url | Kind::Git | Kind::Pip => location.value,
        })
    }
}

/// Returns the path if a location leads to a file or folder of this machine.
fn place_on_this_machine(kind: Kind, location: &str) -> Option<&str> {
    const FILE: &str = "file:";
    let given = location;
    let location = location.trim();
    let file_scheme = location.to_ascii_lowercase().find(FILE);
    let of_url = |at: usize| location[at + FILE.len()..].trim_start_matches("//");
    let at_start = || file_scheme.filter(|at| *at == 0).map(of_url);
    match kind {
        Kind::Local => Some(given),
        Kind::Url => at_start(),
        // A path has a slash before any colon, as git tells it from host:path.
        Kind::Git => at_start().or_else(|| {
            let end = location.find([':', '/']).map_or("/", |at| &location[at..]);
            end.starts_with('/').then_some(location)
        }),
        Kind::Pip => file_scheme.map(of_url).or_else(|| {
            let is_path = location.contains('/') && !location.contains("://");
            is_path.then_some(location)
        }),
    }
}

/// Returns all enabled sources, sorted by name. Errors are added to `errors`.
pub(super) fn sources(
    layers: &Layers,
    manifest: &Manifest,
    context: &SourceContext<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Source> {
    let given = layers.sections(&SOURCES);
    let mut names: Vec<SourceName> = manifest.sources.keys().cloned().collect();
    // A section with an invalid name has been refused already.
    let of_files = given.names_beside(manifest.sources.keys());
    names.extend(of_files.filter_map(|name| SourceName::new(name).ok()));
    names.sort();
    let nothing = Section::new();
    names
        .into_iter()
        .filter_map(|name| {
            let section = given.get(name.as_str()).unwrap_or(&nothing);
            match source(&name, manifest.sources.get(&name), section, context) {
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
    name: &SourceName,
    entry: Option<&SourceEntry>,
    section: &Section,
    context: &SourceContext<'_>,
) -> Result<Option<Source>, Diagnostic> {
    let value = |key: &str, of_tree: Option<&String>| {
        let of_tree =
            of_tree.map(|value| Given { value: value.clone(), origin: Origin::Manifest(None) });
        let given = section.get(key).cloned().or(of_tree);
        let complete = |given| context.references.interpolated_in(Some(name.as_str()), key, given);
        given.map(complete).transpose()
    };
    let enabled = match value("enabled", None)? {
        None => entry.and_then(|entry| entry.enabled).unwrap_or(true),
        Some(given) => boolean(&given.value)
            .ok_or_else(|| given.refuse(format!("'{}' is neither true nor false", given.value)))?,
    };
    if !enabled {
        return Ok(None);
    }
    let given = value("type", entry.map(|entry| &entry.r#type))?;
    let kind = kind(name.as_str(), given.as_ref())?;
    let location = value("location", entry.map(|entry| &entry.location))?;
    let Some(location) = location.filter(|location| !location.value.is_empty()) else {
        let message = format!("the source [{name}] has no location");
        return Err(match section.values().next() {
            Some(given) => given.refuse(message),
            None => Diagnostic::new(message),
        });
    };
    let folder = entry.and_then(|entry| entry.folder.as_deref());
    let location = SourceContext::place(name, kind, location, folder)?;
    // The tree's reference and digest hold for the tree's location and version only.
    let changed = ["location", "version"].iter().any(|key| section.contains_key(*key));
    let of_tree = entry.filter(|_| !changed);
    let reference = value("reference", of_tree.and_then(|entry| entry.reference.as_ref()))?;
    let digest = match value("sha256", None)? {
        Some(given) => digest_for(&given, context.debian_arch)?,
        None => {
            of_tree.map_or(Digest::Unknown, |entry| digest_of_entry(entry, context.debian_arch))
        }
    };
    Ok(Some(Source {
        name: name.clone(),
        kind,
        location,
        reference: reference.map(|given| given.value),
        digest,
    }))
}

/// Parses the type of the source called `name`.
fn kind(name: &str, given: Option<&Given>) -> Result<Kind, Diagnostic> {
    let word = given.map_or("", |given| &given.value);
    Kind::named(word).ok_or_else(|| {
        let message = format!("the source [{name}] has an unknown type: '{word}'");
        let names = Kind::NAMES.map(|(name, _)| name);
        match given {
            Some(given) => given.refuse(message),
            None => Diagnostic::new(message),
        }
        .help(format!("write type = {}", names.join(", or type = ")))
    })
}

/// Returns the tree's digest of a source for `arch`. The tree may use the source on some
/// architectures only.
fn digest_of_entry(entry: &SourceEntry, arch: &str) -> Digest {
    match (&entry.sha256, entry.sha256_by_arch.get(arch)) {
        (Some(digest), _) | (None, Some(digest)) => Digest::Sha256(digest.clone()),
        (None, None) if entry.sha256_by_arch.is_empty() => Digest::Unknown,
        (None, None) => Digest::OfOthers(arch.to_owned()),
    }
}

/// Returns the digest in a text: either the text itself, or the entry for `arch` in pairs of
/// architecture and digest.
///
/// # Errors
/// When there are pairs but none for `arch`: nothing would be compared.
fn digest_for(given: &Given, arch: &str) -> Result<Digest, Diagnostic> {
    const HELP: &str = "write one digest, or amd64:digest, arm64:digest";
    match dictionary(&given.value) {
        Ok(by_arch) if by_arch.is_empty() => Ok(Digest::Unknown),
        Ok(by_arch) => match by_arch.get(arch) {
            Some(digest) => Ok(Digest::Sha256(digest.clone())),
            None => Err(given.refuse(format!("there is no digest for {arch}")).help(HELP)),
        },
        Err(_) if !given.value.contains([':', ',']) => Ok(Digest::Sha256(given.value.clone())),
        Err(wrong) => {
            let message = format!("'{wrong}' is not an architecture:digest pair");
            Err(given.refuse(message).help(HELP))
        }
    }
}
