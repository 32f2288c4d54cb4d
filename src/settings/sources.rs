//! Sources of images: what the manifest of the tree says, changed by sections of configuration
//! files key by key, as kolla-build's sections are.

use std::path::Path;

use super::layers::{Given, Layers, Origin, Section};
use super::options::{self, Authority};
use super::references::{Held, References, Text};
use super::trust;
use super::types::{boolean, dictionary};
use crate::diagnostic::Diagnostic;
use crate::image::SourceName;
use crate::source::{Digest, Kind, Source};
use crate::tree::{Manifest, SourceEntry, leads_down};

/// The keys of a section that describes a source.
pub(super) const KEYS: [(&str, options::Kind); 6] = [
    ("type", options::Kind::Text),
    ("location", options::Kind::Text),
    ("reference", options::Kind::Text),
    ("sha256", options::Kind::Dict),
    ("enabled", options::Kind::Bool),
    ("version", options::Kind::Text),
];

/// Key of the location, which may hold a password.
const LOCATION: &str = "location";

/// What the key of that name takes, if there is one.
pub(super) fn kind_of(key: &str) -> Option<options::Kind> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// What a key of the source called `name` holds.
pub(super) fn held(layers: &Layers, manifest: &Manifest, name: &str, key: &str) -> Option<Held> {
    let kind = kind_of(key)?;
    let (entry, section) = (manifest.sources.get(name), layers.sources().get(name));
    if entry.is_none() && section.is_none() {
        return None;
    }
    let given = section.and_then(|section| section.get(key)).cloned().map(Text::from);
    let of_tree = || match key {
        "type" => entry.map(|entry| entry.r#type.clone()),
        "location" => entry.map(|entry| entry.location.clone()),
        "reference" => entry.and_then(|entry| entry.reference.clone()),
        "version" => entry.and_then(|entry| entry.version.clone()),
        "enabled" => Some(entry.and_then(|entry| entry.enabled).unwrap_or(true).to_string()),
        _ => None,
    };
    let text = given.or_else(|| of_tree().map(Text::of_tree));
    Some(Held { kind, text, is_public: key != LOCATION })
}

/// What a source depends on beside its own values.
pub(super) struct Surroundings<'a> {
    /// What references to options and to other sources stand for.
    pub(super) references: References<'a>,
    /// The architecture as Debian calls it.
    pub(super) debian_arch: &'a str,
    /// The folder that the paths of local sources start from.
    pub(super) locals_base: &'a Path,
    /// Whether that folder was given, and is no default.
    pub(super) is_base_given: bool,
}

