//! Fetches one source to one file, by its kind.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::archive;
use super::{Digest, FetchError, Kind, Source, without_user_info};
use crate::crypto;
use crate::diagnostic::with_causes;

impl Source {
    fn failed(&self, reason: impl Into<String>) -> FetchError {
        let (name, location) = (self.name.clone(), self.location.clone());
        FetchError { name, location, reason: reason.into(), transient: false }
    }

    fn failed_for_now(&self, reason: impl Into<String>) -> FetchError {
        FetchError { transient: true, ..self.failed(reason) }
    }
}

/// What a source was fetched to.
pub(super) struct Fetched {
    /// The file.
    pub(super) file: PathBuf,
    /// What tells it from any other version of the source.
    pub(super) identity: String,
}

/// Fetches `source` into `folder` and checks its digest.
pub(super) async fn fetch(source: &Source, folder: &Path) -> Result<Fetched, FetchError> {
    if let Digest::OfOthers(arch) = &source.digest {
        return Err(source.failed(format!("there is no digest for {arch}")));
    }
    let target = folder.join(&source.name);
    fs::create_dir_all(&target).map_err(|error| source.failed(error.to_string()))?;
    let (file, commit) = match source.kind {
        Kind::Url => (download(source, &target).await?, None),
        Kind::Git => {
            let (file, commit) = check_out(source, &target).await?;
            (file, Some(commit))
        }
        Kind::Local => (take(source, &target)?, None),
        Kind::Pip => (source_distribution(source, &target).await?, None),
    };
    let found = digest(&file).map_err(|error| source.failed(error.to_string()))?;
    if let Digest::Sha256(expected) = &source.digest
        && !found.eq_ignore_ascii_case(expected)
    {
        return Err(source.failed(format!("its sha256 is {found} and not {expected}")));
    }
    let identity = commit.or_else(|| pinned(source)).unwrap_or(found);
    Ok(Fetched { file, identity })
}

/// What the identity of a source would be if it were fetched into `folder` now; it is fetched only
/// where that can't be told otherwise.
pub(super) async fn identity(source: &Source, folder: &Path) -> Result<String, FetchError> {
    match (source.kind, &source.digest) {
        (Kind::Url, Digest::Sha256(digest)) => Ok(digest.to_lowercase()),
        (Kind::Git, _) => match commit_now(source).await? {
            Some(commit) => Ok(commit),
            None => Ok(fetch(source, folder).await?.identity),
        },
        _ => match pinned(source) {
            Some(requirement) => Ok(requirement),
            None => Ok(fetch(source, folder).await?.identity),
        },
    }
}

/// A requirement of one version: an index has nothing else under it, ever.
fn pinned(source: &Source) -> Option<String> {
    let is_pinned = source.kind == Kind::Pip && source.location.contains("==");
    (is_pinned && !source.location.contains('*')).then(|| source.location.clone())
}

