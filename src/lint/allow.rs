//! Rules that templates silence: `kiln-lint: allow RULE...` anywhere in a file.

use std::collections::BTreeMap;

use super::findings::{Findings, Remark};
use super::rule::Rule;
use super::subject::Subject;
use crate::diagnostic::nearest;

/// Mark before the names of the silenced rules.
const MARK: &str = "kiln-lint: allow ";

/// Silenced rules, by the file that names them.
pub(super) struct Allowed<'a> {
    subject: &'a Subject<'a>,
    rules: BTreeMap<&'a str, Vec<Rule>>,
}

/// Reads the silenced rules, and adds a finding for each unknown rule.
pub(super) fn read<'a>(subject: &'a Subject<'a>, findings: &mut Findings) -> Allowed<'a> {
    let mut rules: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    for (path, file) in subject.files {
        let lines = file.text.iter().flat_map(|text| text.lines()).zip(1..);
        for (name, line) in lines.flat_map(|(text, line)| names(text).map(move |name| (name, line)))
        {
            match Rule::named(name) {
                Some(rule) => rules.entry(path).or_default().push(rule),
                None if subject.is_of_interest(path) => findings.add(path, line, "", unknown(name)),
                None => {}
            }
        }
    }
    Allowed { subject, rules }
}

/// Returns the rules that a line names.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let named = line.split_once(MARK).map_or("", |(_, named)| named);
    let words = named.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    words.take_while(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    })
}

fn unknown(name: &str) -> Remark {
    let remark = Remark::new(Rule::UnknownRule, format!("there is no rule '{name}'"));
    match nearest(name, &Rule::ALL.map(Rule::name)) {
        Some(known) => remark.help(format!("did you mean '{known}'?")),
        None => remark,
    }
}

impl Allowed<'_> {
    /// Returns true if the file at `path`, or the template of the image whose folder it is in,
    /// silences `rule`.
    pub(super) fn silence(&self, path: &str, rule: Rule) -> bool {
        let says = |path: &str| self.rules.get(path).is_some_and(|rules| rules.contains(&rule));
        says(path) || self.subject.folder_of(path).is_some_and(|folder| says(&folder.template()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_rules() {
        for (line, expected) in [
            ("{# kiln-lint: allow no-profile #}", "no-profile"),
            ("{#- kiln-lint: allow no-profile -#}", "no-profile"),
            ("# kiln-lint: allow apt-lists, apt-update (cached)", "apt-lists apt-update"),
            ("# kiln-lint: apt-lists", ""),
            ("RUN true", ""),
        ] {
            assert_eq!(names(line).collect::<Vec<_>>().join(" "), expected, "{line}");
        }
    }
}
