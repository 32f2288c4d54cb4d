//! Compilation of a pattern by the engine that it needs, and its search in names.

use std::collections::BTreeSet;
use std::sync::Arc;

use fancy_regex::{CompileError, RegexBuilder};
use regex::Regex;

use super::python_syntax::{Flaw, Rewritten, rewrite};
use crate::diagnostic::Diagnostic;

/// Largest number of steps back of one search. Names have at most a few dozen characters: a pattern
/// that is not exponential needs a few thousand.
const STEPS: usize = 100_000;

/// Largest number of instructions of a compiled pattern.
const INSTRUCTIONS: usize = 10_000;

/// Largest size of each part of a pattern that needs no backtracking, in bytes.
const PART_SIZE: usize = 1 << 20;

/// Pattern that is searched in image names.
#[derive(Debug, Clone)]
pub struct NamePattern {
    text: Arc<str>,
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Linear(Regex),
    Backtracking {
        regex: fancy_regex::Regex,
        /// Error of a search that takes too many steps.
        excess: Box<Diagnostic>,
    },
}

impl NamePattern {
    /// Compiles a pattern. `refuse` makes an error of what is to be said about the pattern, such as
    /// "is not a regular expression": it names the pattern and where it was given.
    ///
    /// # Errors
    /// When it is a regular expression neither of the `regex` crate nor of Python.
    pub fn new(text: &str, refuse: impl Fn(&str) -> Diagnostic) -> Result<Self, Diagnostic> {
        let wrong = |why: String| {
            refuse("is not a regular expression").note(why).help(
                "write it in the syntax of Python or of the regex crate; a backslash takes the \
                 meaning from a character, as in '\\+'",
            )
        };
        let engine = match rewrite(text) {
            Ok(Rewritten { text, needs_backtracking: true }) => Engine::Backtracking {
                regex: backtracking(&text).map_err(wrong)?,
                excess: refuse(&format!("takes more than {STEPS} steps to search"))
                    .help("write it without a repetition in a repetition, such as '(a+)+'")
                    .into(),
            },
            read => Engine::Linear(linear(text, read).map_err(wrong)?),
        };
        Ok(Self { text: text.into(), engine })
    }

    /// Returns the pattern as it was given.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns those of `names` that the pattern is found in.
    ///
    /// # Errors
    /// When a search takes too many steps.
    pub fn found_in<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeSet<String>, Diagnostic> {
        let found = names.into_iter().filter_map(|name| match self.is_found_in(name) {
            Ok(is_found) => is_found.then(|| Ok(name.to_owned())),
            Err(error) => Some(Err(error)),
        });
        found.collect()
    }

    fn is_found_in(&self, name: &str) -> Result<bool, Diagnostic> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(name)),
            Engine::Backtracking { regex, excess } => regex
                .is_match(name)
                .map_err(|_| (**excess).clone().note(format!("the name is '{name}'"))),
        }
    }
}

/// Compiles a pattern in the syntax of the `regex` crate, or else as it was `read` in Python's.
fn linear(text: &str, read: Result<Rewritten, Flaw>) -> Result<Regex, String> {
    Regex::new(text).or_else(|error| match read {
        Ok(rewritten) => Regex::new(&rewritten.text).map_err(|error| last_line(&error)),
        // The regex crate does not get as far: it would complain of the look-around.
        Err(flaw) if flaw.follows_backtracking => Err(flaw.reason),
        Err(_) => Err(last_line(&error)),
    })
}

fn backtracking(text: &str) -> Result<fancy_regex::Regex, String> {
    let mut builder = RegexBuilder::new(text);
    builder.backtrack_limit(STEPS).max_prog_size(INSTRUCTIONS).delegate_size_limit(PART_SIZE);
    builder.build().map_err(|error| match error {
        // The position would be one in the rewritten pattern.
        fancy_regex::Error::ParseError(_, error) => error.to_string(),
        fancy_regex::Error::CompileError(error) => match *error {
            CompileError::VariableLookBehindRequiresFeature | CompileError::LookBehindNotConst => {
                "a look-behind has no fixed width".to_owned()
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    })
}

/// Returns the part of a regular expression's error that says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
