//! Tree of a release of kolla-build: the places of its parts, its version, and the manifest
//! generated from its tables.
//!
//! The parts are in different folders: templates, package repositories, and the Python package
//! whose modules hold the tables. They are found in a checkout, in the prefix of an installation (a
//! virtual environment), and from the folder of the templates alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::bounded_text::text_at;
use super::facts::{self, Facts};
use super::manifest::{
    Base, InstallType, Manifest, Preset, PresetValue, SourceEntry, Unbuildable, User,
};
use super::python::Literal;
use super::shipped;
use super::tree_entry::TreeFile;
use crate::diagnostic::{Diagnostic, Place, Result};
use crate::dialect::yaml::{self, Yaml};
use crate::dialect::{AxisNames, Dialect, Tables, Version};
use crate::git::Repository;

/// Folder of the templates, and that of the Python package if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReleaseFolders {
    /// Folder of the templates.
    pub(super) templates: PathBuf,
    package: Option<PathBuf>,
}

/// Release of kolla-build on disk.
#[derive(Debug)]
pub struct Release {
    /// Rules by which templates are rendered and images selected.
    pub dialect: Dialect,
    /// Version as the release states it; without such a statement, that of its dialect or of the
    /// embedded tables.
    pub version: String,
    /// Abbreviated commit id of a checkout, for dialects that print it in place of the version.
    pub commit: Option<String>,
    /// Message that the version was guessed; `None` if it is known or the dialect was given.
    pub guess: Option<String>,
    /// Package repositories that the release knows.
    pub tables: Tables,
}

/// Template of the root image: a folder that contains it is a folder of templates.
const ROOT_IMAGE: &str = "base/Dockerfile.j2";

/// Name of the Python package.
const PACKAGE: &str = "kolla";

/// Module that every such package has.
const CONFIG_MODULE: &str = "common/config.py";

/// Finds the parts in a checkout, a prefix, or a folder of templates.
pub(super) fn find(folder: &Path) -> Option<ReleaseFolders> {
    let packages = packages_below(folder);
    let of_packages = packages.iter().map(|package| package.join("docker"));
    let usual = ["docker", "share/kolla/docker", "local/share/kolla/docker", ""];
    let templates = of_packages
        .chain(usual.iter().map(|below| folder.join(below)))
        .find(|candidate| candidate.join(ROOT_IMAGE).is_file())?;
    let package = packages.into_iter().next().or_else(|| package_beside(&templates));
    Some(ReleaseFolders { templates, package })
}

