//! Errors of rendering: their places and cures, and one error for each place.

use super::outline;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::dialect::NO_TABLES;
use crate::tree::ShownFiles;

/// Returns the error for a template that exceeds a limit of rendering; `what` is the limit.
pub(super) fn too_much_for(tree: &ShownFiles, path: &str, what: &str) -> Diagnostic {
    Diagnostic::new(format!("rendering the template needs {what}"))
        .at(place_of_loop(tree, path))
        .help("it may have an endless loop, or a string that grows without limit")
}

/// Returns the place of a template's first loop, or its start if there is none.
pub(super) fn place_of_loop(tree: &ShownFiles, path: &str) -> Place {
    place_of_tag(tree, path, "for")
}

/// Returns the place of a template's first tag `word`, or its start if there is none.
pub(super) fn place_of_tag(tree: &ShownFiles, path: &str, word: &str) -> Place {
    let text = tree.text(path);
    let span = outline::first_tag(&text, word).unwrap_or(0..0);
    Place::new(tree.path(path), text, span)
}

/// Returns true if a template asked for package repositories of a tree that has none.
fn lacks_tables(error: &Diagnostic) -> bool {
    error.message.contains(NO_TABLES)
}

/// Adds the cure to errors of templates that ask for package repositories.
pub(super) fn with_cure(Diagnostics(errors): Diagnostics) -> Diagnostics {
    const CURE: &str = "name a file with --repos-yaml, or the checkout or virtual environment of the templates with --tree";
    let cured = errors.into_iter().map(|error| match lacks_tables(&error) {
        true => error.help(CURE),
        false => error,
    });
    Diagnostics(cured.collect())
}

/// Merges errors with the same message and first place into one, with the number of images that it
/// affects. The lack of package repositories is one error wherever templates ask for them.
pub(super) fn one_for_each_place(errors: Diagnostics) -> Diagnostics {
    let mut kept: Vec<(Diagnostic, usize)> = Vec::new();
    for error in errors.0 {
        let same = |(known, _): &&mut (Diagnostic, usize)| {
            let is_same_place =
                !error.places.is_empty() && known.places.first() == error.places.first();
            known.message == error.message && (is_same_place || lacks_tables(&error))
        };
        match kept.iter_mut().find(same) {
            Some((_, others)) => *others += 1,
            None => kept.push((error, 0)),
        }
    }
    let told = kept.into_iter().map(|(error, others)| match others {
        0 => error,
        1 => error.note("one other image fails for the same reason"),
        n => error.note(format!("{n} other images fail for the same reason")),
    });
    Diagnostics(told.collect())
}
