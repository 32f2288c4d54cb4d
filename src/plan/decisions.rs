//! Decisions about the images of a graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{Aside, SetAside, ToBuild};
use crate::graph::{Graph, Index};
use crate::image::{ImageLocation, ImageName, ImageRef};

/// Decision about one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The image is built.
    Build,
    /// The image is selected, but need not be built.
    Skip(Skip),
    /// The image is not selected.
    NotMatched,
    /// The image can't be built for this base and type, for the reason given.
    Unbuildable(String),
}

/// Reason why a selected image need not be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// The engine has an image of this name and tag.
    Exists,
    /// The engine has an image of this name and tag, made of the same parts.
    Unchanged,
    /// The registry has an image of this name and tag, made of the same parts.
    InRegistry,
    /// The image is the same as at this commit; only images that changed since then are built.
    Unaffected(Arc<str>),
    /// The image was not asked for, and no image that is built needs it.
    NotNeeded,
    /// Other images are built on it, and parents are skipped.
    Parent,
}

impl Skip {
    /// Returns the kind under which the image is reported: unchanged or skipped.
    fn aside(&self) -> Aside {
        match self {
            Self::Unchanged | Self::InRegistry | Self::Unaffected(_) => Aside::Unchanged,
            Self::Exists | Self::NotNeeded | Self::Parent => Aside::Skipped,
        }
    }

    /// Returns the reason in words, for the image with this reference.
    pub fn reason(&self, reference: &ImageRef) -> String {
        match self {
            Self::Exists => format!("the engine has {reference}"),
            Self::Unchanged => format!("the engine has {reference}, unchanged"),
            Self::InRegistry => format!("the registry has {reference}, unchanged"),
            Self::Unaffected(since) => format!("unchanged since {since}"),
            Self::NotNeeded => "nothing that is built needs it".to_owned(),
            Self::Parent => "other images are built on it, and parents are skipped".to_owned(),
        }
    }
}

/// Reason why an image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All images are asked for.
    All,
    /// Pattern that is found in its name.
    Matched(Arc<str>),
    /// Wanted images that need it: those of them that are built, or all if none is built.
    NeededBy(Vec<Index>),
}

/// Pattern of the user, and the names of images that it is found in.
#[derive(Debug)]
pub struct SearchedPattern {
    /// The pattern as it was given.
    pub text: Arc<str>,
    /// The names, without axes.
    pub found_in: BTreeSet<String>,
}

#[cfg(test)]
impl SearchedPattern {
    /// Returns the pattern of a single name.
    pub fn of_name(name: String) -> Self {
        Self { text: format!("^{name}$").into(), found_in: [name].into() }
    }
}

/// Images that the user asks for. Nothing that is found later changes it.
#[derive(Debug, Default)]
pub struct Selection {
    /// Patterns with the names that they are found in; `None` selects all images.
    pub patterns: Option<Vec<SearchedPattern>>,
    /// Images that can't be built for this base and type, each with the reason.
    pub unbuildable: BTreeMap<ImageName, String>,
    /// True to skip every image that others are built on.
    pub skip_parents: bool,
}

/// Facts found about the images of a graph, because of which selected images need not be built.
#[derive(Debug, Default)]
pub struct Facts {
    /// References of existing images, which are skipped.
    pub existing: BTreeSet<ImageRef>,
    /// Unchanged images, which are skipped, each with the place where it is.
    pub unchanged: BTreeMap<ImageName, ImageLocation>,
    /// Images unaffected since a commit, which are skipped.
    pub unaffected: Option<Unaffected>,
}

/// Images that are the same as at a commit.
#[derive(Debug, Clone)]
pub struct Unaffected {
    /// The user's name for the commit.
    pub since: Arc<str>,
    /// The unaffected images.
    pub images: BTreeSet<ImageName>,
    /// Images that neither the engine nor, if it was asked, the registry has. Those of them that are
    /// unaffected are built if a build needs them.
    pub missing: BTreeSet<ImageName>,
}

impl Selection {
    /// Returns the reason why the selection asks for the image called `name`; `None` if it does
    /// not.
    fn asking_for(&self, name: &ImageName) -> Option<Wanted> {
        let Some(patterns) = &self.patterns else { return Some(Wanted::All) };
        let matched = patterns.iter().find(|pattern| pattern.found_in.contains(name.as_str()))?;
        Some(Wanted::Matched(matched.text.clone()))
    }

