//! Fetches one source to one file, by its kind.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::blocking::blocking;
use super::configured_source::{Digest, Kind, Source};
use super::fetch_error::FetchError;
use super::fetch_limits::{LARGEST, Pace};
use super::{checkout, download, local, pip};
use crate::files::open_regular;

/// Fetched source.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Path of the fetched file.
    pub(super) file: PathBuf,
    /// SHA-256 digest of the file, in hexadecimal.
    pub(super) digest: String,
    /// Text that distinguishes this version of the source from any other.
    pub(super) identity: String,
}

/// Fetches `source` into `folder` and checks its digest.
pub(super) async fn fetch(
    source: &Source,
    folder: &Path,
    pace: Pace,
) -> Result<Fetched, FetchError> {
    if let Digest::OfOthers(arch) = &source.digest {
        return Err(source.failed(format!("there is no digest for {arch}")));
    }
    empty(folder).map_err(|error| source.failed(error.to_string()))?;
    let (file, commit) = match source.kind {
        Kind::Url => (download::download(source, folder, pace).await?, None),
        Kind::Git => {
            let (file, commit) = checkout::check_out(source, folder, pace).await?;
            (file, Some(commit))
        }
        Kind::Local => {
            let (local, folder) = (source.clone(), folder.to_owned());
            (blocking(move || local::take(&local, &folder)).await?, None)
        }
        Kind::Pip => (pip::source_distribution(source, folder, pace).await?, None),
    };
    let fetched = file.clone();
    let found = blocking(move || digest(&fetched)).await;
    let found = found.map_err(|error| source.failed(error.to_string()))?;
    if let Digest::Sha256(expected) = &source.digest
        && !found.eq_ignore_ascii_case(expected)
    {
        return Err(source.failed(format!("its sha256 is {found} and not {expected}")));
    }
    let identity = commit.or_else(|| pinned(source)).unwrap_or_else(|| found.clone());
    Ok(Fetched { file, digest: found, identity })
}

/// Creates an empty folder: an earlier try may have left files in it.
fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(folder),
    }
}

/// Returns the identity that a source would have if it were fetched now. Fetches it into `folder`
/// only if its identity can't be found out otherwise.
pub(super) async fn identity(
    source: &Source,
    folder: &Path,
    pace: Pace,
) -> Result<String, FetchError> {
    match (source.kind, &source.digest) {
        (Kind::Url, Digest::Sha256(digest)) => Ok(digest.to_lowercase()),
        (Kind::Git, _) => {
            empty(folder).map_err(|error| source.failed(error.to_string()))?;
            match checkout::commit_now(source, folder, pace).await? {
                Some(commit) => Ok(commit),
                None => Ok(fetch(source, folder, pace).await?.identity),
            }
        }
        _ => match pinned(source) {
            Some(requirement) => Ok(requirement),
            None => Ok(fetch(source, folder, pace).await?.identity),
        },
    }
}

/// Returns the requirement if it is pinned to one version: a package index never changes the
/// contents of a version. A URL has changing contents, and may contain a password.
fn pinned(source: &Source) -> Option<String> {
    let is_pinned = source.kind == Kind::Pip && source.location.contains("==");
    let is_open = source.location.contains('*') || source.location.contains("://");
    (is_pinned && !is_open).then(|| source.location.clone())
}