/// Returns the Python packages in a checkout or prefix.
fn packages_below(folder: &Path) -> Vec<PathBuf> {
    let mut site_packages: Vec<PathBuf> = ["lib", "lib64", "local/lib"]
        .iter()
        .filter_map(|lib| fs::read_dir(folder.join(lib)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python")))
        .flat_map(|path| [path.join("site-packages"), path.join("dist-packages")])
        .collect();
    site_packages.sort();
    site_packages.insert(0, folder.to_owned());
    site_packages.iter().map(|path| path.join(PACKAGE)).filter(|path| is_package(path)).collect()
}

fn is_package(folder: &Path) -> bool {
    folder.join(CONFIG_MODULE).is_file()
}

/// Returns the Python package of a folder of templates: in the parent folder, or in the prefix that
/// the templates are installed in.
fn package_beside(templates: &Path) -> Option<PathBuf> {
    let templates = templates.canonicalize().ok()?;
    let above = templates.parent()?;
    if is_package(above) {
        return Some(above.to_owned());
    }
    above.ancestors().take(4).find_map(|folder| packages_below(folder).into_iter().next())
}

/// Reads the version of a release, unless `dialect` is given, and its tables.
///
/// # Errors
/// When the version is unknown or a table can't be read.
pub(super) fn read(place: &ReleaseFolders, dialect: Option<Dialect>) -> Result<(Release, Facts)> {
    let Some(package) = &place.package else {
        return read_bare(place, dialect);
    };
    let module = |path: &str| text_at(&package.join(path));
    let (facts, tables) = rayon::join(|| facts::read(&module), || read_tables(package));
    let facts = facts.map_err(|error| unreadable(package, &error))?;
    let told = version_beside(package);
    let (dialect, guess) = match (dialect, &told) {
        (Some(dialect), _) => (dialect, None),
        (None, Some(text)) => (Dialect::of(parse(text)?), None),
        (None, None) => {
            let release = facts.options.get("openstack_release").and_then(|o| o.default.text());
            let dialect = guess(place, release.unwrap_or_default())?;
            (dialect, Some(told_as_guess(dialect)))
        }
    };
    let version = told.unwrap_or_else(|| dialect.version().to_string());
    let commit = package
        .parent()
        .filter(|_| dialect.tells_commit())
        .and_then(|checkout| said_by_git(checkout, &["rev-parse", "--short", "HEAD"]));
    Ok((Release { dialect, version, commit, guess, tables: tables? }, facts))
}

/// Returns the tables of the kolla-build in `folder` as JSON; the embedded files are made so.
///
/// # Errors
/// When there is no kolla-build, or its tables can't be read.
pub fn tables(folder: &Path) -> Result<String> {
    let place = find(folder).ok_or_else(|| {
        Diagnostic::new(format!("'{}' has no templates of kolla-build", folder.display()))
    })?;
    let (_, mut facts) = read(&place, None)?;
    facts.options.retain(|_, option| {
        !matches!(option.default, Literal::Unknown | Literal::Call { .. } | Literal::Dict(_))
    });
    Ok(serde_json::to_string_pretty(&facts).expect("plain JSON"))
}

/// Reads a folder of templates without a Python package, with the embedded tables of the nearest
/// release.
fn read_bare(place: &ReleaseFolders, dialect: Option<Dialect>) -> Result<(Release, Facts)> {
    let (dialect, guess) = match dialect {
        Some(dialect) => (dialect, None),
        None => {
            let dialect = guess(place, "")?;
            (dialect, Some(told_as_guess(dialect)))
        }
    };
    let (nearest, facts) = shipped::nearest(dialect.version());
    let version = nearest.to_string();
    let tables = Tables::default();
    Ok((Release { dialect, version, commit: None, guess, tables }, facts))
}

/// Returns the message for a guessed release.
fn told_as_guess(dialect: Dialect) -> String {
    format!(
        "assuming the latest kolla-build {}, by the look of the templates; name the release with --dialect",
        dialect.version()
    )
}

fn parse(version: &str) -> Result<Version> {
    version.parse().map_err(|_| {
        Diagnostic::new(format!("'{version}' is not a version of kolla-build"))
            .help("name the release with --dialect, such as --dialect 14.11")
            .into()
    })
}

fn unreadable(package: &Path, error: &facts::FactsError) -> Diagnostic {
    let path = package.join(&error.file);
    let diagnostic = Diagnostic::new(format!("kolla's tables can't be read: {}", error.message));
    match text_at(&path) {
        Some(text) => {
            let offset = error.offset.min(text.len());
            diagnostic.at(Place::new(path.display().to_string(), text, offset..offset))
        }
        None => diagnostic.note(format!("in {}", path.display())),
    }
}

/// Returns the version in the metadata of an installation or a built checkout; without metadata,
/// the nearest tag of a git checkout.
fn version_beside(package: &Path) -> Option<String> {
    let above = package.parent()?;
    let metadata = fs::read_dir(above).ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let is_ours = name.strip_prefix(PACKAGE).is_some_and(|rest| {
            rest.starts_with('-') && rest.ends_with(".dist-info") || rest.ends_with(".egg-info")
        });
        is_ours.then(|| above.join(name))
    });
    let mut texts = metadata.flat_map(|folder| {
        ["METADATA", "PKG-INFO"].map(|file| text_at(&folder.join(file)).unwrap_or_default())
    });
    let of_metadata = texts.find_map(|text| {
        text.lines().find_map(|line| line.strip_prefix("Version:").map(|v| v.trim().to_owned()))
    });
    of_metadata.or_else(|| described_by_git(above))
}

/// Returns the nearest tag of a checkout.
fn described_by_git(checkout: &Path) -> Option<String> {
    said_by_git(checkout, &["describe", "--tags", "--abbrev=0", "--match", "[0-9]*"])
}

/// Returns the answer of git about a checkout; `None` if the folder is not the top of one.
fn said_by_git(checkout: &Path, question: &[&str]) -> Option<String> {
    let answer = Repository::at(checkout).ok()?.ask(question).ok()?.trim().to_owned();
    (!answer.is_empty()).then_some(answer)
}

/// Guesses the dialect from the content of the templates, and from the release of the services if
/// it is known.
fn guess(place: &ReleaseFolders, release: &str) -> Result<Dialect> {
    let read = |path: &str| text_at(&place.templates.join(path)).unwrap_or_default();
    let Some(major) = Dialect::guess_major(&read("macros.j2"), &read(ROOT_IMAGE), release) else {
        return Err(Diagnostic::new(format!(
            "the kolla-build release of '{}' can't be determined",
            place.templates.display()
        ))
        .help("name the release with --dialect, such as --dialect 14.11")
        .into());
    };
    Ok(Dialect::of(Version { major, minor: u32::MAX, patch: u32::MAX }))
}

