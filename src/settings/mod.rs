//! Resolution of all settings, before anything else is done.
//!
//! [`Layers`] collects the given values; [`settle`] turns them, the manifest of the tree and the
//! date into one immutable [`Settings`], in which every value is typed and checked. No later code
//! reads the environment, a configuration file or a default. Settings read files, and neither the
//! clock, the network nor an engine.

mod convert;
mod example;
mod given;
pub mod ini;
mod interpolate;
mod layers;
pub mod option_definition;
pub mod options;
mod profiles;
mod references;
mod resolve;
mod section_values;
mod sections;
mod sources;
mod trust;
mod types;
mod users;

pub use example::example;
pub use given::Given;
pub use layers::Layers;
pub use profiles::Profiles;
pub use resolve::{EffectiveValue, check, overlays, settle, show};
pub use trust::{check_found_file, check_manifest, checkout_of};
pub use types::{
    AxisSettings, BuildSettings, GraphFormat, OutputSettings, PlanFormat, RunSettings,
    SecretSource, SecretSources, Settings, Target, Task,
};
