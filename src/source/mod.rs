//! What images installed from source are made of: archives, checkouts and folders that are fetched
//! for one image and put into its build context.
//!
//! An image has at most one source of its own, and any number of plugins and additions. In the
//! context the first becomes `<image>-archive`, the others one `plugins-archive` and one
//! `additions-archive` with everything unpacked below `plugins/` and `additions/`, as kolla-build
//! lays them out. These two are always there, so that a template can rely on them.

mod archive;
mod bundle;
mod checkout;
mod download;
mod fetch;
mod local;
mod pip;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::fingerprint::{Fingerprint, Parts};
use crate::image::{ImageName, SourceName};
use crate::program::Limits;
use crate::secret::without_secrets;

pub use bundle::bundled;
pub use checkout::top_folder;

/// The bytes that the sources of an image may have, fetched and unpacked: build contexts are packed in
/// memory, and what is larger is no program's source but a server that does not stop.
const LARGEST: u64 = 2 << 30;

/// Where a source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An archive at a URL.
    Url,
    /// A branch, tag or commit of a git repository.
    Git,
    /// A file or folder of this machine.
    Local,
    /// The source distribution of a Python requirement, fetched by the configured pip.
    Pip,
}

impl Kind {
    /// All kinds by their names.
    pub const NAMES: [(&'static str, Kind); 4] =
        [("url", Self::Url), ("git", Self::Git), ("local", Self::Local), ("pip", Self::Pip)];

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// One thing to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name that tells the image it belongs to.
    pub name: SourceName,
    /// Where from.
    pub kind: Kind,
    /// The URL, repository, path or requirement.
    pub location: String,
    /// The branch, tag or commit of a git source.
    pub reference: Option<String>,
    /// What the fetched file is checked against.
    pub digest: Digest,
}

/// What is known beforehand about a fetched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// Nothing.
    Unknown,
    /// Its SHA-256 digest, in hexadecimal.
    Sha256(String),
    /// The digests of files for other architectures than this one, as Debian calls it: it can't be
    /// used.
    OfOthers(String),
}

/// All sources of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSources {
    /// Its own.
    pub own: Option<Source>,
    /// Its plugins, by name.
    pub plugins: Vec<Source>,
    /// Its additions, by name.
    pub additions: Vec<Source>,
}

impl ImageSources {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        self.own.iter().chain(&self.plugins).chain(&self.additions)
    }

    /// Whether there is nothing to fetch.
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.plugins.is_empty() && self.additions.is_empty()
    }
}

/// Picks the sources of `image` out of `all`, which are sorted by name.
pub fn of_image(image: &ImageName, all: &[Source]) -> ImageSources {
    let image = image.as_str();
    let those = |belongs: &dyn Fn(&SourceName) -> bool| {
        all.iter().filter(|source| belongs(&source.name)).cloned().collect()
    };
    ImageSources {
        own: all.iter().find(|source| source.name.as_str() == image).cloned(),
        plugins: those(&|name| name.is_plugin_of(image)),
        additions: those(&|name| name.is_addition_to(image)),
    }
}

/// What the context of an image with these sources has of them, by path.
pub fn archives(image: &ImageName, sources: &ImageSources) -> Vec<String> {
    let own = sources.own.iter().map(|_| own_archive(image));
    own.chain([PLUGINS, ALL_ADDITIONS].map(in_context)).collect()
}

/// What all plugins of an image are called together, and all additions.
const PLUGINS: &str = "plugins";
const ALL_ADDITIONS: &str = "additions";

fn own_archive(image: &ImageName) -> String {
    in_context(image.as_str())
}

/// How what is fetched for `what` is called in the context.
fn in_context(what: &str) -> String {
    format!("{what}-archive")
}

/// Why a source could not be had, in one line with its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// The source's name.
    pub name: String,
    /// Its location.
    pub location: String,
    /// What went wrong.
    pub reason: String,
    /// Whether another try may go better.
    pub transient: bool,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = format!("the source [{}] {}: {}", self.name, self.location, self.reason);
        f.write_str(&without_secrets(&told))
    }
}

impl std::error::Error for FetchError {}

/// Bounds on the patience with servers that sources come from.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest time without anything from a server.
    pub silence: Duration,
}

impl Pace {
    /// Longest time in all for one source.
    pub fn total(self) -> Duration {
        const SILENCES: u32 = 30;
        self.silence.saturating_mul(SILENCES)
    }

    /// Fewest bytes that have to come within the time of a silence: less is no progress.
    fn least(self) -> u64 {
        const LEAST_PER_SECOND: u64 = 10;
        self.silence.as_secs().saturating_mul(LEAST_PER_SECOND)
    }

    /// Limits for a program that speaks to a server.
    fn limits(self) -> Limits {
        const MOST_OUTPUT: usize = 64 << 20;
        Limits { silence: self.silence, total: self.total(), output: MOST_OUTPUT, folder: None }
    }
}

/// The sources of an image, fetched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// The files made, by their path in the image's build context.
    pub files: Vec<(String, PathBuf)>,
    /// What each source is, by `source <name>`.
    pub parts: Parts,
}

/// Fetches the sources of images.
pub trait Fetcher: Send + Sync {
    /// Fetches the sources of `image` into `folder`.
    ///
    /// # Errors
    /// For the first source that can't be had or is not what it should be.
    fn fetch<'a>(
        &'a self,
        image: &'a ImageName,
        sources: &'a ImageSources,
        folder: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, FetchError>>;
}

