//! Patterns that select images: compared with `re.search` of Python, which kolla-build uses, and errors
//! in them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fastrand::Rng;
use kiln::internals::diagnostic::Diagnostic;
use kiln::internals::name_pattern::NamePattern;
use walkdir::WalkDir;

use crate::support::TestTree;
use crate::support::family::{self, build};

/// Searches each pattern in all names; prints `null` for a pattern that is refused.
const SEARCH: &str = r#"
import json, re, sys, warnings
warnings.simplefilter("ignore")
def found(pattern, names):
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError):
        return None
    return [name for name in names if compiled.search(name)]
asked = json.load(sys.stdin)
json.dump([found(pattern, asked["names"]) for pattern in asked["patterns"]], sys.stdout)
"#;

type Found = Option<BTreeSet<String>>;

/// Returns the names that Python finds each pattern in; `None` for a pattern that it refuses.
fn found_by_python(patterns: &[String], names: &BTreeSet<String>) -> Vec<Found> {
    let mut command = Command::new("python3");
    command.args(["-c", SEARCH]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = command.spawn().expect("python3 starts");
    let asked = serde_json::json!({ "patterns": patterns, "names": names }).to_string();
    python.stdin.take().expect("a pipe").write_all(asked.as_bytes()).expect("python3 reads");
    let output = python.wait_with_output().expect("python3 ends");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Returns the names that Kiln finds a pattern in, or its error.
fn found_by_kiln(pattern: &str, names: &BTreeSet<String>) -> Result<BTreeSet<String>, String> {
    let compiled = NamePattern::new(pattern, |told| Diagnostic::new(told));
    let found = compiled.and_then(|compiled| compiled.found_in(names.iter().map(String::as_str)));
    found.map_err(|error| format!("{}: {}", error.message, error.notes.join(", ")))
}

/// Returns the names of the images in the embedded tree, and some that patterns treat in a special way.
fn names() -> BTreeSet<String> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
    let files = WalkDir::new(tree).into_iter().map(|entry| entry.expect("a readable folder"));
    let templates = files.filter(|file| file.file_name() == "Dockerfile.tera");
    let name = |file: walkdir::DirEntry| {
        let folder = file.path().parent().and_then(Path::file_name).expect("a folder");
        folder.to_str().expect("UTF-8").to_owned()
    };
    let own = ["a", "aa", "aaa", "a-a", "x86_64", "k3s.io", "rook--ceph", "ovs-ovs", "007"];
    let names: BTreeSet<String> = templates.map(name).chain(own.map(str::to_owned)).collect();
    assert!(names.len() > 100, "{names:?}");
    names
}

/// Compares both for each pattern that Python accepts. Returns the number of these patterns.
fn compare(patterns: &[String]) -> usize {
    let names = names();
    let by_python = found_by_python(patterns, &names);
    let accepted = patterns.iter().zip(by_python).filter_map(|(one, found)| Some((one, found?)));
    let compared: Vec<_> = accepted
        .map(|(pattern, expected)| (pattern, found_by_kiln(pattern, &names), Ok(expected)))
        .collect();
    let differences: Vec<_> =
        compared.iter().filter(|(_, found, expected)| found != expected).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    compared.len()
}

/// Parts of Python's syntax that the regex crate has not, or not in this form.
const OF_PYTHON: &[&str] = &[
    r"^ironic(?!-neutron)",
    r"^nova-(?=c)",
    r"(?<!-)api$",
    r"(?<=neutron-)\w+-agent",
    r"(?<=a|b)s",
    r"^(?!.*-(api|base)$)(nova|glance)",
    r"(?=.*ceph)(?=.*rook)",
    r"(?:(?=a)a)+\Z",
    r"(?=a)?x86",
    r"(\w)\1",
    r"(?P<twice>[a-z]+)-(?P=twice)",
    r"(?P<a>a)(b)?(?P=a)1|(o)\3",
    r"(a)(?P<n>-)?(?(n)a|a)$",
    r"^(x)?(?(1)8|a)",
    r"(?(1)a|o)(x)?",
    r"^(neutron-)?(?(1)server)",
    r"(?>a+)a",
    r"(?>no|nova)-",
    r"^a++$",
    r"a*+a",
    r"^a{2}+a$",
    r"^a{,2}+$",
    r"o?+o",
    r"^a{,2}$",
    r"^a{,}$",
    r"a{2,}\Z",
    r"\Aa{1,2}?\Z",
    r"x{a}|a{-}|{",
    r"{a}|^007",
    r"a{}|^k3s",
    r"[]a]{3}",
    r"[^]a]86",
    r"[a[-]-a",
    r"[\]\-_]64",
    r"[\w-]+\.io",
    r"\060\060\067",
    r"\060{2}7|[\60]07",
    r"\x6eova|\u006eeutron|\U0000006b3s",
    r"(?a)\d{3}",
    r"(?u:\w)86",
    r"(?i)NOVA-(?!API)",
    r"(?i)(O)\1",
    r"(?i:NOVA)-(?-i:API)(?!X)",
    r"(?s)(?i)K3S.IO\Z",
    "(?x) nova  -  api # the service\n | k3s (?!x)",
    r"(?x: n o v a )-api(?!x)",
    r"(?#images of nova)nova(?!-a)",
    r"a(?#twice){2}\Z",
    r"\bapi\b(?<!nova-api)",
    r"api\B|\Boo\B(?!x)",
    r"(?!)|nothing",
    r"()\1a{3}",
    r"(|a)\1x86",
    r"((a)|b)+\2",
    r"(a|(o))\2",
    r"[&~|]|(?<!.)aa",
];

#[test]
fn syntax_of_python_is_read_as_python_reads_it() {
    let patterns: Vec<String> = OF_PYTHON.iter().map(|one| (*one).to_owned()).collect();
    assert_eq!(compare(&patterns), patterns.len());
}

#[test]
fn generated_patterns_find_the_names_that_python_finds() {
    let patterns: Vec<String> = (0..800).map(|seed| Writer::new(seed).pattern()).collect();
    let accepted = compare(&patterns);
    assert!(accepted > 600, "{accepted}");
}

/// Images that patterns with look-around tell apart, and one that a nested repetition is slow on.
const IMAGES: &[(&str, &str)] = &[
    ("ironic", "FROM debian:trixie\n"),
    ("ironic-api", "FROM @ironic\n"),
    ("ironic-neutron-agent", "FROM @ironic\n"),
    ("dnsmasq", "FROM debian:trixie\n"),
    ("rook", "FROM debian:trixie\n"),
    ("rook-ceph", "FROM debian:trixie\n"),
    ("ovs-ovs", "FROM debian:trixie\n"),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "FROM debian:trixie\n"),
];

