//! Resolution of the given values to typed settings, one file for each subject.

mod all_sources;
mod axes;
mod axis;
mod build_secrets;
mod building;
mod conflicts;
mod effective_values;
mod engine_access;
mod image_names;
mod outputs;
mod requested_task;
mod resolver;
mod selecting;
mod settle;
mod state_folder;
mod templating;
#[cfg(test)]
mod tests;

pub use effective_values::{EffectiveValue, show};
pub use settle::{check, overlays, settle};
