//! Values for templates in addition to the axis and the names of images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Values;

/// Variables of the environment that templates may see: those of proxies.
const VISIBLE_ENVIRONMENT: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// Settings of pip that builds may get, as build arguments.
const PIP_OPTIONS: [&str; 3] = ["pip_index_url", "pip_trusted_host", "pip_extra_index_url"];

/// Values for templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templating {
    /// Release of the services.
    pub release: String,
    /// Code name of the release.
    pub codename: Option<String>,
    /// Branch of the services' sources.
    pub branch: String,
    /// Name of the branch in git.
    pub branch_slashed: String,
    /// URL below which the services' source archives are.
    pub tarballs_base: String,
    /// Templates laid over those of all images.
    pub overrides: Vec<PathBuf>,
    /// The user's file of package repositories.
    pub repos_yaml: Option<PathBuf>,
    /// Files and URLs that set up package repositories on bases with rpm.
    pub rpm_setup_config: Vec<String>,
    /// The user's sources.list.
    pub apt_sources_list: Option<PathBuf>,
    /// The user's preferences of apt.
    pub apt_preferences: Option<PathBuf>,
    /// True if package caches are removed.
    pub clean_package_cache: bool,
    /// True if containers start with dumb-init.
    pub use_dumb_init: bool,
    /// True if images get the scripts of health checks.
    pub healthchecks: bool,
    /// True if images that are the same for every install type have a name prefix of their own.
    pub infra_rename: bool,
    /// Folder of patches.
    pub patches_path: Option<PathBuf>,
    /// Settings of pip, as build arguments with their values.
    pub pip_arguments: Vec<(String, String)>,
    /// Variables of the environment that templates see.
    pub environment: BTreeMap<String, String>,
}

impl Values<'_> {
    pub(super) fn templating(&mut self) -> Templating {
        let release = self.text("openstack_release").unwrap_or_default();
        let branch = self.text_or_derived("openstack_branch");
        let branch_slashed = self.text_or_derived("openstack_branch_slashed");
        let overrides = self.all("template_override");
        let overrides = overrides.into_iter().map(|given| given.value.into()).collect();
        let pip_arguments = PIP_OPTIONS
            .iter()
            .filter_map(|name| Some((name.to_ascii_uppercase(), self.text(name)?)))
            .collect();
        let environment = VISIBLE_ENVIRONMENT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.layers.variable(name)?.to_owned())))
            .collect();
        Templating {
            codename: self.text("openstack_release_codename"),
            release,
            branch,
            branch_slashed,
            tarballs_base: self.text("tarballs_base").unwrap_or_default(),
            overrides,
            repos_yaml: self.path("repos_yaml"),
            rpm_setup_config: self.list("rpm_setup_config"),
            apt_sources_list: self.path("apt_sources_list"),
            apt_preferences: self.path("apt_preferences"),
            clean_package_cache: self.flag("clean_package_cache"),
            use_dumb_init: self.flag("use_dumb_init"),
            healthchecks: self.flag("docker_healthchecks"),
            infra_rename: self.flag("infra_rename"),
            patches_path: self.path("patches_path"),
            pip_arguments,
            environment,
        }
    }
}