/// Reads the package repositories in a YAML file.
///
/// # Errors
/// When it can't be read or is not YAML.
pub fn repositories(path: &Path) -> Result<Yaml> {
    let shown = path.display().to_string();
    let text = TreeFile::on_disk(path.to_owned()).text(&shown)?;
    yaml::parse(&text).map_err(|error| {
        Diagnostic::new(format!("the repositories can't be read: {}", error.message))
            .at(Place::line(shown, text.as_str(), error.line))
            .into()
    })
}

/// Reads the package repositories in the YAML files of the package's folder `template`.
fn read_tables(package: &Path) -> Result<Tables> {
    let folder = package.join("template");
    let mut tables = Tables::default();
    let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        (name.starts_with("repos") && name.ends_with(".yaml")).then_some(name)
    });
    for name in entries {
        let table = repositories(&folder.join(&name))?;
        tables.files.insert(name, table);
    }
    Ok(tables)
}

/// Returns the manifest that corresponds to the tables of a release.
pub(super) fn manifest(release: &Release, facts: &Facts) -> Manifest {
    let dialect = release.dialect;
    Manifest {
        dialect: Some(dialect),
        named_by_type: facts.named_by_type.clone(),
        defaults: defaults(release, facts),
        bases: facts
            .bases
            .iter()
            .filter_map(|name| Some((name.clone(), base(dialect, facts, name)?)))
            .collect(),
        install_types: install_types(dialect),
        users: facts
            .users
            .iter()
            .map(|(name, user)| {
                (name.clone(), User { uid: user.uid, gid: user.gid, group: user.group.clone() })
            })
            .collect(),
        sources: facts
            .sources
            .iter()
            .map(|(name, source)| {
                (
                    name.clone(),
                    SourceEntry {
                        r#type: source.kind.clone(),
                        location: source.location.clone(),
                        reference: source.reference.clone(),
                        sha256: None,
                        enabled: source.enabled,
                        version: source.version.clone(),
                        sha256_by_arch: source.sha256.clone(),
                        folder: None,
                    },
                )
            })
            .collect(),
        unbuildable: facts
            .unbuildable
            .iter()
            .flat_map(|(key, images)| {
                images.iter().map(move |(name, reason)| Unbuildable {
                    images: vec![name.clone()],
                    base: None,
                    install_type: None,
                    arch: None,
                    key: Some(key.clone()),
                    reason: if reason.is_empty() {
                        format!("kolla says so for {key}")
                    } else {
                        reason.clone()
                    },
                })
            })
            .collect(),
        ..Manifest::default()
    }
}

