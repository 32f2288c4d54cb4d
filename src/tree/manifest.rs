//! Manifest of a template tree, `tree.toml`: everything that is specific to the tree and is not a
//! template.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};
use crate::dialect::{AxisNames, Dialect};
use crate::image::SourceName;

/// File name of the manifest; a folder that contains one is a tree.
pub const FILE_NAME: &str = "tree.toml";

/// Content of `tree.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Folder of the profile files, relative to the manifest.
    pub profiles: Option<String>,
    /// Defaults of options, by option name.
    #[serde(default)]
    pub defaults: BTreeMap<String, Preset>,
    /// Base distros, by name.
    #[serde(default)]
    pub bases: BTreeMap<String, Base>,
    /// Variables given to every template.
    #[serde(default)]
    pub variables: toml::Table,
    /// Service users, by name.
    #[serde(default)]
    pub users: BTreeMap<String, User>,
    /// Properties of install types, by name.
    #[serde(default)]
    pub install_types: BTreeMap<String, InstallType>,
    /// Sources for install types that fetch sources, by the name of the image, plugin or addition.
    #[serde(default)]
    pub sources: BTreeMap<SourceName, SourceEntry>,
    /// Path in the tree where the site's CA certificates are put, if there are any.
    pub ca_certificates: Option<String>,
    /// Images that can't be built for some bases or install types.
    #[serde(default)]
    pub unbuildable: Vec<Unbuildable>,
    /// Commands that show that the program of an image runs, by image; for the tree's own checks.
    #[serde(default)]
    pub checks: BTreeMap<String, String>,
    /// Exceptions for `kiln lint`.
    #[serde(default)]
    pub lint: Lint,
    /// Images that, with all images built on them, keep the install type in their names when other
    /// images are named without it.
    #[serde(skip)]
    pub named_by_type: Vec<String>,
    /// Rules of the release of kolla-build that the manifest was made for; `None` for a
    /// `tree.toml`.
    #[serde(skip)]
    pub dialect: Option<Dialect>,
    /// Images that run as root, each with the reason; for the tree's own checks.
    #[serde(default)]
    pub root: BTreeMap<String, String>,
}

/// Default of an option, given by the tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "toml::Spanned<PresetValue>")]
pub struct Preset {
    /// Value of the default.
    pub value: PresetValue,
    /// Place in the manifest; `None` for the tables of a kolla-build.
    pub place: Option<Place>,
    span: Range<usize>,
}

impl Preset {
    /// Returns a preset without a place in a manifest.
    pub fn of_tables(value: PresetValue) -> Self {
        Self { value, place: None, span: 0..0 }
    }
}

impl From<toml::Spanned<PresetValue>> for Preset {
    fn from(written: toml::Spanned<PresetValue>) -> Self {
        let span = written.span();
        Self { value: written.into_inner(), place: None, span }
    }
}

/// Value that a tree gives to an option.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PresetValue {
    /// Single value.
    Text(String),
    /// Values of an option that takes several.
    List(Vec<String>),
}

/// Exceptions for `kiln lint` in a tree.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lint {
    /// Rules that are switched off for the tree, each with the reason.
    #[serde(default)]
    pub allow: BTreeMap<String, String>,
}

/// Install type.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallType {
    /// Type that its images are named and rendered as, if it is not the same.
    pub renders_as: Option<String>,
    /// True if its images are built from fetched sources.
    #[serde(default)]
    pub fetches_sources: bool,
    /// Variables given to templates for this type.
    #[serde(default)]
    pub variables: toml::Table,
}

/// Source of an image, with the keys that it has in configuration files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// Type: url, git, local or pip.
    pub r#type: String,
    /// URL, repository, path or requirement.
    pub location: String,
    /// Branch, tag or commit of a git source.
    pub reference: Option<String>,
    /// SHA-256 digest of the file.
    pub sha256: Option<String>,
    /// True if the source is used. `None` counts as true.
    pub enabled: Option<bool>,
    /// Version that the location may refer to.
    #[serde(skip)]
    pub version: Option<String>,
    /// Digests by Debian's name of the architecture, if each architecture has its own.
    #[serde(skip)]
    pub sha256_by_arch: BTreeMap<String, String>,
    /// Folder of the manifest, to which the paths of its local sources are relative; `None` if
    /// there is no manifest.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// Base distro.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Image to build on, without tag.
    pub image: String,
    /// Tag of that image.
    pub tag: String,
    /// Package format, as templates query it (`rpm`, `deb`).
    pub package_type: String,
    /// Program that installs packages (`dnf`, `apt`).
    pub package_manager: String,
    /// Install types that have images on this base.
    pub install_types: Vec<String>,
    /// Variables given to templates on this base; they override those of the whole tree.
    #[serde(default)]
    pub variables: toml::Table,
}

