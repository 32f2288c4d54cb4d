//! Rules for the names of images.

use super::resolver::Resolver;
use crate::diagnostic::Diagnostic;
use crate::dialect::Dialect;
use crate::image::Naming;
use crate::settings::trust;
use crate::settings::types::{Axis, Templating};
use crate::tree::Manifest;

impl Resolver<'_> {
    /// Returns the rule for the names of images, and that for the manifest lists that join several
    /// platforms.
    pub(super) fn namings(&mut self, axis: &Axis) -> Option<(Naming, Option<Naming>)> {
        let namespace = self.required("namespace")?;
        if let Err(error) = trust::check_namespace(&namespace) {
            self.errors.push(error);
            return None;
        }
        let prefix = match self.given("image_name_prefix") {
            Some(given) => given.value,
            None => format!("{}-{}-", axis.base, axis.install_type),
        };
        let tag = self.text_or_derived("tag");
        let registry = self.words("registry").into_iter().next();
        let name = |tag: &str| Naming::new(registry.as_deref(), &namespace.value, &prefix, tag);
        let made = match &self.label.tag_suffix {
            None => name(&tag).map(|naming| (naming, None)),
            Some(suffix) => {
                name(&format!("{tag}-{suffix}")).and_then(|naming| Ok((naming, Some(name(&tag)?))))
            }
        };
        made.map_err(|error| {
            let parts = ["registry", "namespace", "tag"];
            let mut refused =
                Diagnostic::new(error.to_string()).help("check --registry, --namespace and --tag");
            for part in parts.iter().filter_map(|part| self.given(part)) {
                if let Some(place) = part.origin.place() {
                    refused = refused.at(place.clone());
                }
            }
            self.errors.push(refused);
        })
        .ok()
    }
}

/// Returns the rule for the names of images that are the same for every install type; `None` if
/// they follow the common rule.
pub(super) fn infra_naming(
    naming: &Naming,
    axis: &Axis,
    manifest: &Manifest,
    templating: &Templating,
) -> Option<Naming> {
    let knows = manifest.dialect.is_some_and(Dialect::has_infra_prefix);
    (knows && templating.infra_rename).then(|| naming.with_prefix(&format!("{}-infra-", axis.base)))
}
