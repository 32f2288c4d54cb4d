//! Reading of texts of limited size, such as templates, manifests and tables.

use std::io::{self, Read as _};
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::files;

/// Largest size of a template, a manifest or a table, in bytes: a hundred times the largest of
/// known trees. Other files are sent to the engine without being parsed, and may have any size.
pub(super) const LONGEST_TEXT: u64 = 4 << 20;

/// Initial size of the buffer, in bytes. Almost all templates are shorter, so that they are read at
/// once without a query of their length.
const LENGTH_OF_MOST: usize = 8 << 10;

/// Returns the content of a regular file, up to the size limit of texts.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(LENGTH_OF_MOST);
    files::open_regular(path)?.take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        let message = format!("it is longer than {} MiB", LONGEST_TEXT >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// Returns the text of a file; `None` if it can't be read, is too long or is not UTF-8.
pub(super) fn text_at(path: &Path) -> Option<String> {
    String::from_utf8(read_bounded(path).ok()?).ok()
}

/// Returns the number of the line, from 1, of the byte that follows `bytes`.
pub(super) fn line_after(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the error for a file or folder that can't be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(format!("'{}' can't be read: {error}", path.display()))
}
