//! Template tree as input: its files, its image folders, its manifest.
//!
//! A tree is read once into a sorted list of files. Files on disk, files of an overlay and files
//! embedded in the program are then used alike. An image is a folder that holds a template in one
//! of the [`Language`]s; the other files below that folder are its build context.
//!
//! A tree either has a manifest, or belongs to a release of kolla-build; then its manifest is
//! generated from the tables in the Python files beside it.

mod depth;
mod embedded;
mod facts;
mod manifest;
mod python;
mod release;
mod shipped;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use walk::{Other, Others, Walked, walk};

use crate::diagnostic::{Diagnostic, Diagnostics, Result, collect};
use crate::dialect::Dialect;
use crate::files;
use crate::image::ImageName;

pub use embedded::export;
pub use manifest::{
    Base, FILE_NAME, InstallType, Manifest, PresetValue, SourceEntry, UserVariables,
};
pub use release::{Release, repositories};
pub use shipped::tables;

/// Language of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Tera.
    Tera,
    /// Jinja2, with the extensions of kolla-build.
    Jinja,
}

impl Language {
    /// Returns the name of the file that makes a folder an image with a template in this language.
    pub fn template(self) -> &'static str {
        match self {
            Self::Tera => "Dockerfile.tera",
            Self::Jinja => "Dockerfile.j2",
        }
    }
}

/// Suffix of files that are templates in Tera.
const TERA_SUFFIX: &str = ".tera";

/// Suffix of profile files.
const PROFILE_SUFFIX: &str = ".list";

/// Largest size of a template, a manifest or a table, in bytes: a hundred times the largest of
/// known trees. Other files are sent to the engine without being parsed, and may have any size.
const LONGEST_TEXT: u64 = 4 << 20;

/// Content of a file, or its place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Disk(PathBuf),
    Embedded(&'static [u8]),
    Text(String),
}

/// Permissions of a file that is not executable.
pub const FILE_MODE: u32 = 0o644;

/// Opened file of a tree.
pub struct OpenFile {
    /// Reader of the content.
    pub content: Box<dyn Read + Send>,
    /// Size of the content when the file was opened, in bytes.
    pub size: u64,
    /// Permissions that an engine gets.
    pub mode: u32,
}

/// File of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    content: Content,
    /// Permissions that an engine gets; `None` if those of the file on disk decide.
    mode: Option<u32>,
}

impl TreeFile {
    /// Returns a file at `path` on disk, not executable.
    pub fn on_disk(path: PathBuf) -> Self {
        Self { content: Content::Disk(path), mode: Some(FILE_MODE) }
    }

    /// Returns a file with the content `text`, not executable.
    pub fn of_text(text: String) -> Self {
        Self { content: Content::Text(text), mode: Some(FILE_MODE) }
    }

    /// Returns the file's content.
    ///
    /// # Errors
    /// When a file on disk can't be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.load()?.0)
    }

    /// Returns the file's content, and true if its owner may execute it.
    ///
    /// # Errors
    /// When a file on disk can't be read.
    pub fn load(&self) -> io::Result<(Vec<u8>, bool)> {
        let OpenFile { content, size, mode } = self.open()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
        // `Take` hides the file's length, so that it is not queried a second time.
        content.take(u64::MAX).read_to_end(&mut bytes)?;
        Ok((bytes, mode & 0o100 != 0))
    }

    /// Opens the file.
    ///
    /// # Errors
    /// When a file on disk can't be opened, or is no regular file.
    pub fn open(&self) -> io::Result<OpenFile> {
        let (content, size, on_disk): (Box<dyn Read + Send>, _, _) = match &self.content {
            Content::Disk(path) => {
                let (file, metadata) = files::open_with_metadata(path)?;
                let mode = sent_mode(metadata.permissions().mode(), false);
                (Box::new(file), metadata.len(), mode)
            }
            Content::Embedded(bytes) => (Box::new(*bytes), bytes.len() as u64, FILE_MODE),
            Content::Text(text) => {
                let bytes = text.clone().into_bytes();
                (Box::new(Cursor::new(bytes)), text.len() as u64, FILE_MODE)
            }
        };
        Ok(OpenFile { content, size, mode: self.mode.unwrap_or(on_disk) })
    }

    /// Returns the file's content as text; `name` is its name in messages.
    ///
    /// # Errors
    /// When it can't be read, is longer than the largest text, or is not UTF-8.
    pub fn text(&self, name: &str) -> Result<String> {
        let read = match &self.content {
            Content::Disk(path) => read_bounded(path),
            _ => self.read(),
        };
        let bytes = read.map_err(|error| unreadable(Path::new(name), &error))?;
        String::from_utf8(bytes).map_err(|error| {
            let line = line_after(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            Diagnostic::new(format!("'{name}' is not UTF-8 text, from line {line} on")).into()
        })
    }
}

