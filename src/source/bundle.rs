//! Bundles third-party archives: repacks many into one, below one folder.
//!
//! The bundle is streamed directly from its archives: nothing is unpacked on this machine. The
//! contents of an archive are untrusted and are unpacked in the image, so they are checked here, by
//! one rule: unpacked in any order, by any program, an archive writes only below its folder, and
//! once to each name. Only the names of the entries are kept in memory.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::archive::tidy_header;
use super::configured_source::Source;
use super::fetch_error::FetchError;
use super::fetch_limits::LARGEST;
use crate::files::open_regular;

/// Limits on the contents of one bundle.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Largest total size of all files, in bytes.
    bytes: u64,
    /// Largest number of entries in all archives.
    entries: usize,
}

/// Limits of a real bundle. A checkout of the largest projects has a third of these entries.
const LIMITS: Limits = Limits { bytes: LARGEST, entries: 250_000 };

/// Largest number of bytes between the contents of two files: names, attributes, and the padding at
/// the end. A few kB are usual.
const MOST_BETWEEN_FILES: u64 = 1 << 20;

/// Longest component of a path that file systems accept, in bytes.
const LONGEST_PART: usize = 255;

/// Longest path, in bytes. An engine accepts 4095 bytes, of which some are for the folder in the
/// image.
const LONGEST_PATH: usize = 3072;

