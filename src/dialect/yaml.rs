//! YAML as Kolla reads its own files: version 1.1, with plain scalars resolved as PyYAML's
//! `safe_load` does.
//!
//! Owns the step from a parser's events to values. Existing crates for values read YAML 1.2, in
//! which `yes` is a string, while Kolla's files and those of its users rely on the older rules.
//! Values are also printed in Dockerfiles as Python's `str()` prints them. Dates and times,
//! fractions in base 60 and numbers beyond 64 bits stay text.

use std::collections::HashMap;
use std::fmt::Write;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

/// Largest depth of a document; files of this kind nest three or four levels.
const DEEPEST: usize = 100;

/// Largest number of values of a document, with the values of an alias counted at each use. Files
/// of this kind have some thousands; a few lines of aliases of aliases would exceed any memory.
const MOST_VALUES: usize = 50_000;

/// YAML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// Null value: empty, `~` or `null`.
    Null,
    /// Boolean.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Floating-point number.
    Float(f64),
    /// Text: quoted scalars, block scalars, and plain scalars of no other type.
    Text(String),
    /// Sequence.
    List(Vec<Yaml>),
    /// Mapping in the order of the file. Keys are unique and are text as `str()` prints it.
    Map(Vec<(String, Yaml)>),
}

/// Reason why a text is not a YAML document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// Description of the error.
    pub message: String,
    /// Line of the error, counted from 1.
    pub line: usize,
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        Self { message: error.info().to_owned(), line: error.marker().line() }
    }
}

/// Parses the one document of a text; a text without one is [`Yaml::Null`].
///
/// # Errors
/// When it is not YAML, has a second document, nests too deep, has too many values, or uses what
/// `safe_load` refuses: custom tags, aliases that contain themselves, keys that are not scalars.
pub fn parse(text: &str) -> Result<Yaml, YamlError> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        line: 1,
        left: MOST_VALUES,
    };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok(document.unwrap_or(Yaml::Null)),
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(_) if document.is_some() => {
                return reader.refuse("there is a second document");
            }
            Event::DocumentStart(_) => {
                let event = reader.next()?;
                document = Some(reader.node(event, 0)?);
            }
            _ => return reader.refuse("a document was expected"),
        }
    }
}

impl Yaml {
    /// Returns the value of a key; `None` if there is no such key or this is not a mapping.
    pub fn get(&self, key: &str) -> Option<&Yaml> {
        self.as_map()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the entries of a mapping; `None` for another value.
    pub fn as_map(&self) -> Option<&[(String, Yaml)]> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }

    /// Returns the text; `None` for another value.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the number of values: this one, and all that it contains, with the keys of mappings.
    fn values(&self) -> usize {
        1 + match self {
            Self::List(items) => items.iter().map(Self::values).sum(),
            Self::Map(entries) => entries.iter().map(|(_, value)| 1 + value.values()).sum(),
            _ => 0,
        }
    }

    /// Returns true if the value is true for Python.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// Returns the value as Python's `str()` prints it.
    pub fn python_str(&self) -> String {
        if let Self::Text(text) = self { text.clone() } else { self.python_repr() }
    }

    fn python_repr(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => float_repr(*value),
            Self::Text(text) => text_repr(text),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::python_repr).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(entries) => {
                let entry = |(key, value): &(String, Self)| {
                    format!("{}: {}", text_repr(key), value.python_repr())
                };
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// Prints a float as Python does. Rust has the same digits, but another notation for exponents.
fn float_repr(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, power)) => match power.strip_prefix('-') {
            Some(power) => format!("{digits}e-{power:0>2}"),
            None => format!("{digits}e+{power:0>2}"),
        },
        None => text.to_lowercase(),
    }
}

fn text_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut repr = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => repr.push_str("\\n"),
            '\r' => repr.push_str("\\r"),
            '\t' => repr.push_str("\\t"),
            c if c == quote || c == '\\' => repr.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(repr, "\\x{:02x}", u32::from(c));
            }
            c => repr.push(c),
        }
    }
    repr.push(quote);
    repr
}