/// Files by their path relative to the root of the tree, with `/` as separator.
pub type Files = BTreeMap<String, TreeFile>;

/// Folder that contains the template of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    /// Name of the image: that of the folder.
    pub name: ImageName,
    /// Path of the folder, relative to the root of the tree.
    pub path: String,
    /// Language of the template.
    pub language: Language,
}

impl ImageFolder {
    /// Returns the path of the folder's template, relative to the root of the tree.
    pub fn template(&self) -> String {
        format!("{}/{}", self.path, self.language.template())
    }
}

/// Files of a tree, for messages.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Origin of the tree, in words.
    origin: Arc<str>,
    files: Arc<Files>,
}

impl Shown {
    fn new(origin: impl Into<Arc<str>>, files: Files) -> Self {
        Self { origin: origin.into(), files: files.into() }
    }

    /// Returns the name of the file at `path` within the tree: its path on disk if it has one.
    pub fn path(&self, path: &str) -> String {
        match self.files.get(path) {
            Some(TreeFile { content: Content::Disk(on_disk), .. }) => on_disk.display().to_string(),
            _ => format!("{}/{path}", self.origin),
        }
    }

    /// Returns the text of the file at `path` within the tree; empty if it can't be read.
    pub fn text(&self, path: &str) -> String {
        self.files.get(path).and_then(|file| file.text(path).ok()).unwrap_or_default()
    }
}

/// Template tree with its overlays.
#[derive(Debug)]
pub struct Tree {
    shown: Shown,
    others: Others,
    profiles: Files,
    manifest: Manifest,
    release: Option<Release>,
}

impl Tree {
    /// Opens the tree at `folder`, or at `folder/docker` if only that has a manifest. Without a
    /// manifest, opens the tree of the kolla-build in `folder`, in the given `dialect` or its own.
    ///
    /// # Errors
    /// When there is no tree, or something in the folder can't be read.
    pub fn open(folder: &Path, dialect: Option<Dialect>) -> Result<Self> {
        let root = [folder.to_owned(), folder.join("docker")]
            .into_iter()
            .find(|candidate| candidate.join(FILE_NAME).is_file());
        if let Some(root) = root {
            return Self::with_manifest(&root);
        }
        if let Some(place) = release::find(folder) {
            return Self::of_release(&place, dialect);
        }
        let shown = folder.display();
        let message = if folder.is_dir() {
            format!("'{shown}' has neither a {FILE_NAME} nor the templates of kolla-build")
        } else {
            format!("'{shown}' is not a folder with a {FILE_NAME} or the templates of kolla-build")
        };
        Err(Diagnostic::new(message)
            .help(
                "name a folder with that manifest ('kiln tree export DIR' writes one as a start), \
             a checkout or virtual environment of kolla-build, or its folder docker",
            )
            .into())
    }

    fn with_manifest(root: &Path) -> Result<Self> {
        let Walked { files, others } = walk(root)?;
        let (manifest, profiles) = read_manifest(root, &files[FILE_NAME])?;
        let shown = Shown::new(root.display().to_string(), files);
        Ok(Self { shown, others, profiles, manifest, release: None })
    }

    fn of_release(place: &release::Place, dialect: Option<Dialect>) -> Result<Self> {
        let (files, read) =
            rayon::join(|| walk(&place.templates), || release::read(place, dialect));
        let (Walked { files, others }, (release, facts)) = (files?, read?);
        let profiles = facts.profiles.iter().map(|(name, patterns)| {
            let text = TreeFile::of_text(patterns.join("\n"));
            (format!("{name}{PROFILE_SUFFIX}"), text)
        });
        let manifest = release::manifest(&release, &facts);
        manifest.check_names(|_| None)?;
        Ok(Self {
            shown: Shown::new(place.templates.display().to_string(), files),
            others,
            profiles: profiles.collect(),
            manifest,
            release: Some(release),
        })
    }

