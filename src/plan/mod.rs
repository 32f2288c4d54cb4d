//! Decides which images are built, which are not, and why: one [`Decision`] for every image of the
//! tree.
//!
//! A plan is made before anything is built and is never changed by a run; the results of a run are
//! outcomes. The selection rules are those of kolla-build: patterns are searched in names, an image
//! that matches selects its ancestors too, an image that needs an unbuildable one is unbuildable,
//! and skipping applies to selected images.

mod decisions;
mod forecast;

#[cfg(test)]
pub(crate) use decisions::tests;
pub use decisions::{Decision, Facts, Plan, SearchedPattern, Selection, Skip, Unaffected, Wanted};
pub use forecast::Forecast;
