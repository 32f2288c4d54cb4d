//! Runs that are interrupted at any moment: no image has another content than its fingerprint says,
//! and the next run builds the missing images and no others.
//!
//! The trees of a trial and of the previous one differ, so that the engine always has a whole
//! family of outdated images. `KILN_TRIALS` and `KILN_SEED` set the number of trials and their
//! random seed; the seed of each test is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Cleanup, Run, TestTree, docker, require_engine};
use serde_json::Value;

const SIGNALS: [&str; 4] = ["INT", "TERM", "HUP", "KILL"];
const BUILDERS: [&str; 2] = ["--nobuildkit", "--buildkit"];
const MIDS: usize = 9;
const LEAVES: usize = 90;

/// Content of an image: its layers, and its configuration except for labels.
type Content = (Value, Value);

/// A hundred images in two versions, one of which the engine has.
struct Family {
    tree: TestTree,
    salt: u64,
    names: Vec<String>,
    _cleanup: (Sweep, Cleanup),
}

/// Guard that removes the untagged images of the test.
struct Sweep(String);

impl Drop for Sweep {
    fn drop(&mut self) {
        docker(&["image", "prune", "--force", "--filter", &self.0]);
    }
}

fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| (digit - b'0' + b'a') as char).collect()
}

impl Family {
    fn new(builder: &str, salt: u64) -> Self {
        let tree = TestTree::new(&[]);
        let namespace = format!("{}{builder}", tree.namespace());
        let tree = tree.in_namespace(&namespace);
        let label = format!("kiln.test={}", tree.namespace());
        tree.image("base", &format!("FROM scratch\nLABEL {label}\nCOPY file /base\n"));
        let mids: Vec<String> = (0..MIDS).map(|n| format!("mid-{}", letters(n))).collect();
        let leaves: Vec<String> = (0..LEAVES).map(|n| format!("leaf-{}", letters(n))).collect();
        for mid in &mids {
            tree.image(mid, &format!("FROM @base\nCOPY file /{mid}\n"));
        }
        for (leaf, mid) in leaves.iter().zip(mids.iter().cycle()) {
            tree.image(leaf, &format!("FROM @{mid}\nCOPY file /{leaf}\n"));
        }
        let names = [vec!["base".to_owned()], mids, leaves].concat();
        let cleanup = (Sweep(format!("label={label}")), Cleanup::new(tree.namespace().to_owned()));
        Self { tree, salt, names, _cleanup: cleanup }
    }

    fn write(&self, version: usize) {
        for name in &self.names {
            let text = format!("{name} {} {version}\n", self.salt);
            self.tree.write(&format!("{name}/file"), &text);
        }
    }

    fn command(&self, builder: &str) -> Command {
        self.tree.command(&[builder, "--nocache", "--skip-unchanged", "--quiet"])
    }

    fn run(&self, builder: &str) -> Run {
        Run::of(self.command(builder))
    }

    /// Returns the fingerprint and the content of each image that the engine has.
    fn in_engine(&self) -> BTreeMap<String, (String, Content)> {
        let references: Vec<String> = self.names.iter().map(|n| self.tree.reference(n)).collect();
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        // Missing images are reported on standard error.
        let found = docker(&[&["image", "inspect"], &references[..]].concat()).stdout;
        let images: Vec<Value> = serde_json::from_str(&found).expect("a list");
        let known = images.into_iter().flat_map(|image| {
            let label = image["Config"]["Labels"]["kiln.fingerprint"].as_str().unwrap_or_default();
            let printed = label.split(' ').next().unwrap_or_default().to_owned();
            let config = ["Cmd", "Entrypoint", "Env", "User", "WorkingDir"];
            let config = config.map(|key| image["Config"][key].clone()).to_vec();
            let content = (image["RootFS"].clone(), Value::from(config));
            let tags = image["RepoTags"].as_array().expect("tags").clone();
            tags.into_iter().map(move |tag| {
                (tag.as_str().expect("a tag").to_owned(), (printed.clone(), content.clone()))
            })
        });
        let known: BTreeMap<_, _> = known.collect();
        let of_name =
            |name: &String| Some((name.clone(), known.get(&self.tree.reference(name))?.clone()));
        self.names.iter().filter_map(of_name).collect()
    }

