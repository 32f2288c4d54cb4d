//! Checks a tree of templates: what can't be right, what is of no use, and what builders, package
//! managers or readers stumble over.
//!
//! A pure function from the tree's files and what they render to, on every axis asked for, to
//! findings; only the question whether a command is shell is put to a shell, by whoever calls. A rule
//! is here because what it finds is almost never meant; where it is, the template says so
//! (`kiln-lint: allow RULE`). `docs/linting.md` lists the rules.

mod allow;
mod commands;
mod files;
mod packages;
mod rendered;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;

use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::image::ImageName;
use crate::template::origin_line;
use crate::tree::ImageFolder;

pub use rendered::{Shell, ShellCommand};
pub use rule::Rule;

/// What there is to check.
pub struct Subject<'a> {
    /// The files of the tree, by path from its root.
    pub files: &'a BTreeMap<String, File>,
    /// The folders that make images.
    pub folders: &'a [ImageFolder],
    /// What becomes of the images on every axis.
    pub axes: &'a [Axis],
    /// The patterns of the tree's profiles; empty where it has none.
    pub profiles: &'a [Regex],
    /// The kinds of packages that bases have, as templates ask for them.
    pub package_types: &'a BTreeSet<String>,
    /// Which images are looked at.
    pub is_selected: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether that is all of them, and with them what belongs to none.
    pub is_whole: bool,
    /// What a shell has to say against a command.
    pub objection: &'a (dyn Fn(&ShellCommand) -> Option<String> + Sync),
}

/// A file of a tree.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path as the user knows it.
    pub shown: String,
    /// Its text, if it is one.
    pub text: Option<String>,
}

/// What becomes of the images on one axis.
#[derive(Debug, Default)]
pub struct Axis {
    /// What tells it from other axes of the run; empty where there are none.
    pub label: String,
    /// The images whose templates came to a Dockerfile.
    pub images: Vec<graph::Image>,
    /// The folder that each is made by.
    pub folders: BTreeMap<ImageName, String>,
    /// The paths of the files that each may copy.
    pub contexts: BTreeMap<ImageName, BTreeSet<String>>,
    /// The images that the axis can't supply; what they would be built by is not looked at.
    pub unbuildable: BTreeSet<ImageName>,
    /// What is wrong with the other images.
    pub failures: Vec<Failure>,
}

/// Why a template came to no Dockerfile.
#[derive(Debug)]
pub struct Failure {
    /// The image's folder.
    pub folder: ImageFolder,
    /// What was rendered, if it is that which is wrong.
    pub text: Option<Arc<str>>,
    /// What is wrong.
    pub errors: Vec<Diagnostic>,
}

/// Something that a rule is against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, as the user knows it.
    pub path: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The rule.
    pub rule: Rule,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it, where that can be said.
    pub help: Option<String>,
    /// The axes on which it is so; empty where it does not depend on them, or there is one alone.
    pub axes: BTreeSet<String>,
}

/// What the `rules` find, by path and line.
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

/// What was found so far.
struct Findings<'a> {
    files: &'a BTreeMap<String, File>,
    found: BTreeMap<Key, (Option<String>, BTreeSet<String>)>,
}

/// What makes two findings the same: file, line, rule and message.
type Key = (String, usize, Rule, String);

/// What is wrong, and what to do about it.
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
    /// Adds a remark on a line of the file `path` of the tree, on the axis called `axis`.
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

    /// The file that the user knows as `shown`.
    fn path_of<'a>(&'a self, shown: &'a str) -> &'a str {
        let found = self.files.iter().find(|(_, file)| file.shown == shown);
        found.map_or(shown, |(path, _)| path)
    }

    /// The innermost folder of an image that `path` lies in.
    fn folder_of(&self, path: &str) -> Option<&ImageFolder> {
        let holds = |folder: &&ImageFolder| below(&folder.path, path).is_some();
        self.folders.iter().filter(holds).max_by_key(|folder| folder.path.len())
    }

    /// Whether something in this file is to be told of.
    fn is_of_interest(&self, path: &str) -> bool {
        match self.folder_of(path) {
            Some(folder) => (self.is_selected)(folder.name.as_str()),
            None => self.is_whole,
        }
    }

    /// The templates of the tree, with their texts.
    fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_template = |path: &str| [".tera", ".j2"].iter().any(|end| path.ends_with(end));
        let files = self.files.iter().filter(move |(path, _)| is_template(path));
        files.filter_map(|(path, file)| Some((path.as_str(), file.text.as_deref()?)))
    }

    /// The images that are looked at, of all axes, each with the path of its template.
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

/// The path of `path` within `folder`, if it is below it.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// What can't be rendered, or comes to no Dockerfile.
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

/// What the images refer to, among each other and outside.
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
            if is_selected(unknown.image) && !names_a_failure(axis, unknown.missing) {
                let error = unknown.diagnostic();
                let via = unknown.reference.via.as_str();
                let message =
                    format!("{via} names '{}', which is not in the tree", unknown.missing);
                let remark =
                    Remark { help: error.help, ..Remark::new(Rule::UnknownImage, message) };
                add(unknown.image, unknown.reference.span.start, remark);
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

/// Whether an image is in the tree and only comes to nothing.
fn names_a_failure(axis: &Axis, name: &str) -> bool {
    axis.failures.iter().any(|failure| failure.folder.name.as_str() == name)
}

/// A message without the axis that images are called by.
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
                format!("'{}' is the name of the image in {}, too", folder.name, other.path);
            let remark = Remark::new(Rule::DuplicateImage, message);
            let remark = remark.help("an image is named after its folder: rename one of the two");
            findings.add(&folder.template(), 1, "", remark);
        }
    }
}

/// What is wrong with single lines of templates, whatever becomes of them.
fn lines(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for (path, text) in subject.templates().filter(|(path, _)| subject.is_of_interest(path)) {
        let lines = text.lines().zip(1..);
        for (_, line) in lines.filter(|(text, _)| text.ends_with([' ', '\t'])) {
            let remark = Remark::new(Rule::TrailingSpace, "white space at the end of the line");
            findings.add(path, line, "", remark.help("remove it"));
        }
    }
}

/// Images that no profile selects, neither themselves nor for what is built on them.
fn profiles(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    if subject.profiles.is_empty() {
        return;
    }
    let mut selected: BTreeSet<&str> = BTreeSet::new();
    for axis in subject.axes {
        let needs = graph::needs_of_all(&axis.images);
        let name = |index: usize| axis.images[index].name.as_str();
        let is_match =
            |index: &usize| subject.profiles.iter().any(|one| one.is_match(name(*index)));
        let mut open: Vec<usize> = (0..axis.images.len()).filter(is_match).collect();
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
            let message = format!("no profile selects '{name}' or what is built on it");
            let remark = Remark::new(Rule::NoProfile, message);
            findings.add(&folder.template(), 1, "", remark.help("add it to a profile"));
        }
    }
}

fn axis_of(axis: &Axis) -> Option<&str> {
    (!axis.label.is_empty()).then_some(axis.label.as_str())
}

/// The line, from 1, that the byte `offset` of `text` is in.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text[..offset.min(text.len())].matches('\n').count()
}
