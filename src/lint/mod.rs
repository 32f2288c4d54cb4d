//! Checks a tree of templates for errors, for files that are not used, and for text that causes
//! problems to builders, package managers or readers.
//!
//! The check is a pure function from the tree's files and their rendered Dockerfiles, on every
//! requested axis, to findings. Only the syntax of shell commands is checked by a shell, which the
//! caller runs. A rule exists only if its findings are almost never intended; where one is, the
//! template says so (`kiln-lint: allow RULE`). `docs/lint-rules.md` lists the rules.

mod allow;
mod check;
mod commands;
mod context_sources;
mod findings;
mod frontend;
mod packages;
mod rendered;
mod rule;
mod shells;
mod subject;
mod template_text;
mod unused_files;

pub use check::check;
pub use findings::Finding;
pub use frontend::{Builder, Version};
pub use rule::Rule;
pub use shells::{Shell, ShellCommand};
pub use subject::{Failure, File, RenderedAxis, Subject};
