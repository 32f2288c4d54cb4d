//! Checks of the sources: the boundaries between modules, the prose, and the contents of the package.

mod layering;
mod package;
mod style;
mod uses;
