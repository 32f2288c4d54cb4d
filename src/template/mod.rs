//! Renders the templates of a tree: one Dockerfile for every image.
//!
//! Two engines parse the templates of a tree once: one for `Dockerfile.tera`, one for
//! `Dockerfile.j2`. Each image is then rendered independently, on all processors. Both engines get
//! the same variables and functions, and the same overrides of the user.

mod bounds;
mod jinja_engine;
mod jinja_limits;
mod origin;
mod outline;
mod overrides;
mod tera_engine;
mod tera_override;
#[cfg(test)]
mod testing;

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result, collect};
use crate::dialect::{Dialect, Functions, NO_TABLES, Tables};
use crate::image::ImageName;
use crate::tree::{Files, ImageFolder, Language, Shown, Tree, TreeFile};

use bounds::Watch;
use jinja_engine::JinjaEngine;
use overrides::{Lists, blocks_of, overrides_for, without_effect};
use tera_engine::TeraEngine;
use tera_override::blocks_of_image;

pub use origin::origin_line;
pub use overrides::Override;

/// Variables of templates, by name.
pub type Variables = Map<String, Value>;

/// Everything that rendering needs besides the tree.
#[derive(Debug)]
pub struct RenderInput {
    /// Variables of all images; each image's name is added to them.
    pub variables: Variables,
    /// Functions that templates call.
    pub functions: Arc<Functions>,
    /// Templates that the user lays over every image; they apply together, in this order.
    pub overrides: Vec<Override>,
    /// Build arguments that are declared at the start of every Dockerfile.
    pub build_arguments: Vec<String>,
    /// Reports the template that exceeds a limit of rendering, and ends the program.
    pub give_up: fn(Diagnostic),
}

impl RenderInput {
    /// Returns the input for a template that is rendered by itself: no variables and no
    /// overrides.
    fn bare() -> Self {
        let functions = Functions {
            dialect: Dialect::newest(),
            tables: Tables::default(),
            package_type: "deb".to_owned(),
            base: "debian".to_owned(),
            base_tag: "1".to_owned(),
            arch: "x86_64".to_owned(),
            codename: None,
        };
        Self {
            variables: Variables::new(),
            functions: functions.into(),
            overrides: Vec::new(),
            build_arguments: Vec::new(),
            give_up: |_| {},
        }
    }
}

/// Renders one template in a tree with only one other file: `other`, a path and a text.
///
/// # Errors
/// When the template can't be rendered.
pub fn rendered_alone(language: Language, text: &str, other: (&str, &str)) -> Result<String> {
    let files = [(format!("image/{}", language.template()).as_str(), text), other]
        .map(|(path, text)| (path.to_owned(), TreeFile::of_text(text.to_owned())));
    let tree = Tree::of_files(Files::from(files));
    let input = RenderInput::bare();
    let (rendered, _) = watched(&tree, &input, |watch| render_and_tell(&tree, &input, watch, Ok))?;
    Ok(rendered.into_iter().map(|image| image.text).collect())
}

/// Engine that holds the templates of a tree.
trait Renderer: Sync {
    /// Renders the template at `path` (from the tree's root) for `image`, and returns the text.
    fn render(&self, path: &str, image: &ImageName) -> Result<String>;
}

/// Image with its Dockerfile.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Folder that the image comes from.
    pub folder: ImageFolder,
    /// Text of the Dockerfile.
    pub text: String,
}

/// Renders every image of `tree` and passes it to `then`. The results are in the order of the
/// images' paths. Also returns a warning for each part of the overrides that has no effect.
///
/// # Errors
/// Every template that fails, each with its place, and every error of `then`.
pub fn render_all<T: Send>(
    tree: &Tree,
    input: &RenderInput,
    then: impl Fn(Rendered) -> Result<T> + Sync,
) -> Result<(Vec<T>, Vec<String>)> {
    watched(tree, input, |watch| render_and_tell(tree, input, watch, then))
}