    /// Returns a tree of `files`, without a manifest.
    pub fn of_files(files: Files) -> Self {
        Self {
            shown: Shown::new("memory", files),
            others: Others::new(),
            profiles: Files::new(),
            manifest: Manifest::default(),
            release: None,
        }
    }

    /// Returns true if `folder` contains the manifest of a tree.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(FILE_NAME).is_file()
    }

    /// Returns the tree embedded in the program.
    ///
    /// # Errors
    /// When its manifest is wrong.
    pub fn embedded() -> Result<Self> {
        let origin = "the embedded tree";
        let (files, profiles) = embedded::load();
        let text = files[FILE_NAME].text(FILE_NAME)?;
        let manifest = Manifest::parse(&text, &format!("{origin}/{FILE_NAME}"))?;
        let (shown, others) = (Shown::new(origin, files), Others::new());
        Ok(Self { shown, others, profiles, manifest, release: None })
    }

    /// Adds the files of `folder` to the tree; a file at an existing path replaces it. If the
    /// folder has a manifest, it is merged into the tree's, and its profiles are added likewise.
    ///
    /// # Errors
    /// When the folder or its manifest can't be read.
    pub fn overlay(&mut self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            return Err(Diagnostic::new(format!("'{}' is not a folder", folder.display()))
                .help("--docker-dir takes an overlay, a folder whose files replace those of the tree or add to it")
                .into());
        }
        let Walked { files, others } = walk(folder)?;
        if let Some(file) = files.get(FILE_NAME) {
            let (manifest, profiles) = read_manifest(folder, file)?;
            self.manifest.overlay(manifest);
            self.profiles.extend(profiles);
        }
        let below = Arc::make_mut(&mut self.shown.files);
        for (path, other) in &others {
            match other {
                // The folder takes the place of a link.
                Other::Folder(_) => {
                    self.others.remove(path);
                }
                Other::Link { .. } => {
                    remove_below(below, path);
                    remove_below(&mut self.others, path);
                }
            }
        }
        for path in files.keys().filter(|path| !others.contains_key(*path)) {
            self.others.remove(path);
        }
        self.others.extend(others);
        below.extend(files);
        Ok(())
    }

    /// Puts the file `on_disk` at `path` within the tree.
    ///
    /// # Errors
    /// When it can't be read, or the path leads out of the tree.
    pub fn add_file(&mut self, path: &str, on_disk: &Path) -> Result<()> {
        if !leads_down(path) {
            return Err(Diagnostic::new(format!("'{path}' is not a path inside the tree")).into());
        }
        files::open_regular(on_disk).map_err(|error| unreadable(on_disk, &error))?;
        let file = TreeFile::on_disk(on_disk.to_owned());
        Arc::make_mut(&mut self.shown.files).insert(path.to_owned(), file);
        Ok(())
    }

    /// Returns the origin of the tree, in words.
    pub fn origin(&self) -> &str {
        &self.shown.origin
    }

    /// Returns the manifest of the tree.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the name of the file at `path` within the tree for messages: its path on disk if it
    /// has one.
    pub fn display_path(&self, path: &str) -> String {
        self.shown.path(path)
    }

    /// Returns the files of the tree, for messages.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Returns the text of the file at `path` within the tree. `None` if there is no such file, it
    /// is not UTF-8, or it is longer than the largest text.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(file) = self.shown.files.get(path) else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file
            .open()
            .and_then(|file| file.content.take(LONGEST_TEXT + 1).read_to_end(&mut bytes));
        read.map_err(|error| unreadable(Path::new(&self.display_path(path)), &error))?;
        let is_text = bytes.len() as u64 <= LONGEST_TEXT;
        Ok(is_text.then(|| String::from_utf8(bytes).ok()).flatten())
    }

    /// Returns the release of kolla-build that the tree belongs to; `None` for a tree with a
    /// manifest.
    pub fn release(&self) -> Option<&Release> {
        self.release.as_ref()
    }

    /// Returns the dialect by which the tree's templates are rendered and its images selected; the
    /// newest one for a tree with a manifest.
    pub fn dialect(&self) -> Dialect {
        self.release.as_ref().map_or_else(Dialect::newest, |release| release.dialect)
    }

    /// Returns true if any of the tree's files is below `folder`.
    pub fn lies_in(&self, folder: &Path) -> bool {
        let Ok(folder) = folder.canonicalize() else { return false };
        self.shown.files.values().any(|file| match &file.content {
            Content::Disk(path) => path.canonicalize().is_ok_and(|path| path.starts_with(&folder)),
            Content::Embedded(_) | Content::Text(_) => false,
        })
    }

    /// Returns all files of the tree.
    pub fn files(&self) -> Arc<Files> {
        Arc::clone(&self.shown.files)
    }

    /// Returns the folders of images, sorted by path.
    ///
    /// # Errors
    /// All folders with templates in two languages, and all links that can't be followed and are
    /// not in the folder of an image.
    pub fn images(&self) -> Result<Vec<ImageFolder>> {
        let mut folders: BTreeMap<&str, Vec<Language>> = BTreeMap::new();
        for path in self.shown.files.keys() {
            let Some((folder, file)) = path.rsplit_once('/') else { continue };
            let known = [Language::Tera, Language::Jinja].into_iter();
            for language in known.filter(|language| language.template() == file) {
                folders.entry(folder).or_default().push(language);
            }
        }
        self.refuse_links(&folders)?;
        collect(folders.into_iter().map(|(folder, languages)| {
            match languages[..] {
                [language] => {
                    let name = ImageName::new(folder.rsplit('/').next().unwrap_or(folder));
                    Ok(ImageFolder { name, path: folder.to_owned(), language })
                }
                _ => Err(Diagnostic::new(format!("'{folder}' has two templates"))
                    .note(languages.iter().map(|l| l.template()).collect::<Vec<_>>().join(" and "))
                    .help("an image has only one: remove the other")
                    .into()),
            }
        }))
    }

    /// Refuses links that can't be followed and are in none of the image folders: there may be
    /// templates or images behind them.
    fn refuse_links(&self, folders: &BTreeMap<&str, Vec<Language>>) -> Result<()> {
        let is_sent = |path: &str| above(path).any(|folder| folders.contains_key(folder));
        let refused = self.others.iter().filter_map(|(path, other)| match other {
            Other::Link { obstacle: Some(obstacle), .. } if !is_sent(path) => {
                Some(Err::<(), _>(Diagnostics::from(obstacle.clone())))
            }
            _ => None,
        });
        collect(refused).map(drop)
    }

    /// Returns the build context of an image, by path relative to its folder: everything below it
    /// except a Tera template. A Jinja2 template is a part of the context, as in kolla-build.
    ///
    /// A link is a part of the context as a link, unless it leads from the folder to another place
    /// in the tree: then it stands for the file or folder there. In the tree of a kolla-build, which
    /// replaces all links so, this is true for links within the folder, too.
    pub fn context(&self, folder: &ImageFolder) -> Vec<(String, ContextEntry)> {
        let below = format!("{}/", folder.path);
        let within = |path: &'_ String| path.strip_prefix(&below).map(str::to_owned);
        let (mut entries, mut links) = (Vec::new(), BTreeSet::new());
        for (path, other) in self.others.range(below.clone()..) {
            let Some(path) = within(path) else { break };
            if is_below_one_of(&links, &path) {
                continue;
            }
            match other {
                Other::Folder(folder) => {
                    let template = format!("{below}{path}/{}", Language::Tera.template());
                    if !self.shown.files.contains_key(&template) {
                        entries.push((path, ContextEntry::Folder(folder.clone())));
                    }
                }
                Other::Link { target, obstacle } => {
                    let is_kept = obstacle.is_some()
                        || self.release.is_none() && stays_or_is_absolute(&path, target);
                    if is_kept {
                        links.insert(path.clone());
                        entries.push((path, ContextEntry::Link(target.clone())));
                    }
                }
            }
        }
        for (path, file) in self.shown.files.range(below.clone()..) {
            let Some(path) = within(path) else { break };
            let is_at_link = links.contains(&path) || is_below_one_of(&links, &path);
            if path != Language::Tera.template() && !is_at_link {
                entries.push((path, ContextEntry::File(file.clone())));
            }
        }
        entries
    }

    /// Returns the text of every template in Tera, by path.
    ///
    /// # Errors
    /// When one can't be read or is not UTF-8.
    pub fn templates(&self) -> Result<BTreeMap<String, String>> {
        self.shown
            .files
            .iter()
            .filter(|(path, _)| path.ends_with(TERA_SUFFIX))
            .map(|(path, file)| Ok((path.clone(), file.text(&self.display_path(path))?)))
            .collect()
    }

    /// Returns the text of every profile file, by the profile's name.
    ///
    /// # Errors
    /// When one can't be read or is not UTF-8.
    pub fn profiles(&self) -> Result<BTreeMap<String, String>> {
        self.profiles
            .iter()
            .filter_map(|(path, file)| Some((path.strip_suffix(PROFILE_SUFFIX)?, path, file)))
            .map(|(name, path, file)| Ok((name.to_owned(), file.text(path)?)))
            .collect()
    }
}

