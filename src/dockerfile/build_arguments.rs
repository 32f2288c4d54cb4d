//! Values of build arguments before the first `FROM`: those of the user, the defaults of `ARG`, and
//! the automatic ones for platforms.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::budget::{Budget, LexerError};
use super::lexer::Lexer;
use super::stages::ReadingInput;
use crate::image::Platform;

/// `ARG name` or `ARG name=default`.
#[derive(Debug)]
pub(super) struct Declaration {
    pub(super) name: String,
    /// Default as it is written, with quotes.
    pub(super) default: Option<String>,
    pub(super) span: Range<usize>,
}

/// Arguments that words are expanded with.
pub(super) struct Arguments<'a> {
    input: &'a ReadingInput,
    /// Value of `TARGETSTAGE`.
    target: String,
    declared: BTreeMap<String, String>,
    lexer: Lexer,
    budget: Budget,
}

/// Word after expansion, with the variables in it that have no value.
pub(super) struct Expanded<'w> {
    pub(super) text: Cow<'w, str>,
    pub(super) unset: BTreeSet<String>,
}

impl<'a> Arguments<'a> {
    /// Returns the arguments without any declaration; `target` is the name of the stage to build.
    pub(super) fn new(input: &'a ReadingInput, target: String, escape: char) -> Self {
        let (declared, budget) = (BTreeMap::new(), Budget::new());
        Self { input, target, declared, lexer: Lexer::new(escape), budget }
    }

    /// Adds a declaration. A value of the user replaces the default; one without either changes
    /// nothing.
    ///
    /// # Errors
    /// When the default can't be expanded.
    pub(super) fn declare(&mut self, declaration: &Declaration) -> Result<(), LexerError> {
        let given = self.input.build_args.get(&declaration.name);
        let value = match (given, &declaration.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => self.expand(default)?.text.into_owned(),
            (None, None) => return Ok(()),
        };
        self.declared.insert(declaration.name.clone(), value);
        Ok(())
    }

    /// Expands a word.
    ///
    /// # Errors
    /// As for [`Lexer::expand`].
    pub(super) fn expand<'w>(&mut self, word: &'w str) -> Result<Expanded<'w>, LexerError> {
        let unset = RefCell::new(BTreeSet::new());
        let (declared, input, target) = (&self.declared, self.input, self.target.as_str());
        let value = |name: &str| {
            let value = match declared.get(name) {
                Some(value) => Some(Cow::Borrowed(value.as_str())),
                None => automatic(name, input, target),
            };
            if value.is_none() {
                unset.borrow_mut().insert(name.to_owned());
            }
            value
        };
        let text = self.lexer.expand(word, &value, &mut self.budget)?;
        Ok(Expanded { text, unset: unset.into_inner() })
    }
}

/// Returns the value of an argument that the builder sets; `None` for any other.
fn automatic<'v>(name: &str, input: &'v ReadingInput, target: &'v str) -> Option<Cow<'v, str>> {
    let of_platform = |part: &str, platform: &'v Platform| {
        Some(match part {
            "PLATFORM" => Cow::Owned(platform.to_string()),
            "OS" => Cow::Borrowed(platform.os()),
            "OSVERSION" => Cow::Borrowed(platform.os_version()),
            "ARCH" => Cow::Borrowed(platform.architecture()),
            "VARIANT" => Cow::Borrowed(platform.variant()),
            _ => return None,
        })
    };
    let value = match (name.strip_prefix("BUILD"), name.strip_prefix("TARGET")) {
        (Some(part), _) => of_platform(part, &input.build),
        (_, Some("STAGE")) => Some(Cow::Borrowed(target)),
        (_, Some(part)) => of_platform(part, &input.target),
        (None, None) => None,
    }?;
    Some(input.build_args.get(name).map_or(value, |given| Cow::Borrowed(given.as_str())))
}
