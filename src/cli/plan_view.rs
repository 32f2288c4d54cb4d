//! `kiln build --plan`: prints what a run would do, why, and how long it would take, without
//! running.
//!
//! The plan and the forecast are the ones that a run would use; this module only formats them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::difference_text::{told, told_changes};
use super::exit::{Exit, Failure};
use super::{build_durations, terminal};
use crate::console::{Json, Listing};
use crate::event::{Aside, SetAside};
use crate::graph::{ImageEntry, Index};
use crate::image::ImageName;
use crate::incremental::Changes;
use crate::incremental::survey::{Comparison, Survey};
use crate::plan::{Forecast, Plan, Wanted};
use crate::report::format::{Seconds, clock, rough};
use crate::settings::{PlanFormat, RunSettings};

/// Number of images that are named as the reason for building another.
const NAMED: usize = 3;

/// Prints what a run with these settings would do by this plan. The reasons come from the `survey`
/// of the engine or, without one, from the `changes` since a commit.
pub fn show(
    format: PlanFormat,
    plan: &Plan<'_>,
    run: &RunSettings,
    survey: Option<&Survey>,
    changes: Option<&Changes>,
) -> Result<Exit, Failure> {
    let outlook = Outlook {
        plan,
        durations: build_durations::known(run.state.durations_file.as_deref(), plan),
        changes: match survey {
            Some(survey) => since_built(plan, survey),
            None => changes.map(since_commit).unwrap_or_default(),
        },
        threads: run.build.threads,
        priorities: run.build.priorities,
    };
    match format {
        PlanFormat::Text => terminal::print_out(&outlook.text()),
        PlanFormat::Json => terminal::print_json(&Json::indented(&outlook.json())),
    }
}

/// Describes, by name, how the images to build differ from those in the engine.
fn since_built(plan: &Plan<'_>, survey: &Survey) -> BTreeMap<ImageName, String> {
    let images = plan.to_build().map(|image| &plan.graph().images()[image]);
    images
        .filter_map(|image| {
            let told = match survey.comparison(image)? {
                Comparison::Absent => "the engine has no image with this name and tag".to_owned(),
                Comparison::Unlabelled => "the engine's image has no fingerprint".to_owned(),
                Comparison::Misplaced => {
                    "the engine's image is not built on the current layers of its parent".to_owned()
                }
                Comparison::Unchanged => "missing or changed in at least one registry".to_owned(),
                Comparison::Changed(changes) => told_changes(&changes),
                Comparison::BuiltAs(_) => "the engine's image has another fingerprint".to_owned(),
            };
            Some((image.name.clone(), told))
        })
        .collect()
}

/// Describes, by name, how the images differ from those at a commit.
fn since_commit(Changes { since, differences }: &Changes) -> BTreeMap<ImageName, String> {
    let told = differences
        .iter()
        .map(|(name, difference)| (name.clone(), format!("{} since {since}", told(difference))));
    told.collect()
}

/// Plan and forecast of a run, ready to be printed.
struct Outlook<'a> {
    plan: &'a Plan<'a>,
    /// ImageInfo durations of builds in earlier runs.
    durations: BTreeMap<ImageName, Duration>,
    /// Descriptions of the images' changes.
    changes: BTreeMap<ImageName, String>,
    threads: usize,
    priorities: bool,
}

