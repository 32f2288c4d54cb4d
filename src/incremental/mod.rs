//! Facts for a plan: the images that exist already, and those that changed since a commit.

mod build_inputs;
mod error;
mod gather;
mod since;
pub mod survey;

pub use build_inputs::{build_inputs, pace};
pub use error::SurveyError;
pub use gather::{Found, Subject};
pub use since::{Before, Changes, Differences, changes_since};