impl Surroundings<'_> {
    /// Returns the location of a source, a path on this machine with the folder that it starts from: where
    /// the tree wrote it, that is `folder`, the tree's own, unless the user has named one.
    ///
    /// # Errors
    /// When the tree or a file of a checkout names a place on this machine that is not its own.
    fn place(
        &self,
        name: &SourceName,
        kind: Kind,
        location: Given,
        folder: Option<&Path>,
    ) -> Result<String, Diagnostic> {
        let is_of_tree = location.origin.authority() == Authority::Tree;
        let base = if is_of_tree && !self.is_base_given { folder } else { Some(self.locals_base) };
        let below = |path: &str| base.unwrap_or(Path::new("")).join(path).display().to_string();
        if let Some(path) = place_on_this_machine(kind, &location.value) {
            let is_own = kind == Kind::Local && base.is_some() && leads_down(path);
            if is_of_tree && !is_own {
                let message = format!(
                    "the source [{name}] of the tree can't take '{path}', which is not in the tree"
                );
                return Err(location.refuse(message).help(format!(
                    "if you want that, write its type and location in the section [{name}] of a configuration file"
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

/// Returns the path by which a location leads to a file or folder of this machine, if it does.
fn place_on_this_machine(kind: Kind, location: &str) -> Option<&str> {
    const FILE: &str = "file:";
    let of_url =
        |start: Option<usize>| Some(location[start? + FILE.len()..].trim_start_matches("//"));
    let in_small_letters = location.trim_start().to_ascii_lowercase();
    let at_start = || {
        of_url(
            in_small_letters
                .starts_with(FILE)
                .then_some(location.len() - location.trim_start().len()),
        )
    };
    let is_path = |text: &str| match text.find([':', '/']) {
        Some(at) => text[at..].starts_with('/'),
        None => true,
    };
    match kind {
        Kind::Url => at_start(),
        Kind::Local => Some(location),
        Kind::Git => at_start().or_else(|| is_path(location).then_some(location)),
        Kind::Pip => of_url(location.to_ascii_lowercase().find(FILE)).or_else(|| {
            let is_path = location.contains('/') && !location.contains("://");
            is_path.then_some(location)
        }),
    }
}

/// All enabled sources, by name. What is wrong is added to `errors`.
pub(super) fn sources(
    layers: &Layers,
    manifest: &Manifest,
    surroundings: &Surroundings<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Source> {
    let given = layers.sources();
    let mut names: Vec<SourceName> = manifest.sources.keys().cloned().collect();
    // A section with another name has been refused where it stands.
    let of_files = given.names_beside(manifest.sources.keys());
    names.extend(of_files.filter_map(|name| SourceName::new(name).ok()));
    names.sort();
    let nothing = Section::new();
    names
        .into_iter()
        .filter_map(|name| {
            let section = given.get(name.as_str()).unwrap_or(&nothing);
            match source(&name, manifest.sources.get(&name), section, surroundings) {
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
    surroundings: &Surroundings<'_>,
) -> Result<Option<Source>, Diagnostic> {
    let value = |key: &str, of_tree: Option<&String>| {
        let of_tree =
            of_tree.map(|value| Given { value: value.clone(), origin: Origin::Manifest(None) });
        let given = section.get(key).cloned().or(of_tree);
        let complete = |given| surroundings.references.complete_in(Some(name.as_str()), key, given);
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
    let location = surroundings.place(name, kind, location, folder)?;
    // A reference or digest of the tree's belongs to the tree's location and version.
    let changed = ["location", "version"].iter().any(|key| section.contains_key(*key));
    let of_tree = entry.filter(|_| !changed);
    let reference = value("reference", of_tree.and_then(|entry| entry.reference.as_ref()))?;
    let digest = match value("sha256", None)? {
        Some(given) => digest_for(&given, surroundings.debian_arch)?,
        None => of_tree
            .map_or(Digest::Unknown, |entry| digest_of_entry(entry, surroundings.debian_arch)),
    };
    Ok(Some(Source {
        name: name.clone(),
        kind,
        location,
        reference: reference.map(|given| given.value),
        digest,
    }))
}

/// The kind that is given for the source called `name`.
fn kind(name: &str, given: Option<&Given>) -> Result<Kind, Diagnostic> {
    let word = given.map_or("", |given| &given.value);
    Kind::named(word).ok_or_else(|| {
        let message = format!("the source [{name}] is of no known type: '{word}'");
        let names = Kind::NAMES.map(|(name, _)| name);
        match given {
            Some(given) => given.refuse(message),
            None => Diagnostic::new(message),
        }
        .help(format!("write type = {}", names.join(", or type = ")))
    })
}

/// The digest that the tree has for a source, which it may use on some architectures only.
fn digest_of_entry(entry: &SourceEntry, arch: &str) -> Digest {
    match (&entry.sha256, entry.sha256_by_arch.get(arch)) {
        (Some(digest), _) | (None, Some(digest)) => Digest::Sha256(digest.clone()),
        (None, None) if entry.sha256_by_arch.is_empty() => Digest::Unknown,
        (None, None) => Digest::OfOthers(arch.to_owned()),
    }
}

/// The digest in a text: the text itself, or what pairs of architecture and digest have for `arch`.
///
/// # Errors
/// When there are pairs and none is for `arch`: nothing would be compared.
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
            let message = format!("'{wrong}' is no pair of an architecture and a digest");
            Err(given.refuse(message).help(HELP))
        }
    }
}
