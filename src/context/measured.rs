//! Context that was measured once and is sent in blocks, as often as a build is tried.
//!
//! The fingerprint of an image, which goes into its label, and the key of a BuildKit session are
//! known before the first byte is sent. So a file that is not kept in memory is compared with its
//! digest while it is sent: if it has changed in the meantime, sending fails, and no image gets a
//! label that describes other contents than its own.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use super::content::{BLOCK, Content, Measured, digester_after, fill, in_file};
use crate::fingerprint::{Digester, Fingerprint, Parts};

/// Entry of a context, with the facts that were measured.
#[derive(Debug, Clone)]
pub struct Entry {
    path: String,
    content: Content,
    measured: Measured,
}

impl Entry {
    pub(super) fn new(path: &str, content: &Content, measured: Measured) -> Self {
        Self { path: path.to_owned(), content: content.clone(), measured }
    }

    /// Returns the path within the context.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the permissions.
    pub fn mode(&self) -> u32 {
        self.measured.mode & 0o7777
    }

    /// Returns the mode as the digest covers it.
    pub(super) fn measured_mode(&self) -> u32 {
        self.measured.mode
    }

    /// Returns the size of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.measured.size
    }

    /// Returns the digest by which the entry is a part of a fingerprint.
    pub(super) fn digest(&self) -> &str {
        &self.measured.digest
    }

    /// Returns true if the entry is a folder.
    pub fn is_folder(&self) -> bool {
        self.content.is_folder()
    }

    /// Returns the target of a link; `None` if the entry is no link.
    pub fn target(&self) -> Option<&str> {
        match &self.content {
            Content::Link(target) => Some(target),
            _ => None,
        }
    }

    /// Opens the content.
    ///
    /// # Errors
    /// When the file can't be opened; the error names it. Reading fails if the file has changed
    /// since it was measured, at the latest at its end.
    pub fn open(&self) -> io::Result<EntryReader> {
        let Measured { size, start, digest, kept, .. } = &self.measured;
        if let Some(kept) = kept {
            let reader = Box::new(io::Cursor::new(kept.clone()));
            let path = String::new();
            return Ok(EntryReader { path, reader, left: *size, is_in_memory: true, check: None });
        }
        let path = self.path.clone();
        let reader = self.content.open().map_err(|error| in_file(&path, &error))?.reader;
        let check = Some((digester_after(start), digest.clone()));
        Ok(EntryReader { path, reader, left: *size, is_in_memory: false, check })
    }

    /// Returns a text that differs for entries with the same path and different contents.
    fn identity(&self) -> String {
        let Measured { mode, size, digest, .. } = &self.measured;
        let kind = match self.target() {
            Some(_) => "link",
            None if self.is_folder() => "folder",
            None => "file",
        };
        format!("{kind} {mode:o} {size} {digest}")
    }
}

/// Reader of an entry's content.
pub struct EntryReader {
    path: String,
    reader: Box<dyn Read + Send>,
    /// Number of bytes that are left to read.
    left: u64,
    is_in_memory: bool,
    /// Digester of the bytes so far and the expected digest; `None` if the content can't change or
    /// has been compared.
    check: Option<(Digester, String)>,
}

impl EntryReader {
    /// Compares the content, which was read up to its measured size, with its digest.
    fn compare(&mut self) -> io::Result<()> {
        let Some((digester, expected)) = self.check.take() else { return Ok(()) };
        let is_longer = fill(&mut self.reader, &mut [0])? > 0;
        if is_longer || digester.finish() != expected {
            return Err(self.changed());
        }
        Ok(())
    }