/// Returns the defaults of options: those of the release, except for options derived from others.
fn defaults(release: &Release, facts: &Facts) -> BTreeMap<String, Preset> {
    const FOLLOW_FROM_OTHERS: [&str; 2] = ["base_tag", "base_image"];
    let simple = |literal: &Literal| match literal {
        Literal::Bool(value) => Some(PresetValue::Text(value.to_string())),
        Literal::Int(value) => Some(PresetValue::Text(value.to_string())),
        Literal::Text(value) => Some(PresetValue::Text(value.clone())),
        Literal::List(values) => Some(PresetValue::List(
            values
                .iter()
                .filter_map(|value| match value {
                    Literal::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
        )),
        _ => None,
    };
    // If a release has no default for a text option, the default of another release must not apply.
    let preset = |option: &facts::Option_| match (&option.default, option.kind.as_str()) {
        (Literal::None, "StrOpt") => Some(PresetValue::Text(String::new())),
        (default, _) => simple(default),
    };
    let mut defaults: BTreeMap<_, _> = facts
        .options
        .iter()
        .filter(|(name, _)| !FOLLOW_FROM_OTHERS.contains(&name.as_str()))
        .filter_map(|(name, option)| Some((name.clone(), Preset::of_tables(preset(option)?))))
        .collect();
    let dialect = release.dialect;
    let text = |value: &str| Preset::of_tables(PresetValue::Text(value.to_owned()));
    if !dialect.has_install_types() {
        defaults.insert("install_type".to_owned(), text(SOURCE));
    }
    if !dialect.tags_by_release() {
        defaults.insert("tag".to_owned(), text(&release.version));
    }
    defaults
}

const SOURCE: &str = "source";
const BINARY: &str = "binary";

fn base(dialect: Dialect, facts: &Facts, name: &str) -> Option<Base> {
    let image = facts.base_images.get(name)?;
    let package_type = dialect.package_type(name);
    let axis = AxisNames { base: name, base_tag: &image.tag, arch: "", install_type: "" };
    let only_of_rpm = ["rdo", "rhos"];
    let install_types = match dialect.has_install_types() {
        true => facts
            .install_types
            .iter()
            .filter(|t| package_type == "rpm" || !only_of_rpm.contains(&t.as_str()))
            .cloned()
            .collect(),
        false => vec![SOURCE.to_owned()],
    };
    let mut variables = toml::Table::new();
    if let Some(said) = facts.release_names.get(name) {
        variables.insert(dialect.release_name_variable().to_owned(), said.clone().into());
    }
    Some(Base {
        image: image.name.clone(),
        tag: image.tag.clone(),
        package_type: package_type.to_owned(),
        package_manager: dialect.package_manager(axis).to_owned(),
        install_types,
        variables,
    })
}

fn install_types(dialect: Dialect) -> BTreeMap<String, InstallType> {
    let known = [
        (BINARY, None, "rdo"),
        (SOURCE, None, "mixed"),
        ("rdo", Some(BINARY), "rdo"),
        ("rhos", Some(BINARY), "rhos"),
    ];
    let made = known.into_iter().map(|(name, renders_as, metatype)| {
        let mut variables = toml::Table::new();
        if dialect.has_install_metatype() {
            variables.insert("install_metatype".to_owned(), metatype.into());
        }
        let install_type = InstallType {
            renders_as: renders_as.map(str::to_owned),
            fetches_sources: name == SOURCE,
            variables,
        };
        (name.to_owned(), install_type)
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::write;

    fn root_of(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            write(root.path(), file, "");
        }
        root
    }

    /// Returns the places of the parts, as paths relative to `root`.
    fn found(root: &Path, from: &str) -> Option<(String, Option<String>)> {
        let place = find(&root.join(from))?;
        let shown = |path: PathBuf| {
            let path = path.canonicalize().unwrap();
            path.strip_prefix(root.canonicalize().unwrap()).unwrap().display().to_string()
        };
        Some((shown(place.templates), place.package.map(shown)))
    }

    #[test]
    fn the_parts_of_a_release_are_found_from_wherever_one_is() {
        let layouts: [(&[&str], &str, &str); 3] = [
            (&["docker/base/Dockerfile.j2", "kolla/common/config.py"], "docker", "kolla"),
            (
                &[
                    "share/kolla/docker/base/Dockerfile.j2",
                    "lib/python3.11/site-packages/kolla/common/config.py",
                ],
                "share/kolla/docker",
                "lib/python3.11/site-packages/kolla",
            ),
            (
                &[
                    "lib/python3.12/site-packages/kolla/docker/base/Dockerfile.j2",
                    "lib/python3.12/site-packages/kolla/common/config.py",
                ],
                "lib/python3.12/site-packages/kolla/docker",
                "lib/python3.12/site-packages/kolla",
            ),
        ];
        for (files, templates, package) in layouts {
            let root = root_of(files);
            let expected = Some((templates.to_owned(), Some(package.to_owned())));
            assert_eq!(found(root.path(), ""), expected);
            assert_eq!(found(root.path(), templates), expected, "from {templates}");
        }
        let bare = root_of(&["docker/base/Dockerfile.j2"]);
        assert_eq!(found(bare.path(), "docker"), Some(("docker".to_owned(), None)));
        assert_eq!(found(bare.path(), "docker/base"), None);
    }

    #[test]
    fn the_version_stands_in_the_metadata() {
        let root = root_of(&["site/kolla/common/config.py"]);
        write(root.path(), "site/kolla_ansible-9.0.dist-info/METADATA", "Version: 9.0.0\n");
        let package = root.path().join("site/kolla");
        assert_eq!(version_beside(&package), None);
        write(
            root.path(),
            "site/kolla-14.11.0.dist-info/METADATA",
            "Name: kolla\nVersion: 14.11.0\n",
        );
        assert_eq!(version_beside(&package).as_deref(), Some("14.11.0"));
    }

    #[test]
    fn carried_tables_stand_in_for_the_releases_near_them() {
        let nearest = |version: &str| shipped::nearest(version.parse().unwrap()).0.to_string();
        assert_eq!(nearest("23"), "23.0.0");
        assert_eq!(nearest("14"), "14.12.0");
        assert_eq!(nearest("14.3.0"), "14.12.0");
        assert_eq!(nearest("40"), "23.0.0");
        assert_eq!(nearest("8.0.0"), "9.4.0");
    }
}