/// Converts a parser's events into values.
struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Yaml>,
    line: usize,
    /// Number of values that the document may still have.
    left: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, YamlError> {
        match self.events.next() {
            Some(event) => {
                let (event, span) = event?;
                self.line = span.start.line();
                Ok(event)
            }
            None => Ok(Event::StreamEnd),
        }
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Result<T, YamlError> {
        Err(YamlError { message: message.into(), line: self.line })
    }

    /// Returns the value that begins with an event.
    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Yaml, YamlError> {
        if depth > DEEPEST {
            return self.refuse("this is nested too deeply");
        }
        self.count(1)?;
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let Some(values) = self.anchors.get(&anchor).map(Yaml::values) else {
                    return self.refuse("an alias is inside the node that it refers to");
                };
                self.count(values)?;
                return Ok(self.anchors[&anchor].clone());
            }
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_deref())?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.kind(tag.as_deref(), &["seq"])?;
                (anchor, Yaml::List(self.items(depth)?))
            }
            Event::MappingStart(anchor, tag) => {
                self.kind(tag.as_deref(), &["map"])?;
                (anchor, Yaml::Map(self.entries(depth)?))
            }
            _ => return self.refuse("a value was expected"),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    /// Adds to the number of values of the document.
    fn count(&mut self, values: usize) -> Result<(), YamlError> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => self.refuse(format!("the document has more than {MOST_VALUES} values")),
        }
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Yaml>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(items),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    /// Returns the entries of a mapping; merged entries come first, and the mapping's own replace
    /// them.
    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Yaml)>, YamlError> {
        let (mut entries, mut own) = (Vec::new(), Vec::new());
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, depth + 1)?;
            if matches!(key, Yaml::List(_) | Yaml::Map(_)) {
                return self.refuse("a key is a list or a mapping");
            }
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            if merges {
                self.merge(&mut entries, value)?;
            } else {
                own.push((key.python_str(), value));
            }
        }
        own.into_iter().for_each(|(key, value)| set(&mut entries, &key, value));
        Ok(entries)
    }

    /// Adds the value of a `<<` key: a mapping, or a list of mappings of which the first wins.
    fn merge(&self, entries: &mut Vec<(String, Yaml)>, value: Yaml) -> Result<(), YamlError> {
        match value {
            Yaml::Map(merged) => {
                merged.into_iter().for_each(|(key, value)| set(entries, &key, value));
            }
            Yaml::List(items) => {
                for item in items.into_iter().rev() {
                    match item {
                        Yaml::Map(_) => self.merge(entries, item)?,
                        _ => return self.refuse("only mappings can be merged"),
                    }
                }
            }
            _ => return self.refuse("only mappings can be merged"),
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Yaml, YamlError> {
        let resolves = match self.kind(tag, &["str", "int", "float", "bool", "null"])? {
            Some(kind) => kind != "str",
            None => style == ScalarStyle::Plain,
        };
        Ok(if resolves { plain(text) } else { Yaml::Text(text.to_owned()) })
    }

    /// Returns the one of `kinds` that a tag asks for; `None` for no tag and for `!`. Any other tag
    /// is an error.
    fn kind<'t>(&self, tag: Option<&'t Tag>, kinds: &[&str]) -> Result<Option<&'t str>, YamlError> {
        match tag.map(|tag| (tag, tag.suffix.as_str())) {
            Some((tag, kind)) if tag.is_yaml_core_schema() && kinds.contains(&kind) => {
                Ok(Some(kind))
            }
            Some((tag, kind)) if !tag.handle.is_empty() || kind != "!" => {
                self.refuse(format!("the tag '{tag}' is unknown"))
            }
            _ => Ok(None),
        }
    }
}

/// Sets the value of a key: in place if the key exists, at the end if not.
pub fn set(entries: &mut Vec<(String, Yaml)>, key: &str, value: Yaml) {
    match entries.iter_mut().find(|(known, _)| known == key) {
        Some(entry) => entry.1 = value,
        None => entries.push((key.to_owned(), value)),
    }
}

/// Returns the value of a plain scalar.
fn plain(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Yaml::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Yaml::Bool(false)
        }
        _ => integer(text)
            .map(Yaml::Int)
            .or_else(|| float(text).map(Yaml::Float))
            .unwrap_or_else(|| Yaml::Text(text.to_owned())),
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    let magnitude = if let Some(digits) = digits.strip_prefix("0b") {
        in_base(2, digits)
    } else if let Some(digits) = digits.strip_prefix("0x") {
        in_base(16, digits)
    } else if digits.starts_with('0') {
        in_base(8, digits)
    } else {
        in_sixties(digits)
    };
    magnitude.map(|magnitude| sign * magnitude)
}

