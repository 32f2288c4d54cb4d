//! Folders of limited size.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Run;

/// Folder of a limited size in memory, which is removed when it is dropped.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    pub fn new(path: &Path, megabytes: usize) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(path);
        Run::of(mount).expect(0);
        Self(path.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn grow(&self, megabytes: usize) {
        let size = format!("remount,size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-o", &size]).arg(&self.0);
        Run::of(mount).expect(0);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
