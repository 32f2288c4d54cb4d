//! `Dockerfile.tera`, rendered by Tera 2: undefined variables are errors, nothing is escaped.
//!
//! All `*.tera` files of the tree are loaded under their paths, so that templates may extend and
//! include each other and share components. Templates are data from someone else: none of Tera's
//! ways to the environment or the file system is registered.

use std::collections::BTreeMap;

use tera::{Context, Error, ErrorKind, ReportError, Tera};

use super::{ImageVariables, Renderer};
use crate::diagnostic::{Diagnostic, Place, Result};
use crate::tree::Tree;

/// The templates of a tree, parsed.
pub(super) struct TeraEngine<'a> {
    tera: Tera,
    sources: BTreeMap<String, String>,
    tree: &'a Tree,
}

impl<'a> TeraEngine<'a> {
    /// Parses every template of `tree`.
    pub(super) fn new(tree: &'a Tree) -> Result<Self> {
        let mut engine = Self { tera: Tera::new(), sources: tree.templates()?, tree };
        engine.tera.autoescape_on(Vec::<&str>::new());
        match engine.tera.add_raw_templates(&engine.sources) {
            Ok(()) => Ok(engine),
            Err(error) => Err(engine.explain(None, &error).into()),
        }
    }

    /// Says what Tera says, with the paths as the user knows them.
    fn explain(&self, template: Option<&str>, error: &Error) -> Diagnostic {
        match error.kind() {
            ErrorKind::SyntaxError(report) => {
                self.show(report, "the template can't be parsed", error)
            }
            ErrorKind::RenderingError(report) => {
                self.show(report, "the template can't be rendered", error)
            }
            _ => {
                let diagnostic = Diagnostic::new(lower_first(&error.to_string()));
                match template {
                    Some(path) => diagnostic.note(format!("in {}", self.tree.display_path(path))),
                    None => diagnostic.note(format!("in {}", self.tree.origin())),
                }
            }
        }
    }

    fn show(&self, report: &ReportError, what: &str, error: &Error) -> Diagnostic {
        let message = format!("{what}: {}", lower_first(report.message()));
        let source = self.sources.get(report.filename()).cloned().unwrap_or_default();
        let range = &report.span().range;
        let span = range.start.min(source.len())..range.end.min(source.len());
        let place = Place::new(self.tree.display_path(report.filename()), source, span);
        let mut diagnostic = Diagnostic::new(message).at(place);
        for note in error.to_string().lines().filter_map(|line| line.strip_prefix("note: ")) {
            diagnostic = diagnostic.note(note);
        }
        diagnostic
    }
}

impl Renderer for TeraEngine<'_> {
    fn render(&self, path: &str, variables: &ImageVariables<'_>) -> Result<String> {
        Context::from_serialize(variables)
            .and_then(|context| self.tera.render(path, &context))
            .map_err(|error| self.explain(Some(path), &error).into())
    }
}

/// Errors read as sentences that go on from our own words.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
