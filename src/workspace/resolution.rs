//! Finds the configuration files and the tree, and makes settings of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::host::Host;
use super::request::Request;
use super::snapshot::Snapshot;
use crate::diagnostic::{Diagnostic, Result as Diagnosed};
use crate::dialect::Dialect;
use crate::settings::{
    self, Layers, Profiles, RunSettings, Settings, check_found_file, check_manifest, checkout_of,
    settle,
};
use crate::tree::Tree;

/// Value of the option `ci` for no service.
const NO_SERVICE: &str = "none";

/// Name of the configuration file. The first one found is read: in the current folder, in the
/// user's configuration folder, or in the system's.
const CONFIG_FILE: &str = "build.conf";

/// Name of kolla-build's configuration file.
const KOLLA_CONFIG_FILE: &str = "kolla-build.conf";

/// Folder that is used as the tree if it has a manifest.
pub(super) const TREE_FOLDER: &str = "docker";

/// Settled options, and their sources.
pub struct Resolved {
    /// All option values given, by layer.
    pub layers: Layers,
    /// The tree that they are for.
    pub tree: Tree,
    /// Settings of the run and of every requested axis.
    pub settings: Settings,
}

/// Resolves the options of a request.
///
/// # Errors
/// When the options, the configuration or the manifest of the tree have errors.
pub fn resolve(request: &Request, snapshot: &Snapshot, host: Host<'_>) -> Diagnosed<Resolved> {
    let named = request.all_config_files(snapshot)?;
    let layers = if named.is_empty() && request.config_files.is_empty() {
        found_layers(request, snapshot)?
    } else {
        Layers::gather(request.given.clone(), &named, &request.environment)?
    };
    if layers.explicit("ci").is_some_and(|given| given.value != NO_SERVICE) {
        (host.expect_service)();
    }
    warn_of_no_effect(&layers, host.warn);
    let tree = open_tree(&layers, snapshot)?;
    warn_of_guess(&tree, host.warn);
    let profiles = Profiles::new(tree.profiles()?, &layers);
    let settings = settle(&layers, tree.manifest(), &profiles, &request.now)?;
    Ok(Resolved { layers, tree, settings })
}

/// Gathers option values if no configuration file is named: from the file in the current folder, or
/// else from that of the user or the system. The file in the current folder is written by whoever
/// made the checkout that contains it, so its options are confined to that checkout.
fn found_layers(request: &Request, snapshot: &Snapshot) -> Diagnosed<Layers> {
    let environment = &request.environment;
    let here = snapshot.path(Path::new(CONFIG_FILE)).filter(|path| path.is_file());
    let is_here = here.is_some();
    if is_here {
        check_found_file(Path::new(CONFIG_FILE))?;
    }
    let file = here.or_else(|| config_file_of_user(environment, snapshot));
    let mut layers = Layers::gather(request.given.clone(), file.as_slice(), environment)?;
    let tree = tree_folder(&layers);
    if is_here && let Some(checkout) = checkout_of(Path::new("."), tree.as_deref()) {
        layers.confine(&checkout)?;
    }
    Ok(layers)
}

