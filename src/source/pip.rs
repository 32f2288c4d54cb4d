//! Fetches source distributions of Python requirements with the user's pip.
//!
//! Pip runs in an empty folder of its own. So it neither loads code from the folder in which Kiln
//! was started nor takes the name of a requirement for a file there.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::configured_source::Source;
use super::fetch_error::FetchError;
use super::fetch_limits::{LARGEST, Pace};
use crate::git::{self, Remote};
use crate::program::{self, Limits};
use crate::secret::without_secrets;

/// Environment variables that name files for pip. Relative paths in them are made absolute, since
/// pip runs in another folder.
const PATHS: [&str; 8] = [
    "PIP_CONFIG_FILE",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CACHE_DIR",
    "PIP_CONSTRAINT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
];

/// Downloads the source distribution of a requirement into `folder`.
pub(super) async fn source_distribution(
    source: &Source,
    folder: &Path,
    pace: Pace,
) -> Result<PathBuf, FetchError> {
    refuse_odd(source)?;
    let here = |error: io::Error| source.failed(error.to_string());
    let [work, temporary, out] = ["work", "tmp", "out"].map(|name| folder.join(name));
    for folder in [&work, &temporary, &out] {
        fs::create_dir(folder).map_err(here)?;
    }
    let mut pip = program::command("python3").map_err(here)?;
    set_environment(&mut pip);
    pip.current_dir(&work).env("TMPDIR", &temporary);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--no-deps", "--no-binary", ":all:", "--retries", "1", "--timeout"])
        .arg(pace.silence.as_secs().max(1).to_string())
        .arg("--dest")
        .arg(&out);
    let location = lend_git(source, &work, &mut pip, pace).await?;
    name_requirement(&mut pip, &location, folder).map_err(here)?;
    // Preparing a package's metadata may take long, and pip prints nothing meanwhile.
    let limits = Limits {
        silence: pace.total(),
        folder: Some((folder.to_owned(), LARGEST)),
        ..pace.limits()
    };
    let ended = program::run_async(pip, Vec::new(), limits).await;
    let ended = ended.map_err(|error| source.not_run("pip", &error))?;
    source.succeeded("pip", &ended, &OF_CONNECTIONS)?;
    let found = fs::read_dir(out)
        .map_err(here)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".tar.gz"));
    found.ok_or_else(|| source.failed("there is no source distribution of it as a .tar.gz"))
}

/// Refuses a requirement that is a relative path or has control characters.
fn refuse_odd(source: &Source) -> Result<(), FetchError> {
    let location = source.location.trim_start();
    if location.chars().any(char::is_control) {
        return Err(source.failed("its requirement contains control characters"));
    }
    let file = location.strip_prefix("file:").map(|path| path.trim_start_matches("//"));
    let is_relative = location.starts_with(['.', '~']) || file.is_some_and(|p| !p.starts_with('/'));
    if is_relative {
        let reason =
            "it is a path relative to the current folder: use an absolute path, or type = local";
        return Err(source.failed(reason));
    }
    Ok(())
}

/// Restricts Python to absolute folders for its modules, and makes the user's paths absolute.
fn set_environment(pip: &mut Command) {
    pip.env("PYTHONSAFEPATH", "1");
    match env::var_os("PYTHONPATH").map(|path| program::only_absolute(&path)) {
        Some(path) if !path.is_empty() => pip.env("PYTHONPATH", path),
        _ => pip.env_remove("PYTHONPATH"),
    };
    for name in PATHS {
        let value = env::var_os(name).filter(|value| !value.is_empty());
        if let Some(value) = value.filter(|value| !value.to_string_lossy().contains("://")) {
            pip.env(name, env::current_dir().unwrap_or_default().join(value));
        }
    }
}

/// Configures the git that pip may run like Kiln's own. Returns the location, without the secrets
/// of a git URL.
async fn lend_git(
    source: &Source,
    work: &Path,
    pip: &mut Command,
    pace: Pace,
) -> Result<String, FetchError> {
    const OF_GIT: &str = "git+";
    let Some(start) = source.location.find(OF_GIT) else {
        // The build backend that prepares the metadata may ask git for the package's version.
        git::keep_apart(pip, work);
        return Ok(source.location.clone());
    };
    let (before, url) = source.location.split_at(start + OF_GIT.len());
    let remote = Remote::new(url, work, pace.silence).await;
    let remote = remote.map_err(|error| source.not_usable(&error))?;
    remote.lend_to(pip);
    Ok(format!("{before}{}", remote.location()))
}

/// Passes the requirement to pip; one with a secret in a file that only this user can read.
fn name_requirement(pip: &mut Command, location: &str, folder: &Path) -> io::Result<()> {
    if without_secrets(location) == location {
        pip.arg("--").arg(location);
        return Ok(());
    }
    // A requirements file may also contain options, variables and comments.
    let is_more = location.trim_start().starts_with(['-', '#'])
        || location.contains(" -")
        || location.contains(" #")
        || location.contains(['$', '\\']);
    if is_more {
        let reason = "a requirement that contains a secret can't have options, variables or comments: write '$' as %24";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let path = folder.join("requirement");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{location}")?;
    pip.arg("--requirement").arg(path);
    Ok(())
}

/// Messages of pip about connection failures that are worth a retry.
const OF_CONNECTIONS: [&str; 11] = [
    "after connection broken by",
    "timed out",
    "Connection refused",
    "Connection reset",
    "Connection aborted",
    "Connection broken",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Max retries exceeded",
    "429 Client Error",
    "503 Server Error",
];
