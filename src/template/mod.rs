//! Renders the templates of a tree: one Dockerfile's text for every image.
//!
//! A [`Renderer`] holds all templates of a tree, parsed once; rendering is then one independent
//! piece of work for each image and runs on all processors. What templates are given is the
//! [`Variables`]: the same for every engine.

mod tera_engine;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::diagnostic::{Result, collect};
use crate::tree::{ImageFolder, Tree, UserVariables};

use tera_engine::TeraEngine;

/// What every template of a tree is given.
#[derive(Debug, Clone, Serialize)]
pub struct Variables {
    /// The namespace of the images' references, with the registry before it if there is one.
    pub namespace: String,
    /// What stands before an image's name in its reference.
    pub image_prefix: String,
    /// The tag of the images.
    pub tag: String,
    /// The external image to build on, without tag.
    pub base_image: String,
    /// The name of the base distro.
    pub base_distro: String,
    /// The tag of the external image.
    pub base_distro_tag: String,
    /// The machine architecture, as the kernel calls it (`x86_64`).
    pub base_arch: String,
    /// The same, as Debian calls it (`amd64`).
    pub debian_arch: String,
    /// The kind of the base's packages (`rpm`, `deb`).
    pub base_package_type: String,
    /// The program that installs them (`dnf`, `apt`).
    pub distro_package_manager: String,
    /// Where the software comes from (`binary`, `source`).
    pub install_type: String,
    /// Whether the site has CA certificates of its own.
    pub ca_certificates: bool,
    /// Who looks after the images.
    pub maintainer: String,
    /// The service users.
    pub users: BTreeMap<String, UserVariables>,
    /// What the tree's manifest adds.
    #[serde(flatten)]
    pub of_tree: toml::Table,
}

/// The variables of one image.
#[derive(Serialize)]
struct ImageVariables<'a> {
    image_name: &'a str,
    #[serde(flatten)]
    common: &'a Variables,
}

/// An engine with the templates of a tree.
trait Renderer: Sync {
    /// The text that the template at `path` (from the tree's root) makes of `variables`.
    fn render(&self, path: &str, variables: &ImageVariables<'_>) -> Result<String>;
}

/// An image with its Dockerfile.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The folder it comes from.
    pub folder: ImageFolder,
    /// The Dockerfile's text.
    pub text: String,
}

/// Renders every image of `tree`, in the order of their paths.
///
/// # Errors
/// Every template that fails, each with its place.
pub fn render_all(tree: &Tree, variables: &Variables) -> Result<Vec<Rendered>> {
    let engine = TeraEngine::new(tree)?;
    let results: Vec<_> =
        tree.images().into_par_iter().map(|folder| render(&engine, folder, variables)).collect();
    collect(results)
}

fn render(engine: &dyn Renderer, folder: ImageFolder, common: &Variables) -> Result<Rendered> {
    let variables = ImageVariables { image_name: folder.name.as_str(), common };
    let text = engine.render(&folder.template(), &variables)?;
    Ok(Rendered { folder, text })
}