/// Pattern that takes exponential time on a long name.
const SLOW: &str = r"^((\w+)(?=\w))+!$";

/// Returns the output of a run without the parts that differ between runs.
fn shown(tree: &TestTree, arguments: &[&str]) -> String {
    let folder = regex::escape(&tree.path().display().to_string());
    build(tree, arguments).shown(&[(&folder, "TREE")])
}

#[test]
fn profiles_and_patterns_may_have_look_around_and_back_references() {
    let tree = family::tree(IMAGES);
    tree.write("site.conf", "[profiles]\nmetal = ^ironic(?!-neutron),dnsmasq\n");
    tree.write("profiles/twice.list", "# the same word\n^(?P<word>[a-z]+)-(?P=word)$\n");
    let conf = tree.path().join("site.conf").display().to_string();
    let listed = |arguments: &[&str]| {
        let run = build(&tree, &[&["--list-images"], arguments].concat()).expect(0);
        let names = run.stdout.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed(&["--config-file", &conf, "-p", "metal"]), "dnsmasq ironic ironic-api");
    assert_eq!(listed(&["-p", "twice"]), "ovs-ovs");
    assert_eq!(listed(&["(?<!ironic)-(api|ceph)"]), "rook-ceph");
    assert_eq!(listed(&["^rook{,2}(?!-|k)"]), "rook");
}

#[test]
fn pattern_that_is_neither_of_python_nor_of_the_regex_crate_is_refused_with_its_place() {
    let tree = family::tree(IMAGES);
    tree.write("site.conf", "[profiles]\nmine = ^rook,\n  (?<=ro+)k\n");
    tree.write("profiles/bad.list", "^rook\n\n  (?!x)[[:alpha:]]\n");
    let conf = tree.path().join("site.conf").display().to_string();
    let list = |arguments: &[&str]| shown(&tree, &[&["--list-images"], arguments].concat());
    insta::assert_snapshot!("on-the-command-line", list(&[r"(?!x)\h", "(?P=nobody)"]));
    insta::assert_snapshot!("in-a-section", list(&["--config-file", &conf, "-p", "mine"]));
    insta::assert_snapshot!("in-a-profile-file", list(&["-p", "bad"]));
}

