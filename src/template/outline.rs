//! Reads the structure of a template from its tags: the template that it extends, its blocks, and
//! the definitions and variables outside of them. Tera and Jinja2 share these tags.
//!
//! Neither engine exposes its syntax tree, so the tags are found here: outside of comments and
//! `raw`, with end marks inside of strings ignored. The engines decide if a template is valid.

use std::ops::Range;

/// Structure of a template.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// First tag `extends`; `None` if there is none.
    pub(super) extends: Option<Extends>,
    /// Blocks that are in no other block, in order.
    pub(super) blocks: Vec<Block>,
    /// Components or macros.
    pub(super) definitions: Vec<Range<usize>>,
    /// Variables that are set outside of blocks and definitions, in order.
    pub(super) sets: Vec<Set>,
}

/// Tag `extends`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extends {
    /// Bytes of the tag.
    pub(super) span: Range<usize>,
    /// Text after the word `extends`.
    pub(super) parent: String,
}

/// Block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) name: String,
    /// Bytes from the first tag to the end of the last.
    pub(super) span: Range<usize>,
    /// Names of the blocks inside of this one.
    pub(super) inner: Vec<String>,
}

/// Tag `set`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    /// True if the tag is in an `if` or a `for`, so that it may not be executed.
    pub(super) conditional: bool,
}

impl Outline {
    /// Reads the tags of a template.
    pub(super) fn of(text: &str) -> Self {
        let mut outline = Self::default();
        let mut open: Vec<Tag<'_>> = Vec::new();
        let mut inner = Vec::new();
        let mut conditions = 0usize;
        for tag in tags(text) {
            match tag.word {
                "block" | "component" | "macro" => {
                    if tag.word == "block" && open.first().is_some_and(|tag| tag.word == "block") {
                        inner.push(tag.name().to_owned());
                    }
                    open.push(tag);
                }
                "endblock" | "endcomponent" | "endmacro" => {
                    let opening = open.pop().filter(|_| open.is_empty());
                    if let Some(opening) = opening {
                        outline.close(&opening, tag.span.end, std::mem::take(&mut inner));
                    }
                }
                _ if !open.is_empty() => {}
                "extends" => {
                    let parent = tag.argument.to_owned();
                    outline.extends.get_or_insert(Extends { span: tag.span, parent });
                }
                "set" | "set_global" => {
                    let name = tag.name().to_owned();
                    outline.sets.push(Set { name, span: tag.span, conditional: conditions > 0 });
                }
                "if" | "for" => conditions += 1,
                "endif" | "endfor" => conditions = conditions.saturating_sub(1),
                _ => {}
            }
        }
        outline
    }

    fn close(&mut self, opening: &Tag<'_>, end: usize, inner: Vec<String>) {
        let span = opening.span.start..end;
        if opening.word == "block" {
            self.blocks.push(Block { name: opening.name().to_owned(), span, inner });
        } else {
            self.definitions.push(span);
        }
    }

    /// Returns the names of all blocks.
    pub(super) fn block_names(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().flat_map(Block::names)
    }
}

impl Block {
    /// Returns the name of the block, followed by those of the blocks inside of it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.inner).map(String::as_str)
    }
}

/// Replaces everything in `spans` with spaces, so that the rest of `text` keeps its lines and
/// columns.
pub(super) fn blanked<'a>(text: &str, spans: impl IntoIterator<Item = &'a Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in &mut bytes[span.clone()] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(bytes).expect("tags begin and end with ASCII")
}

/// Returns the ranges of `text` that are outside of `spans`, which are in order.
pub(super) fn all_but<'a>(
    text: &str,
    spans: impl IntoIterator<Item = &'a Range<usize>>,
) -> Vec<Range<usize>> {
    let mut others = Vec::new();
    let mut start = 0;
    for span in spans {
        others.push(start..span.start);
        start = span.end;
    }
    others.push(start..text.len());
    others
}

/// Returns the bytes of a template's first tag `word`; `None` if there is none.
pub(super) fn first_tag(text: &str, word: &str) -> Option<Range<usize>> {
    tags(text).into_iter().find(|tag| tag.word == word).map(|tag| tag.span)
}

