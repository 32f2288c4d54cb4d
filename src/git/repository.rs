//! Repository that is read as data: its content is used, its configuration is not.
//!
//! Git runs with a git directory that Kiln creates: references, objects, index and excludes are
//! links to those of the repository, and the configuration is Kiln's own. No list of dangerous
//! settings is needed. The user's own configuration holds, for instance for ignored files.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::export;
use super::git_command::git;
use crate::files::{TemporaryFolder, open_regular, private_folder, read_text, refuse_irregular};
use crate::program::{self, Limits, RunError};

/// Longest time for an answer of git about a repository on this machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Longest time for git to print the contents of all files of a commit.
const EXPORT_WITHIN: Duration = Duration::from_secs(600);

/// Largest answer, in bytes.
const LONGEST_ANSWER: usize = 256 << 20;

/// Largest small file of a git directory, in bytes: links to other folders, HEAD and the like.
const LONGEST_LINK: u64 = 4096;

/// Largest configuration file, in bytes.
const LONGEST_CONFIG: u64 = 1 << 20;

/// Setting that makes git use a bare repository only if it is named explicitly.
const NO_BARE: [&str; 2] = ["-c", "safe.bareRepository=explicit"];

/// Reason why the repository of a folder can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The folder is in no repository.
    #[error("neither '{}' nor a folder above it has a .git", .0.display())]
    Missing(PathBuf),
    /// The repository is not trusted.
    #[error("{reason}")]
    Untrusted {
        /// Folder in which it was found.
        top: PathBuf,
        /// Reason.
        reason: String,
        /// Cure.
        help: String,
    },
    /// The repository can't be read.
    #[error("{0}")]
    Unreadable(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Repository with a work tree.
pub struct Repository {
    place: Place,
    view: TemporaryFolder,
}

impl Repository {
    /// Finds the repository that contains `folder`.
    ///
    /// # Errors
    /// When there is none, or its git directory is in an unexpected place or belongs to another
    /// user.
    pub fn containing(folder: &Path) -> Result<Self, Refusal> {
        Self::new(Place::containing(folder)?)
    }

    /// Finds the repository whose work tree has the top folder `top`.
    ///
    /// # Errors
    /// When there is none, or its git directory is in an unexpected place or belongs to another
    /// user.
    pub fn at(top: &Path) -> Result<Self, Refusal> {
        let top = top.canonicalize()?;
        match Place::at(&top)? {
            Some(place) => Self::new(place),
            None => Err(Refusal::Missing(top)),
        }
    }

    fn new(place: Place) -> Result<Self, Refusal> {
        place.refuse_foreign()?;
        let view = place.view(&place.formats()?)?;
        Ok(Self { place, view })
    }

    /// Returns the top folder of the work tree, with links resolved.
    pub fn top(&self) -> &Path {
        &self.place.top
    }

    /// Runs git with the arguments `question` and returns its output.
    ///
    /// # Errors
    /// When git fails; the text says what git reports.
    pub fn ask(&self, question: &[&str]) -> Result<String, String> {
        let mut git = self.git().map_err(|error| error.to_string())?;
        git.args(question);
        answer(git)
    }

    /// Returns the id of the commit that `reference` denotes.
    ///
    /// # Errors
    /// When there is none; the text says what git reports.
    pub fn commit(&self, reference: &str) -> Result<String, String> {
        let mut git = self.git().map_err(|error| error.to_string())?;
        if reference.contains("@{") {
            let upstreams = self.place.settings(UPSTREAMS).map_err(|error| error.to_string())?;
            git.env("GIT_CONFIG_COUNT", upstreams.len().to_string());
            for (index, (name, value)) in upstreams.iter().enumerate() {
                git.env(format!("GIT_CONFIG_KEY_{index}"), name);
                git.env(format!("GIT_CONFIG_VALUE_{index}"), value);
            }
        }
        git.args(["rev-parse", "--verify", "--end-of-options", &format!("{reference}^{{commit}}")]);
        answer(git).map(|commit| commit.trim_end().to_owned())
    }

    /// Writes the files of a commit, exactly as they are in its objects, to the new folder
    /// `target`, and makes `target` a work tree of the repository.
    ///
    /// # Errors
    /// When the commit can't be read, or one of its files can't be written.
    pub fn export(&self, commit: &str, target: &Path) -> Result<(), String> {
        let mut entries = export::Listing::new(export::MOST_ENTRIES);
        self.stream(&["ls-tree", "-r", "-z", "--full-tree", commit], Vec::new(), &mut |chunk| {
            entries.take(chunk)
        })?;
        let mut writer = export::Writer::new(target, entries.entries).map_err(|e| e.to_string())?;
        let ids = writer.ids();
        if !ids.is_empty() {
            let batch = ["cat-file", "--batch", "--buffer"];
            self.stream(&batch, ids, &mut |chunk| writer.take(chunk))?;
        }
        writer.finish().and_then(|()| self.lend_to(target)).map_err(|error| error.to_string())
    }

    /// Makes `folder` a work tree of the repository, for the lifetime of this value.
    fn lend_to(&self, folder: &Path) -> io::Result<()> {
        let folder = folder.canonicalize()?;
        let git_file = folder.join(".git");
        fs::write(&git_file, format!("gitdir: {}\n", self.view.path().display()))?;
        fs::write(self.view.path().join(BACK_LINK), format!("{}\n", git_file.display()))
    }

    fn stream(
        &self,
        arguments: &[&str],
        input: Vec<u8>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), String> {
        let mut git = self.git().map_err(|error| error.to_string())?;
        git.args(arguments);
        let limits = Limits { total: EXPORT_WITHIN, ..limits() };
        match program::stream(git, input, &limits, take) {
            Ok((status, _)) if status.success() => Ok(()),
            Ok((_, said)) => Err(format!("git says: {}", said.trim())),
            Err(RunError::Unusable(error)) => Err(error.to_string()),
            Err(error) => Err(format!("git: {error}")),
        }
    }

    fn git(&self) -> io::Result<Command> {
        let mut git = reading(&self.place.top)?;
        git.env("GIT_DIR", self.view.path()).env("GIT_WORK_TREE", &self.place.top);
        Ok(git)
    }
}

/// Prepares a git command that reads local data only: no transport, no fetching of missing objects.
fn reading(folder: &Path) -> io::Result<Command> {
    let mut reading = git(folder, &[])?;
    reading.args(NO_BARE).env("GIT_ALLOW_PROTOCOL", "none").env("GIT_NO_LAZY_FETCH", "1");
    reading.env("GIT_ATTR_NOSYSTEM", "1");
    Ok(reading)
}

fn limits() -> Limits {
    Limits { silence: ANSWER_WITHIN, total: ANSWER_WITHIN, output: LONGEST_ANSWER, folder: None }
}

/// Returns the output of git, or its error message if it fails.
fn answer(git: Command) -> Result<String, String> {
    match program::run(git, &limits()) {
        Ok(ended) if ended.status.success() => {
            Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
        }
        Ok(ended) => Err(format!("git says: {}", ended.stderr.trim())),
        Err(error) => Err(format!("git: {error}")),
    }
}

/// Folders of a repository.
struct Place {
    top: PathBuf,
    /// Git directory of this work tree alone: HEAD, the index.
    git_dir: PathBuf,
    /// Git directory of all work trees: references, objects.
    common: PathBuf,
}

/// File of a git directory that names the `.git` of its work tree, if the work tree is elsewhere.
const BACK_LINK: &str = "gitdir";

/// File of a git directory that names the folder with the references and objects.
const COMMON_LINK: &str = "commondir";

impl Place {
    /// Searches `folder` and its parents, as git does, within one file system.
    fn containing(folder: &Path) -> Result<Self, Refusal> {
        let folder = folder.canonicalize()?;
        let device = folder.metadata()?.dev();
        for above in folder.ancestors() {
            if above.metadata()?.dev() != device {
                break;
            }
            if let Some(place) = Self::at(above)? {
                return Ok(place);
            }
            if is_git_directory(above) {
                return Err(Refusal::Untrusted {
                    top: above.to_owned(),
                    reason: format!("'{}' is itself a git directory", above.display()),
                    help: "its HEAD, objects and refs make git take it for a bare repository: remove them, or name a tree outside of it with --tree".to_owned(),
                });
            }
        }
        Err(Refusal::Missing(folder))
    }

    /// Returns the repository with the top folder `top`, if there is one.
    fn at(top: &Path) -> Result<Option<Self>, Refusal> {
        let git_dir = top.join(".git");
        let Ok(metadata) = git_dir.symlink_metadata() else { return Ok(None) };
        if metadata.is_dir() {
            let common = git_dir.clone();
            let place = Self { top: top.to_owned(), git_dir, common };
            return Ok(is_git_directory(&place.git_dir).then_some(place));
        }
        if metadata.is_symlink() {
            return Err(untrusted(top, "its .git is a symbolic link"));
        }
        let text = read_text(&git_dir, LONGEST_LINK);
        let text = text.map_err(|error| untrusted(top, &format!("its .git: {error}")))?;
        let target = text.strip_prefix("gitdir: ").map(|path| top.join(path.trim_end()));
        let target = target.ok_or_else(|| untrusted(top, "its .git is not a link to a folder"))?;
        Self::linked(top, &target.canonicalize()?).map(Some)
    }

    /// Returns the repository of a work tree whose `.git` is a file. The layouts of
    /// `git worktree add` and `git submodule` are accepted: either the git directory names the work
    /// tree in return, or it is the one that the surrounding repository keeps for a submodule.
    fn linked(top: &Path, git_dir: &Path) -> Result<Self, Refusal> {
        let link = |name: &str| read_text(&git_dir.join(name), LONGEST_LINK).ok();
        let common = match link(COMMON_LINK) {
            Some(common) => git_dir.join(common.trim_end()).canonicalize()?,
            None => git_dir.to_owned(),
        };
        let names_top = || {
            let back = git_dir.join(link(BACK_LINK)?.trim_end());
            let is_there = back.parent()?.canonicalize().ok()? == top;
            (is_there && back.file_name()? == ".git").then_some(())
        };
        let is_kept_around = || {
            let around = Self::containing(top.parent()?).ok()?;
            git_dir.starts_with(around.git_dir.join("modules")).then_some(())
        };
        if names_top().or_else(is_kept_around).is_none() {
            let reason = format!("its .git points to '{}'", git_dir.display());
            return Err(untrusted(top, &reason));
        }
        Ok(Self { top: top.to_owned(), git_dir: git_dir.to_owned(), common })
    }

    /// Refuses a repository of another user, unless git accepts it because of `safe.directory`.
    fn refuse_foreign(&self) -> Result<(), Refusal> {
        let me = rustix::process::geteuid().as_raw();
        let is_mine = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.uid() == me);
        if [&self.top, &self.top.join(".git"), &self.git_dir].into_iter().all(|path| is_mine(path))
        {
            return Ok(());
        }
        let mut git = reading(&self.top)?;
        git.args(["rev-parse", "--git-dir"]);
        answer(git).map(|_| ()).map_err(|said| Refusal::Untrusted {
            top: self.top.clone(),
            reason: said,
            help:
                "if you trust its owner, add the folder to safe.directory in your git configuration"
                    .to_owned(),
        })
    }

    /// Creates a git directory with links to the content of this one and a configuration of Kiln's
    /// own.
    fn view(&self, formats: &[(String, String)]) -> io::Result<TemporaryFolder> {
        let view = private_folder("kiln-git-")?;
        let at = |name: &str| view.path().join(name);
        for head in HEADS {
            if let Ok(file) = open_regular(&self.git_dir.join(head)) {
                // Only the first line matters.
                let mut head_file = fs::File::create(at(head))?;
                io::copy(&mut io::Read::take(file, LONGEST_LINK), &mut head_file)?;
            }
        }
        let lend = |from: &Path, name: &str, to: &str| -> io::Result<()> {
            let from = from.join(name);
            match from.symlink_metadata() {
                Ok(_) => {
                    refuse_irregular(&from.metadata()?).map_err(|error| {
                        io::Error::other(format!("{}: {error}", from.display()))
                    })?;
                    symlink(from, at(to))
                }
                Err(_) => Ok(()),
            }
        };
        for name in ["refs", "packed-refs", "objects", "shallow", "reftable"] {
            lend(&self.common, name, name)?;
        }
        fs::create_dir(at("info"))?;
        lend(&self.common, "info/exclude", "info/exclude")?;
        fs::create_dir(at("logs"))?;
        lend(&self.git_dir, "logs/HEAD", "logs/HEAD")?;
        lend(&self.common, "logs/refs", "logs/refs")?;
        lend(&self.git_dir, "index", "index")?;
        for entry in fs::read_dir(&self.git_dir)? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with("sharedindex.")) {
                lend(&self.git_dir, name, name)?;
            }
        }
        let version = u8::from(!formats.is_empty());
        let mut config = format!("[core]\nrepositoryformatversion = {version}\nbare = false\n");
        for (name, value) in formats {
            config.push_str(&format!("[extensions]\n{name} = {value}\n"));
        }
        fs::write(at("config"), config)?;
        Ok(view)
    }

    /// Returns the formats of objects and references, if they are not the default ones.
    fn formats(&self) -> Result<Vec<(String, String)>, Refusal> {
        let path = self.common.join("config");
        match read_text(&path, LONGEST_CONFIG) {
            Ok(config) if config.to_ascii_lowercase().contains("[extensions") => {}
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(untrusted(&self.top, &format!("'{}': {error}", path.display())));
            }
        }
        let known = self.settings(FORMATS)?.into_iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("extensions.")?.to_owned();
            KNOWN_FORMATS.contains(&value.as_str()).then_some((name, value))
        });
        Ok(known.collect())
    }

    /// Returns the settings of the repository whose names match a pattern. It is used for names of
    /// formats, branches and remotes only: none of their values is run.
    fn settings(&self, pattern: &str) -> io::Result<Vec<(String, String)>> {
        let mut git = reading(Path::new("/"))?;
        git.arg("config").arg("--file").arg(self.common.join("config"));
        git.args(["--no-includes", "-z", "--get-regexp", pattern]);
        // Git fails if nothing matches.
        let listed = answer(git).unwrap_or_default();
        let entry = |entry: &str| {
            let (name, value) = entry.split_once('\n').unwrap_or((entry, ""));
            (name.to_owned(), value.to_owned())
        };
        Ok(listed.split_terminator('\0').map(entry).collect())
    }
}

/// Settings with the formats of objects and references.
const FORMATS: &str = r"^extensions\.(objectformat|refstorage)$";

/// Settings that define `@{upstream}`.
const UPSTREAMS: &str = r"^(branch\..*\.(remote|merge)|remote\..*\.fetch)$";

/// Known formats of objects and references.
const KNOWN_FORMATS: [&str; 4] = ["sha1", "sha256", "files", "reftable"];

/// References that are files of their own beside HEAD.
const HEADS: [&str; 7] = [
    "HEAD",
    "FETCH_HEAD",
    "ORIG_HEAD",
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "BISECT_HEAD",
];

fn untrusted(top: &Path, reason: &str) -> Refusal {
    Refusal::Untrusted {
        top: top.to_owned(),
        reason: reason.to_owned(),
        help: "a git directory must be .git, or in a place where 'git worktree add' or 'git submodule' creates it: clone the repository instead".to_owned(),
    }
}

/// Returns true for a folder that git would take for a git directory.
fn is_git_directory(folder: &Path) -> bool {
    let is_folder = |name: &str| folder.join(name).is_dir();
    folder.join("HEAD").symlink_metadata().is_ok() && is_folder("objects") && is_folder("refs")
}
