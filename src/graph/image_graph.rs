//! The graph, its checks, and the fingerprints of its images.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use petgraph::Direction;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;

use super::image_use::{Index, Use, by_reference, uses_of_all};
use super::tree_image::Image;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};
use crate::dockerfile::Via;
use crate::fingerprint::{BASE, FingerprintedParts, IMAGE, Parts};
use crate::image::{ImageName, ImageRef};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vertex {
    Image(Index),
    External(ImageRef),
}

/// A checked, acyclic graph of images.
#[derive(Debug)]
pub struct Graph {
    pub(super) images: Vec<Image>,
    by_name: BTreeMap<ImageName, Index>,
    pub(super) dag: DiGraph<Vertex, BTreeSet<Via>>,
    /// Images that each image is built from, by position.
    uses: Vec<Vec<Use>>,
    pub(super) parent: Vec<Option<Index>>,
    pub(super) wave: Vec<usize>,
    /// Images in topological order: by wave, then by name.
    pub(super) order: Vec<Index>,
}

impl Graph {
    /// Builds the graph of `images`.
    ///
    /// # Errors
    /// One for every duplicate name and the first duplicate reference; without these, one for every
    /// reference to a missing sibling and every cycle.
    pub fn new(mut images: Vec<Image>) -> Result<Self> {
        images.sort_unstable_by(|a, b| (&a.name, &a.template).cmp(&(&b.name, &b.template)));
        refuse_duplicates(&images)?;
        let by_name: BTreeMap<_, _> =
            images.iter().enumerate().map(|(index, image)| (image.name.clone(), index)).collect();
        let by_reference = by_reference(&images);
        let uses = uses_of_all(&images, &by_reference);
        let dag = connected(&uses);
        let parent = images.iter().map(|image| {
            let reference = image.dockerfile.parent()?;
            by_reference.get(&reference.image).copied()
        });
        let parent = parent.collect();
        let unknown = unknown_siblings(&images);
        let resolved = unknown.iter().filter(|unknown| unknown.is_resolved(&uses));
        let mut errors: Vec<_> = resolved.map(Unknown::diagnostic).collect();
        errors.extend(ways_around(&dag).iter().map(|way| cycle(way, &images)));
        if !errors.is_empty() {
            return Err(Diagnostics(errors));
        }
        let wave = waves(&dag, images.len());
        let mut order: Vec<Index> = (0..images.len()).collect();
        order.sort_by_key(|index| (wave[*index], *index));
        Ok(Self { images, by_name, dag, uses, parent, wave, order })
    }

    /// Returns the images in name order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Returns the index of the image called `name`; `None` if there is none.
    pub fn index_of(&self, name: &ImageName) -> Option<Index> {
        self.by_name.get(name).copied()
    }

    /// Returns the indices of all images, by wave and then by name: every image comes after all
    /// that it needs.
    pub fn order(&self) -> &[Index] {
        &self.order
    }

    /// Returns the topological wave of an image, from 1: one more than the highest wave among the
    /// images of the tree that it needs.
    pub fn wave(&self, image: Index) -> usize {
        self.wave[image]
    }

    /// Returns the parent of `image`, the image that its last stage is built on; `None` if that is
    /// no image of the tree.
    pub fn parent(&self, image: Index) -> Option<Index> {
        self.parent[image]
    }

    /// Returns all images of the tree that `image` needs directly, in name order.
    pub fn needs(&self, image: Index) -> BTreeSet<Index> {
        self.neighbours(image, Direction::Incoming)
    }

    /// Returns the images that `image` is built from, in the order in which its Dockerfile names
    /// them; an image may appear more than once.
    pub fn uses(&self, image: Index) -> &[Use] {
        &self.uses[image]
    }

    /// Returns all images of the tree that need `image` directly, in name order.
    pub fn needed_by(&self, image: Index) -> BTreeSet<Index> {
        self.neighbours(image, Direction::Outgoing)
    }

