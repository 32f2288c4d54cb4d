//! Test helpers that render small trees, for both engines.

use std::fs;

use super::bounds::Watch;
use super::overrides::Override;
use super::template_input::RenderInput;
use super::tree_rendering::{render_with_warnings, watched};
use crate::diagnostic::Diagnostic;
use crate::tree::Tree;

/// Renders a tree of `files`, `(path, text)`. Returns the Dockerfiles of the images, and the
/// warnings.
pub fn rendered_and_told(
    files: &[(&str, &str)],
    overrides: &[&str],
    variables: &serde_json::Value,
) -> Result<(Vec<String>, Vec<String>), Vec<Diagnostic>> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tree.toml"), "").unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let tree = Tree::open(folder.path(), None).unwrap();
    let file = |text: &&str| Override { path: "over".to_owned(), text: (*text).to_owned() };
    let input = RenderInput {
        variables: variables.as_object().unwrap().clone(),
        overrides: overrides.iter().map(file).collect(),
        ..RenderInput::bare()
    };
    let rendering = |watch: &Watch| render_with_warnings(&tree, &input, watch, Ok);
    let (rendered, warnings) = watched(&tree, &input, rendering).map_err(|errors| errors.0)?;
    Ok((rendered.into_iter().map(|image| image.text).collect(), warnings))
}

/// Renders a tree of `files`, and returns the Dockerfiles of the images.
pub fn rendered(
    files: &[(&str, &str)],
    overrides: &[&str],
    variables: &serde_json::Value,
) -> Result<Vec<String>, Vec<Diagnostic>> {
    rendered_and_told(files, overrides, variables).map(|(texts, _)| texts)
}

/// Returns the first error of a tree that can't be rendered.
pub fn fault(files: &[(&str, &str)], overrides: &[&str]) -> Diagnostic {
    rendered(files, overrides, &serde_json::json!({})).unwrap_err().remove(0)
}

/// Returns the places of an error as `file:line:column`, without folders.
pub fn told(error: &Diagnostic) -> Vec<String> {
    let place = |place: &crate::diagnostic::Place| {
        let before = &place.source[..place.span.start];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let file = place.path.rsplit('/').next().unwrap();
        format!("{file}:{}:{column}", place.line_number())
    };
    error.places.iter().map(place).collect()
}
