//! Inserts a user's instructions into a Dockerfile, at the start of the image and at its end.
//!
//! The start is after the last `FROM` and the labels that follow it; everything before that belongs
//! to stages that the image only copies from. The end is before the instructions that say how a
//! container runs (`USER`, `CMD`, `ENTRYPOINT`) and those that only set metadata among them, so that
//! the inserted instructions run as the user that builds the image.
//!
//! A build argument in each stage makes the builders repeat its instructions when the value changes:
//! all of them make a declared argument a part of the key of each later `RUN`, used or not. A label
//! is none for BuildKit, nor is an argument that the Dockerfile does not declare for any builder;
//! a variable of `ENV` would stay in the image.

use super::instruction::Instruction;
use super::lines::instructions;

/// Returns a Dockerfile with `header` inserted at its start and `footer` at its end. A blank one
/// changes nothing.
pub fn insert(text: &str, header: &str, footer: &str) -> String {
    let found = instructions(text);
    let end = end_of_image(text, &found);
    let start = start_of_image(&found).min(end);
    let mut whole =
        joined(&text[..start], header, &joined(&text[start..end], footer, &text[end..]));
    if text.ends_with('\n') && !whole.ends_with('\n') {
        whole.push('\n');
    }
    whole
}

/// Build argument that contains the period of a refresh.
const REFRESH: &str = "KILN_REFRESH";

/// Returns a Dockerfile whose instructions are executed again in each `period`, whatever the build
/// cache contains.
pub fn refreshed(text: &str, period: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = 0;
    for from in instructions(text).iter().filter(|one| one.is("FROM")) {
        let end = from.lines().end;
        whole.push_str(&text[rest..end]);
        if !whole.ends_with('\n') {
            whole.push('\n');
        }
        whole.push_str(&format!("ARG {REFRESH}={period}\n"));
        rest = end;
    }
    whole + &text[rest..]
}

/// Joins `before`, `added` and `after` with blank lines; a blank `added` is left out.
fn joined(before: &str, added: &str, after: &str) -> String {
    let added = added.trim();
    if added.is_empty() {
        let ends = before.is_empty() || before.ends_with('\n') || after.is_empty();
        return format!("{before}{}{after}", if ends { "" } else { "\n\n" });
    }
    let before_it = match before.trim_end() {
        "" => before.to_owned(),
        lines => format!("{lines}\n\n"),
    };
    let after_it = match after.trim_start_matches('\n') {
        "" => String::new(),
        lines => format!("\n\n{lines}"),
    };
    format!("{before_it}{added}{after_it}")
}

