//! Contents of a build context, and its archive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path};
use std::sync::Arc;

use super::dockerignore::Patterns;
use crate::fingerprint::{FILE, Parts, digest};
use crate::tree::TreeFile;

/// Path of the Dockerfile within a context.
pub const DOCKERFILE: &str = "Dockerfile";

/// Path of the file with the patterns of files that are not sent.
const IGNORE_FILE: &str = ".dockerignore";

/// Files that an engine is sent to build one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    files: BTreeMap<String, Content>,
    /// Text that stands for the Dockerfile in [`Context::parts`]; `None` for its own text.
    known_as: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Text(Arc<str>),
    File(TreeFile),
    Folder,
}

impl Content {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.load()?.0)
    }

    /// Returns the bytes and the mode.
    fn load(&self) -> io::Result<(Vec<u8>, u32)> {
        let (bytes, executable) = match self {
            Self::Text(text) => (text.as_bytes().to_vec(), false),
            Self::File(file) => file.load()?,
            Self::Folder => (Vec::new(), true),
        };
        Ok((bytes, if executable { 0o755 } else { 0o644 }))
    }
}

impl Context {
    /// Creates a context of the text `dockerfile` and of `files` by path. The text replaces a file
    /// with the path [`DOCKERFILE`].
    pub fn new(dockerfile: Arc<str>, files: impl IntoIterator<Item = (String, TreeFile)>) -> Self {
        let files = files.into_iter().map(|(path, file)| (path, Content::File(file)));
        let mut files: BTreeMap<_, _> = files.collect();
        files.insert(DOCKERFILE.to_owned(), Content::Text(dockerfile));
        Self { files, known_as: None }
    }

    /// Sets the text that stands for the Dockerfile when the context is checked for changes: one
    /// without the parts that depend on the clock.
    #[must_use]
    pub fn known_as(self, text: Option<String>) -> Self {
        Self { known_as: text, ..self }
    }

    /// Adds `file` at `path`.
    pub fn add(&mut self, path: String, file: TreeFile) {
        self.files.insert(path, Content::File(file));
    }

    /// Adds a folder at `path`, for an instruction that requires it even if it is empty.
    pub fn add_folder(&mut self, path: String) {
        self.files.insert(path, Content::Folder);
    }

    /// Returns the paths of the files and folders that are sent, including the Dockerfile.
    ///
    /// # Errors
    /// When the context's `.dockerignore` can't be read.
    pub fn paths(&self) -> io::Result<impl Iterator<Item = &str>> {
        Ok(self.sent()?.map(|(path, _)| path.as_str()))
    }

    /// Returns the entries that an engine gets: those that the `.dockerignore` does not cover, and
    /// always that file itself and the Dockerfile.
    fn sent(&self) -> io::Result<impl Iterator<Item = (&String, &Content)>> {
        let ignored = match self.files.get(IGNORE_FILE) {
            Some(file) => Some(patterns(file).map_err(|error| in_file(IGNORE_FILE, &error))?),
            None => None,
        };
        let is_sent = move |path: &str| {
            [DOCKERFILE, IGNORE_FILE].contains(&path)
                || ignored.as_ref().is_none_or(|ignored| !ignored.is_ignored(path))
        };
        Ok(self.files.iter().filter(move |(path, _)| is_sent(path)))
    }

    /// Returns the parts of the context: a digest of each file's bytes and mode, with the key `file
    /// <path>`. The Dockerfile's key is its name.
    ///
    /// # Errors
    /// When a file of the tree can't be read; the error names it.
    pub fn parts(&self) -> io::Result<Parts> {
        let part = |(path, content): (&String, &Content)| {
            let is_dockerfile = path == DOCKERFILE;
            let (bytes, mode) = content.load().map_err(|error| in_file(path, &error))?;
            let bytes = match &self.known_as {
                Some(text) if is_dockerfile => text.as_bytes(),
                _ => &bytes,
            };
            let name = if is_dockerfile { path.clone() } else { format!("{FILE}{path}") };
            Ok((name, digest(&[&mode.to_le_bytes()[..], bytes].concat())))
        };
        self.sent()?.map(part).collect()
    }

    /// Writes the context as a tar archive, in which every folder has an entry.
    ///
    /// # Errors
    /// When a file of the tree can't be read (the error names it), or `out` can't be written.
    pub fn pack<W: Write>(&self, out: W) -> io::Result<W> {
        let mut archive = tar::Builder::new(out);
        for (path, content) in with_folders(self.sent()?)? {
            let (bytes, mode) = content.load().map_err(|error| in_file(path, &error))?;
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            if *content == Content::Folder {
                header.set_entry_type(tar::EntryType::Directory);
            }
            archive.append_data(&mut header, path, bytes.as_slice())?;
        }
        archive.into_inner()
    }

    /// Writes the context's files into `folder`, which is created.
    ///
    /// # Errors
    /// When a file can't be read or written; the error names it.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        let mut made = BTreeSet::new();
        let mut make = |folder: &Path| {
            if made.insert(folder.to_owned()) { fs::create_dir_all(folder) } else { Ok(()) }
        };
        for (path, content) in &self.files {
            refuse_leaving(path)?;
            let target = folder.join(path);
            let mut write = || {
                if *content == Content::Folder {
                    return make(&target);
                }
                make(target.parent().unwrap_or(folder))?;
                let (bytes, mode) = content.load()?;
                write_file(&target, &bytes, mode)
            };
            write().map_err(|error| in_file(&target.display().to_string(), &error))?;
        }
        Ok(())
    }
}

