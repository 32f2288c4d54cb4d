//! Forecasts the duration of a plan's builds from earlier runs: which builds should start first,
//! and how long all of them take.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::decisions::Plan;
use crate::graph::Index;
use crate::image::ImageName;

/// Duration assumed for every build if none is known.
const DEFAULT_DURATION: Duration = Duration::from_secs(1);

/// Forecast of the builds of a plan. Images that are not built take no time.
#[derive(Debug)]
pub struct Forecast<'a> {
    plan: &'a Plan<'a>,
    /// Expected duration of each build, by image.
    expected: Vec<Duration>,
    /// Number of images to build whose duration is known.
    known: usize,
}

impl<'a> Forecast<'a> {
    /// Expects the `known` duration for each image. Other images get the median of the known
    /// durations of this plan's images, or one second if there is none.
    pub fn new(plan: &'a Plan<'a>, known: &BTreeMap<ImageName, Duration>) -> Self {
        let images = plan.graph().images();
        let of = |image: Index| known.get(&images[image].name).copied();
        let mut found: Vec<Duration> = plan.to_build().filter_map(of).collect();
        found.sort();
        let usual = found.get(found.len() / 2).copied().unwrap_or(DEFAULT_DURATION);
        let mut expected = vec![Duration::ZERO; images.len()];
        for image in plan.to_build() {
            expected[image] = of(image).unwrap_or(usual);
        }
        Self { plan, expected, known: found.len() }
    }

    /// Returns the expected duration of each build, by name.
    pub fn by_name(&self) -> BTreeMap<ImageName, Duration> {
        let images = self.plan.graph().images();
        let expected = |image: Index| (images[image].name.clone(), self.expected[image]);
        self.plan.to_build().map(expected).collect()
    }

    /// Returns, for every image, the duration of the longest chain of builds from it on, including
    /// its own: the longer, the sooner it should start.
    pub fn urgency(&self) -> Vec<Duration> {
        let mut urgency = vec![Duration::ZERO; self.expected.len()];
        let order: Vec<Index> = self.plan.to_build().collect();
        for image in order.into_iter().rev() {
            let below = self.plan.graph().needed_by(image).into_iter().map(|child| urgency[child]);
            urgency[image] = self.expected[image] + below.max().unwrap_or_default();
        }
        urgency
    }

    /// Returns, for every image, the duration of the longest chain of builds before it: it can't
    /// start sooner.
    pub fn earliest(&self) -> Vec<Duration> {
        let mut earliest = vec![Duration::ZERO; self.expected.len()];
        for image in self.plan.to_build() {
            let needs = self.plan.graph().needs(image).into_iter();
            let ends = needs.map(|needed| earliest[needed] + self.expected[needed]);
            earliest[image] = ends.max().unwrap_or_default();
        }
        earliest
    }

    /// Returns, for every image, its rank among the images that are ready to start: the most urgent
    /// first, or by name without `priorities`.
    pub fn ranks(&self, priorities: bool) -> Vec<usize> {
        let mut images: Vec<Index> = (0..self.expected.len()).collect();
        if priorities {
            let urgency = self.urgency();
            images.sort_by_key(|image| Reverse(urgency[*image]));
        }
        let mut ranks = vec![0; images.len()];
        for (rank, image) in images.into_iter().enumerate() {
            ranks[image] = rank;
        }
        ranks
    }

    /// Returns the images to build in the order in which they start on `threads` threads, if each
    /// takes as long as expected; `priorities` as in [`Self::ranks`].
    pub fn starts(&self, threads: usize, priorities: bool) -> Vec<Index> {
        let (graph, ranks) = (self.plan.graph(), self.ranks(priorities));
        let is_built = |image: &Index| self.plan.is_built(*image);
        let mut missing: BTreeMap<Index, usize> = self
            .plan
            .to_build()
            .map(|image| (image, graph.needs(image).into_iter().filter(is_built).count()))
            .collect();
        let free = missing.iter().filter(|(_, missing)| **missing == 0);
        let mut ready: BTreeSet<(usize, Index)> =
            free.map(|(image, _)| (ranks[*image], *image)).collect();
        let mut under_way: BTreeSet<(Duration, Index)> = BTreeSet::new();
        let (mut now, mut starts) = (Duration::ZERO, Vec::new());
        loop {
            while under_way.len() < threads.max(1)
                && let Some((_, image)) = ready.pop_first()
            {
                starts.push(image);
                under_way.insert((now + self.expected[image], image));
            }
            let Some((end, image)) = under_way.pop_first() else { return starts };
            now = end;
            for child in graph.needed_by(image).into_iter().filter(is_built) {
                let missing = missing.get_mut(&child).expect("it is built");
                *missing -= 1;
                if *missing == 0 {
                    ready.insert((ranks[child], child));
                }
            }
        }
    }

