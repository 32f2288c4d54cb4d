//! The one place that writes to standard output and standard error.
//!
//! What people, terminals and services read goes out as a [`Line`], a [`Listing`] or a diagnostic. All three
//! make somebody else's text visible ([`crate::visible`]), so that no control character but a newline ever
//! leaves the program, save the colours that Kiln itself puts around its own words. Where a service for
//! continuous integration reads along, no text becomes a command to it; Kiln's own are [`Command`]s.
//! JSON for programs goes out with such characters as escapes, which mean the same.

mod diagnostics;
mod service;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

pub use self::service::Command;
use crate::diagnostic::Diagnostics;
use crate::visible;

/// True once a service may read commands off what is written.
static IS_READ_BY_SERVICE: AtomicBool = AtomicBool::new(false);

/// Takes note that a service reads what is written from now on.
pub fn expect_service() {
    IS_READ_BY_SERVICE.store(true, Ordering::Relaxed);
}

fn is_read_by_service() -> bool {
    IS_READ_BY_SERVICE.load(Ordering::Relaxed)
}

/// Largest size of a text in a line, in bytes: nobody reads more, and terminals take long to show it.
pub const LONGEST_TEXT: usize = 64 << 10;

/// A colour of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For what went well.
    Green,
    /// For what did not.
    Red,
}

/// A line to be said. Where its text has several, each of them has the prefix; where there is no prefix, the
/// text stays one line, so that nothing else looks like a line of Kiln's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    prefix: Cow<'a, str>,
    words: Vec<Word<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word<'a> {
    Text(Cow<'a, str>),
    Painted(Colour, &'static str),
}

impl<'a> Line<'a> {
    /// Returns an empty line with this prefix.
    pub fn new(prefix: impl Into<Cow<'a, str>>) -> Self {
        Self { prefix: prefix.into(), words: Vec::new() }
    }

    /// Adds text, whoever wrote it.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.words.push(Word::Text(text.into()));
        self
    }

    /// Adds a word of Kiln's own, in a colour if there is one.
    #[must_use]
    pub fn painted(mut self, colour: Option<Colour>, word: &'static str) -> Self {
        self.words.push(match colour {
            Some(colour) => Word::Painted(colour, word),
            None => Word::Text(word.into()),
        });
        self
    }

    /// Returns what is written for it, without the last newline.
    pub fn rendered(&self, is_read_by_service: bool) -> String {
        let prefix = visible::line(&self.prefix);
        let mut lines = vec![prefix.clone().into_owned()];
        for word in &self.words {
            match word {
                Word::Painted(colour, word) => paint(last(&mut lines), *colour, word),
                Word::Text(text) => {
                    let text = visible::cut(text, LONGEST_TEXT);
                    if prefix.is_empty() {
                        last(&mut lines).push_str(&visible::line(&text));
                        continue;
                    }
                    for (number, part) in visible::lines(&text).enumerate() {
                        if number > 0 {
                            lines.push(prefix.clone().into_owned());
                        }
                        last(&mut lines).push_str(&visible::line(part));
                    }
                }
            }
        }
        if is_read_by_service {
            for line in &mut lines {
                if let Cow::Owned(broken) = service::without_commands(line) {
                    *line = broken;
                }
            }
        }
        lines.join("\n")
    }
}

fn last(lines: &mut [String]) -> &mut String {
    lines.last_mut().expect("there is a first line")
}

fn paint(line: &mut String, colour: Colour, word: &str) {
    let colour = match colour {
        Colour::Green => AnsiColor::Green,
        Colour::Red => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    write!(line, "{style}{word}{style:#}").expect("a string takes all");
}

/// Lines for people, of which each stays one, whatever it speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    text: String,
}

impl Listing {
    /// Adds a line.
    pub fn line(&mut self, line: impl fmt::Display) {
        let begin = self.text.len();
        writeln!(self.text, "{line}").expect("a string takes all");
        let end = self.text.len() - 1;
        if let Cow::Owned(shown) = visible::line(&self.text[begin..end]) {
            self.text.replace_range(begin..end, &shown);
        }
    }

    /// Returns all lines.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns what is written for them.
    pub fn rendered(&self, is_read_by_service: bool) -> Cow<'_, str> {
        if is_read_by_service { without_commands(&self.text) } else { self.text.as_str().into() }
    }
}

impl<L: fmt::Display> FromIterator<L> for Listing {
    fn from_iter<I: IntoIterator<Item = L>>(lines: I) -> Self {
        let mut listing = Self::default();
        lines.into_iter().for_each(|line| listing.line(line));
        listing
    }
}

/// Returns a text none of whose lines is a command to a service.
fn without_commands(text: &str) -> Cow<'_, str> {
    let lines = text.split_inclusive('\n').map(service::without_commands);
    lines.fold(Cow::Borrowed(""), |all, line| all + line)
}

/// Writes lines one after the other.
pub struct Writer {
    out: Box<dyn io::Write>,
    is_read_by_service: bool,
}

impl Writer {
    /// Returns the one for standard error.
    pub fn on_stderr() -> Self {
        Self::on(Box::new(io::stderr()), is_read_by_service())
    }

    /// Returns one that writes elsewhere.
    pub fn on(out: Box<dyn io::Write>, is_read_by_service: bool) -> Self {
        Self { out, is_read_by_service }
    }

    /// Says a line. That nobody hears it is no reason to fail.
    pub fn say(&mut self, line: &Line<'_>) {
        self.write(line.rendered(self.is_read_by_service));
    }

