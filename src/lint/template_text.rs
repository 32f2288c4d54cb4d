//! Text of templates without the parts that are no code of theirs.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::dockerfile::{HereDocument, Instruction, instructions};

/// Character in place of each byte that is left out.
pub(super) const HOLE: char = '\0';

static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}").expect("a literal"));

/// Returns the text without the bodies of the here-documents of some instructions. Tags in them are
/// kept. All that is kept is on its line and at its byte.
pub(super) fn without_documents(
    text: &str,
    is_left_out: impl Fn(&Instruction<'_>) -> bool,
) -> Cow<'_, str> {
    if !text.contains("<<") {
        return Cow::Borrowed(text);
    }
    let tags: Vec<Range<usize>> = TAG.find_iter(text).map(|found| found.range()).collect();
    let mut bare = text.to_owned().into_bytes();
    for tag in &tags {
        bare[tag.clone()].fill(b' ');
    }
    let bare = String::from_utf8(bare).expect("whole characters are replaced");
    let mut kept = text.to_owned().into_bytes();
    for instruction in instructions(&bare).iter().filter(|one| is_left_out(one)) {
        for span in instruction.documents().iter().map(HereDocument::span) {
            let first = tags.partition_point(|tag| tag.end <= span.start);
            let mut inner = tags[first..].iter().peekable();
            for at in span {
                while inner.next_if(|tag| tag.end <= at).is_some() {}
                let is_tag = inner.peek().is_some_and(|tag| tag.contains(&at));
                if !is_tag && kept[at] != b'\n' {
                    kept[at] = HOLE as u8;
                }
            }
        }
    }
    Cow::Owned(String::from_utf8(kept).expect("whole characters are replaced"))
}

/// Returns true for an instruction whose here-documents are files of the image.
pub(super) fn writes_files(instruction: &Instruction<'_>) -> bool {
    instruction.is("COPY") || instruction.is("ADD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_here_documents_are_left_out() {
        for (text, expected) in [
            ("COPY <<E /x\nab \nE\nUSER a\n", "COPY <<E /x\n...\nE\nUSER a\n"),
            ("COPY <<E /x\nä{{ b }}c\nE\n", "COPY <<E /x\n..{{ b }}.\nE\n"),
            ("ADD <<-\"E\" /x\n\ta\n\tE\nRUN b\n", "ADD <<-\"E\" /x\n..\n\tE\nRUN b\n"),
            (
                "{% if a %}COPY <<E /x\na\nE\n{% endif %}",
                "{% if a %}COPY <<E /x\n.\nE\n{% endif %}",
            ),
            ("RUN <<E\na\nE\nCOPY <<E /x\na\nE\n", "RUN <<E\na\nE\nCOPY <<E /x\n.\nE\n"),
            ("{% set a = [\n'<<E'\n] %}\nb\n", "{% set a = [\n'<<E'\n] %}\nb\n"),
            ("COPY <<E /x\nwithout an end\n", "COPY <<E /x\nwithout an end\n"),
        ] {
            let left = without_documents(text, writes_files);
            assert_eq!(left.replace(HOLE, "."), expected, "{text}");
        }
    }
}
