//! Output of commands: data on standard output, everything else on standard error.

use std::io;

use super::exit::{Exit, Failure};
use crate::console::{self, Colour, Json, Line, Listing};
use crate::diagnostic::Diagnostic;
use crate::visible;

/// Prefix of warnings.
const WARNING: &str = "warning: ";

/// Prints a message that is no error. Every line of a warning gets the prefix.
pub fn warn(text: &str) {
    let line = match text.strip_prefix(WARNING) {
        Some(text) => Line::new(WARNING).text(text),
        None => Line::new("").text(text),
    };
    console::say(&line);
}

/// Prints lines.
pub fn print_out(listing: &Listing) -> Result<Exit, Failure> {
    printed(console::print(listing))
}

/// Prints JSON.
pub fn print_json(json: &Json) -> Result<Exit, Failure> {
    printed(console::print_json(json))
}

/// Prints a text that is all Kiln's own.
pub fn print_own(text: &str) -> Result<Exit, Failure> {
    printed(console::print_own(text))
}

fn printed(result: io::Result<()>) -> Result<Exit, Failure> {
    match result {
        // The reader has closed the pipe, because it has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => {
            Err(Diagnostic::new(format!("standard output can't be written: {error}")).into())
        }
        Ok(()) => Ok(Exit::Done),
    }
}

/// Prints clap's output: help and versions on standard output, errors on standard error.
pub fn print_usage(error: clap::Error) -> Exit {
    if error.use_stderr() {
        print_wrong_usage(error);
        return Exit::Usage;
    }
    let help = error.render();
    let own =
        if console::has_colours_on_stdout() { help.ansi().to_string() } else { help.to_string() };
    // A closed pipe is no error: its reader has read enough.
    drop(console::print_own(&own));
    Exit::Done
}

/// Prefix of clap's errors.
const ERROR: &str = "error";

/// Prints an error, which may repeat arguments of the command line.
fn print_wrong_usage(error: clap::Error) {
    let text = with_visible_arguments(error).render().to_string();
    let mut lines = text.trim_end_matches('\n').split('\n');
    let first = lines.next().unwrap_or_default();
    let line = match first.strip_prefix(ERROR) {
        Some(rest) if console::has_colours() => {
            Line::new("").painted(Some(Colour::Red), ERROR).text(rest)
        }
        _ => Line::new("").text(first),
    };
    console::say(&line);
    console::say_all(&lines.collect());
}

/// Returns the error with hidden characters escaped in the arguments that it repeats.
fn with_visible_arguments(mut error: clap::Error) -> clap::Error {
    use clap::error::ContextValue;
    let shown = |text: &String| visible::line(text).into_owned();
    let context: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(shown(text)))),
            ContextValue::Strings(texts) => {
                Some((kind, ContextValue::Strings(texts.iter().map(shown).collect())))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in context {
        error.insert(kind, value);
    }
    error
}