/// Writes one tar archive with the entries of all `archives` below a folder called `top`. Returns
/// the SHA-256 digest of the archive, in hexadecimal.
pub(super) fn bundle(
    top: &str,
    archives: &[(Source, PathBuf)],
    target: &Path,
) -> Result<String, FetchError> {
    let here = |error: io::Error| FetchError {
        name: top.to_owned(),
        location: target.display().to_string(),
        reason: error.to_string(),
        transient: false,
    };
    let file = Digested { inner: File::create(target).map_err(here)?, hasher: Sha256::new() };
    let out = BufWriter::new(file);
    let mut bundle = Bundle::new(top, out, LIMITS).map_err(here)?;
    for (source, path) in archives {
        let added = open(path).and_then(|archive| bundle.add(archive));
        added.map_err(|error| FetchError {
            name: source.name.to_string(),
            location: source.location.clone(),
            reason: format!("its archive can't be used: {error}"),
            transient: false,
        })?;
    }
    let out = bundle.finish().and_then(|out| out.into_inner().map_err(io::Error::from));
    let hash = out.map_err(here)?.hasher.finalize();
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writer that computes the digest of what is written.
struct Digested<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Returns the bundle of one archive that is in memory, within limits of 1 MiB and 1000 entries.
///
/// # Errors
/// When the archive is refused; the error gives the reason.
pub fn bundled(top: &str, archive: &[u8]) -> io::Result<Vec<u8>> {
    let limits = Limits { bytes: 1 << 20, entries: 1000 };
    let mut bundle = Bundle::new(top, Vec::new(), limits)?;
    bundle.add(decompressed(io::Cursor::new(archive))?)?;
    bundle.finish()
}

/// Bundle being written.
struct Bundle<W: Write> {
    out: tar::Builder<W>,
    top: PathBuf,
    names: Names,
    limits: Limits,
}

impl<W: Write> Bundle<W> {
    fn new(top: &str, out: W, limits: Limits) -> io::Result<Self> {
        let mut out = tar::Builder::new(out);
        let top = PathBuf::from(top);
        let mut header = tidy_header(tar::EntryType::Directory, 0o755);
        out.append_data(&mut header, top.join(""), io::empty())?;
        Ok(Self { out, top, names: Names::default(), limits })
    }

    fn finish(self) -> io::Result<W> {
        let mut out = self.out.into_inner()?;
        out.flush()?;
        Ok(out)
    }

    /// Adds all entries of an archive.
    fn add(&mut self, archive: impl Read) -> io::Result<()> {
        let gauge = Gauge::default();
        let mut archive = tar::Archive::new(Gauged { inner: archive, gauge: gauge.clone() });
        self.names.archive += 1;
        let mut last = None;
        let mut entries = archive.entries()?;
        loop {
            gauge.allow(MOST_BETWEEN_FILES);
            let entry =
                entries.next().transpose().map_err(|error| after(last.as_deref(), &error))?;
            let Some(entry) = entry else { break };
            let name = name_of(&entry)?;
            self.limits.entries = self
                .limits
                .entries
                .checked_sub(1)
                .ok_or_else(|| refused(&name, "exceeds the number of entries for one image"))?;
            gauge.allow(entry.size().saturating_add(MOST_BETWEEN_FILES));
            self.add_entry(&name, entry)?;
            last = Some(name);
        }
        if !gauge.saw_end() {
            return Err(after(last.as_deref(), &io::Error::other("it ends without an end mark")));
        }
        gauge.allow(MOST_BETWEEN_FILES);
        io::copy(&mut archive.into_inner(), &mut io::sink())
            .map(|_| ())
            .map_err(|error| after(last.as_deref(), &error))
    }

    fn add_entry(&mut self, name: &str, mut entry: tar::Entry<'_, impl Read>) -> io::Result<()> {
        let kind = match entry.header().entry_type() {
            tar::EntryType::XGlobalHeader => return Ok(()),
            // Old programs mark a folder this way.
            tar::EntryType::Regular if name.ends_with('/') => tar::EntryType::Directory,
            tar::EntryType::Continuous => tar::EntryType::Regular,
            kind => kind,
        };
        let path = tidy_path(name)?;
        let is_folder = kind == tar::EntryType::Directory;
        if path.as_os_str().is_empty() && !is_folder {
            return Err(refused(name, "is not a file name"));
        }
        let target = self.top.join(&path);
        match kind {
            tar::EntryType::Directory => {
                self.names.claim(name, path, Claim::Folder)?;
                self.out.append_data(&mut tidy_header(kind, 0o755), target.join(""), io::empty())
            }
            tar::EntryType::Regular => {
                self.names.claim(name, path, Claim::File)?;
                let size = entry.size();
                let left = self.limits.bytes.checked_sub(size);
                self.limits.bytes = left.ok_or_else(|| refused(name, TOO_LARGE))?;
                let mode = entry.header().mode();
                let mode = mode.map_err(|error| refused(name, &format!("has no mode: {error}")))?;
                let executable = mode & 0o100 != 0;
                let mut header = tidy_header(kind, if executable { 0o755 } else { 0o644 });
                header.set_size(size);
                let mut content = Counted { inner: &mut entry, count: 0 };
                let copied = self.out.append_data(&mut header, target, &mut content);
                copied.map_err(|error| refused(name, &format!("can't be read: {error}")))?;
                if content.count != size {
                    return Err(refused(name, "is cut off"));
                }
                Ok(())
            }
            tar::EntryType::Symlink => {
                let link = entry.link_name_bytes().unwrap_or_default().into_owned();
                let link = String::from_utf8(link)
                    .map_err(|_| refused(name, "is a link to a name that is not UTF-8"))?;
                refuse_leaving(name, &path, &link)?;
                self.names.claim(name, path, Claim::Link)?;
                self.out.append_link(&mut tidy_header(kind, 0o777), target, link)
            }
            _ => Err(refused(name, "is not a file, folder or symbolic link")),
        }
    }
}

const TOO_LARGE: &str = "makes the sources of the image larger than 8 GiB";

/// Paths already taken below the bundle's folder, each with its kind and the number of its archive.
#[derive(Default)]
struct Names {
    claims: HashMap<PathBuf, (Claim, usize)>,
    /// Number of the archive being read, from 1.
    archive: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Folder,
    File,
    Link,
}

impl Names {
    /// Claims a path, and its ancestors as folders. A later archive may replace an entry by one of
    /// the same kind, as if the archives were unpacked one after the other.
    fn claim(&mut self, name: &str, path: PathBuf, kind: Claim) -> io::Result<()> {
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match self.claims.get(above) {
                Some((Claim::Folder, _)) => break,
                Some(_) => {
                    let what = format!("is below {above:?}, which is not a folder");
                    return Err(refused(name, &what));
                }
                None => self.claims.insert(above.to_owned(), (Claim::Folder, self.archive)),
            };
        }
        match self.claims.insert(path, (kind, self.archive)) {
            Some((known, _)) if known != kind => {
                Err(refused(name, "has the name of another entry of the archive"))
            }
            Some((Claim::File | Claim::Link, archive)) if archive == self.archive => {
                Err(refused(name, "is in the archive twice"))
            }
            _ => Ok(()),
        }
    }
}

