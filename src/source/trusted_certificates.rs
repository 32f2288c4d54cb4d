//! CA certificates that the variables of Python's requests name for the servers of sources.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Certificate;

use crate::files::{self, MOST_OF_CONFIGURATION};

/// Variables with a file or a folder of certificates, by priority.
const VARIABLES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// Returns the certificates that replace those that this machine trusts; `None` if no variable is
/// set.
///
/// # Errors
/// When the file or folder can't be read, or has no certificate; the reason names the variable.
pub(super) fn trusted_certificates() -> Result<Option<Vec<Certificate>>, String> {
    let set = |name: &&str| env::var_os(name).filter(|value| !value.is_empty());
    let Some((name, path)) = VARIABLES.iter().find_map(|name| Some((name, set(name)?))) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    let failed = |reason: String| format!("{name} names {}: {reason}", path.display());
    let found = certificates_at(&path).map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("it has no certificate".to_owned()));
    }
    Ok(Some(found))
}

/// Returns the certificates in a file, or in the files of a folder.
fn certificates_at(path: &Path) -> io::Result<Vec<Certificate>> {
    if !path.is_dir() {
        return certificates_in(path);
    }
    let entries: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
    let mut found = Vec::new();
    for entry in entries.iter().map(fs::DirEntry::path).filter(|path| path.is_file()) {
        // A folder of certificates also has other files, such as lists and scripts.
        found.extend(certificates_in(&entry).unwrap_or_default());
    }
    Ok(found)
}

fn certificates_in(file: &Path) -> io::Result<Vec<Certificate>> {
    let text = files::read(file, MOST_OF_CONFIGURATION)?;
    Certificate::from_pem_bundle(&text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not a file of certificates"))
}
