//! Splits and expands words as BuildKit's shell lexer does (`frontend/dockerfile/shell`).
//!
//! The same lexer reads the words of `FROM` and `ARG`, the platforms of `FROM --platform`, and the
//! names of here-documents. It is a port and no shell: quotes, escapes and `${name}` with the
//! modifiers below are all that it knows.
//!
//! | modifier | value |
//! |---|---|
//! | `${name-word}`, `${name:-word}` | `word` if the variable is unset, or with `:` empty |
//! | `${name+word}`, `${name:+word}` | `word` if the variable is set, or with `:` not empty |
//! | `${name?word}`, `${name:?word}` | error `word` if the variable is unset, or with `:` empty |
//! | `${name#pattern}`, `${name##pattern}` | value without the shortest or longest start |
//! | `${name%pattern}`, `${name%%pattern}` | value without the shortest or longest end |
//! | `${name/pattern/word}`, `${name//pattern/word}` | value with the first or each match replaced |

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::budget::{Budget, LexerError};
use super::pattern::{self, End, Reach};

/// Largest depth of `${name-${name-...}}`.
const DEEPEST: usize = 64;

fn fail<T>(message: impl Into<String>) -> Result<T, LexerError> {
    Err(LexerError(message.into()))
}

/// Returns the value of a variable; `None` if it is not set.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<Cow<'a, str>>;

/// Settings of the lexer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer {
    /// Escape character.
    pub(super) escape: char,
    /// True to keep quotes in the words.
    pub(super) raw_quotes: bool,
    /// True to keep escape characters outside of single quotes in the words.
    pub(super) raw_escapes: bool,
    /// True to keep references to variables that are not set.
    pub(super) keeps_unset: bool,
}

impl Lexer {
    /// Returns the lexer for arguments of instructions.
    pub(super) fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, keeps_unset: false }
    }

    /// Expands one word; white space in it is kept.
    ///
    /// # Errors
    /// When a quote or a brace is not closed, a modifier is unknown or refuses the value, or the
    /// budget is used up.
    pub(super) fn expand<'w>(
        self,
        word: &'w str,
        variables: Variables<'_>,
        budget: &mut Budget,
    ) -> Result<Cow<'w, str>, LexerError> {
        let is_special = |c: char| c == '$' || c == '\'' || c == '"' || c == self.escape;
        if !word.contains(is_special) && !word.starts_with(BYTE_ORDER_MARK) {
            return Ok(Cow::Borrowed(word));
        }
        let mut run = Run::new(self, word, variables, budget);
        let (result, _) = run.read_until(None, self.raw_escapes)?;
        Ok(Cow::Owned(result))
    }

    /// Splits a text into words at white space, after expansion.
    ///
    /// # Errors
    /// As for [`Self::expand`].
    pub(super) fn split(
        self,
        text: &str,
        variables: Variables<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<String>, LexerError> {
        let mut run = Run::new(self, text, variables, budget);
        let (_, words) = run.read_until(None, self.raw_escapes)?;
        Ok(words)
    }
}

/// Character that is ignored at the start of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// State of one expansion.
struct Run<'r, 'v> {
    lexer: Lexer,
    rest: std::str::Chars<'r>,
    variables: Variables<'v>,
    budget: &'r mut Budget,
    /// Word at the end of the text read so far. A nested word uses the same buffer and loses what
    /// the outer one had in it, as in BuildKit.
    buffer: String,
    raw_escapes: bool,
    depth: usize,
}

/// Words read so far at one level of nesting.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    in_word: bool,
}

