//! The documentation does what it says: its commands are run, page by page, and say what is shown.
//!
//! Each page has a folder of its own, where its files are written and its commands run in their
//! order by one bash, with `kiln` in its PATH and an engine. A command that can't be run here has a
//! mark in its page, with the reason and another check. `page` tells how pages are read.

mod ci;
mod page;
mod reader;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::support::{Run, kiln, require_engine};
use page::{Act, Check, NotRun, Step};
use reader::Reader;

/// The repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The page that makes the tree which other pages begin with.
const GUIDE: &str = "docs/guide.md";

/// State of the folder at the beginning of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// An empty folder.
    Nothing,
    /// The tree of the guide, which the page says.
    Guide,
}

/// A test for each page, and the list of them.
macro_rules! pages {
    ($($name:ident: $path:literal, $start:ident;)*) => {
        const PAGES: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $name() {
                follow($path, Start::$start);
            }
        )*
    };
}

pages! {
    readme: "README.md", Nothing;
    contributing: "CONTRIBUTING.md", Nothing;
    index: "docs/README.md", Nothing;
    the_guide: "docs/guide.md", Nothing;
    adding_an_image: "docs/adding-an-image.md", Nothing;
    architecture: "docs/architecture.md", Nothing;
    concepts: "docs/concepts.md", Nothing;
    customizing: "docs/customizing.md", Nothing;
    debugging: "docs/debugging.md", Guide;
    distros: "docs/distros.md", Nothing;
    dockerfiles: "docs/dockerfiles.md", Nothing;
    engines: "docs/engines.md", Guide;
    images: "docs/images.md", Nothing;
    kolla: "docs/kolla.md", Nothing;
    kolla_options: "docs/kolla-options.md", Nothing;
    lint_rules: "docs/lint-rules.md", Nothing;
    linting: "docs/linting.md", Guide;
    mirrors: "docs/mirrors.md", Guide;
    performance: "docs/performance.md", Nothing;
    planning: "docs/planning.md", Guide;
    rebuilding: "docs/rebuilding.md", Guide;
    registries: "docs/registries.md", Guide;
    reliability: "docs/reliability.md", Nothing;
    security: "SECURITY.md", Nothing;
    report: "docs/report.md", Guide;
    the_tree: "docker/README.md", Nothing;
    watching: "docs/watching.md", Guide;
}

/// Returns the check of a command that the page marks as not run; `None` for one that is run.
fn check(page: &str, command: &str) -> Option<Check> {
    let found = not_run(page).into_iter().find(|marked| marked.is_of(command));
    found.map(|marked| marked.check)
}

/// Returns the commands that a page marks as not run.
fn not_run(page: &str) -> Vec<NotRun> {
    page::not_run(&text_of(page)).unwrap_or_else(|wrong| panic!("{page}, {wrong}"))
}

/// Returns the command that is run for a check. An added option makes the program do less; it still
/// rejects a wrong command line.
fn checking(check: &Check, command: &str) -> String {
    match check {
        Check::Spelled => format!("{command} --help"),
        Check::Listed => format!("{command} --list-images"),
        Check::Target => {
            let target = command.strip_prefix("make ").expect("a command of make");
            format!("make --file {ROOT}/Makefile --directory {ROOT} --dry-run {target}")
        }
        Check::File(path) => format!("test -f {ROOT}/{path} && bash -n <<'END'\n{command}\nEND"),
    }
}

