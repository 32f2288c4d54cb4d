//! Template tree with its overlays, and what its files are: templates, images with their build
//! contexts, and profiles.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::bounded_text::{LONGEST_TEXT, unreadable};
use super::embedded;
use super::image_folder::ImageFolder;
use super::language::{Language, TERA_SUFFIX};
use super::manifest::{FILE_NAME, Manifest};
use super::profile_file::ProfileFile;
use super::release::{self, Release};
use super::shown_files::ShownFiles;
use super::tree_entry::{Content, ContextEntry, Files, TreeFile};
use super::tree_path::{above, is_below_one_of, leads_down, remove_below, stays_or_is_absolute};
use super::walk::{Other, Others, Walked, walk};
use crate::diagnostic::{Diagnostic, Diagnostics, Result, collect};
use crate::dialect::Dialect;
use crate::files;
use crate::image::ImageName;

/// Suffix of profile files.
const PROFILE_SUFFIX: &str = ".list";

/// Template tree with its overlays.
#[derive(Debug)]
pub struct Tree {
    shown: ShownFiles,
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
        let shown = ShownFiles::new(root.display().to_string(), files);
        Ok(Self { shown, others, profiles, manifest, release: None })
    }

    fn of_release(place: &release::ReleaseFolders, dialect: Option<Dialect>) -> Result<Self> {
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
            shown: ShownFiles::new(place.templates.display().to_string(), files),
            others,
            profiles: profiles.collect(),
            manifest,
            release: Some(release),
        })
    }

    /// Returns a tree of `files`, without a manifest.
    pub fn of_files(files: Files) -> Self {
        Self {
            shown: ShownFiles::new("memory", files),
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
        let (shown, others) = (ShownFiles::new(origin, files), Others::new());
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
    pub fn shown(&self) -> &ShownFiles {
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

    /// Returns every profile file, by the profile's name.
    ///
    /// # Errors
    /// When one can't be read or is not UTF-8.
    pub fn profiles(&self) -> Result<BTreeMap<String, ProfileFile>> {
        self.profiles
            .iter()
            .filter_map(|(path, file)| Some((path.strip_suffix(PROFILE_SUFFIX)?, path, file)))
            .map(|(name, path, file)| {
                let on_disk = match &file.content {
                    Content::Disk(on_disk) => Some(on_disk.display().to_string()),
                    Content::Embedded(_) | Content::Text(_) => None,
                };
                Ok((name.to_owned(), ProfileFile { path: on_disk, text: file.text(path)? }))
            })
            .collect()
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

fn walk_if_there(folder: &Path) -> Result<Files> {
    if folder.is_dir() { Ok(walk(folder)?.files) } else { Ok(Files::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::write;
    use crate::tree::walk::walk_up_to;
    use std::fs;
    use std::os::unix::fs::symlink;

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
        assert_eq!(tree.profiles().unwrap()["all"].text, ".\n");
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
