//! Collects the facts that the reports need about the images before a run.

use std::collections::BTreeMap;

use crate::graph::Graph;
use crate::image::ImageName;
use crate::report::catalogue::{Catalogue, Facts, ReadTemplate};
use crate::tree::{Language, Tree};
use crate::workspace::Contexts;

/// Returns the catalogue of the images of `graph`, which were rendered from `tree`.
pub fn catalogue(graph: &Graph, tree: &Tree, contexts: &Contexts) -> Catalogue {
    let images = graph.images().iter().enumerate().map(|(index, image)| {
        let externals = graph.externals(index).into_iter().map(ToString::to_string).collect();
        let facts =
            Facts { template: image.template.clone(), dockerfile: image.text.clone(), externals };
        (image.name.clone(), facts)
    });
    Catalogue { images: images.collect(), read_template: reader(tree, contexts) }
}

fn reader(tree: &Tree, contexts: &Contexts) -> ReadTemplate {
    let files = tree.files();
    let folders: BTreeMap<ImageName, String> =
        contexts.iter().map(|(name, (folder, _))| (name.clone(), folder.clone())).collect();
    Box::new(move |name| {
        let folder = folders.get(name)?;
        let template = [Language::Tera, Language::Jinja]
            .into_iter()
            .find_map(|language| files.get(&format!("{folder}/{}", language.template())))?;
        String::from_utf8(template.read().ok()?).ok()
    })
}
