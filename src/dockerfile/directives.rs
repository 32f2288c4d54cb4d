//! Parser directives: comments at the top of a Dockerfile such as `# escape=`, which say how it is
//! read.

/// Names of directives. Any other comment ends them.
const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// White space within a directive.
const BLANKS: [char; 5] = ['\t', '\n', '\x0c', '\r', ' '];

/// Reader of the lines at the top of a file.
#[derive(Debug)]
pub(super) struct Directives {
    /// Names that were read so far.
    seen: Vec<&'static str>,
    is_done: bool,
    /// Escape character; a backslash by default.
    pub(super) escape: char,
    /// Frontend that reads the file, if it names one.
    pub(super) syntax: Option<String>,
}

impl Directives {
    pub(super) fn new() -> Self {
        Self { seen: Vec::new(), is_done: false, escape: '\\', syntax: None }
    }

    /// Reads the next line, without the white space before it and its end.
    ///
    /// # Errors
    /// When the line is a directive for the second time, or sets an invalid escape character; the
    /// message is returned.
    pub(super) fn read_line(&mut self, line: &str) -> Result<(), String> {
        if self.is_done {
            return Ok(());
        }
        let Some((name, value)) = directive(line) else {
            self.is_done = true;
            return Ok(());
        };
        if self.seen.contains(&name) {
            return Err(format!("there are two '{name}' directives"));
        }
        self.seen.push(name);
        match (name, value) {
            ("escape", "`") => self.escape = '`',
            ("escape", "\\") => self.escape = '\\',
            ("escape", other) => {
                return Err(format!("the escape character '{other}' is neither ` nor \\"));
            }
            // Words behind the frontend are arguments of it.
            ("syntax", value) => self.syntax = value.split_whitespace().next().map(str::to_owned),
            _ => {}
        }
        Ok(())
    }
}

/// Returns the name and the value of a directive; `None` if the line is none.
fn directive(line: &str) -> Option<(&'static str, &str)> {
    let (key, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
    let key = key.trim_end_matches(BLANKS);
    let name = NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(key))?;
    let trimmed = value.trim_matches(BLANKS);
    // A value of white space alone is its last character.
    let blank = value.char_indices().last().map(|(at, _)| &value[at..]);
    if trimmed.is_empty() { Some((name, blank?)) } else { Some((name, trimmed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_end_at_the_first_other_line() {
        let table: &[(&[&str], Result<char, &str>)] = &[
            (&["# escape=`"], Ok('`')),
            (&["#ESCAPE =  ` "], Ok('`')),
            (&["# syntax=a/b:1 with words", "#check=skip=all", "# escape=`"], Ok('`')),
            (&["# escape=\\"], Ok('\\')),
            (&["# a remark", "# escape=`"], Ok('\\')),
            (&["", "# escape=`"], Ok('\\')),
            (&["# unknown=1", "# escape=`"], Ok('\\')),
            (&["# escape", "# escape=`"], Ok('\\')),
            (&["# escape=x"], Err("the escape character 'x' is neither ` nor \\")),
            (&["# escape= "], Err("the escape character ' ' is neither ` nor \\")),
            (&["# escape="], Ok('\\')),
            (&["# escape=`", "# escape=`"], Err("there are two 'escape' directives")),
            (&["# syntax=a", "# Syntax=b"], Err("there are two 'syntax' directives")),
        ];
        for (lines, expected) in table {
            let mut directives = Directives::new();
            let read: Result<Vec<()>, String> =
                lines.iter().map(|line| directives.read_line(line)).collect();
            let read = read.map(|_| directives.escape);
            assert_eq!(read.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
        }
    }
}