/// Folder of a tree. Its permissions are only read if they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeFolder {
    /// Folder at this path.
    OnDisk(PathBuf),
    /// Folder with these permissions.
    #[cfg(test)]
    WithMode(u32),
}

impl TreeFolder {
    /// Returns the permissions that an engine gets.
    ///
    /// # Errors
    /// When the folder on disk can't be read.
    pub fn mode(&self) -> io::Result<u32> {
        match self {
            Self::OnDisk(path) => {
                Ok(sent_mode(fs::symlink_metadata(path)?.permissions().mode(), true))
            }
            #[cfg(test)]
            Self::WithMode(mode) => Ok(*mode),
        }
    }
}

/// Entry of a build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextEntry {
    /// File.
    File(TreeFile),
    /// Folder.
    Folder(TreeFolder),
    /// Symbolic link to this target.
    Link(String),
}

/// Returns true if a path is below one of the `links`.
fn is_below_one_of(links: &BTreeSet<String>, path: &str) -> bool {
    !links.is_empty() && above(path).any(|above| links.contains(above))
}

/// Returns the folders that contain a path, from the uppermost.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// Returns true if a link at `path` within a folder has an absolute target, or one that does not
/// leave the folder.
fn stays_or_is_absolute(path: &str, target: &str) -> bool {
    let mut depth = Some(above(path).count());
    for part in Path::new(target).components() {
        depth = match part {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::CurDir => depth,
            Component::ParentDir => depth.and_then(|depth| depth.checked_sub(1)),
            Component::Normal(_) => depth.map(|depth| depth + 1),
        };
    }
    depth.is_some()
}

