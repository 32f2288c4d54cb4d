//! Renders diagnostics as text, each with its source line and a caret, as compilers do.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Place};
use crate::secret::with_secrets_marked;
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
    let note = |note: &String| Level::NOTE.message(shown(note)).into();
    let help = |help: &String| Level::HELP.message(shown(help)).into();
    elements.extend(diagnostic.notes.iter().map(note));
    elements.extend(diagnostic.help.iter().map(help));
    let message = shown(&diagnostic.message);
    renderer.render(&[Level::ERROR.primary_title(message).elements(elements)])
}

/// Returns a text as it is shown: without the secrets of URLs, and escaped.
fn shown(text: &str) -> String {
    visible::block(&with_secrets_marked(text)).into_owned()
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
        let Place { path, source, label, .. } = place;
        let (source, span) = match without_secrets_in_lines(source, &place.span) {
            Some((source, span)) => with_span(&source, &span),
            None => match visible::block(source) {
                Cow::Borrowed(source) => (source.into(), place.span.clone()),
                Cow::Owned(_) => with_span(source, &place.span),
            },
        };
        Self { path: visible::line(path), source, span, label: visible::line(label) }
    }
}

/// Returns the source with a mark in place of the secrets in the lines of the span, and these lines as the
/// span; `None` if there are no secrets in them.
fn without_secrets_in_lines(source: &str, span: &Range<usize>) -> Option<(String, Range<usize>)> {
    let start = source[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source[span.end..].find('\n').map_or(source.len(), |newline| span.end + newline);
    let Cow::Owned(marked) = with_secrets_marked(&source[start..end]) else { return None };
    let span = start..start + marked.len();
    Some(([&source[..start], &marked, &source[end..]].concat(), span))
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
    fn secrets_of_urls_are_in_no_part_of_a_diagnostic() {
        let source = "[app]\nlocation = https://me:pass$word@h/app?token=t0ken\ntype = git\n";
        let start = source.find("pass").unwrap();
        let diagnostic = Diagnostic::new("'https://me:pass$word@h/app' is wrong")
            .at(Place::new("build.conf", source, start..start + 9))
            .note("it is https://me:pass$word@h/app?token=t0ken")
            .help("write https://me:pass$word@h/app");
        let text = rendered(&diagnostic, false);
        assert!(!text.contains("word") && !text.contains("t0ken"), "{text}");
        assert!(text.contains("build.conf:2:") && text.contains("location = https://***@h/app"));
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
