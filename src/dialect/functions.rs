//! Functions that templates of kolla-build call.

use super::debian_packages;
use super::release_rules::Dialect;
use super::repos::{self, Tables};

/// Functions that templates call, with all values that they depend on.
#[derive(Debug)]
pub struct Functions {
    /// Dialect of the release.
    pub dialect: Dialect,
    /// Package repositories.
    pub tables: Tables,
    /// Package type of the base: `deb` or `rpm`.
    pub package_type: String,
    /// Name of the base distro.
    pub base: String,
    /// Tag of the base image.
    pub base_tag: String,
    /// Machine architecture.
    pub arch: String,
    /// Code name of the services' release.
    pub codename: Option<String>,
}

impl Functions {
    fn about(&self) -> repos::About<'_> {
        repos::About {
            version: self.dialect.version(),
            package_type: &self.package_type,
            distro: &self.base,
            arch: &self.arch,
            distro_tag: &self.base_tag,
            codename: self.codename.as_deref(),
        }
    }

    /// Returns the commands that install `packages` (names, and URLs of packages) with apt; `clean`
    /// removes the downloaded files afterwards.
    pub fn install_packages(&self, packages: &[String], clean: bool) -> String {
        debian_packages::debian_package_install(self.dialect.version(), packages, clean)
    }

    /// Returns the instruction that enables or disables (`mode`) the repositories called `names`.
    ///
    /// # Errors
    /// The reason why there is no such instruction.
    pub fn handle_repos(&self, names: &[String], mode: &str) -> Result<String, String> {
        repos::handle_repos(&self.tables, &self.about(), names, mode)
    }

    /// Returns the instruction that undoes changes to repositories that were meant for the build
    /// only.
    ///
    /// # Errors
    /// The reason why there is no such instruction.
    pub fn cleanup_repos(&self) -> Result<String, String> {
        repos::cleanup_repos(&self.tables, &self.about())
    }
}
