//! Template tree as input: its files, its image folders, its manifest.
//!
//! A tree is read once into a sorted list of files. Files on disk, files of an overlay and files
//! embedded in the program are then used alike. An image is a folder that holds a template in one
//! of the [`Language`]s; the other files below that folder are its build context.
//!
//! A tree either has a manifest, or belongs to a release of kolla-build; then its manifest is
//! generated from the tables in the Python files beside it.

mod bounded_text;
mod depth;
mod embedded;
mod facts;
mod file_mode;
mod image_folder;
mod language;
mod manifest;
mod profile_file;
mod python;
mod release;
mod shipped;
mod shown_files;
mod template_tree;
#[cfg(test)]
mod testing;
mod tree_entry;
mod tree_path;
mod walk;

pub use embedded::export;
pub use file_mode::FILE_MODE;
pub use image_folder::ImageFolder;
pub use language::Language;
pub use manifest::{Base, InstallType, Manifest, PresetValue, SourceEntry, UserVariables};
pub use profile_file::ProfileFile;
pub use release::{repositories, tables};
pub use shown_files::ShownFiles;
pub use template_tree::Tree;
pub use tree_entry::{ContextEntry, Files, TreeFile, TreeFolder};
pub use tree_path::{above, leads_down};