    /// Returns all images of the tree that `image` needs, directly or indirectly, without itself.
    pub fn ancestors(&self, image: Index) -> BTreeSet<Index> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Index> = self.needs(image).into_iter().collect();
        while let Some(next) = open.pop() {
            if found.insert(next) {
                open.extend(self.needs(next));
            }
        }
        found
    }

    /// Returns the external images that `image` is built from.
    pub fn externals(&self, image: Index) -> BTreeSet<&ImageRef> {
        self.dag
            .edges_directed(NodeIndex::new(image), Direction::Incoming)
            .filter_map(|edge| match &self.dag[edge.source()] {
                Vertex::External(reference) => Some(reference),
                Vertex::Image(_) => None,
            })
            .collect()
    }

    /// Returns the fingerprints of all images, in name order. A fingerprint is made of the `own`
    /// parts of an image, the fingerprints of the images that it is made from, and the values that
    /// `external` returns for the external ones of these.
    pub fn fingerprints(
        &self,
        own: &BTreeMap<ImageName, Parts>,
        external: &dyn Fn(&ImageName, &ImageRef) -> String,
    ) -> Vec<FingerprintedParts> {
        let mut found: BTreeMap<Index, FingerprintedParts> = BTreeMap::new();
        for &index in &self.order {
            let image = &self.images[index];
            let mut parts = own.get(&image.name).cloned().unwrap_or_default();
            for used in self.uses[index].iter().filter(|used| used.is_part) {
                let value = match used.sibling {
                    Some(sibling) => found[&sibling].fingerprint.to_string(),
                    None => external(&image.name, &used.image),
                };
                parts.insert(self.part(used), value);
            }
            found.insert(index, FingerprintedParts::of(parts));
        }
        found.into_values().collect()
    }

    /// Returns the name under which a used image is a part of a fingerprint.
    pub fn part(&self, used: &Use) -> String {
        match used.sibling {
            Some(sibling) => format!("{IMAGE}{}", self.images[sibling].name.as_str()),
            None => format!("{BASE}{}", used.image),
        }
    }

    fn neighbours(&self, image: Index, direction: Direction) -> BTreeSet<Index> {
        self.dag
            .neighbors_directed(NodeIndex::new(image), direction)
            .filter_map(|node| match self.dag[node] {
                Vertex::Image(index) => Some(index),
                Vertex::External(_) => None,
            })
            .collect()
    }
}

/// Adds an edge from `needed` to `by`, or adds `via` to the kinds of the existing edge.
fn add_edge(dag: &mut DiGraph<Vertex, BTreeSet<Via>>, needed: NodeIndex, by: NodeIndex, via: Via) {
    match dag.find_edge(needed, by) {
        Some(edge) => drop(dag[edge].insert(via)),
        None => drop(dag.add_edge(needed, by, BTreeSet::from([via]))),
    }
}

/// Builds the graph of the images with these uses, added by position, and of all external images
/// among them.
fn connected(uses: &[Vec<Use>]) -> DiGraph<Vertex, BTreeSet<Via>> {
    let mut dag = DiGraph::new();
    let mut externals: BTreeMap<&ImageRef, NodeIndex> = BTreeMap::new();
    for index in 0..uses.len() {
        dag.add_node(Vertex::Image(index));
    }
    for (index, uses) in uses.iter().enumerate() {
        for used in uses {
            let needed = match used.sibling {
                Some(sibling) => NodeIndex::new(sibling),
                None => *externals
                    .entry(&used.image)
                    .or_insert_with(|| dag.add_node(Vertex::External(used.image.clone()))),
            };
            add_edge(&mut dag, needed, NodeIndex::new(index), used.via);
        }
    }
    dag
}

/// A reference that follows the naming rule of the tree, to an image that does not exist.
#[derive(Debug)]
pub struct Unknown<'a> {
    /// Image whose Dockerfile has the reference.
    pub image: &'a Image,
    /// Instruction that has the reference.
    pub via: Via,
    /// Bytes of the Dockerfile that name the missing image.
    pub span: &'a Range<usize>,
    /// Short name of the missing image.
    pub missing: String,
    reference: ImageRef,
    /// Position of the image that resolves the reference; `None` for one of `ONBUILD`, which all
    /// images that are based on it resolve.
    resolver: Option<Index>,
    /// Short names of the existing images of the same axis.
    known: Vec<&'a str>,
}

impl Unknown<'_> {
    /// Returns the error to report, which suggests the nearest known name.
    pub fn diagnostic(&self) -> Diagnostic {
        let Self { image, span, missing, known, .. } = self;
        unknown_sibling(image, missing, span).suggest(missing, known.iter().copied())
    }

    /// Returns true if a builder resolves the reference: not if it is in a stage that is not built.
    fn is_resolved(&self, uses: &[Vec<Use>]) -> bool {
        let is_it = |used: &Use| used.image == self.reference;
        match self.resolver {
            Some(index) => uses[index].iter().any(is_it),
            None => uses.iter().flatten().any(is_it),
        }
    }
}

