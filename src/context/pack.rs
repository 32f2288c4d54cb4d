//! Files of a build context, as they are collected from a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path};
use std::sync::Arc;

use super::content::{Content, FOLDER_MODE, Opened, digester_after, for_each_block, in_file};
use super::dockerignore::Patterns;
use super::measured::{Entry, MeasuredContext};
use crate::fingerprint::{FILE, Parts};
use crate::tree::{ContextEntry, TreeFile, above};

/// Path of the Dockerfile within a context.
pub const DOCKERFILE: &str = "Dockerfile";

/// Path of the file with the patterns of files that are not sent.
const IGNORE_FILE: &str = ".dockerignore";

/// Largest number of bytes of one context that are kept in memory after it was measured: several
/// times the small files of known images.
const MOST_KEPT: usize = 1 << 20;

/// Files that an engine is sent to build one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    files: BTreeMap<String, Content>,
    /// Files that are sent and are no parts of the context's fingerprint. They replace `files`.
    fetched: BTreeMap<String, Content>,
    /// Text that stands for the Dockerfile in [`Context::parts`]; `None` for its own text.
    known_as: Option<String>,
}

impl Context {
    /// Creates a context of the text `dockerfile` and of `entries` by path. The text replaces an
    /// entry with the path [`DOCKERFILE`].
    pub fn of_entries(
        dockerfile: Arc<str>,
        entries: impl IntoIterator<Item = (String, ContextEntry)>,
    ) -> Self {
        let entries = entries.into_iter().map(|(path, entry)| match entry {
            ContextEntry::File(file) => (path, Content::File(file)),
            ContextEntry::Folder(folder) => (path, Content::Folder(folder)),
            ContextEntry::Link(target) => (path, Content::Link(target)),
        });
        let mut files: BTreeMap<_, _> = entries.collect();
        files.insert(DOCKERFILE.to_owned(), Content::Text(dockerfile));
        Self { files, fetched: BTreeMap::new(), known_as: None }
    }

