//! Commands to continuous integration services, which read them from the lines of a job's output.
//! Text of others never becomes a command; Kiln's own commands are only made here.
//!
//! GitHub's runner reads a command from a line that begins with `::` after optional blanks, and
//! `##[command]` anywhere in a line (`src/Runner.Common/ActionCommand.cs` of actions/runner). Azure
//! Pipelines reads `##vso[...]`, TeamCity `##teamcity[...]`, GitLab `section_start:` and
//! `section_end:`. A blank is inserted into text that would be a command.

use std::borrow::Cow;
use std::fmt;

use crate::visible;

/// Service for continuous integration that keeps the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CiService {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
}

/// Prefix of GitHub's commands, at the start of a line.
const COMMAND: &str = "::";

/// Prefix of older commands, anywhere in a line; an optional word and a bracket follow.
const OLDER_COMMAND: &str = "##";

const SECTIONS: [&str; 2] = ["section_start:", "section_end:"];

/// Returns the line with a blank inserted into everything that a service would read as a command.
pub fn without_commands(line: &str) -> Cow<'_, str> {
    let mut breaks: Vec<usize> = Vec::new();
    let indent = line.len() - line.trim_start().len();
    if line[indent..].starts_with(COMMAND) {
        breaks.push(indent + 1);
    }
    breaks.extend(older_commands(line).map(|at| at + OLDER_COMMAND.len()));
    for section in SECTIONS {
        breaks.extend(line.match_indices(section).map(|(at, _)| at + section.len() - 1));
    }
    if breaks.is_empty() {
        return line.into();
    }
    breaks.sort_unstable();
    let mut broken = String::with_capacity(line.len() + breaks.len());
    let mut copied = 0;
    for at in breaks {
        broken.push_str(&line[copied..at]);
        broken.push(' ');
        copied = at;
    }
    broken.push_str(&line[copied..]);
    broken.into()
}

/// Returns the byte offset of each `##word[`, where the word may be empty.
fn older_commands(line: &str) -> impl Iterator<Item = usize> {
    let marks = line.as_bytes().windows(OLDER_COMMAND.len()).enumerate();
    let marks = marks.filter(|(_, bytes)| *bytes == OLDER_COMMAND.as_bytes()).map(|(at, _)| at);
    marks.filter(|at| {
        let word = &line[at + OLDER_COMMAND.len()..];
        word.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).starts_with('[')
    })
}

/// Returns JSON equivalent to `json` without any command, however it is broken into lines.
pub fn without_commands_in_json(json: &str) -> Cow<'_, str> {
    let mut ends: Vec<usize> =
        older_commands(json).filter_map(|at| Some(at + json[at..].find('[')?)).collect();
    for section in SECTIONS {
        ends.extend(json.match_indices(section).map(|(at, _)| at + section.len() - 1));
    }
    if ends.is_empty() {
        return json.into();
    }
    ends.sort_unstable();
    let mut broken = String::with_capacity(json.len());
    let mut copied = 0;
    for at in ends {
        broken.push_str(&json[copied..at]);
        broken.push_str(&format!("\\u{:04x}", json.as_bytes()[at]));
        copied = at + 1;
    }
    broken.push_str(&json[copied..]);
    broken.into()
}

/// A command of Kiln's own to a service. Names and messages in it are escaped as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    /// Returns a [workflow command](https://docs.github.com/actions/reference/workflow-commands-for-github-actions)
    /// of GitHub Actions.
    pub fn github(name: &'static str, properties: &[(&'static str, &str)], message: &str) -> Self {
        let properties: Vec<String> =
            properties.iter().map(|(key, value)| format!("{key}={}", property(value))).collect();
        let blank = if properties.is_empty() { "" } else { " " };
        Self(format!("::{name}{blank}{}::{}", properties.join(","), data(message)))
    }

    /// Returns the start of a
    /// [section](https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections) that GitLab
    /// folds; `at` is in seconds since 1970.
    pub fn gitlab_section(at: u64, name: &str, title: &str) -> Self {
        let title = visible::line(title);
        let (name, title) = (section_name(name), without_commands(&title));
        Self(format!("\x1b[0Ksection_start:{at}:{name}[collapsed=true]\r\x1b[0K{title}"))
    }

    /// Returns the end of the section of this name.
    pub fn gitlab_section_end(at: u64, name: &str) -> Self {
        Self(format!("\x1b[0Ksection_end:{at}:{}\r\x1b[0K", section_name(name)))
    }
}

/// Formats the command as a line of its own, without the newline.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns text escaped as the message of a workflow command.
fn data(text: &str) -> String {
    let lines: Vec<String> = visible::block(text)
        .split('\n')
        .map(|line| without_commands(line).replace('%', "%25"))
        .collect();
    lines.join("%0A")
}

/// Returns text escaped as the value of a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Returns a valid name of a section: everything but ASCII letters, digits, `_`, `.` and `-`
/// becomes `_`.
fn section_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_be_a_command_is_broken() {
        let table = [
            ("plain # text: [x]", "plain # text: [x]"),
            ("::set-output name=x::y", ": :set-output name=x::y"),
            (" \u{a0}\t::Error::y", " \u{a0}\t: :Error::y"),
            (":::", ": ::"),
            ("a ::notice::b", "a ::notice::b"),
            ("a ##[set-output name=x]y", "a ## [set-output name=x]y"),
            ("###[Group]##[error]", "### [Group]## [error]"),
            ("##vso[task.setvariable]x", "## vso[task.setvariable]x"),
            ("##teamcity[x] ## [y] ##a b[z]", "## teamcity[x] ## [y] ##a b[z]"),
            ("section_start:1:kiln_x", "section_start :1:kiln_x"),
            ("::section_end:1:x##[y]", ": :section_end :1:x## [y]"),
        ];
        for (line, expected) in table {
            assert_eq!(without_commands(line), expected);
            assert_eq!(without_commands(expected), expected);
        }
    }

    #[test]
    fn json_with_commands_means_the_same() {
        let texts = ["##[error]", "###vso[a", "section_end:1:x", "## [x] ##"];
        for text in texts {
            let json = serde_json::to_string(&[text, "##"]).unwrap();
            let broken = without_commands_in_json(&json);
            assert_eq!(without_commands(&broken), broken);
            assert_eq!(serde_json::from_str::<[String; 2]>(&broken).unwrap(), [text, "##"]);
        }
    }

    #[test]
    fn own_commands_hold_others_as_data() {
        let properties = [("file", "a,b/100%:x"), ("title", "a\n::b")];
        assert_eq!(
            Command::github("error", &properties, "1%\r\n::stop::x\u{1b}[2J##[y]").to_string(),
            "::error file=a%2Cb/100%25%3Ax,title=a%0A%3A %3Ab::1%25%0A: :stop::x\\u{1b}[2J## [y]"
        );
        assert_eq!(Command::github("endgroup", &[], "").to_string(), "::endgroup::");
        let hostile = "a:b\r\x1b[0Ksection_end:1:x";
        assert_eq!(
            Command::gitlab_section(7, hostile, hostile).to_string(),
            "\x1b[0Ksection_start:7:a_b___0Ksection_end_1_x[collapsed=true]\r\x1b[0K\
             a:b\\r\\u{1b}[0Ksection_end :1:x"
        );
    }
}
