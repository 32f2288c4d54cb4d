//! Tables of a released Kolla beside its templates, read from its Python package.
//!
//! Base distros, options, profiles, users, sources and unbuildable images are Python values (and,
//! in newer releases, YAML), and have moved between files over the years. Each table is looked for
//! in every place that it has ever been in, newest first, so that the version need not be known in
//! advance.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::python::{self, Literal, Module};
use crate::dialect::yaml::{self, Yaml};
use crate::image::SourceName;

const CONFIG: &str = "common/config.py";
const USERS: [&str; 2] = ["common/users.py", CONFIG];
const SOURCES: [&str; 2] = ["common/sources.py", CONFIG];
const SOURCES_YAML: &str = "common/sources.yaml";
const BUILD: &str = "image/build.py";
const UNBUILDABLE: [&str; 2] = ["image/unbuildable.py", BUILD];

/// Tables of a release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Base distros, in Kolla's order.
    pub bases: Vec<String>,
    /// Machine architectures.
    pub arches: Vec<String>,
    /// Install types; empty for releases without install types (16 and later).
    pub install_types: Vec<String>,
    /// Default image that a base distro is built on, by base distro.
    pub base_images: BTreeMap<String, BaseImage>,
    /// Text that `/etc/os-release` of a base distro must have: its pretty name, or up to 11 its
    /// release.
    pub release_names: BTreeMap<String, String>,
    /// Options of the command line and of configuration files, by their key in files.
    pub options: BTreeMap<String, Option_>,
    /// Profiles: lists of parts of image names, by name.
    pub profiles: BTreeMap<String, Vec<String>>,
    /// Service users, by name (without `-user`).
    pub users: BTreeMap<String, User>,
    /// Sources of images, plugins and additions, by name.
    pub sources: BTreeMap<SourceName, SourceFacts>,
    /// Images that can't be built, with the reason or an empty text, by the axes on which they
    /// can't be built (`centos+source`, `aarch64`).
    pub unbuildable: BTreeMap<String, BTreeMap<String, String>>,
    /// Images that, with all images built on them, differ between install types.
    pub named_by_type: Vec<String>,
}

/// Image to build on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// Name, which may include a registry.
    pub name: String,
    /// Tag of the image.
    pub tag: String,
}

/// Option. (The name `Option` is taken.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Option_ {
    /// Class in oslo.config: `StrOpt`, `BoolOpt`, `ListOpt`...
    pub kind: String,
    /// Default: `None` if none is given, [`Literal::Unknown`] if it depends on the machine
    /// (`base_arch`, `debian_arch`), and a call of `cached_version_string` for the version of Kolla
    /// (`tag` up to 22).
    pub default: Literal,
}

/// Service user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Numeric user id.
    pub uid: i64,
    /// Numeric group id.
    pub gid: i64,
    /// Name of the group, if it differs from the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Origin of a source. Texts may refer to options (`$tarballs_base`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Type: url, git or local.
    pub kind: String,
    /// URL, repository or path.
    pub location: String,
    /// Branch, tag or commit of a git source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// True if the source is used. `None` counts as true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Version that the location refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 digests of the file, by Debian's name of the architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
}

/// Error in the tables of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {message}")]
pub struct FactsError {
    /// Path of the file, relative to the package.
    pub file: String,
    /// Byte offset of the error in the file.
    pub offset: usize,
    /// Sentence that says what is wrong.
    pub message: String,
}

type Result<T> = std::result::Result<T, FactsError>;

/// Reads the tables of a `kolla` Python package. `package` returns the text of one of its files
/// (such as `common/config.py`), or `None` if there is no such file.
///
/// # Errors
/// When a table is missing or has an unexpected shape, or a file can't be parsed.
pub fn read(package: &dyn Fn(&str) -> Option<String>) -> Result<Facts> {
    let mut files = Files { package, texts: BTreeMap::new(), modules: BTreeMap::new() };
    let install_types = files.find("INSTALL_TYPE_CHOICES", &[CONFIG])?;
    let release_names = match files.find("DISTRO_PRETTY_NAME", &[CONFIG])? {
        Some(table) => table,
        None => files.need("DISTRO_RELEASE", &[CONFIG])?,
    };
    let named_by_type = files.find("BINARY_SOURCE_IMAGES", &[BUILD])?;
    let mut options = options(&files.need("_CLI_OPTS", &[CONFIG])?)?;
    options.extend(self::options(&files.need("_BASE_OPTS", &[CONFIG])?)?);
    Ok(Facts {
        bases: files.need("BASE_OS_DISTRO", &[CONFIG])?.texts()?,
        arches: files.need("BASE_ARCH", &[CONFIG])?.texts()?,
        install_types: install_types.map_or(Ok(Vec::new()), |table| table.texts())?,
        base_images: files.need("DEFAULT_BASE_TAGS", &[CONFIG])?.entries(base_image)?,
        release_names: release_names.entries(|_, name| Some(name.text()?.to_owned()))?,
        options,
        profiles: profiles(&files.need("_PROFILE_OPTS", &[CONFIG])?)?,
        users: users(&files.need("USERS", &USERS)?)?,
        sources: sources(&files.sources()?)?,
        unbuildable: files.unbuildable()?,
        named_by_type: named_by_type.map_or(Ok(Vec::new()), |table| table.texts())?,
    })
}

