//! Export of the files of a commit: Kiln reads its objects and writes the files itself. No filter,
//! attribute or conversion of git is applied, and nothing is written outside of the target folder.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::vec;

/// Largest number of files of a commit. The largest repositories of a single project have some
/// hundred thousand.
pub(super) const MOST_ENTRIES: usize = 1_000_000;

/// Largest size of all files of a commit, in bytes.
const MOST_BYTES: u64 = 4 << 30;

/// Longest path, and longest target of a symbolic link, in bytes.
const LONGEST_PATH: usize = 4095;

/// Kind of an entry of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Program,
    Link,
    /// Place of a submodule; it becomes an empty folder.
    Folder,
}

/// File of a commit, with the id of its object.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    kind: Kind,
    id: String,
    /// Size in bytes; 0 if git was not asked for sizes.
    size: u64,
}

/// Parser of the output of `git ls-tree -r -z`, with or without `-l`.
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    rest: Vec<u8>,
    most: usize,
}

impl Listing {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Vec::new(), rest: Vec::new(), most }
    }

    pub(super) fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(chunk);
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == 0) {
            self.entries.push(entry(&self.rest[start..start + length])?);
            start += length + 1;
            if self.entries.len() > self.most {
                return Err(refused(format!("the commit has more than {} files", self.most)));
            }
        }
        self.rest.drain(..start);
        if self.rest.len() > 2 * LONGEST_PATH {
            return Err(refused("the commit has a path that is too long".to_owned()));
        }
        Ok(())
    }

    /// Returns the size of all files in bytes; 0 if git was not asked for sizes.
    pub(super) fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).fold(0, u64::saturating_add)
    }
}

fn entry(line: &[u8]) -> io::Result<Entry> {
    let odd = || refused("git listed an entry that is not a file".to_owned());
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(odd)?;
    let head = std::str::from_utf8(&line[..tab]).map_err(|_| odd())?;
    let mut words = head.split_ascii_whitespace();
    let (mode, _, id) = (words.next(), words.next(), words.next().ok_or_else(odd)?);
    let size = words.next().and_then(|size| size.parse().ok()).unwrap_or(0);
    let kind = match mode.unwrap_or_default() {
        "120000" => Kind::Link,
        "160000" => Kind::Folder,
        "100755" => Kind::Program,
        mode if mode.starts_with("100") => Kind::File,
        _ => return Err(odd()),
    };
    let path = usable_path(&line[tab + 1..])?;
    Ok(Entry { path, kind, id: id.to_owned(), size })
}

/// Returns the path of a file in a commit, if it is relative, has no part `.`, `..` or `.git` (in
/// any case), and is not too long.
///
/// # Errors
/// When the path is not usable.
pub fn usable_path(bytes: &[u8]) -> io::Result<PathBuf> {
    let is_usable = |part: &[u8]| {
        !part.is_empty() && part != b"." && part != b".." && !part.eq_ignore_ascii_case(b".git")
    };
    let fits = bytes.len() <= LONGEST_PATH && !bytes.contains(&0);
    if fits && bytes.split(|byte| *byte == b'/').all(is_usable) {
        return Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec())));
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    Err(refused(format!("the commit has a file called {start:?}, which no checkout can have")))
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Writer of files, whose contents it takes from the output of `git cat-file --batch`.
pub(super) struct Writer {
    target: PathBuf,
    /// Folders that this writer has created, so that none of them is a link.
    made: BTreeSet<PathBuf>,
    waiting: vec::IntoIter<Entry>,
    /// Ids of the objects that git has to print, one a line.
    ids: Vec<u8>,
    state: State,
    left: u64,
}

/// Part of git's output that is expected next.
enum State {
    /// Line before a content, as far as it has been read.
    Head(Vec<u8>),
    File {
        file: File,
        left: u64,
    },
    Link {
        path: PathBuf,
        leads_to: Vec<u8>,
        left: u64,
    },
    /// Line feed after a content.
    Newline,
}

