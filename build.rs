//! Build script: packs the template tree, the profiles and the tables of releases into one archive,
//! which `src/tree/embedded.rs` embeds.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    let archive = File::create(out.join("tree.tar")).expect("the output folder is writable");
    let mut archive = tar::Builder::new(archive);
    for folder in ["docker", "profiles", "releases"] {
        println!("cargo::rerun-if-changed={folder}");
        append_folder(&mut archive, &root, Path::new(folder));
    }
    archive.finish().expect("the archive is writable");
}

/// Appends all files below `folder`, in sorted order and without metadata that differs between
/// checkouts.
fn append_folder(archive: &mut tar::Builder<File>, root: &Path, folder: &Path) {
    let mut entries: Vec<_> = fs::read_dir(root.join(folder))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder is readable").file_name())
        .collect();
    entries.sort();
    for name in entries {
        let path = folder.join(name);
        let metadata = fs::metadata(root.join(&path)).expect("the file is readable");
        if metadata.is_dir() {
            append_folder(archive, root, &path);
            continue;
        }
        let content = fs::read(root.join(&path)).expect("the file is readable");
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive
            .append_data(&mut header, path, content.as_slice())
            .expect("the archive is writable");
    }
}
