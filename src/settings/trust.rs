//! Limits on the settings of template trees and of configuration files in a checkout.
//!
//! Both are data from someone else. A tree's manifest may set only the options that the table marks
//! for trees. A configuration file that was found in a checkout may set all options except those
//! reserved for the user, and its paths may not leave the checkout. Values of either may refer only
//! to values that their authors could have written themselves, and to options that trees may set.
//! So a value that only the user knows, such as an index with a password, never becomes a part of
//! an address that a tree chooses.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::given::{Given, Origin};
use super::layers::Layers;
use super::option_definition::{Authority, Kind, Opt};
use super::options::OPTIONS;
use crate::diagnostic::{Diagnostic, Diagnostics, Result};
use crate::image::ImageRef;
use crate::tree::Manifest;

/// Checks that the manifest of a tree sets only options that are for trees. Other options in the
/// tables of a kolla-build are accepted, and have no effect.
///
/// # Errors
/// All other keys under `[defaults]`, at their places.
pub fn check_manifest(manifest: &Manifest) -> Result<()> {
    let written = manifest.defaults.iter().filter_map(|(name, preset)| {
        let place = preset.place.clone()?;
        Some(refusal_of_default(name)?.at(place))
    });
    let errors: Vec<Diagnostic> = written.collect();
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}

/// Returns the error for a manifest that sets `name`; `None` if a tree may set it.
fn refusal_of_default(name: &str) -> Option<Diagnostic> {
    let for_trees = || OPTIONS.iter().filter(|option| option.is_for_trees());
    match OPTIONS.iter().find(|option| option.name == name) {
        Some(option) if option.is_for_trees() => None,
        Some(option) => {
            let names: Vec<_> = for_trees().map(|option| option.name).collect();
            let message = format!("a template tree can't set the option '{name}'");
            let diagnostic = Diagnostic::new(message)
                .note("a tree defines the content of images, not what happens on the machine that builds them")
                .note(format!("a tree may set: {}", names.join(", ")));
            Some(diagnostic.help(match option.kind {
                Kind::Positional => {
                    format!("remove the line, and give {} on the command line", option.value)
                }
                _ => format!(
                    "remove the line; to set it yourself, use --{} or a configuration file",
                    option.flag
                ),
            }))
        }
        None => {
            let message = format!("there is no option '{name}'");
            Some(Diagnostic::new(message).suggest(name, for_trees().map(|option| option.name)))
        }
    }
}

impl Layers {
    /// Marks the values of files as those of a file found in the checkout with the top folder
    /// `top`.
    ///
    /// # Errors
    /// All values of options that such a file can't set, at their places.
    pub fn confine(&mut self, top: &Path) -> Result<()> {
        let top: Arc<Path> = top.into();
        for given in self.files_mut() {
            if let Origin::File(place) = &given.origin {
                given.origin = Origin::Checkout(place.clone(), Arc::clone(&top));
            }
        }
        let of_users = OPTIONS.iter().filter(|option| option.authority == Authority::User);
        let set =
            of_users.flat_map(|option| self.of_files(option).map(move |given| (option, given)));
        let refused = set.filter(|(option, given)| !option.is_default(&given.value));
        let errors: Vec<Diagnostic> =
            refused.map(|(option, given)| refusal_in_checkout(option, given)).collect();
        if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
    }
}

fn refusal_in_checkout(option: &Opt, given: &Given) -> Diagnostic {
    with_cure(given.refuse(format!(
        "a configuration file that came with a checkout can't set '{}'",
        option.name
    )))
}

/// Refuses a path of a file in a checkout that leaves the checkout; `name` is the option or key.
///
/// # Errors
/// When the path comes from such a file, and its place is not below the checkout's top folder.
pub(super) fn check_path(name: &str, given: &Given) -> std::result::Result<(), Diagnostic> {
    let Origin::Checkout(_, top) = &given.origin else { return Ok(()) };
    if given.value.is_empty() || lies_below(top, Path::new(&given.value)) {
        return Ok(());
    }
    Err(with_cure(given.refuse(format!(
        "{name} is outside of the checkout '{}', but a file of a checkout can only name paths in it",
        top.display()
    ))))
}

/// Refuses a namespace by which a tree names a registry: only the user decides where images are
/// pushed to.
///
/// # Errors
/// When the namespace is the tree's, and begins with a registry.
pub(super) fn check_namespace(given: &Given) -> std::result::Result<(), Diagnostic> {
    let registry = || {
        let reference: ImageRef = format!("{}/image", given.value).parse().ok()?;
        reference.registry().map(str::to_owned)
    };
    match given.origin.authority() {
        Authority::Tree if let Some(registry) = registry() => Err(given
            .refuse(format!(
                "a template tree can't name the registry '{registry}' as its namespace"
            ))
            .help("name a registry with --registry, and the namespace with --namespace")),
        _ => Ok(()),
    }
}