/// Removes what is at `path` and below it.
fn remove_below<T>(entries: &mut BTreeMap<String, T>, path: &str) {
    let start = format!("{path}/");
    let below = entries.range(start.clone()..).map(|(path, _)| path);
    let below: Vec<String> = below.take_while(|path| path.starts_with(&start)).cloned().collect();
    for path in below.iter().map(String::as_str).chain([path]) {
        entries.remove(path);
    }
}

/// Reads the manifest in the folder `root`, and the files of the folder of profiles that it names.
fn read_manifest(root: &Path, file: &TreeFile) -> Result<(Manifest, Files)> {
    let path = root.join(FILE_NAME).display().to_string();
    let mut manifest = Manifest::parse(&file.text(&path)?, &path)?;
    for source in manifest.sources.values_mut() {
        source.folder = Some(root.to_owned());
    }
    let profiles = match &manifest.profiles {
        // Profiles may be beside the tree: they only select images by name.
        Some(folder) if leads_down(folder.strip_prefix("../").unwrap_or(folder)) => {
            walk_if_there(&root.join(folder))?
        }
        Some(folder) => {
            let message =
                format!("the folder of profiles '{folder}' is not in the tree or beside it");
            return Err(Diagnostic::new(message).note(format!("{path} names it")).into());
        }
        None => Files::new(),
    };
    Ok((manifest, profiles))
}

/// Returns true if a relative path has no part `..` and so stays below its base folder.
pub fn leads_down(path: &str) -> bool {
    use std::path::Component::{CurDir, Normal};
    Path::new(path).components().all(|part| matches!(part, Normal(_) | CurDir))
}

fn walk_if_there(folder: &Path) -> Result<Files> {
    if folder.is_dir() { Ok(walk(folder)?.files) } else { Ok(Files::new()) }
}

