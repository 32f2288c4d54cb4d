//! Locks that keep runs apart that make images of the same names.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::terminal;
use crate::fingerprint::digest;
use crate::lock::Lock;
use crate::settings::Settings;

/// Subfolder of the state folder that holds the locks.
const LOCKS: &str = "locks";

/// Locks the image names of this run in its engine and, if it pushes, in registries, against other
/// runs. If locking fails, warns and continues.
pub fn lock_image_names(settings: &Settings) -> Vec<Lock> {
    let run = &settings.run;
    let Some(folder) = run.state.durations_file.as_deref().and_then(Path::parent) else {
        terminal::warn(
            "warning: this run can't lock its images against other runs: there is no folder for locks, since HOME is not \
             set; name one with --state-dir",
        );
        return Vec::new();
    };
    let endpoint = run.engine.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
    let names = settings.axes.iter().map(|axis| axis.naming.pattern());
    let wanted: BTreeSet<(String, String)> = names
        .flat_map(|names| {
            let in_engine = (format!("{endpoint} {names}"), names.clone());
            let in_registry = (names.clone(), names);
            [Some(in_engine), run.push.is_wanted().then_some(in_registry)]
        })
        .flatten()
        .collect();
    // All runs lock in the same order, so that they can't deadlock.
    let locks = wanted.into_iter().map(|(key, names)| {
        let file = folder.join(LOCKS).join(digest(key.as_bytes()));
        Lock::take(&file, &format!("the images {names}"), &terminal::warn)
    });
    let locks = locks.collect::<io::Result<Vec<Lock>>>();
    locks.unwrap_or_else(|error| {
        let shown = folder.display();
        terminal::warn(&format!(
            "warning: this run can't lock its images against other runs: {shown}: {error}"
        ));
        Vec::new()
    })
}
