//! Lists of packages in templates of both languages: `NAME_packages = [...]`, and the arguments of
//! components that are called `packages` or have the name of a package type.
//!
//! The lists are read from the template's text, since rendered ones may be sorted or concatenated.
//! Only plain strings are checked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::findings::{Findings, Remark, line_at};
use super::rule::Rule;
use super::subject::Subject;
use super::template_text::without_documents;

/// Adds the errors in lists of packages.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    for (path, text) in subject.templates().filter(|(path, _)| subject.is_of_interest(path)) {
        let text = without_documents(text, |_| true);
        for list in lists(&text, subject.package_types) {
            for (offset, remark) in remarks(&list) {
                findings.add(path, line_at(&text, offset), "", remark);
            }
        }
    }
}

/// List with its strings, each with its byte offset.
struct List<'a> {
    name: &'a str,
    texts: Vec<(usize, &'a str)>,
}

fn remarks(list: &List<'_>) -> Vec<(usize, Remark)> {
    let List { name, texts } = list;
    // A path is installed for the files in it, so it may be anywhere in the list.
    let names: Vec<_> = texts.iter().filter(|(_, text)| !text.contains('/')).collect();
    let is_sorted = names.is_sorted_by_key(|(_, text)| *text);
    let is_behind = |pair: &&[&(usize, &str)]| pair[1].1.to_lowercase() < pair[0].1.to_lowercase();
    let behind = names.windows(2).find(is_behind).filter(|_| !is_sorted).map(|pair| {
        let ((_, before), (at, text)) = (*pair[0], *pair[1]);
        let message = format!("'{text}' comes after '{before}' in the list {name}");
        (at, Remark::new(Rule::UnsortedPackages, message).help("sort the list"))
    });
    let mut known = BTreeSet::new();
    let twice = texts.iter().filter(|(_, text)| !known.insert(*text)).map(|(at, text)| {
        let message = format!("'{text}' occurs twice in the list {name}");
        (*at, Remark::new(Rule::RepeatedPackage, message).help("remove one of the two"))
    });
    behind.into_iter().chain(twice).collect()
}

static ASSIGNED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b([A-Za-z_][A-Za-z0-9_]*)\s*=[^=]").expect("a literal"));

static COMMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\{#.*?#\}").expect("a literal"));

/// Returns the lists of packages of a template.
fn lists<'a>(text: &'a str, package_types: &BTreeSet<String>) -> Vec<List<'a>> {
    let comments: Vec<Range<usize>> = COMMENT.find_iter(text).map(|found| found.range()).collect();
    let mut found = Vec::new();
    let mut end = 0;
    for assigned in ASSIGNED.captures_iter(text) {
        let name = assigned.get(1).expect("the pattern has it");
        let is_comment = comments.iter().any(|comment| comment.contains(&name.start()));
        let of_packages =
            name.as_str().ends_with("packages") || package_types.contains(name.as_str());
        if !of_packages || is_comment || name.start() < end {
            continue;
        }
        let start = name.end() + text[name.end()..].find('=').map_or(0, |at| at + 1);
        end = start;
        for texts in literals(&text[start..], &mut end) {
            let texts = texts.into_iter().map(|(at, text)| (start + at, text)).collect();
            found.push(List { name: name.as_str(), texts });
        }
    }
    found
}

/// Returns the strings of each list in the expression that `code` begins with, and adds the
/// expression's length to `end`.
fn literals<'a>(code: &'a str, end: &mut usize) -> Vec<Vec<(usize, &'a str)>> {
    let mut reader = Reader { code, position: 0, lists: Vec::new() };
    reader.expression();
    *end += reader.position;
    reader.lists
}

/// Reader of an expression of either language, limited to brackets and strings.
struct Reader<'a> {
    code: &'a str,
    position: usize,
    lists: Vec<Vec<(usize, &'a str)>>,
}

/// Open bracket.
struct Open<'a> {
    /// Bracket that closes this one.
    close: char,
    /// Strings so far; `None` if this is not a list.
    texts: Option<Vec<(usize, &'a str)>>,
    /// Element that is being read.
    element: Element<'a>,
}

/// Element of a list: one string, or anything else.
#[derive(Default)]
enum Element<'a> {
    #[default]
    Empty,
    Text(usize, &'a str),
    Other,
}

