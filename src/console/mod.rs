//! The only module that writes to standard output and standard error.
//!
//! Text for people, terminals and services is written as a [`Line`], a [`Listing`] or a diagnostic.
//! All three escape text of others ([`crate::visible`]), so that the only control characters
//! written are newlines and the colours of Kiln's own words. If a continuous integration service
//! reads the output, no text can become a command to it; Kiln's own commands are [`Command`]s. JSON
//! for programs is written with such characters as JSON escapes, which mean the same.

mod diagnostics;
mod output;
mod service;

pub use output::{
    Colour, Json, LONGEST_TEXT, Line, Listing, Verbosity, Writer, above_bars, can_draw,
    expect_service, flush, has_colours, has_colours_on_stdout, print, print_json, print_own, say,
    say_all, say_diagnostics,
};
pub use service::{CiService, Command};
