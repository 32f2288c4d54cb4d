//! Values for templates in addition to the axis and the names of images.

use super::resolver::Resolver;
use crate::settings::types::Templating;

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

impl Resolver<'_> {
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
