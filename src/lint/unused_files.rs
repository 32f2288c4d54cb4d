//! Files and templates of a tree that nothing refers to.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::context_sources::{refers_to, used_sources};
use super::findings::{Findings, Remark};
use super::rule::Rule;
use super::subject::{RenderedAxis, Subject, below};
use super::template_text::{HOLE, without_documents, writes_files};
use crate::dockerfile;
use crate::tree::ImageFolder;

/// Prefixes of the names of files that are for the tree's maintainers.
const FOR_PEOPLE: [&str; 4] = ["README", "LICENSE", "CHANGELOG", ".git"];

/// Adds the files and templates that nothing refers to.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    let code = |text: &str| without_comments(&without_documents(text, writes_files));
    let templates: Vec<(&str, String)> =
        subject.templates().map(|(path, text)| (path, code(text))).collect();
    for (path, _) in subject.files.iter().filter(|(path, _)| subject.is_of_interest(path)) {
        let remark = match subject.folder_of(path) {
            Some(folder) if is_unused(subject, &templates, folder, path) => Remark::new(
                Rule::UnusedFile,
                format!("no template or instruction of '{}' refers to this file", folder.name),
            ),
            None if is_unused_template(&templates, path) => {
                Remark::new(Rule::UnusedTemplate, "no other template uses this template")
            }
            _ => continue,
        };
        findings.add(path, 1, "", remark.help("remove it, or use it"));
    }
}

static COMMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\{#.*?#\}|(?m)^\s*#[^\n]*$").expect("a literal"));

fn without_comments(text: &str) -> String {
    COMMENT.replace_all(text, "").into_owned()
}

/// Returns true if no instruction refers to the file on any axis, and no template mentions it.
fn is_unused(
    subject: &Subject<'_>,
    templates: &[(&str, String)],
    folder: &ImageFolder,
    path: &str,
) -> bool {
    let within = below(&folder.path, path).unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    if path == folder.template() || FOR_PEOPLE.iter().any(|start| name.starts_with(start)) {
        return false;
    }
    let Some(uses) = uses_of_folder(subject, folder) else { return false };
    if uses.iter().any(|source| refers_to(source, within)) {
        return false;
    }
    let parts: Vec<&str> = within.split('/').collect();
    let is_own = |template: &&(&str, String)| {
        let of = subject.folder_of(template.0);
        of.is_none_or(|of| of == folder)
    };
    let is_mentioned = parts.iter().any(|part| {
        let others = templates.iter().filter(is_own).filter(|(other, _)| *other != path);
        others.into_iter().any(|(_, text)| mentions(text, part) || makes(text, part))
    });
    !is_mentioned && !templates.iter().any(|(_, text)| mentions(text, path))
}

/// Returns true if `word` is in `text` as a whole name.
fn mentions(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_name) && !text[at + word.len()..].starts_with(is_name)
    })
}

static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\{\{.*?\}\}|\{%.*?%\}").expect("a literal"));

/// Smallest number of literal letters and digits that identify a name which contains tags.
const TELLING: usize = 3;

/// Returns true if `text` has a word with tags that can be rendered as `name`, judged by the word's
/// literal start and end.
fn makes(text: &str, name: &str) -> bool {
    let text = TAG.replace_all(text, HOLE.to_string());
    let is_between = |c: char| c.is_whitespace() || "\"'/,=".contains(c);
    let words = text.split(is_between).filter(|word| word.contains(HOLE));
    words.into_iter().any(|word| {
        let (first, last) = (word.split(HOLE).next(), word.rsplit(HOLE).next());
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        let written = first.chars().chain(last.chars()).filter(|c| c.is_alphanumeric());
        written.count() >= TELLING && name.starts_with(first) && name.ends_with(last)
    })
}

/// Returns the files that the image of a folder refers to, on all axes; `None` if it has a Dockerfile
/// on none.
fn uses_of_folder(subject: &Subject<'_>, folder: &ImageFolder) -> Option<BTreeSet<String>> {
    let of_axis = |axis: &RenderedAxis| {
        let image = axis.images.iter().find(|image| axis.folders[&image.name] == folder.path)?;
        let instructions = dockerfile::instructions(&image.text);
        Some(instructions.iter().flat_map(used_sources).collect::<BTreeSet<_>>())
    };
    subject.axes.iter().filter_map(of_axis).reduce(|mut all, more| {
        all.extend(more);
        all
    })
}

static USES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\{%[-+]?\s*(?:include|import|extends|from)\s+([^%]*)"#).expect("a literal")
});

static COMPONENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{%-?\s*component\s+([A-Za-z_][\w.]*)").expect("a literal"));

/// Returns true if a file outside of all images is a template that no other uses.
fn is_unused_template(templates: &[(&str, String)], path: &str) -> bool {
    let Some((_, text)) = templates.iter().find(|(one, _)| *one == path) else { return false };
    if text.contains("parent_template") {
        return false;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let components: BTreeSet<&str> =
        COMPONENT.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let uses = |other: &str| {
        USES.captures_iter(other).any(|found| mentions(&found[1], name))
            || components.iter().any(|component| calls(other, component))
    };
    !templates.iter().any(|(other, text)| *other != path && uses(text))
}

/// Returns true if a text has a call `<component ...`.
fn calls(text: &str, component: &str) -> bool {
    text.match_indices(component).any(|(at, _)| {
        let before = text[..at].trim_end();
        let after = text[at + component.len()..].chars().next();
        before.ends_with('<') && after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinguished_from_parts_of_names() {
        assert!(mentions("COPY run.sh /x", "run.sh"));
        assert!(mentions("source=conf/a,target=/x", "conf"));
        assert!(!mentions("COPY start-run.sh /x", "run.sh"));
        assert!(!mentions("run.shx", "run.sh"));
        assert!(calls("{{ <labels /> }}", "labels"));
        assert!(!calls("{{ <labels_of /> }}", "labels"));
    }

    #[test]
    fn names_may_be_put_together() {
        let text = "COPY sources.{{ base }}{% if arch == 'a b' %}.{{ arch }}{% endif %} /x";
        assert!(makes(text, "sources.debian"));
        assert!(makes(text, "sources.ubuntu.arm64"));
        assert!(!makes(text, "preferences.debian"));
        assert!(!makes("COPY {{ a }} /x", "anything"));
    }

    #[test]
    fn comments_mention_nothing() {
        assert_eq!(without_comments("a\n# b\n{# c\nd #}e\n"), "a\n\ne\n");
    }
}
