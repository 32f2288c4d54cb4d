//! HTML report of a run: one file that loads nothing else.
//!
//! This module computes the content and the layout, and embeds them as JSON; the script of the page
//! only draws. Names, Dockerfiles and logs are text of others, and none of it is ever interpreted
//! as part of the page.

mod data;
mod drawing;
mod page;
mod timeline;

pub use page::page;