/// Service user of the images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Numeric user id.
    pub uid: i64,
    /// Numeric group id.
    pub gid: i64,
    /// Name of the group, if it differs from the user's.
    pub group: Option<String>,
}

/// [`User`] in the form that templates get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserVariables {
    /// Numeric user id; `None` if a configuration file names a user without an id.
    pub uid: Option<i64>,
    /// Numeric group id; `None` as for `uid`.
    pub gid: Option<i64>,
    /// Name of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Images that can't be built on certain axes: all given lists have to contain the axis's value,
/// and a list that is not given matches any value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unbuildable {
    /// Names of the images.
    pub images: Vec<String>,
    /// Bases on which they can't be built.
    pub base: Option<Vec<String>>,
    /// Install types for which they can't be built.
    pub install_type: Option<Vec<String>>,
    /// Machine architectures for which they can't be built.
    pub arch: Option<Vec<String>>,
    /// Key of kolla-build's table, words joined by `+`, in place of the three lists above.
    #[serde(skip)]
    pub key: Option<String>,
    /// Reason, for messages.
    pub reason: String,
}

impl Unbuildable {
    /// Returns true if the entry applies to this axis.
    pub fn applies(&self, axis: AxisNames<'_>, package_manager: &str, dialect: Dialect) -> bool {
        let AxisNames { base, install_type, arch, .. } = axis;
        if let Some(key) = &self.key {
            return dialect.unbuildable_key_applies(key, axis, package_manager);
        }
        let matches = |axis: &Option<Vec<String>>, value: &str| {
            axis.as_ref().is_none_or(|values| values.iter().any(|v| v == value))
        };
        matches(&self.base, base)
            && matches(&self.install_type, install_type)
            && matches(&self.arch, arch)
    }
}

impl Manifest {
    /// Parses the text of a manifest; `path` is its name in messages.
    ///
    /// # Errors
    /// When it is not TOML or not a manifest; the error has the place.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let mut manifest: Self = toml::from_str(text).map_err(|error: toml::de::Error| {
            let diagnostic = Diagnostic::new(format!(
                "the tree's manifest can't be read: {}",
                error.message().lines().next().unwrap_or_default()
            ));
            match error.span() {
                Some(span) => diagnostic.at(Place::new(path, text, span)),
                None => diagnostic.note(format!("in {path}")),
            }
        })?;
        manifest.check_names(|name| {
            let start = text.find(name)?;
            Some(Place::new(path, text, start..start + name.len()))
        })?;
        let source: Arc<str> = text.into();
        for preset in manifest.defaults.values_mut() {
            preset.place = Some(Place::new(path, source.clone(), preset.span.clone()));
        }
        Ok(manifest)
    }

    /// Refuses names of bases, install types and users that are not plain words: they become a
    /// folder, a part of an image's name or a word of an instruction. `place` finds a name in the
    /// manifest's text.
    ///
    /// # Errors
    /// All such names.
    pub fn check_names(&self, place: impl Fn(&str) -> Option<Place>) -> Result<()> {
        let of_bases = self.bases.values().flat_map(|base| &base.install_types);
        let rendered =
            self.install_types.values().filter_map(|of_type| of_type.renders_as.as_ref());
        let types = self.install_types.keys().chain(of_bases).chain(rendered);
        let named = [("base", self.bases.keys().collect::<BTreeSet<_>>())];
        let named = named
            .into_iter()
            .chain([("install type", types.collect()), ("user", self.users.keys().collect())]);
        let wrong = named.flat_map(|(what, names)| {
            let wrong = names.into_iter().filter(|name| !is_plain(name));
            wrong.map(move |name| (what, name))
        });
        let errors = wrong.map(|(what, name)| {
            let error = Diagnostic::new(format!("'{name}' can't be the name of a {what}"))
                .help("use letters, digits, '_', '.' and '-', a letter or digit first");
            match place(name) {
                Some(place) => error.at(place),
                None => error,
            }
        });
        let errors: Vec<Diagnostic> = errors.collect();
        if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
    }

    /// Merges the manifest of an overlay into this one: entries of the same name are replaced,
    /// others added.
    pub fn overlay(&mut self, over: Manifest) {
        self.defaults.extend(over.defaults);
        self.bases.extend(over.bases);
        self.variables.extend(over.variables);
        self.users.extend(over.users);
        self.install_types.extend(over.install_types);
        self.sources.extend(over.sources);
        self.unbuildable.extend(over.unbuildable);
        self.lint.allow.extend(over.lint.allow);
    }

    /// Returns the users in the form that templates get.
    pub fn user_variables(&self) -> BTreeMap<String, UserVariables> {
        self.users
            .iter()
            .map(|(name, user)| {
                let group = user.group.clone().unwrap_or_else(|| name.clone());
                let (uid, gid) = (Some(user.uid), Some(user.gid));
                (name.clone(), UserVariables { uid, gid, group: Some(group) })
            })
            .collect()
    }
}

