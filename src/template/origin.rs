//! Maps a line of rendered text to the line of the template that it comes from.
//!
//! Neither engine reports this, so it is derived from the two texts. A rendered line comes from the
//! template's line with the same text, or from one that could have produced it: a line whose text
//! outside of its tags occurs in the rendered line, in that order. A line for which there is
//! neither (a line of a component or of a loop) gets the origin of the lines before it.

/// Returns the line of `template` that line `line` of `rendered` comes from; both count from 1.
///
/// The result is a best guess. It is never outside of the template and never after the next line
/// whose origin is certain.
pub fn origin_line(template: &str, rendered: &str, line: usize) -> usize {
    let sought: Vec<Sought> = sought(template);
    let rendered: Vec<&str> = rendered.lines().map(str::trim).collect();
    let certain: Vec<Option<usize>> =
        rendered.iter().map(|text| the_only(verbatim(&sought, text))).collect();
    let mut origin = 1;
    for (index, text) in rendered.iter().enumerate().take(line) {
        if let Some(found) = certain[index] {
            origin = found;
            continue;
        }
        if text.is_empty() {
            // All empty lines are equal: one comes from the empty line that follows the last
            // origin, if there is one; otherwise a tag produced it.
            origin += usize::from(sought.get(origin).is_some_and(|next| next.text.is_empty()));
            continue;
        }
        let next = certain[index + 1..].iter().flatten().find(|next| **next > origin);
        let end = next.copied().unwrap_or(usize::MAX);
        let within = |found: &usize| *found > origin && *found < end;
        let found = verbatim(&sought, text)
            .find(within)
            .or_else(|| possible(&sought, text).find(|found| *found == 1 || within(found)));
        origin = found.unwrap_or(origin);
    }
    origin
}

/// Line of a template.
struct Sought<'a> {
    /// The whole line, trimmed.
    text: &'a str,
    /// Parts of the line that are outside of tags, in order.
    pieces: Vec<&'a str>,
}

/// Returns the lines, counted from 1, that are equal to `text`.
fn verbatim<'a>(sought: &'a [Sought<'_>], text: &'a str) -> impl Iterator<Item = usize> + 'a {
    let same = move |line: &Sought<'_>| !text.is_empty() && line.text == text;
    sought.iter().enumerate().filter(move |(_, line)| same(line)).map(|(index, _)| index + 1)
}

/// Returns the lines, counted from 1, that `text` can have been rendered from.
fn possible<'a>(sought: &'a [Sought<'_>], text: &'a str) -> impl Iterator<Item = usize> + 'a {
    let fits = move |line: &Sought<'_>| fits(&line.pieces, text);
    sought.iter().enumerate().filter(move |(_, line)| fits(line)).map(|(index, _)| index + 1)
}

fn the_only(mut found: impl Iterator<Item = usize>) -> Option<usize> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Returns true if `text` consists of the pieces, in order, with anything between them: it begins
/// with the first and ends with the last. Pieces without a letter or digit match nothing.
fn fits(pieces: &[&str], text: &str) -> bool {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    let has_word = |piece: &&str| piece.chars().any(char::is_alphanumeric);
    if !pieces.iter().any(has_word) || !text.starts_with(first.trim_start()) {
        return false;
    }
    let mut rest = text;
    for piece in pieces {
        let Some(at) = rest.find(piece.trim()) else { return false };
        rest = &rest[at + piece.trim().len()..];
    }
    text.ends_with(last.trim())
}

/// Tags of both languages, each with its end.
const TAGS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];

/// Splits a template into lines.
fn sought(template: &str) -> Vec<Sought<'_>> {
    let mut open = None;
    let line = |text| Sought { text: str::trim(text), pieces: outside_of_tags(text, &mut open) };
    template.lines().map(line).collect()
}

/// Returns the parts of a line that are outside of tags. `open` is the end mark of the tag that the
/// line begins in, and is set to that of the tag that it ends in.
fn outside_of_tags<'a>(line: &'a str, open: &mut Option<&'static str>) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = line.trim();
    loop {
        if let Some(end) = *open {
            // A line that begins with a tag has an empty piece before it.
            if pieces.is_empty() {
                pieces.push("");
            }
            let Some(at) = rest.find(end) else {
                pieces.push("");
                return pieces;
            };
            rest = &rest[at + end.len()..];
            *open = None;
        }
        let begins = TAGS.iter().filter_map(|(begin, end)| Some((rest.find(begin)?, *end))).min();
        let Some((at, end)) = begins else {
            pieces.push(rest);
            return pieces;
        };
        pieces.push(&rest[..at]);
        rest = &rest[at + 2..];
        *open = Some(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}
{{ <labels /> }}

{#- A remark
RUN not this -#}
{% if install_type == "binary" -%}
RUN {{ <install_packages rpm={["one"]} deb={[
    "two",
]} /> }} \
    && true
{%- else -%}
COPY sudoers /etc/sudoers.d/app

{% for name in names %}
RUN install {{ name }} \
    && true
{% endfor %}
{%- endif %}
USER app
USER app
COPY run.sh /run.sh
"#;

    const RENDERED: &str = "FROM kolla/one-binary-base:t
LABEL maintainer=\"me\" \\
    name=\"app\"

RUN apt-get update \\
    && apt-get install -y \\
        two \\
    && true
USER app
USER app
COPY run.sh /run.sh
";

    const OTHER: &str = "FROM kolla/one-source-base:t

COPY sudoers /etc/sudoers.d/app

RUN install a \\
    && true
RUN install b \\
    && true
USER app
COPY run.sh /run.sh
";

    #[track_caller]
    fn assert_origins(template: &str, rendered: &str, expected: &[usize]) {
        let lines = 1..=rendered.lines().count();
        let found: Vec<usize> = lines.map(|line| origin_line(template, rendered, line)).collect();
        assert_eq!(found, expected, "{rendered}");
    }

    #[test]
    fn lines_come_from_those_of_the_same_text_and_those_that_make_them() {
        assert_origins(TEMPLATE, RENDERED, &[1, 1, 1, 1, 7, 7, 7, 10, 19, 20, 21]);
        assert_origins(TEMPLATE, OTHER, &[1, 1, 12, 13, 15, 16, 16, 16, 19, 21]);
    }

    #[test]
    fn a_template_without_tags_is_its_own_origin() {
        let text = "FROM a\nRUN b\n\nRUN b\nRUN c";
        assert_origins(text, text, &[1, 2, 3, 4, 5]);
    }

    #[test]
    fn nothing_leads_out_of_a_template() {
        for (template, rendered, line) in
            [("", "", 1), ("", "FROM a\nRUN b\n", 2), ("FROM a\n", "FROM a\n", 9), ("{{", "x", 1)]
        {
            assert_eq!(origin_line(template, rendered, line), 1, "{template:?} {rendered:?}");
        }
    }

    #[test]
    fn a_line_fits_where_all_its_text_is() {
        for (template, text, expected) in [
            ("a {{ x }} b", "a 1 b", true),
            ("a {{ x }} b", "a 1 c", false),
            ("{{ x }}", "a", false),
            ("{{ x }} \\", "a \\", false),
            ("{{ x }} b", "a b", true),
            ("a{{ x }}", "ab", true),
            ("a", "ab", false),
            ("{{ x }} a", "a", true),
            ("RUN {{ <x", "RUN b", true),
            ("RUN {{ <x", "USER b", false),
        ] {
            let sought = sought(template);
            let fits = sought.iter().any(|line| line.text == text || fits(&line.pieces, text));
            assert_eq!(fits, expected, "{template} {text}");
        }
    }
}
