//! Resolution of all settings of a run, in one pass for each axis.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::axes::axes;
use super::building::epoch;
use super::image_names::infra_naming;
use super::resolver::Resolver;
use crate::diagnostic::{Diagnostic, Diagnostics, Result, collect};
use crate::settings::layers::Layers;
use crate::settings::profiles::Profiles;
use crate::settings::references::References;
use crate::settings::types::{AxisSettings, RunSettings, Settings, StateSettings, Task};
use crate::settings::users::users;
use crate::tree::Manifest;

/// Resolves the options for every requested axis, on a tree with this `manifest` and these
/// `profiles`. `now` is the local time of the run, unless SOURCE_DATE_EPOCH sets another.
///
/// # Errors
/// All wrong values, shown where they were written, each once.
pub fn settle(
    layers: &Layers,
    manifest: &Manifest,
    profiles: &Profiles,
    now: &Zoned,
) -> Result<Settings> {
    let resolved = axes(layers, manifest).into_iter().map(|(layers, label)| {
        let resolver = Resolver { label, ..Resolver::new(&layers, manifest) };
        resolver.resolve(profiles, now)
    });
    let resolved = collect(resolved).map_err(Diagnostics::distinct)?;
    let (runs, axes): (Vec<_>, Vec<_>) = resolved.into_iter().unzip();
    let run = runs.into_iter().next().expect("a run has at least one axis");
    Ok(Settings { run, axes })
}

/// Returns all errors of configuration files for a tree, including those in values that a build
/// would not use. Options that the files leave to the command line may be missing.
pub fn check(
    layers: &Layers,
    manifest: &Manifest,
    profiles: &Profiles,
    now: &Zoned,
) -> Vec<Diagnostic> {
    let mut errors = profiles.wrong(References::new(layers, manifest));
    for (layers, label) in axes(layers, manifest) {
        let mut partial = Resolver { is_partial: true, label, ..Resolver::new(&layers, manifest) };
        drop(partial.sources());
        errors.append(&mut partial.errors);
        if let Err(found) = partial.resolve(profiles, now) {
            errors.extend(found.0);
        }
    }
    Diagnostics(errors).distinct().0
}

/// Returns the folders that are laid over a tree with this `manifest`.
///
/// # Errors
/// When one refers to an unknown option.
pub fn overlays(layers: &Layers, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let mut resolver = Resolver::new(layers, manifest);
    let folders = resolver.all("docker_dir").into_iter().map(|given| given.value.into()).collect();
    if resolver.errors.is_empty() { Ok(folders) } else { Err(Diagnostics(resolver.errors)) }
}

impl Resolver<'_> {
    /// Resolves the options of one axis, and those of the run as this axis sees them.
    fn resolve(mut self, profiles: &Profiles, now: &Zoned) -> Result<(RunSettings, AxisSettings)> {
        self.check_all();
        let known_axis = self.axis();
        let namings = known_axis.as_ref().and_then(|(axis, ..)| self.namings(axis));
        let selection = self.selection(profiles);
        let templating = self.templating();
        let task = self.task();
        let build = self.axis_build(&templating);
        let needs_engine =
            task == Task::Build || selection.skip_existing || selection.skip_unchanged.is_some();
        let now = time_of_run(self.layers, now);
        let run = RunSettings {
            today: now.strftime("%Y%m%d").to_string(),
            refresh: period(&self.choice("refresh"), &now),
            selection,
            site: self.site_files(),
            push: self.push(),
            engine: self.engine(needs_engine),
            clients: self.clients(),
            build: self.build(&task),
            state: StateSettings { durations_file: self.durations_file() },
            output: self.output(),
            task,
        };
        self.refuse_conflicts(&run, &build);
        let users = users(self.layers, self.manifest, &mut self.errors);
        let maintainer = self.text("maintainer").unwrap_or_default();
        let sources = match &known_axis {
            Some((_, _, install_type)) if install_type.fetches_sources => self.sources(),
            _ => Vec::new(),
        };
        let (Some((axis, base, install_type)), Some((naming, lists)), true) =
            (known_axis, namings, self.errors.is_empty())
        else {
            return Err(Diagnostics(self.errors));
        };
        let infra_naming = infra_naming(&naming, &axis, self.manifest, &templating);
        let label = self.label.text;
        let axis = AxisSettings {
            axis,
            base,
            install_type,
            label,
            naming,
            lists,
            infra_naming,
            maintainer,
            templating,
            users,
            sources,
            build,
        };
        Ok((run, axis))
    }
}

/// Returns the time of the run: SOURCE_DATE_EPOCH in UTC, else `now`.
fn time_of_run(layers: &Layers, now: &Zoned) -> Zoned {
    let named = epoch(layers).and_then(|seconds| Timestamp::from_second(seconds).ok());
    named.map_or_else(|| now.clone(), |named| named.to_zoned(TimeZone::UTC))
}

/// Returns the period of this `length` that a time lies in: the day in UTC as `2026-01-31`, or the
/// week of ISO 8601 as `2026-W05`; `None` for any other length.
fn period(length: &str, time: &Zoned) -> Option<String> {
    let day = time.with_time_zone(TimeZone::UTC).date();
    match length {
        "day" => Some(day.to_string()),
        "week" => {
            let week = day.iso_week_date();
            Some(format!("{:04}-W{:02}", week.year(), week.week()))
        }
        _ => None,
    }
}