/// Files of a package. Each is read on first use, and parsed only if its text contains the name of
/// a table that is asked for.
struct Files<'a> {
    package: &'a dyn Fn(&str) -> Option<String>,
    texts: BTreeMap<&'static str, Option<String>>,
    modules: BTreeMap<&'static str, Module>,
}

impl Files<'_> {
    /// Returns the parsed Python file, if the package has it and its text contains `name`.
    fn module(&mut self, file: &'static str, name: &str) -> Result<Option<&Module>> {
        let text = self.texts.entry(file).or_insert_with(|| (self.package)(file)).as_deref();
        let Some(text) = text.filter(|text| text.contains(name)) else { return Ok(None) };
        Ok(Some(match self.modules.entry(file) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(python::parse(text).map_err(|error| {
                FactsError { file: file.to_owned(), offset: error.offset, message: error.message }
            })?),
        }))
    }

    /// Returns the table `name` from the first of `places` that has it.
    fn find(&mut self, name: &'static str, places: &[&'static str]) -> Result<Option<Table>> {
        for &file in places {
            let Some(module) = self.module(file, name)? else { continue };
            if let (Some(value), Some(offset)) = (module.get(name), module.offset(name)) {
                return Ok(Some(Table { file, name, offset, value: value.clone() }));
            }
        }
        Ok(None)
    }

    /// Returns a table that every release has.
    fn need(&mut self, name: &'static str, places: &[&'static str]) -> Result<Table> {
        if let Some(table) = self.find(name, places)? {
            return Ok(table);
        }
        let present = places.iter().find(|place| matches!(self.texts.get(*place), Some(Some(_))));
        let (file, message) = match present {
            Some(file) => (*file, format!("there is no table {name}")),
            None => {
                (places[0], format!("there is neither such a file nor another one that has {name}"))
            }
        };
        Err(FactsError { file: file.to_owned(), offset: 0, message })
    }

    /// Returns the table of sources.
    fn sources(&mut self) -> Result<Table> {
        let Some(text) = (self.package)(SOURCES_YAML) else {
            return self.need("SOURCES", &SOURCES);
        };
        let yaml = yaml::parse(&text).map_err(|error| FactsError {
            file: SOURCES_YAML.to_owned(),
            offset: line_offset(&text, error.line),
            message: error.message,
        })?;
        Ok(Table { file: SOURCES_YAML, name: "SOURCES", offset: 0, value: literal(yaml) })
    }

    /// Returns the unbuildable images by key, with the comments that give the reasons.
    fn unbuildable(&mut self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let table = self.need("UNBUILDABLE_IMAGES", &UNBUILDABLE)?;
        let remarks =
            self.module(table.file, table.name)?.and_then(|module| module.remarks(table.name));
        let remarks = remarks.ok_or_else(|| table.wrong("is not a dictionary of sets of names"))?;
        Ok(remarks.into_iter().map(|(key, images)| (key, images.into_iter().collect())).collect())
    }
}

/// Table with its place.
struct Table {
    file: &'static str,
    name: &'static str,
    offset: usize,
    value: Literal,
}

impl Table {
    /// Returns an error with the message that the table `problem`.
    fn wrong(&self, problem: &str) -> FactsError {
        let message = format!("the table {} {problem}", self.name);
        FactsError { file: self.file.to_owned(), offset: self.offset, message }
    }

    /// Returns the strings of a list.
    fn texts(&self) -> Result<Vec<String>> {
        self.value.texts().ok_or_else(|| self.wrong("is not a list of strings"))
    }

    /// Returns the entries of a dictionary, each converted by `read` from its key and value.
    fn entries<T>(
        &self,
        read: impl Fn(&str, &Literal) -> Option<T>,
    ) -> Result<BTreeMap<String, T>> {
        let entries = self.value.entries().ok_or_else(|| self.wrong("is not a dictionary"))?;
        let entry = |(key, value): (&str, &Literal)| match read(key, value) {
            Some(read) => Ok((key.to_owned(), read)),
            None => Err(self.wrong(&format!("has an entry '{key}' with an unexpected structure"))),
        };
        entries.into_iter().map(entry).collect()
    }
}

/// Converts an entry of `DEFAULT_BASE_TAGS`: up to 11.2 the value is a tag only, and the name is
/// that of the base distro.
fn base_image(base: &str, value: &Literal) -> Option<BaseImage> {
    let (name, tag) = match value {
        Literal::Text(tag) => (base, tag.as_str()),
        _ => (value.field("name")?.text()?, value.field("tag")?.text()?),
    };
    Some(BaseImage { name: name.to_owned(), tag: tag.to_owned() })
}