    /// Returns the same once the engine is idle: it may be finishing an abandoned build.
    fn at_rest(&self) -> BTreeMap<String, (String, Content)> {
        let mut before = self.in_engine();
        loop {
            std::thread::sleep(Duration::from_millis(400));
            let now = self.in_engine();
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

/// Results of uninterrupted builds of the two versions by one builder.
struct Reference {
    /// Fingerprint of each image, by version.
    fingerprints: [BTreeMap<String, String>; 2],
    /// Content of the image with each fingerprint.
    contents: BTreeMap<String, Content>,
    /// Duration of the second run.
    took: Duration,
}

impl Reference {
    fn of(family: &Family, builder: &str) -> Self {
        let mut contents = BTreeMap::new();
        let mut took = Duration::ZERO;
        let fingerprints = [0, 1].map(|version| {
            family.write(version);
            let began = Instant::now();
            let run = family.run(builder).expect(0);
            took = began.elapsed();
            assert_eq!(run.names("built").len(), family.names.len());
            let found = family.in_engine();
            contents.extend(found.values().cloned());
            found.into_iter().map(|(name, (printed, _))| (name, printed)).collect()
        });
        assert_eq!(contents.len(), 2 * family.names.len(), "no two images are the same");
        Self { fingerprints, contents, took }
    }
}

/// Sends a signal to one run, and starts another one afterwards. Returns the number of images that
/// the first had built.
fn trial(
    family: &Family,
    builder: &str,
    reference: &Reference,
    (version, signal, after): (usize, &str, Duration),
) -> usize {
    family.write(version);
    let what = format!("{builder} {signal} after {after:?}");
    let mut command = family.command(builder);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = broken_off(child, signal, after);
    let found = family.at_rest();
    let expected = &reference.fingerprints[version];
    for (name, (printed, content)) in &found {
        assert_eq!(Some(content), reference.contents.get(printed), "{what}: {name} {printed}");
    }
    let right: BTreeSet<&String> = found
        .iter()
        .filter(|(name, (printed, _))| expected[*name] == *printed)
        .map(|(name, _)| name)
        .collect();
    match first.end {
        // Status of a program that had not installed its signal handler yet.
        End::Signal => assert!(signal == "KILL" || right.is_empty(), "{what}: {:?}", first.run),
        End::Code(0) => assert_eq!(right.len(), family.names.len(), "{what}: {:?}", first.run),
        End::Code(code) => {
            assert_eq!(code, 130, "{what}: {:?}", first.run);
            let told: BTreeSet<String> = first.run.names("built").into_iter().collect();
            let missing: Vec<_> = told.iter().filter(|name| !right.contains(name)).collect();
            assert!(missing.is_empty(), "{what}: not there: {missing:?}");
            let failed = first.run.names("failed");
            assert!(failed.iter().all(|name| name.ends_with(" interrupted")), "{what}: {failed:?}");
            assert_eq!(told.len() + failed.len(), family.names.len(), "{what}");
        }
    }
    let second = family.run(builder).expect(0);
    let mut built = second.names("built");
    built.sort();
    let rest: Vec<String> = expected.keys().filter(|name| !right.contains(name)).cloned().collect();
    assert_eq!(built, rest, "{what}");
    let whole = family.in_engine();
    for (name, printed) in expected {
        let content = reference.contents[printed].clone();
        assert_eq!(whole.get(name), Some(&(printed.clone(), content)), "{what}: {name}");
    }
    docker(&["image", "prune", "--force", "--filter", &family._cleanup.0.0]).expect(0);
    right.len()
}

enum End {
    Code(i32),
    Signal,
}

struct BrokenOff {
    end: End,
    run: Run,
}

fn broken_off(child: Child, signal: &str, after: Duration) -> BrokenOff {
    std::thread::sleep(after);
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    // The process still exists, since nobody has waited for it.
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let end = match output.status.signal() {
        Some(_) => End::Signal,
        None => End::Code(output.status.code().unwrap()),
    };
    BrokenOff { end, run: Run::from(output) }
}

fn trials(count: usize) {
    require_engine();
    let seed = match std::env::var("KILN_SEED") {
        Ok(seed) => seed.parse().expect("KILN_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("KILN_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut signals = SIGNALS;
    random.shuffle(&mut signals);
    let families = BUILDERS.map(|builder| {
        let family = Family::new(builder, fastrand::u64(..));
        let reference = Reference::of(&family, builder);
        (builder, family, reference)
    });
    for number in 0..count {
        let (builder, family, reference) = &families[number % 2];
        let signal = signals[(number + number / 4) % signals.len()];
        let after = reference.took.mul_f64(random.f64());
        let version = number / 2 % 2;
        let had = trial(family, builder, reference, (version, signal, after));
        println!("trial {}: {builder} {signal} after {after:?}: {had} of 100", number + 1);
    }
}

/// Returns the number of trials.
fn asked_for(usual: usize) -> usize {
    std::env::var("KILN_TRIALS").map_or(usual, |count| count.parse().expect("a number"))
}

#[test]
fn interrupted_run_leaves_consistent_state() {
    trials(asked_for(4));
}

#[test]
#[ignore = "takes hours: two hundred times a hundred images"]
fn interrupted_runs_leave_consistent_state() {
    trials(asked_for(200));
}
