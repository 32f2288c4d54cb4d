//! Sources of the images of an axis.

use super::resolver::Resolver;
use crate::settings::references::References;
use crate::settings::sources::{self, SourceContext};
use crate::source::Source;

impl Resolver<'_> {
    /// Returns the sources of all images, with their references to options replaced.
    pub(super) fn sources(&mut self) -> Vec<Source> {
        let debian_arch = self.text_or_derived("debian_arch");
        let locals_base = self.path("locals_base").unwrap_or_default();
        let context = SourceContext {
            references: References::new(self.layers, self.manifest),
            debian_arch: &debian_arch,
            locals_base: &locals_base,
            is_base_given: self.layers.explicit("locals_base").is_some(),
        };
        sources::sources(self.layers, self.manifest, &context, &mut self.errors)
    }
}