/// Returns true if a name consists of ASCII letters, digits and `_.-`, and begins with a letter or
/// digit.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let with_base = |name: &str| {
            format!(
                "[bases.{name}]\nimage = 'i'\ntag = 't'\npackage_type = 'deb'\n\
                 package_manager = 'apt'\ninstall_types = ['binary']\n"
            )
        };
        let refused = |text: &str| Manifest::parse(text, "tree.toml").unwrap_err().0;
        for name in
            ["'..'", "'a/b'", "'../x'", "''", "\"a\\nb\"", "\"\\u001b[2J\"", "'-x'", "'a b'"]
        {
            let errors = refused(&with_base(name));
            assert_eq!(errors.len(), 1, "{name}");
            assert!(errors[0].message.ends_with("can't be the name of a base"), "{errors:?}");
        }
        let errors = refused(&with_base("'../x'"));
        assert_eq!(errors[0].places[0].line_number(), 1);
        refused("[install_types.'../x']\n");
        refused("[install_types.x]\nrenders_as = '../x'\n");
        refused("[users.'a:0:0']\nuid = 1\ngid = 1\n");
        let accepted = with_base("'Rocky_9.4-x'").replace("'binary'", "'r.d-o'");
        assert!(Manifest::parse(&accepted, "tree.toml").is_ok());
    }

    #[test]
    fn an_unbuildable_entry_speaks_of_the_axes_it_gives() {
        let entry = |text: &str| -> Unbuildable {
            toml::from_str(&format!("images = ['x']\nreason = 'r'\n{text}")).unwrap()
        };
        let applies = |text: &str| {
            let axis = AxisNames { base: "a", base_tag: "1", arch: "c", install_type: "b" };
            entry(text).applies(axis, "apt", Dialect::newest())
        };
        assert!(applies(""));
        assert!(applies("base = ['a', 'z']"));
        assert!(!applies("base = ['z']"));
        assert!(!applies("base = ['a']\ninstall_type = ['z']"));
        assert!(!applies("arch = ['z']"));
    }

    #[test]
    fn a_wrong_key_is_shown_where_it_stands() {
        let text = "[bases.x]\nimage = 'i'\nimaeg = 'j'\n";
        let error = Manifest::parse(text, "t/tree.toml").unwrap_err();
        let place = &error.0[0].places[0];
        assert_eq!(place.path, "t/tree.toml");
        assert_eq!(&text[place.span.clone()], "imaeg");
    }

    #[test]
    fn a_group_is_called_like_its_user_unless_it_says_otherwise() {
        let text = "[users]\na = {uid = 1, gid = 2}\nb = {uid = 3, gid = 4, group = 'g'}";
        let users = Manifest::parse(text, "t").unwrap().user_variables();
        assert_eq!(users["a"].group.as_deref(), Some("a"));
        assert_eq!(users["b"].group.as_deref(), Some("g"));
    }
}
