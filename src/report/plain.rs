//! Makes lines that programs wrote for terminals plain, for pages and files.

use std::iter::Peekable;
use std::str::Chars;

use crate::visible;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// Returns a line without colours, titles and cursor movements, and with all other hidden
/// characters escaped. If the line was overwritten after carriage returns, as progress bars do,
/// only the last text is kept.
pub fn plain(line: &str) -> String {
    visible::line(&without_sequences(line)).into_owned()
}

fn without_sequences(line: &str) -> String {
    let shown = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let mut text = String::with_capacity(shown.len());
    let mut rest = shown.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            ESCAPE => skip_sequence(&mut rest),
            '\t' | '\n' => text.push(char),
            _ if char.is_control() => {}
            _ => text.push(char),
        }
    }
    text
}

/// Skips the rest of an escape sequence, after its escape character.
fn skip_sequence(rest: &mut Peekable<Chars<'_>>) {
    match rest.next() {
        // Parameters, up to the final character.
        Some('[') => while rest.next().is_some_and(|char| !('@'..='~').contains(&char)) {},
        // A text for the terminal itself, up to a bell or another escape sequence.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(char) = rest.next() {
                if char == BELL || (char == ESCAPE && rest.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        // One more character, which names a character set.
        Some('(' | ')' | '#' | '%') => drop(rest.next()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn terminal_sequences_are_left_out() {
        for (line, expected) in [
            ("", ""),
            ("as it is\tso", "as it is\tso"),
            ("\u{1b}[1;31mred\u{1b}[0m and \u{1b}[38;5;12mblue\u{1b}[m", "red and blue"),
            ("\u{1b}]0;a title\u{7}text", "text"),
            ("\u{1b}]8;;http://h\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bset", "set"),
            ("\u{1b}Mup", "up"),
            ("cut \u{1b}[1;", "cut "),
            ("cut \u{1b}]0;never ends", "cut "),
            ("cut \u{1b}", "cut "),
            (" 10%\r 50%\r100%\r", "100%"),
            ("\0bell\u{7} and \u{9b}1m", "bell and 1m"),
            ("<b>\u{2028}é", "<b>\\u{2028}é"),
            ("nimda\u{202e}\u{200b}", "nimda\\u{202e}\\u{200b}"),
        ] {
            assert_eq!(plain(line), expected, "{line:?}");
        }
    }
}
