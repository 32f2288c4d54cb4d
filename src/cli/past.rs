//! The git repository that holds the tree, as it was at a commit: written to a temporary folder by
//! git, which leaves no trace in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::diagnostic::Diagnostic;

/// Variables of the environment that would lead git to another repository than the tree's.
const GIT_VARIABLES: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"];

/// A repository as it was.
pub struct Past {
    /// What the user calls the commit.
    pub reference: String,
    repository: PathBuf,
    export: PathBuf,
    /// What git takes no notice of, by path within the repository.
    ignored: Vec<PathBuf>,
    _folder: TempDir,
}

impl Past {
    /// The repository that `folder` lies in, as it was at `reference`.
    ///
    /// # Errors
    /// When the folder lies in no repository, or that has no such commit.
    pub fn of(folder: &Path, reference: &str) -> Result<Self, Diagnostic> {
        let repository = repository_of(folder)?;
        let commit = commit(&repository, reference)?;
        let refuse = |reason: String| {
            Diagnostic::new(format!("the repository can't be had as it was at {reference}"))
                .note(reason)
        };
        let temporary = tempfile::tempdir().map_err(|error| refuse(error.to_string()))?;
        let name = repository.file_name().unwrap_or_else(|| "repository".as_ref());
        let export = temporary.path().join(name);
        write_commit(&repository, &commit, &temporary.path().join("index"), &export)
            .map_err(refuse)?;
        let ignored = ignored(&repository).map_err(refuse)?;
        let reference = reference.to_owned();
        let past = Self { reference, repository, export, ignored, _folder: temporary };
        past.refuse_without(folder)?;
        Ok(past)
    }

    /// Says so where the tree is in no commit, or not in this one.
    fn refuse_without(&self, folder: &Path) -> Result<(), Diagnostic> {
        let (shown, reference) = (folder.display(), &self.reference);
        match self.path(folder) {
            Some(then) if then != folder => Ok(()),
            Some(_) => Err(Diagnostic::new(format!("git ignores the tree '{shown}'"))
                .help("what changed is found by git: put the tree under its control, or name one that is with --tree")),
            None => Err(Diagnostic::new(format!("the tree '{shown}' was not there at {reference}"))
                .help("name a later commit, one that has the tree")),
        }
    }

    /// Where the file or folder `named` is as it was: in the repository as it was if it lies in
    /// that, unless git ignores it; `None` if it was not there.
    pub fn path(&self, named: &Path) -> Option<PathBuf> {
        let resolved = resolved(named);
        let Ok(within) = resolved.strip_prefix(&self.repository) else {
            return Some(named.to_owned());
        };
        let then = self.export.join(within);
        if then.symlink_metadata().is_ok() {
            Some(then)
        } else {
            let is_ignored = self.ignored.iter().any(|ignored| within.starts_with(ignored));
            is_ignored.then(|| named.to_owned())
        }
    }
}

/// The path without links and steps upwards but for its last part, as far as it exists.
fn resolved(named: &Path) -> PathBuf {
    let path = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return path.canonicalize().unwrap_or(path);
    };
    match parent.canonicalize() {
        Ok(parent) => parent.join(name),
        Err(_) => resolved(parent).join(name),
    }
}

/// The top folder of the repository that `folder` lies in.
fn repository_of(folder: &Path) -> Result<PathBuf, Diagnostic> {
    let top = git(folder, &["rev-parse", "--show-toplevel"], None).map_err(|reason| {
        Diagnostic::new(format!("the tree '{}' lies in no git repository", folder.display()))
            .note(reason)
            .help("what changed is found by git: put the tree under its control ('git init'), or name one that is with --tree")
    })?;
    Ok(PathBuf::from(top.trim_end_matches('\n')))
}

/// The commit that the user calls `reference`.
fn commit(repository: &Path, reference: &str) -> Result<String, Diagnostic> {
    let wanted = format!("{reference}^{{commit}}");
    let question = ["rev-parse", "--verify", "--end-of-options", &wanted];
    let commit = git(repository, &question, None).map_err(|reason| {
        let shown = repository.display();
        Diagnostic::new(format!("the repository '{shown}' has no commit '{reference}'"))
            .note(reason)
            .help(cure(repository, reference))
    })?;
    Ok(commit.trim_end().to_owned())
}

