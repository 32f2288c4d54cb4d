//! The graph of a tree's images: who is built on whom, checked for sense before anything is built.
//!
//! Vertices are the images of the tree and the external images they refer to; an edge leads from
//! what is needed to who needs it. Every kind of reference is an edge; the *parent* of an image is
//! the one its last stage stands on. The rest of Kiln sees images by their position in name order,
//! so that all that is derived from a graph comes in a stable order.

mod drawn;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};
use crate::dockerfile::{Dockerfile, Reference, Via};
use crate::fingerprint::{BASE, Fingerprinted, IMAGE, Parts};
use crate::image::{ImageName, ImageRef, Naming};

/// An image of the tree, as the graph wants to know it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its short name.
    pub name: ImageName,
    /// The rule that names it and its siblings.
    pub naming: Arc<Naming>,
    /// What it is tagged when built.
    pub reference: ImageRef,
    /// The manifest list that joins it with the same image of other platforms.
    pub list: Option<ImageRef>,
    /// Another name that templates may call it by.
    pub alias: Option<ImageRef>,
    /// Where its template lies, for messages.
    pub template: String,
    /// The rendered Dockerfile's text.
    pub text: Arc<str>,
    /// What that text refers to.
    pub dockerfile: Dockerfile,
}

/// The position of an image in [`Graph::images`].
pub type Index = usize;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Vertex {
    Image(Index),
    External(ImageRef),
}

/// A checked, acyclic graph of images.
#[derive(Debug)]
pub struct Graph {
    images: Vec<Image>,
    by_name: BTreeMap<ImageName, Index>,
    dag: DiGraph<Vertex, BTreeSet<Via>>,
    parent: Vec<Option<Index>>,
    wave: Vec<usize>,
    /// Images in topological order; among those free to go, by name.
    order: Vec<Index>,
}

impl Graph {
    /// Connects `images`.
    ///
    /// # Errors
    /// Every duplicate name, every reference to a sibling that is not there, and every cycle.
    pub fn new(mut images: Vec<Image>) -> Result<Self> {
        images.sort_unstable_by(|a, b| (&a.name, &a.template).cmp(&(&b.name, &b.template)));
        refuse_duplicates(&images)?;
        let by_name: BTreeMap<_, _> =
            images.iter().enumerate().map(|(index, image)| (image.name.clone(), index)).collect();
        let by_reference = by_reference(&images);
        let dag = connected(&images, &by_reference);
        let parent = images.iter().map(|image| {
            let reference = image.dockerfile.parent()?;
            by_reference.get(&reference.image).copied()
        });
        let parent = parent.collect();
        let unknown = unknown_siblings(&images);
        let mut errors: Vec<_> = unknown.iter().map(Unknown::diagnostic).collect();
        errors.extend(ways_around(&dag).iter().map(|way| cycle(way, &images)));
        if !errors.is_empty() {
            return Err(Diagnostics(errors));
        }
        let wave = waves(&dag, images.len());
        let mut order: Vec<Index> = (0..images.len()).collect();
        order.sort_by_key(|index| (wave[*index], *index));
        Ok(Self { images, by_name, dag, parent, wave, order })
    }

    /// The images, in name order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Where the image called `name` is.
    pub fn index_of(&self, name: &ImageName) -> Option<Index> {
        self.by_name.get(name).copied()
    }

    /// The indices of all images, by wave and then by name: every image after all it needs.
    pub fn order(&self) -> &[Index] {
        &self.order
    }

    /// The topological wave of an image, from 1: one more than the latest of what it needs.
    pub fn wave(&self, image: Index) -> usize {
        self.wave[image]
    }

    /// The image that the last stage of `image` stands on, if it is of this tree.
    pub fn parent(&self, image: Index) -> Option<Index> {
        self.parent[image]
    }

    /// All images of the tree that `image` needs directly, by name.
    pub fn needs(&self, image: Index) -> BTreeSet<Index> {
        self.neighbours(image, Direction::Incoming)
    }

    /// All images of the tree that need `image` directly, by name.
    pub fn needed_by(&self, image: Index) -> BTreeSet<Index> {
        self.neighbours(image, Direction::Outgoing)
    }

    /// Whatever `image` needs, directly or not, without itself.
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

    /// The images from outside the tree that `image` refers to.
    pub fn externals(&self, image: Index) -> BTreeSet<&ImageRef> {
        self.dag
            .edges_directed(NodeIndex::new(image), Direction::Incoming)
            .filter_map(|edge| match &self.dag[edge.source()] {
                Vertex::External(reference) => Some(reference),
                Vertex::Image(_) => None,
            })
            .collect()
    }

