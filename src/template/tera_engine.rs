//! Engine for `Dockerfile.tera`: Tera 2. Undefined variables are errors, nothing is escaped.
//!
//! All `*.tera` files of the tree are loaded under their paths, so that templates may extend and
//! include each other and share components. Templates come from third parties: none of Tera's
//! functions that read the environment or the file system is registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use tera::value::Key;
use tera::{
    ArgFromValue as _, Context, Error, ErrorKind, Kwargs, Map, ReportError, State, Tera,
    TeraResult, Value,
};

use super::bounds::TOO_LONG;
use super::list_customization::{customization, customized, is_customization};
use super::outline;
use super::overrides::{Lists, Override, is_override};
use super::renderer::Renderer;
use super::rendering_errors::place_of_tag;
use super::template_input::{RenderInput, Variables};
use super::tera_override::{self, CUSTOMIZATIONS, Customizations, Layers};
use crate::diagnostic::{Diagnostic, Place, Result};
use crate::dialect::Functions;
use crate::image::ImageName;
use crate::tree::{ImageFolder, Tree};

/// Parsed templates of a tree.
pub(super) struct TeraEngine<'a> {
    tera: Tera,
    sources: BTreeMap<String, String>,
    tree: &'a Tree,
    context: Context,
    variables: Variables,
    layers: Layers,
}

impl<'a> TeraEngine<'a> {
    /// Parses every template of `tree`, and adds the variables, functions and overrides.
    pub(super) fn new(
        tree: &'a Tree,
        input: &RenderInput,
        overrides: Vec<Override>,
        lists: &Arc<Lists>,
    ) -> Result<Self> {
        let context = Context::from_serialize(&input.variables);
        let mut sources = tree.templates()?;
        sources.retain(|_, text| !is_override(text));
        for (path, text) in &sources {
            outline::check_depth(text).map_err(|(line, what)| {
                let place = Place::line(tree.display_path(path), text.as_str(), line);
                Diagnostic::new(format!("the template can't be parsed: {what}")).at(place)
            })?;
        }
        let mut engine = Self {
            tera: Tera::new(),
            sources,
            tree,
            context: context.map_err(|error| Diagnostic::new(error.to_string()))?,
            variables: input.variables.clone(),
            layers: Layers::new(overrides)?,
        };
        engine.tera.autoescape_on(Vec::<&str>::new());
        add_functions(&mut engine.tera, &input.functions, lists);
        let added = engine.tera.add_raw_templates(&engine.sources);
        added.map_err(|error| engine.explain(None, &error))?;
        if !input.overrides.is_empty() {
            engine.lay_over(&tree.images()?)?;
        }
        Ok(engine)
    }

    /// Adds the templates that are generated from the overrides.
    fn lay_over(&mut self, images: &[ImageFolder]) -> Result<()> {
        tera_override::add_function(&mut self.tera);
        let whole: Vec<_> = self.layers.whole().collect();
        for templates in whole.into_iter().chain([self.layers.pile_up(images, &self.sources)]) {
            let name = templates.first().map(|(name, _)| name.clone());
            let added = self.tera.add_raw_templates(templates);
            added.map_err(|error| self.explain(name.as_deref(), &error))?;
        }
        Ok(())
    }

    /// Converts an error of Tera into a diagnostic with the paths that the user knows.
    fn explain(&self, template: Option<&str>, error: &Error) -> Diagnostic {
        match error.kind() {
            ErrorKind::SyntaxError(report) => {
                self.show(report, "the template can't be parsed", error)
            }
            ErrorKind::RenderingError(report) => {
                self.show(report, "the template can't be rendered", error)
            }
            ErrorKind::CircularExtend { tpl, .. } => self.of_template(tpl, "extends", error),
            ErrorKind::CircularInclude { tpl, .. } => self.of_template(tpl, "include", error),
            ErrorKind::Msg(message) if message == TOO_LONG => match template {
                Some(template) => self.of_template(template, "for", error),
                None => Diagnostic::new(TOO_LONG),
            },
            _ => {
                let said = self.layers.in_words_of_user(&error.to_string());
                let origin = template.map_or(self.tree.origin().to_owned(), |name| self.path(name));
                Diagnostic::new(lower_first(&said)).note(format!("in {origin}"))
            }
        }
    }

