//! Properties of a builder that decide which images a Dockerfile refers to.

use crate::dockerfile::ReadingInput;
use crate::image::Platform;
use crate::settings::{AxisSettings, RunSettings};

/// Properties of a builder by which Dockerfiles are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderTraits {
    /// Platform of the engine, `BUILDPLATFORM`.
    pub platform: Platform,
    /// True if it builds every stage, as the classic builder does, and not only those that the last
    /// one needs.
    pub builds_all_stages: bool,
}

impl BuilderTraits {
    /// Returns the traits to expect of the builder that the settings name, as long as no engine has
    /// told its own: those of an engine on this machine's architecture.
    pub fn expected(run: &RunSettings) -> Self {
        let builds_all_stages = !run.build.buildkit && !run.engine.is_podman;
        Self { platform: Platform::of_host(), builds_all_stages }
    }

    /// Returns the input by which the Dockerfiles of an axis are read.
    pub(super) fn reading_input(&self, settings: &AxisSettings) -> ReadingInput {
        ReadingInput {
            build_args: settings.build.given_args.clone(),
            target: settings.build.platform.clone().unwrap_or_else(|| self.platform.clone()),
            build: self.platform.clone(),
        }
    }
}
