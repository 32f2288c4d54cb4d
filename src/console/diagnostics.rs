//! Renders diagnostics as text, each with its source line and a caret, as compilers do.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Place};
use crate::visible;

/// Returns a diagnostic as several lines, with or without colours. Control characters in its texts
/// are escaped.
pub(super) fn rendered(diagnostic: &Diagnostic, has_colours: bool) -> String {
    let renderer = if has_colours { Renderer::styled() } else { Renderer::plain() };
    let places: Vec<Shown> = diagnostic.places.iter().map(Shown::of).collect();
    let mut elements: Vec<Element<'_>> = Vec::new();
    for place in &places {
        let label = (!place.label.is_empty()).then_some(&*place.label);
        let annotation = AnnotationKind::Primary.span(place.span.clone()).label(label);
        let snippet = Snippet::source(&*place.source).path(&*place.path).annotation(annotation);
        elements.push(snippet.into());
    }
    let note = |note: &String| Level::NOTE.message(visible::block(note).into_owned()).into();
    let help = |help: &String| Level::HELP.message(visible::block(help).into_owned()).into();
    elements.extend(diagnostic.notes.iter().map(note));
    elements.extend(diagnostic.help.iter().map(help));
    let message = visible::block(&diagnostic.message).into_owned();
    renderer.render(&[Level::ERROR.primary_title(message).elements(elements)])
}

/// A place whose texts are escaped.
struct Shown<'a> {
    path: Cow<'a, str>,
    source: Cow<'a, str>,
    span: Range<usize>,
    label: Cow<'a, str>,
}

impl<'a> Shown<'a> {
    fn of(place: &'a Place) -> Self {
        let Place { path, source, span, label } = place;
        let (source, span) = match visible::block(source) {
            Cow::Borrowed(source) => (source.into(), span.clone()),
            Cow::Owned(_) => with_span(source, span),
        };
        Self { path: visible::line(path), source, span, label: visible::line(label) }
    }
}

/// Returns the escaped source, and the span's position in it.
fn with_span<'a>(source: &str, span: &Range<usize>) -> (Cow<'a, str>, Range<usize>) {
    let before = visible::block(&source[..span.start]);
    let within = visible::block(&source[span.clone()]);
    let after = visible::block(&source[span.end..]);
    let start = before.len();
    let end = start + within.len();
    ([before, within, after].concat().into(), start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_line_caret_and_cure() {
        let source = "one\n  two three\nfour\n";
        let diagnostic = Diagnostic::new("it is wrong")
            .at(Place::new("dir/file", source, 10..15).labelled("this"))
            .note("a fact")
            .help("mend it");
        insta::assert_snapshot!(rendered(&diagnostic, false));
    }

    #[test]
    fn a_diagnostic_needs_no_place() {
        let diagnostic = Diagnostic::new("it is wrong").help("mend it");
        insta::assert_snapshot!(rendered(&diagnostic, false));
    }

    #[test]
    fn every_part_of_a_diagnostic_is_made_visible() {
        let source = "a\u{9b}b\r\n\u{1b}[2J\u{202e} two\u{2028} three\n";
        let start = source.find("two").unwrap();
        let diagnostic = Diagnostic::new("wrong\u{1b}]0;t\u{7}\rx")
            .at(Place::new("dir\n/\u{9d}file", source, start..start + 3).labelled("\u{200b}this"))
            .note("a fact\n::set-output::\u{1b}[1A")
            .help("mend\u{85}it");
        insta::assert_snapshot!(rendered(&diagnostic, false));
        let coloured = rendered(&diagnostic, true);
        let plain = visible::without_colours(&coloured);
        assert!(!plain.contains(|c| visible::is_hidden(c) && c != '\n'), "{plain:?}");
    }
}
