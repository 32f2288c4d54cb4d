//! Renders the templates of a tree: one Dockerfile for every image.
//!
//! Two engines parse the templates of a tree once: one for `Dockerfile.tera`, one for
//! `Dockerfile.j2`. Each image is then rendered independently, on all processors. Both engines get
//! the same variables and functions, and the same overrides of the user.

mod bounds;
mod jinja_engine;
mod jinja_limits;
mod list_customization;
mod origin;
mod outline;
mod overrides;
mod renderer;
mod rendering_errors;
mod template_input;
mod tera_engine;
mod tera_override;
#[cfg(test)]
mod testing;
mod tree_rendering;

pub use origin::origin_line;
pub use overrides::Override;
pub use template_input::{RenderInput, Variables};
pub use tree_rendering::{Rendered, render_all, render_each, rendered_alone};