impl Writer {
    /// Creates the folder `target` and prepares to write `entries` below it.
    pub(super) fn new(target: &Path, entries: Vec<Entry>) -> io::Result<Self> {
        fs::create_dir(target)?;
        let (folders, files): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.kind == Kind::Folder);
        let ids = files.iter().flat_map(|entry| entry.id.bytes().chain([b'\n'])).collect();
        let mut writer = Self {
            target: target.to_owned(),
            made: BTreeSet::new(),
            waiting: files.into_iter(),
            ids,
            state: State::Head(Vec::new()),
            left: MOST_BYTES,
        };
        for folder in folders {
            writer.make_folder(&folder.path)?;
        }
        Ok(writer)
    }

    /// Takes the ids of the objects that git has to print.
    pub(super) fn ids(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ids)
    }

    /// Creates a folder below the target, and its parents. Each has to be new, or created by this
    /// writer.
    fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        if folder.as_os_str().is_empty() || self.made.contains(folder) {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
        }
        fs::create_dir(self.target.join(folder)).map_err(|error| of_path(folder, &error))?;
        self.made.insert(folder.to_owned());
        Ok(())
    }

    pub(super) fn take(&mut self, mut chunk: &[u8]) -> io::Result<()> {
        while !chunk.is_empty() {
            chunk = self.step(chunk)?;
        }
        Ok(())
    }

    /// Consumes the beginning of a chunk, and returns the rest.
    fn step<'a>(&mut self, chunk: &'a [u8]) -> io::Result<&'a [u8]> {
        match &mut self.state {
            State::Head(head) => {
                let end = chunk.iter().position(|byte| *byte == b'\n');
                head.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
                if head.len() > LONGEST_PATH {
                    return Err(refused("git printed no object".to_owned()));
                }
                let Some(end) = end else { return Ok(&[]) };
                let head = String::from_utf8_lossy(head).into_owned();
                self.begin(&head)?;
                Ok(&chunk[end + 1..])
            }
            State::File { file, left } => {
                let (content, rest) = split(chunk, left);
                file.write_all(content)?;
                if *left == 0 {
                    self.state = State::Newline;
                }
                Ok(rest)
            }
            State::Link { path, leads_to, left } => {
                let (content, rest) = split(chunk, left);
                leads_to.extend_from_slice(content);
                if *left == 0 {
                    let to = std::ffi::OsString::from_vec(std::mem::take(leads_to));
                    symlink(to, self.target.join(&*path)).map_err(|e| of_path(path, &e))?;
                    self.state = State::Newline;
                }
                Ok(rest)
            }
            State::Newline => {
                self.state = State::Head(Vec::new());
                Ok(&chunk[1..])
            }
        }
    }

    /// Starts the next file; `head` is the line that git prints before its content.
    fn begin(&mut self, head: &str) -> io::Result<()> {
        let entry =
            self.waiting.next().ok_or_else(|| refused("git printed too much".to_owned()))?;
        let path = entry.path;
        let size = match head.split(' ').collect::<Vec<_>>()[..] {
            [id, "blob", size] if id == entry.id => size.parse::<u64>().ok(),
            _ => None,
        };
        let size = size.ok_or_else(|| {
            let reason = "is not in the repository, which may be a partial clone: fetch it first";
            refused(format!("the content of {path:?} {reason}"))
        })?;
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            refused(format!("the commit has more than {} GiB of files", MOST_BYTES >> 30))
        })?;
        if let Some(above) = path.parent() {
            self.make_folder(above)?;
        }
        if entry.kind == Kind::Link {
            if size > LONGEST_PATH as u64 {
                return Err(refused(format!("the link {path:?} is too long")));
            }
            self.state = State::Link { path, leads_to: Vec::new(), left: size };
            if size == 0 {
                return Err(refused("the commit has a link without a target".to_owned()));
            }
            return Ok(());
        }
        let mode = if entry.kind == Kind::Program { 0o777 } else { 0o666 };
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(mode);
        let file = options.open(self.target.join(&path)).map_err(|e| of_path(&path, &e))?;
        self.state = if size == 0 { State::Newline } else { State::File { file, left: size } };
        Ok(())
    }

    /// Checks that every file has been written completely.
    pub(super) fn finish(self) -> io::Result<()> {
        if self.waiting.len() > 0 || !matches!(self.state, State::Head(_)) {
            return Err(refused("git printed too little".to_owned()));
        }
        Ok(())
    }
}