    /// Gives a command to the service that reads along.
    pub fn command(&mut self, command: &Command) {
        self.write(command.to_string());
    }

    /// Writes a line at once, so that those of several programs don't mix.
    fn write(&mut self, mut line: String) {
        line.push('\n');
        drop(self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush()));
    }
}

/// Returns what a line is on the terminal that bars are drawn on.
pub fn above_bars(line: &Line<'_>) -> String {
    line.rendered(is_read_by_service())
}

/// Says a line on standard error.
pub fn say(line: &Line<'_>) {
    Writer::on_stderr().say(line);
}

/// Says lines on standard error.
pub fn say_all(listing: &Listing) {
    write_error(&listing.rendered(is_read_by_service()));
}

/// Says what is wrong on standard error.
pub fn say_diagnostics(diagnostics: &Diagnostics) {
    for diagnostic in &diagnostics.0 {
        let text = diagnostics::rendered(diagnostic, has_colours()) + "\n";
        write_error(&if is_read_by_service() { without_commands(&text) } else { text.into() });
    }
}

fn write_error(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Writes lines for people to standard output, at once.
///
/// # Errors
/// When they can't be written, also where nobody reads them.
pub fn print(listing: &Listing) -> io::Result<()> {
    print_own(&listing.rendered(is_read_by_service()))
}

/// Writes JSON to standard output.
///
/// # Errors
/// When it can't be written, also where nobody reads it.
pub fn print_json(json: &Json) -> io::Result<()> {
    print_own(&json.0)
}

/// Writes a text to standard output that is all Kiln's own, as it is: help, scripts, pages of the manual.
///
/// # Errors
/// When it can't be written, also where nobody reads it.
pub fn print_own(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Makes sure that all is written that was printed.
pub fn flush() {
    drop(io::stdout().flush());
}

/// JSON as a text in which every character has a shape and nothing is a command to a service, whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Returns JSON for people and programs: indented, and a newline after it.
    pub fn indented(json: &Value) -> Self {
        Self::of(&format!("{json:#}\n"))
    }

    /// Returns JSON in one line.
    pub fn in_one_line(json: &Value) -> Self {
        Self::of(&format!("{json}\n"))
    }

    /// Takes a text that is JSON.
    pub fn of(json: &str) -> Self {
        Self(service::without_commands_in_json(&visible::in_json(json)).into_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether standard error is coloured.
pub fn has_colours() -> bool {
    wants_colours() && io::stderr().is_terminal()
}

/// Returns whether standard output is coloured.
pub fn has_colours_on_stdout() -> bool {
    wants_colours() && io::stdout().is_terminal()
}

fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}

/// Returns whether standard error is a terminal that can be drawn on.
pub fn can_draw() -> bool {
    io::stderr().is_terminal() && !is_dumb()
}

/// Returns whether the terminal, if there is one, can do no more than print.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_part_of_a_text_has_the_prefix() {
        let line = Line::new("app | ").text("one\rtwo\u{1b}[2J\n\u{2028}::three");
        assert_eq!(line.rendered(true), "app | one\napp | two\\u{1b}[2J\napp | \napp | ::three");
        assert_eq!(Line::new("app | ").text("").rendered(true), "app | ");
        let line = Line::new("app: ").painted(Some(Colour::Red), "error").text(" after: a\nb");
        assert_eq!(line.rendered(true), "app: \x1b[31merror\x1b[0m after: a\napp: b");
    }

    #[test]
    fn a_text_without_prefix_stays_one_line() {
        let line = Line::new("").text("by Engine 1\n::set-output::x\r##[y]");
        assert_eq!(line.rendered(true), "by Engine 1\\n::set-output::x\\r## [y]");
        assert_eq!(line.rendered(false), "by Engine 1\\n::set-output::x\\r##[y]");
        assert_eq!(Line::new("").text("  ::x").rendered(true), "  : :x");
    }

    #[test]
    fn words_that_meet_make_no_command() {
        let line = Line::new("#").text("#").text("[error]");
        assert_eq!(line.rendered(true), "## [error]");
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = "a".repeat(10 << 20);
        let rendered = Line::new("app | ").text(&text).rendered(true);
        assert!(rendered.ends_with("a… (10420224 bytes more)"), "{}", rendered.len());
        assert!(rendered.len() < LONGEST_TEXT + 100);
    }

    #[test]
    fn a_line_of_a_listing_stays_one() {
        let listing: Listing =
            ["a\nb: changed", "::set-output::x", "##[y]\u{202e}"].into_iter().collect();
        assert_eq!(listing.as_str(), "a\\nb: changed\n::set-output::x\n##[y]\\u{202e}\n");
        assert_eq!(listing.rendered(true), "a\\nb: changed\n: :set-output::x\n## [y]\\u{202e}\n");
    }

    #[test]
    fn diagnostics_give_no_commands() {
        let text = "error: x\n  ::set-output::y\n = note: ##[z]\n";
        assert_eq!(without_commands(text), "error: x\n  : :set-output::y\n = note: ## [z]\n");
    }

    proptest! {
        #[test]
        fn every_line_begins_with_the_prefix_and_holds_no_control(
            prefix in "[a-z]{1,9}( \\|)? ",
            texts in prop::collection::vec(any::<String>(), 0..4),
        ) {
            let line = texts.iter().fold(Line::new(&prefix), Line::text);
            let rendered = line.rendered(true);
            for line in rendered.split('\n') {
                prop_assert!(line.starts_with(&prefix), "{:?}", line);
                prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{:?}", line);
            }
        }
    }
}
