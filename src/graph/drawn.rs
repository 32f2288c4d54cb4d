//! Formats of the graph: nested JSON, Graphviz, Mermaid, and JSON for programs.
//!
//! All of them show the images that the caller selects, in the graph's own order, so that the
//! output for a graph is always the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::image_graph::{Graph, Vertex};
use super::image_use::Index;
use super::tree_image::Image;
use crate::dockerfile::Via;
use crate::visible;

impl Graph {
    /// Returns the images for which `shown` is true as nested JSON: a leaf is a string, an image
    /// with children in the tree is an object with one key. Images without a parent are at the top
    /// level; they are also shown if any of their children is.
    pub fn nested(&self, shown: &dyn Fn(Index) -> bool) -> Value {
        let mut children: BTreeMap<Option<Index>, Vec<Index>> = BTreeMap::new();
        for index in 0..self.images.len() {
            children.entry(self.parent[index]).or_default().push(index);
        }
        let roots = children.get(&None).map(Vec::as_slice).unwrap_or_default();
        let below =
            |root: &Index| children.get(&Some(*root)).map(Vec::as_slice).unwrap_or_default();
        let entries = roots
            .iter()
            .filter(|root| shown(**root) || below(root).iter().any(|child| shown(*child)))
            .map(|root| {
                (self.images[*root].name.to_string(), self.nested_children(*root, &children, shown))
            });
        Value::Object(entries.collect())
    }

    fn nested_children(
        &self,
        image: Index,
        children: &BTreeMap<Option<Index>, Vec<Index>>,
        shown: &dyn Fn(Index) -> bool,
    ) -> Value {
        let below = children.get(&Some(image)).map(Vec::as_slice).unwrap_or_default();
        below
            .iter()
            .filter(|child| shown(**child))
            .map(|child| {
                let name = self.images[*child].name.to_string();
                if children.contains_key(&Some(*child)) {
                    json!({ name: self.nested_children(*child, children, shown) })
                } else {
                    json!(name)
                }
            })
            .collect()
    }

    /// Returns the images for which `shown` is true as a Graphviz graph, with edges from parent to
    /// child.
    pub fn dot(&self, shown: &dyn Fn(Index) -> bool) -> String {
        let mut dot = String::from("// Container Images Dependency\ndigraph {\n\trankdir=LR\n");
        for &index in self.order.iter().filter(|index| shown(**index)) {
            let name = dot_id(&self.images[index].name.to_string());
            writeln!(dot, "\t{name}").expect("a string takes all");
            for needed in self.needs(index).into_iter().filter(|needed| shown(*needed)) {
                let needed = dot_id(&self.images[needed].name.to_string());
                writeln!(dot, "\t{needed} -> {name}").expect("a string takes all");
            }
        }
        dot.push_str("}\n");
        dot
    }

