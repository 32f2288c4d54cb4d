//! The table of what is compared, `matrix.toml`, and the cases that follow from it.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::Deserialize;

const TABLE: &str = include_str!("matrix.toml");
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    #[serde(rename = "release")]
    pub releases: Vec<Release>,
    axes: Vec<Axes>,
    #[serde(rename = "configuration")]
    configurations: Vec<Configuration>,
    /// Differences that are meant, or cannot be helped.
    #[serde(rename = "difference", default)]
    differences: Vec<KnownDifference>,
}

/// A released version, in the order of versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version(Vec<u32>);

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split('.').map(str::parse).collect::<Result<_, _>>();
        parts.map(Self).map_err(|e| format!("{text}: {e}"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub version: Version,
    /// Reason why the release is in the matrix.
    pub why: String,
    configured: [String; 2],
}

/// Bases and types that exist since a release.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Axes {
    from: Version,
    rpm: Bases,
    deb: Bases,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bases {
    bases: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    name: String,
    #[serde(default = "defaults")]
    folder: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    from: Option<Version>,
    before: Option<Version>,
    on: Option<String>,
    base: Option<String>,
    arch: Option<String>,
    #[serde(default)]
    own_repos: bool,
    #[serde(default = "yes")]
    changes: bool,
}

fn yes() -> bool {
    true
}

fn defaults() -> String {
    "defaults".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownDifference {
    cause: String,
    from: Option<Version>,
    before: Option<Version>,
    /// The cases that have it, and in them the paths.
    #[serde(with = "pattern")]
    case: Regex,
    #[serde(with = "pattern")]
    path: Regex,
}

mod pattern {
    use regex::Regex;
    use serde::{Deserialize as _, Deserializer, de::Error as _};

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Regex, D::Error> {
        let text = String::deserialize(from)?;
        Regex::new(&format!("^(?:{text})$")).map_err(D::Error::custom)
    }
}

/// One run of kolla-build, and one of Kiln.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// The case without the configuration, if there is one, and whether kolla-build renders the
    /// same there.
    pub plain: String,
    pub changes: bool,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// The folder of the configuration, below configurations/.
    pub folder: String,
    /// True if the case gets a changed copy of the release's own repos.yaml.
    pub own_repos: bool,
}

impl Case {
    /// Returns true if the result of the case is files, and not a list.
    pub fn renders(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--template-only")
    }
}

impl Matrix {
    pub fn read() -> Self {
        toml::from_str(TABLE).unwrap_or_else(|e| panic!("matrix.toml: {e}"))
    }

    pub fn release(&self, version: &str) -> &Release {
        let found = self.releases.iter().find(|release| release.version.to_string() == version);
        found.unwrap_or_else(|| panic!("{version} is not in matrix.toml"))
    }

    /// All cases of a release: the default configuration on every axis, and then the others.
    pub fn cases(&self, release: &Release) -> Vec<Case> {
        let axes = self.axes.iter().rev().find(|axes| axes.from <= release.version);
        let axes = axes.unwrap_or_else(|| panic!("no axes for {}", release.version));
        let mut cases = Vec::new();
        for architecture in ARCHITECTURES {
            for bases in [&axes.rpm, &axes.deb] {
                let types: Vec<Option<&str>> = match &bases.types[..] {
                    [] => vec![None],
                    types => types.iter().map(|name| Some(name.as_str())).collect(),
                };
                let all = bases.bases.iter().flat_map(|base| types.iter().map(move |t| (base, *t)));
                cases.extend(
                    all.map(|(base, install_type)| case(base, install_type, architecture, None)),
                );
            }
        }
        for configuration in &self.configurations {
            if !within(&release.version, configuration.from.as_ref(), configuration.before.as_ref())
            {
                continue;
            }
            let axis_of = |text: &str| match text.split_once(' ') {
                Some((base, install_type)) => (base.to_owned(), Some(install_type.to_owned())),
                None => (text.to_owned(), None),
            };
            let own = configuration.base.as_ref().map(|base| {
                let bases = [&axes.rpm, &axes.deb].into_iter().find(|of| of.bases.contains(base));
                let bases = bases.unwrap_or_else(|| panic!("{}: no base {base}", release.version));
                (base.clone(), bases.types.iter().find(|name| *name == "source").cloned())
            });
            let configured = ["rpm", "deb"].iter().zip(&release.configured).filter(|(kind, _)| {
                own.is_none() && configuration.on.as_ref().is_none_or(|on| on == *kind)
            });
            for (base, install_type) in
                own.iter().cloned().chain(configured.map(|(_, text)| axis_of(text)))
            {
                let architecture = configuration.arch.as_deref().unwrap_or(ARCHITECTURES[0]);
                cases.push(case(&base, install_type.as_deref(), architecture, Some(configuration)));
            }
        }
        cases
    }

    /// The cause of a difference, if it is known.
    pub fn cause(&self, release: &Release, case: &str, path: &str) -> Option<&str> {
        let known = self.differences.iter().find(|known| {
            within(&release.version, known.from.as_ref(), known.before.as_ref())
                && known.case.is_match(case)
                && known.path.is_match(path)
        });
        known.map(|known| known.cause.as_str())
    }
}

fn within(version: &Version, from: Option<&Version>, before: Option<&Version>) -> bool {
    from.is_none_or(|from| from <= version) && before.is_none_or(|before| version < before)
}

fn case(
    base: &str,
    install_type: Option<&str>,
    architecture: &str,
    configuration: Option<&Configuration>,
) -> Case {
    let mut arguments: Vec<String> =
        ["--config-file", "build.conf", "-b", base, "--base-arch", architecture]
            .map(str::to_owned)
            .to_vec();
    let mut axis = base.to_owned();
    if let Some(install_type) = install_type {
        arguments.extend(["-t".to_owned(), install_type.to_owned()]);
        axis = format!("{axis}-{install_type}");
    }
    let plain = format!("{axis}-{architecture}");
    arguments.extend(configuration.iter().flat_map(|of| of.arguments.clone()));
    if !arguments.iter().any(|argument| argument.starts_with("--list")) {
        // Options first: what comes last may be names of images.
        arguments.insert(0, "--template-only".to_owned());
    }
    Case {
        name: configuration.map_or(plain.clone(), |of| format!("{plain}-{}", of.name)),
        plain,
        changes: configuration.is_none_or(|of| of.changes),
        arguments,
        environment: configuration.map(|of| of.environment.clone()).unwrap_or_default(),
        folder: configuration.map_or_else(defaults, |of| of.folder.clone()),
        own_repos: configuration.is_some_and(|of| of.own_repos),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let matrix = Matrix::read();
        assert!(matrix.releases.is_sorted_by(|a, b| a.version < b.version));
        let majors: BTreeSet<u32> = matrix.releases.iter().map(|r| r.version.0[0]).collect();
        assert_eq!(majors, (9..=23).collect());
        let folders =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/configurations");
        for release in &matrix.releases {
            let cases = matrix.cases(release);
            let names: BTreeSet<&String> = cases.iter().map(|case| &case.name).collect();
            assert_eq!(names.len(), cases.len(), "{}: names of cases", release.version);
            for case in &cases {
                assert!(folders.join(&case.folder).join("build.conf").exists(), "{}", case.folder);
            }
            for configured in &release.configured {
                let axis = configured.replace(' ', "-");
                let count =
                    cases.iter().filter(|c| c.renders() && c.name.starts_with(&axis)).count();
                assert!(count >= 8, "{} {configured}: {count} configurations", release.version);
            }
        }
    }

    #[test]
    fn a_known_difference_has_a_cause() {
        let known = r#"
            cause = "a cause"
            from = "9.1.0"
            case = "centos-.*"
            path = "nova/.*/Dockerfile"
        "#;
        let mut matrix = Matrix::read();
        matrix.differences = vec![toml::from_str(known).unwrap()];
        let cause = |version, case, path| matrix.cause(matrix.release(version), case, path);
        let path = "nova/nova-api/Dockerfile";
        assert_eq!(cause("9.4.0", "centos-source-x86_64", path), Some("a cause"));
        assert_eq!(cause("9.0.0", "centos-source-x86_64", path), None);
        assert_eq!(cause("9.4.0", "ubuntu-source-x86_64", path), None);
        assert_eq!(cause("9.4.0", "centos-source-x86_64", "nova/nova-api/Dockerfile.j2"), None);
    }

    #[test]
    fn versions_are_numbers() {
        let version = |text: &str| Version::try_from(text.to_owned()).unwrap();
        assert!(version("14.9.0") < version("14.10.0"));
        assert_eq!(version("14.10.0").to_string(), "14.10.0");
        assert!(Version::try_from("14.x".to_owned()).is_err());
    }
}