/// What helps against a commit that is not there.
fn cure(repository: &Path, reference: &str) -> String {
    let is_shallow = git(repository, &["rev-parse", "--is-shallow-repository"], None);
    if is_shallow.is_ok_and(|answer| answer.trim() == "true") {
        format!(
            "the clone is shallow: fetch the commit with 'git fetch --unshallow' or 'git fetch --depth=1 origin {reference}', whose name is then FETCH_HEAD"
        )
    } else {
        format!(
            "name a branch, a tag or a commit; what only the remote has is there after 'git fetch origin', as origin/{reference}"
        )
    }
}

/// Writes the files of a commit to the folder `export`, with an index of its own.
fn write_commit(
    repository: &Path,
    commit: &str,
    index: &Path,
    export: &Path,
) -> Result<(), String> {
    let prefix = format!("--prefix={}/", export.display());
    fs::create_dir(export).map_err(|error| error.to_string())?;
    git(repository, &["read-tree", commit], Some(index))?;
    git(repository, &["checkout-index", "--all", "--force", &prefix], Some(index))?;
    tell_of(repository, export)
}

/// Lets git say of the export what it says of the repository: a tree's version is then the same.
fn tell_of(repository: &Path, export: &Path) -> Result<(), String> {
    let folder = git(repository, &["rev-parse", "--absolute-git-dir"], None)?;
    fs::write(export.join(".git"), format!("gitdir: {folder}")).map_err(|error| error.to_string())
}

/// What git takes no notice of, by path from the top of the repository.
fn ignored(repository: &Path) -> Result<Vec<PathBuf>, String> {
    let question = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"];
    let listed = git(repository, &question, None)?;
    Ok(listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect())
}

/// What git answers in `folder`, with another index than the repository's if one is given; what it
/// says against it where it fails.
fn git(folder: &Path, arguments: &[&str], index: Option<&Path>) -> Result<String, String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder);
    git.args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]).args(arguments);
    git.env("GIT_TERMINAL_PROMPT", "0");
    for name in GIT_VARIABLES {
        git.env_remove(name);
    }
    if let Some(index) = index {
        git.env("GIT_INDEX_FILE", index);
    }
    let output = git.output().map_err(|error| format!("git can't be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("git says: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository of these files, committed.
    fn repository(files: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "then\n").unwrap();
        }
        let run = |arguments: &[&str]| git(folder.path(), arguments, None).unwrap();
        run(&["init", "--quiet"]);
        run(&["add", "--all"]);
        let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        run(&[&author, ["commit", "--quiet", "--message=first"].as_slice()].concat());
        folder
    }

    #[test]
    fn programs_that_a_repository_configures_are_not_run() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = repository(&["docker/file"]);
        let (program, ran) = (folder.path().join("program"), folder.path().join("ran"));
        fs::write(&program, format!("#!/bin/sh\ntouch '{}'\n", ran.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let program = program.to_str().unwrap();
        git(folder.path(), &["config", "core.fsmonitor", program], None).unwrap();
        let by_itself = |arguments: &[&str]| {
            Command::new("git").arg("-C").arg(folder.path()).args(arguments).output().unwrap()
        };
        by_itself(&["ls-files", "--others"]);
        assert!(ran.exists(), "this git runs no such program");
        fs::remove_file(&ran).unwrap();
        Past::of(&folder.path().join("docker"), "HEAD").unwrap();
        assert!(!ran.exists());
    }

    #[test]
    fn files_of_the_repository_are_had_as_they_were() {
        let folder = repository(&["docker/base/file", "gone/file"]);
        let inside = |path: &str| folder.path().join(path);
        fs::write(inside("docker/base/file"), "now\n").unwrap();
        fs::remove_dir_all(inside("gone")).unwrap();
        fs::write(inside("new"), "now\n").unwrap();
        fs::write(inside(".gitignore"), "built\n").unwrap();
        fs::create_dir(inside("built")).unwrap();
        fs::write(inside("built/file"), "now\n").unwrap();
        let past = Past::of(&inside("docker"), "HEAD").unwrap();
        let read = |path: PathBuf| past.path(&path).map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(read(inside("docker/base/file")).as_deref(), Some("then\n"));
        assert_eq!(read(inside("docker/../docker/base/file")).as_deref(), Some("then\n"));
        assert_eq!(read(inside("gone/file")).as_deref(), Some("then\n"));
        assert_eq!(read(inside("new")), None);
        assert_eq!(read(inside("built/file")).as_deref(), Some("now\n"));
        assert_eq!(past.path(Path::new("/etc/hosts")), Some(PathBuf::from("/etc/hosts")));
        let status = git(folder.path(), &["status", "--porcelain"], None).unwrap();
        assert_eq!(status.lines().count(), 4, "{status}");
    }
}
