//! Files of trees for tests.

use std::fs;
use std::path::Path;

/// Writes a file at `path` below `root`, with the folders above it.
pub(super) fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
