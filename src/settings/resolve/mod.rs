//! Resolution of the given values to typed settings, one file for each subject.

mod axes;
mod axis;
mod build_secrets;
mod building;
mod conflicts;
mod effective_values;
mod engine_access;
mod image_names;
mod image_sources;
mod outputs;
mod resolver;
mod selecting;
mod settle;
mod state_folder;
mod task;
mod templating;
#[cfg(test)]
mod tests;

pub use effective_values::{EffectiveValue, show};
pub use settle::{check, overlays, settle};
