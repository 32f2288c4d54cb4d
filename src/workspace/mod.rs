//! Loads the images of a request: settings, tree, rendered templates and the graph of the images,
//! for one snapshot of the disk. Neither an engine nor a registry is used.
//!
//! The caller passes a [`Request`] and a [`Host`], and gets diagnostics back: this module knows
//! nothing of a command line, and prints nothing.

mod builder_traits;
mod commit_export;
mod host;
mod load;
mod render_input;
mod rendering;
mod request;
mod resolution;
mod snapshot;
mod work_folder;

pub use builder_traits::BuilderTraits;
pub use commit_export::CommitExport;
pub use host::Host;
pub use load::{Workspace, unbuildable};
pub use rendering::{Contexts, PartialRender, render_lenient};
pub use request::{GivenOptions, Request};
pub use resolution::{Resolved, add_site_files, open_tree, resolve, warn_of_no_effect};
pub use snapshot::Snapshot;
pub use work_folder::{work_folder, write_contexts};
