//! The one place where git is run.
//!
//! Git obeys its configuration, and many settings run programs: hooks, file system monitors,
//! filters, helpers for transport and credentials. Git is used in two ways, each with a type of its
//! own:
//!
//! - [`Repository`] is data from somebody else, such as the checkout that contains a tree. Git
//!   never reads its configuration: its git directory is replaced by a folder of Kiln's own, which
//!   gives access to the repository's objects, references and index only. Nothing is fetched.
//! - [`Remote`] is a server from which a source is fetched for the user, with the user's
//!   configuration. The server controls nothing but the content of files.
//!
//! Neither sees variables of a repository in whose context the caller may run (`GIT_DIR` and
//! others).

mod export;
mod git_command;
mod remote;
mod repository;

pub use export::usable_path;
pub use git_command::keep_apart;
pub use remote::{Remote, RemoteError};
pub use repository::{Refusal, Repository};