    /// Creates a context of the text `dockerfile` and of `files` by path, for tests.
    #[cfg(test)]
    pub fn new(dockerfile: Arc<str>, files: impl IntoIterator<Item = (String, TreeFile)>) -> Self {
        let files = files.into_iter().map(|(path, file)| (path, ContextEntry::File(file)));
        Self::of_entries(dockerfile, files)
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

    /// Adds `file` at `path`: a file of Kiln's own, whose content has this SHA-256 digest. The digest
    /// is no part of [`Context::parts`], where the file is represented by its origin.
    pub fn add_fetched(&mut self, path: String, file: TreeFile, digest: String) {
        self.fetched.insert(path, Content::Fetched(file, digest));
    }

    /// Adds a folder at `path`, for an instruction that requires it even if it is empty.
    pub fn add_folder(&mut self, path: String) {
        self.files.insert(path, Content::Required);
    }

    /// Returns the paths of the files, folders and links that are sent, including the Dockerfile, and
    /// the paths that lead to them by way of a link.
    ///
    /// # Errors
    /// When the context's `.dockerignore` can't be read.
    pub fn paths(&self) -> io::Result<BTreeSet<String>> {
        let is_sent = self.selection()?;
        let sent = self.files.iter().filter(|(path, _)| is_sent(path));
        let mut paths: BTreeSet<String> = sent.clone().map(|(path, _)| path.clone()).collect();
        for (link, content) in sent {
            let Content::Link(target) = content else { continue };
            let target = target_path(link, target);
            let behind = |path: &String| {
                let rest = path.strip_prefix(&target)?;
                rest.starts_with('/').then(|| format!("{link}{rest}"))
            };
            let found: Vec<String> = paths.iter().filter_map(behind).collect();
            paths.extend(found);
        }
        Ok(paths)
    }

    /// Returns a function that selects the paths that an engine gets: those that the
    /// `.dockerignore` does not cover, and always that file itself and the Dockerfile.
    fn selection(&self) -> io::Result<impl Fn(&str) -> bool> {
        let ignored = match self.files.get(IGNORE_FILE) {
            Some(file) => Some(patterns(file).map_err(|error| in_file(IGNORE_FILE, &error))?),
            None => None,
        };
        Ok(move |path: &str| {
            [DOCKERFILE, IGNORE_FILE].contains(&path)
                || ignored.as_ref().is_none_or(|ignored| !ignored.is_ignored(path))
        })
    }

    /// Returns the parts of the context: a digest of each file's bytes and mode, or of a link's
    /// target, with the key `file <path>`. The Dockerfile's key is its name. A folder is a part, with
    /// the key `file <path>/`, if it is empty or not open to all.
    ///
    /// # Errors
    /// When a file of the tree can't be read; the error names it.
    pub fn parts(&self) -> io::Result<Parts> {
        self.parts_with(|mode| mode, true)
    }

    /// Returns the parts of the context as far as git stores them: without folders, and with modes
    /// that are reduced to the executable bit.
    ///
    /// # Errors
    /// When a file of the tree can't be read; the error names it.
    pub fn parts_in_git(&self) -> io::Result<Parts> {
        let in_git = |mode: u32| match mode & 0o170_000 {
            0 if mode & 0o100 != 0 => 0o755,
            0 => 0o644,
            _ => mode,
        };
        self.parts_with(in_git, false)
    }

    fn parts_with(&self, as_mode: fn(u32) -> u32, has_folders: bool) -> io::Result<Parts> {
        let is_sent = self.selection()?;
        let sent = self.files.iter().filter(|(path, _)| is_sent(path));
        let filled = folders_above(sent.clone().map(|(path, _)| path.as_str()));
        let part = |(path, content): (&String, &Content)| {
            let measured = content.measure(&mut 0, as_mode);
            let measured = measured.map_err(|error| in_file(path, &error))?;
            Ok(self.part(path, content, &filled, measured.mode, measured.digest))
        };
        sent.filter(|(_, content)| has_folders || !matches!(content, Content::Folder(_)))
            .filter_map(|entry| part(entry).transpose())
            .collect()
    }

    /// Returns the part for the entry at `path`, by its mode and its digest; `None` if it is a plain
    /// folder among the `filled` ones.
    fn part(
        &self,
        path: &str,
        content: &Content,
        filled: &BTreeSet<&str>,
        mode: u32,
        digest: String,
    ) -> Option<(String, String)> {
        if let Content::Folder(_) = content {
            let is_plain = mode == FOLDER_MODE && filled.contains(path);
            return (!is_plain).then(|| (format!("{FILE}{path}/"), digest));
        }
        Some(match &self.known_as {
            _ if path != DOCKERFILE => (format!("{FILE}{path}"), digest),
            None => (path.to_owned(), digest),
            Some(text) => {
                let mut digester = digester_after(&mode.to_le_bytes());
                digester.update(text.as_bytes());
                (path.to_owned(), digester.finish())
            }
        })
    }

    /// Reads each file once, and returns the context with the facts that this gives.
    ///
    /// # Errors
    /// When a file can't be read (the error names it), or a path leads out of the context.
    pub fn measure(&self) -> io::Result<MeasuredContext> {
        let is_sent = self.selection()?;
        let mut room = MOST_KEPT;
        let mut measure = |path: &str, content: &Content| {
            refuse_leaving(path)?;
            let measured = content.measure(&mut room, |mode| mode);
            let measured = measured.map_err(|error| in_file(path, &error))?;
            Ok::<_, io::Error>(Entry::new(path, content, measured))
        };
        let (mut entries, mut parts) = (BTreeMap::new(), Parts::new());
        let sent = self.files.iter().filter(|(path, _)| is_sent(path));
        let filled = folders_above(sent.clone().map(|(path, _)| path.as_str()));
        for (path, content) in sent {
            let entry = measure(path, content)?;
            let (mode, digest) = (entry.measured_mode(), entry.digest().to_owned());
            parts.extend(self.part(path, content, &filled, mode, digest));
            entries.insert(path.as_str(), entry);
        }
        for (path, content) in self.fetched.iter().filter(|(path, _)| is_sent(path)) {
            entries.insert(path, measure(path, content)?);
        }
        for folder in folders_above(entries.keys().copied()) {
            let known = self.files.get(folder);
            if let Some(Content::Link(_)) = known {
                return Err(is_below_link(folder));
            }
            if !entries.contains_key(folder) {
                // The folder itself may be ignored.
                let content = known.filter(|known| known.is_folder());
                let entry = measure(folder, content.unwrap_or(&Content::Required))?;
                entries.insert(folder, entry);
            }
        }
        Ok(MeasuredContext::new(entries.into_values().collect(), parts))
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
        let filled = folders_above(self.files.keys().map(String::as_str));
        for (path, content) in &self.files {
            refuse_leaving(path)?;
            let target = folder.join(path);
            let mut write = || match content {
                Content::Required => make(&target),
                Content::Folder(folder) => {
                    make(&target)?;
                    match folder.mode()? {
                        FOLDER_MODE => Ok(()),
                        mode => fs::set_permissions(&target, fs::Permissions::from_mode(mode)),
                    }
                }
                Content::Link(_) if filled.contains(path.as_str()) => Err(is_below_link(path)),
                Content::Link(to) => {
                    make(target.parent().unwrap_or(folder))?;
                    symlink(to, &target)
                }
                _ => {
                    make(target.parent().unwrap_or(folder))?;
                    write_file(&target, content.open()?)
                }
            };
            write().map_err(|error| in_file(&target.display().to_string(), &error))?;
        }
        Ok(())
    }
}

/// Returns the patterns in a `.dockerignore`.
fn patterns(file: &Content) -> io::Result<Patterns> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut bytes = Vec::new();
    file.open()?.reader.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Patterns::of_ignore_file(&text).map_err(invalid)
}