    /// Returns the reason why the selection asks for each image of `graph`; `None` if it does not.
    fn asked_for(&self, graph: &Graph) -> Vec<Option<Wanted>> {
        graph.images().iter().map(|image| self.asking_for(&image.name)).collect()
    }

    /// Returns the reason why each image of `graph` can't be built: its own, or an image that it
    /// needs; `None` if it can.
    pub fn unbuildable_in(&self, graph: &Graph) -> Vec<Option<String>> {
        let mut reasons: Vec<Option<String>> = vec![None; graph.images().len()];
        for &index in graph.order() {
            let own = self.unbuildable.get(&graph.images()[index].name).cloned();
            reasons[index] = own.or_else(|| {
                let needed = graph.needs(index).into_iter().find(|one| reasons[*one].is_some())?;
                Some(format!("it needs '{}', which is unbuildable", graph.images()[needed].name))
            });
        }
        reasons
    }

    /// Returns true if the selection asks for an image of `graph` that can be built.
    pub fn matches(&self, graph: &Graph) -> bool {
        let unbuildable = self.unbuildable_in(graph);
        let mut images = graph.images().iter().zip(unbuildable);
        images.any(|(image, reason)| reason.is_none() && self.asking_for(&image.name).is_some())
    }

    /// Returns, for each image of `graph`, true if the selection asks for it or for an image that
    /// needs it.
    pub fn wanted_in(&self, graph: &Graph) -> Vec<bool> {
        let selected = selected(graph, self, &self.asked_for(graph));
        selected.iter().map(|decision| *decision == Decision::Build).collect()
    }
}

/// Decisions for all images of a graph.
#[derive(Debug)]
pub struct Plan<'a> {
    graph: &'a Graph,
    decisions: Vec<Decision>,
    /// Reason why the selection asks for each image; `None` if it does not.
    asked_for: Vec<Option<Wanted>>,
}

impl<'a> Plan<'a> {
    /// Decides about every image of `graph`.
    pub fn new(graph: &'a Graph, selection: &Selection, facts: &Facts) -> Self {
        let asked_for = selection.asked_for(graph);
        let mut decisions = selected(graph, selection, &asked_for);
        mark_skipped(graph, selection, facts, &mut decisions);
        if let Some(unaffected) = &facts.unaffected {
            mark_missing(graph, unaffected, &mut decisions);
        }
        if !facts.unchanged.is_empty() {
            mark_not_needed(graph, &asked_for, &mut decisions);
        }
        Self { graph, decisions, asked_for }
    }

    /// Returns the graph that the plan is for.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// Returns the decision about an image.
    pub fn decision(&self, image: Index) -> &Decision {
        &self.decisions[image]
    }

    /// Returns true if an image is built.
    pub fn is_built(&self, image: Index) -> bool {
        self.decisions[image] == Decision::Build
    }

    /// Returns true if an image is built or skipped.
    pub fn is_wanted(&self, image: Index) -> bool {
        matches!(self.decisions[image], Decision::Build | Decision::Skip(_))
    }

    /// Returns the reason why an image that is built or skipped is wanted: it was asked for, or
    /// else other images need it.
    pub fn wanted(&self, image: Index) -> Wanted {
        if let Some(asked) = &self.asked_for[image] {
            return asked.clone();
        }
        let children = self.graph.needed_by(image).into_iter();
        let (built, others): (Vec<_>, Vec<_>) = children
            .filter(|child| self.is_wanted(*child))
            .partition(|child| self.is_built(*child));
        Wanted::NeededBy(if built.is_empty() { others } else { built })
    }

    /// Returns the images that are only in the registry and that an image to build needs.
    pub fn to_fetch(&self) -> BTreeSet<Index> {
        let needed = self.to_build().flat_map(|image| self.graph.needs(image));
        needed
            .filter(|needed| self.decisions[*needed] == Decision::Skip(Skip::InRegistry))
            .collect()
    }