/// Tag `{% word argument %}`.
struct Tag<'a> {
    span: Range<usize>,
    word: &'a str,
    argument: &'a str,
}

impl<'a> Tag<'a> {
    fn at(text: &'a str, span: Range<usize>) -> Self {
        let code = &text[span.start + 2..span.end];
        let code = code.strip_suffix("%}").unwrap_or(code);
        let code = code.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let word = identifier(code);
        Self { span, word, argument: code[word.len()..].trim() }
    }

    fn name(&self) -> &'a str {
        identifier(self.argument)
    }
}

/// Returns the identifier that `text` begins with.
fn identifier(text: &str) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    &text[..text.find(|c| !is_part(c)).unwrap_or(text.len())]
}

/// Returns all tags of a template but `raw` and `endraw`.
fn tags(text: &str) -> Vec<Tag<'_>> {
    codes(text)
        .filter(|span| text[span.clone()].starts_with("{%"))
        .map(|span| Tag::at(text, span))
        .collect()
}

/// Returns the bytes of each tag and expression of a template, but `raw` and `endraw`.
fn codes(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        loop {
            let start = position + text[position..].find('{')?;
            let mark = match text.as_bytes().get(start + 1) {
                Some(b'#') => {
                    position = past(text, start + 2, "#}");
                    continue;
                }
                Some(b'{') => "}}",
                Some(b'%') => "%}",
                _ => {
                    position = start + 1;
                    continue;
                }
            };
            position = past_code(text, start + 2, mark);
            let span = start..position;
            if mark == "%}" && begins_with_raw(&text[span.clone()]) {
                position = past_raw(text, position);
            } else {
                return Some(span);
            }
        }
    })
}

/// Returns true if this tag is `raw`.
fn begins_with_raw(tag: &str) -> bool {
    let code = tag[2..].trim_start_matches(['-', '+']).trim_start();
    code.starts_with("raw") && identifier(code) == "raw"
}

/// Largest number of operators of an expression, and of `elif` tags of a template: a hundred times
/// what real templates have. Engines recurse for each of them, and deep recursion would overflow
/// the stack.
const MOST_LINKS: usize = 500;

/// Refuses a template with more operators or `elif` tags than [`MOST_LINKS`]. The error is the
/// line, from 1, and the reason.
pub(super) fn check_depth(text: &str) -> Result<(), (usize, String)> {
    if links_at_most(text) <= MOST_LINKS {
        return Ok(());
    }
    let (mut alternatives, has_any) = (0, text.contains("elif"));
    for span in codes(text) {
        let code = &text[span.clone()];
        alternatives += usize::from(has_any && Tag::at(text, span.clone()).word == "elif");
        // A text of N bytes has at most N operators, so that short ones need no count.
        let what = if code.len() > MOST_LINKS && operators(code) > MOST_LINKS {
            format!("it has an expression of more than {MOST_LINKS} operators")
        } else if alternatives > MOST_LINKS {
            format!("it has more than {MOST_LINKS} elif tags")
        } else {
            continue;
        };
        return Err((1 + text[..span.start].matches('\n').count(), what));
    }
    Ok(())
}

/// Returns an upper bound for the operators and `elif` tags of a template, without finding its
/// tags: counts every character that is an operator somewhere, and every word that begins with the
/// letter of one.
fn links_at_most(text: &str) -> usize {
    let mut before = 0;
    let counted = text.bytes().map(|byte| {
        let kind = KINDS[usize::from(byte)];
        let begins_like_one = kind & FIRST != 0 && before & OF_WORD == 0;
        before = kind;
        usize::from(begins_like_one || kind & SIGN != 0)
    });
    counted.sum()
}

/// Bits for the kinds of a byte: an operator or the start of one, part of a word, first letter of a
/// word operator or of `elif`.
const SIGN: u8 = 1;
const OF_WORD: u8 = 2;
const FIRST: u8 = 4;

static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = kind(byte as u8);
        byte += 1;
    }
    kinds
};

