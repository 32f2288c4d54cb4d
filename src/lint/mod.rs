//! Checks a tree of templates for errors, for files that are not used, and for text that causes
//! problems to builders, package managers or readers.
//!
//! The check is a pure function from the tree's files and their rendered Dockerfiles, on every
//! requested axis, to findings. Only the syntax of shell commands is checked by a shell, which the
//! caller runs. A rule exists only if its findings are almost never intended; where one is, the
//! template says so (`kiln-lint: allow RULE`). `docs/lint-rules.md` lists the rules.

mod allow;
mod commands;
mod context_sources;
mod files;
mod frontend;
mod packages;
mod rendered;
mod rule;
mod shells;
mod template_text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::image::ImageName;
use crate::template::origin_line;
use crate::tree::ImageFolder;
use template_text::{without_documents, writes_files};

pub use frontend::{Builder, Version};
pub use rule::Rule;
pub use shells::{Shell, ShellCommand};

/// Input of a check.
pub struct Subject<'a> {
    /// Files of the tree, by path from its root.
    pub files: &'a BTreeMap<String, File>,
    /// Folders of the images.
    pub folders: &'a [ImageFolder],
    /// Rendered images of every axis.
    pub axes: &'a [Axis],
    /// Names of the images that a profile of the tree selects by a pattern; `None` if the tree has no
    /// profiles.
    pub in_profiles: Option<&'a BTreeSet<String>>,
    /// Package types of the bases, as templates ask for them.
    pub package_types: &'a BTreeSet<String>,
    /// Returns true for the name of an image that is checked.
    pub is_selected: &'a (dyn Fn(&str) -> bool + Sync),
    /// Builder that the images are for.
    pub builder: Builder,
    /// True if all images are checked, and with them the files that belong to none.
    pub is_whole: bool,
    /// Returns a shell's error for a command; `None` if the shell accepts it.
    pub objection: &'a (dyn Fn(&ShellCommand) -> Option<String> + Sync),
}

/// File of a tree.
#[derive(Debug, Clone)]
pub struct File {
    /// Path as the user knows it.
    pub shown: String,
    /// Text; `None` for a binary file.
    pub text: Option<String>,
}

/// Results of rendering the images on one axis.
#[derive(Debug, Default)]
pub struct Axis {
    /// Label that distinguishes the axis from the others of the run; empty if there is only one.
    pub label: String,
    /// Images whose templates rendered to a Dockerfile.
    pub images: Vec<graph::Image>,
    /// Folder of each image.
    pub folders: BTreeMap<ImageName, String>,
    /// Paths of the files that each image may copy.
    pub contexts: BTreeMap<ImageName, BTreeSet<String>>,
    /// Frontend that a build argument names in place of `# syntax`.
    pub syntax: Option<String>,
    /// Images that can't be built on this axis; their instructions are not checked.
    pub unbuildable: BTreeSet<ImageName>,
    /// Errors of the other images.
    pub failures: Vec<Failure>,
}

/// Errors of a template that did not render to a Dockerfile.
#[derive(Debug)]
pub struct Failure {
    /// Folder of the image.
    pub folder: ImageFolder,
    /// Rendered text, if that is where the errors are; `None` if rendering failed.
    pub text: Option<Arc<str>>,
    /// Errors of the image.
    pub errors: Vec<Diagnostic>,
}

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

/// Returns the findings of the `rules`, sorted by path and line.
pub fn check(subject: &Subject<'_>, rules: &BTreeSet<Rule>) -> Vec<Finding> {
    let mut findings = Findings { files: subject.files, found: BTreeMap::new() };
    failures(subject, &mut findings);
    connections(subject, &mut findings);
    rendered::check(subject, rules, &mut findings);
    files::check(subject, &mut findings);
    lines(subject, &mut findings);
    packages::check(subject, &mut findings);
    profiles(subject, &mut findings);
    let allowed = allow::read(subject, &mut findings);
    findings.sorted(|file, rule| rules.contains(&rule) && !allowed.silence(file, rule))
}

/// Findings of the checks so far.
struct Findings<'a> {
    files: &'a BTreeMap<String, File>,
    found: BTreeMap<Key, (Option<String>, BTreeSet<String>)>,
}

/// Identity of a finding: file, line, rule and message.
type Key = (String, usize, Rule, String);