    /// Converts an error of Tera that has no place into a diagnostic, at the template's first tag
    /// `word`.
    fn of_template(&self, template: &str, word: &str, error: &Error) -> Diagnostic {
        let said = self.layers.in_words_of_user(&error.to_string());
        let said = format!("the template can't be rendered: {}", lower_first(&said));
        match self.layers.origin(template) {
            Some((file, _)) => Diagnostic::new(said).note(format!("in {}", file.path)),
            None => Diagnostic::new(said).at(place_of_tag(self.tree.shown(), template, word)),
        }
    }

    /// Returns the path of a template as the user knows it.
    fn path(&self, template: &str) -> String {
        match self.layers.origin(template) {
            Some((file, _)) => file.path.clone(),
            None => self.tree.display_path(template),
        }
    }

    fn show(&self, report: &ReportError, what: &str, error: &Error) -> Diagnostic {
        let message = format!("{what}: {}", lower_first(report.message()));
        let (source, start) = match self.layers.origin(report.filename()) {
            Some((file, start)) => (Some(&file.text), start),
            None => (self.sources.get(report.filename()), 0),
        };
        let source = source.cloned().unwrap_or_default();
        let within = |offset: usize| offset.saturating_sub(start).min(source.len());
        let range = &report.span().range;
        let span = within(range.start)..within(range.end);
        let mut diagnostic =
            Diagnostic::new(message).at(Place::new(self.path(report.filename()), source, span));
        for note in error.to_string().lines().filter_map(|line| line.strip_prefix("note: ")) {
            diagnostic = diagnostic.note(self.layers.in_words_of_user(note));
        }
        diagnostic
    }
}

impl Renderer for TeraEngine<'_> {
    fn render(&self, path: &str, image: &ImageName) -> Result<String> {
        let explain = |error: &Error| self.explain(Some(path), error);
        let mut context = self.context.clone();
        context.insert("image_name", image.as_str());
        let set = self.layers.variables(&self.tera, &context, explain)?;
        set.iter().for_each(|(name, value)| context.insert(name.clone(), value));
        let customizations = customizations(self.variables.iter().chain(&set));
        let text = self.layers.render(&self.tera, path, context, &customizations);
        text.map_err(|error| explain(&error).into())
    }
}

/// Lowers the first letter: Tera's message follows a colon.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Registers the functions and filters that templates of both languages have.
fn add_functions(tera: &mut Tera, functions: &Arc<Functions>, lists: &Arc<Lists>) {
    let lists = Arc::clone(lists);
    tera.register_filter("customizable", move |list: Vec<Value>, given: Kwargs, state: &State| {
        customizable(list, &given, state, &lists)
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

/// Returns the variables that change a list; of two with the same name the last wins.
fn customizations<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a serde_json::Value)>,
) -> Customizations<'a> {
    let all = variables.into_iter().map(|(name, value)| (name.as_str(), value));
    all.filter(|(name, _)| is_customization(name)).collect()
}

/// Applies the variables `<image>_<what>_override`, `_append` and `_remove` to a list.
fn customizable(
    list: Vec<Value>,
    given: &Kwargs,
    state: &State<'_>,
    lists: &Lists,
) -> TeraResult<Vec<Value>> {
    let what: String = given.must_get("of")?;
    let (Some(image), Some(all)) =
        (state.get::<String>("image_name")?, state.get::<Map>(CUSTOMIZATIONS)?)
    else {
        let message = "`customizable` needs @image_name and @customizations of its component";
        return Err(Error::message(message));
    };
    lists.note(&image, &what);
    let variable = |how: &str| {
        let name = customization(&image, &what, how);
        let here = state.get::<Value>(&name)?;
        let Some(value) = here.or_else(|| all.get(&Key::from(name.clone())).cloned()) else {
            return Ok(None);
        };
        let wrong =
            |_| Error::message(format!("{name} is not a list but of type `{}`", value.name()));
        Vec::<Value>::from_value(&value).map(Some).map_err(wrong)
    };
    if let Some(instead) = variable("override")? {
        return Ok(instead);
    }
    let (append, remove) = (variable("append")?, variable("remove")?);
    Ok(customized(list, append.unwrap_or_default(), &remove.unwrap_or_default()))
}
