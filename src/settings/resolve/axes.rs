//! Axes of a run: all combinations of the requested bases, install types and platforms.

use crate::image::Platform;
use crate::settings::convert::words;
use crate::settings::given::Given;
use crate::settings::layers::Layers;
use crate::tree::Manifest;

/// Options that take several words and so make a run have several axes.
const OF_AXES: [&str; 3] = ["base", "install_type", PLATFORM];

const PLATFORM: &str = "platform";

/// Properties by which an axis differs from the other axes of the run.
#[derive(Debug, Clone, Default)]
pub(super) struct AxisLabel {
    /// Label that tells its images from those of other axes; `None` if there is one axis only.
    pub(super) text: Option<String>,
    /// Suffix of the tag of its images, if there are several platforms.
    pub(super) tag_suffix: Option<String>,
}

/// Returns the layers narrowed to each axis in turn, with the properties of the axis.
pub(super) fn axes(layers: &Layers, manifest: &Manifest) -> Vec<(Layers, AxisLabel)> {
    let mut axes = vec![(Vec::new(), AxisLabel::default())];
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
                .flat_map(|axis| several.iter().map(|word| narrow(axis, option, word)))
                .collect();
        }
    }
    axes.into_iter().map(|(chosen, label)| (layers.narrowed(chosen), label)).collect()
}

type AxisChoice = (Vec<(&'static str, Given)>, AxisLabel);

/// Returns an axis extended by one word for one more option.
fn narrow((chosen, label): &AxisChoice, option: &'static str, word: &Given) -> AxisChoice {
    let mut chosen = chosen.clone();
    chosen.push((option, word.clone()));
    let platform = Platform::from_any_name(&word.value).ok().filter(|_| option == PLATFORM);
    let tag_suffix = platform.map(|platform| platform.tag_suffix());
    let own = tag_suffix.clone().unwrap_or_else(|| word.value.clone());
    let label = match &label.text {
        Some(label) => format!("{label}-{own}"),
        None => own,
    };
    (chosen, AxisLabel { text: Some(label), tag_suffix })
}
