//! Paths within a tree: relative to its root, with `/` as separator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// Returns the folders that contain a path, from the uppermost.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// Returns true if a relative path has no part `..` and so stays below its base folder.
pub fn leads_down(path: &str) -> bool {
    use std::path::Component::{CurDir, Normal};
    Path::new(path).components().all(|part| matches!(part, Normal(_) | CurDir))
}

/// Returns true if a path is below one of the `links`.
pub(super) fn is_below_one_of(links: &BTreeSet<String>, path: &str) -> bool {
    !links.is_empty() && above(path).any(|above| links.contains(above))
}

/// Returns true if a link at `path` within a folder has an absolute target, or one that does not
/// leave the folder.
pub(super) fn stays_or_is_absolute(path: &str, target: &str) -> bool {
    let mut depth = Some(above(path).count());
    for part in Path::new(target).components() {
        depth = match part {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::CurDir => depth,
            Component::ParentDir => depth.and_then(|depth| depth.checked_sub(1)),
            Component::Normal(_) => depth.map(|depth| depth + 1),
        };
    }
    depth.is_some()
}

/// Removes what is at `path` and below it.
pub(super) fn remove_below<T>(entries: &mut BTreeMap<String, T>, path: &str) {
    let start = format!("{path}/");
    let below = entries.range(start.clone()..).map(|(path, _)| path);
    let below: Vec<String> = below.take_while(|path| path.starts_with(&start)).cloned().collect();
    for path in below.iter().map(String::as_str).chain([path]) {
        entries.remove(path);
    }
}