    /// Returns the manifest lists to make, each with the references of the images that it joins.
    pub fn lists(&self) -> BTreeMap<&'a ImageRef, Vec<&'a ImageRef>> {
        let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, image) in self.graph.images().iter().enumerate() {
            if let (Some(list), true) = (&image.list, self.is_wanted(index)) {
                lists.entry(list).or_default().push(&image.reference);
            }
        }
        lists
    }

    /// Returns the images to build, by wave and name.
    pub fn to_build(&self) -> impl Iterator<Item = Index> + '_ {
        self.graph.order().iter().copied().filter(|image| self.is_built(*image))
    }

    /// Returns the plan as the first event of a run reports it: the images to build, and those set
    /// aside.
    pub fn announce(&self) -> (Vec<ToBuild>, Vec<SetAside>) {
        let to_build = self.to_build().map(|index| {
            let image = &self.graph.images()[index];
            ToBuild {
                name: image.name.clone(),
                reference: image.reference.clone(),
                wave: self.graph.wave(index),
                needs: self.needs(index),
            }
        });
        let set_aside = self.graph.order().iter().filter_map(|index| self.set_aside(*index));
        (to_build.collect(), set_aside.collect())
    }

    fn needs(&self, index: Index) -> Vec<ImageName> {
        let needs = self.graph.needs(index).into_iter();
        needs.map(|needed| self.graph.images()[needed].name.clone()).collect()
    }

    /// Returns the report on an image that is not built; `None` if it is built.
    pub fn set_aside(&self, index: Index) -> Option<SetAside> {
        let image = &self.graph.images()[index];
        let (aside, reason) = match &self.decisions[index] {
            Decision::Build => return None,
            Decision::Skip(skip) => (skip.aside(), skip.reason(&image.reference)),
            Decision::NotMatched => (Aside::NotMatched, "not selected".to_owned()),
            Decision::Unbuildable(reason) => (Aside::Unbuildable, reason.clone()),
        };
        Some(SetAside {
            name: image.name.clone(),
            reference: image.reference.clone(),
            wave: self.graph.wave(index),
            needs: self.needs(index),
            aside,
            reason,
            asked_for: self.asked_for[index].is_some(),
        })
    }
}

/// Returns the decisions as if nothing existed: images that are asked for, and those that they need,
/// are built if they can be.
fn selected(graph: &Graph, selection: &Selection, asked_for: &[Option<Wanted>]) -> Vec<Decision> {
    let unbuildable = selection.unbuildable_in(graph).into_iter();
    let mut decisions: Vec<Decision> = unbuildable
        .map(|reason| reason.map_or(Decision::NotMatched, Decision::Unbuildable))
        .collect();
    for (index, asked) in asked_for.iter().enumerate() {
        if asked.is_some() && decisions[index] == Decision::NotMatched {
            decisions[index] = Decision::Build;
            for ancestor in graph.ancestors(index) {
                decisions[ancestor] = Decision::Build;
            }
        }
    }
    decisions
}

fn mark_skipped(graph: &Graph, selection: &Selection, facts: &Facts, decisions: &mut [Decision]) {
    for (index, image) in graph.images().iter().enumerate() {
        if decisions[index] != Decision::Build {
            continue;
        }
        if let Some(location) = facts.unchanged.get(&image.name) {
            decisions[index] = Decision::Skip(match location {
                ImageLocation::Engine => Skip::Unchanged,
                ImageLocation::Registry => Skip::InRegistry,
            });
        } else if facts.existing.contains(&image.reference) {
            decisions[index] = Decision::Skip(Skip::Exists);
        } else if let Some(unaffected) = &facts.unaffected
            && unaffected.images.contains(&image.name)
        {
            decisions[index] = Decision::Skip(Skip::Unaffected(unaffected.since.clone()));
        } else if selection.skip_parents && !graph.needed_by(index).is_empty() {
            decisions[index] = Decision::Skip(Skip::Parent);
        }
    }
}

/// Builds unaffected images that are missing and needed by an image that is built.
fn mark_missing(graph: &Graph, unaffected: &Unaffected, decisions: &mut [Decision]) {
    for &index in graph.order().iter().rev() {
        let is_needed =
            graph.needed_by(index).into_iter().any(|child| decisions[child] == Decision::Build);
        let is_missing = unaffected.missing.contains(&graph.images()[index].name);
        let is_left_out = matches!(decisions[index], Decision::Skip(Skip::Unaffected(_)));
        if is_left_out && is_needed && is_missing {
            decisions[index] = Decision::Build;
        }
    }
}

