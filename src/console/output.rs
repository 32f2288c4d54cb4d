//! Writing to standard output and standard error: lines, listings, diagnostics and JSON, with the
//! text of others escaped.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::diagnostics;
use super::service::{self, Command};
use crate::diagnostic::Diagnostics;
use crate::visible;

/// True if a service may read commands from the output.
static IS_READ_BY_SERVICE: AtomicBool = AtomicBool::new(false);

/// Declares that a service reads the output from now on.
pub fn expect_service() {
    IS_READ_BY_SERVICE.store(true, Ordering::Relaxed);
}

fn is_read_by_service() -> bool {
    IS_READ_BY_SERVICE.load(Ordering::Relaxed)
}

/// Amount of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// Failures, and the start and the end of each build.
    Normal,
    /// Every line of the logs as well.
    Debug,
}

/// Largest size of a text in a line, in bytes: nobody reads more, and terminals are slow to show
/// it.
pub const LONGEST_TEXT: usize = 64 << 10;

/// Colour of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Colour of success.
    Green,
    /// Colour of failure.
    Red,
}

/// A line of output. If its text has several lines, each of them gets the prefix. Without a prefix,
/// the text stays one line, so that none of it can pass for a line of Kiln's own.
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

    /// Appends text, which may come from anybody.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.words.push(Word::Text(text.into()));
        self
    }

    /// Appends a word of Kiln's own, in `colour` if there is one.
    #[must_use]
    pub fn painted(mut self, colour: Option<Colour>, word: &'static str) -> Self {
        self.words.push(match colour {
            Some(colour) => Word::Painted(colour, word),
            None => Word::Text(word.into()),
        });
        self
    }

    /// Returns the text to write, without the last newline.
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

/// Lines for people. Each stays one line, whatever text is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    text: String,
}

impl Listing {
    /// Appends a line.
    pub fn line(&mut self, line: impl fmt::Display) {
        let begin = self.text.len();
        writeln!(self.text, "{line}").expect("a string takes all");
        let end = self.text.len() - 1;
        if let Cow::Owned(shown) = visible::line(&self.text[begin..end]) {
            self.text.replace_range(begin..end, &shown);
        }
    }

    /// Returns all lines as one text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text to write.
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

/// Returns the text with every line changed that would be a command to a service.
fn without_commands(text: &str) -> Cow<'_, str> {
    let lines = text.split_inclusive('\n').map(service::without_commands);
    lines.fold(Cow::Borrowed(""), |all, line| all + line)
}

/// Writes lines to one output.
pub struct Writer {
    out: Box<dyn io::Write>,
    is_read_by_service: bool,
}

impl Writer {
    /// Returns a writer to standard error.
    pub fn on_stderr() -> Self {
        Self::on(Box::new(io::stderr()), is_read_by_service())
    }

    /// Returns a writer to `out`.
    pub fn on(out: Box<dyn io::Write>, is_read_by_service: bool) -> Self {
        Self { out, is_read_by_service }
    }

    /// Writes a line. Ignores errors: a run does not fail because nobody reads its messages.
    pub fn say(&mut self, line: &Line<'_>) {
        self.write(line.rendered(self.is_read_by_service));
    }

    /// Writes a command for the service that reads the output.
    pub fn command(&mut self, command: &Command) {
        self.write(command.to_string());
    }

    /// Writes a line with a single call, so that lines of several programs do not mix.
    fn write(&mut self, mut line: String) {
        line.push('\n');
        drop(self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush()));
    }
}

/// Returns the text of a line that is printed above progress bars.
pub fn above_bars(line: &Line<'_>) -> String {
    line.rendered(is_read_by_service())
}

/// Writes a line to standard error.
pub fn say(line: &Line<'_>) {
    Writer::on_stderr().say(line);
}

/// Writes lines to standard error.
pub fn say_all(listing: &Listing) {
    write_error(&listing.rendered(is_read_by_service()));
}

/// Writes diagnostics to standard error.
pub fn say_diagnostics(diagnostics: &Diagnostics) {
    for diagnostic in &diagnostics.0 {
        let text = diagnostics::rendered(diagnostic, has_colours()) + "\n";
        write_error(&if is_read_by_service() { without_commands(&text) } else { text.into() });
    }
}

fn write_error(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Writes lines for people to standard output, and flushes it.
///
/// # Errors
/// When they can't be written, also because nobody reads them (a broken pipe).
pub fn print(listing: &Listing) -> io::Result<()> {
    print_own(&listing.rendered(is_read_by_service()))
}

/// Writes JSON to standard output, and flushes it.
///
/// # Errors
/// When it can't be written, also because nobody reads it (a broken pipe).
pub fn print_json(json: &Json) -> io::Result<()> {
    print_own(&json.0)
}

/// Writes a text unchanged to standard output, and flushes it. The text must be all Kiln's own:
/// help, scripts, manual pages.
///
/// # Errors
/// When it can't be written, also because nobody reads it (a broken pipe).
pub fn print_own(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Flushes standard output. Ignores errors.
pub fn flush() {
    drop(io::stdout().flush());
}

/// JSON text without hidden characters and without commands to a service, whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Returns JSON for people and programs: indented, with a newline at the end.
    pub fn indented(json: &impl Serialize) -> Self {
        Self::with_newline(serde_json::to_string_pretty(json))
    }

    /// Returns JSON in one line, with a newline at the end.
    pub fn in_one_line(json: &impl Serialize) -> Self {
        Self::with_newline(serde_json::to_string(json))
    }

    fn with_newline(json: serde_json::Result<String>) -> Self {
        let mut json = json.expect("machine output has no map with other keys than texts");
        json.push('\n');
        Self::of(&json)
    }

    /// Escapes `json`, which must be valid JSON.
    pub fn of(json: &str) -> Self {
        Self(service::without_commands_in_json(&visible::in_json(json)).into_owned())
    }

    /// Returns the escaped JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns true if output to standard error is coloured.
pub fn has_colours() -> bool {
    wants_colours() && io::stderr().is_terminal()
}

/// Returns true if output to standard output is coloured.
pub fn has_colours_on_stdout() -> bool {
    wants_colours() && io::stdout().is_terminal()
}

fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}

/// Returns true if standard error is a terminal on which progress bars can be drawn.
pub fn can_draw() -> bool {
    io::stderr().is_terminal() && !is_dumb()
}

/// Returns true if the terminal can only print: `TERM` is `dumb` or not set.
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