/// Converts a list of options.
fn options(table: &Table) -> Result<BTreeMap<String, Option_>> {
    let list = table.value.list().ok_or_else(|| table.wrong("is not a list"))?;
    let options = list.iter().map(|literal| {
        option(literal).ok_or_else(|| table.wrong("has an element that is not an option"))
    });
    options.collect()
}

/// Converts an option; returns it with its key in files.
fn option(literal: &Literal) -> Option<(String, Option_)> {
    let Literal::Call { name: kind, positional, keywords } = literal else { return None };
    let keyword =
        |name| keywords.iter().find(|(keyword, _)| keyword == name).map(|(_, value)| value);
    let key = match keyword("dest") {
        Some(key) => key.text()?.to_owned(),
        None => positional.first().or_else(|| keyword("name"))?.text()?.replace('-', "_"),
    };
    let default = keyword("default").cloned().unwrap_or(Literal::None);
    Some((key, Option_ { kind: kind.clone(), default }))
}

/// Converts the profiles: options whose defaults are lists.
fn profiles(table: &Table) -> Result<BTreeMap<String, Vec<String>>> {
    let profile = |(name, option): (String, Option_)| match option.default.texts() {
        Some(names) => Ok((name, names)),
        None => Err(table.wrong(&format!("has a profile '{name}' that is not a list of strings"))),
    };
    options(table)?.into_iter().map(profile).collect()
}

/// Converts the users; as in Kolla, an entry whose name doesn't end in `-user` is skipped.
fn users(table: &Table) -> Result<BTreeMap<String, User>> {
    let users = table.entries(user)?;
    let named = |(key, user): (String, User)| Some((key.strip_suffix("-user")?.to_owned(), user));
    Ok(users.into_iter().filter_map(named).collect())
}

/// Converts an entry of `USERS`.
fn user(_: &str, value: &Literal) -> Option<User> {
    let id = |key| match value.field(key) {
        Some(Literal::Int(id)) => Some(*id),
        _ => None,
    };
    Some(User { uid: id("uid")?, gid: id("gid")?, group: optional(value.field("group"))? })
}

/// Converts the sources.
fn sources(table: &Table) -> Result<BTreeMap<SourceName, SourceFacts>> {
    let sources = table.entries(source)?;
    let named = |(name, source): (String, SourceFacts)| match SourceName::new(&name) {
        Ok(name) => Ok((name, source)),
        Err(error) => {
            let (file, offset) = (table.file.to_owned(), table.offset);
            Err(FactsError { file, offset, message: error.to_string() })
        }
    };
    sources.into_iter().map(named).collect()
}

/// Converts an entry of `SOURCES`.
fn source(_: &str, value: &Literal) -> Option<SourceFacts> {
    let enabled = match value.field("enabled") {
        None | Some(Literal::None) => None,
        Some(Literal::Bool(enabled)) => Some(*enabled),
        Some(_) => return None,
    };
    let digests = match value.field("sha256") {
        None | Some(Literal::None) => Vec::new(),
        Some(digests) => digests.entries()?,
    };
    let digest = |(arch, digest): (&str, &Literal)| Some((arch.to_owned(), scalar(digest)?));
    Some(SourceFacts {
        kind: value.field("type")?.text()?.to_owned(),
        location: value.field("location")?.text()?.to_owned(),
        reference: optional(value.field("reference"))?,
        enabled,
        version: optional(value.field("version"))?,
        sha256: digests.into_iter().map(digest).collect::<Option<_>>()?,
    })
}

/// Returns the text of an optional value. The outer `None` means a value of another type.
#[expect(clippy::option_option, reason = "the outer one is a failure")]
fn optional(value: Option<&Literal>) -> Option<Option<String>> {
    match value {
        None | Some(Literal::None) => Some(None),
        Some(value) => scalar(value).map(Some),
    }
}

/// Returns a string or number as text: an unquoted version in YAML is parsed as a number.
fn scalar(value: &Literal) -> Option<String> {
    match value {
        Literal::Text(text) => Some(text.clone()),
        Literal::Int(number) => Some(number.to_string()),
        Literal::Float(number) => Some(format!("{number:?}")),
        _ => None,
    }
}

/// Converts a YAML value to the literal that Python would have.
fn literal(yaml: Yaml) -> Literal {
    match yaml {
        Yaml::Null => Literal::None,
        Yaml::Bool(value) => Literal::Bool(value),
        Yaml::Int(value) => Literal::Int(value),
        Yaml::Float(value) => Literal::Float(value),
        Yaml::Text(value) => Literal::Text(value),
        Yaml::List(values) => Literal::List(values.into_iter().map(literal).collect()),
        Yaml::Map(items) => {
            let item = |(key, value)| (Literal::Text(key), literal(value));
            Literal::Dict(items.into_iter().map(item).collect())
        }
    }
}

/// Returns the byte offset of the beginning of a line (counted from 1).
fn line_offset(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}