/// Description of a problem, with a suggested fix.
struct Remark {
    rule: Rule,
    message: String,
    help: Option<String>,
}

impl Remark {
    fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Findings<'_> {
    /// Adds a remark on a line of the tree's file `path`, for the axis with the label `axis`.
    fn add(&mut self, path: &str, line: usize, axis: &str, remark: Remark) {
        let key = (path.to_owned(), line, remark.rule, remark.message);
        let (_, axes) = self.found.entry(key).or_insert((remark.help, BTreeSet::new()));
        axes.extend((!axis.is_empty()).then(|| axis.to_owned()));
    }

    fn sorted(self, is_wanted: impl Fn(&str, Rule) -> bool) -> Vec<Finding> {
        let wanted =
            self.found.into_iter().filter(|((path, _, rule, _), _)| is_wanted(path, *rule));
        let mut findings: Vec<Finding> = wanted
            .map(|((path, line, rule, message), (help, axes))| {
                let path = self.files.get(&path).map_or(path, |file| file.shown.clone());
                Finding { path, line, rule, message, help, axes }
            })
            .collect();
        findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
        findings
    }
}

impl Subject<'_> {
    fn text(&self, path: &str) -> &str {
        self.files.get(path).and_then(|file| file.text.as_deref()).unwrap_or_default()
    }

    /// Returns the path in the tree of the file that the user knows as `shown`.
    fn path_of<'a>(&'a self, shown: &'a str) -> &'a str {
        let found = self.files.iter().find(|(_, file)| file.shown == shown);
        found.map_or(shown, |(path, _)| path)
    }

    /// Returns the innermost image folder that contains `path`.
    fn folder_of(&self, path: &str) -> Option<&ImageFolder> {
        let holds = |folder: &&ImageFolder| below(&folder.path, path).is_some();
        self.folders.iter().filter(holds).max_by_key(|folder| folder.path.len())
    }

    /// Returns true if findings in this file are reported.
    fn is_of_interest(&self, path: &str) -> bool {
        match self.folder_of(path) {
            Some(folder) => (self.is_selected)(folder.name.as_str()),
            None => self.is_whole,
        }
    }

    /// Returns the templates of the tree, with their texts.
    fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_template = |path: &str| [".tera", ".j2"].iter().any(|end| path.ends_with(end));
        let files = self.files.iter().filter(move |(path, _)| is_template(path));
        files.filter_map(|(path, file)| Some((path.as_str(), file.text.as_deref()?)))
    }

    /// Returns the checked images of all axes, each with the path of its template.
    fn images(&self) -> impl Iterator<Item = (&Axis, &graph::Image, String)> {
        self.axes.iter().flat_map(move |axis| {
            let images = axis.images.iter().filter(|image| (self.is_selected)(image.name.as_str()));
            images.map(move |image| (axis, image, self.template_of(axis, image)))
        })
    }

    fn template_of(&self, axis: &Axis, image: &graph::Image) -> String {
        let folder = self.folders.iter().find(|folder| axis.folders[&image.name] == folder.path);
        folder.map_or_else(|| image.template.clone(), ImageFolder::template)
    }
}

/// Returns the part of `path` below `folder`; `None` if it is not inside of it.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// Adds the templates that can't be rendered, or do not render to a Dockerfile.
fn failures(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for axis in subject.axes {
        let failures = axis.failures.iter();
        for failure in failures.filter(|one| (subject.is_selected)(one.folder.name.as_str())) {
            let template = failure.folder.template();
            for error in &failure.errors {
                let (rule, path, line) = match (error.places.first(), &failure.text) {
                    (Some(place), Some(text)) => {
                        let source = subject.text(&template);
                        let line = origin_line(source, text, place.line_number());
                        (Rule::DockerfileError, template.as_str(), line)
                    }
                    (None, Some(_)) => (Rule::DockerfileError, template.as_str(), 1),
                    (Some(place), None) => {
                        (Rule::RenderError, subject.path_of(&place.path), place.line_number())
                    }
                    (None, None) => (Rule::RenderError, template.as_str(), 1),
                };
                let remark =
                    Remark { help: error.help.clone(), ..Remark::new(rule, &error.message) };
                findings.add(path, line, &axis.label, remark);
            }
        }
    }
}