/// Returns the permissions that an engine gets for a file or folder with these permissions on disk.
///
/// The bits that depend on how the tree was checked out are left out: writing by group and others,
/// which the umask decides, and executable bits beside the owner's, as in git. A permission to read
/// that the file withholds from its group or from others is never added. The bits that no umask
/// sets are kept: those for changing the user or group, and a folder's sticky bit.
pub(crate) fn sent_mode(mode: u32, is_folder: bool) -> u32 {
    const STICKY: u32 = 0o1000;
    const SET_ID: u32 = 0o6000;
    if is_folder && mode & STICKY != 0 {
        return mode & 0o1777 | 0o700;
    }
    let is_executable = is_folder || mode & 0o100 != 0;
    let each = if is_executable { 0o5 } else { 0o4 };
    let readers = [(0o040, each << 3), (0o004, each)];
    let of_readers = readers.iter().filter(|(read, _)| mode & read != 0).map(|(_, bits)| bits);
    let of_owner = if is_executable { 0o700 } else { 0o600 };
    let special = if is_folder { 0 } else { mode & SET_ID };
    special | of_owner | of_readers.sum::<u32>()
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(format!("'{}' can't be read: {error}", path.display()))
}

/// Initial size of the buffer, in bytes. Almost all templates are shorter, so that they are read at
/// once without a query of their length.
const LENGTH_OF_MOST: usize = 8 << 10;

