//! Enforces the boundaries between the modules: which modules a module may use, which module may
//! use a library, and that the names of a template tree's images are not in the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use regex::Regex;

use crate::uses::{Crate, Module, Target};

/// Modules with those that each may use, in the order of the data flow. `cli` may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("diagnostic", &[]),
    ("files", &[]),
    ("secret", &["files"]),
    ("visible", &[]),
    ("console", &["diagnostic", "secret", "visible"]),
    ("program", &[]),
    ("git", &["files", "program", "secret"]),
    ("lock", &["files"]),
    ("image", &[]),
    ("name_pattern", &["diagnostic"]),
    ("words", &[]),
    ("event", &["image", "words"]),
    ("durations", &["image", "files"]),
    ("fingerprint", &[]),
    ("tls", &[]),
    ("retry", &[]),
    ("dialect", &[]),
    ("tree", &["diagnostic", "dialect", "files", "git", "image"]),
    (
        "source",
        &[
            "tls",
            "diagnostic",
            "files",
            "fingerprint",
            "git",
            "image",
            "program",
            "retry",
            "secret",
        ],
    ),
    ("client_config", &["diagnostic", "files", "program", "secret"]),
    (
        "settings",
        &[
            "client_config",
            "console",
            "diagnostic",
            "files",
            "secret",
            "dialect",
            "image",
            "name_pattern",
            "source",
            "tree",
        ],
    ),
    ("dockerfile", &["image", "words"]),
    ("template", &["diagnostic", "dialect", "dockerfile", "image", "tree"]),
    ("graph", &["diagnostic", "visible", "fingerprint", "image", "dockerfile"]),
    ("plan", &["event", "image", "graph"]),
    ("lint", &["diagnostic", "dockerfile", "graph", "image", "template", "tree"]),
    ("context", &["fingerprint", "image", "tree"]),
    ("registry", &["tls", "diagnostic", "files", "image", "retry", "secret", "client_config"]),
    (
        "engine",
        &[
            "client_config",
            "registry",
            "retry",
            "tls",
            "diagnostic",
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
            "registry",
            "retry",
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
            "name_pattern",
            "plan",
            "settings",
            "template",
            "tree",
        ],
    ),
    (
        "incremental",
        &[
            "context",
            "diagnostic",
            "engine",
            "event",
            "files",
            "fingerprint",
            "graph",
            "image",
            "plan",
            "registry",
            "retry",
            "runner",
            "settings",
            "source",
            "workspace",
        ],
    ),
    (
        "report",
        &[
            "visible",
            "console",
            "image",
            "words",
            "event",
            "files",
            "fingerprint",
            "dockerfile",
            "template",
        ],
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

/// Libraries with the modules that use them. The standard library, `serde` and `thiserror` are free
/// for all.
const OWNED_LIBRARIES: &[(&str, &str)] = &[
    ("annotate_snippets", "console"),
    ("anstyle", "console"),
    ("base64", "client_config registry"),
    ("bollard", "engine"),
    ("bytes", "engine registry"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("fancy_regex", "name_pattern"),
    ("fastrand", "retry"),
    ("flate2", "source"),
    ("futures_util", "engine incremental registry runner source"),
    ("hyper", "engine"),
    ("hyper_util", "engine"),
    ("indicatif", "report"),
    ("jiff", "cli registry report settings workspace"),
    ("mimalloc", "main"),
    ("minijinja", "template"),
    ("minijinja_contrib", "template"),
    ("percent_encoding", "engine"),
    ("petgraph", "graph"),
    ("quick_junit", "report"),
    ("rayon", "cli incremental lint template tree workspace"),
    ("regex", "context dialect dockerfile engine lint name_pattern registry template"),
    ("reqwest", "registry source"),
    ("ruff_python_ast", "tree"),
    ("ruff_python_parser", "tree"),
    ("ruff_text_size", "tree"),
    ("rustix", "files git program"),
    ("rustls", "tls"),
    ("rustls_native_certs", "engine"),
    ("saphyr_parser", "dialect"),
    (
        "serde_json",
        "client_config console dockerfile durations engine fingerprint fuzzing graph lint registry report template tree \
         workspace",
    ),
    ("sha2", "client_config fingerprint image source"),
    ("signal_hook", "cli"),
    ("strsim", "diagnostic"),
    ("tar", "context fuzzing source tree"),
    ("tempfile", "durations files registry"),
    ("tera", "template"),
    ("tokio", "cli engine program registry retry runner source"),
    ("tokio_rustls", "engine"),
    ("toml", "tree"),
    ("tonic", "engine"),
    ("tower_layer", "registry"),
    ("tower_service", "engine registry"),
    ("tracing", "engine registry retry"),
    ("tracing_subscriber", "cli"),
];

/// Libraries that every module may use, `schemars`, which derives schemas in tests alone, and the crate
/// itself, which `main` uses by its name.
const FREE_LIBRARIES: [&str; 5] = ["std", "serde", "thiserror", "schemars", "kiln"];

/// Modules that stand above the table: the command line may use all, and the facade for tests passes
/// on items of all.
const ABOVE: [&str; 3] = ["cli", "internals", "main"];

/// Returns the module right below the crate's root that a path leads to; `*` for all of them.
fn top(path: &[String]) -> Option<&str> {
    path.first().map(String::as_str)
}

/// Returns a line for each use of a module that the table does not allow.
fn forbidden_uses(modules: &[Module], allowed: &[(&str, &[&str])]) -> Vec<String> {
    let mut found = Vec::new();
    for module in modules {
        let Some(user) = top(&module.path).filter(|user| !ABOVE.contains(user)) else { continue };
        let listed = allowed.iter().find(|(name, _)| *name == user);
        let (_, allowed) =
            listed.unwrap_or_else(|| panic!("the module {user} is not in the table"));
        for target in module.uses() {
            let Target::Inside(path) = target else { continue };
            let Some(used) = top(&path) else { continue };
            if used != user && !allowed.contains(&used) {
                found.push(format!("{} uses {}", module.file.display(), path.join("::")));
            }
        }
    }
    found
}

#[test]
fn modules_use_only_those_that_the_table_allows() {
    assert_eq!(forbidden_uses(&Crate::read().modules, MAY_USE), [""; 0]);
}

/// Modules with those that they must never use, whatever else the table comes to allow. The list also
/// names modules that do not exist yet.
const NEVER: &[(&str, &[&str])] = &[
    ("registry", &["engine", "settings", "graph", "plan", "template", "tree"]),
    ("store", &["engine", "settings", "graph", "plan", "template", "tree"]),
    ("engine", &["settings", "graph", "plan", "template", "tree", "runner", "store"]),
    ("publish", &["graph", "plan", "template", "tree", "runner"]),
    ("prepare", &["graph", "plan", "template", "tree", "runner"]),
    ("os_layer", &["graph", "plan", "template", "tree", "runner"]),
    ("workspace", &["engine", "registry", "runner", "report"]),
    ("report", &["settings", "graph", "plan", "engine", "runner", "registry"]),
    ("event", &["graph", "plan", "runner", "engine"]),
];

#[test]
fn table_allows_none_of_the_uses_that_the_design_excludes() {
    for (module, excluded) in NEVER {
        let allowed =
            MAY_USE.iter().find(|(name, _)| name == module).map_or(&[][..], |(_, uses)| uses);
        let found: Vec<_> = allowed.iter().filter(|used| excluded.contains(used)).collect();
        assert!(found.is_empty(), "{module} may use {found:?}");
    }
}

#[test]
fn table_lists_each_module_after_those_that_it_uses() {
    let known: Vec<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for (position, (module, allowed)) in MAY_USE.iter().enumerate() {
        for other in *allowed {
            let at = known.iter().position(|name| name == other).expect("a known module");
            assert!(at < position, "{module} comes before {other}");
        }
    }
}

#[test]
fn forbidden_use_is_found_in_each_form_of_path() {
    let table: &[(&str, &[&str])] = &[("event", &[]), ("graph", &[]), ("plan", &["event"])];
    for text in [
        "use crate::graph::Graph;",
        "use crate::graph;",
        "use crate::graph::*;",
        "use crate::{event, graph};",
        "use crate::{event::{Event}, graph::{self, drawn::{Drawing as D}}};",
        "use super::super::graph::Graph;",
        "use super::super::{event, graph::Graph};",
        "use crate::graph as g; fn f() { g::draw(); }",
        "use crate as kiln; fn f() { kiln::graph::draw(); }",
        "use super::super as kiln; use kiln::graph::Graph;",
        "pub(crate) use crate::graph::Graph;",
        "fn f() { use crate::graph::Graph; }",
        "fn f() { crate::graph::draw(); }",
        "fn f() -> Vec<crate::graph::Graph> { Vec::new() }",
        "fn f(graph: &impl super::super::graph::Draw) {}",
        "fn f() { println!(\"{}\", crate::graph::draw()); }",
        "#[derive(Debug, crate::graph::Draw)] struct S;",
        "mod inner { use super::super::super::graph::Graph; }",
        "mod inner { fn f() { crate::graph::draw(); } }",
    ] {
        let modules = Module::read(&["plan", "forecast"], Path::new("plan/forecast.rs"), text);
        let found = forbidden_uses(&modules, table);
        assert!(!found.is_empty(), "not found in: {text}");
        assert!(found.iter().all(|line| line.contains("uses graph")), "{text}: {found:?}");
    }
    for text in [
        "use crate::event::Event; use super::Plan; use crate::plan::{Decision, forecast::Forecast};",
        "use graph::Graph; fn f() { let graph = 1; graph::draw(); }",
        "#[cfg(test)] mod tests { use crate::graph::Graph; }",
        "#[cfg(test)] use crate::graph::Graph;",
        "// crate::graph::Graph\nconst TEXT: &str = \"crate::graph::Graph\";",
        "pub(in crate::plan) fn f() {}",
    ] {
        let modules = Module::read(&["plan", "forecast"], Path::new("plan/forecast.rs"), text);
        assert_eq!(forbidden_uses(&modules, table), [""; 0], "{text}");
    }
}

#[test]
fn libraries_are_used_by_their_owners_alone() {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in Crate::read().modules {
        for target in module.uses() {
            if let Target::Library(library) = target {
                let user = top(&module.path).unwrap_or("lib").to_owned();
                users.entry(library).or_default().insert(user);
            }
        }
    }
    let owned = |(library, owners): &(&str, &str)| {
        ((*library).to_owned(), owners.split_whitespace().map(str::to_owned).collect())
    };
    let owned: BTreeMap<String, BTreeSet<String>> = OWNED_LIBRARIES.iter().map(owned).collect();
    users.retain(|library, _| !FREE_LIBRARIES.contains(&library.as_str()));
    let differs = |library: &&String| users.get(*library) != owned.get(*library);
    let libraries: BTreeSet<&String> = users.keys().chain(owned.keys()).collect();
    let found: Vec<_> = libraries.into_iter().filter(differs).collect();
    let told = |library: &String| format!("{library}: {:?}", users.get(library));
    assert!(
        found.is_empty(),
        "used by others than the table says: {:#?}",
        found.into_iter().map(told).collect::<Vec<_>>()
    );
}

/// Modules that may use a module that all others have to leave alone.
const FOR_ONE_USER: &[(&str, &str)] =
    &[("fuzzing", "internals"), ("internals", ""), ("cli", "main")];

#[test]
fn modules_for_one_user_are_used_by_no_other() {
    for module in Crate::read().modules {
        for target in module.uses() {
            let Target::Inside(path) = target else { continue };
            let found = FOR_ONE_USER.iter().find(|(name, _)| top(&path) == Some(*name));
            let Some((name, user)) = found else { continue };
            let is_allowed = [Some(*name), Some(*user)].contains(&top(&module.path));
            assert!(is_allowed, "{} uses {}", module.file.display(), path.join("::"));
        }
    }
}

#[test]
fn commands_use_no_other_command() {
    let sources = Crate::read();
    let command = |path: &[String]| match path {
        [cli, module, ..] if cli == "cli" => module.strip_suffix("_command").map(str::to_owned),
        _ => None,
    };
    let mut found = BTreeSet::new();
    for module in &sources.modules {
        let Some(user) = command(&module.path) else { continue };
        for target in module.uses() {
            let Target::Inside(path) = target else { continue };
            found.extend(
                command(&path).filter(|used| *used != user).map(|used| (user.clone(), used)),
            );
        }
    }
    assert_eq!(found, BTreeSet::new());
}

/// Returns the groups of modules below `folder` that use each other in a circle.
fn circles(sources: &Crate, folder: &str) -> Vec<Vec<String>> {
    let mut uses = DiGraphMap::<&str, ()>::new();
    let names: BTreeMap<_, _> =
        sources.modules.iter().map(|module| (&module.path, module.path.join("::"))).collect();
    for module in sources.modules.iter().filter(|module| top(&module.path) == Some(folder)) {
        for target in module.uses() {
            let Target::Inside(path) = target else { continue };
            let used = sources.definer(&path);
            if top(used) == Some(folder) && *used != module.path {
                uses.add_edge(&names[&module.path], &names[used], ());
            }
        }
    }
    let groups = tarjan_scc(&uses).into_iter().filter(|group| group.len() > 1);
    groups.map(|group| group.into_iter().map(str::to_owned).collect()).collect()
}

#[test]
fn circle_is_found_through_imports_of_other_modules() {
    let declared = "mod decisions; mod forecast; pub use decisions::Decision;";
    let sources = |forecast, decisions| {
        let files: [(&[&str], &str); 4] = [
            (&[], "mod plan;"),
            (&["plan"], declared),
            (&["plan", "forecast"], forecast),
            (&["plan", "decisions"], decisions),
        ];
        let read = |(path, text): (&[&str], &str)| Module::read(path, Path::new("plan"), text);
        Crate { modules: files.into_iter().flat_map(read).collect() }
    };
    let both = vec![vec!["plan::decisions".to_owned(), "plan::forecast".to_owned()]];
    for (forecast, decisions, expected) in [
        ("use super::decisions::Decision;", "use super::forecast::Forecast;", &both[..]),
        ("use super::Decision;", "use super::forecast::Forecast;", &both),
        ("fn f() { crate::plan::Decision::new(); }", "use crate::plan::forecast;", &both),
        ("use super::Decision;", "use crate::event::Event;", &[]),
        ("use super::Decision;", "#[cfg(test)] mod tests { use crate::plan::forecast; }", &[]),
    ] {
        let mut found = circles(&sources(forecast, decisions), "plan");
        found.iter_mut().for_each(|group| group.sort());
        assert_eq!(found, expected, "{forecast} {decisions}");
    }
}

#[test]
fn modules_of_a_folder_use_each_other_in_no_circle() {
    let sources = Crate::read();
    let folders: BTreeSet<&str> =
        sources.modules.iter().filter_map(|module| top(&module.path)).collect();
    let found: Vec<_> = folders.iter().flat_map(|folder| circles(&sources, folder)).collect();
    assert!(found.is_empty(), "modules use each other in a circle: {found:#?}");
}

/// Returns the source files with their module and their text without tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = root_of_sources();
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

/// Names that files of several folders have on purpose.
const COMMON_NAMES: [&str; 4] = ["mod", "tests", "testing", "snapshots"];

#[test]
fn names_of_files_and_folders_are_unique() {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root_of_sources()) {
        let path = entry.unwrap().into_path();
        if path.is_dir() || path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            *names.entry(name).or_default() += 1;
        }
    }
    names.retain(|name, count| *count > 1 && !COMMON_NAMES.contains(&name.as_str()));
    assert!(names.is_empty(), "names with the number of their files or folders: {names:?}");
}

