//! Reads the durations of earlier runs, and stores those of this run for later ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::terminal;
use crate::durations::Durations;
use crate::event::Event;
use crate::image::{ImageName, ImageRef};
use crate::plan::Plan;

/// Returns the known durations of the plan's images; empty without a file. Warns if `file` can't be
/// read.
pub fn known(file: Option<&Path>, plan: &Plan<'_>) -> BTreeMap<ImageName, Duration> {
    let Some(file) = file else { return BTreeMap::new() };
    let durations = Durations::read(file).unwrap_or_else(|trouble| {
        terminal::warn(&format!("warning: {trouble}"));
        Durations::default()
    });
    let images = plan.graph().images().iter();
    images.filter_map(|image| Some((image.name.clone(), durations.of(&image.reference)?))).collect()
}

/// Measures the builds of a run.
#[derive(Default)]
pub struct Stopwatch {
    measured: Vec<(ImageName, Duration)>,
}

impl Stopwatch {
    pub fn hear(&mut self, event: &Event) {
        if let Event::Built { name, took } = event {
            self.measured.push((name.clone(), *took));
        }
    }

    /// Adds the measured durations to `file`. A failure is only a warning.
    pub fn keep(self, file: Option<&Path>, plan: &Plan<'_>) {
        let graph = plan.graph();
        let of_plan = self.measured.into_iter().filter_map(|(name, took)| {
            Some((graph.images()[graph.index_of(&name)?].reference.clone(), took))
        });
        let measured: Vec<(ImageRef, Duration)> = of_plan.collect();
        let Some(file) = file.filter(|_| !measured.is_empty()) else { return };
        if let Err(trouble) = Durations::keep(file, &measured, SystemTime::now()) {
            terminal::warn(&format!("warning: {trouble}"));
        }
    }
}
