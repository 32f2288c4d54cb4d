//! Releases of the real kolla-build, installed from PyPI.

use std::path::PathBuf;
use std::process::Command;

/// Installs a release, unless it is installed, and returns its virtual environment.
pub fn install(version: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kolla-releases");
    let output = Command::new(script).arg(version).output().expect("the script starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "kolla {version} from PyPI is needed:\n{stderr}");
    PathBuf::from(stdout.trim_end())
}
