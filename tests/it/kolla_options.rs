//! Compares the options of the real kolla-build with Kiln's. The oldest and the newest release from
//! PyPI report their options and the values that they derive from samples, and Kiln has to derive
//! the same, except for the differences in `kolla_options/differences.toml`. docs/kolla-options.md
//! is generated here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Run, kiln, kolla};
use jiff::Zoned;
use kiln::internals::settings::{Effect, Kind, OPTIONS, Opt, OptionDefault};
use kiln::internals::settings::{Layers, Profiles, overlays, settle};
use kiln::internals::tree::Tree;
use rayon::prelude::*;
use serde::Deserialize;
use similar::{ChangeTag, TextDiff};

const RELEASES: [&str; 2] = ["9.4.0", "23.0.0"];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Option of kolla-build, as `oracle.py` reports it.
#[derive(Debug, Deserialize)]
struct Asked {
    name: String,
    dest: String,
    short: Option<char>,
    kind: String,
    positional: bool,
    least: Option<i64>,
    choices: Vec<String>,
    default: Vec<String>,
    given: Vec<Sample>,
    doubtful: Vec<Doubtful>,
}

/// Values for an option, and kolla-build's results for them.
#[derive(Debug, Deserialize)]
struct Sample {
    values: Vec<String>,
    lines: Vec<String>,
    in_file: Vec<String>,
    arguments: Option<Vec<String>>,
    on_command_line: Option<Vec<String>>,
}

/// Value that kolla-build may refuse.
#[derive(Debug, Deserialize)]
struct Doubtful {
    value: String,
    accepted: bool,
}

/// Release with its options, and a folder to work in.
struct Release {
    version: &'static str,
    prefix: PathBuf,
    options: Vec<Asked>,
    scratch: tempfile::TempDir,
}

impl Release {
    /// Installs a release unless it is installed, and reads its options.
    fn new(version: &'static str) -> Self {
        let prefix = kolla::install(version);
        let scratch = tempfile::tempdir().unwrap();
        let empty = scratch.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let mut command = Command::new(prefix.join("bin/python"));
        command
            .arg(format!("{ROOT}/tests/it/kolla_options/oracle.py"))
            .arg(empty)
            .arg(scratch.path());
        command.env_clear().env("HOME", "/nonexistent").env("LANG", "C.UTF-8");
        let told = Run::of(command).expect(0).stdout;
        let options = serde_json::from_str(&told).unwrap();
        Self { version, prefix, options, scratch }
    }

    fn all() -> Vec<Self> {
        RELEASES.map(Self::new).into()
    }

    /// Writes a configuration file with these lines under `[DEFAULT]`.
    fn file(&self, lines: &[String]) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new_in(self.scratch.path()).unwrap();
        fs::write(file.path(), format!("[DEFAULT]\n{}\n", lines.join("\n"))).unwrap();
        file.into_temp_path()
    }

    /// Runs `kiln config show` on the release's tree.
    fn show(&self, lines: &[String], arguments: &[String]) -> Run {
        let file = self.file(lines);
        let mut command = kiln();
        command.args(["config", "show", "--tree"]).arg(&self.prefix);
        command.arg("--config-file").arg(&*file).args(arguments);
        command.current_dir(self.scratch.path());
        Run::of(command)
    }

    /// Returns the values of an option in the output of `kiln config show`; `None` if it fails.
    fn shown(&self, dest: &str, lines: &[String], arguments: &[String]) -> Option<Vec<String>> {
        let run = self.show(lines, arguments);
        (run.code == 0).then(|| values(&run.stdout, dest))
    }
}

/// Returns Kiln's option for the key `dest` in files.
fn option(dest: &str) -> &'static Opt {
    let found = OPTIONS.iter().find(|option| option.name == dest);
    found.unwrap_or_else(|| panic!("Kiln has no option {dest}"))
}

/// Returns the values of an option in the output of `kiln config show`.
fn values(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
    let columns = lines.map(|line| line.trim_start().split("  ").next().expect("a value"));
    let is_one = |value: &&str| *value != "-" && !value.starts_with('(');
    columns.filter(is_one).map(str::to_owned).collect()
}

/// Documented difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Difference {
    option: String,
    what: String,
    why: String,
}

fn documented() -> Vec<Difference> {
    #[derive(Deserialize)]
    struct List {
        difference: Vec<Difference>,
    }
    let list: List = toml::from_str(include_str!("kolla_options/differences.toml")).unwrap();
    list.difference
}

