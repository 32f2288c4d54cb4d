//! Build context of an image: the rendered Dockerfile and the files beside its template.
//!
//! The context is sent as a tar archive whose bytes depend on the contents only: entries are
//! sorted, times are zero, the owner is root, and modes have only the bits that do not depend on the
//! checkout. The same tree gives the same archive on every machine, no matter who checked it out and
//! when. Empty folders are sent, and links as links. Files that a `.dockerignore` covers are not
//! sent, as with Docker's own client.
//!
//! A context may be larger than the memory. Its files are read once to measure them, and again, in
//! blocks, whenever the context is sent; only small files are kept in between.

mod content;
mod dockerignore;
mod measured;
mod pack;

pub use dockerignore::Patterns;
pub use measured::{EntryReader, MeasuredContext};
pub use pack::{Context, DOCKERFILE, target_path};