/// Fetches sources from where they are.
#[derive(Debug)]
pub struct FromOrigin {
    pace: Pace,
}

impl FromOrigin {
    /// Fetches at this pace.
    pub fn new(pace: Pace) -> Self {
        Self { pace }
    }
}

impl Fetcher for FromOrigin {
    fn fetch<'a>(
        &'a self,
        image: &'a ImageName,
        sources: &'a ImageSources,
        folder: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(fetch(image, sources, folder, self.pace))
    }
}

/// Fetches the sources of `image` into `folder`, each into a folder that is called by its number.
///
/// # Errors
/// For the first source that can't be had or is not what it should be.
pub async fn fetch(
    image: &ImageName,
    sources: &ImageSources,
    folder: &Path,
    pace: Pace,
) -> Result<Fetched, FetchError> {
    let mut fetched = Fetched::default();
    let mut folders = (0..).map(|number: usize| folder.join(number.to_string()));
    let mut next_folder = || folders.next().expect("numbers do not end");
    if let Some(own) = &sources.own {
        let archive = fetch::fetch(own, &next_folder(), pace).await?;
        fetched.parts.insert(part(own), archive.identity);
        fetched.files.push((own_archive(image), archive.file));
    }
    for (what, parts) in [(PLUGINS, &sources.plugins), (ALL_ADDITIONS, &sources.additions)] {
        let mut archives = Vec::new();
        for source in parts {
            let archive = fetch::fetch(source, &next_folder(), pace).await?;
            fetched.parts.insert(part(source), archive.identity);
            archives.push((source.clone(), archive.file));
        }
        let bundle = folder.join(in_context(what));
        let written = bundle.clone();
        tokio::task::spawn_blocking(move || bundle::bundle(what, &archives, &written))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        fetched.files.push((in_context(what), bundle));
    }
    Ok(fetched)
}

/// What the sources of an image would be if they were fetched now, by `source <name>`; `folder` is
/// for those that have to be fetched to tell.
///
/// # Errors
/// For the first source that nothing can be told of.
pub async fn parts(sources: &ImageSources, folder: &Path, pace: Pace) -> Result<Parts, FetchError> {
    let mut parts = Parts::new();
    for (number, source) in sources.all().enumerate() {
        let folder = folder.join(number.to_string());
        parts.insert(part(source), fetch::identity(source, &folder, pace).await?);
    }
    Ok(parts)
}

/// What is said of the sources of an image, by `source <name>`: nothing is fetched. What lies on this
/// machine speaks for itself, and is read where `place` says; `folder` is for packing it.
pub fn declared(sources: &ImageSources, place: &dyn Fn(&Path) -> PathBuf, folder: &Path) -> Parts {
    let told = sources.all().enumerate().map(|(number, source)| match source.kind {
        Kind::Local => {
            let location = place(Path::new(&source.location)).display().to_string();
            let here = Source { location, ..source.clone() };
            let content = fetch::content(&here, &folder.join(number.to_string()));
            (part(source), content.unwrap_or_else(|_| "unreadable".to_owned()))
        }
        _ => (part(source), source.as_declared()),
    });
    told.collect()
}

impl Source {
    /// A digest of what is said of the source.
    fn as_declared(&self) -> String {
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

/// How a source is called as a part of an image.
fn part(source: &Source) -> String {
    format!("source {}", source.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Source {
        Source {
            name: SourceName::new(name).unwrap(),
            kind: Kind::Local,
            location: "x".to_owned(),
            reference: None,
            digest: Digest::Unknown,
        }
    }

    #[test]
    fn errors_tell_no_passwords() {
        let error = FetchError {
            name: "app".to_owned(),
            location: "https://me:p@ss@git.example/app".to_owned(),
            reason: "unable to access 'https://me:p@ss@git.example/app/': no".to_owned(),
            transient: false,
        };
        assert_eq!(
            error.to_string(),
            "the source [app] https://git.example/app: unable to access 'https://git.example/app/': no"
        );
    }

    #[test]
    fn what_is_said_of_a_source_tells_it_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let declared = |source: Source| {
            let sources = ImageSources { own: Some(source), ..ImageSources::default() };
            declared(&sources, &|path| folder.path().join(path), folder.path())
        };
        let git = Source { kind: Kind::Git, ..source("app") };
        let others = [
            Source { kind: Kind::Url, ..git.clone() },
            Source { location: "y".to_owned(), ..git.clone() },
            Source { reference: Some("x".to_owned()), ..git.clone() },
            Source { digest: Digest::Sha256("x".to_owned()), ..git.clone() },
        ];
        assert_eq!(declared(git.clone()), declared(git.clone()));
        for other in others {
            assert_ne!(declared(git.clone()), declared(other));
        }
        assert_eq!(declared(source("app"))["source app"], "unreadable");
        std::fs::write(folder.path().join("x"), "content").unwrap();
        let sha256 = crate::fingerprint::digest(b"content");
        assert_eq!(declared(source("app"))["source app"], sha256);
    }

    #[test]
    fn an_image_has_its_own_source_and_its_parts() {
        let all =
            ["a", "a-additions-x", "a-plugin-y", "a-plugin-z", "ab", "ab-plugin-y"].map(source);
        let found = of_image(&ImageName::new("a"), &all);
        assert_eq!(found.own.unwrap().name.as_str(), "a");
        let names = |of: &[Source]| of.iter().map(|s| s.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&found.plugins), ["a-plugin-y", "a-plugin-z"]);
        assert_eq!(names(&found.additions), ["a-additions-x"]);
    }
}
