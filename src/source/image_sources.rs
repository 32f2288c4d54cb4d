//! Sources of one image, and their files and parts.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use super::blocking::blocking;
use super::bundle;
use super::configured_source::{Kind, Source};
use super::fetch as one;
use super::fetch_error::FetchError;
use super::fetch_limits::Pace;
use crate::fingerprint::Parts;
use crate::image::{ImageName, SourceName};

/// All sources of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSources {
    /// Source that has the name of the image, if it has one.
    pub own: Option<Source>,
    /// Plugins of the image, by name.
    pub plugins: Vec<Source>,
    /// Additions to the image, by name.
    pub additions: Vec<Source>,
}

impl ImageSources {
    /// Returns all sources: the own one, then plugins, then additions.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        self.own.iter().chain(&self.plugins).chain(&self.additions)
    }

    /// Returns true if there is nothing to fetch.
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.plugins.is_empty() && self.additions.is_empty()
    }
}

/// Returns the sources of `image` among `all`, which are sorted by name.
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

/// Returns the paths in the build context of the archives made of these sources.
pub fn archives(image: &ImageName, sources: &ImageSources) -> Vec<String> {
    let own = sources.own.iter().map(|_| own_archive(image));
    own.chain([PLUGINS, ALL_ADDITIONS].map(in_context)).collect()
}

/// Collective names for the plugins and for the additions of an image.
const PLUGINS: &str = "plugins";
const ALL_ADDITIONS: &str = "additions";

fn own_archive(image: &ImageName) -> String {
    in_context(image.as_str())
}

/// Returns the path in the context of the archive called `what`.
fn in_context(what: &str) -> String {
    format!("{what}-archive")
}

/// Fetched sources of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Files for the image's build context.
    pub files: Vec<FetchedFile>,
    /// Identity of each source, by `source <name>`.
    pub parts: Parts,
}

/// Fetched file for a build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Path in the build context.
    pub path: String,
    /// Path of the file on this machine.
    pub file: PathBuf,
    /// SHA-256 digest of the file, in hexadecimal.
    pub digest: String,
}

/// Fetches the sources of images.
pub trait Fetcher: Send + Sync {
    /// Fetches the sources of `image` into `folder`.
    ///
    /// # Errors
    /// Returns the failure of the first source that can't be fetched or does not have its expected
    /// digest.
    fn fetch<'a>(
        &'a self,
        image: &'a ImageName,
        sources: &'a ImageSources,
        folder: &'a Path,
    ) -> BoxFuture<'a, Result<Fetched, FetchError>>;
}

/// Fetches sources from their locations.
#[derive(Debug)]
pub struct FromOrigin {
    pace: Pace,
}

impl FromOrigin {
    /// Creates a fetcher with these time limits.
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

/// Fetches the sources of `image` into `folder`, each into a subfolder named by its number.
///
/// # Errors
/// Returns the failure of the first source that can't be fetched or does not have its expected
/// digest.
pub async fn fetch(
    image: &ImageName,
    sources: &ImageSources,
    folder: &Path,
    pace: Pace,
) -> Result<Fetched, FetchError> {
    let mut fetched = Fetched::default();
    let mut folders = (0..).map(|number: usize| folder.join(number.to_string()));
    let mut next_folder = || folders.next().expect("numbers never end");
    if let Some(own) = &sources.own {
        let archive = one::fetch(own, &next_folder(), pace).await?;
        fetched.parts.insert(part(own), archive.identity);
        let (file, digest) = (archive.file, archive.digest);
        fetched.files.push(FetchedFile { path: own_archive(image), file, digest });
    }
    for (what, parts) in [(PLUGINS, &sources.plugins), (ALL_ADDITIONS, &sources.additions)] {
        let mut archives = Vec::new();
        for source in parts {
            let archive = one::fetch(source, &next_folder(), pace).await?;
            fetched.parts.insert(part(source), archive.identity);
            archives.push((source.clone(), archive.file));
        }
        let file = folder.join(in_context(what));
        let written = file.clone();
        let digest = blocking(move || bundle::bundle(what, &archives, &written)).await?;
        fetched.files.push(FetchedFile { path: in_context(what), file, digest });
    }
    Ok(fetched)
}

/// Returns the identities that the sources of an image would have if they were fetched now, by
/// `source <name>`. Sources that have to be fetched to find out go to `folder`.
///
/// # Errors
/// Returns the failure of the first source whose identity can't be found out.
pub async fn parts(sources: &ImageSources, folder: &Path, pace: Pace) -> Result<Parts, FetchError> {
    let mut parts = Parts::new();
    for (number, source) in sources.all().enumerate() {
        let folder = folder.join(number.to_string());
        parts.insert(part(source), one::identity(source, &folder, pace).await?);
    }
    Ok(parts)
}

/// Returns a digest of the configuration of each source, by `source <name>`, without fetching
/// anything. For a local source it is the digest of its contents, at the path that `place` returns,
/// or `unreadable`; `folder` is used for packing it.
pub fn declared(sources: &ImageSources, place: &dyn Fn(&Path) -> PathBuf, folder: &Path) -> Parts {
    let told = sources.all().enumerate().map(|(number, source)| match source.kind {
        Kind::Local => {
            let location = place(Path::new(&source.location)).display().to_string();
            let here = Source { location, ..source.clone() };
            let content = one::content(&here, &folder.join(number.to_string()));
            (part(source), content.unwrap_or_else(|_| "unreadable".to_owned()))
        }
        _ => (part(source), source.as_declared()),
    });
    told.collect()
}

/// Returns the name of a source as a part of an image.
fn part(source: &Source) -> String {
    format!("source {}", source.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Digest;

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
    fn settings_of_a_source_are_part_of_its_fingerprint() {
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