fn signed(text: &str) -> (i64, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn in_base(base: u32, digits: &str) -> Option<i64> {
    let digits = digits.replace('_', "");
    let known = digits.chars().all(|c| c.is_digit(base));
    if known { i64::from_str_radix(&digits, base).ok() } else { None }
}

/// Parses a decimal number without a leading zero, alone or in base 60 such as
/// `hours:minutes:seconds`.
fn in_sixties(digits: &str) -> Option<i64> {
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut parts = digits.split(':');
    let first = in_base(10, parts.next()?)?;
    parts.try_fold(first, |total, part| {
        let part: i64 = if is_digits(part) && part.len() <= 2 { part.parse().ok()? } else { 60 };
        if part < 60 { total.checked_mul(60)?.checked_add(part) } else { None }
    })
}

/// Parses a number with a point. An exponent requires a sign, and a sign before the number requires
/// digits before the point.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    let (whole, fraction) = unsigned.split_once('.')?;
    let (fraction, exponent) = match fraction.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, exponent.strip_prefix(['-', '+'])?),
        None => (fraction, "0"),
    };
    let begins = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let led = if whole.is_empty() { begins(fraction) && unsigned == text } else { begins(whole) };
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    if led && plain(whole) && plain(fraction) && is_digits(exponent) {
        text.replace('_', "").parse().ok()
    } else {
        None
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Yaml {
        Yaml::Text(text.to_owned())
    }

    fn shown(document: &str) -> String {
        parse(document).unwrap().python_str()
    }

    #[test]
    fn plain_scalars_are_what_yaml_1_1_takes_them_for() {
        let rows = [
            ("~", "None"),
            ("null", "None"),
            ("nUll", "nUll"),
            ("yes", "True"),
            ("On", "True"),
            ("oFF", "oFF"),
            ("OFF", "False"),
            ("y", "y"),
            ("12", "12"),
            ("-1_000", "-1000"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("0o17", "0o17"),
            ("0777", "511"),
            ("089", "089"),
            ("1:30", "90"),
            ("1:60", "1:60"),
            ("1:2:03", "3723"),
            ("99999999999999999999", "99999999999999999999"),
            ("1.50", "1.5"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("-.5", "-.5"),
            ("1e5", "1e5"),
            ("1.0e5", "1.0e5"),
            ("1.0e+20", "1e+20"),
            ("1.5e-07", "1.5e-07"),
            ("-.inf", "-inf"),
            (".NaN", "nan"),
            ("24.04", "24.04"),
            ("24.10", "24.1"),
            ("1.2.3", "1.2.3"),
            ("2024-01-02", "2024-01-02"),
            ("-", "[None]"),
        ];
        for (scalar, expected) in rows {
            assert_eq!(shown(scalar), expected, "{scalar}");
        }
        assert_eq!(parse("0o17"), Ok(text("0o17")));
        assert_eq!(parse("089"), Ok(text("089")));
    }

    #[test]
    fn quoted_tagged_and_block_scalars_are_text() {
        let document =
            "- 'yes'\n- \"1\"\n- |\n  2\n  3\n- >-\n  no\n  no\n- !!str 4\n- ! '5'\n- !!int '6'";
        let values = [text("yes"), text("1"), text("2\n3\n"), text("no no"), text("4"), text("5")];
        let Yaml::List(items) = parse(document).unwrap() else { panic!() };
        assert_eq!(items[..6], values);
        assert_eq!(items[6], Yaml::Int(6));
    }

    #[test]
    fn a_key_keeps_its_first_place_and_its_last_value() {
        assert_eq!(shown("{b: 1, a: 2, b: 3}"), "{'b': 3, 'a': 2}");
        assert_eq!(shown("{1: x, yes: y, ~: z}"), "{'1': 'x', 'True': 'y', 'None': 'z'}");
    }

    #[test]
    fn merged_entries_come_first_and_give_way() {
        let document = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {d: 5, a: 6, <<: [*x, *y]}";
        let value = parse(document).unwrap();
        assert_eq!(value.get("z").unwrap().python_str(), "{'b': 2, 'c': 4, 'a': 6, 'd': 5}");
        assert_eq!(shown("{'<<': 1}"), "{'<<': 1}");
        assert!(parse("{<<: 1}").is_err());
    }

    #[test]
    fn values_print_as_in_python() {
        assert_eq!(
            shown("[\"it's\", 'a\"b', \"a\\\"'\", \"\\n\\\\\\x01\", 1.5, {}]"),
            r#"["it's", 'a"b', 'a"\'', '\n\\\x01', 1.5, {}]"#
        );
        assert_eq!(float_repr(1e16), "1e+16");
        assert_eq!(float_repr(123_456_789.0), "123456789.0");
    }

    #[test]
    fn nothing_empty_is_true() {
        for empty in ["", "''", "0", "0.0", "no", "[]", "{}"] {
            assert!(!parse(empty).unwrap().is_truthy(), "{empty}");
        }
        for full in ["' '", "1", "0.1", "on", "[~]", "{a: }"] {
            assert!(parse(full).unwrap().is_truthy(), "{full}");
        }
    }

    #[test]
    fn errors_name_their_place() {
        let rows = [
            ("a: 1\nb: [", 3),
            ("a\n---\nb\n", 2),
            ("a: 1\nb: !mine x\n", 2),
            ("a: &a [*a]", 1),
            ("\n[x]: y", 2),
        ];
        for (document, line) in rows {
            assert_eq!(parse(document).unwrap_err().line, line, "{document}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn aliases_of_aliases_come_to_an_end() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for n in 1..64 {
            let _ = writeln!(text, "a{n}: &a{n} [*a{0}, *a{0}]", n - 1);
        }
        let error = parse(&text).unwrap_err();
        assert_eq!(error.message, "the document has more than 50000 values");
        assert_eq!(error.line, 14);
    }
}