/// Renders each image of `tree`, even if others fail. The results are in the order of the images'
/// paths.
///
/// # Errors
/// When the images of the tree can't be listed.
pub fn render_each(
    tree: &Tree,
    input: &RenderInput,
) -> Result<Vec<(ImageFolder, Result<Rendered>)>> {
    let images = tree.images()?;
    let engines = engines(tree, input, &images, &Arc::new(Lists::default()));
    Ok(watched(tree, input, |watch| {
        let results = images.into_par_iter().map(|folder| {
            let rendered = match engine_for(&folder, &engines) {
                Ok(engine) => render(engine.as_ref(), folder.clone(), input, watch),
                Err(errors) => Err(errors.clone()),
            };
            (folder, rendered)
        });
        results.collect()
    }))
}

/// Runs `rendering` under the watchdog, within the limits of [`bounds`].
fn watched<T>(tree: &Tree, input: &RenderInput, rendering: impl FnOnce(&Watch) -> T) -> T {
    let (shown, give_up) = (tree.shown().clone(), input.give_up);
    let give_up = move |path: &str, what: String| give_up(too_much_for(&shown, path, &what));
    Watch::during(bounds::LIMITS, give_up, rendering)
}

/// Returns the error for a template that exceeds a limit of rendering; `what` is the limit.
fn too_much_for(tree: &Shown, path: &str, what: &str) -> Diagnostic {
    Diagnostic::new(format!("rendering the template needs {what}"))
        .at(place_of_loop(tree, path))
        .help("it may have an endless loop, or a string that grows without limit")
}

/// Returns the place of a template's first loop, or its start if there is none.
fn place_of_loop(tree: &Shown, path: &str) -> Place {
    place_of_tag(tree, path, "for")
}

/// Returns the place of a template's first tag `word`, or its start if there is none.
fn place_of_tag(tree: &Shown, path: &str, word: &str) -> Place {
    let text = tree.text(path);
    let span = outline::first_tag(&text, word).unwrap_or(0..0);
    Place::new(tree.path(path), text, span)
}

/// Renders every image under the watchdog. Also returns a warning for each part of the overrides
/// that has no effect.
fn render_and_tell<T: Send>(
    tree: &Tree,
    input: &RenderInput,
    watch: &Watch,
    then: impl Fn(Rendered) -> Result<T> + Sync,
) -> Result<(Vec<T>, Vec<String>)> {
    let images = tree.images()?;
    let lists = Arc::new(Lists::default());
    let engines = engines(tree, input, &images, &lists);
    if let Some((_, Err(errors))) = engines.iter().find(|(_, engine)| engine.is_err()) {
        return Err(errors.clone());
    }
    let results: Vec<_> = images
        .par_iter()
        .map(|folder| match engine_for(folder, &engines) {
            Ok(engine) => then(render(engine.as_ref(), folder.clone(), input, watch)?),
            Err(errors) => Err(errors.clone()),
        })
        .collect();
    let made = collect(results).map_err(one_for_each_place)?;
    let warnings = match &input.overrides[..] {
        [] => Vec::new(),
        overrides => without_effect(overrides, blocks(tree, &images), &lists.variables()),
    };
    Ok((made, warnings))
}

/// Engines for the languages of a tree; the error if a language's engine can't be created.
type Engines<'a> = Vec<(Language, Result<Box<dyn Renderer + 'a>>)>;

fn engines<'a>(
    tree: &'a Tree,
    input: &RenderInput,
    images: &[ImageFolder],
    lists: &Arc<Lists>,
) -> Engines<'a> {
    let mut languages = vec![Language::Tera, Language::Jinja];
    languages.retain(|language| images.iter().any(|folder| folder.language == *language));
    let made = languages.iter().map(|language| {
        let overrides = overrides_for(*language, &languages, &input.overrides);
        (*language, engine(*language, tree, input, overrides, lists))
    });
    made.collect()
}

fn engine_for<'e, 'a>(
    folder: &ImageFolder,
    engines: &'e Engines<'a>,
) -> &'e Result<Box<dyn Renderer + 'a>> {
    let engine = engines.iter().find(|(language, _)| *language == folder.language);
    &engine.expect("there is an engine for each language of the tree").1
}

fn render(
    engine: &dyn Renderer,
    folder: ImageFolder,
    input: &RenderInput,
    watch: &Watch,
) -> Result<Rendered> {
    let path = folder.template();
    let _rendering = watch.over(&path);
    let text = engine.render(&path, &folder.name).map_err(with_cure)?;
    Ok(Rendered { folder, text: declare(text, &input.build_arguments) })
}

