//! The images of one axis: rendered, named and parsed, each with its context.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builder_traits::BuilderTraits;
use super::host::Host;
use super::render_input::{BUILD_DATE, render_input};
use super::snapshot::Snapshot;
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Result};
use crate::dockerfile::{self, ReadingInput};
use crate::graph;
use crate::image::{ImageName, Naming, Platform};
use crate::settings::{AxisSettings, RunSettings};
use crate::template::{self, Rendered};
use crate::tree::{ImageFolder, Language, Tree, TreeFile};

/// Folder of an image's patches within its context. The file [`SERIES`] lists them.
const PATCHES: &str = "patches";
const SERIES: &str = "series";

/// Folder and context of every image, by name.
pub type Contexts = BTreeMap<ImageName, (String, Context)>;

/// Images of one axis, or of several.
#[derive(Default)]
pub struct Images {
    /// Images, ready for the graph.
    pub images: Vec<graph::Image>,
    /// Context of each image, as far as it comes from the tree.
    pub contexts: Contexts,
}

/// Renders every image of the tree for the axis of these settings.
///
/// # Errors
/// One for every template that can't be rendered, and for every Dockerfile that can't be parsed.
pub fn render(
    tree: &Tree,
    run: &RunSettings,
    settings: &AxisSettings,
    snapshot: &Snapshot,
    host: Host<'_>,
    builder: &BuilderTraits,
) -> Result<Images> {
    let reader = Reader::new(tree, settings, builder);
    let patches = patches(tree, settings, snapshot);
    let input = render_input(run, settings, tree, snapshot, host)?;
    let (made, warnings) = template::render_all(tree, &input, |image| {
        let image = WithBuildDate::new(&run.today, refreshed(run, image));
        let of_graph = reader.image(&image)?;
        Ok((of_graph, context(tree, settings, image, &patches)?))
    })?;
    warnings.iter().for_each(|warning| (host.warn)(warning));
    let mut contexts = Contexts::new();
    let images = made.into_iter().map(|(image, context)| {
        contexts.extend([context]);
        image
    });
    let mut images: Vec<_> = images.collect();
    if let Some(apart) = &settings.infra_naming {
        apply_infra_naming(&mut images, settings, apart, &tree.manifest().named_by_type)?;
    }
    Ok(Images { images, contexts })
}

/// Images of one axis that have a valid Dockerfile, and the errors of the others.
pub struct PartialRender {
    /// Images with a valid Dockerfile.
    pub images: Images,
    /// Folders of the other images, with their errors, and with the rendered text if that is
    /// invalid.
    pub failures: Vec<(ImageFolder, Option<Arc<str>>, Diagnostics)>,
}

/// Renders every image of the tree for the axis of these settings; one that fails does not stop the
/// others.
///
/// # Errors
/// When anything but a single template is wrong.
pub fn render_lenient(
    tree: &Tree,
    run: &RunSettings,
    settings: &AxisSettings,
    snapshot: &Snapshot,
    host: Host<'_>,
) -> Result<PartialRender> {
    let reader = Reader::new(tree, settings, &BuilderTraits::expected(run));
    let patches = patches(tree, settings, snapshot);
    let input = render_input(run, settings, tree, snapshot, host)?;
    let (mut images, mut contexts, mut failures) = (Vec::new(), Contexts::new(), Vec::new());
    for (folder, rendered) in template::render_each(tree, &input)? {
        match rendered {
            Err(errors) => failures.push((folder, None, errors)),
            Ok(rendered) => {
                let rendered = WithBuildDate::new(&run.today, rendered);
                match reader.image(&rendered) {
                    Err(errors) => failures.push((folder, Some(rendered.text), errors)),
                    Ok(image) => {
                        images.push(image);
                        contexts.extend([context(tree, settings, rendered, &patches)?]);
                    }
                }
            }
        }
    }
    if let Some(apart) = &settings.infra_naming {
        apply_infra_naming(&mut images, settings, apart, &tree.manifest().named_by_type)?;
    }
    Ok(PartialRender { images: Images { images, contexts }, failures })
}

/// Returns a rendered image that is built anew in each period of the run's `refresh`.
fn refreshed(run: &RunSettings, Rendered { folder, text }: Rendered) -> Rendered {
    let text = match &run.refresh {
        Some(period) => dockerfile::refreshed(&text, period),
        None => text,
    };
    Rendered { folder, text }
}

/// A rendered image with the date of the run filled in.
struct WithBuildDate {
    folder: ImageFolder,
    text: Arc<str>,
    /// Text with the placeholder instead of the date; `None` if the text has no date.
    undated: Option<String>,
}

impl WithBuildDate {
    fn new(today: &str, Rendered { folder, text }: Rendered) -> Self {
        if text.contains(BUILD_DATE) {
            Self { folder, text: text.replace(BUILD_DATE, today).into(), undated: Some(text) }
        } else {
            Self { folder, text: text.into(), undated: None }
        }
    }
}

