//! Overrides that users lay over the images of a tree, in either language: the files, the language
//! that they apply to, and the parts that have no effect.
//!
//! Names that are not in the tree are ignored, as one file may be meant for several trees and
//! bases. They may also be typing errors, so a warning names them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::list_customization::{CUSTOMIZES, is_customization};
use super::outline::{Block, Outline, Set};
use crate::diagnostic::{Place, nearest};
use crate::tree::{Language, Tree};

/// Template that the user lays over every image.
#[derive(Debug, Clone)]
pub struct Override {
    /// Path of the file.
    pub path: String,
    /// Text of the file.
    pub text: String,
}

/// Parent that an override extends: it stands for each image's own template.
pub(super) const PARENT: &str = "parent_template";

/// Returns true if a template is an override. Such a file may be inside of the tree.
pub(super) fn is_override(text: &str) -> bool {
    text.contains(PARENT)
        && Outline::of(text).extends.is_some_and(|extends| extends.parent == PARENT)
}

impl Override {
    /// Returns true if the override is for images in `language`, in a tree with images in both. A
    /// file name that ends in `.tera` or `.j2` restricts the override to that language.
    fn is_for(&self, language: Language) -> bool {
        match self.path.rsplit_once('.') {
            Some((_, "tera")) => language == Language::Tera,
            Some((_, "j2")) => language == Language::Jinja,
            _ => true,
        }
    }
}

/// Returns the overrides for the images in `language`, of a tree with images in `languages`.
pub(super) fn overrides_for(
    language: Language,
    languages: &[Language],
    all: &[Override],
) -> Vec<Override> {
    all.iter().filter(|file| languages.len() == 1 || file.is_for(language)).cloned().collect()
}

/// Lists that templates let users change, collected while images are rendered: the start of their
/// variables' names.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<BTreeSet<String>>);

impl Lists {
    /// Records the list `what` of an image.
    pub(super) fn note(&self, image: &str, what: &str) {
        let name = format!("{}_{what}", image.replace('-', "_"));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Returns the names of the variables that change these lists.
    pub(super) fn variables(&self) -> BTreeSet<String> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = lists.iter().flat_map(|list| CUSTOMIZES.map(|ending| format!("{list}{ending}")));
        all.collect()
    }
}

/// Returns the names of all blocks in the templates of a tree.
pub(super) fn blocks_of(tree: &Tree) -> BTreeSet<String> {
    let files = tree.files();
    let templates =
        files.iter().filter(|(path, _)| path.ends_with(".tera") || path.ends_with(".j2"));
    let texts = templates.filter_map(|(path, file)| file.text(path).ok());
    let names = |text: String| -> Vec<String> {
        Outline::of(&text).block_names().map(str::to_owned).collect()
    };
    texts.filter(|text| !is_override(text)).flat_map(names).collect()
}

/// Returns one line for each block and variable of the overrides that has no effect, given the
/// blocks of the images and the variables that change their lists.
pub(super) fn without_effect(
    overrides: &[Override],
    mut blocks: BTreeSet<String>,
    variables: &BTreeSet<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for file in overrides {
        let outline = Outline::of(&file.text);
        lines.extend(without_effect_in(file, &outline, &blocks, variables));
        blocks.extend(outline.block_names().map(str::to_owned));
    }
    lines
}

fn without_effect_in(
    file: &Override,
    outline: &Outline,
    blocks: &BTreeSet<String>,
    variables: &BTreeSet<String>,
) -> Vec<String> {
    let strange_blocks = outline.blocks.iter().filter(|block| !blocks.contains(&block.name));
    let strange_sets = outline
        .sets
        .iter()
        .filter(|set| is_customization(&set.name) && !variables.contains(&set.name));
    let mut found: Vec<(usize, String)> = Vec::new();
    found.extend(strange_blocks.map(|Block { name, span, .. }| {
        (span.start, format!("no image has a block '{name}'{}", near(name, blocks)))
    }));
    found.extend(strange_sets.map(|Set { name, span, .. }| {
        (
            span.start,
            format!("'{name}' does not match a list of any image{}", near(name, variables)),
        )
    }));
    found.sort();
    let told = |(start, what)| {
        let place = Place::new(&file.path, file.text.as_str(), start..start);
        format!("{}:{}: {what}", place.path, place.line_number())
    };
    found.into_iter().map(told).collect()
}

/// Returns the end of a sentence that suggests the nearest known name; empty if there is none.
fn near(name: &str, known: &BTreeSet<String>) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    nearest(name, &known).map_or(String::new(), |near| format!("; did you mean '{near}'?"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::rendered_and_told;
    use super::*;

    fn file(path: &str, text: &str) -> Override {
        Override { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn override_name_selects_the_language() {
        let all = ["a.tera", "b.j2", "c"].map(|path| file(path, ""));
        let both = [Language::Tera, Language::Jinja];
        let paths = |language, languages: &[Language]| {
            let chosen = overrides_for(language, languages, &all);
            chosen.into_iter().map(|file| file.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(Language::Tera, &both), ["a.tera", "c"]);
        assert_eq!(paths(Language::Jinja, &both), ["b.j2", "c"]);
        assert_eq!(paths(Language::Tera, &both[..1]), ["a.tera", "b.j2", "c"]);
    }

    #[test]
    fn blocks_are_listed_in_both_languages() {
        let over = "{% extends parent_template %}\
                    {% set a_packages_append = [1] %}{% set b_packages_append = [1] %}\n\
                    {% set c_packages_append = [1] %}\n\
                    {% block a_footer %}{% endblock %}{% block b_end %}{% endblock %}\n\
                    {% block b_footer %}{% endblock %}";
        let files = [
            ("a/Dockerfile.tera", "{{ [] | customizable(of=\"packages\") }}"),
            (
                "b/Dockerfile.j2",
                "{{ [] | customizable(\"packages\") }}{% block b_end %}{% endblock %}",
            ),
            ("over.j2", over),
        ];
        let (_, told) = rendered_and_told(&files, &[over], &serde_json::json!({})).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("over:2: 'c_packages_append' does not match a list of any image; ")
        );
        assert!(told[0].contains("did you mean '"), "{}", told[0]);
        assert_eq!(told[1], "over:4: no image has a block 'b_footer'; did you mean 'footer'?");
    }

    #[test]
    fn override_without_effect_is_reported_with_its_line() {
        let lists = Lists::default();
        lists.note("my-app", "packages");
        let blocks = BTreeSet::from(["my_app_header".to_owned()]);
        let overrides = [
            file(
                "a",
                "{% extends parent_template %}\n\
                 {% set my_app_packages_append = [] %}{% set helper = 1 %}\n\
                 {% set my_ap_packages_remove = [] %}\n\
                 {% block my_app_header %}{% block inner %}{% endblock %}{% endblock %}\n",
            ),
            file("b", "{% block inner %}{% endblock %}{% block zzz %}{% endblock %}"),
            file("c", "\n{% block my_app_heeder %}{% endblock %}"),
        ];
        assert_eq!(
            without_effect(&overrides, blocks, &lists.variables()),
            [
                "a:3: 'my_ap_packages_remove' does not match a list of any image; \
                 did you mean 'my_app_packages_remove'?",
                "b:1: no image has a block 'zzz'",
                "c:2: no image has a block 'my_app_heeder'; did you mean 'my_app_header'?",
            ]
        );
    }
}