impl<'r, 'v> Run<'r, 'v> {
    fn new(lexer: Lexer, text: &'r str, variables: Variables<'v>, budget: &'r mut Budget) -> Self {
        let rest = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).chars();
        let (buffer, raw_escapes) = (String::new(), lexer.raw_escapes);
        Self { lexer, rest, variables, budget, buffer, raw_escapes, depth: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn is_at_end(&self) -> bool {
        self.rest.as_str().is_empty()
    }

    /// Adds a character that separates words if it is white space.
    fn add_char(&mut self, words: &mut Words, c: char) {
        if !c.is_whitespace() {
            self.add_raw(words, c);
        } else if words.in_word && !self.buffer.is_empty() {
            words.done.push(std::mem::take(&mut self.buffer));
            words.in_word = false;
        }
    }

    fn add_raw(&mut self, words: &mut Words, c: char) {
        self.buffer.push(c);
        words.in_word = true;
    }

    /// Reads to `stop`, which is removed, or to the end of the text. Returns the text and the words.
    fn read_until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
    ) -> Result<(String, Vec<String>), LexerError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return fail(format!("the braces are nested more than {DEEPEST} times"));
        }
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let read = self.read_level(stop);
        self.raw_escapes = outer;
        self.depth -= 1;
        read
    }

    fn read_level(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), LexerError> {
        let mut result = String::new();
        let mut words = Words::default();
        self.buffer.clear();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.rest.next();
                return Ok((result, self.finish(words)));
            }
            let quoted = match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| self.add_char(&mut words, c));
                    result.push_str(&value);
                    continue;
                }
                '<' => Some(self.possible_document()),
                '\'' => Some(self.single_quotes()?),
                '"' => Some(self.double_quotes()?),
                _ => None,
            };
            if let Some(quoted) = quoted {
                self.buffer.push_str(&quoted);
                words.in_word = true;
                result.push_str(&quoted);
                continue;
            }
            self.rest.next();
            if c != self.lexer.escape {
                self.add_char(&mut words, c);
                result.push(c);
                continue;
            }
            if self.raw_escapes {
                self.add_raw(&mut words, c);
                result.push(c);
            }
            let Some(escaped) = self.rest.next() else { break };
            self.add_raw(&mut words, escaped);
            result.push(escaped);
        }
        match stop {
            Some(stop) => {
                fail(format!("unexpected end of statement while looking for matching {stop}"))
            }
            None => Ok((result, self.finish(words))),
        }
    }

    fn finish(&mut self, words: Words) -> Vec<String> {
        let mut done = words.done;
        if !self.buffer.is_empty() {
            done.push(std::mem::take(&mut self.buffer));
        }
        done
    }

    fn single_quotes(&mut self) -> Result<String, LexerError> {
        let text = self.rest.as_str();
        let inner = &text[1..];
        let Some(end) = inner.find('\'') else {
            self.rest = "".chars();
            return fail("unexpected end of statement while looking for matching single-quote");
        };
        self.rest = inner[end + 1..].chars();
        Ok(if self.lexer.raw_quotes { &text[..end + 2] } else { &inner[..end] }.to_owned())
    }

    fn double_quotes(&mut self) -> Result<String, LexerError> {
        let mut result = String::new();
        let quote = self.rest.next().filter(|_| self.lexer.raw_quotes);
        result.extend(quote);
        loop {
            match self.peek() {
                None => {
                    return fail(
                        "unexpected end of statement while looking for matching double-quote",
                    );
                }
                Some('"') => {
                    self.rest.next();
                    result.extend(quote);
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(c) => {
                    self.rest.next();
                    if c != self.lexer.escape {
                        result.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        result.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            self.rest.next();
                            result.push(next);
                        }
                        Some(_) => result.push(c),
                    }
                }
            }
        }
    }

    /// Reads `<<` with the white space after it as one part of a word, so that a here-document is
    /// one word.
    fn possible_document(&mut self) -> String {
        let text = self.rest.as_str();
        let Some(after) = text.strip_prefix("<<") else {
            self.rest.next();
            return "<".to_owned();
        };
        let rest = after.trim_start_matches(['\t', '\r', ' ']);
        self.rest = rest.chars();
        text[..text.len() - rest.len()].to_owned()
    }

    fn dollar(&mut self) -> Result<String, LexerError> {
        self.rest.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return self.value_or(&name, || format!("${name}"));
        }
        self.rest.next();
        match self.peek() {
            None => return fail("syntax error: missing '}'"),
            Some('{' | '}' | ':') => return fail("syntax error: bad substitution"),
            Some(_) => {}
        }
        let name = self.name();
        match self.rest.next() {
            Some('}') => self.value_or(&name, || format!("${{{name}}}")),
            Some(':') => match self.rest.next() {
                Some(modifier) if !matches!(modifier, '#' | '%') => {
                    self.conditional(&name, true, modifier)
                }
                modifier => unsupported(true, modifier),
            },
            Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, false, modifier),
            Some(end @ ('#' | '%')) => self.trimmed(&name, end),
            Some('/') => self.replaced(&name),
            modifier => unsupported(false, modifier),
        }
    }

    /// Reads the word of a modifier up to `stop`.
    fn nested(&mut self, stop: char, raw_escapes: bool) -> Result<String, LexerError> {
        let read = self.read_until(Some(stop), raw_escapes);
        match read {
            Ok((word, _)) => Ok(word),
            Err(_) if self.is_at_end() => fail(format!("syntax error: missing '{stop}'")),
            Err(error) => Err(error),
        }
    }

    /// Returns the value of a variable, or `kept` if it is not set and such references are kept.
    fn value_or(&mut self, name: &str, kept: impl Fn() -> String) -> Result<String, LexerError> {
        match self.get(name)? {
            Some(value) => Ok(value),
            None if self.lexer.keeps_unset => Ok(kept()),
            None => Ok(String::new()),
        }
    }

    fn get(&mut self, name: &str) -> Result<Option<String>, LexerError> {
        let value = (self.variables)(name);
        self.budget.take_value(value.as_ref().map_or(0, |value| value.len()))?;
        Ok(value.map(Cow::into_owned))
    }

    fn conditional(
        &mut self,
        name: &str,
        empty_is_unset: bool,
        modifier: char,
    ) -> Result<String, LexerError> {
        let word = self.nested('}', false)?;
        let value = self.get(name)?;
        if value.is_none() && self.lexer.keeps_unset {
            let colon = if empty_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let usable = value.clone().filter(|value| !empty_is_unset || !value.is_empty());
        match (modifier, usable) {
            ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) => Ok(word),
            ('-' | '?', Some(value)) => Ok(value),
            ('?', None) => {
                let state = if value.is_none() { "unset" } else { "empty" };
                let message =
                    if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                fail(format!("{name}: {message}"))
            }
            (modifier, _) => unsupported(empty_is_unset, Some(modifier)),
        }
    }

    fn trimmed(&mut self, name: &str, end: char) -> Result<String, LexerError> {
        let word = self.nested('}', true)?;
        let value = self.get(name)?;
        if value.is_none() && self.lexer.keeps_unset {
            return Ok(format!("${{{name}{end}{word}}}"));
        }
        let value = value.unwrap_or_default();
        let (pattern, reach) = match word.strip_prefix(end) {
            Some(pattern) => (pattern, Reach::Longest),
            None => (word.as_str(), Reach::Shortest),
        };
        let end = if end == '#' { End::Start } else { End::End };
        pattern::trim(&value, pattern, end, reach, self.budget)
    }

    fn replaced(&mut self, name: &str) -> Result<String, LexerError> {
        let is_each = self.peek() == Some('/');
        if is_each {
            self.rest.next();
        }
        let pattern = self.nested('/', true)?;
        let word = self.nested('}', true)?;
        let value = self.get(name)?;
        if value.is_none() && self.lexer.keeps_unset {
            return Ok(format!("${{{name}/{pattern}/{word}}}"));
        }
        let value = value.unwrap_or_default();
        pattern::replace(&value, &pattern, &word, is_each, self.budget)
    }

    /// Reads the name of a variable: digits, one special character, or letters, digits and `_`.
    fn name(&mut self) -> String {
        let text = self.rest.as_str();
        let first = text.chars().next();
        let end = match first {
            Some(c) if is_digit(c) => text.find(|c| !is_digit(c)),
            Some(c) if "@*#?-$!0".contains(c) => Some(c.len_utf8()),
            _ => text.find(|c| !is_letter(c) && !is_digit(c) && c != '_'),
        };
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        self.rest = rest.chars();
        name.to_owned()
    }
}

