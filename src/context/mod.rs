//! Build context of an image: the rendered Dockerfile and the files beside its template.
//!
//! The context is packed as a tar archive whose bytes depend on the contents only: entries are
//! sorted, times are zero, the owner is root, and modes are reduced to the executable bit. The same
//! tree gives the same archive on every machine, no matter who checked it out and when. Files that
//! a `.dockerignore` covers are not sent, as with Docker's own client.

mod dockerignore;
mod pack;

pub use dockerignore::Patterns;
pub use pack::{Context, DOCKERFILE};
