//! Findings: collected by file and line, the same one on several axes only once.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::Rule;

/// Violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path of the file as the user knows it.
    pub path: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Rule that is violated.
    pub rule: Rule,
    /// Description of the problem, in one line.
    pub message: String,
    /// Suggested fix; `None` if there is none.
    pub help: Option<String>,
    /// Axes with this finding; empty if it does not depend on them, or if there is only one.
    pub axes: BTreeSet<String>,
}

/// Findings of the checks so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: BTreeMap<Key, (Option<String>, BTreeSet<String>)>,
}

/// Identity of a finding: file, line, rule and message.
type Key = (String, usize, Rule, String);

/// Description of a problem, with a suggested fix.
#[derive(Debug)]
pub(super) struct Remark {
    pub(super) rule: Rule,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Remark {
    pub(super) fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, message: message.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Findings {
    /// Adds a remark on a line of the tree's file `path`, for the axis with the label `axis`.
    pub(super) fn add(&mut self, path: &str, line: usize, axis: &str, remark: Remark) {
        let key = (path.to_owned(), line, remark.rule, remark.message);
        let (_, axes) = self.found.entry(key).or_insert((remark.help, BTreeSet::new()));
        axes.extend((!axis.is_empty()).then(|| axis.to_owned()));
    }

    /// Returns the wanted findings, sorted by path and line; `shown` returns the path of a file of
    /// the tree as the user knows it.
    pub(super) fn sorted(
        self,
        is_wanted: impl Fn(&str, Rule) -> bool,
        shown: impl Fn(&str) -> String,
    ) -> Vec<Finding> {
        let wanted =
            self.found.into_iter().filter(|((path, _, rule, _), _)| is_wanted(path, *rule));
        let mut findings: Vec<Finding> = wanted
            .map(|((path, line, rule, message), (help, axes))| Finding {
                path: shown(&path),
                line,
                rule,
                message,
                help,
                axes,
            })
            .collect();
        findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
        findings
    }
}

/// Returns the line, from 1, that the byte `offset` of `text` is in.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text[..offset.min(text.len())].matches('\n').count()
}