/// Number of bytes that may still be read, and number of zero bytes at the end of those read so
/// far. A block of zeros marks the end of an archive.
#[derive(Default, Clone)]
struct Gauge(Rc<(Cell<u64>, Cell<u64>)>);

impl Gauge {
    /// Size of a tar block, in bytes.
    const BLOCK: u64 = 512;

    fn allow(&self, bytes: u64) {
        self.0.0.set(bytes);
    }

    fn note(&self, bytes: &[u8]) {
        self.0.0.set(self.0.0.get() - bytes.len() as u64);
        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == bytes.len() { self.0.1.get() } else { 0 };
        self.0.1.set(before + zeros as u64);
    }

    /// Returns true if the last bytes read were a whole block of zeros.
    fn saw_end(&self) -> bool {
        self.0.1.get() >= Self::BLOCK
    }
}

/// Reader that fails when it has read as many bytes as its gauge allows.
struct Gauged<R> {
    inner: R,
    gauge: Gauge,
}

impl<R: Read> Read for Gauged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = usize::try_from(self.gauge.0.0.get()).unwrap_or(usize::MAX);
        if allowed == 0 && !buffer.is_empty() {
            let what = "its headers are larger than names and attributes need";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let most = buffer.len().min(allowed);
        let read = self.inner.read(&mut buffer[..most])?;
        self.gauge.note(&buffer[..read]);
        Ok(read)
    }
}

/// Reader that counts the bytes that it reads.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// Opens the tar archive in a file.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    decompressed(open_regular(path)?)
}

/// Returns a reader of a tar archive that is compressed by gzip or not compressed.
fn decompressed<'a>(mut file: impl Read + io::Seek + 'a) -> io::Result<Box<dyn Read + 'a>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut start = Vec::new();
    file.by_ref().take(GZIP.len() as u64).read_to_end(&mut start)?;
    file.rewind()?;
    let file = BufReader::new(file);
    if start == GZIP { Ok(Box::new(MultiGzDecoder::new(file))) } else { Ok(Box::new(file)) }
}

/// Returns the name of an entry, which has to be UTF-8.
fn name_of(entry: &tar::Entry<'_, impl Read>) -> io::Result<String> {
    let bytes = entry.path_bytes();
    match std::str::from_utf8(&bytes) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(refused(&String::from_utf8_lossy(&bytes), "is not UTF-8")),
    }
}

/// Returns the error for an entry. Names are untrusted, so the message escapes and shortens them.
fn refused(name: &str, what: &str) -> io::Error {
    const LONGEST_SHOWN: usize = 200;
    let shown: String = name.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect();
    let rest = if name.chars().nth(LONGEST_SHOWN).is_some() { "..." } else { "" };
    io::Error::new(io::ErrorKind::InvalidData, format!("'{shown}{rest}' {what}"))
}

/// Returns the error for what follows the last readable entry, or for the archive's start.
fn after(last: Option<&str>, error: &io::Error) -> io::Error {
    match last {
        Some(last) => refused(last, &format!("is followed by what can't be read: {error}")),
        None => io::Error::new(error.kind(), format!("its start can't be read: {error}")),
    }
}

/// Returns the path without leading `./`. An absolute, upward or too long path is refused.
fn tidy_path(name: &str) -> io::Result<PathBuf> {
    if name.len() > LONGEST_PATH || name.contains('\0') {
        return Err(refused(name, "is empty or longer than a path can be"));
    }
    Path::new(name)
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) if part.len() > LONGEST_PART => {
                Err(refused(name, "has a part that is longer than a file name can be"))
            }
            Component::Normal(part) => Ok(part),
            _ => Err(refused(name, "is outside of the archive")),
        })
        .collect()
}

