//! The manifest of a template tree, `tree.toml`: all that is particular to the tree and is no
//! template.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};
use crate::dialect::{Axis, Dialect};
use crate::image::SourceName;

/// The manifest's file name; a folder that has one is a tree.
pub const FILE_NAME: &str = "tree.toml";

/// What `tree.toml` says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The folder of the profile files, relative to the manifest.
    pub profiles: Option<String>,
    /// Defaults of options, by option name.
    #[serde(default)]
    pub defaults: BTreeMap<String, Preset>,
    /// The base distros, by name.
    #[serde(default)]
    pub bases: BTreeMap<String, Base>,
    /// Variables given to every template.
    #[serde(default)]
    pub variables: toml::Table,
    /// The service users, by name.
    #[serde(default)]
    pub users: BTreeMap<String, User>,
    /// What is to be known about install types, by name.
    #[serde(default)]
    pub install_types: BTreeMap<String, InstallType>,
    /// What images of a type that fetches sources are made of, by image, plugin or addition.
    #[serde(default)]
    pub sources: BTreeMap<SourceName, SourceEntry>,
    /// Where in the tree the site's CA certificates are put, if there are any.
    pub ca_certificates: Option<String>,
    /// Images that some bases or install types can't supply.
    #[serde(default)]
    pub unbuildable: Vec<Unbuildable>,
    /// For an image a command that shows that its program runs; for the tree's own checks.
    #[serde(default)]
    pub checks: BTreeMap<String, String>,
    /// What `kiln lint` is to leave alone.
    #[serde(default)]
    pub lint: Lint,
    /// The images that, with all that is built on them, keep the install type in their names where
    /// others are named apart.
    #[serde(skip)]
    pub named_by_type: Vec<String>,
    /// The rules of the release of kolla-build that the manifest was made for.
    #[serde(skip)]
    pub dialect: Option<Dialect>,
    /// Images that run as root, each with the reason; for the tree's own checks.
    #[serde(default)]
    pub root: BTreeMap<String, String>,
}

/// Value of an option that is not given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "toml::Spanned<PresetValue>")]
pub struct Preset {
    /// The value.
    pub value: PresetValue,
    /// Place in the manifest; `None` for the tables of a kolla-build.
    pub place: Option<Place>,
    span: Range<usize>,
}

impl Preset {
    /// Returns a preset that stands in no manifest.
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
    /// One value.
    Text(String),
    /// The values of an option that takes several.
    List(Vec<String>),
}

/// What `kiln lint` is to leave alone in a tree.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lint {
    /// Rules that do not hold for the tree, each with the reason.
    #[serde(default)]
    pub allow: BTreeMap<String, String>,
}

/// An install type.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallType {
    /// The type that its images are named and rendered as, if not itself.
    pub renders_as: Option<String>,
    /// Whether its images are built from fetched sources.
    #[serde(default)]
    pub fetches_sources: bool,
    /// Variables given to templates for this type.
    #[serde(default)]
    pub variables: toml::Table,
}

/// A source of an image, with the keys that it has in configuration files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// Its kind: url, git, local or pip.
    pub r#type: String,
    /// The URL, repository, path or requirement.
    pub location: String,
    /// The branch, tag or commit of a git source.
    pub reference: Option<String>,
    /// The SHA-256 digest of the file.
    pub sha256: Option<String>,
    /// Whether it is used.
    pub enabled: Option<bool>,
    /// The version that the location may refer to.
    #[serde(skip)]
    pub version: Option<String>,
    /// The digests by the architecture's name with Debian, where there is one for each.
    #[serde(skip)]
    pub sha256_by_arch: BTreeMap<String, String>,
    /// Folder of the manifest, which local sources of it lie in; `None` where there is none.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// A base distro.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The image to build on, without tag.
    pub image: String,
    /// Its tag.
    pub tag: String,
    /// The kind of its packages, as templates ask for it (`rpm`, `deb`).
    pub package_type: String,
    /// The program that installs them (`dnf`, `apt`).
    pub package_manager: String,
    /// The install types that it has images for.
    pub install_types: Vec<String>,
    /// Variables given to templates on this base; they win over those of the whole tree.
    #[serde(default)]
    pub variables: toml::Table,
}

/// A service user of the images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Numeric user id.
    pub uid: i64,
    /// Numeric group id.
    pub gid: i64,
    /// The group's name, where it is not the user's.
    pub group: Option<String>,
}

/// A [`User`] as templates see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserVariables {
    /// Numeric user id; none where a user was named and no id given.
    pub uid: Option<i64>,
    /// Numeric group id.
    pub gid: Option<i64>,
    /// The group's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Images that can't be built where all of the given axes match; an axis not given matches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unbuildable {
    /// The images.
    pub images: Vec<String>,
    /// Bases.
    pub base: Option<Vec<String>>,
    /// Install types.
    pub install_type: Option<Vec<String>>,
    /// Machine architectures.
    pub arch: Option<Vec<String>>,
    /// A key of kolla-build's table, words joined by `+`, in place of the axes above.
    #[serde(skip)]
    pub key: Option<String>,
    /// Why not.
    pub reason: String,
}

impl Unbuildable {
    /// Whether the entry speaks of this axis.
    pub fn applies(&self, axis: Axis<'_>, package_manager: &str, dialect: Dialect) -> bool {
        let Axis { base, install_type, arch, .. } = axis;
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
    /// Reads a manifest's text; `path` is its name in messages.
    ///
    /// # Errors
    /// When it is not TOML or not a manifest; the place is named.
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

    /// Refuses names of bases, install types and users that could be something else where they become
    /// a folder, a part of an image's name or a word of an instruction; `place` finds a name in the
    /// manifest's text.
    ///
    /// # Errors
    /// Every such name.
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

    /// Lays what an overlay's manifest says over this one: same names are replaced, others added.
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

    /// The users as templates see them.
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

/// Whether a name is made of letters, digits and `_.-` of ASCII, and begins with a letter or digit.
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
            let axis = Axis { base: "a", base_tag: "1", arch: "c", install_type: "b" };
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
