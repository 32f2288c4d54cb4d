//! HTML page of a run, in a browser: the contents for real and for large runs, search and
//! navigation by mouse and keyboard, no requests to other addresses, and no markup from third-party
//! text. Pages and screenshots are written to `target/report`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::browser::Browser;
use crate::support::{Cleanup, TestTree, require_engine};
use kiln::internals::event::{
    Aside, BuiltImage, Event, Outcome, Pushed, SetAside, ToBuild, Warning,
};
use kiln::internals::image::{ImageName, ImageRef};
use kiln::internals::report;
use kiln::internals::report::Record;
use kiln::internals::report::Subscriber as _;
use kiln::internals::report::{Catalogue, Facts};
use serde_json::json;

/// Returns the path of a file that is kept for inspection.
fn left(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("report").join(name)
}

/// Opens a page from a file; it must not request anything else.
#[track_caller]
fn open(browser: &mut Browser, file: &Path, hash: &str) {
    let address = format!("file://{}{hash}", file.display());
    browser.open(&address);
    assert_well(browser);
}

/// Fails the test if there is an error, or a request other than the one for the page.
#[track_caller]
fn assert_well(browser: &mut Browser) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let others = browser.requests();
    let others: Vec<_> = others
        .iter()
        .filter(|address| !address.starts_with("file:") && !address.starts_with("data:"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let pages = browser.requests().iter().filter(|address| address.starts_with("file:")).count();
    assert_eq!(pages, 1);
}

/// Writes the page of a record to a file of this name.
fn written(record: &Record, name: &str) -> PathBuf {
    let file = left(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, report::page(record)).unwrap();
    file
}

/// Returns the texts of all elements that match a selector.
fn texts(browser: &mut Browser, selector: &str) -> Vec<String> {
    let found = browser.evaluate(&format!(
        "[...document.querySelectorAll({})].map((found) => found.textContent)",
        json!(selector)
    ));
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn text(browser: &mut Browser, selector: &str) -> String {
    texts(browser, selector).remove(0)
}

/// Returns the number of images in the graph that are not dimmed.
fn bright(browser: &mut Browser) -> usize {
    texts(browser, ".node:not(.dim) .name").len()
}

#[test]
fn page_shows_a_real_run() {
    require_engine();
    let tree = TestTree::new(&[
        ("base", "FROM debian:bookworm\nLABEL role=base\nRUN echo one\n"),
        ("same", "FROM @base\nRUN echo same\n"),
        ("app", "FROM @base\nRUN echo app\n"),
        (
            "broken",
            "FROM @base\n{# why #}\n\nRUN echo '\u{1b}[31mred</script><b>\u{1b}[0m' && \\\n    exit 3\n",
        ),
        ("below", "FROM @broken\nRUN true\n"),
        ("never", "FROM @base\n"),
    ]);
    tree.write(
        "tree.toml",
        &format!(
            "{}\n[[unbuildable]]\nimages = [\"never\"]\nreason = \"no such package\"\n",
            std::fs::read_to_string(tree.path().join("tree.toml")).unwrap()
        ),
    );
    let _cleanup = Cleanup::new(tree.namespace());
    tree.build(&["^base$", "^same$"]).expect(0);
    let file = tree.path().join("run.html");
    let logs = tree.path().join("logs");
    tree.build(&[
        "--skip-unchanged",
        "--report",
        file.to_str().unwrap(),
        "--logs-dir",
        logs.to_str().unwrap(),
    ])
    .expect(1);

    let mut browser = Browser::start(1280, 900);
    open(&mut browser, &file, "");
    assert_eq!(text(&mut browser, "h1"), "2 of 3 images failed");
    let counts = texts(&mut browser, "#counts a");
    assert_eq!(
        counts,
        [
            "2failed1 by an ancestor",
            "1built",
            "0skipped",
            "2unchanged",
            "1unbuildable",
            "0not matched"
        ]
    );
    assert_eq!(texts(&mut browser, "#failures h3 a"), ["broken"]);
    let failure = text(&mut browser, "#failures article");
    assert!(failure.contains("broken/Dockerfile.tera:4"), "{failure}");
    assert!(failure.contains("red</script><b>"), "{failure}");
    assert_eq!(texts(&mut browser, "#failures article .links a"), ["below"]);
    assert_eq!(texts(&mut browser, ".node.built .name"), ["app"]);
    assert_eq!(texts(&mut browser, ".node.unchanged .name"), ["base", "same"]);
    browser.picture(&left("real.png"), true);

    // A click on a node opens the image, and the address names it.
    browser.click(".node.failed");
    assert_eq!(browser.evaluate("location.hash"), "#image/broken");
    assert_eq!(
        text(&mut browser, "#panel .at"),
        "RUN echo '\\u{1b}[31mred</script><b>\\u{1b}[0m' && \\"
    );
    assert_eq!(texts(&mut browser, "#panel .links a"), ["base", "below"]);
    let panel = text(&mut browser, "#panel");
    assert!(panel.contains(logs.join("broken.log").to_str().unwrap()), "{panel}");
    browser.picture(&left("real-panel.png"), false);
    browser.press("Escape");
    assert_eq!(browser.evaluate("location.hash"), "");
    assert_eq!(browser.evaluate("document.getElementById('panel').hidden"), true);

    // An address opens the image that it names, with the engine's data about it.
    open(&mut browser, &file, "#image/app");
    let panel = text(&mut browser, "#panel");
    for known in ["built", "role", "sha256:", "Fingerprint"] {
        assert!(panel.contains(known), "{known}: {panel}");
    }
    assert_well(&mut browser);
}

#[test]
fn five_hundred_images_can_be_searched_and_walked_through() {
    let file = written(&large_run(), "large.html");
    let mut browser = Browser::start(1400, 900);
    open(&mut browser, &file, "");
    let drawn = browser.evaluate("performance.getEntriesByType('navigation')[0].domInteractive");
    eprintln!("{} bytes, drawn after {drawn} ms", file.metadata().unwrap().len());
    assert_eq!(texts(&mut browser, ".node").len(), 480);
    browser.picture(&left("large.png"), true);
    browser.prefer_dark(true);
    browser.picture(&left("large-dark.png"), true);
    browser.prefer_dark(false);

    // Searching dims the others; Enter opens one match after the other.
    browser.press("/");
    browser.write("team-07 built");
    let found = bright(&mut browser);
    assert!((2..40).contains(&found), "{found}");
    assert_eq!(text(&mut browser, "#found"), format!("{found} of 500"));
    browser.press("Enter");
    let first = browser.evaluate("location.hash");
    assert!(first.as_str().unwrap().starts_with("#image/team-07"), "{first}");
    browser.press("Enter");
    assert_ne!(browser.evaluate("location.hash"), first);
    assert_eq!(browser.evaluate("document.activeElement.id"), "search");
    browser.picture(&left("large-search.png"), false);
    browser.press("Escape");
    browser.evaluate("document.querySelector('#search').value = ''");
    browser.write(" ");
    assert_eq!(bright(&mut browser), 480);

    // Arrow keys move along the graph, Enter opens the focused image, Escape moves back to it.
    browser.evaluate("document.querySelector('.node').focus()");
    assert_eq!(
        browser.evaluate("document.activeElement.querySelector('.name').textContent"),
        "root"
    );
    browser.press("ArrowRight");
    browser.press("ArrowDown");
    let at = browser.evaluate("document.activeElement.querySelector('.name').textContent");
    assert!(at.as_str().unwrap().starts_with("team-"), "{at}");
    browser.press("Enter");
    assert_eq!(browser.evaluate("document.querySelector('#panel h2 a').textContent"), at);
    assert_eq!(browser.evaluate("document.activeElement.id"), "panel-title");
    browser.press("Escape");
    assert_eq!(browser.evaluate("document.activeElement.querySelector('.name').textContent"), at);

    // A click on a column head sorts by it.
    assert_eq!(texts(&mut browser, "#times tbody tr").len(), 15);
    browser.click("#times .more");
    let rows = texts(&mut browser, "#times tbody tr td:first-child a");
    assert!(rows.len() > 300, "{}", rows.len());
    browser.click("#times th:first-child button");
    let mut sorted = texts(&mut browser, "#times tbody tr td:first-child a");
    assert_ne!(rows, sorted);
    assert!(sorted.is_sorted());
    browser.click("#times th:first-child button");
    sorted.reverse();
    assert_eq!(texts(&mut browser, "#times tbody tr td:first-child a"), sorted);

    browser.print(&left("large.pdf"));
    assert_well(&mut browser);
}

#[test]
fn narrow_pages_do_not_overflow() {
    let file = written(&large_run(), "narrow.html");
    let mut browser = Browser::start(400, 800);
    for hash in ["", "#image/team-03-base"] {
        open(&mut browser, &file, hash);
        let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(over), 0, "{hash}");
        let name = if hash.is_empty() { "narrow.png" } else { "narrow-panel.png" };
        browser.picture(&left(name), hash.is_empty());
    }
}

#[test]
fn page_shows_an_empty_run() {
    let nothing = Catalogue { images: BTreeMap::new(), read_template: Box::new(|_| None) };
    let file = written(&Record::new(nothing, None), "nothing.html");
    let mut browser = Browser::start(1000, 700);
    open(&mut browser, &file, "#image/none");
    assert_eq!(text(&mut browser, "h1"), "No image to build");
    assert_eq!(texts(&mut browser, "main > section:not([hidden])"), Vec::<String>::new());
    browser.press("/");
    browser.write("x");
    browser.press("Enter");
    assert_well(&mut browser);
}

#[test]
fn third_party_text_is_escaped() {
    let hostile = [
        "</script><script>window.harmed = 1</script>",
        "<img src=x onerror=\"window.harmed = 1\">",
        "<!-- <script>",
        "a\u{2028}b",
        "%script%",
        "</pre></textarea><svg onload=\"window.harmed = 1\">",
    ];
    let mut record = large_run();
    let name = ImageName::new("team-03-base");
    for line in hostile {
        let event = Event::Log { name: name.clone(), line: line.to_owned() };
        record.hear(Duration::ZERO, &event);
        record.hear(
            Duration::ZERO,
            &Event::Warning(Warning {
                subject: "debian:1".parse().unwrap(),
                text: line.to_owned(),
            }),
        );
    }
    let facts = record.catalogue.images.get_mut(&name).unwrap();
    facts.dockerfile = hostile.join("\n").into();
    facts.template = hostile[1].to_owned();
    facts.externals = vec![hostile[0].to_owned()];
    let outcome = Outcome::Error(hostile.join("\n"));
    record.hear(Duration::ZERO, &Event::Finished { name, outcome, took: Duration::ZERO });
    let file = written(&record, "hostile.html");
    let mut browser = Browser::start(1000, 700);
    open(&mut browser, &file, "#image/team-03-base");
    assert_eq!(browser.evaluate("window.harmed ?? null"), json!(null));
    assert_eq!(browser.evaluate("document.querySelectorAll('img, script').length"), 2);
    let visible = hostile.map(|text| text.replace('\u{2028}', "\\u{2028}"));
    let warnings = visible.each_ref().map(|text| format!("debian:1: {text}"));
    assert_eq!(texts(&mut browser, "#warnings li")[1..], warnings);
    assert_eq!(texts(&mut browser, "#panel .numbered span"), visible);
    let shown = texts(&mut browser, "#panel .text:not(.numbered) span");
    assert!(shown.ends_with(&visible), "{shown:?}");
    assert_well(&mut browser);
}

// ---- A large run ----

const THREADS: usize = 8;

/// Planned outcome of an image of the large run.
#[derive(Clone, Copy, PartialEq)]
enum Lot {
    Built,
    Fails,
    Skipped,
    Unchanged,
    Unbuildable,
    NotMatched,
}

struct Planned {
    name: ImageName,
    wave: usize,
    needs: Vec<usize>,
    lot: Lot,
    seconds: u64,
}

impl Planned {
    fn reference(&self) -> ImageRef {
        format!("family/debian-source-{}:1", self.name).parse().unwrap()
    }

    fn is_to_be_built(&self) -> bool {
        matches!(self.lot, Lot::Built | Lot::Fails)
    }
}

/// Creates five hundred images: a root, 24 teams with a base each, and the images on that base.
fn family() -> Vec<Planned> {
    let mut family: Vec<Planned> = Vec::new();
    let mut add = |name: &str, needs: &[usize], lot: Lot, seconds: u64| {
        let wave = needs.iter().map(|need| family[*need].wave).max().unwrap_or(0) + 1;
        let name = ImageName::new(name);
        family.push(Planned { name, wave, needs: needs.to_vec(), lot, seconds });
        family.len() - 1
    };
    let root = add("root", &[], Lot::Built, 95);
    let tools = add("tools", &[root], Lot::Built, 140);
    let mut left = 498;
    for team in 0.. {
        if left == 0 {
            break;
        }
        let parent = if team % 3 == 0 { root } else { tools };
        let team_lot = match team {
            5 => Lot::Fails,
            9 => Lot::Unchanged,
            _ => Lot::Built,
        };
        let base = add(&format!("team-{team:02}-base"), &[parent], team_lot, 40 + team * 7 % 90);
        left -= 1;
        let members = (9 + team * 5 % 23).min(left);
        left -= members;
        for member in 0..members {
            let lot = match (team, member) {
                (9, 0..6) => Lot::Unchanged,
                (2, 3) | (14, 1) => Lot::Fails,
                (4, 0..4) => Lot::Skipped,
                (11, 0..3) => Lot::Unbuildable,
                (3 | 8, 0..10) => Lot::NotMatched,
                _ => Lot::Built,
            };
            let suffix = ["api", "engine", "agent-with-a-rather-long-name", "web", "worker"];
            let name = format!("team-{team:02}-{}-{member}", suffix[member as usize % 5]);
            let seconds = 8 + (team * 31 + member * member * 17) % 75;
            let needs = [base, tools];
            add(&name, &needs[..if member == 7 { 2 } else { 1 }], lot, seconds);
        }
    }
    family
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn started(family: &[Planned]) -> Event {
    let to_build = family.iter().filter(|image| image.is_to_be_built());
    let needs = |image: &Planned| -> Vec<ImageName> {
        image.needs.iter().map(|need| family[*need].name.clone()).collect()
    };
    let aside = |image: &Planned| match image.lot {
        Lot::Skipped => Some((Aside::Skipped, format!("the engine has {}", image.reference()))),
        Lot::Unchanged => {
            Some((Aside::Unchanged, format!("the engine has {}, unchanged", image.reference())))
        }
        Lot::Unbuildable => Some((Aside::Unbuildable, "no such package".to_owned())),
        Lot::NotMatched => Some((Aside::NotMatched, "not selected".to_owned())),
        Lot::Built | Lot::Fails => None,
    };
    Event::Started {
        at: SystemTime::UNIX_EPOCH + at(1_800_000_000),
        engine: "Docker 29.1.3 at /var/run/docker.sock with BuildKit".to_owned(),
        threads: THREADS,
        to_build: to_build
            .clone()
            .map(|image| ToBuild {
                name: image.name.clone(),
                reference: image.reference(),
                wave: image.wave,
                needs: needs(image),
            })
            .collect(),
        set_aside: family
            .iter()
            .filter_map(|image| {
                let (aside, reason) = aside(image)?;
                Some(SetAside {
                    name: image.name.clone(),
                    reference: image.reference(),
                    wave: image.wave,
                    needs: needs(image),
                    aside,
                    reason,
                    asked_for: true,
                })
            })
            .collect(),
        estimate: Some(at(2400)),
        expected: to_build
            .map(|image| {
                (image.name.clone(), at(image.seconds * (70 + image.wave as u64 * 15) / 100))
            })
            .collect(),
        existing: BTreeMap::new(),
    }
}

fn built(image: &Planned) -> Outcome {
    let labels = [("maintainer", "the team <team@example.com>"), ("build-date", "20270115")];
    Outcome::Built {
        made: BuiltImage {
            id: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            size: Some(image.seconds * 7_654_321),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            fingerprint: Some("fedcba9876543210".repeat(4)),
        },
        pushed: vec![Pushed {
            reference: format!("registry.example:5000/{}", image.reference()).parse().unwrap(),
            digest: format!("sha256:{}", "89abcdef01234567".repeat(4)),
        }],
    }
}

/// Returns the events of the run, as eight threads would cause them.
fn events(family: &[Planned]) -> Vec<(Duration, Event)> {
    let mut told = vec![(at(0), started(family))];
    let mut free = [0_u64; THREADS];
    // Time at which each image was ready; `None` if it never was.
    let mut ready: Vec<Option<u64>> =
        family.iter().map(|image| (!image.is_to_be_built()).then_some(0)).collect();
    let mut order: Vec<usize> = (0..family.len()).filter(|i| family[*i].is_to_be_built()).collect();
    order.sort_by_key(|index| family[*index].wave);
    for index in order {
        let image = &family[index];
        let name = || image.name.clone();
        if let Some(missing) = image.needs.iter().find(|need| ready[**need].is_none()) {
            let outcome = Outcome::ParentError { ancestor: family[*missing].name.clone() };
            told.push((at(300), Event::Finished { name: name(), outcome, took: at(0) }));
            continue;
        }
        let possible = image.needs.iter().filter_map(|need| ready[*need]).max().unwrap_or(0);
        let slot = (0..THREADS).min_by_key(|slot| free[*slot].max(possible)).unwrap();
        let begin = free[slot].max(possible);
        let end = begin + image.seconds;
        free[slot] = end;
        told.push((at(begin), Event::BuildStarted { name: name(), attempt: 1 }));
        for line in 0..30 {
            let line = format!(
                "#{line} 0.{line}12 \u{1b}[32mSetting up\u{1b}[0m lib{line}-{index} (1.2.3-4) ..."
            );
            told.push((at(begin), Event::Log { name: name(), line }));
        }
        let took = at(image.seconds);
        if image.lot == Lot::Fails {
            let instruction = "RUN install-packages three".to_owned();
            told.push((at(begin), Event::Step { name: name(), number: 5, total: 9, instruction }));
            let line = "E: Unable to locate package three".to_owned();
            told.push((at(end), Event::Log { name: name(), line }));
            let outcome = Outcome::Error(
                "process \"/bin/sh -c install-packages three\" did not complete: exit code 100"
                    .to_owned(),
            );
            told.push((at(end), Event::Finished { name: name(), outcome, took }));
        } else {
            ready[index] = Some(end);
            told.push((at(end), Event::Built { name: name(), took }));
            let pushed = end + 2 + image.seconds / 9;
            told.push((at(pushed), Event::Finished { name: name(), outcome: built(image), took }));
        }
    }
    told.sort_by_key(|(at, _)| *at);
    let last = told.last().map(|(at, _)| *at).unwrap();
    told.push((
        last,
        Event::Warning(Warning {
            subject: "debian:bookworm".parse().unwrap(),
            text: "the pull failed, the engine's own image is used: no such host".to_owned(),
        }),
    ));
    told.push((last, Event::Ended { took: last }));
    told
}

fn large_run() -> Record {
    let family = family();
    assert_eq!(family.len(), 500);
    let facts = family.iter().map(|image| {
        let mut dockerfile = format!("FROM family/parent:1\nLABEL name={}\n\n", image.name);
        for part in ["one", "two", "three", "four"] {
            dockerfile +=
                &format!("# {part}\nRUN install-packages {part}\nCOPY {part}.conf /etc/\n");
            dockerfile +=
                &format!("RUN mkdir -p /var/lib/{part} \\\n    && chown 42401 /var/lib/{part}\n");
        }
        let template = format!("docker/{}/Dockerfile.tera", image.name);
        let externals =
            if image.wave == 1 { vec!["debian:bookworm".to_owned()] } else { Vec::new() };
        (image.name.clone(), Facts { template, dockerfile: dockerfile.into(), externals })
    });
    let catalogue = Catalogue { images: facts.collect(), read_template: Box::new(|_| None) };
    let mut record = Record::new(catalogue, Some("logs".into()));
    events(&family).iter().for_each(|(at, event)| record.hear(*at, event));
    record
}