/// Renames all `images` by the naming `apart`, except those in `kept` and those built on them.
fn apply_infra_naming(
    images: &mut [graph::Image],
    settings: &AxisSettings,
    apart: &Naming,
    kept: &[String],
) -> Result<()> {
    let naming = &settings.naming;
    let lists = settings.lists.as_ref().map(|lists| lists.with_prefix(apart.prefix()));
    let parents: BTreeMap<String, String> = images
        .iter()
        .filter_map(|image| {
            let parent = &image.dockerfile.parent()?.image;
            let name = naming.name_in(parent).or_else(|| apart.name_in(parent))?;
            Some((image.name.as_str().to_owned(), name.to_owned()))
        })
        .collect();
    for image in images {
        let mut line = std::iter::successors(Some(image.name.as_str()), |name| {
            parents.get(*name).map(String::as_str)
        });
        // An endless chain of parents is a cycle, which the graph reports.
        if line.by_ref().take(parents.len() + 1).any(|name| kept.iter().any(|kept| kept == name)) {
            continue;
        }
        let named = |naming: &Naming| {
            let reference = naming.reference(image.name.as_str());
            reference.map_err(|error| Diagnostic::new(error.to_string()))
        };
        image.list = lists.as_ref().map(named).transpose()?;
        image.alias = Some(std::mem::replace(&mut image.reference, named(apart)?));
    }
    Ok(())
}

/// Reader of the Dockerfiles of one axis.
struct Reader<'a> {
    tree: &'a Tree,
    settings: &'a AxisSettings,
    naming: Arc<Naming>,
    input: ReadingInput,
    target: Arc<Platform>,
    builds_all_stages: bool,
}

impl<'a> Reader<'a> {
    fn new(tree: &'a Tree, settings: &'a AxisSettings, builder: &BuilderTraits) -> Self {
        let input = builder.reading_input(settings);
        Self {
            tree,
            settings,
            naming: Arc::new(settings.naming.clone()),
            target: Arc::new(input.target.clone()),
            input,
            builds_all_stages: builder.builds_all_stages,
        }
    }

    /// Returns a rendered image with its names and its parsed Dockerfile.
    fn image(&self, rendered: &WithBuildDate) -> Result<graph::Image> {
        let Self { tree, settings, naming, input, target, builds_all_stages } = self;
        let name = &rendered.folder.name;
        let template = tree.display_path(&rendered.folder.template());
        let named = |naming: &Naming| {
            naming.reference(name.as_str()).map_err(|error| {
                Diagnostic::new(error.to_string())
                    .note(format!("the name is that of {template}'s folder"))
            })
        };
        let reference = named(naming)?;
        let list = settings.lists.as_ref().map(named).transpose()?;
        let dockerfile = dockerfile::parse(&rendered.text, input).map_err(|error| {
            let place = Place::new(format!("{template} (rendered)"), &*rendered.text, error.span);
            let mut diagnostic = Diagnostic::new(error.message).at(place);
            diagnostic.help = error.help;
            diagnostic
        })?;
        Ok(graph::Image {
            name: name.on(settings.label.as_deref()),
            naming: naming.clone(),
            reference,
            list,
            alias: None,
            template,
            text: Arc::clone(&rendered.text),
            dockerfile,
            target: target.clone(),
            builds_all_stages: *builds_all_stages,
        })
    }
}

/// Folder of the patches; `None` inside if the user has none.
struct Patched(Option<PathBuf>);

/// Returns the patches for the images of this tree; `None` if trees of its release have no patches.
fn patches(tree: &Tree, settings: &AxisSettings, snapshot: &Snapshot) -> Option<Patched> {
    let path = settings.templating.patches_path.as_ref();
    tree.dialect().has_patches().then(|| Patched(path.and_then(|path| snapshot.path(path))))
}

/// Returns the name of an image with its folder and context.
fn context(
    tree: &Tree,
    settings: &AxisSettings,
    WithBuildDate { folder, text, undated }: WithBuildDate,
    patches: &Option<Patched>,
) -> Result<(ImageName, (String, Context))> {
    let mut context = Context::of_entries(text, tree.context(&folder)).known_as(undated);
    if let Some(Patched(patches)) = patches
        && folder.language == Language::Jinja
    {
        add_patches(&mut context, patches.as_deref(), &folder.name)?;
    }
    Ok((folder.name.on(settings.label.as_deref()), (folder.path, context)))
}

/// Adds the patches for an image from the folder `patches`, and their list, to its context.
fn add_patches(context: &mut Context, patches: Option<&Path>, image: &ImageName) -> Result<()> {
    context.add_folder(PATCHES.to_owned());
    let Some(folder) = patches.map(|folder| folder.join(image.as_str())) else { return Ok(()) };
    let series = folder.join(SERIES);
    if !series.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(&series).map_err(|error| {
        Diagnostic::new(format!("'{}' can't be read: {error}", series.display()))
    })?;
    let named = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    for name in named.chain([SERIES]) {
        let path = folder.join(name);
        if path.is_file() {
            context.add(format!("{PATCHES}/{name}"), TreeFile::on_disk(path));
        }
    }
    Ok(())
}
