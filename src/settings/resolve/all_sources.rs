//! Sources of the images of an axis.

use super::resolver::Resolver;
use crate::settings::references::References;
use crate::settings::sources::{self, SourceContext};
use crate::source::Source;

impl Resolver<'_> {
    /// Returns the sources of all images, with their references to options replaced.
    pub(super) fn sources(&mut self) -> Vec<Source> {
        let debian_arch = self.text_or_derived("debian_arch");
        let context = SourceContext {
            references: References::new(self.layers, self.manifest),
            debian_arch: &debian_arch,
        };
        sources::sources(self.layers, self.manifest, &context, &mut self.errors)
    }
}