/// The text of a page.
fn text_of(page: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

fn steps_of(page: &str) -> Vec<Step> {
    page::steps(&text_of(page)).unwrap_or_else(|wrong| panic!("{page}, {wrong}"))
}

/// Does what the guide says before it builds for the first time: a tree and a build.conf.
fn make_tree_of_the_guide(reader: &mut Reader) {
    for act in steps_of(GUIDE).into_iter().map(|step| step.act) {
        let command = command(&act);
        if command.starts_with("kiln build") {
            return;
        }
        if check(GUIDE, &command).is_none() {
            does(reader, GUIDE, &act).unwrap_or_else(|wrong| panic!("{GUIDE}: {wrong}"));
        }
    }
}

/// The command of an act; empty for a file.
fn command(act: &Act) -> String {
    match act {
        Act::Run { command, .. } => command.clone(),
        _ => String::new(),
    }
}

/// Does a step of a page, or says what is wrong.
fn does(reader: &mut Reader, page: &str, act: &Act) -> Result<(), String> {
    match act {
        Act::Write { path, text } => reader.writes(path, text),
        Act::Insert { path, heading, text } => reader.inserts(path, heading, text),
        Act::Run { command, shown } => match check(page, command) {
            Some(check) => reader.runs(&checking(&check, command), &[]),
            None => reader.runs(command, shown),
        },
    }
}

/// Does what a page says, from its beginning to its end.
fn follow(page: &str, start: Start) {
    let text = text_of(page);
    let steps = steps_of(page);
    if steps.is_empty() {
        return;
    }
    require_engine();
    let mut reader = Reader::new(page, &text);
    if start == Start::Guide {
        let says = text.contains("(guide.md#a-tree-of-your-own)");
        assert!(says, "{page} does not say that it begins with the guide's tree");
        make_tree_of_the_guide(&mut reader);
    }
    let mut wrong = String::new();
    for (number, step) in steps.iter().enumerate() {
        let asks_for_code = |step: &Step| command(&step.act).contains("$?");
        let may_fail = steps.get(number + 1).is_some_and(asks_for_code);
        let what = command(&step.act);
        if let Err(found) = does(&mut reader, page, &step.act) {
            writeln!(wrong, "{page}:{}: {what}\n{found}\n", step.line).unwrap();
        }
        if reader.failed() && !may_fail {
            let code = reader.code;
            panic!(
                "{wrong}{page}:{}: {what}\nends with exit code {code}:\n{}",
                step.line, reader.said
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A page that no test follows would be one that nobody has run.
#[test]
fn every_page_is_followed() {
    let mut there = page::pages_below(Path::new(ROOT), "docs");
    there.extend(
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docker/README.md"].map(str::to_owned),
    );
    let there: BTreeSet<_> = there.into_iter().collect();
    let followed: BTreeSet<_> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(followed, there);
}

#[test]
fn commands_that_are_not_run_are_in_their_pages() {
    let mut count = 0;
    for page in PAGES {
        for marked in not_run(page) {
            count += 1;
            let found = steps_of(page).iter().any(|step| marked.is_of(&command(&step.act)));
            assert!(found, "{page} has no '{}'", marked.command);
        }
    }
    assert!(count > 10, "the marks were not found");
}

/// The index leads to every page, and every link to a file.
#[test]
fn links_have_targets() {
    let listed = page::links(&text_of("docs/README.md"));
    for page in PAGES.iter().filter_map(|page| page.strip_prefix("docs/")) {
        assert!(
            page == "README.md" || listed.iter().any(|l| l == page),
            "{page} is not in the index"
        );
    }
    for page in PAGES {
        let folder = Path::new(ROOT).join(page).parent().unwrap().to_owned();
        for link in page::links(&text_of(page)) {
            let (file, part) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if file.is_empty() { Path::new(ROOT).join(page) } else { folder.join(file) };
            assert!(target.exists(), "{page} leads to {link}, which is not there");
            if !part.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(anchor);
                assert!(
                    anchors.any(|anchor| anchor == part),
                    "{page} leads to {link}: no such heading"
                );
            }
        }
    }
}

/// Options of other programs that the text names.
const FOREIGN: &[&str] = &["--exclude", "--from", "--mount", "--shell_completion"];

/// An option that the text names, and no command shows, is one that there is.
#[test]
fn options_in_the_text_are_there() {
    let of = |arguments: &[&str]| {
        let mut command = kiln();
        let help = Run::of({
            command.args(arguments).arg("--help");
            command
        });
        help.expect(0).stdout
    };
    let help =
        [&["build"][..], &["affected"], &["lint"], &["config", "check"], &[]].map(of).concat();
    let option = Regex::new(r"(?:^|[\s=(])(--[a-z][a-z_-]+)").unwrap();
    let known: BTreeSet<&str> =
        option.captures_iter(&help).map(|found| found.get(1).unwrap().as_str()).collect();
    let span = Regex::new("`((?:--|kiln )[^`\n]+)`").unwrap();
    let mut named = 0;
    for page in PAGES {
        let text = page::prose(&text_of(page));
        for found in span.captures_iter(&text) {
            for option in option.captures_iter(&found[1]) {
                let there = FOREIGN.contains(&&option[1]);
                assert!(there || known.contains(&option[1]), "{page} names {}", &option[1]);
                named += 1;
            }
        }
    }
    assert!(named > 100, "the options were not found");
}

/// Returns the anchor of a heading, for links.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}
