//! Takes sources that are files or folders of this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::{FetchError, LARGEST, Source, archive};
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
    let target = folder.join("archive");
    let top = path.file_name().map_or(source.name.as_str().into(), OsStr::to_string_lossy);
    archive::pack_folder(path, &top, &target).map_err(|error| source.failed(error.to_string()))?;
    Ok(target)
}