fn start_of_image(found: &[Instruction<'_>]) -> usize {
    let Some(from) = found.iter().rposition(|one| one.is("FROM")) else { return 0 };
    let labels = found[from + 1..].iter().take_while(|one| one.is("LABEL")).count();
    found[from + labels].lines().end
}

/// Instructions that say how a container runs, before which the end of an image is.
const WAYS_TO_RUN: [&str; 3] = ["USER", "CMD", "ENTRYPOINT"];

/// Instructions that set metadata alone. They may stand between the ways to run.
const METADATA: [&str; 9] = [
    "ARG",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "STOPSIGNAL",
    "VOLUME",
    "WORKDIR",
];

/// Returns the byte before the first of the closing ways to run: those that no instruction follows
/// which changes files or the shell.
fn end_of_image(text: &str, found: &[Instruction<'_>]) -> usize {
    let is_one_of = |one: &Instruction<'_>, words: &[&str]| words.iter().any(|word| one.is(word));
    let closing = found
        .iter()
        .rev()
        .take_while(|one| is_one_of(one, &WAYS_TO_RUN) || is_one_of(one, &METADATA));
    let first = closing.filter(|one| is_one_of(one, &WAYS_TO_RUN)).last();
    first.map_or(text.len(), |one| one.lines().start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_go_where_the_image_starts_and_ends() {
        let table = [
            (
                "FROM a\nLABEL b\n\nRUN c\n\nUSER d\n",
                "FROM a\nLABEL b\n\nH\n\nRUN c\n\nF\n\nUSER d\n",
            ),
            ("FROM a", "FROM a\n\nH\n\nF"),
            ("FROM a\n", "FROM a\n\nH\n\nF\n"),
            ("FROM a\nUSER b", "FROM a\n\nH\n\nF\n\nUSER b"),
            ("FROM a\nLABEL b \\\n    c\nRUN d", "FROM a\nLABEL b \\\n    c\n\nH\n\nRUN d\n\nF"),
            ("FROM a\nRUN b\nLABEL c", "FROM a\n\nH\n\nRUN b\nLABEL c\n\nF"),
            ("FROM a AS b\nRUN c\nFROM d\nRUN e", "FROM a AS b\nRUN c\nFROM d\n\nH\n\nRUN e\n\nF"),
            (
                "FROM a\nUSER b\nRUN c\nEntrypoint d\ncmd e",
                "FROM a\n\nH\n\nUSER b\nRUN c\n\nF\n\nEntrypoint d\ncmd e",
            ),
            (
                "FROM a\nUSER b\nEXPOSE 1\nWORKDIR /c\nHEALTHCHECK CMD d\nCMD e\n",
                "FROM a\n\nH\n\nF\n\nUSER b\nEXPOSE 1\nWORKDIR /c\nHEALTHCHECK CMD d\nCMD e\n",
            ),
            (
                "FROM a\nRUN b\nLABEL c=d\nUSER e\nVOLUME /f\nSTOPSIGNAL 2\nENV g=h\nARG i\nLABEL j=k",
                "FROM a\n\nH\n\nRUN b\nLABEL c=d\n\nF\n\nUSER e\nVOLUME /f\nSTOPSIGNAL 2\nENV g=h\nARG i\nLABEL j=k",
            ),
            (
                "FROM a\nUSER b\nCOPY c d\nUSER e\nWORKDIR /f\nUSER g\nSHELL [\"h\"]\nCMD i",
                "FROM a\n\nH\n\nUSER b\nCOPY c d\nUSER e\nWORKDIR /f\nUSER g\nSHELL [\"h\"]\n\nF\n\nCMD i",
            ),
            ("FROM a\nUSER b\nEXPOSE 1", "FROM a\n\nH\n\nF\n\nUSER b\nEXPOSE 1"),
            ("FROM a\nRUN <<EOF\nUSER b\nEOF\n", "FROM a\n\nH\n\nRUN <<EOF\nUSER b\nEOF\n\nF\n"),
        ];
        for (text, expected) in table {
            assert_eq!(insert(text, "\nH\n", " F\n"), expected, "{text}");
            assert_eq!(insert(text, "", "\n \n"), text);
        }
        assert_eq!(insert("FROM a", "", "F"), "FROM a\n\nF");
        assert_eq!(insert("FROM a\n  USER b", "", "F"), "FROM a\nF\n\n  USER b");
        assert_eq!(insert("FROM a\nUSER b\n", "H", ""), "FROM a\n\nH\n\nUSER b\n");
        assert_eq!(insert("FROM a\nUSER b\n", "", "F"), "FROM a\nF\n\nUSER b\n");
    }

    #[test]
    fn each_stage_begins_with_the_period() {
        let table = [
            ("FROM a\nRUN b\n", "FROM a\nARG KILN_REFRESH=p\nRUN b\n"),
            (
                "ARG a\nfrom $a as b\nRUN c\n# d\nFROM \\\n  scratch\nCOPY --from=b / /",
                "ARG a\nfrom $a as b\nARG KILN_REFRESH=p\nRUN c\n# d\nFROM \\\n  scratch\n\
                 ARG KILN_REFRESH=p\nCOPY --from=b / /",
            ),
            ("FROM a", "FROM a\nARG KILN_REFRESH=p\n"),
            (
                "FROM a\nRUN <<EOF\nFROM b\nEOF\n",
                "FROM a\nARG KILN_REFRESH=p\nRUN <<EOF\nFROM b\nEOF\n",
            ),
            ("RUN a\n", "RUN a\n"),
        ];
        for (text, expected) in table {
            assert_eq!(refreshed(text, "p"), expected, "{text}");
        }
    }

    #[test]
    fn invalid_dockerfile_is_left_to_the_engine() {
        assert_eq!(insert("", "", ""), "");
        assert_eq!(insert("RUN a", "H", "F"), "H\n\nRUN a\n\nF");
    }
}
