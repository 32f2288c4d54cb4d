//! Conversion of texts to typed values, by the rules of oslo.config.

use std::collections::BTreeMap;

use crate::secret::is_secret_name;

/// Separator of the words of an option that takes several.
pub(super) const SEPARATOR: &str = ",";

/// Returns true for white space as Python defines it: Unicode's, and four separators besides.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Returns a text without the white space around it.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Returns the words in the value of an option that takes several.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR).map(strip).filter(|word| !word.is_empty())
}

/// Parses a boolean; `None` for an unknown word.
pub(super) fn boolean(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Some(true),
        "false" | "0" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// Parses a whole number; single underscores between digits are allowed. The four separators are
/// not white space here.
pub(super) fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits.split('_').all(is_number).then(|| text.replace('_', "").parse().ok())?
}

/// Splits a list: commas at its end are ignored, empty values before them are kept.
pub(super) fn list(text: &str) -> Vec<String> {
    let text = strip(text).trim_end_matches(',');
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|value| strip(value).to_owned()).collect()
}

/// Parses a dictionary. A part without a colon belongs to the name of the next pair.
///
/// # Errors
/// The part that is no pair, or whose name is empty or a duplicate.
pub(super) fn dictionary(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    let text = strip(text);
    if text.is_empty() {
        return Ok(pairs);
    }
    let mut begun = String::new();
    for part in text.split(',') {
        begun.push_str(part);
        let Some((name, value)) = begun.split_once(':') else {
            begun.push(',');
            continue;
        };
        let name = strip(name);
        if name.is_empty() || pairs.contains_key(name) {
            return Err(strip(&begun).to_owned());
        }
        pairs.insert(name.to_owned(), strip(value).to_owned());
        begun.clear();
    }
    // Each remaining part is followed by a comma.
    begun.pop().map_or(Ok(pairs), |_| Err(strip(&begun).to_owned()))
}

/// Returns true if the name of a pair, valid or not, looks like that of a secret.
pub(super) fn names_a_secret(dictionary: &str) -> bool {
    dictionary.split(',').any(|pair| {
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let mut words = pair.split(|c| !is_of_name(c)).filter(|word| !word.is_empty());
        words.next().is_some_and(is_secret_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_name_secrets_are_known_however_they_are_written() {
        let secret = ["DB_PASSWORD:x", "A:1, TOKEN=x", "\"API_KEY x\"", "a:b,c\nx,SECRET"];
        assert!(secret.into_iter().all(names_a_secret));
        let others = ["", "A:TOKEN", "A=1,B PASSWORD", "TOKENIZER:x"];
        assert!(!others.into_iter().any(names_a_secret));
    }

    #[test]
    fn numbers_are_those_of_python() {
        let table = [
            ("7", Some(7)),
            (" +07 ", Some(7)),
            ("-1", Some(-1)),
            ("-0", Some(0)),
            ("42_000", Some(42_000)),
            ("1\u{1f}", None),
            ("", None),
            ("_1", None),
            ("1__2", None),
            ("+ 1", None),
            ("--1", None),
            ("1.0", None),
            ("9223372036854775808", None),
        ];
        for (text, expected) in table {
            assert_eq!(integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lists_lose_the_commas_at_their_end_only() {
        let table: [(&str, &[&str]); 5] = [
            ("a, b\n,c", &["a", "b", "c"]),
            ("a,,b,,", &["a", "", "b"]),
            (",a", &["", "a"]),
            ("a, ,", &["a", ""]),
            (" ,, ", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(list(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_part_without_colon_belongs_to_the_next_name() {
        let table = [
            ("", Ok("")),
            ("A:b, C : d:e ,F:", Ok("A=b;C=d:e;F=")),
            ("A:b,c,D:e", Ok("A=b;c,D=e")),
            ("A:b,", Err("")),
            ("A:b,c", Err("c")),
            ("A=b", Err("A=b")),
            (":b", Err(":b")),
            ("A:b,A :c", Err("A :c")),
        ];
        for (text, expected) in table {
            let found = dictionary(text).map(|pairs| {
                pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(";")
            });
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
        }
    }
}