impl Outlook<'_> {
    fn name(&self, image: Index) -> &ImageName {
        &self.plan.graph().images()[image].name
    }

    fn took(&self, image: Index) -> Option<Duration> {
        self.durations.get(self.name(image)).copied()
    }

    fn forecast(&self) -> Forecast<'_> {
        Forecast::new(self.plan, &self.durations)
    }

    /// Returns the reason why an image is built.
    fn reason(&self, image: Index) -> String {
        let wanted = match self.plan.wanted(image) {
            Wanted::All => "all images are selected".to_owned(),
            Wanted::Matched(pattern) => format!("matches '{pattern}'"),
            Wanted::NeededBy(images) => format!("needed by {}", self.named(&images)),
        };
        match self.changes.get(self.name(image)) {
            Some(changes) => format!("{wanted}; {changes}"),
            None => wanted,
        }
    }

    /// Returns the names of the first of these images, and the number of the others.
    fn named(&self, images: &[Index]) -> String {
        let shown = if images.len() > NAMED + 1 { NAMED } else { images.len() };
        let names: Vec<_> =
            images[..shown].iter().map(|image| self.name(*image).to_string()).collect();
        match images.len() - shown {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }

    /// Returns the text for people: a heading for each wave, a line for each image, and the counts
    /// and the estimate last.
    fn text(&self) -> Listing {
        let graph = self.plan.graph();
        let to_build: Vec<Index> = self.plan.to_build().collect();
        let (_, set_aside) = self.plan.announce();
        let told = |image: &&SetAside| match image.aside {
            Aside::Skipped | Aside::Unchanged => true,
            // There may be hundreds of these; the JSON has them all.
            Aside::Unbuildable => image.asked_for,
            Aside::NotMatched => false,
        };
        let names = to_build.iter().map(|image| self.name(*image));
        let names = names.chain(set_aside.iter().filter(told).map(|image| &image.name));
        let width = names.map(|name| name.to_string().len()).max().unwrap_or(0);
        let reference = |image: &Index| graph.images()[*image].reference.to_string();
        let reference_width =
            to_build.iter().map(|image| reference(image).len()).max().unwrap_or(0);
        let mut text = Listing::default();
        let mut say = |line: String| text.line(line);
        for wave in to_build.chunk_by(|a, b| graph.wave(*a) == graph.wave(*b)) {
            say(format!("Wave {}", graph.wave(wave[0])));
            for image in wave {
                let took = self.took(*image).map_or_else(|| "?".to_owned(), clock);
                let (name, reference) = (self.name(*image), reference(image));
                let reason = self.reason(*image);
                say(format!("  {name:width$}  {reference:reference_width$}  {took:>8}  {reason}"));
            }
        }
        for (title, kinds) in [("Skipped", Aside::SKIPPED), ("Unbuildable", &[Aside::Unbuildable])]
        {
            let is_of_title = |image: &&SetAside| kinds.contains(&image.aside);
            let of_title = || set_aside.iter().filter(told).filter(is_of_title);
            if of_title().next().is_some() {
                say(title.to_owned());
            }
            for SetAside { wave, name, reason, .. } in of_title() {
                say(format!("  wave {wave}  {name:width$}  {reason}"));
            }
        }
        say(self.counts(to_build.len(), &set_aside));
        if !to_build.is_empty() {
            say(self.estimate(&to_build));
        }
        text
    }

    fn counts(&self, to_build: usize, set_aside: &[SetAside]) -> String {
        let count =
            |kinds: &[Aside]| set_aside.iter().filter(|image| kinds.contains(&image.aside)).count();
        format!(
            "{to_build} to build, {} skipped, {} not matched, {} unbuildable",
            count(Aside::SKIPPED),
            count(&[Aside::NotMatched]),
            count(&[Aside::Unbuildable])
        )
    }

    fn estimate(&self, to_build: &[Index]) -> String {
        match self.forecast().total(self.threads) {
            Some(total) => {
                format!(
                    "about {} of building with {} builds in parallel",
                    rough(total),
                    self.threads
                )
            }
            None => {
                let known = to_build.iter().filter(|image| self.took(**image).is_some()).count();
                let all = to_build.len();
                format!("no estimate: durations are known for {known} of {all} builds")
            }
        }
    }

    /// Returns the plan for programs, with all images by wave and name.
    fn json(&self) -> PlanJson<'_> {
        let forecast = self.forecast();
        let starts = forecast.starts(self.threads, self.priorities);
        let turns: BTreeMap<Index, usize> =
            starts.into_iter().enumerate().map(|(turn, image)| (image, turn + 1)).collect();
        let images = self.plan.graph().order().iter();
        PlanJson {
            images: images.map(|image| self.image_json(*image, &turns)).collect(),
            threads: self.threads,
            estimated_seconds: forecast.total(self.threads).map(Seconds::from),
        }
    }

    fn image_json(&self, image: Index, turns: &BTreeMap<Index, usize>) -> PlannedImage<'_> {
        let graph = self.plan.graph();
        let (decision, reason) = match self.plan.set_aside(image) {
            None => (DecisionWord::ToBuild(ToBuildWord::Build), self.reason(image)),
            Some(SetAside { aside, reason, .. }) => (DecisionWord::NotBuilt(aside), reason),
        };
        let needs = graph.needs(image).into_iter();
        PlannedImage {
            image: ImageEntry::new(&graph.images()[image]),
            wave: graph.wave(image),
            decision,
            reason,
            needs: needs.map(|needed| self.name(needed).to_string()).collect(),
            start: turns.get(&image).map(|turn| Start {
                turn: *turn,
                estimated_seconds: self.took(image).map(Seconds::from),
            }),
        }
    }
}