/// Returns the folders that contain these paths, without duplicates.
fn folders_above<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths.flat_map(above).collect()
}

/// Returns the error for a file whose path leads through a link.
fn is_below_link(link: &str) -> io::Error {
    let message = format!("something is below '{link}', which is a link");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Returns the path in the context that a link at `link` leads to. An absolute target starts at the
/// root of the context, and `..` does not leave it.
pub fn target_path(link: &str, target: &str) -> String {
    let folder = link.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if target.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
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

/// Writes a file with exactly the mode of its content, whatever the umask of the process.
fn write_file(path: &Path, Opened { reader, size, mode }: Opened) -> io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    for_each_block(reader, size, |block| file.write_all(block))?;
    let permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Tree, TreeFolder};

    /// Returns the archive of a context.
    fn archive(context: &Context) -> io::Result<Vec<u8>> {
        context.measure()?.write_tar(Vec::new())
    }

    /// Returns the context of the one image of a tree that is created in `root`.
    fn context(root: &Path) -> Context {
        fs::create_dir_all(root.join("app/sub")).unwrap();
        fs::write(root.join("tree.toml"), "").unwrap();
        fs::write(root.join("app/Dockerfile.tera"), "template").unwrap();
        fs::write(root.join("app/z.txt"), "z").unwrap();
        fs::write(root.join("app/sub/run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("app/sub/run.sh"), fs::Permissions::from_mode(0o775))
            .unwrap();
        fs::set_permissions(root.join("app/z.txt"), fs::Permissions::from_mode(0o666)).unwrap();
        let tree = Tree::open(root, None).unwrap();
        Context::of_entries("FROM x".into(), tree.context(&tree.images().unwrap()[0]))
    }

    #[test]
    fn the_archive_holds_what_a_build_sees() {
        let root = tempfile::tempdir().unwrap();
        let bytes = archive(&context(root.path())).unwrap();
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
            let paths: Vec<String> = context.paths()?.into_iter().filter(|p| p != "sub").collect();
            assert_eq!(context.measure()?.parts(), &context.parts()?);
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
        let bytes = archive(&context).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
        let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
        assert_eq!(paths, [".dockerignore", "Dockerfile", "z.txt"]);
    }

    #[test]
    fn links_folders_and_modes_are_parts() {
        let parts = |entries: &[(&str, ContextEntry)]| {
            let entries = entries.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone()));
            let context = Context::of_entries("FROM x".into(), entries);
            assert_eq!(context.measure().unwrap().parts(), &context.parts().unwrap());
            (context.parts().unwrap(), context.parts_in_git().unwrap())
        };
        let link = |target: &str| ContextEntry::Link(target.to_owned());
        let file = || ContextEntry::File(TreeFile::of_text("b".to_owned()));
        let plain = parts(&[("a/b", file())]);
        let known =
            parts(&[("a", ContextEntry::Folder(TreeFolder::WithMode(0o755))), ("a/b", file())]);
        assert_eq!(known, plain, "a plain folder with a file changes nothing");
        let closed =
            parts(&[("a", ContextEntry::Folder(TreeFolder::WithMode(0o700))), ("a/b", file())]);
        assert_eq!(closed.0.keys().collect::<Vec<_>>(), ["Dockerfile", "file a/", "file a/b"]);
        assert_eq!(closed.1, plain.1, "git does not know modes of folders");
        let empty =
            parts(&[("a/b", file()), ("empty", ContextEntry::Folder(TreeFolder::WithMode(0o755)))]);
        assert!(empty.0.contains_key("file empty/"));
        assert_eq!(empty.1, plain.1, "git does not know empty folders");
        let linked = [parts(&[("a", link("x"))]), parts(&[("a", link("y"))])];
        assert_ne!(linked[0].0["file a"], linked[1].0["file a"]);
        assert_ne!(linked[0].1["file a"], linked[1].1["file a"]);
        assert_ne!(
            parts(&[("a", ContextEntry::File(TreeFile::of_text("x".into())))]).0,
            linked[0].0
        );
    }

    #[test]
    fn links_and_folders_are_packed_and_written() {
        let root = tempfile::tempdir().unwrap();
        let context = Context::of_entries(
            "FROM x".into(),
            [
                ("a/gone".to_owned(), ContextEntry::Link("/no/where".to_owned())),
                ("a".to_owned(), ContextEntry::Folder(TreeFolder::WithMode(0o750))),
                ("empty".to_owned(), ContextEntry::Folder(TreeFolder::WithMode(0o755))),
            ],
        );
        let out = root.path().join("out");
        context.write_to(&out).unwrap();
        assert_eq!(fs::read_link(out.join("a/gone")).unwrap(), Path::new("/no/where"));
        let mode = fs::metadata(out.join("a")).unwrap().permissions().mode();
        assert!(mode & 0o777 == 0o750 && out.join("empty").is_dir(), "{mode:o}");
        let bytes = archive(&context).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let shown = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let target = entry.link_name().unwrap().map(|target| target.display().to_string());
            let mode = entry.header().mode().unwrap();
            format!("{} {mode:o} {}", entry.path().unwrap().display(), target.unwrap_or_default())
        });
        let expected = ["Dockerfile 644 ", "a 750 ", "a/gone 777 /no/where", "empty 755 "];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_is_put_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let link = ContextEntry::Link(outside.display().to_string());
        let mut context = Context::of_entries("".into(), [("patches".to_owned(), link)]);
        context.add("patches/evil".to_owned(), TreeFile::of_text("x".to_owned()));
        let expected = "something is below 'patches', which is a link";
        assert_eq!(archive(&context).unwrap_err().to_string(), expected);
        let error = context.write_to(&root.path().join("out")).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
        assert!(!outside.join("evil").exists());
    }

    #[test]
    fn paths_lead_through_links() {
        let file = ContextEntry::File(TreeFile::of_text("x".to_owned()));
        let entries = [
            ("tool/1.2/bin", file),
            ("tool/current", ContextEntry::Link("1.2".to_owned())),
            ("up", ContextEntry::Link("../../tool".to_owned())),
        ];
        let entries = entries.map(|(path, entry)| (path.to_owned(), entry));
        let paths = Context::of_entries("".into(), entries).paths().unwrap();
        for path in ["tool/1.2/bin", "tool/current", "tool/current/bin", "up/current/bin"] {
            assert!(paths.contains(path), "{path}: {paths:?}");
        }
    }

    #[test]
    fn two_checkouts_give_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = archive(&context(one.path())).unwrap();
        assert_eq!(first, archive(&context(two.path())).unwrap());
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
        let error = archive(&context).unwrap_err();
        assert!(error.to_string().starts_with("'z.txt': "), "{error}");
    }

    #[test]
    fn nothing_is_written_or_packed_outside() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../evil", "/tmp/kiln-evil", "a/../../evil"] {
            let mut context = context(root.path());
            context.add(path.to_owned(), TreeFile::of_text("x".to_owned()));
            let expected = format!("'{path}' points outside of the build context");
            assert_eq!(archive(&context).unwrap_err().to_string(), expected);
            let out = root.path().join("out/context");
            assert_eq!(context.write_to(&out).unwrap_err().to_string(), expected);
            assert!(!out.join(path).exists());
        }
    }
}
