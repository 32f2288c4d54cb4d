//! Rendering of a tree: each image on its own, on all processors, within the limits of
//! [`bounds`].

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::bounds::{self, Watch};
use super::jinja_engine::JinjaEngine;
use super::overrides::{Lists, Override, blocks_of, overrides_for, without_effect};
use super::renderer::Renderer;
use super::rendering_errors::{one_for_each_place, too_much_for, with_cure};
use super::template_input::RenderInput;
use super::tera_engine::TeraEngine;
use super::tera_override::blocks_of_image;
use crate::diagnostic::{Result, collect};
use crate::tree::{Files, ImageFolder, Language, Tree, TreeFile};

/// Renders one template in a tree with only one other file: `other`, a path and a text.
///
/// # Errors
/// When the template can't be rendered.
pub fn rendered_alone(language: Language, text: &str, other: (&str, &str)) -> Result<String> {
    let files = [(format!("image/{}", language.template()).as_str(), text), other]
        .map(|(path, text)| (path.to_owned(), TreeFile::of_text(text.to_owned())));
    let tree = Tree::of_files(Files::from(files));
    let input = RenderInput::bare();
    let (rendered, _) =
        watched(&tree, &input, |watch| render_with_warnings(&tree, &input, watch, Ok))?;
    Ok(rendered.into_iter().map(|image| image.text).collect())
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
    watched(tree, input, |watch| render_with_warnings(tree, input, watch, then))
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
pub(super) fn watched<T>(
    tree: &Tree,
    input: &RenderInput,
    rendering: impl FnOnce(&Watch) -> T,
) -> T {
    let (shown, give_up) = (tree.shown().clone(), input.give_up);
    let give_up = move |path: &str, what: String| give_up(too_much_for(&shown, path, &what));
    Watch::during(bounds::LIMITS, give_up, rendering)
}

/// Renders every image under the watchdog. Also returns a warning for each part of the overrides
/// that has no effect.
pub(super) fn render_with_warnings<T: Send>(
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
