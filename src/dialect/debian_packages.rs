//! Commands that install Debian packages, in the wording of Kolla's `debian_package_install`.

use super::version::Version;

/// Returns the commands that install `packages`, joined by `&&`; empty for no packages.
///
/// Names are installed by one run of `apt-get`, followed by the removal of the downloaded files if
/// `clean`. A package that starts with `http` is the URL of a package file: it is downloaded and
/// installed by itself.
pub fn debian_package_install(version: Version, packages: &[String], clean: bool) -> String {
    let (urls, names): (Vec<&str>, Vec<&str>) =
        packages.iter().map(String::as_str).partition(|package| package.starts_with("http"));
    let mut commands = Vec::new();
    if !names.is_empty() {
        commands.push(update_command(version).to_owned());
        commands.push(format!("apt-get -y install --no-install-recommends {}", names.join(" ")));
        if clean {
            commands.push("apt-get clean".to_owned());
            commands.push("rm -rf /var/lib/apt/lists/*".to_owned());
        }
    }
    for url in urls {
        let file = url.rsplit('/').next().unwrap_or(url);
        commands.push(format!("curl --location {url} -o {file}"));
        commands.push(format!("dpkg -i {file}"));
        commands.push(format!("rm -rf {file}"));
    }
    commands.join(" && ")
}

/// Returns the update command; later releases fail if any one package source can't be reached.
fn update_command(version: Version) -> &'static str {
    let strict = match version.major {
        ..=11 => false,
        12 => version.minor >= 3,
        13 | 14 => version.minor >= 2,
        _ => true,
    };
    if strict { "apt-get --error-on=any update" } else { "apt-get update" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(major: u32, minor: u32, packages: &[&str], clean: bool) -> String {
        let packages: Vec<_> = packages.iter().map(|&package| package.to_owned()).collect();
        debian_package_install(Version { major, minor, patch: 0 }, &packages, clean)
    }

    #[test]
    fn names_are_installed_in_one_run_and_files_one_by_one() {
        assert_eq!(
            install(23, 0, &["a", "http://h/d/f.deb", "b"], true),
            "apt-get --error-on=any update && apt-get -y install --no-install-recommends a b \
             && apt-get clean && rm -rf /var/lib/apt/lists/* \
             && curl --location http://h/d/f.deb -o f.deb && dpkg -i f.deb && rm -rf f.deb"
        );
        assert_eq!(
            install(11, 3, &["a"], false),
            "apt-get update && apt-get -y install --no-install-recommends a"
        );
        assert_eq!(install(23, 0, &[], true), "");
    }

    #[test]
    fn the_update_became_strict_in_the_middle_of_three_series() {
        let rows = [(9, 4, false), (12, 2, false), (12, 3, true), (13, 1, false), (13, 2, true)];
        for (major, minor, strict) in rows {
            let text = install(major, minor, &["a"], true);
            assert_eq!(text.contains("--error-on=any"), strict, "{major}.{minor}");
        }
    }
}