/// Splits a chunk at the end of a content of which `left` bytes are missing, and updates `left`.
fn split<'a>(chunk: &'a [u8], left: &mut u64) -> (&'a [u8], &'a [u8]) {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
    *left -= length as u64;
    chunk.split_at(length)
}

fn of_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("the file {path:?} of the commit can't be written: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the outcome of writing a commit with these files, from output as git prints it.
    fn written(files: &[(&str, &str, &[u8])]) -> (io::Result<()>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let outcome = (|| {
            let (mut listing, mut printed) = (Listing::new(10), Vec::new());
            for (index, (mode, path, content)) in files.iter().enumerate() {
                let id = format!("{index:040x}");
                listing.take(format!("{mode} blob {id}\t{path}\0").as_bytes())?;
                printed.extend(format!("{id} blob {}\n", content.len()).bytes());
                printed.extend_from_slice(content);
                printed.push(b'\n');
            }
            let mut writer = Writer::new(&folder.path().join("target"), listing.entries)?;
            printed.chunks(3).try_for_each(|chunk| writer.take(chunk))?;
            writer.finish()
        })();
        (outcome, folder)
    }

    #[test]
    fn files_programs_and_links_are_written() {
        let (outcome, folder) = written(&[
            ("100644", "a/b/file", b"text\n\nmore"),
            ("100755", "a/run", b""),
            ("120000", "link", b"a/b/file"),
        ]);
        outcome.unwrap();
        let at = |path: &str| folder.path().join("target").join(path);
        assert_eq!(fs::read(at("link")).unwrap(), b"text\n\nmore");
        let mode = |path: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            at(path).metadata().unwrap().permissions().mode() & 0o100
        };
        assert_eq!((mode("a/run"), mode("a/b/file")), (0o100, 0));
    }

    #[test]
    fn nothing_is_written_outside_or_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        let place = outside.path().to_str().unwrap().as_bytes();
        for files in [
            &[("120000", "a", place), ("100644", "a/file", b"x")][..],
            &[("120000", "a", place), ("100644", "a", b"x")],
            &[("100644", "a", b"x"), ("100644", "a/b", b"x")],
            &[("100644", "../file", b"x")],
            &[("100644", "a/../../file", b"x")],
            &[("100644", "/tmp/file", b"x")],
            &[("100644", "a//b", b"x")],
            &[("100644", ".git/config", b"x")],
            &[("100644", "a/.GIT/hooks/x", b"x")],
            &[("100644", ".", b"x")],
            &[("040000", "a", b"x")],
        ] {
            let (outcome, folder) = written(files);
            assert!(outcome.is_err(), "{files:?}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{files:?}");
            assert!(fs::read_dir(folder.path()).unwrap().count() <= 1, "{files:?}");
        }
    }

    #[test]
    fn too_many_files_are_refused() {
        let mut listing = Listing::new(2);
        let line = |name: &str| format!("100644 blob {:040x}\t{name}\0", 1).into_bytes();
        listing.take(&line("a")).unwrap();
        listing.take(&line("b")).unwrap();
        assert!(listing.take(&line("c")).is_err());
        let endless = vec![b'x'; 1 << 20];
        assert!(Listing::new(2).take(&endless).is_err());
    }
}