    /// Returns the images for which `shown` is true, and the base images that they refer to, as a
    /// list of nodes and a list of edges.
    pub fn json(&self, shown: &dyn Fn(Index) -> bool) -> GraphJson<'_> {
        let drawn = self.drawn(shown);
        let edges = drawn.edges.iter().flat_map(|edge| {
            edge.kinds.iter().map(|kind| EdgeJson {
                from: self.id(edge.needed),
                to: self.id(edge.by),
                kind: *kind,
            })
        });
        GraphJson {
            nodes: drawn.nodes.iter().map(|node| self.node_json(*node)).collect(),
            edges: edges.collect(),
        }
    }

    /// Returns the same images as a Mermaid flowchart: external images have round ends, and a
    /// reference other than `FROM` is a dotted arrow.
    pub fn mermaid(&self, shown: &dyn Fn(Index) -> bool) -> String {
        let drawn = self.drawn(shown);
        let mut text = String::from("flowchart LR\n");
        let mut say = |line: String| writeln!(text, "    {line}").expect("a string takes all");
        for node in &drawn.nodes {
            let (id, name) = (node.index(), mermaid_text(&self.id(*node)));
            match self.dag[*node] {
                Vertex::Image(_) => say(format!("n{id}[\"{name}\"]")),
                Vertex::External(_) => say(format!("n{id}([\"{name}\"])")),
            }
        }
        for Edge { needed, by, kinds } in &drawn.edges {
            let (needed, by) = (needed.index(), by.index());
            if kinds.contains(&Via::From) {
                say(format!("n{needed} --> n{by}"));
            } else {
                let kinds: Vec<_> = kinds.iter().map(|via| via.as_str()).collect();
                say(format!("n{needed} -. \"{}\" .-> n{by}", kinds.join(", ")));
            }
        }
        text
    }

    /// Returns the vertices and edges to draw if these images are shown.
    fn drawn(&self, shown: &dyn Fn(Index) -> bool) -> Drawn<'_> {
        let is_shown = |node: NodeIndex| match self.dag[node] {
            Vertex::Image(index) => shown(index),
            Vertex::External(_) => true,
        };
        let images = self.order.iter().copied().filter(|image| shown(*image)).map(NodeIndex::new);
        let edges: Vec<_> = images
            .clone()
            .flat_map(|by| {
                let edges = self.dag.edges_directed(by, Direction::Incoming);
                let edges = edges.filter(|edge| is_shown(edge.source()));
                let mut edges: Vec<_> = edges
                    .map(|edge| Edge { needed: edge.source(), by, kinds: edge.weight() })
                    .collect();
                edges.sort_by_key(|edge| self.id(edge.needed));
                edges
            })
            .collect();
        let needed = edges.iter().map(|edge| edge.needed);
        let is_external = |node: &NodeIndex| matches!(self.dag[*node], Vertex::External(_));
        let externals: BTreeMap<String, NodeIndex> =
            needed.filter(is_external).map(|node| (self.id(node), node)).collect();
        Drawn { nodes: externals.into_values().chain(images).collect(), edges }
    }

    /// Returns the unique id of a vertex: the name of an image, which has no colon, or the
    /// reference of an external image, which has a tag or a digest.
    fn id(&self, node: NodeIndex) -> String {
        match &self.dag[node] {
            Vertex::Image(index) => self.images[*index].name.to_string(),
            Vertex::External(reference) => reference.to_string(),
        }
    }

    fn node_json(&self, node: NodeIndex) -> NodeJson<'_> {
        let id = self.id(node);
        let node = match &self.dag[node] {
            Vertex::External(reference) => AnyNode::External { reference: reference.to_string() },
            Vertex::Image(index) => AnyNode::Image {
                image: ImageEntry::new(&self.images[*index]),
                wave: self.wave[*index],
            },
        };
        NodeJson { id, node }
    }
}

/// Graph of the images of a run, from `kiln build --save-dependency`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "Graph"))]
pub struct GraphJson<'a> {
    /// Base images by reference, then images of the tree by wave and name.
    nodes: Vec<NodeJson<'a>>,
    /// Edges, sorted by the image that needs, then by the one that is needed.
    edges: Vec<EdgeJson>,
}

/// A node of the graph.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Node"))]
struct NodeJson<'a> {
    /// Unique id, for the edges.
    id: String,
    #[serde(flatten)]
    node: AnyNode<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum AnyNode<'a> {
    /// An image that is not of the tree.
    External {
        /// Reference of the image.
        reference: String,
    },
    /// An image of the tree.
    Image {
        #[serde(flatten)]
        image: ImageEntry<'a>,
        /// Topological wave, from 1.
        wave: usize,
    },
}

/// An edge, for one kind of instruction.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "Edge"))]
struct EdgeJson {
    /// Id of the image that is needed.
    from: String,
    /// Id of the image that needs it.
    to: String,
    /// Kind of the instruction.
    kind: Via,
}

/// An image of the tree in machine-readable output.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ImageEntry<'a> {
    /// Short name of the image.
    name: &'a str,
    /// Base, type and platform, as far as they differ between images of the run; absent if none
    /// does.
    #[serde(skip_serializing_if = "Option::is_none")]
    axis: Option<&'a str>,
    /// Reference that the image is tagged with.
    reference: String,
}

impl<'a> ImageEntry<'a> {
    /// Returns the entry of an image.
    pub fn new(image: &'a Image) -> Self {
        Self {
            name: image.name.as_str(),
            axis: image.name.axis(),
            reference: image.reference.to_string(),
        }
    }
}

/// Part of a graph that is drawn.
struct Drawn<'a> {
    /// External images by reference, then images of the tree by wave and name.
    nodes: Vec<NodeIndex>,
    /// Edges, sorted by the image that needs, then by the one that is needed.
    edges: Vec<Edge<'a>>,
}

/// An edge: the image `by` needs the image `needed`.
struct Edge<'a> {
    needed: NodeIndex,
    by: NodeIndex,
    kinds: &'a BTreeSet<Via>,
}