    /// Returns the duration of the builds on `threads` threads, without pushes: the critical path,
    /// or the total divided by the threads if that is longer. `None` unless the duration of at
    /// least half of the builds is known.
    pub fn total(&self, threads: usize) -> Option<Duration> {
        let is_founded = self.known > 0 && self.known * 2 >= self.plan.to_build().count();
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let shared = self.expected.iter().sum::<Duration>() / threads.max(1);
        is_founded.then(|| self.urgency().into_iter().fold(shared, Duration::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::graph::tests::graph;
    use crate::plan::tests::any_tree;
    use crate::plan::{Facts, Selection};
    use proptest::prelude::*;

    const FAMILY: &[(&str, &str)] = &[
        ("base", "FROM debian:1"),
        ("left", "FROM @base"),
        ("leaf", "FROM @left\nCOPY --from=@tool / /"),
        ("right", "FROM @base"),
        ("tool", "FROM other:1"),
    ];

    fn known(durations: &[(&str, u64)]) -> BTreeMap<ImageName, Duration> {
        let known = durations.iter();
        known.map(|(name, took)| (ImageName::new(name), Duration::from_secs(*took))).collect()
    }

    /// Returns each name with its seconds, in name order.
    fn by_name(graph: &Graph, of: &[Duration]) -> Vec<String> {
        let images = graph.images().iter().zip(of);
        images.map(|(image, of)| format!("{} {}", image.name, of.as_secs())).collect()
    }

    #[test]
    fn the_longest_path_counts_in_seconds() {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
        let known = known(&[("base", 10), ("left", 1), ("leaf", 2), ("right", 60), ("tool", 5)]);
        let forecast = Forecast::new(&plan, &known);
        let expected = ["base 70", "leaf 2", "left 3", "right 60", "tool 7"];
        assert_eq!(by_name(&graph, &forecast.urgency()), expected);
        let expected = ["base 0", "leaf 11", "left 10", "right 10", "tool 0"];
        assert_eq!(by_name(&graph, &forecast.earliest()), expected);
        assert_eq!(forecast.ranks(true), [0, 4, 3, 1, 2]);
        assert_eq!(forecast.ranks(false), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn start_times_depend_on_free_threads() {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
        let known = known(&[("base", 10), ("left", 1), ("leaf", 2), ("right", 60), ("tool", 5)]);
        let forecast = Forecast::new(&plan, &known);
        let starts = |threads, priorities| {
            let starts = forecast.starts(threads, priorities).into_iter();
            starts.map(|image| graph.images()[image].name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(starts(1, true), "base right tool left leaf");
        assert_eq!(starts(2, true), "base tool right left leaf");
        assert_eq!(starts(1, false), "base left right tool leaf");
    }

    #[test]
    fn unknown_durations_are_the_median() {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
        let some = known(&[("base", 4), ("left", 9), ("tool", 70), ("elsewhere", 1000)]);
        let forecast = Forecast::new(&plan, &some);
        let expected = ["base 4", "leaf 9", "left 9", "right 9", "tool 70"];
        assert_eq!(by_name(&graph, &forecast.expected), expected);
        let forecast = Forecast::new(&plan, &BTreeMap::new());
        assert_eq!(forecast.expected, [DEFAULT_DURATION; 5]);
    }

    #[test]
    fn a_whole_run_is_as_long_as_its_longest_chain_or_its_share_of_the_work() {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
        let total = |durations: &[(&str, u64)], threads| {
            Forecast::new(&plan, &known(durations)).total(threads).map(|total| total.as_secs())
        };
        let all = [("base", 10), ("left", 10), ("leaf", 10), ("right", 10), ("tool", 20)];
        assert_eq!([1, 2, 8].map(|threads| total(&all, threads)), [Some(60), Some(30), Some(30)]);
        assert_eq!(total(&all[..3], 1), Some(50));
        assert_eq!(total(&all[..2], 1), None);
        assert_eq!(total(&[], 1), None);
    }

    #[test]
    fn images_that_are_not_built_take_no_time() {
        let graph = graph(FAMILY).unwrap();
        let selection = Selection { skip_parents: true, ..Selection::default() };
        let plan = Plan::new(&graph, &selection, &Facts::default());
        let forecast = Forecast::new(&plan, &known(&[("base", 50), ("leaf", 2), ("right", 6)]));
        assert_eq!(forecast.total(1), Some(Duration::from_secs(8)));
    }

    proptest! {
        #[test]
        fn a_parent_is_as_urgent_as_itself_and_any_child(
            tree in any_tree(),
            durations in prop::collection::vec(prop::option::of(0u64..1000), 30),
            threads in 1usize..9,
        ) {
            let pairs: Vec<_> = tree.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
            let graph = graph(&pairs).unwrap();
            let plan = Plan::new(&graph, &Selection::default(), &Facts::default());
            let known: Vec<_> = pairs
                .iter()
                .zip(durations)
                .filter_map(|((name, _), took)| Some((*name, took?)))
                .collect();
            let forecast = Forecast::new(&plan, &self::known(&known));
            let (urgency, earliest) = (forecast.urgency(), forecast.earliest());
            let ranks = forecast.ranks(true);
            let starts = forecast.starts(threads, true);
            prop_assert_eq!(starts.len(), graph.images().len());
            for (at, image) in starts.iter().enumerate() {
                prop_assert!(graph.needs(*image).iter().all(|needed| starts[..at].contains(needed)));
            }
            for image in 0..graph.images().len() {
                let own = forecast.expected[image];
                let below = graph.needed_by(image).into_iter().map(|child| urgency[child]).max();
                prop_assert_eq!(urgency[image], own + below.unwrap_or_default());
                for child in graph.needed_by(image) {
                    prop_assert!(urgency[image] >= urgency[child] + own);
                    prop_assert!(earliest[child] >= earliest[image] + own);
                }
                for other in 0..graph.images().len() {
                    prop_assert!(urgency[image] <= urgency[other] || ranks[image] < ranks[other]);
                }
                if let Some(total) = forecast.total(threads) {
                    prop_assert!(total >= earliest[image] + urgency[image]);
                }
            }
        }
    }
}