/// Returns every reference of these images to a sibling that is not among them, also those of
/// stages that are not built.
pub fn unknown_siblings(images: &[Image]) -> Vec<Unknown<'_>> {
    let by_reference = by_reference(images);
    let mut found = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let mut add = |reference: &ImageRef, via, span, resolver| {
            let missing = image.naming.name_in(reference);
            let Some(missing) = missing.filter(|_| !by_reference.contains_key(reference)) else {
                return;
            };
            let siblings = images.iter().filter(|one| one.name.axis() == image.name.axis());
            found.push(Unknown {
                image,
                via,
                span,
                missing: missing.to_owned(),
                reference: reference.clone(),
                resolver,
                known: siblings.map(|one| one.name.as_str()).collect(),
            });
        };
        for one in &image.dockerfile.references {
            add(&one.image, one.via, &one.span, Some(index));
        }
        for trigger in image.dockerfile.own_triggers() {
            if let Ok(reference) = trigger.source.parse() {
                add(&reference, trigger.via, &trigger.span, None);
            }
        }
    }
    found
}

/// Returns the images that each image needs directly, by position. Unknown references are left out.
pub fn needs_of_all(images: &[Image]) -> Vec<BTreeSet<Index>> {
    let uses = uses_of_all(images, &by_reference(images));
    uses.iter().map(|uses| uses.iter().filter_map(|used| used.sibling).collect()).collect()
}

/// Returns, for each strongly connected component, the first image of one cycle in it and the error
/// that reports the cycle.
pub fn cycles(images: &[Image]) -> Vec<(&Image, Diagnostic)> {
    let dag = connected(&uses_of_all(images, &by_reference(images)));
    let ways = ways_around(&dag);
    ways.iter().map(|way| (&images[way[0].index()], cycle(way, images))).collect()
}

/// Returns true if a part of a fingerprint is another image of the tree.
pub fn is_image_part(part: &str) -> bool {
    part.starts_with(IMAGE)
}

fn refuse_duplicates(images: &[Image]) -> Result<()> {
    let mut errors: Vec<_> = images
        .windows(2)
        .filter(|pair| pair[0].name == pair[1].name)
        .map(|pair| {
            Diagnostic::new(format!("two images are called '{}'", pair[0].name))
                .note(format!("one is defined by {}", pair[0].template))
                .note(format!("the other by {}", pair[1].template))
                .help("an image is named after its folder: rename one of the two")
        })
        .collect();
    let mut first: BTreeMap<&ImageRef, &Image> = BTreeMap::new();
    let of_two = images.iter().find_map(|image| {
        let other = first.insert(&image.reference, image)?;
        Some((other, image)).filter(|(other, image)| other.name != image.name)
    });
    if let Some((one, other)) = of_two {
        errors.push(
            Diagnostic::new(format!(
                "'{}' and '{}' have the same name {}",
                one.name, other.name, one.reference
            ))
            .help("leave out --image-name-prefix, or build one base and type at a time"),
        );
    }
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}

fn unknown_sibling(image: &Image, missing: &str, span: &Range<usize>) -> Diagnostic {
    Diagnostic::new(format!("'{}' is built on '{missing}', which is not in the tree", image.name))
        .at(Place::new(rendered(image), image.text.clone(), span.clone()))
}

/// Returns the name that messages use for a rendered Dockerfile.
fn rendered(image: &Image) -> String {
    format!("{} (rendered)", image.template)
}

/// Returns one cycle for each strongly connected component, sorted.
fn ways_around(dag: &DiGraph<Vertex, BTreeSet<Via>>) -> Vec<Vec<NodeIndex>> {
    if toposort(dag, None).is_ok() {
        return Vec::new();
    }
    let mut found: Vec<Vec<NodeIndex>> = tarjan_scc(dag)
        .into_iter()
        .filter(|knot| knot.len() > 1 || dag.contains_edge(knot[0], knot[0]))
        .map(|knot| way_around(dag, &knot))
        .collect();
    found.sort();
    found
}

/// Returns the error that reports this cycle.
fn cycle(way: &[NodeIndex], images: &[Image]) -> Diagnostic {
    let names: Vec<String> = way.iter().map(|node| images[node.index()].name.to_string()).collect();
    Diagnostic::new(format!("the images form a cycle: {}", names.join(" -> ")))
        .note("each of these images needs the next one")
        .help("remove one of these references")
}

