//! The packaged crate: it contains all files that its build needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns all files below a folder of the project, by their paths from the project's root.
fn files_below(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![Path::new(ROOT).join(folder)];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(ROOT).unwrap().display().to_string());
            }
        }
    }
    found
}

/// Returns the folders that the build script packs.
fn packed_folders() -> Vec<String> {
    let script = fs::read_to_string(Path::new(ROOT).join("build.rs")).unwrap();
    let list = script.split_once("for folder in [").unwrap().1.split_once(']').unwrap().0;
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

#[test]
fn package_has_the_files_that_the_build_script_packs() {
    let listed = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline", "--manifest-path"])
        .arg(Path::new(ROOT).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let folders = packed_folders();
    assert!(folders.contains(&"docker".to_owned()), "{folders:?}");
    for folder in folders {
        let missing: Vec<_> = files_below(&folder).difference(&listed).cloned().collect();
        assert!(missing.is_empty(), "{folder}: {missing:?}");
    }
    assert!(listed.contains("src/main.rs") && listed.contains("build.rs"));
}
