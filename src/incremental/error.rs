//! Reasons why facts could not be gathered.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::EngineError;

/// Reason why the existing images could not be surveyed.
#[derive(Debug)]
pub enum SurveyError {
    /// A file of the tree can't be read.
    Tree(Diagnostics),
    /// The engine or a registry has not answered as expected.
    Engine(EngineError),
}

impl From<Diagnostic> for SurveyError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Tree(diagnostic.into())
    }
}

impl From<EngineError> for SurveyError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
