//! Axes of a run: all combinations of the requested bases, install types and platforms.

use super::layers::{Given, Layers};
use super::platform::Platform;
use super::{Profiles, Settings, Values, settle_values, words};
use crate::diagnostic::{Diagnostics, Result, collect};
use crate::tree::Manifest;

/// Options that take several words and so make a run have several axes.
const OF_AXES: [&str; 3] = ["base", "install_type", PLATFORM];

const PLATFORM: &str = "platform";

/// Properties by which an axis differs from the other axes of the run.
#[derive(Debug, Clone, Default)]
pub(super) struct OneOf {
    /// Label that tells its images from those of other axes; `None` if there is one axis only.
    pub(super) label: Option<String>,
    /// Suffix of the tag of its images, if there are several platforms.
    pub(super) tag_suffix: Option<String>,
}

/// Resolves the options for every requested axis, on a tree with this `manifest` and these
/// `profiles`.
///
/// # Errors
/// All wrong values, shown where they were written, each once.
pub fn settle(layers: &Layers, manifest: &Manifest, profiles: &Profiles) -> Result<Vec<Settings>> {
    collect(axes(layers, manifest).into_iter().map(|(layers, one_of)| {
        settle_values(Values { one_of, ..Values::new(&layers, manifest) }, profiles)
    }))
    .map_err(Diagnostics::distinct)
}

/// Returns the layers narrowed to each axis in turn, with the properties of the axis.
pub(super) fn axes(layers: &Layers, manifest: &Manifest) -> Vec<(Layers, OneOf)> {
    let mut axes = vec![(Vec::new(), OneOf::default())];
    for option in OF_AXES {
        let given = layers.one(option, manifest);
        let several: Vec<Given> = given
            .iter()
            .flat_map(|given| {
                words(&given.value).map(|word| Given { value: word.to_owned(), ..given.clone() })
            })
            .collect();
        if several.len() > 1 {
            axes = axes
                .iter()
                .flat_map(|axis| several.iter().map(|word| with(axis, option, word)))
                .collect();
        }
    }
    axes.into_iter().map(|(chosen, one_of)| (layers.narrowed(chosen), one_of)).collect()
}

type Chosen = (Vec<(&'static str, Given)>, OneOf);

/// Returns an axis extended by one word for one more option.
fn with((chosen, one_of): &Chosen, option: &'static str, word: &Given) -> Chosen {
    let mut chosen = chosen.clone();
    chosen.push((option, word.clone()));
    let platform = word.value.parse::<Platform>().ok().filter(|_| option == PLATFORM);
    let tag_suffix = platform.map(|platform| platform.tag_suffix());
    let own = tag_suffix.clone().unwrap_or_else(|| word.value.clone());
    let label = match &one_of.label {
        Some(label) => format!("{label}-{own}"),
        None => own,
    };
    (chosen, OneOf { label: Some(label), tag_suffix })
}