    /// Returns the image of the tree that `image` means by `reference`, if it is one.
    pub fn referred_to(&self, image: Index, reference: &ImageRef) -> Option<Index> {
        let is_called = |needed: &Index| {
            let needed = &self.images[*needed];
            needed.reference == *reference || needed.alias.as_ref() == Some(reference)
        };
        self.needs(image).into_iter().find(is_called)
    }

    /// The fingerprints of all images, made of what each has of its `own` and of what it refers to;
    /// `external` tells what stands for an image from outside.
    pub fn fingerprints(
        &self,
        own: &BTreeMap<ImageName, Parts>,
        external: &dyn Fn(&ImageName, &ImageRef) -> String,
    ) -> Vec<Fingerprinted> {
        let mut found: BTreeMap<Index, Fingerprinted> = BTreeMap::new();
        for &index in &self.order {
            let image = &self.images[index];
            let mut parts = own.get(&image.name).cloned().unwrap_or_default();
            for needed in self.needs(index) {
                let fingerprint = found[&needed].fingerprint.to_string();
                parts.insert(image_part(&self.images[needed].name), fingerprint);
            }
            for reference in self.externals(index) {
                parts.insert(base_part(reference), external(&image.name, reference));
            }
            found.insert(index, Fingerprinted::of(parts));
        }
        found.into_values().collect()
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

/// Notes that `by` refers to `needed`, by this kind of instruction beside others.
fn add_edge(dag: &mut DiGraph<Vertex, BTreeSet<Via>>, needed: NodeIndex, by: NodeIndex, via: Via) {
    match dag.find_edge(needed, by) {
        Some(edge) => drop(dag[edge].insert(via)),
        None => drop(dag.add_edge(needed, by, BTreeSet::from([via]))),
    }
}

/// Which image each reference means.
fn by_reference(images: &[Image]) -> BTreeMap<&ImageRef, Index> {
    let references = images.iter().enumerate().flat_map(|(index, image)| {
        let names = image.alias.iter().chain([&image.reference]);
        names.map(move |name| (name, index))
    });
    references.collect()
}

/// The images, by position, and all that they refer to.
fn connected(
    images: &[Image],
    by_reference: &BTreeMap<&ImageRef, Index>,
) -> DiGraph<Vertex, BTreeSet<Via>> {
    let mut dag = DiGraph::new();
    let mut externals: BTreeMap<&ImageRef, NodeIndex> = BTreeMap::new();
    for index in 0..images.len() {
        dag.add_node(Vertex::Image(index));
    }
    for (index, image) in images.iter().enumerate() {
        for reference in &image.dockerfile.references {
            let needed = match by_reference.get(&reference.image) {
                Some(sibling) => NodeIndex::new(*sibling),
                None => *externals
                    .entry(&reference.image)
                    .or_insert_with(|| dag.add_node(Vertex::External(reference.image.clone()))),
            };
            add_edge(&mut dag, needed, NodeIndex::new(index), reference.via);
        }
    }
    dag
}

/// A reference to an image that would be of the tree, and is not.
#[derive(Debug)]
pub struct Unknown<'a> {
    /// The image that refers to it.
    pub image: &'a Image,
    /// Where it does.
    pub reference: &'a Reference,
    /// The short name of what is not there.
    pub missing: &'a str,
    /// The images that are there, by their short names.
    known: Vec<&'a str>,
}

impl Unknown<'_> {
    /// The error that this is.
    pub fn diagnostic(&self) -> Diagnostic {
        let Self { image, reference, missing, known } = self;
        unknown_sibling(image, missing, &reference.span).suggest(missing, known.iter().copied())
    }
}

/// Every reference of these images to a sibling that is not among them.
pub fn unknown_siblings(images: &[Image]) -> Vec<Unknown<'_>> {
    let by_reference = by_reference(images);
    let of_image = |image| {
        let references = image_references(image);
        references.filter(|reference| !by_reference.contains_key(&reference.image)).filter_map(
            move |reference| {
                let missing = image.naming.name_in(&reference.image)?;
                let siblings = images.iter().filter(|one| one.name.axis() == image.name.axis());
                let known = siblings.map(|one| one.name.as_str()).collect();
                Some(Unknown { image, reference, missing, known })
            },
        )
    };
    images.iter().flat_map(of_image).collect()
}

