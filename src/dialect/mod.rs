//! Differences between the releases of kolla-build in how templates are rendered and images are
//! selected: one function for each difference, decided by the exact release.
//!
//! The functions depend on the release and on plain values only. Data that a release keeps as
//! tables (bases, users, sources and so on) is not here: it is read from the release's own files.

mod debian_packages;
mod functions;
mod release_rules;
mod repos;
mod version;
pub mod yaml;

pub use functions::Functions;
pub use release_rules::{AxisNames, Dialect};
pub use repos::{NO_TABLES, Tables};
pub use version::Version;
