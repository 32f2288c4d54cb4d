//! Values and origins of all options, for people.

use super::resolver::Resolver;
use crate::secret::is_secret_name;
use crate::settings::convert::{boolean, integer};
use crate::settings::given::{Given, Origin};
use crate::settings::layers::{Layers, of_tree};
use crate::settings::option_definition::{Kind, Opt, OptionDefault};
use crate::settings::options::OPTIONS;
use crate::settings::types::{AxisSettings, Settings};
use crate::tree::Manifest;

/// Text in place of a value whose name looks like that of a secret.
const HIDDEN: &str = "***";

/// Resolved value of an option.
#[derive(Debug, Clone)]
pub struct EffectiveValue {
    /// Option that has the value.
    pub option: &'static Opt,
    /// Value in normalized form, with its references to other options replaced; empty for none.
    pub value: String,
    /// Origin of the value.
    pub origin: Origin,
}

/// Returns the values of all options, in the order of the table; derived values are those of the
/// first axis. An option whose values add up has
/// an entry for each of them, and one that takes pairs has an entry for each pair.
pub fn show(layers: &Layers, manifest: &Manifest, settings: &Settings) -> Vec<EffectiveValue> {
    let mut resolver = Resolver::new(layers, manifest);
    OPTIONS.iter().flat_map(|option| resolver.shown(option, settings.axes.first())).collect()
}

impl Resolver<'_> {
    fn shown(&mut self, option: &'static Opt, axis: Option<&AxisSettings>) -> Vec<EffectiveValue> {
        let given: Vec<Given> = match option.kind {
            Kind::Repeated | Kind::Paths | Kind::Positional => self.all(option.name),
            Kind::List => vec![self.shown_list(option.name)],
            Kind::Dict => self.shown_pairs(option.name),
            _ => self.given(option.name).into_iter().collect(),
        };
        let shown = given.into_iter().map(|given| EffectiveValue {
            option,
            value: normalized(option.kind, given.value),
            origin: given.origin,
        });
        let mut shown: Vec<EffectiveValue> = shown.collect();
        if shown.iter().all(|shown| shown.value.is_empty()) {
            let nothing = match (option.default, shown.pop()) {
                (OptionDefault::Value(_) | OptionDefault::FromTree, Some(shown)) => shown.origin,
                (_, Some(shown)) if !matches!(shown.origin, Origin::Manifest(_)) => shown.origin,
                // An empty text of the tree is the same as no value.
                _ => Origin::Default,
            };
            let derived = axis.and_then(|axis| derived(option.name, axis));
            let (value, origin) = derived.unwrap_or((String::new(), nothing));
            shown = vec![EffectiveValue { option, value, origin }];
        }
        shown
    }

    fn shown_pairs(&mut self, name: &str) -> Vec<Given> {
        let Some(origin) = self.layers.explicit(name).map(|given| given.origin) else {
            return Vec::new();
        };
        let pairs = self.dictionary(name).into_iter();
        let given = pairs.map(|(name, value)| {
            let value = if is_secret_name(&name) { HIDDEN } else { &value };
            Given { value: format!("{name}:{value}"), origin: origin.clone() }
        });
        given.collect()
    }

    fn shown_list(&mut self, name: &str) -> Given {
        let origin = match self.layers.explicit(name) {
            Some(given) => given.origin,
            None => of_tree(name, self.manifest).map_or(Origin::Default, |(_, origin)| origin),
        };
        Given { value: self.list(name).join(","), origin }
    }
}

/// Returns the normalized form of a value: the same for all spellings with the same meaning.
fn normalized(kind: Kind, value: String) -> String {
    match kind {
        Kind::Bool => boolean(&value).map_or(value, |truth| truth.to_string()),
        Kind::Count(_) => integer(&value).map_or(value, |number| number.to_string()),
        _ => value,
    }
}

/// Returns the value of an option that is not given, if it is derived from others.
fn derived(name: &str, settings: &AxisSettings) -> Option<(String, Origin)> {
    let AxisSettings { axis, base, naming, templating, .. } = settings;
    let has_release = !templating.release.is_empty();
    let (value, origin) = match name {
        "base_image" => (axis.base_image.as_str(), Origin::Manifest(None)),
        "base_tag" => (axis.base_tag.as_str(), Origin::Manifest(None)),
        "base_package_type" => (base.package_type.as_str(), Origin::Manifest(None)),
        "distro_package_manager" => (base.package_manager.as_str(), Origin::Manifest(None)),
        "base_arch" => (axis.arch.as_str(), Origin::Default),
        "debian_arch" => (axis.debian_arch(), Origin::Default),
        "tag" => (naming.tag(), Origin::Default),
        "image_name_prefix" => (naming.prefix(), Origin::Default),
        "openstack_branch" if has_release => (templating.branch.as_str(), Origin::Default),
        "openstack_branch_slashed" if has_release => {
            (templating.branch_slashed.as_str(), Origin::Default)
        }
        _ => return None,
    };
    (!value.is_empty()).then(|| (value.to_owned(), origin))
}