/// Skips images that were not asked for and that no image to build needs.
fn mark_not_needed(graph: &Graph, asked_for: &[Option<Wanted>], decisions: &mut [Decision]) {
    for &index in graph.order().iter().rev() {
        let is_needed =
            graph.needed_by(index).into_iter().any(|child| decisions[child] == Decision::Build);
        if decisions[index] == Decision::Build && asked_for[index].is_none() && !is_needed {
            decisions[index] = Decision::Skip(Skip::NotNeeded);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::graph::tests::{graph, naming};
    use proptest::prelude::*;
    use regex::Regex;

    const FAMILY: &[(&str, &str)] = &[
        ("base", "FROM debian:1"),
        ("group-base", "FROM @base"),
        ("group-api", "FROM @group-base"),
        ("group-extra", "FROM @group-base\nCOPY --from=@tool / /"),
        ("tool", "FROM @base"),
        ("lone", "FROM other:1"),
    ];

    /// Returns `name decision` for every image except those that are not matched.
    fn decide(selection: &Selection) -> Vec<String> {
        decide_with(selection, &Facts::default())
    }

    /// Returns the same for these facts.
    fn decide_with(selection: &Selection, facts: &Facts) -> Vec<String> {
        let graph = graph(FAMILY).unwrap();
        let plan = Plan::new(&graph, selection, facts);
        graph
            .order()
            .iter()
            .filter(|index| *plan.decision(**index) != Decision::NotMatched)
            .map(|index| {
                let what = match plan.decision(*index) {
                    Decision::Build => "build".to_owned(),
                    Decision::Skip(skip) => format!("{skip:?}").to_lowercase(),
                    Decision::NotMatched => unreachable!(),
                    Decision::Unbuildable(reason) => reason.clone(),
                };
                format!("{} {what}", graph.images()[*index].name)
            })
            .collect()
    }

    fn matching(patterns: &[&str]) -> Selection {
        let patterns = patterns.iter().map(|text| {
            let pattern = Regex::new(text).unwrap();
            let names = FAMILY.iter().map(|(name, _)| *name);
            let found_in = names.filter(|name| pattern.is_match(name)).map(str::to_owned).collect();
            SearchedPattern { text: (*text).into(), found_in }
        });
        Selection { patterns: Some(patterns.collect()), ..Selection::default() }
    }

    #[test]
    fn patterns_are_searched_and_take_ancestors_along() {
        assert_eq!(
            decide(&matching(&["^group-extra$"])),
            ["base build", "group-base build", "tool build", "group-extra build"]
        );
        assert_eq!(decide(&matching(&["^base"])), ["base build"]);
        assert_eq!(decide(&matching(&["base"])), ["base build", "group-base build"]);
        assert_eq!(decide(&matching(&["nothing"])), Vec::<String>::new());
        assert_eq!(decide(&Selection::default()).len(), FAMILY.len());
    }

    #[test]
    fn an_unaffected_image_is_built_where_it_is_missing_and_needed() {
        let names = |names: &[&str]| names.iter().map(|name| ImageName::new(name)).collect();
        let decide_since = |missing: &[&str]| {
            let images = names(&["base", "group-base", "group-api", "tool", "lone"]);
            let unaffected = Unaffected { since: "main".into(), images, missing: names(missing) };
            let facts = Facts { unaffected: Some(unaffected), ..Facts::default() };
            decide_with(&Selection::default(), &facts)
        };
        let built = |missing: &[&str]| -> Vec<String> {
            let all = decide_since(missing).into_iter();
            all.filter_map(|line| Some(line.strip_suffix(" build")?.to_owned())).collect()
        };
        assert_eq!(
            decide_since(&[])[..2],
            [r#"base unaffected("main")"#.to_owned(), r#"lone unaffected("main")"#.to_owned()]
        );
        assert_eq!(built(&[]), ["group-extra"]);
        assert_eq!(built(&["tool", "group-api", "lone"]), ["tool", "group-extra"]);
        assert_eq!(built(&["base", "tool"]), ["base", "tool", "group-extra"]);
        assert_eq!(built(&["base"]), ["group-extra"]);
    }

    #[test]
    fn wanted_images_are_selected_or_needed() {
        let graph = graph(FAMILY).unwrap();
        let wanted_with = |selection: &Selection, existing: &[&str], name: &str| {
            let existing = existing.iter().map(|name| naming().reference(name).unwrap());
            let facts = Facts { existing: existing.collect(), ..Facts::default() };
            let plan = Plan::new(&graph, selection, &facts);
            match plan.wanted(graph.index_of(&ImageName::new(name)).unwrap()) {
                Wanted::All => "all".to_owned(),
                Wanted::Matched(pattern) => pattern.to_string(),
                Wanted::NeededBy(images) => {
                    let names: Vec<_> =
                        images.iter().map(|i| graph.images()[*i].name.as_str()).collect();
                    names.join(" ")
                }
            }
        };
        let wanted = |selection: &Selection, name: &str| wanted_with(selection, &[], name);
        assert_eq!(wanted(&Selection::default(), "base"), "all");
        let selection = matching(&["^group-api", "group-e"]);
        assert_eq!(wanted(&selection, "group-extra"), "group-e");
        assert_eq!(wanted(&selection, "group-base"), "group-api group-extra");
        assert_eq!(wanted(&selection, "tool"), "group-extra");
        assert_eq!(wanted(&selection, "base"), "group-base tool");
        assert_eq!(wanted_with(&selection, &["group-base"], "base"), "tool");
        assert_eq!(wanted_with(&selection, &["group-base", "tool"], "base"), "group-base tool");
    }

    #[test]
    fn an_existing_parent_is_skipped_and_its_child_is_built() {
        let existing = [naming().reference("base").unwrap()].into();
        let facts = Facts { existing, ..Facts::default() };
        assert_eq!(
            decide_with(&matching(&["group-base"]), &facts),
            ["base exists", "group-base build"]
        );
    }

    #[test]
    fn unchanged_image_is_skipped_with_its_exclusive_parents() {
        let here = |name: &str| (ImageName::new(name), ImageLocation::Engine);
        let unchanged = [here("group-extra"), here("base")].into();
        let facts = Facts { unchanged, ..Facts::default() };
        assert_eq!(
            decide_with(&matching(&["group-extra", "group-api"]), &facts),
            [
                "base unchanged",
                "group-base build",
                "tool notneeded",
                "group-api build",
                "group-extra unchanged"
            ]
        );
    }

    #[test]
    fn selection_matches_images_that_can_be_built() {
        let graph = graph(FAMILY).unwrap();
        let unbuildable = [(ImageName::new("tool"), "none".to_owned())];
        let without_tool =
            |patterns| Selection { unbuildable: unbuildable.clone().into(), ..matching(patterns) };
        assert!(matching(&["tool"]).matches(&graph));
        assert!(!matching(&["nothing"]).matches(&graph));
        assert!(without_tool(&["tool", "lone"]).matches(&graph));
        assert!(!without_tool(&["tool", "group-extra"]).matches(&graph));
        let wanted = without_tool(&["group-extra", "group-base"]).wanted_in(&graph);
        let names = graph.images().iter().map(|image| image.name.as_str());
        let wanted: Vec<_> =
            names.zip(wanted).filter_map(|(name, is)| is.then_some(name)).collect();
        assert_eq!(wanted, ["base", "group-base"]);
    }

    #[test]
    fn parents_are_skipped_on_request() {
        let mut selection = matching(&["group-api"]);
        selection.skip_parents = true;
        assert_eq!(decide(&selection), ["base parent", "group-base parent", "group-api build"]);
    }

    #[test]
    fn unbuildable_parent_makes_child_unbuildable() {
        let mut selection = matching(&["group", "lone"]);
        selection.unbuildable.insert(ImageName::new("tool"), "no such package".to_owned());
        assert_eq!(
            decide(&selection),
            [
                "base build",
                "lone build",
                "group-base build",
                "tool no such package",
                "group-api build",
                "group-extra it needs 'tool', which is unbuildable",
            ]
        );
    }

    /// Returns a random acyclic tree: each image refers to images before it, or to an external one.
    pub(crate) fn any_tree() -> impl Strategy<Value = Vec<(String, String)>> {
        prop::collection::vec(
            (any::<prop::sample::Index>(), any::<Option<prop::sample::Index>>()),
            1..30,
        )
        .prop_map(|picks| {
            let name = |i: usize| format!("i{}", "x".repeat(i));
            picks
                .iter()
                .enumerate()
                .map(|(i, (from, copy))| {
                    let from = match from.index(i + 1) {
                        0 => "FROM debian:1".to_owned(),
                        n => format!("FROM @{}", name(n - 1)),
                    };
                    let copy = copy.filter(|_| i > 0).map_or(String::new(), |c| {
                        format!("\nCOPY --from=@{} / /", name(c.index(i)))
                    });
                    (name(i), from + &copy)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn every_plan_is_whole_and_in_order(
            tree in any_tree(),
            wanted in prop::collection::btree_set(0usize..30, 0..5),
            unbuildable in prop::collection::btree_set(0usize..30, 0..3),
            existing in prop::collection::btree_set(0usize..30, 0..5),
            unaffected in prop::option::of((
                prop::collection::btree_set(0usize..30, 0..20),
                prop::collection::btree_set(0usize..30, 0..20),
            )),
            unchanged in prop::collection::btree_map(0usize..30, any::<bool>(), 0..20),
            skip_parents: bool,
        ) {
            let pairs: Vec<_> = tree.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
            let graph = graph(&pairs).unwrap();
            let some = |picks: &BTreeSet<usize>| -> Vec<String> {
                picks.iter().filter_map(|i| tree.get(*i)).map(|(name, _)| name.clone()).collect()
            };
            let patterns = some(&wanted).into_iter().map(SearchedPattern::of_name);
            let selection = Selection {
                patterns: Some(patterns.collect()),
                unbuildable: some(&unbuildable).iter().map(|n| (ImageName::new(n), "no".to_owned())).collect(),
                skip_parents,
            };
            let facts = Facts {
                unchanged: unchanged
                    .iter()
                    .filter_map(|(i, in_engine)| {
                        let (name, _) = tree.get(*i)?;
                        let place =
                            if *in_engine { ImageLocation::Engine } else { ImageLocation::Registry };
                        Some((ImageName::new(name), place))
                    })
                    .collect(),
                unaffected: unaffected.as_ref().map(|(images, missing)| Unaffected {
                    since: "main".into(),
                    images: some(images).iter().map(|n| ImageName::new(n)).collect(),
                    missing: some(missing).iter().map(|n| ImageName::new(n)).collect(),
                }),
                existing: some(&existing).iter().map(|n| naming().reference(n).unwrap()).collect(),
            };
            let plan = Plan::new(&graph, &selection, &facts);

            let (to_build, set_aside) = plan.announce();
            prop_assert_eq!(to_build.len() + set_aside.len(), tree.len());
            let announced: BTreeSet<&str> = to_build
                .iter()
                .map(|image| image.name.as_str())
                .chain(set_aside.iter().map(|image| image.name.as_str()))
                .collect();
            let all: BTreeSet<&str> = tree.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(announced, all);
            for (index, image) in graph.images().iter().enumerate() {
                let is_out = matches!(plan.decision(index), Decision::Unbuildable(_));
                let needs_out = |needed: Index| {
                    matches!(plan.decision(needed), Decision::Unbuildable(_))
                };
                let is_named = selection.unbuildable.contains_key(&image.name);
                prop_assert_eq!(is_out, is_named || graph.needs(index).into_iter().any(needs_out));
                if selection.asking_for(&image.name).is_some() && !is_out {
                    prop_assert_ne!(plan.decision(index), &Decision::NotMatched);
                }
            }
            let position: BTreeMap<Index, usize> =
                graph.order().iter().enumerate().map(|(at, index)| (*index, at)).collect();
            for image in plan.to_build() {
                prop_assert_ne!(plan.wanted(image), Wanted::NeededBy(Vec::new()));
                for needed in graph.needs(image) {
                    prop_assert!(position[&needed] < position[&image]);
                    prop_assert!(graph.wave(needed) < graph.wave(image));
                    prop_assert!(matches!(plan.decision(needed), Decision::Build | Decision::Skip(_)));
                    let is_missing = facts.unaffected.as_ref().is_some_and(|unaffected| {
                        unaffected.missing.contains(&graph.images()[needed].name)
                    });
                    let is_left_out = matches!(plan.decision(needed), Decision::Skip(Skip::Unaffected(_)));
                    prop_assert!(!(is_missing && is_left_out));
                }
            }
        }
    }
}
