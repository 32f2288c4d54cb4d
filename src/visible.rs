//! Makes text of others safe to show: characters that a terminal interprets, that end a line, that
//! change the reading order or that are invisible are escaped.
//!
//! Pure functions of text. A character is escaped as `\u{1b}`, as in Rust and JavaScript; line ends
//! within a line as `\n` and `\r`. Tabs, blanks and every visible character are kept. Joiners and
//! variation selectors are kept next to a non-ASCII character that they shape, as in emoji and
//! Persian; next to an ASCII character they only hide something.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` as one line: line ends are escaped, too.
pub fn line(text: &str) -> Cow<'_, str> {
    spelled(text, false)
}

/// Returns `text` with hidden characters escaped and newlines kept; `\r\n` becomes one newline.
pub fn block(text: &str) -> Cow<'_, str> {
    spelled(text, true)
}

fn spelled(text: &str, keeps_newlines: bool) -> Cow<'_, str> {
    let is_newline = |byte: u8| keeps_newlines && byte == b'\n';
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t') || is_newline(byte);
    let Some(first_odd) = text.bytes().position(|byte| !is_plain(byte)) else { return text.into() };
    let mut shown = String::new();
    let mut copied = 0;
    let mut before = text[..first_odd].chars().next_back();
    let mut rest = text[first_odd..].char_indices().peekable();
    while let Some((offset, char)) = rest.next() {
        let at = first_odd + offset;
        let after = rest.peek().map(|(_, char)| *char);
        let ends_with_newline = keeps_newlines && char == '\r' && after == Some('\n');
        let is_kept =
            !is_hidden(char) || keeps_newlines && char == '\n' || is_shaping(before, char, after);
        if !is_kept {
            shown.push_str(&text[copied..at]);
            if !ends_with_newline {
                spell(char, &mut shown);
            }
            copied = at + char.len_utf8();
        }
        // An escape ends in ASCII, so nothing before the next character can be shaped.
        before = is_kept.then_some(char);
    }
    if copied == 0 {
        return text.into();
    }
    shown.push_str(&text[copied..]);
    shown.into()
}

fn spell(char: char, shown: &mut String) {
    match char {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        _ => write!(shown, "\\u{{{:x}}}", u32::from(char)).expect("a string takes all"),
    }
}

/// Returns true if a character is invisible or has an effect beyond its shape: control characters
/// except the tab, line and paragraph separators, direction marks, and all that Unicode counts as
/// default ignorable.
pub fn is_hidden(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_control() && char != '\t';
    }
    matches!(char,
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{70f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
    )
}

const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];
const SELECTORS: [char; 2] = ['\u{fe0e}', '\u{fe0f}'];

/// Returns true if a hidden character shapes one next to it. `before` is `None` after an escaped
/// character.
fn is_shaping(before: Option<char>, char: char, after: Option<char>) -> bool {
    let has_shape = |beside: Option<char>| {
        beside.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_hidden(c))
    };
    if SELECTORS.contains(&char) {
        return has_shape(before);
    }
    let is_selected = before.is_some_and(|before| SELECTORS.contains(&before));
    JOINERS.contains(&char) && (has_shape(before) || is_selected) && has_shape(after)
}

/// Characters that some reader of lines takes for the end of a line.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Returns the lines of `text`, whatever ends them. A lone carriage return ends a line, too, as
/// after each state of a progress bar; if nothing precedes it, there is no line.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some(at) = rest.find(LINE_ENDS) else { return Some(std::mem::take(&mut rest)) };
            let (line, ended) = rest.split_at(at);
            let is_return = ended.starts_with('\r');
            let behind = ended.trim_start_matches('\r');
            let end = if is_return { behind.strip_prefix('\n') } else { without_first(behind) };
            rest = end.unwrap_or(behind);
            if end.is_some() || !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

fn without_first(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

const ESCAPE: char = '\u{1b}';

/// Returns a line of a log without escape sequences that only colour it: those that choose colours
/// and fonts, and those that clear the rest of a line, which compilers write next to colours.
pub fn without_colours(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find(ESCAPE) {
        let at = from + found;
        from = at + ESCAPE.len_utf8();
        if let Some(length) = colouring(&text[from..]) {
            kept.push_str(&text[copied..at]);
            from += length;
            copied = from;
        }
    }
    if copied == 0 {
        return text.into();
    }
    kept.push_str(&text[copied..]);
    kept.into()
}

/// Returns the length in bytes of the colouring sequence that `text` begins with; `text` starts
/// after an escape character. `None` if it begins with no such sequence.
fn colouring(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix('[')?;
    let rest = parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':');
    matches!(rest.as_bytes().first()?, b'm' | b'K').then(|| text.len() - rest.len() + 1)
}

/// Returns `text`, cut after at most `most` bytes at a character boundary; a mark says how many
/// bytes are left out.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let kept = &text[..text.floor_char_boundary(most)];
    format!("{kept}… ({} bytes more)", text.len() - kept.len()).into()
}

