//! Makes the variables and functions of templates from the settings and the tree.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::host::Host;
use super::snapshot::Snapshot;
use crate::diagnostic::{Diagnostic, Result};
use crate::dialect::{Dialect, Functions};
use crate::files::{self, MOST_OF_CONFIGURATION};
use crate::settings::{AxisSettings, RunSettings};
use crate::template::{Override, RenderInput, Variables};
use crate::tree::{Tree, repositories};

/// Placeholder for the date of the run in templates. The date is filled in after everything else
/// about an image is known, because building on another day alone does not make it a different
/// image.
pub const BUILD_DATE: &str = "kiln-build-date";

/// Returns everything that the templates of `tree` are rendered with.
///
/// # Errors
/// When a file that the user names can't be read, or the settings do not fit the tree's release.
pub fn render_input(
    run: &RunSettings,
    settings: &AxisSettings,
    tree: &Tree,
    snapshot: &Snapshot,
    host: Host<'_>,
) -> Result<RenderInput> {
    let templating = &settings.templating;
    let declared = templating.pip_arguments.iter().map(|(name, _)| name.clone());
    Ok(RenderInput {
        variables: variables(run, settings, tree)?,
        functions: Arc::new(functions(settings, tree, snapshot)?),
        overrides: overrides(&snapshot.paths(&templating.overrides))?,
        build_arguments: declared.filter(|_| tree.dialect().declares_pip_arguments()).collect(),
        give_up: host.give_up,
    })
}

fn overrides(files: &[PathBuf]) -> Result<Vec<Override>> {
    let read = |path: &PathBuf| {
        let shown = path.display().to_string();
        match files::read_named_text(path, MOST_OF_CONFIGURATION) {
            Ok(text) => Ok(Override { path: shown, text }),
            Err(error) => {
                Err(Diagnostic::new(format!("the template '{shown}' can't be read: {error}"))
                    .into())
            }
        }
    };
    files.iter().map(read).collect()
}

fn functions(settings: &AxisSettings, tree: &Tree, snapshot: &Snapshot) -> Result<Functions> {
    let mut tables = tree.release().map(|release| release.tables.clone()).unwrap_or_default();
    let repos_yaml = settings.templating.repos_yaml.as_ref();
    if let Some(path) = repos_yaml.and_then(|path| snapshot.path(path)) {
        tables = tables.with_site(repositories(&path)?);
    }
    Ok(Functions {
        dialect: tree.dialect(),
        tables,
        package_type: settings.base.package_type.clone(),
        base: settings.axis.base.clone(),
        base_tag: settings.axis.base_tag.clone(),
        arch: settings.axis.arch.clone(),
        codename: settings.templating.codename.clone(),
    })
}

/// Returns the variables of all images: those of every tree, those of the tree's release, and those
/// of the tree's manifest.
fn variables(run: &RunSettings, settings: &AxisSettings, tree: &Tree) -> Result<Variables> {
    let AxisSettings { axis, base, naming, templating, .. } = settings;
    let dialect = tree.dialect();
    let mut variables = Variables::new();
    let mut give = |name: &str, value: Value| {
        variables.insert(name.to_owned(), value);
    };
    give("namespace", naming.namespace().into());
    give("image_prefix", naming.prefix().into());
    give("tag", naming.tag().into());
    give("base_image", axis.base_image.as_str().into());
    give("base_distro", axis.base.as_str().into());
    give("base_distro_tag", axis.base_tag.as_str().into());
    give("base_arch", axis.arch.as_str().into());
    give("debian_arch", axis.debian_arch().into());
    give("base_package_type", base.package_type.as_str().into());
    give("distro_package_manager", base.package_manager.as_str().into());
    give("maintainer", settings.maintainer.as_str().into());
    give("users", users(settings, dialect));
    give("openstack_release", templating.release.as_str().into());
    give("use_dumb_init", templating.use_dumb_init.into());
    give("clean_package_cache", templating.clean_package_cache.into());
    give("env", json!(templating.environment));
    if tree.release().is_none() {
        give("ca_certificates", run.site.ca_certificates.is_some().into());
        give("apt_sources_list", run.site.apt_sources_list.is_some().into());
        give("apt_preferences", run.site.apt_preferences.is_some().into());
    }
    if tree.release().is_none() || dialect.has_install_types() {
        give("install_type", axis.install_type.as_str().into());
    }
    for (name, value) in of_release(settings, tree)? {
        give(name, value);
    }
    let of_manifest =
        [&tree.manifest().variables, &settings.install_type.variables, &base.variables];
    for (name, value) in of_manifest.into_iter().flatten() {
        give(name, json!(value));
    }
    Ok(variables)
}

/// Returns the variables that only some releases have.
fn of_release(settings: &AxisSettings, tree: &Tree) -> Result<Vec<(&'static str, Value)>> {
    let AxisSettings { axis, naming, templating, .. } = settings;
    let dialect = tree.dialect();
    let rpm_setup = dialect.rpm_setup(&templating.rpm_setup_config).map_err(|entry| {
        Diagnostic::new(format!("'{entry}' in rpm_setup_config is neither a .rpm nor a .repo file"))
            .help("write the path or URL of a file with one of these endings")
    })?;
    let mut found: Vec<(&str, Value)> = vec![("rpm_setup", json!(rpm_setup))];
    if dialect.has_infra_prefix() {
        let naming = settings.infra_naming.as_ref().unwrap_or(naming);
        found.push(("infra_image_prefix", naming.prefix().into()));
    }
    if dialect.has_healthchecks() {
        found.push(("docker_healthchecks", templating.healthchecks.into()));
    }
    if dialect.has_repos_yaml() {
        let path = templating.repos_yaml.as_ref().map(|path| path.display().to_string());
        found.push(("repos_yaml", path.unwrap_or_default().into()));
    }
    if dialect.has_patches() {
        found.push(("patches_path", json!(templating.patches_path)));
    }
    if dialect.has_branches() {
        found.push(("openstack_branch", templating.branch.as_str().into()));
        found.push(("openstack_branch_slashed", templating.branch_slashed.as_str().into()));
    }
    if dialect.has_codename() {
        found.push(("openstack_release_codename", json!(templating.codename)));
    }
    if let Some(python) = dialect.python_version(axis.names()) {
        found.push(("distro_python_version", python.into()));
    }
    if let Some(release) = tree.release() {
        let version = release.commit.as_ref().unwrap_or(&release.version);
        found.push(("kolla_version", version.as_str().into()));
        if dialect.has_build_date() {
            found.push(("build_date", BUILD_DATE.into()));
        }
    }
    Ok(found)
}

/// Returns the users as templates see them.
fn users(settings: &AxisSettings, dialect: Dialect) -> Value {
    let mut users = settings.users.clone();
    if !dialect.has_groups() {
        users.values_mut().for_each(|user| user.group = None);
    }
    json!(users)
}
