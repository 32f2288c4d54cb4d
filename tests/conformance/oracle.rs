//! The real kolla-build: releases of it, installed from PyPI, and what each case comes to, which is
//! kept below target/conformance until the case changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::compare::Entry;
use crate::isolation::isolate;
use crate::kolla::install;
use crate::matrix::Case;

/// Goes up when oracle.py or the pinned requirements change in a way that shows in results.
const FORMAT: u32 = 1;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");

/// Returns the folder of the releases and their data; scripts/kolla-releases uses the same.
pub fn directory() -> PathBuf {
    std::env::var_os("KILN_CONFORMANCE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance"),
        PathBuf::from,
    )
}

/// Output and files of a program that ended.
pub struct Left {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The dates on which it began and ended.
    pub dates: BTreeSet<String>,
    /// Entries below docker/ in its working directory.
    pub entries: BTreeMap<String, Entry>,
}

/// An installed release.
pub struct Release {
    version: String,
    pub prefix: PathBuf,
}

impl Release {
    /// Installs a release, unless it is there.
    pub fn install(version: &str) -> Self {
        Self { version: version.to_owned(), prefix: install(version) }
    }

    /// Returns the result of kolla-build for each case, and the folder of the case.
    pub fn run(&self, cases: &[Case]) -> Vec<(Left, PathBuf)> {
        let planned: Vec<Planned> = cases.iter().map(|case| self.plan(case)).collect();
        let missing: Vec<&Planned> = planned.iter().filter(|case| !case.result.exists()).collect();
        self.ask(&missing, false);
        planned.into_iter().map(|planned| (read(&planned.result), planned.folder)).collect()
    }

    /// Returns the results of kolla-build for cases, started anew for each as from a shell.
    pub fn run_plainly(&self, cases: &[Case]) -> Vec<Left> {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let mut planned: Vec<Planned> = cases.iter().map(|case| self.plan(case)).collect();
        for case in &mut planned {
            case.result = scratch.path().join(case.result.file_name().expect("it has a name"));
        }
        self.ask(&planned.iter().collect::<Vec<_>>(), true);
        planned.iter().map(|planned| read(&planned.result)).collect()
    }

    /// Returns the folder in which a case runs, and the file of its result.
    fn plan<'a>(&self, case: &'a Case) -> Planned<'a> {
        let mut files = BTreeMap::new();
        read_folder(&Path::new(HERE).join("configurations").join(&case.folder), "", &mut files)
            .unwrap_or_else(|e| panic!("{}: {e}", case.folder));
        if case.own_repos {
            files.insert("repos.yaml".to_owned(), Entry::File(self.changed_repos().into_bytes()));
        }
        let folder = provide(&files);
        let content = folder.file_name().expect("it has a name").to_string_lossy().into_owned();
        let said = json!([FORMAT, self.version, case.arguments, case.environment, content]);
        let key = &hex(&Sha256::digest(said.to_string().as_bytes()))[..12];
        let name = format!("oracle/{}/{}-{key}.tar.gz", self.version, case.name);
        Planned { case, folder, result: directory().join(name) }
    }

    /// The release's own repos.yaml with other hosts, and with other names for dnf.
    fn changed_repos(&self) -> String {
        let library = self.prefix.join("lib");
        let python = fs::read_dir(&library).expect("a library").next().expect("a Python").unwrap();
        let path = python.path().join("site-packages/kolla/template/repos.yaml");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let host = Regex::new("https?://").expect("a literal");
        let name = Regex::new(r#"(?m)^( +[\w-]+: )"([\w.-]+)"$"#).expect("a literal");
        let text = host.replace_all(&text, "http://mirror.example/");
        name.replace_all(&text, "$1\"site-$2\"").into_owned()
    }

    /// Has oracle.py run some cases.
    fn ask(&self, cases: &[&Planned], plain: bool) {
        if cases.is_empty() {
            return;
        }
        let case = |planned: &&Planned| {
            json!({
                "arguments": planned.case.arguments,
                "environment": planned.case.environment,
                "folder": planned.folder,
                "result": planned.result,
            })
        };
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cases: Vec<_> = cases.iter().map(case).collect();
        let job = tempfile::NamedTempFile::new().expect("a temporary file");
        serde_json::to_writer(&job, &json!({"workers": workers, "plain": plain, "cases": cases}))
            .expect("a written job");
        let mut command = Command::new(self.prefix.join("bin/python"));
        command.arg(Path::new(HERE).join("oracle.py")).arg(job.path());
        isolate(&mut command);
        let output = command.output().expect("Python starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the oracle for {} failed:\n{stderr}", self.version);
    }
}

struct Planned<'a> {
    case: &'a Case,
    folder: PathBuf,
    result: PathBuf,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything below a folder, by path.
pub fn read_folder(
    folder: &Path,
    prefix: &str,
    found: &mut BTreeMap<String, Entry>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), found)?;
            found.insert(path, Entry::Folder);
        } else if kind.is_file() {
            found.insert(path, Entry::File(fs::read(entry.path())?));
        } else {
            found.insert(path, Entry::Other);
        }
    }
    Ok(())
}

/// A folder with these files, named after them: the same for every case that has the same.
fn provide(files: &BTreeMap<String, Entry>) -> PathBuf {
    let mut hash = Sha256::new();
    for (path, entry) in files {
        hash.update(format!("{path}\0"));
        if let Entry::File(bytes) = entry {
            hash.update(bytes.len().to_string());
            hash.update(bytes);
        }
    }
    let all = directory().join("folders");
    let folder = all.join(&hex(&hash.finalize())[..12]);
    if folder.exists() {
        return folder;
    }
    fs::create_dir_all(&all).expect("a folder");
    let part = tempfile::tempdir_in(&all).expect("a folder");
    for (path, entry) in files {
        if let Entry::File(bytes) = entry {
            let path = part.path().join(path);
            fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
    }
    let part = part.keep();
    if fs::rename(&part, &folder).is_err() {
        // Another process was quicker.
        assert!(folder.exists(), "{} cannot be made", folder.display());
        fs::remove_dir_all(&part).expect("our own folder");
    }
    folder
}

/// Reads a result of oracle.py.
fn read(path: &Path) -> Left {
    let archive = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let mut entries = BTreeMap::new();
    let mut run = None;
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").to_string_lossy().into_owned();
        let kind = entry.header().entry_type();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its content");
        if name == "run.json" {
            run = Some(serde_json::from_slice::<Run>(&bytes).expect("a run"));
        } else if let Some(name) = name.strip_prefix("docker/").filter(|name| !name.is_empty()) {
            let entry = match kind {
                tar::EntryType::Regular => Entry::File(bytes),
                tar::EntryType::Directory => Entry::Folder,
                _ => Entry::Other,
            };
            entries.insert(name.trim_end_matches('/').to_owned(), entry);
        }
    }
    let run = run.unwrap_or_else(|| panic!("{}: no run.json", path.display()));
    Left {
        code: run.code,
        stdout: run.stdout,
        stderr: run.stderr,
        dates: run.dates.into_iter().collect(),
        entries,
    }
}

#[derive(Deserialize)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
    dates: Vec<String>,
}