/// Returns the content of a regular file, up to the size limit of texts.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(LENGTH_OF_MOST);
    files::open_regular(path)?.take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        let message = format!("it is longer than {} MiB", LONGEST_TEXT >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// Returns the text of a file; `None` if it can't be read, is too long or is not UTF-8.
fn text_at(path: &Path) -> Option<String> {
    String::from_utf8(read_bounded(path).ok()?).ok()
}

/// Returns the number of the line, from 1, of the byte that follows `bytes`.
fn line_after(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::walk::walk_up_to;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    pub(super) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn small_tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), FILE_NAME, "profiles = 'p'\n");
        write(root.path(), "p/all.list", ".\n");
        write(root.path(), "base/Dockerfile.tera", "FROM a:1");
        write(root.path(), "group/app/Dockerfile.tera", "FROM b:1");
        write(root.path(), "group/app/etc/app.conf", "x");
        write(root.path(), "group/app-two/Dockerfile.tera", "FROM c:1");
        write(root.path(), "components.tera", "");
        root
    }

    /// Returns the build context of an image by path.
    fn context(tree: &Tree, folder: &ImageFolder) -> BTreeMap<String, ContextEntry> {
        tree.context(folder).into_iter().collect()
    }

    #[test]
    fn images_and_their_contexts_are_found() {
        let root = small_tree();
        let tree = Tree::open(root.path(), None).unwrap();
        let images = tree.images().unwrap();
        let names: Vec<_> = images.iter().map(|i| (i.name.as_str(), i.path.as_str())).collect();
        assert_eq!(names, [("base", "base"), ("app", "group/app"), ("app-two", "group/app-two")]);
        let context: Vec<_> = context(&tree, &images[1]).into_keys().collect();
        assert_eq!(context, ["etc", "etc/app.conf"]);
        assert_eq!(tree.templates().unwrap().len(), 4);
        assert_eq!(tree.profiles().unwrap()["all"], ".\n");
    }

    #[test]
    fn an_overlay_replaces_and_adds() {
        let root = small_tree();
        let over = tempfile::tempdir().unwrap();
        write(over.path(), "base/Dockerfile.tera", "FROM other:1");
        write(over.path(), "new/Dockerfile.tera", "FROM new:1");
        let mut tree = Tree::open(root.path(), None).unwrap();
        tree.overlay(over.path()).unwrap();
        assert_eq!(tree.images().unwrap().len(), 4);
        assert_eq!(tree.templates().unwrap()["base/Dockerfile.tera"], "FROM other:1");
        assert!(
            tree.display_path("base/Dockerfile.tera").starts_with(over.path().to_str().unwrap())
        );
        assert!(tree.overlay(&over.path().join("missing")).is_err());
    }

    #[test]
    fn an_overlay_may_have_a_manifest_and_profiles() {
        let root = small_tree();
        let over = tempfile::tempdir().unwrap();
        write(over.path(), FILE_NAME, "profiles = 'p'\n[users]\nnew = {uid = 7, gid = 8}\n");
        write(over.path(), "p/more.list", "x\n");
        let mut tree = Tree::open(root.path(), None).unwrap();
        tree.overlay(over.path()).unwrap();
        assert_eq!(tree.manifest().user_variables()["new"].uid, Some(7));
        let profiles: Vec<_> = tree.profiles().unwrap().into_keys().collect();
        assert_eq!(profiles, ["all", "more"]);
    }

    #[test]
    fn links_are_followed_within_the_tree_and_refused_out_of_it() {
        let root = small_tree();
        symlink("app", root.path().join("group/app-three")).unwrap();
        let tree = Tree::open(root.path(), None).unwrap();
        assert!(tree.images().unwrap().iter().any(|image| image.name.as_str() == "app-three"));

        symlink("/etc/passwd", root.path().join("group/passwd")).unwrap();
        let tree = Tree::open(root.path(), None).unwrap();
        let message = tree.images().unwrap_err().0.remove(0).message;
        assert!(
            message.ends_with("group/passwd' is a link to a path outside of the tree"),
            "{message}"
        );
        symlink("/etc/passwd", root.path().join("base/other.tera")).unwrap();
        let message = Tree::open(root.path(), None).unwrap_err().0.remove(0).message;
        assert!(
            message.ends_with("base/other.tera' is a link to a path outside of the tree"),
            "{message}"
        );
    }

    /// Returns the links and folders in the context of the image `app`, with their targets and
    /// modes.
    fn shown_others(tree: &Tree) -> Vec<String> {
        let images = tree.images().unwrap();
        let app = images.iter().find(|image| image.name.as_str() == "app").unwrap();
        let shown = context(tree, app).into_iter().filter_map(|(path, entry)| match entry {
            ContextEntry::File(_) => None,
            ContextEntry::Folder(folder) => Some(format!("{path} {:o}", folder.mode().unwrap())),
            ContextEntry::Link(target) => Some(format!("{path} -> {target}")),
        });
        shown.collect()
    }

    #[test]
    fn links_in_a_context_are_kept_unless_they_lead_elsewhere_in_the_tree() {
        let root = small_tree();
        let app = root.path().join("group/app");
        for (target, link) in [
            ("app.conf", "etc/beside"),
            (".", "etc/itself"),
            ("etc", "settings"),
            ("../../run/x", "etc/gone"),
            ("/usr/share/zoneinfo/UTC", "localtime"),
            ("../../..", "up"),
            ("../app-two", "elsewhere"),
            ("../../components.tera", "component"),
        ] {
            symlink(target, app.join(link)).unwrap();
        }
        let tree = Tree::open(root.path(), None).unwrap();
        assert_eq!(
            shown_others(&tree),
            [
                "etc 755",
                "etc/beside -> app.conf",
                "etc/gone -> ../../run/x",
                "etc/itself -> .",
                "localtime -> /usr/share/zoneinfo/UTC",
                "settings -> etc",
                "up -> ../../..",
            ]
        );
        let images = tree.images().unwrap();
        let context = context(&tree, images.iter().find(|i| i.path == "group/app").unwrap());
        assert!(context.contains_key("component"));
        assert!(!context.keys().any(|path| path.starts_with("settings/")), "{context:?}");
    }

    #[test]
    fn overlay_replaces_links_and_folders() {
        let root = small_tree();
        let app = root.path().join("group/app");
        symlink("etc", app.join("was-link")).unwrap();
        write(&app, "was-folder/file", "");
        let over = tempfile::tempdir().unwrap();
        write(over.path(), "group/app/was-link/new", "");
        symlink("etc", over.path().join("group/app/was-folder")).unwrap();
        let mut tree = Tree::open(root.path(), None).unwrap();
        tree.overlay(over.path()).unwrap();
        assert_eq!(shown_others(&tree), ["etc 755", "was-folder -> etc", "was-link 755"]);
        assert!(tree.files().contains_key("group/app/was-link/new"));
        assert!(!tree.files().contains_key("group/app/was-folder/file"));
    }

    #[test]
    fn modes_are_independent_of_the_umask_and_never_widened() {
        let table = [
            (false, [0o644, 0o664, 0o666].as_slice(), 0o644),
            (false, &[0o755, 0o775, 0o777], 0o755),
            (false, &[0o600, 0o400, 0o620], 0o600),
            (false, &[0o640, 0o660], 0o640),
            (false, &[0o700], 0o700),
            (false, &[0o750, 0o770], 0o750),
            (false, &[0o4755, 0o4775], 0o4755),
            (true, &[0o755, 0o775, 0o777, 0o2755], 0o755),
            (true, &[0o700], 0o700),
            (true, &[0o750, 0o770], 0o750),
            (true, &[0o1777], 0o1777),
        ];
        for (is_folder, modes, expected) in table {
            for mode in modes {
                assert_eq!(sent_mode(*mode, is_folder), expected, "{mode:o}");
            }
        }
    }

    #[test]
    fn links_that_show_a_folder_many_times_over_are_not_followed_for_ever() {
        let root = small_tree();
        for n in 0..12 {
            let folder = root.path().join(format!("d{n}"));
            fs::create_dir(&folder).unwrap();
            symlink(format!("../d{}", n + 1), folder.join("a")).unwrap();
            symlink(format!("../d{}", n + 1), folder.join("b")).unwrap();
        }
        write(root.path(), "d12/file", "");
        let message = walk_up_to(2000, root.path()).unwrap_err().0.remove(0).message;
        assert!(message.ends_with("has more than 2000 files"), "{message}");
    }

    #[test]
    fn a_manifest_names_no_place_outside_of_its_tree() {
        for place in ["/etc", "../../elsewhere", "p/../../elsewhere"] {
            let root = small_tree();
            write(root.path(), FILE_NAME, &format!("profiles = '{place}'\n"));
            let message = Tree::open(root.path(), None).unwrap_err().0.remove(0).message;
            let expected =
                format!("the folder of profiles '{place}' is not in the tree or beside it");
            assert_eq!(message, expected);

            let mut tree = Tree::open(small_tree().path(), None).unwrap();
            let message = tree.add_file(place, Path::new("/dev/null")).unwrap_err().0.remove(0);
            assert_eq!(message.message, format!("'{place}' is not a path inside the tree"));
        }
    }

    #[test]
    fn names_that_are_not_utf8_and_irregular_files_are_reported_or_left_out() {
        use std::os::unix::ffi::OsStrExt as _;
        let root = small_tree();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("base/s")).unwrap();
        let tree = Tree::open(root.path(), None).unwrap();
        assert!(!tree.files().contains_key("base/s"));
        let name = std::ffi::OsStr::from_bytes(b"base/a\xff");
        fs::write(root.path().join(name), "").unwrap();
        let message = Tree::open(root.path(), None).unwrap_err().0.remove(0).message;
        assert_eq!(message, "the name of 'base/a\u{fffd}' is not UTF-8");
    }

    #[test]
    fn a_text_may_be_so_long_and_a_file_that_is_sent_any_length() {
        let root = small_tree();
        let length = LONGEST_TEXT as usize;
        write(root.path(), "components.tera", &"x".repeat(length));
        write(root.path(), "base/large", &"x".repeat(50 << 20));
        let tree = Tree::open(root.path(), None).unwrap();
        assert_eq!(tree.templates().unwrap()["components.tera"].len(), length);
        let context = context(&tree, &tree.images().unwrap()[0]);
        let ContextEntry::File(large) = &context["large"] else { panic!("{context:?}") };
        assert_eq!(large.read().unwrap().len(), 50 << 20);

        write(root.path(), "components.tera", &"x".repeat(length + 1));
        let message = tree.templates().unwrap_err().0.remove(0).message;
        assert!(message.ends_with("components.tera' can't be read: it is longer than 4 MiB"));
    }

    #[test]
    fn loop_of_links_is_reported() {
        for (target, link, back_to) in [
            ("..", "group/up", ""),
            (".", "up", ""),
            (".", "group/here", "/group"),
            ("../../group", "group/child/again", "/group"),
        ] {
            let root = small_tree();
            fs::create_dir_all(root.path().join("group/child")).unwrap();
            let link = root.path().join(link);
            symlink(target, &link).unwrap();
            let tree = Tree::open(root.path(), None).unwrap();
            let message = tree.images().unwrap_err().0.remove(0).message;
            let (link, root) = (link.display(), root.path().display());
            assert_eq!(message, format!("'{link}' is a link back to '{root}{back_to}'"));
        }
    }

    #[test]
    fn a_folder_without_manifest_is_no_tree() {
        let empty = tempfile::tempdir().unwrap();
        let message = Tree::open(empty.path(), None).unwrap_err().0.remove(0).message;
        assert!(
            message.ends_with("has neither a tree.toml nor the templates of kolla-build"),
            "{message}"
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_line() {
        let root = small_tree();
        fs::write(root.path().join("base/Dockerfile.tera"), b"FROM a:1\n\xff").unwrap();
        let message =
            Tree::open(root.path(), None).unwrap().templates().unwrap_err().0.remove(0).message;
        assert!(message.ends_with("is not UTF-8 text, from line 2 on"), "{message}");
    }
}