/// Returns the first configuration file of the user or the system that exists: Kiln's, or else
/// kolla-build's.
fn config_file_of_user(
    environment: &BTreeMap<String, String>,
    snapshot: &Snapshot,
) -> Option<PathBuf> {
    // A relative path would be looked up in the current folder.
    let folder_in = |variable: &str| {
        environment.get(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    let home = folder_in("HOME");
    let of_user = folder_in("XDG_CONFIG_HOME")
        .or_else(|| home.as_ref().map(|home| home.join(".config")))
        .map(|folder| folder.join("kiln").join(CONFIG_FILE));
    let of_system = Path::new("/etc/kiln").join(CONFIG_FILE);
    let of_kolla_build = [
        home.as_ref().map(|home| home.join(".kolla")),
        home,
        Some(PathBuf::from("/etc/kolla")),
        Some(PathBuf::from("/etc")),
    ];
    let of_kolla_build = of_kolla_build.into_iter().flatten().map(|f| f.join(KOLLA_CONFIG_FILE));
    [of_user, Some(of_system)]
        .into_iter()
        .flatten()
        .chain(of_kolla_build)
        .filter_map(|path| snapshot.path(&path))
        .find(|path| path.is_file())
}

/// Opens the requested tree with its overlays.
pub fn open_tree(layers: &Layers, snapshot: &Snapshot) -> Diagnosed<Tree> {
    let dialect = match layers.explicit("dialect") {
        Some(given) if !given.value.is_empty() => Some(dialect(&given)?),
        _ => None,
    };
    let mut tree = match tree_folder(layers) {
        Some(folder) => Tree::open(&snapshot.path(&folder).unwrap_or(folder), dialect)?,
        None => Tree::embedded()?,
    };
    check_manifest(tree.manifest())?;
    for folder in snapshot.paths(&settings::overlays(layers, tree.manifest())?) {
        tree.overlay(&folder)?;
        check_manifest(tree.manifest())?;
    }
    Ok(tree)
}

/// Returns the folder of the requested tree, or of the one in the current folder; `None` for the
/// embedded tree.
pub(super) fn tree_folder(layers: &Layers) -> Option<PathBuf> {
    let asked_for = layers.explicit("tree").filter(|given| !given.value.is_empty());
    let here = || Some(PathBuf::from(TREE_FOLDER)).filter(|folder| Tree::is_at(folder));
    asked_for.map(|given| PathBuf::from(given.value)).or_else(here)
}

/// Parses the dialect that the user names.
fn dialect(given: &settings::Given) -> Diagnosed<Dialect> {
    let version = given.value.parse().map_err(|_| {
        given
            .refuse(format!("'{}' is not a release of kolla-build", given.value))
            .help("write a version such as 14.11, or 23 for the latest of a series")
    })?;
    Ok(Dialect::of(version))
}

/// Warns of each option that is given and has no effect.
pub fn warn_of_no_effect(layers: &Layers, warn: &dyn Fn(&str)) {
    for line in layers.without_effect() {
        warn(&line);
    }
}

/// Warns that the release of the tree is a guess, if no file states it.
fn warn_of_guess(tree: &Tree, warn: &dyn Fn(&str)) {
    if let Some(guess) = tree.release().and_then(|release| release.guess.as_ref()) {
        warn(guess);
    }
}

/// Adds the user's files for the images to the tree.
///
/// # Errors
/// When a file can't be read, or the tree has no place for it.
pub fn add_site_files(tree: &mut Tree, run: &RunSettings, snapshot: &Snapshot) -> Diagnosed<()> {
    add_ca_certificates(tree, run, snapshot)?;
    add_apt_files(tree, run, snapshot)
}

/// Adds the site's CA certificates at the path that the tree's manifest names.
fn add_ca_certificates(tree: &mut Tree, run: &RunSettings, snapshot: &Snapshot) -> Diagnosed<()> {
    let file = run.site.ca_certificates.as_ref().and_then(|file| snapshot.path(file));
    let Some(file) = file else { return Ok(()) };
    let Some(path) = tree.manifest().ca_certificates.clone() else {
        return Err(Diagnostic::new("the tree does not define a path for CA certificates")
            .help("set ca_certificates in tree.toml, or leave out --ca-certificates")
            .into());
    };
    tree.add_file(&path, &file)
}

/// Adds the user's files for apt at the paths where the images expect them.
fn add_apt_files(tree: &mut Tree, run: &RunSettings, snapshot: &Snapshot) -> Diagnosed<()> {
    let files = [
        ("base/sources.list", &run.site.apt_sources_list),
        ("base/apt_preferences", &run.site.apt_preferences),
    ];
    for (path, file) in files {
        if let Some(file) = file.as_ref().and_then(|file| snapshot.path(file)) {
            tree.add_file(path, &file)?;
        }
    }
    Ok(())
}
