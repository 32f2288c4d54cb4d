//! Environment variables, and the folders that they name.

use std::path::PathBuf;

/// Returns the value of an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns the configuration folder of Docker's client.
pub(super) fn client_folder(variable: Lookup<'_>) -> Option<PathBuf> {
    folder(variable, "DOCKER_CONFIG").or_else(|| Some(home(variable)?.join(".docker")))
}

/// Returns the home folder of the user.
pub(super) fn home(variable: Lookup<'_>) -> Option<PathBuf> {
    folder(variable, "HOME")
}

/// Returns the folder that a variable names, unless it is empty.
pub(super) fn folder(variable: Lookup<'_>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