fn with_cure(diagnostic: Diagnostic) -> Diagnostic {
    diagnostic
        .note("the file was found in the current folder, and --config-file does not name it")
        .help("if you trust the file, name it: --config-file build.conf")
}

/// Returns true if a path, with links resolved, is below `top` and not in its git directory.
fn lies_below(top: &Path, path: &Path) -> bool {
    let (Ok(top), Some(place)) = (top.canonicalize(), place_of(path)) else { return false };
    let Ok(below) = place.strip_prefix(top) else { return false };
    below.components().all(|part| part.as_os_str() != GIT_FOLDER)
}

/// Folder of a checkout that contains git's data.
const GIT_FOLDER: &str = ".git";

/// Returns the place of a path with all links resolved. The last parts of the path need not exist.
/// `None` if the path leads through a dangling link, or has a `..` after a missing folder.
fn place_of(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    if path.symlink_metadata().is_ok() {
        return path.canonicalize().ok();
    }
    let Component::Normal(name) = path.components().next_back()? else { return None };
    Some(place_of(path.parent()?)?.join(name))
}

/// Refuses a configuration file in a git repository that is a link to a place outside of the
/// repository: messages about errors in it would show lines of that file.
///
/// # Errors
/// When the file at `path` is such a link.
pub fn check_found_file(path: &Path) -> std::result::Result<(), Diagnostic> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match checkout_of(folder.unwrap_or(Path::new(".")), None) {
        Some(top) if path.is_symlink() && !lies_below(&top, path) => {
            let message = format!(
                "'{}' is a link to a path outside of the checkout '{}'",
                path.display(),
                top.display()
            );
            Err(with_cure(Diagnostic::new(message)))
        }
        _ => Ok(()),
    }
}

/// Returns the top folder of the checkout that a configuration file found in `folder` belongs to:
/// that of the git repository, or `folder` itself if the template tree is below it.
pub fn checkout_of(folder: &Path, tree: Option<&Path>) -> Option<PathBuf> {
    // The tree in the folder may be a link to one elsewhere.
    let written = |path: &Path| std::path::absolute(path).ok();
    let is_named_below = tree.is_some_and(|tree| {
        written(folder).zip(written(tree)).is_some_and(|(folder, tree)| tree.starts_with(folder))
    });
    let folder = folder.canonicalize().ok()?;
    let of_git = folder.ancestors().find(|above| above.join(GIT_FOLDER).symlink_metadata().is_ok());
    let of_tree = || {
        let is_below = || Some(tree?.canonicalize().ok()?.starts_with(&folder));
        (is_named_below || is_below().unwrap_or(false)).then_some(folder.as_path())
    };
    of_git.or_else(of_tree).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_below_a_folder_are_distinguished_from_others() {
        let (top, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inside = |path: &str| top.path().join(path);
        fs::create_dir_all(inside("a/b")).unwrap();
        fs::create_dir_all(inside(".git/hooks")).unwrap();
        symlink(outside.path(), inside("out")).unwrap();
        symlink(outside.path().join("new"), inside("dangling")).unwrap();
        symlink("a", inside("in")).unwrap();
        for below in ["a", "a/b", "a/new", "a/new/newer", "in/b", "in/new", "a/../a/b", "."] {
            assert!(lies_below(top.path(), &inside(below)), "{below}");
        }
        for other in [
            "..",
            "../x",
            "a/../../x",
            "a/new/../../../x",
            "out",
            "out/x",
            "dangling",
            "dangling/x",
            ".git/config",
            ".git/hooks/x",
        ] {
            assert!(!lies_below(top.path(), &inside(other)), "{other}");
        }
        assert!(!lies_below(top.path(), Path::new("/etc/passwd")));
        assert!(!lies_below(top.path(), Path::new("~/x/../../../..")));
    }

    #[test]
    fn a_file_came_with_the_repository_or_the_tree_around_it() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/docker")).unwrap();
        let tree = top.join("a/docker");
        assert_eq!(checkout_of(&top.join("a"), None), None);
        assert_eq!(checkout_of(&top.join("a"), Some(&tree)), Some(top.join("a")));
        assert_eq!(checkout_of(&top, Some(&tree)), Some(top.clone()));
        assert_eq!(checkout_of(&tree, Some(&top.join("a"))), None);
        fs::create_dir(top.join("b")).unwrap();
        symlink("../a/docker", top.join("b/docker")).unwrap();
        assert_eq!(checkout_of(&top.join("b"), Some(&top.join("b/docker"))), Some(top.join("b")));
        fs::write(top.join(".git"), "gitdir: elsewhere\n").unwrap();
        assert_eq!(checkout_of(&top.join("a"), None), Some(top.clone()));
        assert_eq!(checkout_of(&tree, Some(&top.join("a"))), Some(top));
    }
}
