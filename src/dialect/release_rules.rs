//! Rules of one release: a function for each difference.

use regex::Regex;

use super::version::Version;

/// Names of the template variable that holds the name of the base's release.
const RELEASE_NAME_SINCE_12: &str = "supported_distro_name";
const RELEASE_NAME_BEFORE_12: &str = "supported_distro_release";

/// Rules of one release for rendering and selecting images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    version: Version,
}

/// Names of the base distro, architecture and install type that images are built for.
#[derive(Debug, Clone, Copy)]
pub struct AxisNames<'a> {
    /// Name of the base distro.
    pub base: &'a str,
    /// Tag of the base image.
    pub base_tag: &'a str,
    /// Machine architecture, in the kernel's spelling.
    pub arch: &'a str,
    /// Install type that images are named after.
    pub install_type: &'a str,
}

impl Dialect {
    /// Creates the dialect of a release.
    pub fn of(version: Version) -> Self {
        Self { version }
    }

    /// Creates the dialect of trees that belong to no release: the newest one.
    pub fn newest() -> Self {
        Self { version: Version { major: u32::MAX, minor: u32::MAX, patch: u32::MAX } }
    }

    /// Returns the release.
    pub fn version(self) -> Version {
        self.version
    }

    fn since(self, major: u32, minor: u32) -> bool {
        self.version >= Version { major, minor, patch: 0 }
    }

    /// Returns the series that a tree's templates belong to, or `None` if `release` has a point but
    /// is not a release since 2023.1. `macros` and `base` are the texts of the macros and of the
    /// base image's template; `release` is the release of the services in the tables beside them.
    pub fn guess_major(macros: &str, base: &str, release: &str) -> Option<u32> {
        // Since 16 there is one series for each of the two releases a year.
        if let Some((year, number)) = release.split_once('.') {
            let (year, number) = (year.parse::<u32>().ok()?, number.parse::<u32>().ok()?);
            return (2 * year + number).checked_sub(2 * 2023 + 1).map(|later| 16 + later);
        }
        let (m, b) = (|marker| macros.contains(marker), |marker| base.contains(marker));
        Some(match () {
            () if m("kolla_cleanup_repos") => 23,
            () if b("openstack_release_codename") => 22,
            () if m("kolla_patch_sources") => 20,
            () if b("distro_python_version") && !m("add_binary_source_envs") && !m("td-agent") => {
                18
            }
            () if m("upper_constraints_remove") && m("td-agent") => 16,
            () if m("upper_constraints_remove") => 19,
            () if !m("handle_repos(") => 9,
            () if !m("add_binary_source_envs") && b("supported_distro_name") => 15,
            () if !m("add_binary_source_envs") => 10,
            () if !b("supported_distro_name") => 11,
            () if b("install_metatype") => 12,
            () if b("'keyid'") && !b("env.http_proxy") => 13,
            () => 14,
        })
    }

    /// Returns true if the release distinguishes binary from source images.
    pub fn has_install_types(self) -> bool {
        !self.since(15, 0)
    }

    /// Returns true if templates use a second name of the install type.
    pub fn has_install_metatype(self) -> bool {
        !self.since(13, 0)
    }

    /// Returns true if images that do not depend on the services' release may have a separate name
    /// prefix.
    pub fn has_infra_prefix(self) -> bool {
        self.since(11, 0) && !self.since(15, 0)
    }