impl<'a> Reader<'a> {
    fn expression(&mut self) {
        let mut open: Vec<Open<'a>> = Vec::new();
        let is_attribute = self.code.trim_start().starts_with('{');
        // The character before a bracket distinguishes a list from an index.
        let mut before = ' ';
        while let Some(c) = self.code[self.position..].chars().next() {
            let rest = &self.code[self.position..];
            if open.is_empty() && (["%}", "}}", "/>"].iter().any(|end| rest.starts_with(end))) {
                return;
            }
            let start = self.position;
            self.position += c.len_utf8();
            match c {
                '"' | '\'' | '`' => {
                    let length = rest[1..].find(c).unwrap_or(rest.len() - 1);
                    self.position = (start + length + 2).min(self.code.len());
                    let text = &rest[1..=length];
                    if let Some(inner) = open.last_mut() {
                        inner.element = match inner.element {
                            Element::Empty => Element::Text(start, text),
                            _ => Element::Other,
                        };
                    }
                }
                '[' | '(' | '{' => {
                    let is_index = before.is_alphanumeric() || "_)]".contains(before);
                    let is_asked = self.code[..start].trim_end().ends_with(" in");
                    let is_list = c == '[' && !is_index && !is_asked;
                    let close = match c {
                        '[' => ']',
                        '(' => ')',
                        _ => '}',
                    };
                    if let Some(outer) = open.last_mut() {
                        outer.element = Element::Other;
                    }
                    let texts = is_list.then(Vec::new);
                    open.push(Open { close, texts, element: Element::Empty });
                }
                ']' | ')' | '}' => {
                    let Some(mut closed) = open.pop() else { return };
                    closed.end_element();
                    if closed.close != c {
                        return;
                    }
                    self.lists.extend(closed.texts);
                    if is_attribute && open.is_empty() {
                        return;
                    }
                }
                ',' => match open.last_mut() {
                    Some(inner) => inner.end_element(),
                    None => return,
                },
                c if c.is_whitespace() => {}
                _ => {
                    if let Some(inner) = open.last_mut() {
                        inner.element = Element::Other;
                    }
                }
            }
            before = c;
        }
    }
}

impl Open<'_> {
    fn end_element(&mut self) {
        let element = std::mem::take(&mut self.element);
        if let (Some(texts), Element::Text(at, text)) = (&mut self.texts, element) {
            texts.push((at, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let types = BTreeSet::from(["deb".to_owned(), "rpm".to_owned()]);
        let lists = lists(text, &types);
        let shown = |list: &List<'_>| {
            let texts: Vec<&str> = list.texts.iter().map(|(_, text)| *text).collect();
            format!("{}: {}", list.name, texts.join(" "))
        };
        lists.iter().map(shown).collect()
    }

    #[test]
    fn lists_are_found_in_both_languages() {
        for (text, expected) in [
            ("{% set a_packages = ['b', \"a\"] %}", &["a_packages: b a"][..]),
            ("{% set a_packages = a_packages + [\n'b',\n] %}", &["a_packages: b"]),
            ("{% set a_packages = ['b'] + ['a'] %}", &["a_packages: b", "a_packages: a"]),
            ("{% set a_packages = ['b' ~ c, 'a'] %}", &["a_packages: a"]),
            ("{% set names = ['b', 'a'] %}", &[]),
            ("{# a_packages = ['b'] #}", &[]),
            ("{% if a_packages == ['b'] %}", &[]),
            ("{{ <x packages={[\"a\"]} deb={[\"c\", \"b\"]} /> }}", &["packages: a", "deb: c b"]),
            (
                "{{ <x packages={[\"a\", ...([\"z\"] if c else []), \"b\"]} list=\"l\" /> }}",
                &["packages: z", "packages: ", "packages: a b"],
            ),
            ("{% set a_packages = b['c'] %}", &[]),
            (
                "{% set a_packages = [c] if d in ['b', 'a'] else ['e'] %}",
                &["a_packages: ", "a_packages: e"],
            ),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn the_case_of_letters_is_up_to_the_list() {
        for (texts, expected) in [
            (["a", "B", "c"], 0),
            (["B", "a", "c"], 0),
            (["a", "c", "B"], 1),
            (["b", "/a", "c"], 0),
            (["a", "b", "b"], 1),
        ] {
            let list = List { name: "packages", texts: texts.map(|text| (0, text)).to_vec() };
            assert_eq!(remarks(&list).len(), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_list_that_never_ends_is_left_to_the_engine() {
        assert_eq!(found("{% set a_packages = ['b', "), [""; 0]);
        assert_eq!(found("{% set a_packages = ['b"), [""; 0]);
        assert_eq!(found("a_packages = )"), [""; 0]);
    }
}
