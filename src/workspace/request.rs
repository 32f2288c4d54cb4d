//! A request for images: the options given by the caller, and the files and variables to read more
//! of them from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::snapshot::Snapshot;
use crate::diagnostic::{Diagnostic, Result};
use crate::settings::option_definition::CommandName;
use crate::settings::options::fixed_values;

/// Extension of the files that are read from a folder of configuration files.
const CONFIG_SUFFIX: &str = "conf";

/// Values of the options given, by option name.
pub type GivenOptions = BTreeMap<&'static str, Vec<String>>;

/// Options, before they are resolved.
#[derive(Debug, Clone)]
pub struct Request {
    /// Values of the options given.
    pub given: GivenOptions,
    /// Configuration files given.
    pub config_files: Vec<PathBuf>,
    /// Folders of configuration files given.
    pub config_folders: Vec<PathBuf>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Local time of the run, unless the environment sets another.
    pub now: Zoned,
}

impl Request {
    /// Returns the request with the values that a command uses whatever is given.
    #[must_use]
    pub fn with_fixed_values(mut self, command: CommandName) -> Self {
        for (name, value) in fixed_values(command) {
            self.given.insert(name, vec![value.to_owned()]);
        }
        self
    }

    /// Returns the configuration files given, and then those in the folders given.
    ///
    /// # Errors
    /// When a folder can't be read, or contains a configuration file that is no regular file.
    pub fn all_config_files(&self, snapshot: &Snapshot) -> Result<Vec<PathBuf>> {
        let mut files = snapshot.paths(&self.config_files);
        for folder in snapshot.paths(&self.config_folders) {
            files.extend(config_files_in(&folder)?);
        }
        Ok(files)
    }
}

fn config_files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let shown = folder.display();
        Diagnostic::new(format!("the configuration folder '{shown}' can't be read: {error}"))
    })?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == CONFIG_SUFFIX)).collect();
    found.sort();
    if let Some(other) = found.iter().find(|path| !path.is_file()) {
        let shown = other.display();
        return Err(Diagnostic::new(format!("'{shown}' is not a regular file"))
            .help("name it by --config-file, or take it out of the folder")
            .into());
    }
    Ok(found)
}