#[test]
fn search_that_takes_too_many_steps_is_an_error() {
    let tree = family::tree(IMAGES);
    tree.write(
        "site.conf",
        &format!("[DEFAULT]\nprofile = mine\n[profiles]\nmine = rook, {SLOW}\n"),
    );
    tree.write("profiles/slow.list", &format!("^rook\n{SLOW}\n"));
    let conf = tree.path().join("site.conf").display().to_string();
    let list = |arguments: &[&str]| shown(&tree, &[&["--list-images"], arguments].concat());
    insta::assert_snapshot!("slow-on-the-command-line", list(&["^rook", SLOW]));
    insta::assert_snapshot!("slow-in-a-section", list(&["--config-file", &conf]));
    insta::assert_snapshot!("slow-in-a-profile-file", list(&["-p", "slow"]));
    let linted = family::run(&tree, &[&["lint"], &family::OPTIONS[..], &[SLOW]].concat()).expect(2);
    assert!(linted.stderr.contains("takes more than 100000 steps to search"), "{linted:?}");
}

#[test]
fn patterns_that_would_fill_the_memory_are_refused() {
    let deep = format!("{}{}", "(?=".repeat(5000), ")".repeat(5000));
    let long = "a*+".repeat(50_000);
    let table = ["(?=((a{1000}){1000}){1000})", r"((\w)\2{1000}){1000}{1000}", &deep, &long];
    for pattern in table {
        let compiled = NamePattern::new(pattern, |told| Diagnostic::new(told));
        assert!(compiled.is_err(), "{}", &pattern[..20]);
    }
}

/// Writer of random patterns.
struct Writer {
    random: Rng,
    groups: usize,
    names: usize,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), groups: 0, names: 0 }
    }

    fn pattern(&mut self) -> String {
        let flags = if self.random.u8(..10) == 0 { "(?i)" } else { "" };
        flags.to_owned() + &self.alternatives(3)
    }

    fn one_of(&mut self, all: &[&str]) -> String {
        all[self.random.usize(..all.len())].to_owned()
    }

    fn alternatives(&mut self, depth: usize) -> String {
        let count = if self.random.u8(..4) == 0 { 2 } else { 1 };
        (0..count).map(|_| self.sequence(depth)).collect::<Vec<_>>().join("|")
    }

    fn sequence(&mut self, depth: usize) -> String {
        let length = self.random.usize(1..=3);
        (0..length).map(|_| self.item(depth)).collect()
    }

    fn item(&mut self, depth: usize) -> String {
        let item = match self.random.u8(..if depth == 0 { 5 } else { 12 }) {
            0..=2 => self.one_of(&["nova", "neutron", "api", "-", "o", "a", "s", "base", "NOVA"]),
            3 => {
                self.one_of(&["[a-z]", "[^-]", "[-a]", r"[\w-]", r"\w", r"\d", ".", r"\W", "[[o]"])
            }
            4 => return self.one_of(&["^", "$", r"\b", r"\B", r"\A", r"\Z", "(?#x)"]),
            5 => {
                self.groups += 1;
                format!("({})", self.alternatives(depth - 1))
            }
            6 => {
                self.groups += 1;
                self.names += 1;
                let name = self.names;
                format!("(?P<n{name}>{})", self.alternatives(depth - 1))
            }
            7 => self.one_of(&["(?:", "(?>", "(?i:"]) + &self.alternatives(depth - 1) + ")",
            8 => self.one_of(&["(?=", "(?!"]) + &self.alternatives(depth - 1) + ")",
            9 => self.one_of(&["(?<=nova)", "(?<!-)", "(?<![a-m])", r"(?<=\w-)", "(?<=api|ova)"]),
            10 if self.names > 0 => format!("(?P=n{})", self.random.usize(1..=self.names)),
            10 | 11 if self.groups > 0 => {
                let group = self.random.usize(1..=self.groups);
                if self.random.bool() {
                    format!(r"\{group}")
                } else {
                    format!("(?({group}){})", self.alternatives(depth - 1))
                }
            }
            _ => "(?![x-z])".to_owned(),
        };
        let repetition = ["*", "+", "?", "{,2}", "{1,}", "{2}", "*?", "+?", "++", "?+", "{1,2}+"];
        if self.random.u8(..3) == 0 { item + &self.one_of(&repetition) } else { item }
    }
}