/// Returns the patterns in a `.dockerignore`.
fn patterns(file: &Content) -> io::Result<Patterns> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let text = String::from_utf8_lossy(&file.read()?).into_owned();
    Patterns::of_ignore_file(&text).map_err(invalid)
}

/// Adds the parent folders of the files.
///
/// # Errors
/// When a path leads out of the context.
fn with_folders<'a>(
    files: impl Iterator<Item = (&'a String, &'a Content)>,
) -> io::Result<BTreeMap<&'a str, &'a Content>> {
    let mut all = BTreeMap::new();
    for (path, content) in files {
        refuse_leaving(path)?;
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        all.extend(folders.map(|folder| (folder, &Content::Folder)));
        all.insert(path, content);
    }
    Ok(all)
}

/// Refuses a path that leads out of the context.
fn refuse_leaving(path: &str) -> io::Result<()> {
    let mut parts = Path::new(path).components();
    if parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Ok(());
    }
    let message = format!("'{path}' points outside of the build context");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Writes a file with exactly `mode`, whatever the umask of the process.
fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    let permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o777 == mode {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn in_file(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("'{path}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;
    use std::os::unix::fs::PermissionsExt as _;

    /// Returns the context of the one image of a tree that is created in `root`.
    fn context(root: &Path) -> Context {
        fs::create_dir_all(root.join("app/sub")).unwrap();
        fs::write(root.join("tree.toml"), "").unwrap();
        fs::write(root.join("app/Dockerfile.tera"), "template").unwrap();
        fs::write(root.join("app/z.txt"), "z").unwrap();
        fs::write(root.join("app/sub/run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("app/sub/run.sh"), fs::Permissions::from_mode(0o700))
            .unwrap();
        fs::set_permissions(root.join("app/z.txt"), fs::Permissions::from_mode(0o666)).unwrap();
        let tree = Tree::open(root, None).unwrap();
        Context::new("FROM x".into(), tree.context(&tree.images().unwrap()[0]))
    }

    #[test]
    fn the_archive_holds_what_a_build_sees() {
        let root = tempfile::tempdir().unwrap();
        let bytes = context(root.path()).pack(Vec::new()).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                format!(
                    "{:o} {}:{} {} {}",
                    header.mode().unwrap(),
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    header.mtime().unwrap(),
                    entry.path().unwrap().display()
                )
            })
            .collect();
        let expected =
            ["644 0:0 0 Dockerfile", "755 0:0 0 sub", "755 0:0 0 sub/run.sh", "644 0:0 0 z.txt"];
        assert_eq!(entries, expected);
    }

    #[test]
    fn ignored_files_are_neither_sent_nor_fingerprinted() {
        let root = tempfile::tempdir().unwrap();
        let mut context = context(root.path());
        let mut ignore = |text: &str| {
            context.add(IGNORE_FILE.to_owned(), TreeFile::of_text(text.to_owned()));
            let paths: Vec<String> = context.paths()?.map(str::to_owned).collect();
            let parts: Vec<String> = context.parts()?.into_keys().collect();
            let named = paths.iter().map(|path| match path.as_str() {
                DOCKERFILE => path.clone(),
                path => format!("file {path}"),
            });
            let mut named: Vec<String> = named.collect();
            named.sort();
            assert_eq!(named, parts);
            Ok::<_, io::Error>(paths.join(" "))
        };
        assert_eq!(ignore("# z.txt\n").unwrap(), ".dockerignore Dockerfile sub/run.sh z.txt");
        assert_eq!(ignore("*\n!sub\n").unwrap(), ".dockerignore Dockerfile sub/run.sh");
        let error = ignore("*.md\n[").unwrap_err();
        assert_eq!(error.to_string(), "'.dockerignore': line 2: '[' is not a path pattern");
        context.add(IGNORE_FILE.to_owned(), TreeFile::of_text("sub".to_owned()));
        let bytes = context.pack(Vec::new()).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
        let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
        assert_eq!(paths, [".dockerignore", "Dockerfile", "z.txt"]);
    }

    #[test]
    fn two_checkouts_give_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = context(one.path()).pack(Vec::new()).unwrap();
        assert_eq!(first, context(two.path()).pack(Vec::new()).unwrap());
    }

    #[test]
    fn files_are_written_as_they_are_packed() {
        let root = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        context(root.path()).write_to(out.path()).unwrap();
        assert_eq!(fs::read_to_string(out.path().join("Dockerfile")).unwrap(), "FROM x");
        let mode = fs::metadata(out.path().join("sub/run.sh")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(!out.path().join("Dockerfile.tera").exists());
    }

    #[test]
    fn a_file_that_went_away_is_named() {
        let root = tempfile::tempdir().unwrap();
        let context = context(root.path());
        fs::remove_file(root.path().join("app/z.txt")).unwrap();
        let error = context.pack(Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("'z.txt': "), "{error}");
    }

    #[test]
    fn nothing_is_written_or_packed_outside() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../evil", "/tmp/kiln-evil", "a/../../evil"] {
            let mut context = context(root.path());
            context.add(path.to_owned(), TreeFile::of_text("x".to_owned()));
            let expected = format!("'{path}' points outside of the build context");
            assert_eq!(context.pack(Vec::new()).unwrap_err().to_string(), expected);
            let out = root.path().join("out/context");
            assert_eq!(context.write_to(&out).unwrap_err().to_string(), expected);
            assert!(!out.join(path).exists());
        }
    }
}
