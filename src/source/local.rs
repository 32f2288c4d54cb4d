//! Takes sources that are files or folders of this machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::archive;
use super::configured_source::Source;
use super::fetch_error::FetchError;
use super::fetch_limits::LARGEST;
use crate::files::refuse_irregular;

/// Returns the path of a local archive as it is; packs a local folder into an archive in `folder`.
pub(super) fn take(source: &Source, folder: &Path) -> Result<PathBuf, FetchError> {
    let path = Path::new(&source.location);
    let metadata = fs::metadata(path).map_err(|error| source.failed(error.to_string()))?;
    refuse_irregular(&metadata).map_err(|error| source.failed(error.to_string()))?;
    if metadata.is_file() {
        if metadata.len() > LARGEST {
            return Err(source.failed(format!("it is larger than {} GiB", LARGEST >> 30)));
        }
        return Ok(path.to_owned());
    }
    let top = top_of(&source.location).map_err(|reason| source.failed(reason))?;
    let target = folder.join("archive");
    archive::pack_folder(path, top, &target).map_err(|error| source.failed(error.to_string()))?;
    Ok(target)
}

/// Returns the folder in the archive that has the contents of a local folder: the part of its
/// location after the last slash, as in kolla-build. It is empty if the location ends in `/` or
/// `.`, and the contents are then at the top.
fn top_of(location: &str) -> Result<&str, String> {
    match location.rsplit('/').next().unwrap_or(location) {
        "." => Ok(""),
        ".." => {
            Err("it ends in '..', which would be put beside the archive: write the folder's name"
                .to_owned())
        }
        top => Ok(top),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_has_the_last_part_of_its_location_in_the_archive() {
        for (location, expected) in [
            ("a/b", "b"),
            ("a/b/", ""),
            ("a/b//", ""),
            ("a//b", "b"),
            ("/a", "a"),
            ("a", "a"),
            ("a/", ""),
            (".", ""),
            ("./", ""),
            ("a/.", ""),
            ("./a", "a"),
            ("../a", "a"),
            ("/", ""),
            ("../", ""),
            ("a/../", ""),
            ("a/...", "..."),
        ] {
            assert_eq!(top_of(location).unwrap(), expected, "{location}");
        }
        for location in ["..", "a/.."] {
            assert!(top_of(location).unwrap_err().contains("it ends in '..'"), "{location}");
        }
    }
}