const fn kind(byte: u8) -> u8 {
    match byte {
        b'+' | b'-' | b'*' | b'/' | b'%' | b'~' | b'|' | b'.' => SIGN,
        b'<' | b'>' | b'=' | b'!' | b'(' | b'[' | b'?' => SIGN,
        b'a' | b'e' | b'i' | b'n' | b'o' => FIRST | OF_WORD,
        b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => OF_WORD,
        _ => 0,
    }
}

/// Returns the number of operators in a tag or an expression, outside of strings.
fn operators(code: &str) -> usize {
    const WORDS: [&str; 7] = ["and", "else", "if", "in", "is", "not", "or"];
    let (mut count, mut quote, mut word) = (0, None, 0);
    let bytes = code.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        let byte = bytes[position];
        let kind = KINDS[usize::from(byte)];
        if quote.is_none() && kind & OF_WORD == 0 {
            count += usize::from(WORDS.iter().any(|one| one.as_bytes() == &bytes[word..position]));
            count += usize::from(kind & SIGN != 0);
            word = position + 1;
        }
        match (quote, byte) {
            (Some(_), b'\\') => position += 1,
            (Some(open), byte) if byte == open => {
                quote = None;
                word = position + 1;
            }
            (None, b'"' | b'\'' | b'`') => quote = Some(byte),
            _ => {}
        }
        position += 1;
    }
    count
}

/// Returns the end of the next `mark`, or that of the text.
fn past(text: &str, from: usize, mark: &str) -> usize {
    text[from..].find(mark).map_or(text.len(), |at| from + at + mark.len())
}

/// Returns the end of the next `mark` outside of quotes, or that of the text.
fn past_code(text: &str, from: usize, mark: &str) -> usize {
    let (bytes, first) = (text.as_bytes(), mark.as_bytes()[0]);
    let mut position = from;
    let is_of_interest = |byte: &u8| *byte == first || QUOTES.contains(byte);
    while let Some(next) = bytes[position..].iter().position(is_of_interest) {
        position += next;
        if bytes[position] != first {
            position = past_quoted(bytes, position);
        } else if bytes[position..].starts_with(mark.as_bytes()) {
            return position + mark.len();
        } else {
            position += 1;
        }
    }
    text.len()
}

/// Quotes of strings.
const QUOTES: [u8; 3] = [b'"', b'\'', b'`'];

/// Returns the end of the string whose quote opens at `from`, or that of the text.
fn past_quoted(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    let mut position = from + 1;
    while let Some(next) = bytes[position..].iter().position(|b| *b == quote || *b == b'\\') {
        position += next;
        if bytes[position] == quote {
            return position + 1;
        }
        position = (position + 2).min(bytes.len());
    }
    bytes.len()
}

