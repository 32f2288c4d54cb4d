//! The tables of released versions of kolla-build that the program carries, for templates without
//! the Python package that they belong to.
//!
//! They are facts read from the released packages by [`tables`], one file for each series in the
//! folder `releases`, of its last version.

use std::path::Path;

use super::embedded;
use super::facts::Facts;
use super::python::Literal;
use super::release;
use crate::diagnostic::{Diagnostic, Result};
use crate::dialect::Version;

/// The ending of the files of tables.
const SUFFIX: &str = ".json";

/// The tables of the series of `wanted` or the one next to it, with the version they are of.
pub(super) fn nearest(wanted: Version) -> (Version, Facts) {
    const MADE_HERE: &str = "the tables were made by this program";
    let known = embedded::releases().into_iter().map(|(name, text)| {
        let version = name.strip_suffix(SUFFIX).and_then(|version| version.parse().ok());
        (version.expect(MADE_HERE), text)
    });
    let distance = |version: &Version| version.major.abs_diff(wanted.major);
    let nearest = known.min_by_key(|(version, _)| distance(version));
    let (version, text): (Version, String) = nearest.expect(MADE_HERE);
    (version, serde_json::from_str(&text).expect(MADE_HERE))
}

/// The tables of the kolla-build in `folder`, as JSON: what this program carries is made so.
///
/// # Errors
/// When there is none, or its tables can't be read.
pub fn tables(folder: &Path) -> Result<String> {
    let place = release::find(folder).ok_or_else(|| {
        Diagnostic::new(format!("'{}' has no templates of kolla-build", folder.display()))
    })?;
    let (_, mut facts) = release::read(&place, None)?;
    facts.options.retain(|_, option| {
        !matches!(option.default, Literal::Unknown | Literal::Call { .. } | Literal::Dict(_))
    });
    Ok(serde_json::to_string_pretty(&facts).expect("plain JSON"))
}