/// The commit that a repository has now at the branch or tag; `None` if the reference is neither.
async fn commit_now(source: &Source) -> Result<Option<String>, FetchError> {
    let wanted = source.reference.as_deref().unwrap_or("HEAD");
    let patterns =
        [format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}^{{}}"), wanted.to_owned()];
    let mut git = git();
    git.args(["ls-remote", "--quiet", "--", &source.location]).args(&patterns);
    let listed = run(source, &mut git).await?;
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

/// Git, which is to ask nobody anything.
fn git() -> Command {
    let mut git = Command::new("git");
    git.env("GIT_TERMINAL_PROMPT", "0");
    git
}

/// The SHA-256 digest of a file, in hexadecimal.
fn digest(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn download(source: &Source, folder: &Path) -> Result<PathBuf, FetchError> {
    crypto::provide();
    let refuse = |error: reqwest::Error| {
        let text = with_causes(&error.without_url());
        source.failed_for_now(text)
    };
    let response = reqwest::get(&source.location).await.map_err(refuse)?;
    let status = response.status();
    if !status.is_success() {
        let reason = format!("the server says {status}");
        let passing = status.is_server_error() || status.as_u16() == 429;
        let failed = if passing { source.failed_for_now(reason) } else { source.failed(reason) };
        return Err(failed);
    }
    let too_large = || source.failed(format!("it is larger than {} GiB", super::LARGEST >> 30));
    let mut left = super::LARGEST;
    if response.content_length().is_some_and(|length| length > left) {
        return Err(too_large());
    }
    let path = folder.join("archive");
    let mut file = File::create(&path).map_err(|error| source.failed(error.to_string()))?;
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(refuse)?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(too_large)?;
        file.write_all(&chunk).map_err(|error| source.failed(error.to_string()))?;
    }
    Ok(path)
}

/// Runs a program to its end; gives its output, or the last line it said on standard error.
async fn run(source: &Source, command: &mut Command) -> Result<String, FetchError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| source.failed(format!("'{program}' can't be run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let meaningful = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.contains("notice") && !line.starts_with('[')
    };
    let of_errors = said.lines().rev().find(|line| {
        ["fatal:", "error:", "ERROR:"].iter().any(|mark| line.trim_start().starts_with(mark))
    });
    let last = of_errors.or_else(|| said.lines().rev().find(meaningful)).unwrap_or("it failed");
    Err(source.failed(format!("{program}: {}", last.trim())))
}

/// Clones a repository and packs the working tree at the reference, with its `.git`: version tools
/// of Python packages look there. Returns the archive and the commit.
async fn check_out(source: &Source, folder: &Path) -> Result<(PathBuf, String), FetchError> {
    let clone = folder.join("clone");
    let git = |arguments: &[&str]| {
        let mut git = git();
        git.args(arguments);
        git
    };
    let clone_text = clone.to_string_lossy().into_owned();
    run(
        source,
        &mut git(&["clone", "--quiet", "--no-checkout", "--", &source.location, &clone_text]),
    )
    .await?;
    let wanted = source.reference.as_deref().unwrap_or("HEAD");
    let mut commit = Err(source.failed("unreachable"));
    for spelling in [format!("refs/remotes/origin/{wanted}"), wanted.to_owned()] {
        let commit_of = format!("{spelling}^{{commit}}");
        let parse = ["-C", &clone_text, "rev-parse", "--verify", "--quiet", &commit_of];
        commit = run(source, &mut git(&parse)).await;
        if commit.is_ok() {
            break;
        }
    }
    let commit = commit.map_err(|_| {
        source.failed(format!("the repository has no branch, tag or commit '{wanted}'"))
    })?;
    run(source, &mut git(&["-C", &clone_text, "checkout", "--quiet", "--detach", &commit])).await?;
    forget_user_info(source, &clone).await?;
    let reference = source.reference.as_deref().unwrap_or(&commit[..commit.len().min(12)]);
    let top = format!("{}-archive-{}", source.name, reference.replace('/', "-"));
    let archive = pack(source, clone, top, folder.join("archive")).await?;
    Ok((archive, commit))
}

/// Has a clone, which goes into an image, know nothing of the user and password it was made with.
async fn forget_user_info(source: &Source, clone: &Path) -> Result<(), FetchError> {
    let location = without_user_info(&source.location);
    if location == source.location {
        return Ok(());
    }
    let mut command = git();
    command.arg("-C").arg(clone).args(["remote", "set-url", "origin", &location]);
    run(source, &mut command).await?;
    let logs = clone.join(".git/logs");
    std::fs::remove_dir_all(logs).map_err(|error| source.failed(error.to_string()))
}

async fn pack(
    source: &Source,
    folder: PathBuf,
    top: String,
    target: PathBuf,
) -> Result<PathBuf, FetchError> {
    let written = target.clone();
    tokio::task::spawn_blocking(move || archive::pack_folder(&folder, &top, &written))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        .map_err(|error| source.failed(error.to_string()))?;
    Ok(target)
}

/// A local archive is used where it is; a folder is packed.
fn take(source: &Source, folder: &Path) -> Result<PathBuf, FetchError> {
    let path = Path::new(&source.location);
    let metadata = fs::metadata(path).map_err(|error| source.failed(error.to_string()))?;
    if metadata.is_file() {
        return Ok(path.to_owned());
    }
    let target = folder.join("archive");
    let top =
        path.file_name().map_or(source.name.as_str().into(), std::ffi::OsStr::to_string_lossy);
    archive::pack_folder(path, &top, &target).map_err(|error| source.failed(error.to_string()))?;
    Ok(target)
}

/// The identity of a source on this machine, which is packed in `folder` if it is a folder.
pub(super) fn content(source: &Source, folder: &Path) -> Result<String, FetchError> {
    fs::create_dir_all(folder).map_err(|error| source.failed(error.to_string()))?;
    digest(&take(source, folder)?).map_err(|error| source.failed(error.to_string()))
}

async fn source_distribution(source: &Source, folder: &Path) -> Result<PathBuf, FetchError> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--no-deps", "--no-binary", ":all:", "--dest"])
        .arg(folder)
        .arg("--")
        .arg(&source.location);
    run(source, &mut pip).await?;
    let found = fs::read_dir(folder)
        .map_err(|error| source.failed(error.to_string()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".tar.gz"));
    found.ok_or_else(|| source.failed("there is no source distribution of it as a .tar.gz"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    fn source(kind: Kind, location: &str) -> Source {
        Source {
            name: "app".to_owned(),
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
        runtime().block_on(fetch(source, folder)).map(|fetched| fetched.file)
    }

    /// The identity of a source, which has to be the same before and after it is fetched.
    fn identity_of(source: &Source) -> String {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let before = runtime().block_on(identity(source, folders[0].path())).unwrap();
        let fetched = runtime().block_on(fetch(source, folders[1].path())).unwrap();
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

    /// Answers one request with `status` and `body`.
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
    fn a_server_that_refuses_is_told_with_the_url() {
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
        assert_eq!(runtime().block_on(identity(&pinned, folder)).unwrap(), "app == 1.0");
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
    fn a_requirement_without_source_distribution_is_told() {
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
