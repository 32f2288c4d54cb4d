//! `Dockerfile.tera`, rendered by Tera 2: undefined variables are errors, nothing is escaped.
//!
//! All `*.tera` files of the tree are loaded under their paths, so that templates may extend and
//! include each other and share components. Templates are data from someone else: none of Tera's
//! ways to the environment or the file system is registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use tera::value::Key;
use tera::{
    ArgFromValue as _, Context, Error, ErrorKind, Kwargs, Map, ReportError, State, Tera,
    TeraResult, Value,
};

use super::{Ingredients, Renderer, Variables, customization, customized, is_customization};
use crate::diagnostic::{Diagnostic, Place, Result};
use crate::dialect::Functions;
use crate::image::ImageName;
use crate::tree::Tree;

/// The templates of a tree, parsed.
pub(super) struct TeraEngine<'a> {
    tera: Tera,
    sources: BTreeMap<String, String>,
    tree: &'a Tree,
    context: Context,
    variables: Variables,
}

impl<'a> TeraEngine<'a> {
    /// Parses every template of `tree`, and makes ready what they are given.
    pub(super) fn new(tree: &'a Tree, ingredients: &Ingredients) -> Result<Self> {
        let context = Context::from_serialize(&ingredients.variables);
        let context = context.map_err(|error| Diagnostic::new(error.to_string()))?;
        let variables = ingredients.variables.clone();
        let mut engine =
            Self { tera: Tera::new(), sources: tree.templates()?, tree, context, variables };
        engine.tera.autoescape_on(Vec::<&str>::new());
        add_functions(&mut engine.tera, &ingredients.functions);
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
    fn render(&self, path: &str, image: &ImageName) -> Result<String> {
        let mut context = self.context.clone();
        context.insert("image_name", image.as_str());
        context.insert(CUSTOMIZATIONS, &customizations(&self.variables));
        self.tera.render(path, &context).map_err(|error| self.explain(Some(path), &error).into())
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

/// The functions and filters that templates of both languages have.
fn add_functions(tera: &mut Tera, functions: &Arc<Functions>) {
    tera.register_filter("customizable", |list: Vec<Value>, given: Kwargs, state: &State<'_>| {
        customizable(list, &given, state)
    });
    let known = Arc::clone(functions);
    tera.register_function("debian_package_install", move |given: Kwargs, _: &State| {
        let packages: Vec<String> = given.must_get("packages")?;
        let clean = given.get::<bool>("clean_package_cache")?.unwrap_or(true);
        Ok::<_, Error>(known.install_packages(&packages, clean))
    });
    let known = Arc::clone(functions);
    tera.register_function("handle_repos", move |given: Kwargs, _: &State| {
        let names: Vec<String> = given.must_get("names")?;
        let mode: String = given.must_get("mode")?;
        known.handle_repos(&names, &mode).map_err(Error::message)
    });
    let known = Arc::clone(functions);
    tera.register_function("cleanup_repos", move |_: Kwargs, _: &State| {
        known.cleanup_repos().map_err(Error::message)
    });
}

/// The name under which components see the variables that change lists.
const CUSTOMIZATIONS: &str = "customizations";

/// The variables among these that change a list.
fn customizations<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a serde_json::Value)>,
) -> BTreeMap<&'a String, &'a serde_json::Value> {
    variables.into_iter().filter(|(name, _)| is_customization(name)).collect()
}

/// A list as the variables `<image>_<what>_override`, `_append` and `_remove` change it.
fn customizable(list: Vec<Value>, given: &Kwargs, state: &State<'_>) -> TeraResult<Vec<Value>> {
    let what: String = given.must_get("of")?;
    let (Some(image), Some(all)) =
        (state.get::<String>("image_name")?, state.get::<Map>(CUSTOMIZATIONS)?)
    else {
        let message = "`customizable` needs @image_name and @customizations of its component";
        return Err(Error::message(message));
    };
    let variable = |how: &str| {
        let name = customization(&image, &what, how);
        match (state.get(&name)?, all.get(&Key::from(name))) {
            (None, Some(value)) => Vec::from_value(value).map(Some),
            (seen, _) => Ok::<Option<Vec<Value>>, Error>(seen),
        }
    };
    if let Some(instead) = variable("override")? {
        return Ok(instead);
    }
    let (append, remove) = (variable("append")?, variable("remove")?);
    Ok(customized(list, append.unwrap_or_default(), &remove.unwrap_or_default()))
}
