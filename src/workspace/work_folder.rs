//! The work folder: Dockerfiles and contexts for people, and for programs other than engines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::rendering::Contexts;
use super::resolution::TREE_FOLDER;
use crate::diagnostic::{Diagnostic, Result};
use crate::files::private_folder;
use crate::lock::Lock;
use crate::plan::Plan;
use crate::settings::{RunSettings, Task};
use crate::tree::Tree;

/// Returns the folder that contexts are written to: the one given or, if templates are only
/// rendered, a new temporary folder; `None` if no contexts are written, as for lists and plans.
pub fn work_folder(run: &RunSettings) -> Result<Option<PathBuf>> {
    match (&run.task, &run.output.work_dir) {
        (Task::Build | Task::TemplateOnly, Some(folder)) => Ok(Some(folder.clone())),
        (Task::TemplateOnly, None) => {
            let folder = private_folder("kiln-").map_err(|error| {
                Diagnostic::new(format!("can't create a temporary folder: {error}"))
                    .help("choose a folder with --work-dir")
            })?;
            Ok(Some(folder.keep()))
        }
        _ => Ok(None),
    }
}

/// Contexts that were written.
pub struct Written {
    /// Number of images.
    pub images: usize,
    /// Folder with the folders of the images.
    pub folder: PathBuf,
}

/// Writes the contexts of all images to build to `folder/docker`, which is emptied first, so that
/// nothing of an earlier run remains. For a tree of a release that renders all images, selected or
/// not, the contexts of all are written. If another run writes to the folder, tells `say` and waits.
///
/// # Errors
/// When the folder holds a template tree, or can't be written.
pub fn write_contexts(
    folder: &Path,
    tree: &Tree,
    plan: &Plan<'_>,
    contexts: &Contexts,
    say: &dyn Fn(&str),
) -> Result<Written> {
    let target = folder.join(TREE_FOLDER);
    let refuse = |error: io::Error| {
        Diagnostic::new(format!("the work folder '{}' can't be written: {error}", folder.display()))
    };
    if Tree::is_at(&target) || tree.lies_in(&target) {
        return Err(Diagnostic::new(format!("'{}' is a template tree", target.display()))
            .help("choose another folder with --work-dir: Kiln empties it first")
            .into());
    }
    let _lock = Lock::take_folder(folder, "the work folder", say).map_err(refuse)?;
    match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(refuse(error).into());
        }
        _ => {}
    }
    let images = plan.graph().images();
    let names: Vec<_> = match tree.release() {
        Some(release) if release.dialect.renders_all() => images.iter().map(|i| &i.name).collect(),
        _ => plan.to_build().map(|i| &images[i].name).collect(),
    };
    let written = names.par_iter().try_for_each(|name| {
        let (path, context) = &contexts[*name];
        let target = name.axis().map_or(target.clone(), |axis| target.join(axis));
        context.write_to(&target.join(path))
    });
    if let Err(error) = written {
        // A partial result would look complete.
        drop(fs::remove_dir_all(&target));
        return Err(refuse(error).into());
    }
    Ok(Written { images: names.len(), folder: target })
}