/// Returns the SHA-256 digest of a file, in hexadecimal.
fn digest(file: &Path) -> io::Result<String> {
    let mut file = open_regular(file)?.take(LARGEST + 1);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    if file.limit() == 0 {
        let reason = format!("it is larger than {} GiB", LARGEST >> 30);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the digest of a local source. A folder is packed into `folder` first.
pub(super) fn content(source: &Source, folder: &Path) -> Result<String, FetchError> {
    empty(folder).map_err(|error| source.failed(error.to_string()))?;
    digest(&local::take(source, folder)?).map_err(|error| source.failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use crate::image::SourceName;

    const PACE: Pace = Pace { silence: Duration::from_secs(60) };

    fn source(kind: Kind, location: &str) -> Source {
        Source {
            name: SourceName::new("app").unwrap(),
            kind,
            location: location.to_owned(),
            reference: None,
            digest: Digest::Unknown,
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn fetched(source: &Source, folder: &Path) -> Result<PathBuf, FetchError> {
        runtime().block_on(fetch(source, folder, PACE)).map(|fetched| fetched.file)
    }

    /// Returns the identity of a source, and asserts that it is the same before and after a fetch.
    fn identity_of(source: &Source) -> String {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let before = runtime().block_on(identity(source, folders[0].path(), PACE)).unwrap();
        let fetched = runtime().block_on(fetch(source, folders[1].path(), PACE)).unwrap();
        assert_eq!(before, fetched.identity);
        before
    }

    fn entries(file: &Path) -> Vec<String> {
        let mut names: Vec<String> = tar::Archive::new(File::open(file).unwrap())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .filter(|name| !name.contains("/.git"))
            .collect();
        names.sort();
        names
    }

    /// Answers one request with `status` and `body`. Returns the URL to request.
    fn serve_once(status: &str, body: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            connection.write_all(head.as_bytes()).unwrap();
            connection.write_all(body).unwrap();
        });
        format!("http://{address}/archive.tar.gz")
    }

    #[test]
    fn a_url_is_downloaded_and_its_digest_checked() {
        let folder = tempfile::tempdir().unwrap();
        let right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let mut wanted = source(Kind::Url, &serve_once("200 OK", b"hello"));
        wanted.digest = Digest::Sha256(right.to_owned());
        let file = fetched(&wanted, folder.path()).unwrap();
        assert_eq!(fs::read(file).unwrap(), b"hello");

        let mut wrong = source(Kind::Url, &serve_once("200 OK", b"hallo"));
        wrong.digest = Digest::Sha256(right.to_owned());
        let error = fetched(&wrong, folder.path()).unwrap_err();
        assert!(error.reason.ends_with(&format!("and not {right}")), "{error}");
        assert!(!error.transient);
    }

    #[test]
    fn refusing_server_is_reported_with_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let mut of_others = source(Kind::Url, "http://127.0.0.1:1/x");
        of_others.digest = Digest::OfOthers("arm64".to_owned());
        let error = fetched(&of_others, folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("there is no digest for arm64"), "{error}");
        let missing = source(Kind::Url, &serve_once("404 Not Found", b""));
        let error = fetched(&missing, folder.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the source [app] {}: the server says 404 Not Found", missing.location)
        );
        assert!(!error.transient);
        let busy = source(Kind::Url, &serve_once("503 Busy", b""));
        assert!(fetched(&busy, folder.path()).unwrap_err().transient);
        assert!(
            fetched(&source(Kind::Url, "http://127.0.0.1:1/x"), folder.path())
                .unwrap_err()
                .transient
        );
    }

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=n", "-c", "user.email=e@example.com"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn git_is_checked_out_by_branch_tag_and_commit() {
        let repository = tempfile::tempdir().unwrap();
        let at = repository.path();
        git(at, &["init", "--quiet", "--initial-branch", "main"]);
        let commit = |name: &str| {
            fs::write(at.join(name), name).unwrap();
            git(at, &["add", "."]);
            git(at, &["commit", "--quiet", "-m", name]);
            git(at, &["rev-parse", "HEAD"])
        };
        let first = commit("one");
        git(at, &["tag", "v1"]);
        git(at, &["branch", "stable/x"]);
        let second = commit("two");

        let contents = |reference: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            let mut wanted = source(Kind::Git, &at.display().to_string());
            wanted.reference = reference.map(str::to_owned);
            fetched(&wanted, folder.path()).map(|file| entries(&file))
        };
        let listing = |reference: &str, files: &[&str]| -> Vec<String> {
            let top = format!("app-archive-{}", reference.replace('/', "-"));
            let below = files.iter().map(|file| format!("{top}/{file}"));
            std::iter::once(format!("{top}/")).chain(below).collect()
        };
        assert_eq!(contents(None).unwrap(), listing(&second[..12], &["one", "two"]));
        for reference in ["v1", "stable/x", first.as_str()] {
            assert_eq!(
                contents(Some(reference)).unwrap(),
                listing(reference, &["one"]),
                "{reference}"
            );
        }
        git(at, &["tag", "-a", "-m", "of the second", "v2"]);
        let identity = |reference: Option<&str>| {
            let mut wanted = source(Kind::Git, &at.display().to_string());
            wanted.reference = reference.map(str::to_owned);
            identity_of(&wanted)
        };
        for (reference, commit) in [
            (None, &second),
            (Some("main"), &second),
            (Some("v2"), &second),
            (Some("v1"), &first),
            (Some("stable/x"), &first),
            (Some(&*first), &first),
            (Some(&first[..9]), &first),
        ] {
            assert_eq!(identity(reference), *commit, "{reference:?}");
        }
        let error = contents(Some("nowhere")).unwrap_err();
        assert_eq!(error.reason, "the repository has no branch, tag or commit 'nowhere'");
    }

    #[test]
    fn a_local_folder_is_known_by_its_contents() {
        let local = tempfile::tempdir().unwrap();
        let file = local.path().join("file");
        fs::write(&file, "x").unwrap();
        let wanted = source(Kind::Local, local.path().to_str().unwrap());
        let before = identity_of(&wanted);
        assert_eq!(identity_of(&wanted), before);
        fs::write(&file, "y").unwrap();
        assert_ne!(identity_of(&wanted), before);
        let pinned = source(Kind::Pip, "app == 1.0");
        let folder = local.path();
        assert_eq!(runtime().block_on(identity(&pinned, folder, PACE)).unwrap(), "app == 1.0");
    }

    #[test]
    fn a_local_folder_is_packed_and_a_file_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let local = tempfile::tempdir().unwrap();
        fs::create_dir(local.path().join("sub")).unwrap();
        fs::write(local.path().join("sub/file"), "x").unwrap();
        let file =
            fetched(&source(Kind::Local, local.path().to_str().unwrap()), folder.path()).unwrap();
        let top = local.path().file_name().unwrap().to_str().unwrap();
        let expected = ["", "sub/", "sub/file"].map(|below| format!("{top}/{below}"));
        assert_eq!(entries(&file), expected);

        let archive = local.path().join("sub/file");
        let used = fetched(&source(Kind::Local, archive.to_str().unwrap()), folder.path()).unwrap();
        assert_eq!(used, archive);
        let missing =
            fetched(&source(Kind::Local, "/nonexistent/source"), folder.path()).unwrap_err();
        assert!(
            missing.to_string().starts_with("the source [app] /nonexistent/source: "),
            "{missing}"
        );
    }

    #[test]
    fn requirement_without_source_distribution_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = source(Kind::Pip, "no-such-package-of-kiln==1");
        let error = fetched(&wanted, folder.path()).unwrap_err();
        assert!(error.reason.contains("no-such-package-of-kiln"), "{error}");
    }

    #[test]
    fn a_requirement_is_fetched_as_its_source_distribution() {
        let folder = tempfile::tempdir().unwrap();
        let file = fetched(&source(Kind::Pip, "iniconfig==2.0.0"), folder.path()).unwrap();
        assert!(file.ends_with("iniconfig-2.0.0.tar.gz"), "{}", file.display());
    }
}