/// Option with the kind of a difference, and the observed result.
type Found = (String, &'static str, String);

fn differences(release: &Release) -> Vec<Found> {
    let defaults = release.show(&[], &[]).expect(0).stdout;
    let of_option = |asked: &Asked| {
        let mut found = Vec::new();
        let kiln = values(&defaults, &asked.dest);
        let follows = matches!(option(&asked.dest).default, OptionDefault::Computed(_));
        if kiln != asked.default && !(follows && asked.default.is_empty()) {
            found.push(("default", format!("{kiln:?} for {:?}", asked.default)));
        }
        for sample in &asked.given {
            let mut compare = |expected: &[String], kiln: Option<Vec<String>>| {
                if kiln.as_deref() != Some(expected) {
                    found.push(("value", format!("{kiln:?} for {expected:?}")));
                }
            };
            compare(&sample.in_file, release.shown(&asked.dest, &sample.lines, &[]));
            if let (Some(arguments), Some(value)) = (&sample.arguments, &sample.on_command_line) {
                compare(value, release.shown(&asked.dest, &[], arguments));
            }
        }
        for Doubtful { value, accepted } in &asked.doubtful {
            let line = format!("{} = {value}", asked.dest);
            match (*accepted, release.show(&[line], &[]).code == 0) {
                (true, false) => found.push(("accepts-less", format!("'{value}'"))),
                (false, true) => found.push(("accepts-more", format!("'{value}'"))),
                _ => {}
            }
        }
        let named = |(what, how)| (asked.dest.clone(), what, format!("{}: {how}", release.version));
        found.into_iter().map(named).collect::<Vec<_>>()
    };
    release.options.par_iter().flat_map(of_option).collect()
}

/// Defaults and values are the same, in files and on the command line, except for the documented
/// differences; and all of those exist.
#[test]
fn options_differ_as_documented_and_no_more() {
    let found: Vec<Found> = Release::all().iter().flat_map(differences).collect();
    let documented = documented();
    let is_known = |(option, what, _): &Found| {
        documented.iter().any(|known| known.option == *option && known.what == *what)
    };
    let unknown: Vec<_> = found.iter().filter(|found| !is_known(found)).collect();
    assert!(unknown.is_empty(), "these are not in differences.toml: {unknown:#?}");
    let is_found = |known: &&Difference| {
        found.iter().any(|(option, what, _)| known.option == *option && known.what == *what)
    };
    let of_settings = documented.iter().filter(|known| known.what != "behaviour");
    let stale: Vec<_> = of_settings.filter(|known| !is_found(known)).collect();
    assert!(stale.is_empty(), "these in differences.toml are none: {stale:#?}");
}

/// Returns all spellings of an option with values: its own, with hyphens, with underscores, short,
/// in one word, and negated.
fn spellings(asked: &Asked) -> BTreeSet<Vec<String>> {
    let values = &asked.given[0].values;
    if asked.positional {
        return BTreeSet::from([values.clone()]);
    }
    let names = [asked.name.clone(), asked.name.replace('_', "-"), asked.name.replace('-', "_")];
    let names = names.iter().map(String::as_str);
    let mut spelled = BTreeSet::new();
    if asked.kind == "BoolOpt" {
        spelled.extend(names.clone().map(|name| vec![format!("--{name}")]));
        spelled.insert(vec![format!("--no{}", asked.name)]);
        spelled.extend(asked.short.map(|short| vec![format!("-{short}")]));
        return spelled;
    }
    let flags: Vec<String> = names.map(|name| format!("--{name}")).collect();
    spelled.extend(flags.iter().map(|flag| vec![format!("{flag}={}", values[0])]));
    spelled.extend(asked.short.map(|short| vec![format!("-{short}{}", values[0])]));
    for flag in flags.into_iter().chain(asked.short.map(|short| format!("-{short}"))) {
        let words = values.iter().flat_map(|value| [flag.clone(), value.clone()]);
        spelled.insert(words.collect());
    }
    spelled
}

/// The command line is parsed before anything is printed, even if only the version is requested.
#[test]
fn every_spelling_is_accepted() {
    let mut all: BTreeSet<Vec<String>> =
        Release::all().iter().flat_map(|release| &release.options).flat_map(spellings).collect();
    // Options that oslo.config adds.
    all.insert(vec!["--config-file".to_owned(), "f".to_owned()]);
    all.insert(vec!["--config-dir".to_owned(), "d".to_owned()]);
    all.insert(vec!["--version".to_owned()]);
    let refused: Vec<String> = all
        .par_iter()
        .filter_map(|words| {
            let mut command = kiln();
            command.arg("build").args(words).args((words[0] != "--version").then_some("--version"));
            let run = Run::of(command);
            let version = concat!(env!("CARGO_PKG_VERSION"), "\n");
            (run.code != 0 || run.stdout != version).then(|| format!("{words:?}: {run:?}"))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Returns the flags that an option needs to have an effect, and a section of a file.
fn companions(dest: &str) -> (&'static [(&'static str, &'static str)], &'static str) {
    match dest {
        "push_threads" => (&[("push", "true")], ""),
        "squash_cleanup" | "squash_tmp_dir" => (&[("squash", "true")], ""),
        "podman_base_url" => (&[("engine", "podman")], ""),
        "locals_base" => (&[], "[some-image]\ntype = local\nlocation = $locals_base/there\n"),
        _ => (&[], ""),
    }
}

/// Returns the settings that result from a file, the environment and flags, as text.
fn settled(
    release: &Release,
    tree: &Tree,
    file: &str,
    variables: &[(String, String)],
    flags: &[(&'static str, &[String])],
) -> String {
    let path = release.file(&[file.to_owned()]);
    let mut given: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (name, values) in flags {
        given.insert(name, values.to_vec());
    }
    let epoch = ("SOURCE_DATE_EPOCH".to_owned(), "0".to_owned());
    let environment = variables.iter().cloned().chain([epoch]).collect();
    let layers = Layers::gather(given, &[path.to_path_buf()], &environment).unwrap();
    let profiles = Profiles::new(tree.profiles().unwrap(), &layers);
    let settings = settle(&layers, tree.manifest(), &profiles, &Zoned::default())
        .unwrap_or_else(|errors| panic!("{file}{variables:?}{flags:?}: {errors:?}"));
    format!("{settings:#?} {:?}", overlays(&layers, tree.manifest()).unwrap())
}

/// Returns the lines that are in only one of two texts.
fn changes(before: &str, after: &str) -> Vec<String> {
    let changes = TextDiff::from_lines(before, after);
    let unequal = changes.iter_all_changes().filter(|c| c.tag() != ChangeTag::Equal);
    unequal.map(|change| change.to_string()).collect()
}

/// An option changes the settings of a build in the same way wherever it is given; one without
/// effect does not change them.
#[test]
fn every_option_reaches_the_settings() {
    for release in Release::all() {
        let tree = Tree::open(&release.prefix, None).unwrap();
        for asked in &release.options {
            let option = option(&asked.dest);
            let (flags, section) = companions(&asked.dest);
            let others: Vec<(&'static str, Vec<String>)> =
                flags.iter().map(|(name, value)| (*name, vec![(*value).to_owned()])).collect();
            let others: Vec<(&'static str, &[String])> =
                others.iter().map(|(name, values)| (*name, values.as_slice())).collect();
            let sample = asked.given.iter().find(|sample| sample.in_file != asked.default);
            let sample = sample.unwrap_or_else(|| panic!("no sample for {}", asked.dest));
            let in_file = format!("{}\n{section}", sample.lines.join("\n"));
            let with = |file: &str, variables: &[(String, String)], values: Option<&[String]>| {
                let flag = values.map(|values| (option.name, values));
                let flags: Vec<_> = others.iter().copied().chain(flag).collect();
                settled(&release, &tree, file, variables, &flags)
            };
            let without = with(section, &[], None);
            let by_file = with(&in_file, &[], None);
            let place = format!("{} of {}", asked.dest, release.version);
            if let Effect::Nothing(_) = option.effect {
                assert!(changes(&without, &by_file).is_empty(), "{place} has an effect");
                continue;
            }
            assert!(!changes(&without, &by_file).is_empty(), "{place} has no effect");
            let by_flag = with(section, &[], Some(&sample.values));
            assert_eq!(changes(&by_file, &by_flag), Vec::<String>::new(), "{place}");
            if let [value] = sample.values.as_slice() {
                let variable = (option.environment(), value.clone());
                let by_variable = with(section, &[variable], None);
                assert_eq!(changes(&by_file, &by_variable), Vec::<String>::new(), "{place}");
            }
        }
    }
}

/// The types of Kiln's options are those of kolla-build's: the choices, and the smallest number.
#[test]
fn kinds_are_the_same() {
    for release in Release::all() {
        for asked in &release.options {
            let option = option(&asked.dest);
            let expected: &[Kind] = match asked.kind.as_str() {
                "BoolOpt" => &[Kind::Bool],
                "ListOpt" => &[Kind::List],
                "DictOpt" => &[Kind::Dict],
                "IntOpt" => &[Kind::Count(asked.least.map_or(1, |n| n.try_into().unwrap()))],
                "MultiOpt" if asked.positional => &[Kind::Positional],
                "MultiOpt" => &[Kind::Repeated, Kind::Paths],
                _ => &[Kind::Text, Kind::Path, Kind::CommaList],
            };
            let same = match option.kind {
                Kind::Choice(words) => words == asked.choices,
                kind => expected.contains(&kind),
            };
            assert!(same, "{asked:?} is {:?}", option.kind);
            assert_eq!(option.short, asked.short, "{}", asked.dest);
        }
    }
}

const PAGE: &str = "docs/kolla-options.md";

#[test]
fn the_page_is_up_to_date() {
    let page = page(&Release::all());
    let path = Path::new(ROOT).join(PAGE);
    if std::env::var_os("KILN_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "run: KILN_UPDATE_DOCS=1 cargo nextest run kolla_options");
}

const HEAD: &str = "\
# Options of kolla-build

<!-- Written by tests/it/kolla_options.rs from the releases themselves, src/settings/options.rs and
     tests/it/kolla_options/differences.toml: KILN_UPDATE_DOCS=1 cargo nextest run kolla_options -->

This reference lists every option of kolla-build, its default in two releases and in Kiln, and the
differences.

`kiln build`, and any link to it called `kolla-build`, accepts all options of kolla-build in the same
spelling. The test that writes this page queries the releases themselves. For each option it compares
the spelling, the default on the release's tree, and the effective values on the command line and in a
file.

Rules for all options:

- On the command line, hyphens and underscores are equivalent. Each option can also be set in the
  environment as `KILN_<KEY>`. Variables called `OS_<GROUP>__<NAME>` are not read.
- Options that kolla-build reads only from files can also be given on the command line.
- The command line takes precedence over files, regardless of the position of `--config-file`.
- Options can't be abbreviated. `--shell_completion`, which newer oslo.config adds, exists where the program is
  called `kolla-build`, and also for fish.
- Kiln rejects unknown keys and sections in a file, which kolla-build ignores. `kiln config check` reports
  all of them, and `kiln config show` prints the effective value of each option and its origin.
- After an invalid value, Kiln exits with code 2, and kolla-build with 1 or 2.

";

/// Returns the page about all options.
fn page(releases: &[Release]) -> String {
    let mut page = HEAD.to_owned();
    let documented = documented();
    let versions = RELEASES.join(" | ");
    writeln!(page, "| option | key | {versions} | Kiln | differences and reasons |").unwrap();
    page.push_str("|---|---|---|---|---|---|\n");
    let of_kolla: BTreeSet<&str> = releases.iter().flat_map(names).collect();
    for option in OPTIONS.iter().filter(|option| of_kolla.contains(option.name)) {
        let defaults: Vec<String> =
            releases.iter().map(|release| default_in(release, option)).collect();
        writeln!(
            page,
            "| {} | `{}` | {} | {} | {} |",
            spelled(option),
            option.name,
            defaults.join(" | "),
            own_default(option),
            why(option, &documented)
        )
        .unwrap();
    }
    page.push_str(
        "\n\u{2013}: the release has no such option. Kiln has these additional options:\n\n",
    );
    for option in OPTIONS.iter().filter(|option| !of_kolla.contains(option.name)) {
        writeln!(page, "- {}: {}.", spelled(option), option.help).unwrap();
    }
    page.push_str("\n`--infra-rename` exists in releases 11 to 14.\n");
    page
}

fn names(release: &Release) -> impl Iterator<Item = &str> {
    release.options.iter().map(|asked| asked.dest.as_str())
}

fn spelled(option: &Opt) -> String {
    match (option.kind, option.short) {
        (Kind::Positional, _) => format!("`{}`", option.value),
        (_, Some(short)) => format!("`--{}`, `-{short}`", option.flag),
        (_, None) => format!("`--{}`", option.flag),
    }
}

/// Returns the default of a release.
fn default_in(release: &Release, option: &Opt) -> String {
    let Some(asked) = release.options.iter().find(|asked| asked.dest == option.name) else {
        return "\u{2013}".to_owned();
    };
    match (option.name, asked.default.as_slice()) {
        ("base_arch", _) => "this machine's".to_owned(),
        ("debian_arch", _) => "that of `--base-arch`".to_owned(),
        ("base_image", _) => "the base's".to_owned(),
        (_, []) => "none".to_owned(),
        (_, values) => format!("`{}`", values.join(",")),
    }
}

/// Returns the default for a tree that sets nothing.
fn own_default(option: &Opt) -> String {
    match option.default {
        OptionDefault::Unset => "none".to_owned(),
        OptionDefault::Value(value) => format!("`{value}`"),
        OptionDefault::FromTree => "the tree's".to_owned(),
        OptionDefault::Computed(what) => what.to_owned(),
    }
}

fn why(option: &Opt, documented: &[Difference]) -> String {
    let of_table = match option.effect {
        Effect::Normal => None,
        Effect::Nothing(reason) => Some(format!("accepted without effect: {reason}")),
    };
    let listed = documented.iter().filter(|difference| difference.option == option.name);
    let listed = listed.map(|difference| difference.why.clone());
    of_table.into_iter().chain(listed).collect::<Vec<_>>().join("; ")
}