fn unsupported(has_colon: bool, modifier: Option<char>) -> Result<String, LexerError> {
    let colon = if has_colon { ":" } else { "" };
    match modifier {
        None => fail("syntax error: missing '}'"),
        Some(modifier) => fail(format!("unsupported modifier ({colon}{modifier}) in substitution")),
    }
}

static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{L}$").expect("a literal"));
static DIGIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").expect("a literal"));

fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { LETTER.is_match(c.encode_utf8(&mut [0; 4])) }
}

fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { DIGIT.is_match(c.encode_utf8(&mut [0; 4])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables of the tables; `none` and `missing` are not set.
    fn variables(name: &str) -> Option<Cow<'static, str>> {
        let value = match name {
            "home" => "/srv/app",
            "version" => "12.5.7-slim",
            "empty" => "",
            "stars" => "a*b?c\\d",
            "spaces" => "  one two ",
            "größe" => "groß",
            "dollar" => "$0-$0",
            _ => return None,
        };
        Some(Cow::Borrowed(value))
    }

    fn expand(escape: char, word: &str) -> Result<String, String> {
        let expanded = Lexer::new(escape).expand(word, &variables, &mut Budget::new());
        expanded.map(Cow::into_owned).map_err(|error| error.0)
    }

    #[test]
    fn words_are_expanded_as_by_buildkit() {
        let table = [
            // Quotes and escapes.
            ("plain", "plain"),
            ("a'b'c", "abc"),
            (r"a\'b", "a'b"),
            (r"a\tb", "atb"),
            (r#""a\tb""#, r"a\tb"),
            (r#""a\\b""#, r"a\b"),
            (r"'a\\b'", r"a\\b"),
            (r"end\", "end"),
            (r"end\\", r"end\"),
            (r#""it's""#, "it's"),
            (r#"'"both"'"#, r#""both""#),
            (r#""say \"x\"""#, r#"say "x""#),
            ("'${home}'", "${home}"),
            (r#""'$home'""#, "'/srv/app'"),
            (r"\$home", "$home"),
            (r"\\$home", r"\/srv/app"),
            (r#""\$home""#, "$home"),
            (r"\${}", "${}"),
            ("a<b<<c", "a<b<<c"),
            ("\u{feff}marked", "marked"),
            // Names.
            ("$home/x", "/srv/app/x"),
            ("${home}x", "/srv/appx"),
            ("$homex", ""),
            ("$none.", "."),
            ("$.", "$."),
            ("a$", "a$"),
            ("$größe!", "groß!"),
            ("$1x", "x"),
            ("$12x", "x"),
            ("${12:-x}", "x"),
            ("$@@", "@"),
            ("$$home", "home"),
            ("${#}${!}${$}${-}${?}${0}${*}", ""),
            ("${-:-x}", "x"),
            ("${#:+x}", ""),
            ("${none}}", "}"),
            // Conditions.
            ("${none-x}", "x"),
            ("${empty-x}", ""),
            ("${none:-x}", "x"),
            ("${empty:-x}", "x"),
            ("${home:-x}", "/srv/app"),
            ("${none+x}", ""),
            ("${empty+x}", "x"),
            ("${empty:+x}", ""),
            ("${home:+x}", "x"),
            ("${empty?x}", ""),
            ("${home:?x}", "/srv/app"),
            ("${none:-${missing:-${home}}}", "/srv/app"),
            ("${none:-a {b}", "a {b"),
            (r"${none:-\${home}y}", "${homey}"),
            (r#"${none:-"a}b"}"#, "a}b"),
            ("${home:+${none:-z}}", "z"),
            // Patterns.
            ("${version#*.}", "5.7-slim"),
            ("${version##*.}", "7-slim"),
            ("${version%.*}", "12.5"),
            ("${version%%.*}", "12"),
            ("${version%-slim}", "12.5.7"),
            ("${version#v}", "12.5.7-slim"),
            ("${version#??.}", "5.7-slim"),
            ("${version#*}", "12.5.7-slim"),
            ("${version##*}", ""),
            ("${none#x}${none%%x}", ""),
            ("${version/./_}", "12_5.7-slim"),
            ("${version//./_}", "12_5_7-slim"),
            ("${version//?/x}", "xxxxxxxxxxx"),
            ("${version/5*/}", "12."),
            (r"${home//\//-}", "-srv-app"),
            (r"${stars#a\*}", r"b?c\d"),
            (r"${stars%\\d}", "a*b?c"),
            (r"${stars/\?/!}", r"a*b!c\d"),
            ("${home#${none:-/srv}}", "/app"),
            ("${none/x/y}", ""),
            ("${none/*/y}", "y"),
            ("${version//[0-9]/x}", "12.5.7-slim"),
            ("${version/12/$dollar}", "$0-$0.5.7-slim"),
            ("${version//12/$dollar}", "12-12.5.7-slim"),
        ];
        for (word, expected) in table {
            assert_eq!(expand('\\', word).as_deref(), Ok(expected), "{word}");
        }
        assert_eq!(expand('`', r"C:\`$home\$home").as_deref(), Ok(r"C:\$home\/srv/app"));
        assert_eq!(expand('`', "\"`\"a``\"").as_deref(), Ok("\"a`"));
    }

    #[test]
    fn invalid_words_are_refused_with_the_reason() {
        let table = [
            ("'a", "matching single-quote"),
            ("\"a", "matching double-quote"),
            (r#""a\""#, "matching double-quote"),
            ("${", "missing '}'"),
            ("${home", "missing '}'"),
            ("${home:", "missing '}'"),
            ("${home:-x", "missing '}'"),
            ("${home:-${x}", "missing '}'"),
            ("${home/a}", "missing '/'"),
            ("${home/a/b", "missing '}'"),
            ("${}", "bad substitution"),
            ("${{a}}", "bad substitution"),
            ("${:-a}", "bad substitution"),
            ("${.}", "unsupported modifier (.)"),
            ("${home:x}", "unsupported modifier (:x)"),
            ("${home:=x}", "unsupported modifier (:=)"),
            ("${home:#x}", "unsupported modifier (:#)"),
            ("${home^}", "unsupported modifier (^)"),
            ("${none?}", "none: is not allowed to be unset"),
            ("${none:?}", "none: is not allowed to be unset"),
            ("${empty:?}", "empty: is not allowed to be empty"),
            ("${none:?give a value}", "none: give a value"),
            (r"${home#\a}", r"invalid escape '\a'"),
        ];
        for (word, expected) in table {
            let error = expand('\\', word).unwrap_err();
            assert!(error.contains(expected), "{word}: {error}");
        }
    }

    #[test]
    fn texts_are_split_into_words_after_expansion() {
        let table: &[(&str, &[&str])] = &[
            ("one  two\tthree ", &["one", "two", "three"]),
            ("a${spaces}b", &["a", "one", "two", "b"]),
            ("a\"${spaces}\"b", &["a  one two b"]),
            (r"one\ two three", &["one two", "three"]),
            ("'one two'three", &["one twothree"]),
            ("cat << name", &["cat", "<< name"]),
            ("$none", &[]),
        ];
        for (text, expected) in table {
            let words = Lexer::new('\\').split(text, &variables, &mut Budget::new());
            assert_eq!(words.unwrap(), *expected, "{text}");
        }
    }

    #[test]
    fn raw_words_keep_quotes_escapes_and_unset_variables() {
        let lexer =
            Lexer { raw_quotes: true, raw_escapes: true, keeps_unset: true, ..Lexer::new('\\') };
        let text = r#"a\ b "c d" 'e' $x ${y} ${z:-1} ${v:=2} ${w#3} ${u/4/5}"#;
        let words = lexer.split(text, &|_| None, &mut Budget::new()).unwrap();
        let expected =
            [r"a\ b", "\"c d\"", "'e'", "$x", "${y}", "${z:-1}", "${v:=2}", "${w#3}", "${u/4/5}"];
        assert_eq!(words, expected);
    }

    #[test]
    fn expansion_is_limited() {
        let deep = format!("{}x{}", "${a:-".repeat(65), "}".repeat(65));
        assert_eq!(expand('\\', &deep).unwrap_err(), "the braces are nested more than 64 times");
        let long = "a".repeat(1 << 20);
        let value = |_: &str| Some(Cow::Borrowed(long.as_str()));
        let slow = Lexer::new('\\').expand("${v#*a*a*a*a*a*a*a*b}", &value, &mut Budget::new());
        assert_eq!(slow.unwrap_err().0, "the patterns here take too long to match");
        let grown = Lexer::new('\\').expand("${v//a/aa}", &value, &mut Budget::new());
        assert!(grown.unwrap_err().0.contains("more than 1048576 bytes"));
    }
}