/// Returns JSON equivalent to `json`, with hidden characters as JSON escapes. Newlines between its
/// parts are kept.
pub fn in_json(json: &str) -> Cow<'_, str> {
    let is_spelled = |char: char| is_hidden(char) && char != '\n';
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
    if json.bytes().all(is_plain) || !json.contains(is_spelled) {
        return json.into();
    }
    let mut shown = String::with_capacity(json.len());
    for char in json.chars() {
        if is_spelled(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("a string takes all");
            }
        } else {
            shown.push(char);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hidden_characters_are_spelled_out() {
        let table = [
            ("", ""),
            ("as it is\tso ~", "as it is\tso ~"),
            ("Grüße, 世界 ＃[", "Grüße, 世界 ＃["),
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("\u{1b}]52;c;cm0=\u{7}", "\\u{1b}]52;c;cm0=\\u{7}"),
            ("\u{9b}2J \u{9d}0;t\u{9c}", "\\u{9b}2J \\u{9d}0;t\\u{9c}"),
            ("a\0b\u{8}c\u{b}d\u{c}e\u{7f}", "a\\u{0}b\\u{8}c\\u{b}d\\u{c}e\\u{7f}"),
            ("one\ntwo\r\nthree\r", "one\\ntwo\\r\\nthree\\r"),
            ("a\u{85}b\u{2028}c\u{2029}", "a\\u{85}b\\u{2028}c\\u{2029}"),
            ("nimda\u{202e}admin\u{202c}", "nimda\\u{202e}admin\\u{202c}"),
            (
                "\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}",
                "\\u{61c}\\u{200e}\\u{200f}\\u{2066}\\u{2069}",
            ),
            ("de\u{200b}bi\u{ad}an\u{feff}\u{2060}", "de\\u{200b}bi\\u{ad}an\\u{feff}\\u{2060}"),
            ("tag\u{e0041}\u{e01ef}", "tag\\u{e0041}\\u{e01ef}"),
            ("\u{3164}\u{115f}\u{ffa0}", "\\u{3164}\\u{115f}\\u{ffa0}"),
            ("\u{fffe}\u{ffff}\u{fffd}", "\\u{fffe}\\u{ffff}\u{fffd}"),
        ];
        for (text, expected) in table {
            assert_eq!(line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn joiners_and_selectors_stay_where_they_shape_something() {
        let kept = ["👩\u{200d}🚀", "❤\u{fe0f}\u{200d}🔥", "⚠\u{fe0f} careful", "می\u{200c}خواهم"];
        for text in kept {
            assert!(matches!(line(text), Cow::Borrowed(_)), "{text:?}");
        }
        let table = [
            ("a\u{200d}b", "a\\u{200d}b"),
            ("é\u{200d}b", "é\\u{200d}b"),
            ("é\u{200d}\u{200d}é", "é\\u{200d}\\u{200d}é"),
            ("#\u{fe0f}#[", "#\\u{fe0f}#["),
            ("é\u{fe0f}\u{fe0f}", "é\u{fe0f}\\u{fe0f}"),
            ("\u{202e}\u{fe0f}", "\\u{202e}\\u{fe0f}"),
            ("é\u{fe00}", "é\\u{fe00}"),
        ];
        for (text, expected) in table {
            assert_eq!(line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_block_keeps_its_newlines() {
        let table = [
            ("a\nb\n", "a\nb\n"),
            ("a\r\nb\rc", "a\nb\\rc"),
            ("a\r\r\nb", "a\\r\nb"),
            ("a\u{2028}b\n", "a\\u{2028}b\n"),
        ];
        for (text, expected) in table {
            assert_eq!(block(text), expected, "{text:?}");
        }
        assert!(matches!(block("a\n\tb\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn every_line_end_ends_a_line() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("a", &["a"]),
            ("a\n\nb\n", &["a", "", "b"]),
            ("a\r\nb\r\r\nc", &["a", "b", "c"]),
            ("10%\r20%\r", &["10%", "20%"]),
            ("\r10%\r\r20%", &["10%", "20%"]),
            ("\r\n", &[""]),
            ("a\u{85}b\u{2028}c\u{2029}d", &["a", "b", "c", "d"]),
            ("a\u{b}b", &["a\u{b}b"]),
        ];
        for (text, expected) in table {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn colours_are_left_out_and_nothing_else_is() {
        let table = [
            ("plain", "plain"),
            ("\u{1b}[1;31mred\u{1b}[0m and \u{1b}[38:5:12mblue\u{1b}[m", "red and blue"),
            ("\u{1b}[01m\u{1b}[Kfile.c:1:\u{1b}[m\u{1b}[K note", "file.c:1: note"),
            ("\u{1b}[2Ka\u{1b}[1A", "a\u{1b}[1A"),
            ("\u{1b}\u{1b}[0m[31m", "\u{1b}[31m"),
            ("\u{1b}[?1049h", "\u{1b}[?1049h"),
            ("cut \u{1b}[1;", "cut \u{1b}[1;"),
            ("cut \u{1b}", "cut \u{1b}"),
        ];
        for (text, expected) in table {
            assert_eq!(without_colours(text), expected, "{text:?}");
        }
    }

    #[test]
    fn cut_text_is_marked() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcdef", 3), "abc… (3 bytes more)");
        assert_eq!(cut("aéb", 2), "a… (3 bytes more)");
    }

    #[test]
    fn json_means_the_same() {
        let texts = ["plain", "\u{9b}\u{202e}\u{e0041}é\u{7f}", "\u{1b}\n\"\\", "👩\u{200d}🚀"];
        for text in texts {
            let json = serde_json::to_string_pretty(&[text]).unwrap();
            let shown = in_json(&json);
            assert!(!shown.contains(|c| is_hidden(c) && c != '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_but_what_shapes(text in any::<String>()) {
            let shown = line(&text);
            let hidden = shown.chars().filter(|c| is_hidden(*c));
            let shaping = JOINERS.into_iter().chain(SELECTORS).collect::<Vec<_>>();
            prop_assert!(hidden.clone().all(|c| shaping.contains(&c)), "{:?}", shown);
            prop_assert_eq!(line(&shown), shown.clone());
            let lines: Vec<_> = lines(&text).map(str::to_owned).collect();
            prop_assert!(lines.iter().all(|line| !line.contains(LINE_ENDS)));
        }
    }
}
