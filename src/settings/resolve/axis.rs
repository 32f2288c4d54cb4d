//! Base, install type and architecture of an axis.

use super::resolver::Resolver;
use crate::diagnostic::Diagnostic;
use crate::settings::types::Axis;
use crate::tree::{Base, InstallType};

impl Resolver<'_> {
    pub(super) fn axis(&mut self) -> Option<(Axis, Base, InstallType)> {
        let base = self.required("base")?;
        let Some(known) = self.manifest.bases.get(&base.value) else {
            let message = format!("the tree has no base '{}'", base.value);
            let names = self.manifest.bases.keys().map(String::as_str);
            self.errors.push(base.refuse(message).suggest(&base.value, names));
            return None;
        };
        let install_type = self.required("install_type")?;
        if !known.install_types.contains(&install_type.value) {
            let message = format!("the base '{}' has no type '{}'", base.value, install_type.value);
            let names = known.install_types.iter().map(String::as_str);
            self.errors.push(install_type.refuse(message).suggest(&install_type.value, names));
            return None;
        }
        let about = self.manifest.install_types.get(&install_type.value);
        let about = about.cloned().unwrap_or_default();
        let axis = Axis {
            base: base.value,
            install_type: about.renders_as.clone().unwrap_or(install_type.value),
            base_image: self.text("base_image").unwrap_or_else(|| known.image.clone()),
            base_tag: self.text("base_tag").unwrap_or_else(|| known.tag.clone()),
            arch: self.text_or_derived("base_arch"),
        };
        if axis.base_image.is_empty() {
            let message = format!("the base image of '{}' is unknown", axis.base);
            self.errors.push(Diagnostic::new(message).help("name it with --base-image"));
            return None;
        }
        let dialect = self.manifest.dialect;
        if let Some(reason) = dialect.and_then(|d| d.refusal(axis.names())) {
            let message =
                format!("the tree's release does not support {} {}", axis.base, axis.install_type);
            self.errors.push(Diagnostic::new(message).note(reason).help("choose --type source"));
            return None;
        }
        let mut base = known.clone();
        if let Some(dialect) = self.manifest.dialect {
            dialect.package_manager(axis.names()).clone_into(&mut base.package_manager);
        }
        if let Some(given) = self.text("distro_package_manager") {
            base.package_manager = given;
        }
        if let Some(given) = self.text("base_package_type") {
            base.package_type = given;
        }
        Some((axis, base, about))
    }
}
