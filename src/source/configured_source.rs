//! Source of an image as it is configured.

use crate::fingerprint::Fingerprint;
use crate::image::SourceName;

/// Kind of place that a source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Archive at a URL.
    Url,
    /// Branch, tag or commit of a git repository.
    Git,
    /// File or folder of this machine.
    Local,
    /// Source distribution of a Python requirement, fetched by the configured pip.
    Pip,
}

impl Kind {
    /// All kinds, each with its name in the configuration.
    pub const NAMES: [(&'static str, Kind); 4] =
        [("url", Self::Url), ("git", Self::Git), ("local", Self::Local), ("pip", Self::Pip)];

    /// Returns the kind with this name; `None` if there is no such kind.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// Source to fetch, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the source, which determines the image that it belongs to.
    pub name: SourceName,
    /// Kind of place that it comes from.
    pub kind: Kind,
    /// URL, repository, path or requirement, by kind.
    pub location: String,
    /// Branch, tag or commit of a git source; `None` for its default branch.
    pub reference: Option<String>,
    /// Digest that the fetched file is checked against.
    pub digest: Digest,
}

/// Expected digest of a fetched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// None is configured: the file is not checked.
    Unknown,
    /// SHA-256 digest, in hexadecimal.
    Sha256(String),
    /// Digests are configured, but none for this machine's architecture, here by its name in Debian.
    /// The source can't be fetched.
    OfOthers(String),
}

impl Source {
    /// Returns a digest of the configuration of the source.
    pub(super) fn as_declared(&self) -> String {
        let digest = match &self.digest {
            Digest::Unknown => None,
            Digest::Sha256(digest) => Some(digest.to_lowercase()),
            Digest::OfOthers(arch) => Some(arch.clone()),
        };
        let (kind, _) = Kind::NAMES.iter().find(|(_, kind)| *kind == self.kind).expect("all kinds");
        let fields = [
            ("type", Some((*kind).to_owned())),
            ("location", Some(self.location.clone())),
            ("reference", self.reference.clone()),
            ("digest", digest),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Fingerprint::of(&fields.collect()).to_string()
    }
}
