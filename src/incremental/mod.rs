//! Facts for a plan: the images that exist already, and those that changed since a commit.

mod error;
pub mod survey;

pub use error::SurveyError;