/// Returns a name as a Graphviz id: bare if it is an identifier and no keyword, else quoted.
fn dot_id(name: &str) -> String {
    const KEYWORDS: [&str; 6] = ["node", "edge", "graph", "digraph", "subgraph", "strict"];
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !KEYWORDS.iter().any(|keyword| name.eq_ignore_ascii_case(keyword));
    if bare {
        return name.to_owned();
    }
    let escaped = visible::line(name).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// Returns a text for use between quotes in Mermaid. All but plain characters are written as their
/// numbers: they could end the quotes, be a directive, HTML or Markdown, or be one of the number
/// codes that Mermaid itself replaces.
fn mermaid_text(text: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '/' | ':' | '@' | '_' | '-');
    let mut quoted = String::new();
    for char in visible::line(text).chars() {
        if is_plain(char) {
            quoted.push(char);
        } else {
            write!(quoted, "#{};", u32::from(char)).expect("a string takes all");
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::graph;

    #[test]
    fn listings_show_only_what_is_asked_for() {
        let graph = graph(&[
            ("base", "FROM debian:1"),
            ("mid", "FROM @base"),
            ("leaf-a", "FROM @mid"),
            ("leaf-b", "FROM @mid"),
        ])
        .unwrap();
        let all = |_: Index| true;
        assert_eq!(graph.nested(&all), json!({"base": [{"mid": ["leaf-a", "leaf-b"]}]}));
        let not_b = |index: Index| graph.images()[index].name.as_str() != "leaf-b";
        assert_eq!(graph.nested(&not_b), json!({"base": [{"mid": ["leaf-a"]}]}));
        assert_eq!(
            graph.dot(&not_b),
            "// Container Images Dependency\ndigraph {\n\trankdir=LR\n\tbase\n\tmid\n\tbase -> mid\n\t\"leaf-a\"\n\tmid -> \"leaf-a\"\n}\n"
        );
        assert_eq!(dot_id("node"), "\"node\"");
    }

    const EVERY_KIND: &[(&str, &str)] = &[
        ("base", "FROM debian:1"),
        ("mid", "FROM @base\nCOPY --from=@base / /"),
        ("leaf", "FROM @mid\nCOPY --from=@tool / /\nRUN --mount=from=@tool true"),
        ("tool", "FROM other:1\nCOPY --from=debian:1 / /"),
    ];

    #[test]
    fn json_lists_every_edge_with_its_kind() {
        let graph = graph(EVERY_KIND).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&graph.json(&|_| true)).unwrap());
    }

    #[test]
    fn mermaid_labels_edges_other_than_from() {
        insta::assert_snapshot!(graph(EVERY_KIND).unwrap().mermaid(&|_| true));
    }

    #[test]
    fn no_name_ends_its_quotes() {
        let table = [
            ("a\"b", "\"a\\\"b\"", "a#34;b"),
            ("a\\", "\"a\\\\\"", "a#92;"),
            ("a\nclick b", "\"a\\\\nclick b\"", "a#92;nclick b"),
            ("%%{init: {}}%%", "\"%%{init: {}}%%\"", "#37;#37;#123;init: #123;#125;#125;#37;#37;"),
            ("<img src=x>`&#", "\"<img src=x>`&#\"", "#60;img src#61;x#62;#96;#38;#35;"),
            ("ﬂ°°60¶ß", "\"ﬂ°°60¶ß\"", "#64258;#176;#176;60#182;#223;"),
            ("h.x:5/a:1@sha256:0", "\"h.x:5/a:1@sha256:0\"", "h.x:5/a:1@sha256:0"),
            ("a\u{202e}b", "\"a\\\\u{202e}b\"", "a#92;u#123;202e#125;b"),
        ];
        for (name, dot, mermaid) in table {
            assert_eq!(dot_id(name), dot);
            assert_eq!(mermaid_text(name), mermaid);
        }
    }

    #[test]
    fn externals_are_drawn_for_what_is_shown() {
        let graph = graph(EVERY_KIND).unwrap();
        let only = |name: &'static str| {
            let shown = |index: Index| graph.images()[index].name.as_str() == name;
            let drawn = json!(graph.json(&shown));
            let ids = drawn["nodes"].as_array().unwrap().iter().map(|node| node["id"].clone());
            (ids.collect::<Value>(), drawn["edges"].as_array().unwrap().len())
        };
        assert_eq!(only("mid"), (json!(["mid"]), 0));
        assert_eq!(only("tool"), (json!(["debian:1", "other:1", "tool"]), 2));
    }
}
