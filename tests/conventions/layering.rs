//! Enforces the boundaries between the modules: which modules a module may use, which module may
//! use a library, and that the names of a template tree's images are not in the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Modules with those that each may use, in the order of the data flow. `cli` may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("diagnostic", &[]),
    ("files", &[]),
    ("secret", &["files"]),
    ("visible", &[]),
    ("console", &["diagnostic", "secret", "visible"]),
    ("endpoint", &[]),
    ("program", &[]),
    ("git", &["files", "program", "secret"]),
    ("lock", &["files"]),
    ("image", &[]),
    ("event", &["image"]),
    ("durations", &["image", "files"]),
    ("fingerprint", &[]),
    ("tls", &[]),
    ("dialect", &[]),
    ("tree", &["diagnostic", "dialect", "files", "git", "image"]),
    ("source", &["tls", "diagnostic", "files", "fingerprint", "git", "image", "program", "secret"]),
    (
        "settings",
        &["diagnostic", "endpoint", "files", "secret", "dialect", "image", "source", "tree"],
    ),
    ("dockerfile", &["image"]),
    ("template", &["diagnostic", "dialect", "dockerfile", "image", "tree"]),
    ("graph", &["diagnostic", "visible", "fingerprint", "image", "dockerfile"]),
    ("plan", &["event", "image", "graph"]),
    ("lint", &["diagnostic", "dockerfile", "graph", "image", "template", "tree"]),
    ("context", &["fingerprint", "image", "tree"]),
    ("client_config", &["files", "program", "secret"]),
    ("registry", &["tls", "diagnostic", "image", "secret", "client_config"]),
    (
        "engine",
        &[
            "client_config",
            "registry",
            "tls",
            "diagnostic",
            "endpoint",
            "files",
            "program",
            "secret",
            "fingerprint",
            "context",
            "image",
        ],
    ),
    (
        "runner",
        &[
            "image",
            "event",
            "files",
            "fingerprint",
            "graph",
            "plan",
            "context",
            "engine",
            "source",
            "tree",
        ],
    ),
    (
        "workspace",
        &[
            "context",
            "diagnostic",
            "dialect",
            "dockerfile",
            "files",
            "git",
            "graph",
            "image",
            "lock",
            "plan",
            "settings",
            "template",
            "tree",
        ],
    ),
    (
        "incremental",
        &[
            "diagnostic",
            "engine",
            "files",
            "fingerprint",
            "graph",
            "image",
            "plan",
            "runner",
            "settings",
            "source",
        ],
    ),
    (
        "report",
        &["visible", "console", "image", "event", "files", "fingerprint", "dockerfile", "template"],
    ),
    (
        "fuzzing",
        &[
            "diagnostic",
            "visible",
            "console",
            "dialect",
            "dockerfile",
            "git",
            "image",
            "registry",
            "settings",
            "source",
            "template",
            "tree",
        ],
    ),
];

/// Libraries that only the named modules may use.
const OWNED_LIBRARIES: &[(&str, &str)] = &[
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("annotate_snippets", "console"),
    ("bollard", "engine"),
    ("hyper", "engine"),
    ("hyper_util", "engine"),
    ("tonic", "engine"),
    ("percent_encoding", "engine"),
    ("tower_service", "engine"),
    ("tokio_rustls", "engine"),
    ("rustls_native_certs", "engine"),
    ("reqwest", "source registry"),
    ("flate2", "source"),
    ("base64", "client_config registry"),
    ("tera", "template"),
    ("minijinja", "template"),
    ("saphyr_parser", "dialect"),
    ("ruff_python_parser", "tree"),
    ("jiff", "cli workspace settings report registry"),
    ("petgraph", "graph"),
    ("walkdir", "tree"),
    ("indicatif", "report"),
    ("anstyle", "console"),
    ("quick_junit", "report"),
    ("toml", "tree template"),
    ("rustix", "files program git"),
];