/// Creates an engine with the templates of `tree` in `language` and with the overrides.
fn engine<'a>(
    language: Language,
    tree: &'a Tree,
    input: &RenderInput,
    overrides: Vec<Override>,
    lists: &Arc<Lists>,
) -> Result<Box<dyn Renderer + 'a>> {
    Ok(match language {
        Language::Tera => Box::new(TeraEngine::new(tree, input, overrides, lists)?),
        Language::Jinja => Box::new(JinjaEngine::new(tree, input, &overrides, lists)?),
    })
}

/// Returns the names of all blocks that images have.
fn blocks(tree: &Tree, images: &[ImageFolder]) -> BTreeSet<String> {
    let mut blocks = blocks_of(tree);
    for image in images.iter().filter(|image| image.language == Language::Tera) {
        let (header, footers) = blocks_of_image(&image.name);
        blocks.insert(header);
        blocks.extend(footers);
    }
    blocks
}

/// Returns true if a template asked for package repositories of a tree that has none.
fn lacks_tables(error: &Diagnostic) -> bool {
    error.message.contains(NO_TABLES)
}

/// Adds the cure to errors of templates that ask for package repositories.
fn with_cure(Diagnostics(errors): Diagnostics) -> Diagnostics {
    const CURE: &str = "name a file with --repos-yaml, or the checkout or virtual environment of the templates with --tree";
    let cured = errors.into_iter().map(|error| match lacks_tables(&error) {
        true => error.help(CURE),
        false => error,
    });
    Diagnostics(cured.collect())
}

/// Merges errors with the same message and first place into one, with the number of images that it
/// affects. The lack of package repositories is one error wherever templates ask for them.
fn one_for_each_place(errors: Diagnostics) -> Diagnostics {
    let mut kept: Vec<(Diagnostic, usize)> = Vec::new();
    for error in errors.0 {
        let same = |(known, _): &&mut (Diagnostic, usize)| {
            let is_same_place =
                !error.places.is_empty() && known.places.first() == error.places.first();
            known.message == error.message && (is_same_place || lacks_tables(&error))
        };
        match kept.iter_mut().find(same) {
            Some((_, others)) => *others += 1,
            None => kept.push((error, 0)),
        }
    }
    let told = kept.into_iter().map(|(error, others)| match others {
        0 => error,
        1 => error.note("one other image fails for the same reason"),
        n => error.note(format!("{n} other images fail for the same reason")),
    });
    Diagnostics(told.collect())
}

/// Endings of the variables by which a user changes a list.
const CUSTOMIZES: [&str; 3] = ["_override", "_append", "_remove"];

/// Returns the name of the variable by which a user changes the list `what` of an image; `how` is
/// `override`, `append` or `remove`.
fn customization(image: &str, what: &str, how: &str) -> String {
    format!("{}_{what}_{how}", image.replace('-', "_"))
}

/// Returns true if a variable of this name changes a list.
fn is_customization(name: &str) -> bool {
    CUSTOMIZES.iter().any(|ending| name.ends_with(ending))
}

/// Appends to a list, then removes the first occurrence of each value in `remove`.
fn customized<T: PartialEq>(mut list: Vec<T>, append: Vec<T>, remove: &[T]) -> Vec<T> {
    list.extend(append);
    for unwanted in remove {
        if let Some(found) = list.iter().position(|value| value == unwanted) {
            list.remove(found);
        }
    }
    list
}

/// Declares build arguments after the first `FROM`.
fn declare(text: String, arguments: &[String]) -> String {
    if arguments.is_empty() {
        return text;
    }
    let is_from = |line: &str| {
        let mut chars = line.chars();
        let word: String = chars.by_ref().take(4).collect();
        word.eq_ignore_ascii_case("from") && chars.next().is_some_and(char::is_whitespace)
    };
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    if let Some(from) = lines.iter().position(|line| is_from(line)) {
        let declared = arguments.iter().map(|name| format!("ARG {name}"));
        lines.splice(from + 1..from + 1, declared);
    }
    lines.join("\n")
}