#[test]
fn folders_of_modules_have_declarations_alone() {
    for (_, path, _) in sources() {
        assert!(
            !root_of_sources().join(&path).with_extension("").is_dir(),
            "{} stands beside a folder of its name",
            path.display()
        );
        if path.ends_with("mod.rs") {
            let text = fs::read_to_string(root_of_sources().join(&path)).unwrap();
            let parsed = syn::parse_file(&text).unwrap();
            let is_declaration =
                |item: &syn::Item| matches!(item, syn::Item::Mod(_) | syn::Item::Use(_));
            assert!(
                parsed.items.iter().all(is_declaration),
                "{} holds more than declarations",
                path.display()
            );
        }
    }
}

fn root_of_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
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

/// Words of the options that kolla-build calls `openstack_release` and the like.
const WORDS_OF_OPTIONS: &str = r"openstack[-_][a-z_]+|OpenStack release";

/// Modules that are about services of OpenStack: a store that is Glance, with its login at Keystone,
/// and the environment files that Heat reads.
const ABOUT_SERVICES: [&str; 2] = ["store/glance", "prepare"];

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
    let alternatives: Vec<&str> = words.iter().map(String::as_str).collect();
    let pattern = Regex::new(&format!(r"(?i)\b({})\b", alternatives.join("|"))).unwrap();
    let options = Regex::new(WORDS_OF_OPTIONS).unwrap();
    for (_, path, code) in sources() {
        if ABOUT_SERVICES.iter().any(|exempt| path.with_extension("").starts_with(exempt)) {
            continue;
        }
        let code = options.replace_all(&code, "");
        if let Some(word) = pattern.find(&code) {
            panic!("{} names {}", path.display(), word.as_str());
        }
    }
}