/// Refuses a symbolic link that could lead out of the bundle's folder. The target may go up first
/// and then down. Going up is exact, because no entry lies below a link; going down meets only
/// links that passed the same check.
fn refuse_leaving(name: &str, path: &Path, link: &str) -> io::Result<()> {
    if link.is_empty() || link.len() > LONGEST_PATH || link.contains('\0') {
        return Err(refused(name, "is a link without a target"));
    }
    let mut depth = Some(path.components().count().saturating_sub(1));
    for part in Path::new(link).components() {
        depth = match (part, depth) {
            (Component::CurDir, depth) => depth,
            (Component::Normal(_), _) => None,
            (Component::ParentDir, Some(depth)) if depth > 0 => Some(depth - 1),
            (Component::ParentDir, None) => {
                return Err(refused(name, "is a link with '..' after the name of a folder"));
            }
            _ => return Err(refused(name, "is a link to a path outside of the archive")),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tar::EntryType as E;

    use super::super::{Digest, Kind};
    use super::*;
    use crate::image::SourceName;

    /// Returns an archive with one entry of each `(kind, name, link or content)`; names are not
    /// checked.
    fn archive(entries: &[(E, &[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, name, text) in entries {
            let is_link = *kind == E::Symlink || *kind == E::Link;
            let content: &[u8] = if is_link { b"" } else { text };
            let mut header = tidy_header(*kind, 0o755);
            header.set_size(content.len() as u64);
            let raw = header.as_old_mut();
            raw.name[..name.len()].copy_from_slice(name);
            if is_link {
                raw.linkname[..text.len()].copy_from_slice(text);
            }
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn text<'a>(entries: &[(E, &'a str, &'a str)]) -> Vec<u8> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(kind, name, text)| (*kind, name.as_bytes(), text.as_bytes()))
            .collect();
        archive(&entries)
    }

    fn names_in(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    fn names(entries: &[(E, &str, &str)]) -> Result<Vec<String>, String> {
        let bundle = bundled("plugins", &text(entries)).map_err(|error| error.to_string())?;
        Ok(names_in(&bundle))
    }

    /// Returns the reason why an archive of these entries is refused.
    fn refusal(entries: &[(E, &str, &str)]) -> String {
        names(entries).unwrap_err()
    }

    fn source(name: &str) -> Source {
        Source {
            name: SourceName::new(name).unwrap(),
            kind: Kind::Local,
            location: "there".to_owned(),
            reference: None,
            digest: Digest::Unknown,
        }
    }

    /// Bundles several archives. Returns the names in the bundle, and the folder with archives and
    /// bundle.
    fn bundle_of(archives: &[Vec<u8>]) -> (Result<Vec<String>, FetchError>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let write = |(index, bytes): (usize, &Vec<u8>)| {
            let path = folder.path().join(format!("{index}.tar"));
            fs::write(&path, bytes).unwrap();
            (source(&format!("app-plugin-{index}")), path)
        };
        let archives: Vec<_> = archives.iter().enumerate().map(write).collect();
        let made = bundle("plugins", &archives, &out);
        let names = made.map(|digest| {
            let bytes = fs::read(&out).unwrap();
            assert_eq!(digest, crate::fingerprint::digest(&bytes));
            names_in(&bytes)
        });
        (names, folder)
    }

    #[test]
    fn entries_are_put_below_the_top() {
        let found = names(&[
            (E::Directory, "./x-1/", ""),
            (E::Regular, "./x-1/setup.py", "text"),
            (E::Symlink, "x-1/link", "setup.py"),
            (E::Symlink, "x-1/up", "../x-1/setup.py"),
            (E::Directory, "x-1", ""),
            (E::Regular, "x-1/old/", ""),
        ]);
        assert_eq!(
            found.unwrap(),
            [
                "plugins/",
                "plugins/x-1/",
                "plugins/x-1/setup.py",
                "plugins/x-1/link",
                "plugins/x-1/up",
                "plugins/x-1/",
                "plugins/x-1/old/"
            ]
        );
        assert_eq!(names(&[]).unwrap(), ["plugins/"]);
    }

    #[test]
    fn entries_that_lead_out_are_refused_by_name() {
        for (kind, name, text) in [
            (E::Regular, "../evil", "x"),
            (E::Regular, "a/../../evil", "x"),
            (E::Regular, "a/../evil", "x"),
            (E::Regular, "/etc/evil", "x"),
            (E::Symlink, "evil", "/etc/passwd"),
            (E::Symlink, "evil", ".."),
            (E::Symlink, "evil", ""),
            (E::Symlink, "a/evil", "../../etc"),
            (E::Symlink, "a/evil", "b/../../c"),
        ] {
            let reason = refusal(&[(kind, name, text)]);
            assert!(reason.starts_with(&format!("'{name}' ")), "{name} {text}: {reason}");
        }
    }

    #[test]
    fn devices_pipes_and_hard_links_are_refused_by_name() {
        for kind in [E::Link, E::Char, E::Block, E::Fifo, E::GNUSparse] {
            let reason = refusal(&[(E::Regular, "other", "x"), (kind, "evil", "other")]);
            let expected = "'evil' is not a file, folder or symbolic link";
            assert!(reason.contains(expected) || kind == E::GNUSparse, "{kind:?}: {reason}");
        }
    }

    #[test]
    fn nothing_is_put_behind_a_link() {
        type Entries = &'static [(E, &'static str, &'static str)];
        let table: [(Entries, &str); 6] = [
            (
                &[(E::Symlink, "a", "b"), (E::Regular, "a/evil", "x")],
                "'a/evil' is below \"a\", which is not a folder",
            ),
            (
                &[(E::Directory, "a", ""), (E::Symlink, "a", "b")],
                "'a' has the name of another entry of the archive",
            ),
            (
                &[(E::Regular, "a/x", ""), (E::Symlink, "./a", "b")],
                "'./a' has the name of another entry of the archive",
            ),
            (
                &[(E::Regular, "a", ""), (E::Symlink, "a", "b")],
                "'a' has the name of another entry of the archive",
            ),
            (
                &[(E::Symlink, "a/b/up", "../.."), (E::Symlink, "evil", "a/b/up/../..")],
                "'evil' is a link with '..' after the name of a folder",
            ),
            (&[(E::Regular, "a", ""), (E::Regular, "a/b", "")], "'a/b' is below \"a\""),
        ];
        for (entries, expected) in table {
            let reason = refusal(entries);
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn a_name_is_given_once_in_an_archive_and_may_come_again_in_a_later_one() {
        let twice = [(E::Regular, "a", "1"), (E::Regular, "./a", "2")];
        assert_eq!(refusal(&twice), "'./a' is in the archive twice");
        let links = [(E::Symlink, "a", "b"), (E::Symlink, "a", "c")];
        assert_eq!(refusal(&links), "'a' is in the archive twice");

        let [first, second] = [&twice[..1], &twice[1..]].map(text);
        let (names, _folder) = bundle_of(&[first.clone(), second]);
        assert_eq!(names.unwrap(), ["plugins/", "plugins/a", "plugins/a"]);
        let (refused, _folder) = bundle_of(&[first, text(&[(E::Symlink, "a", "b")])]);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the source [app-plugin-1] there: its archive can't be used: \
             'a' has the name of another entry of the archive"
        );
    }

    #[test]
    fn names_that_are_no_text_or_too_long_are_refused() {
        let not_utf8 = archive(&[(E::Regular, b"a\xff\n", b"x")]);
        let reason = bundled("plugins", &not_utf8).unwrap_err().to_string();
        assert_eq!(reason, "'a\u{fffd}\\n' is not UTF-8");
        let linked = archive(&[(E::Symlink, b"a", b"\xff")]);
        let reason = bundled("plugins", &linked).unwrap_err().to_string();
        assert_eq!(reason, "'a' is a link to a name that is not UTF-8");

        let long = |name: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            builder.append_data(&mut tidy_header(E::Regular, 0o644), name, io::empty()).unwrap();
            bundled("plugins", &builder.into_inner().unwrap())
        };
        assert!(long(&"d/".repeat(100).replace('d', "deep")).is_ok());
        let part = long(&format!("a/{}", "x".repeat(256))).unwrap_err().to_string();
        assert!(part.ends_with("...' has a part that is longer than a file name can be"), "{part}");
        let whole = long(&"deep/".repeat(700)).unwrap_err().to_string();
        assert!(whole.ends_with("...' is empty or longer than a path can be"), "{whole}");
        assert!(whole.len() < 300, "{whole}");
        assert_eq!(refusal(&[(E::Regular, ".", "x")]), "'.' is not a file name");
    }

    #[test]
    fn an_archive_that_is_cut_off_is_refused_wherever_that_is() {
        let whole = text(&[(E::Regular, "first", "one"), (E::Regular, "second", "two")]);
        for length in (0..whole.len() - 512).step_by(64) {
            let reason = bundled("plugins", &whole[..length]).unwrap_err().to_string();
            let expected = match length {
                0..512 => "its start can't be read: ",
                512..1024 => "'first' ",
                1024..1536 => "'first' is followed by ",
                _ => "'second' ",
            };
            assert!(reason.starts_with(expected), "{length}: {reason}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused_in_an_entry_and_at_the_end() {
        let whole = text(&[(E::Regular, "first", "one"), (E::Regular, "second", "two")]);
        let mut wrong = whole.clone();
        wrong[1024] ^= 1;
        let reason = bundled("plugins", &wrong).unwrap_err().to_string();
        assert!(reason.starts_with("'first' is followed by "), "{reason}");
        assert!(reason.ends_with("checksum mismatch"), "{reason}");

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&whole).unwrap();
        let mut compressed = gzip.finish().unwrap();
        assert!(bundled("plugins", &compressed).is_ok());
        let at = compressed.len() - 8;
        compressed[at] ^= 1;
        let reason = bundled("plugins", &compressed).unwrap_err().to_string();
        assert!(reason.contains("checksum"), "{reason}");
        compressed.truncate(at);
        assert!(bundled("plugins", &compressed).is_err());
    }

    #[test]
    fn a_name_without_end_is_not_read_into_memory() {
        let mut name = archive(&[(E::GNULongName, b"././@LongLink", b"")]);
        let header = tar::Header::from_byte_slice(&name[..512]);
        let mut header = header.clone();
        header.set_size(1 << 40);
        header.set_cksum();
        name[..512].copy_from_slice(header.as_bytes());
        let endless = io::Read::chain(&name[..512], io::repeat(b'x'));
        let mut bundle = Bundle::new("plugins", Vec::new(), LIMITS).unwrap();
        let reason = bundle.add(endless).unwrap_err().to_string();
        assert!(reason.contains("its headers are larger than names"), "{reason}");
    }

    #[test]
    fn endless_data_after_the_end_is_not_read() {
        let endless = io::Read::chain(io::Cursor::new(text(&[])), io::repeat(b'x'));
        let mut bundle = Bundle::new("plugins", Vec::new(), LIMITS).unwrap();
        assert!(bundle.add(endless).is_err());
    }

    #[test]
    fn a_bundle_holds_so_much_and_no_more() {
        let many = vec![(E::Directory, "a", ""); 1001];
        assert_eq!(refusal(&many), "'a' exceeds the number of entries for one image");
        let content = "x".repeat(1 << 20);
        assert!(names(&[(E::Regular, "a", &content)]).is_ok());
        let reason = refusal(&[(E::Regular, "a", &content), (E::Regular, "b", "x")]);
        assert_eq!(reason, "'b' makes the sources of the image larger than 8 GiB");
    }

    #[test]
    fn broken_archive_is_reported_with_its_source() {
        let (refused, _folder) = bundle_of(&[vec![0x1f, 0x8b, 1, 2, 3]]);
        let told = refused.unwrap_err().to_string();
        let start = "the source [app-plugin-0] there: its archive can't be used: ";
        assert!(told.starts_with(start), "{told}");
    }
}
