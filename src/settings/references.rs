//! References in values, and options whose values are derived from others.

use super::convert::{self, words};
use super::given::Given;
use super::interpolate::interpolate;
use super::layers::Layers;
use super::option_definition::{Authority, Kind};
use super::options::OPTIONS;
use super::section_values::{OptionValue, Text, lookup};
use super::types::debian_arch;
use crate::diagnostic::{Diagnostic, nearest};
use crate::dialect::Dialect;
use crate::image::Platform;
use crate::tree::Manifest;

/// Reason why a reference can't be replaced.
enum Dangling {
    /// No option has this name.
    Unknown(String),
    /// The option of this name takes several values, which can't be a part of a text.
    Several(String),
    /// The value of the option of this name refers to itself: a cycle.
    Cycle(String),
    /// The author of the referring value may not read the option of this name.
    Confidential(String),
}

/// Options being resolved, each referred to by the one before: section, if there is one, and name.
type Trail = Vec<(Option<String>, String)>;

/// Resolver of references.
#[derive(Clone, Copy)]
pub(super) struct References<'a> {
    layers: &'a Layers,
    manifest: &'a Manifest,
}

impl<'a> References<'a> {
    pub(super) fn new(layers: &'a Layers, manifest: &'a Manifest) -> Self {
        Self { layers, manifest }
    }

    /// Returns a value of an option, with its references to others replaced.
    ///
    /// # Errors
    /// The first reference that can't be replaced.
    pub(super) fn interpolated(&self, name: &str, given: Given) -> Result<Given, Diagnostic> {
        self.interpolated_in(None, name, given)
    }

    /// Returns a value of a key in a `section`, with its references replaced. A key of the same
    /// section takes precedence over an option of the same name.
    ///
    /// # Errors
    /// The first reference that can't be replaced.
    pub(super) fn interpolated_in(
        &self,
        section: Option<&str>,
        key: &str,
        given: Given,
    ) -> Result<Given, Diagnostic> {
        let mut trail = vec![(section.map(str::to_owned), key.to_owned())];
        let text = Text::from(given.clone());
        match self.replace(section, &text, &mut trail) {
            Ok(value) => Ok(Given { value, ..given }),
            Err(dangling) => Err(refuse(&dangling, section, key, &given)),
        }
    }

    /// Returns the value of an option that is not given, if it is derived from others.
    pub(super) fn derived(&self, name: &str) -> Option<String> {
        self.follow(name, &mut vec![(None, name.to_owned())]).ok().flatten()
    }

    fn replace(
        &self,
        section: Option<&str>,
        text: &Text,
        trail: &mut Trail,
    ) -> Result<String, Dangling> {
        interpolate(&text.value, |name| self.referred_to(section, name, text.author, trail))
    }

    /// Returns the text for `$name` in a value of the `section` that was written by `author`.
    fn referred_to(
        &self,
        section: Option<&str>,
        name: &str,
        author: Authority,
        trail: &mut Trail,
    ) -> Result<String, Dangling> {
        let (section, key) = match name.split_once('.') {
            Some((section, key)) => (Some(section), key),
            None => (section.filter(|section| self.lookup(Some(section), name).is_some()), name),
        };
        let Some(found) = self.lookup(section, key) else {
            return Err(Dangling::Unknown(name.to_owned()));
        };
        if !found.kind.is_of_one_value() {
            return Err(Dangling::Several(name.to_owned()));
        }
        let is_within = |text: &Text| text.author >= author;
        if !found.is_public && !found.text.as_ref().is_none_or(is_within) {
            return Err(Dangling::Confidential(name.to_owned()));
        }
        let step = (section.map(str::to_owned), key.to_owned());
        if trail.contains(&step) {
            return Err(Dangling::Cycle(name.to_owned()));
        }
        trail.push(step);
        let text = match (found.text, section) {
            (Some(text), _) => Some(self.replace(section, &text, trail)?),
            (None, None) => self.follow(key, trail)?,
            (None, Some(_)) => None,
        };
        trail.pop();
        Ok(text.map(|text| as_written(found.kind, text)).unwrap_or_default())
    }

    fn lookup(&self, section: Option<&str>, key: &str) -> Option<OptionValue> {
        lookup(self.layers, self.manifest, section, key)
    }

    /// Returns the derived value of an option that is not given; `None` if it is not a derived
    /// option.
    fn follow(&self, name: &str, trail: &mut Trail) -> Result<Option<String>, Dangling> {
        let mut value = |name: &str| self.referred_to(None, name, Authority::User, trail);
        Ok(match name {
            "base_tag" | "base_image" => {
                let base = value("base")?;
                let base = self.manifest.bases.get(&base);
                base.map(|base| if name == "base_tag" { &base.tag } else { &base.image }.clone())
            }
            "base_arch" => {
                let platform = Platform::from_any_name(&value("platform")?).ok();
                let arch = platform.map(|platform| platform.kernel_arch().to_owned());
                Some(arch.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
            }
            "debian_arch" => Some(debian_arch(&value("base_arch")?).to_owned()),
            "openstack_branch" => Some(branch(&value("openstack_release")?)),
            "openstack_branch_slashed" => {
                Some(branch(&value("openstack_release")?).replace('-', "/"))
            }
            "tag" if self.manifest.dialect.is_some_and(Dialect::tags_by_release) => {
                let (release, base) = (value("openstack_release")?, value("base")?);
                Some(format!("{release}-{base}-{}", value("base_tag")?))
            }
            "tag" => Some(env!("CARGO_PKG_VERSION").to_owned()),
            _ => None,
        })
    }
}

/// Returns a value as Python formats it in a text. An invalid value is returned unchanged, since
/// the error is reported elsewhere. Of several words the first is returned.
fn as_written(kind: Kind, text: String) -> String {
    match kind {
        Kind::Bool => match convert::boolean(&text) {
            Some(true) => "True".to_owned(),
            Some(false) => "False".to_owned(),
            None => text,
        },
        Kind::Count(_) => convert::integer(&text).map_or(text, |number| number.to_string()),
        Kind::CommaList => words(&text).next().unwrap_or_default().to_owned(),
        _ => text,
    }
}

/// Returns the branch of the services' sources that belongs to a release.
fn branch(release: &str) -> String {
    if release == "master" { release.to_owned() } else { format!("stable-{release}") }
}

/// Returns the error for a reference that can't be replaced, in the value `given` for `key`.
fn refuse(dangling: &Dangling, section: Option<&str>, key: &str, given: &Given) -> Diagnostic {
    let whose = match section {
        Some(section) => format!("{key} in [{section}]"),
        None => key.to_owned(),
    };
    let diagnostic = given.refuse(match dangling {
        Dangling::Unknown(name) => format!("there is no option '{name}', which {whose} refers to"),
        Dangling::Several(name) => {
            format!("{whose} can't refer to '{name}', which takes several values")
        }
        Dangling::Cycle(name) => {
            format!("{whose} refers to '{name}', whose value refers to itself")
        }
        Dangling::Confidential(name) => {
            format!("{whose} refers to '{name}', which a tree or checkout can't read")
        }
    });
    let names: Vec<_> = OPTIONS.iter().map(|option| option.name).collect();
    match dangling {
        Dangling::Unknown(name) => match nearest(name, &names) {
            Some(near) => diagnostic.help(format!("did you mean '{near}'?")),
            None => diagnostic.help("write $$ for a dollar sign"),
        },
        _ => diagnostic.help("write $$ for a dollar sign"),
    }
}