/// Returns the source files with their module and their text without tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let relative = path.strip_prefix(&root).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]\n").next().unwrap().to_owned();
                found.push((module, relative.to_owned(), code));
            }
        }
    }
    assert!(found.len() > 15, "the sources were not found");
    found
}

#[test]
fn modules_use_only_what_the_map_allows() {
    let used = Regex::new(r"crate::\{?([a-z_]+)").unwrap();
    for (module, path, code) in sources() {
        if ["cli", "internals", "lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("the module {module} is not on the map"));
        for found in used.captures_iter(&code) {
            let other = &found[1];
            assert!(
                other == module || allowed.contains(&other),
                "{} uses {other}, which {module} may not",
                path.display()
            );
        }
    }
}

#[test]
fn the_map_has_no_way_back() {
    let known: Vec<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for (position, (module, allowed)) in MAY_USE.iter().enumerate() {
        for other in *allowed {
            let at = known.iter().position(|name| name == other).expect("a known module");
            // Modules are listed after those that they use.
            assert!(at < position, "{module} comes before {other}");
        }
    }
}

#[test]
fn libraries_are_seen_by_their_owners_alone() {
    for (library, owners) in OWNED_LIBRARIES {
        let used = Regex::new(&format!(r"\b{library}::")).unwrap();
        for (module, path, code) in sources() {
            let code: String = code
                .lines()
                .filter(|l| !l.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            // A path within the crate is not a library.
            let code = code
                .replace(&format!("crate::{library}::"), "")
                .replace(&format!("super::{library}::"), "");
            let owned = owners.split(' ').any(|owner| owner == module);
            assert!(owned || !used.is_match(&code), "{} uses {library}", path.display());
        }
    }
}

/// Code that writes to standard output or error. The progress bars' library draws them itself, with
/// visible text only.
const WRITING: &str = r"\b(e?print(ln)?|dbg)!|\b(stdout|stderr)\(\)|\.print\(\)";
const BARS: (&str, &str) = ("report/progress.rs", "ProgressDrawTarget::stderr()");

#[test]
fn the_console_alone_writes_to_standard_output_and_error() {
    let writes = Regex::new(WRITING).unwrap();
    let (of_bars, target) = BARS;
    let mut writers = BTreeSet::new();
    for (module, path, code) in sources() {
        let code = if path == Path::new(of_bars) { code.replacen(target, "", 1) } else { code };
        if writes.is_match(&code) {
            writers.insert(module);
        }
    }
    assert_eq!(writers, BTreeSet::from(["console".to_owned()]));
}

#[test]
fn git_is_run_in_one_place() {
    let run = Regex::new(r#"(?:Command::new|\bcommand)\(\s*"([^"]*/)?git"\s*\)"#).unwrap();
    let places: Vec<_> = sources()
        .into_iter()
        .filter(|(_, _, code)| run.is_match(code))
        .map(|(_, path, _)| path)
        .collect();
    assert_eq!(places, [Path::new("git/git_command.rs")]);
}

/// Image names that are plain words, which the program may use.
const COMMON_WORDS: &[&str] = &["base", "kolla"];

#[test]
fn nothing_particular_to_the_tree_is_in_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut words: BTreeSet<String> = BTreeSet::from(["openstack".to_owned()]);
    let mut open = vec![root.join("docker")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path.clone());
            }
            if path.join("Dockerfile.tera").is_file() {
                let name = path.file_name().unwrap().to_str().unwrap();
                words.extend(name.split('-').next().map(str::to_owned));
                words.insert(name.to_owned());
            }
        }
    }
    words.retain(|word| !COMMON_WORDS.contains(&word.as_str()));
    assert!(words.len() > 10, "the tree was not found");
    for word in words {
        let pattern = Regex::new(&format!(r"(?i)\b{word}\b")).unwrap();
        for (_, path, code) in sources() {
            let code = code.replace("openstack-", "openstack_");
            assert!(!pattern.is_match(&code), "{} names {word}", path.display());
        }
    }
}