/// Returns the end of the next `endraw`, or that of the text.
fn past_raw(text: &str, from: usize) -> usize {
    let mut position = from;
    while let Some(tag) = text[position..].find("{%") {
        let start = position + tag;
        let end = past(text, start, "%}");
        if end == text.len() || Tag::at(text, start..end).word == "endraw" {
            return end;
        }
        position = start + 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        tags(text).iter().map(|tag| format!("{}:{}", tag.word, tag.argument)).collect()
    }

    #[test]
    fn tags_are_found_where_they_count() {
        let table: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("a { b {", &[]),
            ("{% block a %}{%- endblock a -%}", &["block:a", "endblock:a"]),
            ("{%+set x = [1] +%}", &["set:x = [1]"]),
            ("{# {% block a %} #}{% if b %}", &["if:b"]),
            ("{{ '{% block a %}' }}{% if b %}", &["if:b"]),
            ("{{ '}} {% no %}' }}{% set a = '%}' %}x", &["set:a = '%}'"]),
            (r#"{% set a = "\" %}" %}{% b %}"#, &[r#"set:a = "\" %}""#, "b:"]),
            ("{% raw %}{% block a %}{# {%- endraw -%}{% b %}", &["b:"]),
            ("{% raw %}{% block a %}", &[]),
            ("é{% block ü %}é", &["block:ü"]),
            ("{% unclosed é", &["unclosed:é"]),
        ];
        for (text, expected) in table {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn operators_are_counted_outside_of_texts() {
        let table = [
            ("{{ a }}", 0),
            ("{{ a + b.c }}", 2),
            ("{{ not a and 'not b + \\' c' or d }}", 3),
            ("{% if notable is in_order %}", 4),
            ("{{ a['x'](1)|y }}", 3),
            ("{% set a = ['b', \"c-d\", 'e.f'] %}", 4),
        ];
        for (code, expected) in table {
            assert_eq!(operators(code), expected, "{code}");
        }
    }

    #[test]
    fn expression_of_too_many_parts_is_reported_with_its_line() {
        let long = |count: usize| format!("a\n{{{{ 1{} }}}}", " + 1".repeat(count));
        assert_eq!(check_depth(&long(500)), Ok(()));
        let what = "it has an expression of more than 500 operators".to_owned();
        assert_eq!(check_depth(&long(501)), Err((2, what)));
        let many = |count: usize| format!("{{% if 0 %}}{}", "\n{% elif 0 %}".repeat(count));
        assert_eq!(check_depth(&many(500)), Ok(()));
        assert_eq!(
            check_depth(&many(501)),
            Err((502, "it has more than 500 elif tags".to_owned()))
        );
        let list = format!("{{% set a = [{}] %}}", "'b-c.d', ".repeat(10_000));
        assert_eq!(check_depth(&list), Ok(()));
        assert_eq!(check_depth(&format!("{{% raw %}}{}", long(501))), Ok(()));
    }

    #[test]
    fn a_template_has_no_more_links_than_it_can_have() {
        let words = "and else if in is not or";
        let signs = "+-*/%~|.<>=!([?";
        for text in [words, signs, "'a'in(b)or[c]", "a.b|c(d)", "x if y else 'z'is not w"] {
            assert!(links_at_most(text) >= operators(&format!("{text} ")), "{text}");
        }
        assert_eq!(links_at_most("{% elif %}\n{%- elif x -%}"), 2 + 6);
        assert_eq!(links_at_most("_in xor RUN 1if"), 0);
    }

    #[test]
    fn the_outline_has_what_is_outermost() {
        let text = "{% extends parent_template %}\n\
                    {% set a = 1 %}{% if b %}{% set c %}x{% endset %}{% endif %}\n\
                    {% block d %}{% set no = 1 %}{% block e %}{% endblock %}{% endblock d %}\n\
                    {% component f() %}{% set no = 1 %}{% endcomponent f %}{% set_global g = 1 %}";
        let outline = Outline::of(text);
        assert_eq!(outline.extends.as_ref().unwrap().parent, "parent_template");
        let sets: Vec<_> =
            outline.sets.iter().map(|set| (set.name.as_str(), set.conditional)).collect();
        assert_eq!(sets, [("a", false), ("c", true), ("g", false)]);
        let [block] = &outline.blocks[..] else { panic!("{outline:?}") };
        assert_eq!(block.names().collect::<Vec<_>>(), ["d", "e"]);
        assert_eq!(
            &text[block.span.clone()],
            "{% block d %}{% set no = 1 %}{% block e %}{% endblock %}{% endblock d %}"
        );
        let [definition] = &outline.definitions[..] else { panic!("{outline:?}") };
        assert!(text[definition.clone()].starts_with("{% component f() %}"));
    }

    #[test]
    fn unclosed_tag_is_no_block() {
        assert_eq!(Outline::of("{% block a %}").blocks, []);
        assert_eq!(Outline::of("{% endblock %}{% block a %}{% endblock %}").blocks.len(), 1);
    }

    #[test]
    fn blanking_keeps_positions() {
        let text = "a{% é\n %}b";
        assert_eq!(blanked(text, [&(1..text.len() - 1)]), "a     \n   b");
        assert_eq!(blanked(text, []), text);
        assert_eq!(all_but("abcdef", &[1..2, 4..5]), [0..1, 2..4, 5..6]);
    }
}