/// Adds the errors in the references between images.
fn connections(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    same_names(subject, findings);
    for axis in subject.axes {
        let is_selected = |image: &graph::Image| (subject.is_selected)(image.name.as_str());
        let images = &axis.images;
        let mut add = |image: &graph::Image, offset: usize, remark: Remark| {
            let template = subject.template_of(axis, image);
            let line = line_at(&image.text, offset);
            let line = origin_line(subject.text(&template), &image.text, line);
            findings.add(&template, line, &axis.label, remark);
        };
        for unknown in graph::unknown_siblings(images) {
            if is_selected(unknown.image) && !names_a_failure(axis, &unknown.missing) {
                let error = unknown.diagnostic();
                let via = unknown.via.as_str();
                let message =
                    format!("{via} names '{}', which is not in the tree", unknown.missing);
                let remark =
                    Remark { help: error.help, ..Remark::new(Rule::UnknownImage, message) };
                add(unknown.image, unknown.span.start, remark);
            }
        }
        for (image, error) in graph::cycles(images).into_iter().filter(|(one, _)| is_selected(one))
        {
            let message = without_axis(&error.message, &axis.label);
            let remark = Remark { help: error.help, ..Remark::new(Rule::ImageCycle, message) };
            let offset = image.dockerfile.references.first().map_or(0, |first| first.span.start);
            add(image, offset, remark);
        }
    }
}

/// Returns true if an image is in the tree but has no Dockerfile.
fn names_a_failure(axis: &Axis, name: &str) -> bool {
    axis.failures.iter().any(|failure| failure.folder.name.as_str() == name)
}

/// Removes the axis label from the image names in a message.
fn without_axis(message: &str, label: &str) -> String {
    if label.is_empty() { message.to_owned() } else { message.replace(&format!("{label}/"), "") }
}

fn same_names(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let mut first: BTreeMap<&ImageName, &ImageFolder> = BTreeMap::new();
    for folder in subject.folders {
        if let Some(other) = first.insert(&folder.name, folder)
            && (subject.is_selected)(folder.name.as_str())
        {
            let message =
                format!("'{}' is also the name of the image in {}", folder.name, other.path);
            let remark = Remark::new(Rule::DuplicateImage, message);
            let remark = remark.help("an image is named after its folder: rename one of the two");
            findings.add(&folder.template(), 1, "", remark);
        }
    }
}

/// Adds the errors of single lines of templates, which do not depend on the rendered text.
fn lines(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for (path, text) in subject.templates().filter(|(path, _)| subject.is_of_interest(path)) {
        let text = without_documents(text, writes_files);
        let lines = text.lines().zip(1..);
        for (_, line) in lines.filter(|(text, _)| text.ends_with([' ', '\t'])) {
            let remark = Remark::new(Rule::TrailingSpace, "whitespace at the end of the line");
            findings.add(path, line, "", remark.help("remove it"));
        }
    }
}

/// Adds the images that no profile selects, neither directly nor as a parent of a selected image.
fn profiles(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let Some(in_profiles) = subject.in_profiles else { return };
    let mut selected: BTreeSet<&str> = BTreeSet::new();
    for axis in subject.axes {
        let needs = graph::needs_of_all(&axis.images);
        let name = |index: usize| axis.images[index].name.as_str();
        let is_found = |index: &usize| in_profiles.contains(name(*index));
        let mut open: Vec<usize> = (0..axis.images.len()).filter(is_found).collect();
        let mut met = BTreeSet::new();
        while let Some(index) = open.pop() {
            if met.insert(index) {
                selected.insert(name(index));
                open.extend(&needs[index]);
            }
        }
    }
    for folder in subject.folders {
        let name = folder.name.as_str();
        let is_known = subject
            .axes
            .iter()
            .any(|axis| axis.folders.contains_key(&folder.name.on(axis_of(axis))));
        if is_known && (subject.is_selected)(name) && !selected.contains(name) {
            let message = format!("no profile selects '{name}' or an image built on it");
            let remark = Remark::new(Rule::NoProfile, message);
            findings.add(&folder.template(), 1, "", remark.help("add it to a profile"));
        }
    }
}

fn axis_of(axis: &Axis) -> Option<&str> {
    (!axis.label.is_empty()).then_some(axis.label.as_str())
}

/// Returns the line, from 1, that the byte `offset` of `text` is in.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text[..offset.min(text.len())].matches('\n').count()
}
