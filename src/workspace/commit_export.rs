//! Snapshot of the tree's git repository at a commit. Its files are exported to a temporary folder;
//! the repository itself is not changed.

use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::files::{TemporaryFolder, private_folder};
use crate::git::{Refusal, Repository};

/// A repository at a commit.
pub struct CommitExport {
    /// The user's name for the commit.
    pub reference: String,
    top: PathBuf,
    export: PathBuf,
    /// Files that git ignores, by path within the repository.
    ignored: Vec<PathBuf>,
    _folder: TemporaryFolder,
    /// Kept because the export is a work tree of it: git is run in the export, too.
    _repository: Box<Repository>,
}

impl CommitExport {
    /// Exports the repository that contains `folder` as of `reference`.
    ///
    /// # Errors
    /// When the folder is in no repository, the repository has no such commit or can't be exported,
    /// or the folder is not part of that commit.
    pub fn of(folder: &Path, reference: &str) -> Result<Self, Diagnostic> {
        let repository = repository_of(folder)?;
        let commit = commit(&repository, reference)?;
        let refuse = |reason: String| {
            Diagnostic::new(format!("can't export the repository at {reference}")).note(reason)
        };
        let temporary = private_folder("kiln-past-").map_err(|error| refuse(error.to_string()))?;
        let top = repository.top().to_owned();
        let name = top.file_name().unwrap_or_else(|| "repository".as_ref());
        let export = temporary.path().join(name);
        repository.export(&commit, &export).map_err(refuse)?;
        let ignored = ignored(&repository).map_err(refuse)?;
        let reference = reference.to_owned();
        let (_folder, _repository) = (temporary, Box::new(repository));
        let past = Self { reference, top, export, ignored, _folder, _repository };
        past.refuse_without(folder)?;
        Ok(past)
    }

    /// Fails if git ignores the tree, or the commit does not contain it.
    fn refuse_without(&self, folder: &Path) -> Result<(), Diagnostic> {
        let (shown, reference) = (folder.display(), &self.reference);
        match self.path(folder) {
            Some(then) if then != folder => Ok(()),
            Some(_) => Err(Diagnostic::new(format!("git ignores the tree '{shown}'"))
                .help("git finds the changes: add the tree to the repository, or name another tree with --tree")),
            None => Err(Diagnostic::new(format!("the tree '{shown}' did not exist at {reference}"))
                .help("name a later commit that has the tree")),
        }
    }

    /// Returns the path of the file or folder `named` at the commit: in the export if it lies in
    /// the repository, or `named` itself if it lies outside or git ignores it; `None` if it did not
    /// exist.
    pub fn path(&self, named: &Path) -> Option<PathBuf> {
        let resolved = resolved(named);
        let Ok(within) = resolved.strip_prefix(&self.top) else {
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

/// Returns the path with the links and `..` of its parent resolved, as far as it exists. The last
/// part is kept as it is.
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

/// Opens the repository that contains `folder`.
fn repository_of(folder: &Path) -> Result<Repository, Diagnostic> {
    Repository::containing(folder).map_err(|refusal| {
        let shown = folder.display();
        let reason = refusal.to_string();
        match refusal {
            Refusal::Missing(_) => {
                Diagnostic::new(format!("the tree '{shown}' is not in a git repository"))
                    .note(reason)
                    .help("git finds the changes: add the tree to a git repository ('git init'), or name another tree with --tree")
            }
            Refusal::Untrusted { top, help, .. } => {
                let top = top.display();
                Diagnostic::new(format!("the git repository at '{top}' is not trusted"))
                    .note(reason)
                    .help(help)
            }
            Refusal::Unreadable(_) => {
                Diagnostic::new(format!("the git repository of the tree '{shown}' can't be read"))
                    .note(reason)
            }
        }
    })
}

/// Returns the id of the commit that the user calls `reference`.
fn commit(repository: &Repository, reference: &str) -> Result<String, Diagnostic> {
    repository.commit(reference).map_err(|reason| {
        let shown = repository.top().display();
        Diagnostic::new(format!("the repository '{shown}' has no commit '{reference}'"))
            .note(reason)
            .help(cure(repository, reference))
    })
}

/// Returns the help text for a commit that does not exist.
fn cure(repository: &Repository, reference: &str) -> String {
    let is_shallow = repository.ask(&["rev-parse", "--is-shallow-repository"]);
    if is_shallow.is_ok_and(|answer| answer.trim() == "true") {
        format!(
            "the clone is shallow: fetch the commit with 'git fetch --unshallow' or 'git fetch --depth=1 origin {reference}', then name FETCH_HEAD"
        )
    } else {
        format!(
            "name a branch, a tag or a commit; after 'git fetch origin', a branch of the remote is called origin/{reference}"
        )
    }
}

/// Returns the files that git ignores, by path from the top of the repository.
fn ignored(repository: &Repository) -> Result<Vec<PathBuf>, String> {
    let question = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"];
    let listed = repository.ask(&question)?;
    Ok(listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Returns the output of git, run in `folder`.
    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        let output = git.arg("-C").arg(folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates a repository with these files in one commit.
    fn repository(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "then\n").unwrap();
        }
        let run = |arguments: &[&str]| git(folder.path(), arguments);
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
        git(folder.path(), &["config", "core.fsmonitor", program]);
        let by_itself = |arguments: &[&str]| {
            Command::new("git").arg("-C").arg(folder.path()).args(arguments).output().unwrap()
        };
        by_itself(&["ls-files", "--others"]);
        assert!(ran.exists(), "this git runs no such program");
        fs::remove_file(&ran).unwrap();
        CommitExport::of(&folder.path().join("docker"), "HEAD").unwrap();
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
        let past = CommitExport::of(&inside("docker"), "HEAD").unwrap();
        let read = |path: PathBuf| past.path(&path).map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(read(inside("docker/base/file")).as_deref(), Some("then\n"));
        assert_eq!(read(inside("docker/../docker/base/file")).as_deref(), Some("then\n"));
        assert_eq!(read(inside("gone/file")).as_deref(), Some("then\n"));
        assert_eq!(read(inside("new")), None);
        assert_eq!(read(inside("built/file")).as_deref(), Some("now\n"));
        assert_eq!(past.path(Path::new("/etc/hosts")), Some(PathBuf::from("/etc/hosts")));
        let status = git(folder.path(), &["status", "--porcelain"]);
        assert_eq!(status.lines().count(), 4, "{status}");
    }
}
