//! Prints data on standard output, and diagnostics on standard error, each with its line and a
//! caret, as compilers do.

use std::io::{self, IsTerminal as _, Write as _};

use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use serde_json::Value;

use super::{Exit, Failure};
use crate::diagnostic::{Diagnostic, Diagnostics};

/// Prints every diagnostic.
pub fn print(diagnostics: &Diagnostics) {
    let renderer = if has_colours() { Renderer::styled() } else { Renderer::plain() };
    for diagnostic in &diagnostics.0 {
        warn(&render(diagnostic, &renderer));
    }
}

/// Says something that is no error.
pub fn warn(text: &str) {
    // A closed standard error is no reason to fail.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Writes data to standard output.
pub fn print_out(text: &str) -> Result<Exit, Failure> {
    match write_out(text) {
        // Whoever read the other end has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => {
            Err(Diagnostic::new(format!("standard output can't be written: {error}")).into())
        }
        Ok(()) => Ok(Exit::Done),
    }
}

/// Writes JSON to standard output.
pub fn print_json(json: &Value) -> Result<Exit, Failure> {
    print_out(&pretty(json))
}

/// JSON for people and programs: indented, and a line end after it.
pub fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

/// Writes data to standard output, all of it.
///
/// # Errors
/// When it can't be, also where nobody reads it.
pub fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Whether standard error is coloured.
pub fn has_colours() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && !is_dumb() && io::stderr().is_terminal()
}

/// Whether the terminal, if there is one, can do no more than print.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

fn render(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let mut elements: Vec<Element<'_>> = Vec::new();
    for place in &diagnostic.places {
        let label = (!place.label.is_empty()).then_some(place.label.as_str());
        let annotation = AnnotationKind::Primary.span(place.span.clone()).label(label);
        let snippet =
            Snippet::source(&*place.source).path(place.path.as_str()).annotation(annotation);
        elements.push(snippet.into());
    }
    elements.extend(diagnostic.notes.iter().map(|note| Level::NOTE.message(note.as_str()).into()));
    elements.extend(diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str()).into()));
    let group: Group<'_> =
        Level::ERROR.primary_title(diagnostic.message.as_str()).elements(elements);
    renderer.render(&[group])
}

/// Prints what clap has to say: help and versions on standard output, errors on standard error.
pub fn print_usage(error: &clap::Error) -> Exit {
    drop(error.print());
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    #[test]
    fn a_diagnostic_shows_line_caret_and_cure() {
        let source = "one\n  two three\nfour\n";
        let diagnostic = Diagnostic::new("it is wrong")
            .at(Place::new("dir/file", source, 10..15).labelled("this"))
            .note("a fact")
            .help("mend it");
        insta::assert_snapshot!(render(&diagnostic, &Renderer::plain()));
    }

    #[test]
    fn a_diagnostic_needs_no_place() {
        let diagnostic = Diagnostic::new("it is wrong").help("mend it");
        insta::assert_snapshot!(render(&diagnostic, &Renderer::plain()));
    }
}
