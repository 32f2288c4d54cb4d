//! Inputs of builds, made from the settings and the contexts of a workspace.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::context::Context;
use crate::diagnostic::{Diagnostic, Result};
use crate::engine::{BuildOptions, BuildSecrets, Builder, EPOCH, Oversized, SquashOptions};
use crate::image::ImageName;
use crate::runner::BuildInput;
use crate::settings::{AxisSettings, RunSettings, Settings};
use crate::source::{self, Pace};
use crate::workspace::Contexts;

/// Returns the timeout for servers of sources, the same as for engines.
pub fn pace(run: &RunSettings) -> Pace {
    Pace { silence: run.engine.timeout }
}

/// Returns the input of every image: its context, its sources and the build options.
///
/// # Errors
/// When the build arguments are too long for a request to the engine.
pub fn build_inputs(
    builder: Builder,
    secrets: &BuildSecrets,
    contexts: &Contexts,
    settings: &Settings,
) -> Result<BTreeMap<ImageName, BuildInput>> {
    let of_axes: BTreeMap<Option<&str>, (&AxisSettings, Arc<BuildOptions>)> = settings
        .axes
        .iter()
        .map(|axis| {
            let options = Arc::new(build_options(builder, &settings.run, axis, secrets));
            (axis.label.as_deref(), (axis, options))
        })
        .collect();
    for (_, options) in of_axes.values() {
        options.refuse_oversized().map_err(oversized)?;
    }
    let input = |(name, (_, context)): (&ImageName, &(String, Context))| {
        let (settings, options) = of_axes[&name.axis()].clone();
        let fetches = settings.install_type.fetches_sources;
        let sources = fetches.then(|| source::of_image(name, &settings.sources));
        (name.clone(), BuildInput { context: context.clone(), sources, options })
    };
    Ok(contexts.iter().map(input).collect())
}

fn oversized(Oversized { size, limit, largest }: Oversized) -> Diagnostic {
    Diagnostic::new(format!(
        "the build arguments need {size} bytes in a request to the engine, which are limited to {limit}"
    ))
    .help(format!(
        "shorten {largest}, the largest of --build-args, or pass it to builds as a file in their contexts or with --secret"
    ))
}

/// Returns the options for building the images of an axis with `builder`.
pub fn build_options(
    builder: Builder,
    run: &RunSettings,
    axis: &AxisSettings,
    secrets: &BuildSecrets,
) -> BuildOptions {
    let (of_run, of_axis) = (&run.build, &axis.build);
    let mut build_args = of_axis.build_args.clone();
    if let (Builder::BuildKit, Some(seconds)) = (builder, of_run.epoch) {
        build_args.entry(EPOCH.to_owned()).or_insert_with(|| seconds.to_string());
    }
    BuildOptions {
        builder,
        cache: of_run.cache,
        keep: of_run.keep,
        network_mode: of_axis.network_mode.clone(),
        platform: of_axis.platform.as_ref().map(ToString::to_string),
        build_args,
        secrets: secrets.clone(),
        squash: of_axis.squash.as_ref().map(|squash| SquashOptions {
            cleanup: squash.cleanup,
            tmp_dir: squash.tmp_dir.clone(),
        }),
    }
}