    /// Returns the default of an option if it differs from Kiln's and trees can't set it.
    pub fn default_of(self, option: &str) -> Option<&'static str> {
        // Before 12, builds used the engine's own network.
        (option == "network_mode" && !self.since(12, 0)).then_some("")
    }

    /// Returns true if templates know a branch besides the release.
    pub fn has_branches(self) -> bool {
        self.since(14, 1)
    }

    /// Returns true if templates know the release's code name.
    pub fn has_codename(self) -> bool {
        self.since(21, 0)
    }

    /// Returns true if the version of a checkout includes its commit.
    pub fn tells_commit(self) -> bool {
        self.since(15, 0)
    }

    /// Returns true if templates know the date of the build.
    pub fn has_build_date(self) -> bool {
        !self.since(23, 0)
    }

    /// Returns true if templates know the user's file of repositories.
    pub fn has_repos_yaml(self) -> bool {
        match self.version.major {
            ..12 => false,
            12 => self.since(12, 3),
            13 => self.since(13, 2),
            14 => self.since(14, 2),
            15.. => true,
        }
    }

    /// Returns true if images have a folder of patches.
    pub fn has_patches(self) -> bool {
        self.since(20, 0)
    }

    /// Returns true if templates know if images get health checks.
    pub fn has_healthchecks(self) -> bool {
        self.since(10, 0)
    }

    /// Returns true if a user's group may have another name than the user.
    pub fn has_groups(self) -> bool {
        self.since(12, 1)
    }

    /// Returns true if the settings of pip are declared as build arguments in each Dockerfile.
    pub fn declares_pip_arguments(self) -> bool {
        self.since(23, 0)
    }

    /// Returns true if a run that only renders leaves all images in the work folder, selected or
    /// not.
    pub fn renders_all(self) -> bool {
        !self.since(10, 0)
    }

    /// Returns true if images are tagged with release, base and base tag, and not with the version.
    pub fn tags_by_release(self) -> bool {
        self.since(23, 0)
    }

    /// Returns the name of the template variable for the name of the base's release.
    pub fn release_name_variable(self) -> &'static str {
        if self.since(12, 0) { RELEASE_NAME_SINCE_12 } else { RELEASE_NAME_BEFORE_12 }
    }

    /// Returns the reason why the release has no images for an axis; `None` if it has some.
    pub fn refusal(self, axis: AxisNames<'_>) -> Option<&'static str> {
        let AxisNames { base, base_tag, arch, install_type } = axis;
        let is_binary = self.has_install_types() && install_type == "binary";
        if is_binary && self.since(10, 0) && base == "debian" && arch != "x86_64" {
            return Some("it has binary Debian images only for x86_64");
        }
        if is_binary && self.since(14, 10) && base_tag.starts_with("stream9") {
            return Some("it has no binary images on CentOS Stream 9");
        }
        None
    }

    /// Returns the package type of a base: `deb` or `rpm`.
    pub fn package_type(self, base: &str) -> &'static str {
        if matches!(base, "debian" | "ubuntu") { "deb" } else { "rpm" }
    }

    /// Returns the package manager of a base.
    pub fn package_manager(self, axis: AxisNames<'_>) -> &'static str {
        let is_old = || axis.base_tag.split('.').next().and_then(|n| n.parse().ok()) < Some(8_u32);
        match self.package_type(axis.base) {
            "deb" => "apt",
            _ if !self.since(10, 0) && is_old() => "yum",
            _ => "dnf",
        }
    }

    /// Returns the version of Python of a base; `None` for releases whose templates do not use it.
    pub fn python_version(self, axis: AxisNames<'_>) -> Option<&'static str> {
        let AxisNames { base, base_tag, .. } = axis;
        let noble =
            self.since(18, 7) && (base_tag.starts_with("24.04") || base_tag.starts_with("noble"));
        Some(match (self.version.major, base) {
            (19.., _) => return None,
            (17.., "debian") => "3.11",
            (17.., "ubuntu") if noble => "3.12",
            (15.., "ubuntu") => "3.10",
            (15.., _) | (12.., "debian") | (14, "rocky") => "3.9",
            (14, "centos") if base_tag.starts_with("stream9") => "3.9",
            (11.., "ubuntu") => "3.8",
            (..12, "debian") => "3.7",
            (..11, "ubuntu") => "3.6",
            (9, _) if !base_tag.starts_with('8') => "2.7",
            _ => "3.6",
        })
    }

    /// Returns the instructions by which templates set up the package sources of `config` (`.rpm`
    /// and `.repo` files and URLs).
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn rpm_setup(self, config: &[String]) -> Result<Vec<String>, String> {
        let manager = if self.since(10, 0) { "dnf" } else { "yum" };
        let command = |entry: &String| {
            let name = entry.rsplit('/').next().unwrap_or(entry);
            Ok(match entry.as_str() {
                "" => String::new(),
                e if e.ends_with(".rpm") => format!("RUN {manager} -y install {e}"),
                e if e.ends_with(".repo") && e.starts_with("http") => {
                    format!("RUN curl -L {e} -o /etc/yum.repos.d/{name}")
                }
                e if e.ends_with(".repo") => format!("COPY {e} /etc/yum.repos.d/"),
                e => return Err(e.to_owned()),
            })
        };
        config.iter().map(command).collect()
    }

    /// Returns true if a key of the table of unbuildable images applies to an axis. A key is one or
    /// more words joined by `+`, and all of them have to match.
    pub fn unbuildable_key_applies(
        self,
        key: &str,
        axis: AxisNames<'_>,
        package_manager: &str,
    ) -> bool {
        let base = match (axis.base, axis.base_tag) {
            ("centos", "stream9") if self.version.major == 14 && self.since(14, 10) => "centos9",
            ("centos", _)
                if self.version.major == 9 && self.since(9, 1) && package_manager == "dnf" =>
            {
                "centos8"
            }
            (base, _) => base,
        };
        let is_tag = |word: &str| {
            let says_tag = self.version.major == 20 && self.since(20, 4);
            let pattern = || Regex::new(&format!("^(?:{})$", axis.base_tag));
            says_tag && pattern().is_ok_and(|pattern| pattern.is_match(word))
        };
        key.split('+').all(|word| {
            word == base
                || word == axis.arch
                || (self.has_install_types() && word == axis.install_type)
                || is_tag(word)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(version: &str) -> Dialect {
        Dialect::of(version.parse().unwrap())
    }

    fn axis<'a>(base: &'a str, base_tag: &'a str) -> AxisNames<'a> {
        AxisNames { base, base_tag, arch: "x86_64", install_type: "source" }
    }

    #[test]
    fn python_is_that_of_the_base() {
        let table = [
            ("9.4.0", "centos", "7", Some("2.7")),
            ("9.4.0", "centos", "8", Some("3.6")),
            ("9.4.0", "rhel", "latest", Some("2.7")),
            ("9.4.0", "ubuntu", "18.04", Some("3.6")),
            ("10.4.0", "debian", "10", Some("3.7")),
            ("11.3.0", "ubuntu", "20.04", Some("3.8")),
            ("13.0.0", "debian", "bullseye", Some("3.9")),
            ("14.12.0", "centos", "stream8", Some("3.6")),
            ("14.12.0", "centos", "stream9", Some("3.9")),
            ("14.12.0", "rocky", "9", Some("3.9")),
            ("15.0.0", "ubuntu", "22.04", Some("3.10")),
            ("17.0.0", "debian", "bookworm", Some("3.11")),
            ("18.6.0", "ubuntu", "24.04", Some("3.10")),
            ("18.7.0", "ubuntu", "24.04", Some("3.12")),
            ("18.8.0", "rocky", "9", Some("3.9")),
            ("19.0.0", "ubuntu", "24.04", None),
        ];
        for (version, base, tag, expected) in table {
            let found = dialect(version).python_version(axis(base, tag));
            assert_eq!(found, expected, "{version} {base} {tag}");
        }
    }

    #[test]
    fn packages_are_installed_by_what_the_base_has() {
        let table = [
            ("9.0.0", "centos", "7", "yum"),
            ("9.0.0", "centos", "8.1", "dnf"),
            ("9.0.0", "ubuntu", "18.04", "apt"),
            ("10.0.0", "centos", "7", "dnf"),
            ("23.0.0", "debian", "trixie", "apt"),
        ];
        for (version, base, tag, expected) in table {
            assert_eq!(dialect(version).package_manager(axis(base, tag)), expected);
        }
    }

    #[test]
    fn a_key_speaks_of_an_axis_if_all_its_words_do() {
        let applies = |version: &str, base, tag, key: &str| {
            let dialect = dialect(version);
            let axis = axis(base, tag);
            dialect.unbuildable_key_applies(key, axis, dialect.package_manager(axis))
        };
        assert!(applies("12.0.0", "debian", "10", "debian"));
        assert!(applies("12.0.0", "debian", "10", "debian+source"));
        assert!(applies("12.0.0", "debian", "10", "x86_64"));
        assert!(!applies("12.0.0", "debian", "10", "debian+aarch64"));
        assert!(!applies("16.0.0", "debian", "10", "debian+source"));
        assert!(applies("9.4.0", "centos", "8", "centos8"));
        assert!(!applies("9.4.0", "centos", "8", "centos"));
        assert!(!applies("9.0.1", "centos", "8", "centos8"));
        assert!(applies("9.4.0", "centos", "7", "centos"));
        assert!(applies("14.10.0", "centos", "stream9", "centos9"));
        assert!(!applies("14.9.0", "centos", "stream9", "centos9"));
        assert!(applies("20.4.0", "rocky", "10", "rocky+10"));
        assert!(!applies("20.3.0", "rocky", "10", "rocky+10"));
        assert!(!applies("21.0.0", "rocky", "10", "rocky+10"));
    }

    #[test]
    fn package_sources_are_set_up_by_their_ending() {
        let setup = |version: &str, entry: &str| dialect(version).rpm_setup(&[entry.to_owned()]);
        let one = |command: &str| Ok(vec![command.to_owned()]);
        assert_eq!(setup("9.0.0", "a.rpm"), one("RUN yum -y install a.rpm"));
        assert_eq!(setup("10.0.0", "http://h/a.rpm"), one("RUN dnf -y install http://h/a.rpm"));
        let fetched = "RUN curl -L http://h/d/a.repo -o /etc/yum.repos.d/a.repo";
        assert_eq!(setup("10.0.0", "http://h/d/a.repo"), one(fetched));
        assert_eq!(setup("10.0.0", "d/a.repo"), one("COPY d/a.repo /etc/yum.repos.d/"));
        assert_eq!(setup("15.1.0", ""), one(""));
        assert_eq!(setup("10.0.0", "a.deb"), Err("a.deb".to_owned()));
    }

    #[test]
    fn a_release_may_have_no_images_for_an_axis() {
        let refused = |version: &str, base, base_tag, arch, install_type| {
            dialect(version).refusal(AxisNames { base, base_tag, arch, install_type }).is_some()
        };
        assert!(refused("10.0.0", "debian", "10", "aarch64", "binary"));
        assert!(!refused("10.0.0", "debian", "10", "aarch64", "source"));
        assert!(!refused("9.4.0", "debian", "10", "aarch64", "binary"));
        assert!(refused("14.10.0", "centos", "stream9", "x86_64", "binary"));
        assert!(!refused("14.10.0", "centos", "stream8", "x86_64", "binary"));
    }

    #[test]
    fn the_series_follows_from_the_services_release() {
        for (release, major) in [("2023.1", 16), ("2023.2", 17), ("2025.1", 20), ("2026.2", 23)] {
            assert_eq!(Dialect::guess_major("", "", release), Some(major));
        }
        let guess = |macros, base| Dialect::guess_major(macros, base, "").unwrap();
        assert_eq!(guess("kolla_cleanup_repos kolla_patch_sources", ""), 23);
        assert_eq!(guess("handle_repos( kolla_patch_sources", ""), 20);
        assert_eq!(guess("handle_repos( upper_constraints_remove td-agent", ""), 16);
        assert_eq!(guess("handle_repos( upper_constraints_remove", ""), 19);
        assert_eq!(guess("", "distro_release"), 9);
    }
}
