//! Check of a tree by all rules, with the rules that are about its images as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::{Finding, Findings, Remark, line_at};
use super::rule::Rule;
use super::subject::{RenderedAxis, Subject};
use super::template_text::{without_documents, writes_files};
use super::{allow, packages, rendered, unused_files};
use crate::graph;
use crate::image::ImageName;
use crate::template::origin_line;
use crate::tree::ImageFolder;

/// Returns the findings of the `rules`, sorted by path and line.
pub fn check(subject: &Subject<'_>, rules: &BTreeSet<Rule>) -> Vec<Finding> {
    let mut findings = Findings::default();
    failures(subject, &mut findings);
    connections(subject, &mut findings);
    rendered::check(subject, rules, &mut findings);
    unused_files::check(subject, &mut findings);
    lines(subject, &mut findings);
    packages::check(subject, &mut findings);
    profiles(subject, &mut findings);
    let allowed = allow::read(subject, &mut findings);
    let is_wanted = |path: &str, rule| rules.contains(&rule) && !allowed.silence(path, rule);
    findings.sorted(is_wanted, |path| subject.shown(path))
}

/// Adds the templates that can't be rendered, or do not render to a Dockerfile.
fn failures(subject: &Subject<'_>, findings: &mut Findings) {
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
fn connections(subject: &Subject<'_>, findings: &mut Findings) {
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
fn names_a_failure(axis: &RenderedAxis, name: &str) -> bool {
    axis.failures.iter().any(|failure| failure.folder.name.as_str() == name)
}

/// Removes the axis label from the image names in a message.
fn without_axis(message: &str, label: &str) -> String {
    if label.is_empty() { message.to_owned() } else { message.replace(&format!("{label}/"), "") }
}

fn same_names(subject: &Subject<'_>, findings: &mut Findings) {
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
fn lines(subject: &Subject<'_>, findings: &mut Findings) {
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
fn profiles(subject: &Subject<'_>, findings: &mut Findings) {
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

fn axis_of(axis: &RenderedAxis) -> Option<&str> {
    (!axis.label.is_empty()).then_some(axis.label.as_str())
}
