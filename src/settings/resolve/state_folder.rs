//! Place of the state that a run keeps for later runs.

use std::path::{Path, PathBuf};

use super::resolver::Resolver;
use crate::settings::layers::Layers;

/// Name of the file with the durations of builds.
const DURATIONS: &str = "durations.json";

impl Resolver<'_> {
    /// Returns the path of the file with the durations of builds: in the folder of the option, else
    /// in the user's state folder, as defined by the XDG Base Directory Specification.
    pub(super) fn durations_file(&mut self) -> Option<PathBuf> {
        let folder = self.path("state_dir").or_else(|| folder_of_user(self.layers));
        folder.map(|folder| folder.join(DURATIONS))
    }
}

fn folder_of_user(layers: &Layers) -> Option<PathBuf> {
    let named = |variable| layers.variable(variable).map(Path::new).filter(|f| f.is_absolute());
    let of_home = || named("HOME").map(|home| home.join(".local/state"));
    let states = named("XDG_STATE_HOME").map(Path::to_owned).or_else(of_home);
    states.map(|states| states.join("kiln"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Manifest;
    use std::collections::BTreeMap;

    #[test]
    fn the_folder_is_that_asked_for_else_that_of_the_user() {
        type Environment = &'static [(&'static str, &'static str)];
        let table: &[(Environment, Option<&str>)] = &[
            (&[], None),
            (&[("HOME", "/h")], Some("/h/.local/state/kiln/durations.json")),
            (&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")], Some("/s/kiln/durations.json")),
            (
                &[("HOME", "/h"), ("XDG_STATE_HOME", "s")],
                Some("/h/.local/state/kiln/durations.json"),
            ),
            (&[("HOME", "/h"), ("KILN_STATE_DIR", "/d")], Some("/d/durations.json")),
        ];
        let manifest = Manifest::default();
        for (environment, expected) in table {
            let environment: BTreeMap<String, String> =
                environment.iter().map(|(n, value)| (n.to_string(), value.to_string())).collect();
            let layers = Layers::gather(BTreeMap::new(), &[], &environment).unwrap();
            let found = Resolver::new(&layers, &manifest).durations_file();
            assert_eq!(found, expected.map(PathBuf::from));
        }
    }
}
