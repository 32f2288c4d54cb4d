//! Checks out branches, tags and commits of git repositories.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::archive;
use super::blocking::blocking;
use super::configured_source::Source;
use super::fetch_error::FetchError;
use super::fetch_limits::{LARGEST, Pace};
use crate::git::Remote;
use crate::image::SourceName;
use crate::program::{Ended, Limits};

/// Longest time without output from git where it works on this machine alone.
const LOCAL_SILENCE: Duration = Duration::from_secs(60);

/// Returns the commit that the source's branch or tag points to now; `None` if the reference is
/// neither.
pub(super) async fn commit_now(
    source: &Source,
    folder: &Path,
    pace: Pace,
) -> Result<Option<String>, FetchError> {
    let remote = remote(source, folder, pace).await?;
    let wanted = source.reference.as_deref().unwrap_or("HEAD");
    let patterns =
        [format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}^{{}}"), wanted.to_owned()];
    let listed = remote.list(&patterns, pace.limits()).await;
    let listed = listed.map_err(|error| source.not_run("git", &error))?;
    succeeded(source, &listed)?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let commits: Vec<(&str, &str)> =
        listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let named = |name: &str| commits.iter().find(|(_, reference)| *reference == name);
    let found = patterns[..2]
        .iter()
        .find_map(|name| named(name))
        .or_else(|| named(&format!("refs/tags/{wanted}")))
        .or_else(|| named(wanted));
    let is_commit = wanted.len() == 40 && wanted.chars().all(|c| c.is_ascii_hexdigit());
    let itself = || is_commit.then(|| wanted.to_lowercase());
    Ok(found.map(|(commit, _)| (*commit).to_owned()).or_else(itself))
}

/// Clones a repository and packs the working tree at the reference. The archive includes `.git`,
/// since version tools of Python packages read it. Returns the archive and the commit.
pub(super) async fn check_out(
    source: &Source,
    folder: &Path,
    pace: Pace,
) -> Result<(PathBuf, String), FetchError> {
    let remote = remote(source, folder, pace).await?;
    let clone = folder.join("clone");
    let cloning = Limits { folder: Some((clone.clone(), LARGEST)), ..pace.limits() };
    let cloned = remote.clone_to(&clone, cloning).await;
    succeeded(source, &cloned.map_err(|error| source.not_run("git", &error))?)?;
    let wanted = source.reference.as_deref().unwrap_or("HEAD");
    let local = Limits { silence: pace.silence.max(LOCAL_SILENCE), ..pace.limits() };
    let local = Limits { total: local.total.max(local.silence), ..local };
    let commit = remote.commit(&clone, wanted, local.clone()).await;
    let commit = commit.map_err(|error| source.not_run("git", &error))?.ok_or_else(|| {
        let shown = wanted.escape_debug();
        source.failed(format!("the repository has no branch, tag or commit '{shown}'"))
    })?;
    let checked_out = remote.check_out(&clone, &commit, LARGEST, local).await;
    succeeded(source, &checked_out.map_err(|error| source.not_run("git", &error))?)?;
    let reference = source.reference.as_deref().unwrap_or(&commit[..commit.len().min(12)]);
    let top = top_folder(&source.name, reference);
    let archive = pack(source, clone, top, folder.join("archive")).await?;
    Ok((archive, commit))
}

async fn remote(source: &Source, folder: &Path, pace: Pace) -> Result<Remote, FetchError> {
    let remote = Remote::new(&source.location, folder, pace.silence).await;
    remote.map_err(|error| source.not_usable(&error))
}

/// Returns the name of the top folder in the archive of a checkout. The reference becomes a part of
/// the name: characters that could make it a path are replaced by `-`.
pub fn top_folder(name: &SourceName, reference: &str) -> String {
    const LONGEST: usize = 100;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@=,~%".contains(c);
    let plain = reference.chars().take(LONGEST).map(|c| if is_plain(c) { c } else { '-' });
    format!("{name}-archive-{}", plain.collect::<String>())
}

async fn pack(
    source: &Source,
    folder: PathBuf,
    top: String,
    target: PathBuf,
) -> Result<PathBuf, FetchError> {
    let written = target.clone();
    let packed = blocking(move || archive::pack_folder(&folder, &top, &written)).await;
    packed.map_err(|error| source.failed(error.to_string()))?;
    Ok(target)
}

/// Messages of git about connection failures that are worth a retry.
const OF_CONNECTIONS: [&str; 16] = [
    "Could not resolve host",
    "Couldn't resolve host",
    "unable to look up",
    "Temporary failure in name resolution",
    "Connection refused",
    "Failed to connect",
    "unable to connect",
    "Couldn't connect",
    "timed out",
    "Connection reset",
    "early EOF",
    "hung up unexpectedly",
    "unexpected disconnect",
    "Operation too slow",
    "returned error: 429",
    "returned error: 5",
];

fn succeeded(source: &Source, ended: &Ended) -> Result<(), FetchError> {
    source.succeeded("git", ended, &OF_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_is_no_path_in_an_archive() {
        let name = SourceName::new("app").unwrap();
        for (reference, top) in [
            ("stable/x", "app-archive-stable-x"),
            ("v1.0-rc_1", "app-archive-v1.0-rc_1"),
            ("../../etc", "app-archive-..-..-etc"),
            ("/", "app-archive--"),
            ("a\n\u{1b}[2J\0", "app-archive-a---2J-"),
            ("a\u{202e}\\'\"$(x)", "app-archive-a------x-"),
        ] {
            assert_eq!(top_folder(&name, reference), top);
        }
        assert!(top_folder(&name, &"x".repeat(10_000)).len() < 255);
    }
}