fn image_references(image: &Image) -> impl Iterator<Item = &Reference> {
    image.dockerfile.references.iter()
}

/// The images that each image needs directly, by position; what is unknown is left out.
pub fn needs_of_all(images: &[Image]) -> Vec<BTreeSet<Index>> {
    let by_reference = by_reference(images);
    let of_image = |image| {
        let needed = image_references(image).map(|one| by_reference.get(&one.image).copied());
        needed.flatten().collect()
    };
    images.iter().map(of_image).collect()
}

/// For each knot of images that need each other, the first of one whole way around it, and the
/// error that this is.
pub fn cycles(images: &[Image]) -> Vec<(&Image, Diagnostic)> {
    let dag = connected(images, &by_reference(images));
    let ways = ways_around(&dag);
    ways.iter().map(|way| (&images[way[0].index()], cycle(way, images))).collect()
}

/// How an image of the tree is called as a part of another.
pub fn image_part(name: &ImageName) -> String {
    format!("{IMAGE}{}", name.as_str())
}

/// Whether a part of an image is another image of the tree.
pub fn is_image_part(part: &str) -> bool {
    part.starts_with(IMAGE)
}

/// How an external image is called as a part of another.
pub fn base_part(reference: &ImageRef) -> String {
    format!("{BASE}{reference}")
}

fn refuse_duplicates(images: &[Image]) -> Result<()> {
    let mut errors: Vec<_> = images
        .windows(2)
        .filter(|pair| pair[0].name == pair[1].name)
        .map(|pair| {
            Diagnostic::new(format!("two images are called '{}'", pair[0].name))
                .note(format!("one is made by {}", pair[0].template))
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
                "'{}' and '{}' are both {}",
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

/// How a place in a rendered Dockerfile is called.
fn rendered(image: &Image) -> String {
    format!("{} (rendered)", image.template)
}

/// One whole way around each knot of images that need each other.
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

/// The error that images need each other, along this way.
fn cycle(way: &[NodeIndex], images: &[Image]) -> Diagnostic {
    let names: Vec<String> = way.iter().map(|node| images[node.index()].name.to_string()).collect();
    Diagnostic::new(format!("images are built on each other: {}", names.join(" -> ")))
        .note("each of these needs the next")
        .help("take one of these references away")
}

/// A closed walk through `knot` along "needs", starting and ending at its first image by name.
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

/// The wave of every image: 1 without needs within the tree, else one after its latest need.
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
    use super::*;
    use crate::dockerfile;

    pub(crate) fn naming() -> Naming {
        Naming::new(None, "family", "p-", "1").unwrap()
    }

    /// A graph from `name: Dockerfile` pairs; `@x` stands for the reference of image `x`.
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
                dockerfile: dockerfile::parse(&text, &BTreeMap::new()).unwrap(),
                text: text.into(),
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
    fn cycles_are_told_whole() {
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
            [
                "images are built on each other: a -> c -> b -> a",
                "images are built on each other: self -> self",
            ]
        );
    }

    proptest::proptest! {
        /// Of any images that are built on any others there is an order, or else a cycle.
        #[test]
        fn there_is_an_order_or_a_cycle(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..14)) {
            let name = |image: usize| format!("i{}", "x".repeat(image));
            let images: Vec<(String, String)> = (0..8)
                .map(|image| {
                    let needs = edges.iter().filter(|(from, _)| *from == image);
                    let copies = needs.map(|(_, to)| format!("\nCOPY --from=@{} / /", name(*to)));
                    (name(image), format!("FROM debian:1{}", copies.collect::<String>()))
                })
                .collect();
            let pairs: Vec<_> = images.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();

            // What needs nothing any more is taken away until nothing is left, or only cycles.
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
                    let all = |d: &Diagnostic| d.message.starts_with("images are built on each other: ");
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

    /// The fingerprints of the family by name, with this part of one image and this word for the
    /// external ones.
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
    fn a_change_reaches_all_descendants_and_nobody_else() {
        let before = of_family("tool", "a", "sha256:1");
        assert_eq!(changed(&before, &of_family("tool", "a", "sha256:1")), Vec::<String>::new());
        assert_eq!(changed(&before, &of_family("tool", "b", "sha256:1")), ["leaf", "tool"]);
        let other_base = of_family("tool", "a", "sha256:2");
        assert_eq!(changed(&before, &other_base), ["base", "leaf", "mid", "tool"]);
    }
}