    /// Returns true if reading needs no file.
    pub fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// Reads the next block of at most 256 KiB into `block`, which is empty at the end. The same
    /// memory is used for all blocks of a file.
    ///
    /// # Errors
    /// When the file can't be read, or has changed; the error names it.
    pub fn next_block(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        block.resize(usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK), 0);
        if block.is_empty() {
            return self.compare();
        }
        let filled = fill(self, block)?;
        block.truncate(filled);
        Ok(())
    }

    fn changed(&self) -> io::Error {
        let reason = "it has changed since Kiln computed its digest: run Kiln again";
        in_file(&self.path, &io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

impl Read for EntryReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.compare().map(|()| 0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most]);
        let read = read.map_err(|error| in_file(&self.path, &error))?;
        if read == 0 && most > 0 {
            return Err(self.changed());
        }
        self.left -= read as u64;
        if let Some((digester, _)) = &mut self.check {
            digester.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// Context that was measured. Copies share its entries.
#[derive(Debug, Clone)]
pub struct MeasuredContext {
    entries: Arc<[Entry]>,
    parts: Parts,
    key: String,
}

impl MeasuredContext {
    /// Creates a context of `entries`, sorted by path, in which each folder has an entry. `parts`
    /// are those of its fingerprint.
    pub(super) fn new(entries: Vec<Entry>, parts: Parts) -> Self {
        let identities = entries.iter().map(|entry| (entry.path.clone(), entry.identity()));
        let key = Fingerprint::of(&identities.collect()).to_string();
        Self { entries: entries.into(), parts, key }
    }

    /// Returns the files and folders, sorted by path. Each folder has an entry.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the parts of the context in the fingerprint of an image.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns a digest of all entries.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Writes the context as a tar archive.
    ///
    /// # Errors
    /// When a file can't be read or has changed (the error names it), or `out` can't be written.
    pub fn write_tar<W: Write>(&self, out: W) -> io::Result<W> {
        let mut archive = tar::Builder::new(out);
        for entry in self.entries() {
            let mut header = tar::Header::new_gnu();
            header.set_size(if entry.target().is_some() { 0 } else { entry.size() });
            header.set_mode(entry.mode());
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            if entry.is_folder() {
                header.set_entry_type(tar::EntryType::Directory);
            }
            if let Some(target) = entry.target() {
                header.set_entry_type(tar::EntryType::Symlink);
                archive.append_link(&mut header, entry.path(), target)?;
                continue;
            }
            let capacity = usize::try_from(entry.size()).unwrap_or(BLOCK).clamp(1, BLOCK);
            let content = BufReader::with_capacity(capacity, entry.open()?);
            archive.append_data(&mut header, entry.path(), content)?;
        }
        archive.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use crate::context::Context;
    use crate::tree::TreeFile;

    /// Size of a file that is not kept in memory.
    const LARGE: usize = 1 << 20;

    fn measured(file: &Path) -> MeasuredContext {
        let file = TreeFile::on_disk(file.to_owned());
        Context::new("FROM x".into(), [("data".to_owned(), file)]).measure().unwrap()
    }

    #[test]
    fn changed_file_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let changes: [(&str, &dyn Fn()); 4] = [
            ("grown", &|| fs::write(&file, "x".repeat(LARGE + 1)).unwrap()),
            ("shrunk", &|| fs::write(&file, "x".repeat(LARGE - 1)).unwrap()),
            ("emptied", &|| fs::write(&file, "").unwrap()),
            ("rewritten", &|| fs::write(&file, "x".repeat(LARGE - 1) + "y").unwrap()),
        ];
        for (what, change) in changes {
            fs::write(&file, "x".repeat(LARGE)).unwrap();
            let context = measured(&file);
            context.write_tar(io::sink()).unwrap();
            change();
            let error = context.write_tar(io::sink()).unwrap_err().to_string();
            assert!(error.starts_with("'data': it has changed since "), "{what}: {error}");
            fs::remove_file(&file).unwrap();
            let error = context.write_tar(io::sink()).unwrap_err().to_string();
            assert!(error.starts_with("'data': No such file"), "{what}: {error}");
        }
    }

    #[test]
    fn small_file_is_sent_as_it_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "before").unwrap();
        let context = measured(&file);
        let before = context.write_tar(Vec::new()).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(context.write_tar(Vec::new()).unwrap(), before);
    }

    #[test]
    fn key_depends_on_all_contents() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let key_of = |content: &str| {
            fs::write(&file, content).unwrap();
            measured(&file).key().to_owned()
        };
        let large = "x".repeat(LARGE);
        let keys = ["a", "b", &large, &large.replacen('x', "y", 1)].map(key_of);
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        assert_eq!(key_of("a"), keys[0]);
    }

    #[test]
    fn fetched_file_is_compared_with_the_digest_that_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "right").unwrap();
        let context = |digest: &str| {
            let mut context = Context::new("FROM x".into(), []);
            let file = TreeFile::on_disk(file.clone());
            context.add_fetched("app-archive".to_owned(), file, digest.to_owned());
            context.measure().unwrap()
        };
        let right = context(&crate::fingerprint::digest(b"right"));
        right.write_tar(io::sink()).unwrap();
        assert_eq!(right.parts().keys().collect::<Vec<_>>(), ["Dockerfile"]);
        let wrong = context(&crate::fingerprint::digest(b"wrong"));
        let error = wrong.write_tar(io::sink()).unwrap_err().to_string();
        assert!(error.starts_with("'app-archive': it has changed since "), "{error}");
        assert_ne!(right.key(), wrong.key());
    }
}