/// Returns a shortest cycle through the first image of `knot`, a strongly connected component,
/// along "needs". The cycle starts and ends at that image, the first in name order.
fn way_around(dag: &DiGraph<Vertex, BTreeSet<Via>>, knot: &[NodeIndex]) -> Vec<NodeIndex> {
    let start = *knot.iter().min().expect("a knot has members");
    let mut came_from: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    'search: while let Some(node) = open.pop_front() {
        let mut needed: Vec<_> = dag.neighbors_directed(node, Direction::Incoming).collect();
        needed.sort();
        for next in needed.into_iter().filter(|next| knot.contains(next)) {
            if next == start {
                came_from.insert(start, node);
                break 'search;
            }
            if let Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(node);
                open.push_back(next);
            }
        }
    }
    let mut way = vec![start];
    let mut node = start;
    loop {
        node = came_from[&node];
        way.push(node);
        if node == start {
            break;
        }
    }
    way.reverse();
    way
}

/// Returns the wave of every image: 1 if it needs no image of the tree, else one more than the
/// highest wave of those it needs.
fn waves(dag: &DiGraph<Vertex, BTreeSet<Via>>, images: usize) -> Vec<usize> {
    let mut wave = vec![1; images];
    for node in toposort(dag, None).expect("cycles were refused") {
        let Vertex::Image(index) = dag[node] else { continue };
        for needed in dag.neighbors_directed(node, Direction::Incoming) {
            if let Vertex::Image(needed) = dag[needed] {
                wave[index] = wave[index].max(wave[needed] + 1);
            }
        }
    }
    wave
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dockerfile;
    use crate::image::{Naming, Platform};

    pub(crate) fn naming() -> Naming {
        Naming::new(None, "family", "p-", "1").unwrap()
    }

    /// Builds a graph from pairs of a name and a Dockerfile; `@x` stands for the reference of image
    /// `x`.
    pub(crate) fn graph(images: &[(&str, &str)]) -> Result<Graph> {
        let naming = naming();
        let images = images.iter().map(|(name, text)| {
            let text = regex::Regex::new("@([a-z-]+)").unwrap().replace_all(text, "family/p-$1:1");
            Image {
                name: ImageName::new(name),
                naming: Arc::new(naming.clone()),
                reference: naming.reference(name).unwrap(),
                list: None,
                alias: None,
                template: format!("{name}/Dockerfile.tera"),
                dockerfile: dockerfile::parse(&text, &dockerfile::ReadingInput::default()).unwrap(),
                text: text.into(),
                target: Platform::of_host().into(),
                builds_all_stages: false,
            }
        });
        Graph::new(images.collect())
    }

    fn names(graph: &Graph, indices: impl IntoIterator<Item = Index>) -> Vec<&str> {
        indices.into_iter().map(|index| graph.images()[index].name.as_str()).collect()
    }

    #[test]
    fn waves_follow_every_kind_of_edge() {
        let graph = graph(&[
            ("leaf", "FROM @root\nCOPY --from=@tool / /\nRUN --mount=from=@late true"),
            ("late", "FROM @tool"),
            ("tool", "FROM @root"),
            ("root", "FROM debian:1"),
        ])
        .unwrap();
        assert_eq!(names(&graph, graph.order().to_vec()), ["root", "tool", "late", "leaf"]);
        let leaf = graph.index_of(&ImageName::new("leaf")).unwrap();
        assert_eq!(graph.wave(leaf), 4);
        assert_eq!(names(&graph, graph.needs(leaf)), ["late", "root", "tool"]);
        assert_eq!(names(&graph, graph.parent(leaf)), ["root"]);
        assert_eq!(names(&graph, graph.ancestors(leaf)), ["late", "root", "tool"]);
        let root = graph.index_of(&ImageName::new("root")).unwrap();
        assert_eq!(names(&graph, graph.needed_by(root)), ["leaf", "tool"]);
        assert_eq!(
            graph.externals(root).into_iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["debian:1"]
        );
    }

    #[test]
    fn a_missing_sibling_is_named_with_the_nearest_name() {
        let error = graph(&[("base", "FROM debian:1"), ("app", "FROM @bsae")]).unwrap_err();
        assert_eq!(error.0.len(), 1);
        assert_eq!(error.0[0].message, "'app' is built on 'bsae', which is not in the tree");
        assert_eq!(error.0[0].help.as_deref(), Some("did you mean 'base'?"));
        let place = &error.0[0].places[0];
        assert_eq!(&place.source[place.span.clone()], "family/p-bsae:1");
    }

    #[test]
    fn the_same_name_under_another_tag_is_external() {
        let graph = graph(&[("app", "FROM family/p-base:old")]).unwrap();
        assert_eq!(graph.externals(0).len(), 1);
    }

    #[test]
    fn duplicates_are_refused() {
        let error = graph(&[("a", "FROM x:1"), ("a", "FROM y:1")]).unwrap_err();
        assert_eq!(error.0[0].message, "two images are called 'a'");
    }

    #[test]
    fn cycles_are_reported_completely() {
        let error = graph(&[
            ("a", "FROM @c"),
            ("b", "FROM @a"),
            ("c", "FROM @b"),
            ("d", "FROM @a"),
            ("self", "FROM @self"),
        ])
        .unwrap_err();
        let messages: Vec<_> = error.0.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(
            messages,
            ["the images form a cycle: a -> c -> b -> a", "the images form a cycle: self -> self",]
        );
    }

    proptest::proptest! {
        /// Any set of references between images yields either an order or a cycle.
        #[test]
        fn graph_has_an_order_or_a_cycle(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..14)) {
            let name = |image: usize| format!("i{}", "x".repeat(image));
            let images: Vec<(String, String)> = (0..8)
                .map(|image| {
                    let needs = edges.iter().filter(|(from, _)| *from == image);
                    let copies = needs.map(|(_, to)| format!("\nCOPY --from=@{} / /", name(*to)));
                    (name(image), format!("FROM debian:1{}", copies.collect::<String>()))
                })
                .collect();
            let pairs: Vec<_> = images.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();

            // Images that need nothing are removed until none is left, or only cycles and what
            // needs them.
            let mut left: BTreeSet<usize> = (0..8).collect();
            while let Some(free) = left.iter().copied().find(|image| {
                !edges.iter().any(|(from, to)| from == image && left.contains(to))
            }) {
                left.remove(&free);
            }
            match graph(&pairs) {
                Ok(graph) => {
                    proptest::prop_assert!(left.is_empty());
                    proptest::prop_assert_eq!(graph.order().len(), 8);
                    let at = |image| graph.order().iter().position(|one| *one == image);
                    for image in 0..8 {
                        for needed in graph.needs(image) {
                            proptest::prop_assert!(at(needed) < at(image));
                            proptest::prop_assert!(graph.wave(needed) < graph.wave(image));
                        }
                    }
                }
                Err(errors) => {
                    proptest::prop_assert!(!left.is_empty());
                    let all = |d: &Diagnostic| d.message.starts_with("the images form a cycle: ");
                    proptest::prop_assert!(errors.0.iter().all(all));
                }
            }
        }
    }

    const PRINTED: &[(&str, &str)] = &[
        ("base", "FROM debian:1"),
        ("mid", "FROM @base"),
        ("leaf", "FROM @mid\nCOPY --from=@tool / /"),
        ("tool", "FROM @base"),
        ("lone", "FROM other:1"),
    ];

    /// Returns the fingerprints of the family by name, with `part` as a part of the image `name`,
    /// and `debian` as the value of the external image `debian`.
    fn of_family(name: &str, part: &str, debian: &str) -> BTreeMap<String, String> {
        let graph = graph(PRINTED).unwrap();
        let parts = Parts::from([("file x".to_owned(), part.to_owned())]);
        let own = BTreeMap::from([(ImageName::new(name), parts)]);
        let external = |_: &ImageName, reference: &ImageRef| match reference.repository() {
            "debian" => debian.to_owned(),
            other => other.to_owned(),
        };
        let found = graph.fingerprints(&own, &external);
        let names = graph.images().iter().map(|image| image.name.to_string());
        names.zip(found.into_iter().map(|f| f.fingerprint.to_string())).collect()
    }

    fn changed(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<String> {
        one.keys().filter(|name| one[*name] != two[*name]).cloned().collect()
    }

    #[test]
    fn change_affects_descendants_alone() {
        let before = of_family("tool", "a", "sha256:1");
        assert_eq!(changed(&before, &of_family("tool", "a", "sha256:1")), Vec::<String>::new());
        assert_eq!(changed(&before, &of_family("tool", "b", "sha256:1")), ["leaf", "tool"]);
        let other_base = of_family("tool", "a", "sha256:2");
        assert_eq!(changed(&before, &other_base), ["base", "leaf", "mid", "tool"]);
    }
}