/// Plan of a run, from `kiln build --plan --format json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "Plan"))]
pub struct PlanJson<'a> {
    /// All images of the tree, by wave and name.
    images: Vec<PlannedImage<'a>>,
    /// Largest number of images that are built at the same time.
    threads: usize,
    /// Expected duration of all builds; null if too few earlier durations are known.
    estimated_seconds: Option<Seconds>,
}

/// An image, and the decision about it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct PlannedImage<'a> {
    #[serde(flatten)]
    image: ImageEntry<'a>,
    /// Topological wave, from 1.
    wave: usize,
    /// Decision about the image.
    decision: DecisionWord,
    /// Reason of the decision.
    reason: String,
    /// Images of the tree that it is built on or copies from.
    needs: Vec<String>,
    #[serde(flatten)]
    start: Option<Start>,
}

/// Decision about an image: to build it, or the reason why it is not built.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum DecisionWord {
    ToBuild(ToBuildWord),
    NotBuilt(Aside),
}

/// Decision to build an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum ToBuildWord {
    Build,
}

/// Start of a build; absent if the image is not built.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Start {
    /// Position in the order of the starts, from 1.
    turn: usize,
    /// Expected duration of the build; null if no earlier duration is known.
    estimated_seconds: Option<Seconds>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::graph::tests::{graph, naming};
    use crate::plan::tests::any_tree;
    use crate::plan::{Facts, SearchedPattern, Selection};
    use proptest::prelude::*;

    const FAMILY: &[(&str, &str)] = &[
        ("base", "FROM debian:1"),
        ("left", "FROM @base"),
        ("leaf", "FROM @left\nCOPY --from=@tool / /"),
        ("right", "FROM @base"),
        ("tool", "FROM other:1"),
        ("never", "FROM @base"),
        ("elsewhere", "FROM @base"),
        ("lone", "FROM other:1"),
    ];

    /// Returns a selection and facts: `base` exists, `leaf` and `right` match, `never` and `elsewhere` are
    /// unbuildable.
    fn some() -> (Selection, Facts) {
        let found = [("^le", "leaf"), ("^le", "left"), ("right", "right"), ("never", "never")];
        let patterns = found.map(|(text, name)| SearchedPattern {
            text: text.into(),
            found_in: [name.to_owned()].into(),
        });
        let unbuildable = [("never", "no such package"), ("elsewhere", "nor this")];
        let selection = Selection {
            patterns: Some(patterns.into()),
            unbuildable: unbuildable.map(|(n, why)| (ImageName::new(n), why.to_owned())).into(),
            ..Selection::default()
        };
        let existing = [naming().reference("base").unwrap()].into();
        (selection, Facts { existing, ..Facts::default() })
    }

    /// Returns text and JSON for the family; `durations` are in seconds.
    fn told(
        (selection, facts): &(Selection, Facts),
        durations: &[(&str, u64)],
    ) -> (String, String) {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, selection, facts);
        let durations =
            durations.iter().map(|(n, took)| (ImageName::new(n), Duration::from_secs(*took)));
        let changes = [("right", "file x changed"), ("base", "not told of what is not built")];
        let outlook = Outlook {
            plan: &plan,
            durations: durations.collect(),
            changes: changes.map(|(name, told)| (ImageName::new(name), told.to_owned())).into(),
            threads: 2,
            priorities: true,
        };
        (outlook.text().as_str().to_owned(), Json::indented(&outlook.json()).as_str().to_owned())
    }

    #[test]
    fn plan_is_printed_as_text_and_json() {
        let (text, json) = told(&some(), &[("left", 70), ("leaf", 5), ("right", 30)]);
        insta::assert_snapshot!("text", text);
        insta::assert_snapshot!("json", json);
    }

    #[test]
    fn too_little_known_makes_no_estimate() {
        let text = told(&Default::default(), &[("left", 70)]).0;
        assert!(text.ends_with("no estimate: durations are known for 1 of 8 builds\n"), "{text}");
        let all = Facts {
            existing: FAMILY.iter().map(|(name, _)| naming().reference(name).unwrap()).collect(),
            ..Facts::default()
        };
        let text = told(&(Selection::default(), all), &[]).0;
        assert!(
            text.ends_with("\n0 to build, 8 skipped, 0 not matched, 0 unbuildable\n"),
            "{text}"
        );
    }

    #[test]
    fn many_that_need_an_image_are_counted() {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
        let outlook = Outlook {
            plan: &plan,
            durations: BTreeMap::new(),
            changes: BTreeMap::new(),
            threads: 1,
            priorities: true,
        };
        assert_eq!(outlook.named(&[0]), "base");
        assert_eq!(outlook.named(&[0, 1, 2, 3]), "base, elsewhere, leaf, left");
        assert_eq!(outlook.named(&[0, 1, 2, 3, 4]), "base, elsewhere, leaf and 2 more");
    }

    fn names(graph: &Graph, images: impl Iterator<Item = Index>) -> Vec<String> {
        images.map(|image| graph.images()[image].name.to_string()).collect()
    }

    proptest! {
        #[test]
        fn plan_lists_the_images_that_are_built(
            tree in any_tree(),
            wanted in prop::collection::btree_set(0usize..30, 0..5),
            existing in prop::collection::btree_set(0usize..30, 0..5),
            threads in 1usize..4,
        ) {
            let pairs: Vec<_> = tree.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
            let graph = graph(&pairs).unwrap();
            let some = |picks: &std::collections::BTreeSet<usize>| -> Vec<&str> {
                picks.iter().filter_map(|pick| Some(pairs.get(*pick)?.0)).collect()
            };
            let patterns = some(&wanted).into_iter().map(|n| SearchedPattern::of_name(n.to_owned()));
            let selection = Selection {
                patterns: Some(patterns.collect()),
                ..Selection::default()
            };
            let facts = Facts {
                existing: some(&existing).iter().map(|n| naming().reference(n).unwrap()).collect(),
                ..Facts::default()
            };
            let plan = Plan::new(&graph, &selection, &facts);
            let outlook = Outlook {
                plan: &plan,
                durations: BTreeMap::new(),
                changes: BTreeMap::new(),
                threads,
                priorities: true,
            };
            let json = serde_json::json!(outlook.json());
            let images = json["images"].as_array().unwrap();
            prop_assert_eq!(images.len(), tree.len());
            let told: Vec<_> = images
                .iter()
                .filter(|image| image["decision"] == "build")
                .map(|image| image["name"].as_str().unwrap().to_owned())
                .collect();
            let built = names(&graph, plan.to_build());
            prop_assert_eq!(&told, &built);
            let text = outlook.text();
            let lines = text.as_str().lines().take_while(|line| *line != "Skipped");
            let lines = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
            prop_assert_eq!(lines.collect::<Vec<_>>(), built);
            let turns: std::collections::BTreeSet<u64> =
                images.iter().filter_map(|image| image["turn"].as_u64()).collect();
            prop_assert_eq!(turns, (1..=told.len() as u64).collect());
        }
    }
}
