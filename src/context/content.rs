//! Content of one entry of a context: read in blocks, and measured without being held.

use std::io::{self, Read};
use std::sync::Arc;

use crate::fingerprint::Digester;
use crate::tree::{FILE_MODE, TreeFile, TreeFolder};

/// Largest part of a file that is held while the file is read, in bytes.
pub(super) const BLOCK: usize = 256 << 10;

/// Largest file whose content is kept after it was measured, in bytes: larger files are read again
/// when they are sent.
const LARGEST_KEPT: usize = 64 << 10;

/// Mode of a folder that is created.
pub(super) const FOLDER_MODE: u32 = 0o755;

/// Mode of a link, with its file type, so that no file has the same digest.
const LINK_MODE: u32 = 0o120_777;

/// Content of an entry, or its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Text(Arc<str>),
    File(TreeFile),
    /// File of Kiln's own, with the digest of its bytes.
    Fetched(TreeFile, String),
    /// Folder that an instruction requires.
    Required,
    /// Folder of the tree.
    Folder(TreeFolder),
    /// Link to this target.
    Link(String),
}

impl Opened {
    fn empty(mode: u32) -> Self {
        Self { reader: Box::new(io::empty()), size: 0, mode }
    }
}

/// Opened content.
pub(super) struct Opened {
    pub(super) reader: Box<dyn Read + Send>,
    /// Size when the content was opened, in bytes.
    pub(super) size: u64,
    pub(super) mode: u32,
}

impl Content {
    pub(super) fn is_folder(&self) -> bool {
        matches!(self, Self::Required | Self::Folder(_))
    }

    /// Opens the content. That of a folder is empty, that of a link is its target.
    pub(super) fn open(&self) -> io::Result<Opened> {
        match self {
            Self::Text(text) => {
                let (size, bytes) =
                    (text.len() as u64, io::Cursor::new(Arc::<[u8]>::from(text.clone())));
                Ok(Opened { reader: Box::new(bytes), size, mode: FILE_MODE })
            }
            Self::File(file) | Self::Fetched(file, _) => {
                let file = file.open()?;
                Ok(Opened { reader: file.content, size: file.size, mode: file.mode })
            }
            Self::Required => Ok(Opened::empty(FOLDER_MODE)),
            Self::Folder(folder) => Ok(Opened::empty(folder.mode()?)),
            Self::Link(target) => {
                let reader = Box::new(io::Cursor::new(target.clone().into_bytes()));
                Ok(Opened { reader, size: target.len() as u64, mode: LINK_MODE })
            }
        }
    }

    /// Measures the content. Keeps it if it is small and fits into `room`, the number of bytes that
    /// may still be kept, which is reduced by its size. `as_mode` returns the mode for a mode.
    pub(super) fn measure(
        &self,
        room: &mut usize,
        as_mode: fn(u32) -> u32,
    ) -> io::Result<Measured> {
        let Opened { reader, size, mode } = self.open()?;
        let mode = as_mode(mode);
        if let Self::Fetched(_, digest) = self {
            let digest = digest.clone();
            return Ok(Measured { mode, size, start: Vec::new(), digest, kept: None });
        }
        let start = mode.to_le_bytes().to_vec();
        let mut digester = digester_after(&start);
        let (mut total, mut kept) = (0, None);
        for_each_block(reader, size, |block| {
            kept = (total == 0 && block.len() <= LARGEST_KEPT).then(|| block.to_vec());
            total += block.len() as u64;
            digester.update(block);
            Ok(())
        })?;
        let kept = if total == 0 { Some(Vec::new()) } else { kept };
        let kept = kept.filter(|bytes| bytes.len() <= *room);
        *room -= kept.as_ref().map_or(0, Vec::len);
        let digest = digester.finish();
        Ok(Measured { mode, size: total, start, digest, kept: kept.map(Into::into) })
    }
}

/// Facts about a content, from reading it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) mode: u32,
    /// Size in bytes.
    pub(super) size: u64,
    /// Bytes that the digest covers before the content: the mode of a file of the tree.
    pub(super) start: Vec<u8>,
    /// Digest of `start` and the content.
    pub(super) digest: String,
    /// The content, if it is small.
    pub(super) kept: Option<Arc<[u8]>>,
}

/// Returns a digester that was given `start`.
pub(super) fn digester_after(start: &[u8]) -> Digester {
    let mut digester = Digester::default();
    digester.update(start);
    digester
}

/// Passes the content of `reader` to `take` in blocks. `size` is the expected size in bytes: a
/// content of this size that fits into a block is read with one request, and one for its end.
pub(super) fn for_each_block(
    mut reader: impl Read,
    size: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let capacity = usize::try_from(size).unwrap_or(BLOCK).saturating_add(1).min(BLOCK);
    let mut block = vec![0; capacity];
    loop {
        let filled = fill(&mut reader, &mut block)?;
        if filled > 0 {
            take(&block[..filled])?;
        }
        if filled < block.len() {
            return Ok(());
        }
    }
}

/// Reads until `block` is full or the content ends. Returns the number of bytes read.
pub(super) fn fill(reader: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match reader.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns an error that names the file it is about.
pub(super) fn in_file(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("'{path}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::digest;

    #[test]
    fn content_of_any_size_is_measured_and_only_a_small_one_is_kept() {
        let mut room = 3 * LARGEST_KEPT;
        let sizes = [0, 1, LARGEST_KEPT, LARGEST_KEPT + 1, BLOCK - 1, BLOCK, 2 * BLOCK + 7];
        for size in sizes {
            let text = "x".repeat(size);
            let content = Content::File(TreeFile::of_text(text.clone()));
            let measured = content.measure(&mut room, |mode| mode).unwrap();
            let expected = [&FILE_MODE.to_le_bytes(), text.as_bytes()].concat();
            assert_eq!((measured.size, measured.digest), (size as u64, digest(&expected)));
            let kept = (size <= LARGEST_KEPT).then(|| text.as_bytes().into());
            assert_eq!(measured.kept, kept, "{size}");
        }
        assert_eq!(room, 2 * LARGEST_KEPT - 1);
        let content = Content::Text("xyz".into());
        assert_eq!(content.measure(&mut 2, |mode| mode).unwrap().kept, None);
    }

    #[test]
    fn file_of_unknown_size_is_read_to_its_end() {
        for expected in [0, 5, 10, 1 << 40] {
            let mut read = Vec::new();
            let take = |block: &[u8]| {
                read.extend_from_slice(block);
                Ok(())
            };
            for_each_block(&b"0123456789"[..], expected, take).unwrap();
            assert_eq!(read, b"0123456789", "{expected}");
        }
    }
}
