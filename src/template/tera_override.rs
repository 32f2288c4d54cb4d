//! Lays the user's overrides over images in Tera, as Jinja2 does natively: one file says `extends
//! parent_template`, fills blocks and sets variables for any number of images.
//!
//! Tera requires the literal name of the template that is extended, requires that template to have
//! all the blocks that are filled, and sets no variables in a child. So every file is split. For
//! each image that has some of the file's blocks, a template with these blocks is generated; it
//! extends the image's own template, or the one generated from an earlier file. The rest, outside
//! of blocks and definitions, becomes a settings template, which is rendered for each image to find
//! out the variables that it sets.
//!
//! An image need not define the blocks that all images have: `<image>_header`, `<image>_footer` and
//! `footer`. Their contents are rendered separately and inserted into the Dockerfile where they
//! belong.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use tera::{Context, Error, Kwargs, State, Tera, TeraResult, Value};

use super::bounds::{TOO_LONG, Text};
use super::outline::{Outline, all_but, blanked};
use super::overrides::{Override, PARENT};
use super::template_input::Variables;
use crate::diagnostic::{Diagnostic, Place, Result, collect};
use crate::dockerfile;
use crate::image::ImageName;
use crate::tree::{ImageFolder, Language};

/// Name under which components see the variables that change lists.
pub(super) const CUSTOMIZATIONS: &str = "customizations";

/// Variables that change lists, by name.
pub(super) type Customizations<'a> = BTreeMap<&'a str, &'a serde_json::Value>;

/// Prefix of the names of templates that are generated from overrides.
const OVERRIDE_PREFIX: &str = "override:";

/// Prefix of the names of templates that hold only the blocks of all images.
const FRAME_PREFIX: &str = "frame:";

/// Name of the function that returns the variables that are set.
const VARIABLES_SET: &str = "variables_set";

/// Separator between the parts that one template renders.
const SEPARATOR: &str = "\0";

/// Overrides of the images in Tera, and the templates that are generated from them.
#[derive(Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    piles: BTreeMap<String, Pile>,
    starts: BTreeMap<String, usize>,
}

/// One override file.
struct Layer {
    file: Override,
    outline: Outline,
}

/// Templates that are rendered for an image in place of its own.
#[derive(Default)]
struct Pile {
    /// Last template that extends the image's own; `None` if no file fills one of its blocks.
    top: Option<String>,
    /// Last template that extends the frame, which has the blocks of all images; `None` if no file
    /// fills one of them.
    frame: Option<String>,
}

/// Templates to add to Tera: names and texts.
type Templates = Vec<(String, String)>;

impl Layers {
    /// Reads the structure of the files.
    pub(super) fn new(overrides: Vec<Override>) -> Result<Self> {
        let layers = collect(overrides.into_iter().enumerate().map(|(index, file)| {
            let outline = Outline::of(&file.text);
            check_parent(&file, &outline, index == 0)?;
            Ok(Layer { file, outline })
        }))?;
        Ok(Self { layers, ..Self::default() })
    }

    /// Returns for each file two templates: the whole file without `extends`, which has Tera check
    /// it and defines its components, and the settings template.
    pub(super) fn whole(&self) -> impl Iterator<Item = Templates> {
        self.layers.iter().enumerate().map(|(index, Layer { file, outline })| {
            let extends = outline.extends.iter().map(|extends| &extends.span);
            let blocks = outline.blocks.iter().map(|block| &block.span);
            let rest = extends.clone().chain(blocks).chain(&outline.definitions);
            let names: Vec<&str> = outline.sets.iter().map(|set| set.name.as_str()).collect();
            let tell = format!("{SEPARATOR}{{{{ {VARIABLES_SET}(names={names:?}) }}}}");
            vec![
                (name_of(index), blanked(&file.text, extends)),
                (name_of_settings(index), blanked(&file.text, rest) + &tell),
            ]
        })
    }

    /// Generates the templates that extend those of `images`, whose texts are in `sources`.
    pub(super) fn pile_up(
        &mut self,
        images: &[ImageFolder],
        sources: &BTreeMap<String, String>,
    ) -> Templates {
        let mut templates = Vec::new();
        for folder in images.iter().filter(|folder| folder.language == Language::Tera) {
            let path = folder.template();
            let own = blocks_in_line(&path, sources);
            let frame = self.frame(&folder.name, &own).and_then(|(blocks, text)| {
                let name = format!("{FRAME_PREFIX}{path}");
                templates.push((name.clone(), text));
                self.lay_on(&name, blocks, &mut templates)
            });
            let top = self.lay_on(&path, own, &mut templates);
            self.piles.insert(path, Pile { top, frame });
        }
        templates
    }

    /// Generates for each file a template with its blocks that are `known`, on top of the template
    /// `root`. Returns the name of the last one; `None` if no file has such a block.
    fn lay_on(
        &mut self,
        root: &str,
        mut known: BTreeSet<String>,
        templates: &mut Templates,
    ) -> Option<String> {
        let mut top = None;
        for (index, Layer { file, outline }) in self.layers.iter().enumerate() {
            let kept: Vec<_> =
                outline.blocks.iter().filter(|block| known.contains(&block.name)).collect();
            if kept.is_empty() {
                continue;
            }
            known.extend(kept.iter().flat_map(|block| block.names()).map(str::to_owned));
            let extends = format!("{{% extends {:?} %}}", top.as_deref().unwrap_or(root));
            let name = format!("{}/{root}", name_of(index));
            let others = all_but(&file.text, kept.iter().map(|block| &block.span));
            self.starts.insert(name.clone(), extends.len());
            templates.push((name.clone(), extends + &blanked(&file.text, &others)));
            top = Some(name);
        }
        top
    }

    /// Returns those blocks of all images that a file fills and the image does not define itself,
    /// and the text of a template with them; `None` if there are none.
    fn frame(
        &self,
        image: &ImageName,
        own: &BTreeSet<String>,
    ) -> Option<(BTreeSet<String>, String)> {
        let filled: BTreeSet<&str> =
            self.layers.iter().flat_map(|layer| layer.outline.block_names()).collect();
        let (header, [footer, last]) = blocks_of_image(image);
        let mut blocks = BTreeSet::new();
        let parts = [header, footer, last].map(|name| {
            if own.contains(&name) || !filled.contains(name.as_str()) {
                return String::new();
            }
            let part = format!("{{% block {name} %}}{{% endblock %}}");
            blocks.insert(name);
            part
        });
        (!blocks.is_empty()).then(|| (blocks, parts.join(SEPARATOR)))
    }

    /// Returns the variables that the files set for the image of `context`; a later file sees those
    /// of the earlier ones.
    pub(super) fn variables(
        &self,
        tera: &Tera,
        context: &Context,
        explain: impl Fn(&Error) -> Diagnostic,
    ) -> Result<Variables> {
        let mut all = Variables::new();
        if self.layers.is_empty() {
            return Ok(all);
        }
        let mut context = context.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if layer.outline.sets.is_empty() {
                continue;
            }
            let text = rendered(tera, &name_of_settings(index), &context);
            let text = text.map_err(|error| explain(&error))?;
            let told = text.rsplit(SEPARATOR).next().unwrap_or_default();
            let set: Variables =
                serde_json::from_str(told).map_err(|error| Diagnostic::new(error.to_string()))?;
            layer.refuse_undefined(&set)?;
            set.iter().for_each(|(name, value)| context.insert(name.clone(), value));
            all.extend(set);
        }
        Ok(all)
    }

    /// Renders the template at `path` with all overrides. The variables that change the image's
    /// lists do not apply to the header and footers, which are the user's own instructions.
    pub(super) fn render(
        &self,
        tera: &Tera,
        path: &str,
        mut context: Context,
        customizations: &Customizations<'_>,
    ) -> TeraResult<String> {
        context.insert(CUSTOMIZATIONS, customizations);
        let pile = self.piles.get(path);
        let top = pile.and_then(|pile| pile.top.as_deref()).unwrap_or(path);
        let text = rendered(tera, top, &context)?;
        let Some(frame) = pile.and_then(|pile| pile.frame.as_deref()) else { return Ok(text) };
        context.insert(CUSTOMIZATIONS, &Customizations::new());
        let parts = rendered(tera, frame, &context)?;
        let mut parts = parts.split(SEPARATOR).map(str::trim);
        let header = parts.next().unwrap_or_default();
        let footers: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        Ok(dockerfile::insert(&text, header, &footers.join("\n\n")))
    }

    /// Returns the file that a template was generated from, and the byte of the template at which
    /// the file's text begins.
    pub(super) fn origin(&self, template: &str) -> Option<(&Override, usize)> {
        let index = template.strip_prefix(OVERRIDE_PREFIX)?.split('/').next()?;
        let layer = self.layers.get(index.parse::<usize>().ok()?)?;
        Some((&layer.file, self.starts.get(template).copied().unwrap_or(0)))
    }

    /// Replaces generated template names in a message of Tera with the paths of the files.
    pub(super) fn in_words_of_user(&self, sentence: &str) -> String {
        let name = Regex::new(&format!("{OVERRIDE_PREFIX}[0-9]+(/[^:`']*)?")).expect("a literal");
        let told = |found: &regex::Captures<'_>| match self.origin(&found[0]) {
            Some((file, _)) => file.path.clone(),
            None => found[0].to_owned(),
        };
        name.replace_all(sentence, told).into_owned()
    }
}

impl Layer {
    /// Refuses a variable that is set to an undefined value: Tera would report it only where the
    /// variable is used, and never for a variable that changes a list.
    fn refuse_undefined(&self, set: &Variables) -> Result<()> {
        let sure = self.outline.sets.iter().filter(|tag| !tag.conditional);
        let Some(tag) = sure.into_iter().find(|tag| !set.contains_key(&tag.name)) else {
            return Ok(());
        };
        let Override { path, text } = &self.file;
        Err(Diagnostic::new(format!("'{}' is set to an undefined value", tag.name))
            .at(Place::new(path, text.as_str(), tag.span.clone()))
            .into())
    }
}

/// Returns the names of the header block and the footer blocks that an image has without defining
/// them.
pub(super) fn blocks_of_image(image: &ImageName) -> (String, [String; 2]) {
    let name = image.as_str().replace('-', "_");
    (format!("{name}_header"), [format!("{name}_footer"), "footer".to_owned()])
}

/// Registers the function that returns the variables that a file sets, as JSON.
pub(super) fn add_function(tera: &mut Tera) {
    tera.register_function(VARIABLES_SET, |given: Kwargs, state: &State<'_>| {
        let mut found = BTreeMap::new();
        for name in given.must_get::<Vec<String>>("names")? {
            if let Some(value) = state.get::<Value>(&name)? {
                found.insert(name, value);
            }
        }
        serde_json::to_string(&found).map_err(|error| Error::message(error.to_string()))
    });
}

/// Renders a template within the size limit of a Dockerfile.
fn rendered(tera: &Tera, template: &str, context: &Context) -> TeraResult<String> {
    let mut text = Text::default();
    let written = tera.render_to(template, context, &mut text);
    text.written(written, || Error::message(TOO_LONG))
}

/// Refuses a file that extends anything but [`PARENT`]. Only the first file has to have the tag.
fn check_parent(file: &Override, outline: &Outline, is_first: bool) -> Result<()> {
    let wrong = match &outline.extends {
        Some(extends) if extends.parent == PARENT => return Ok(()),
        None if !is_first => return Ok(()),
        Some(extends) => extends.span.clone(),
        None => 0..0,
    };
    Err(Diagnostic::new(format!("a template override must extend {PARENT}"))
        .at(Place::new(&file.path, file.text.as_str(), wrong))
        .help(format!("begin it with {{% extends {PARENT} %}}"))
        .into())
}

/// Returns the blocks of a template and of those that it extends.
fn blocks_in_line(path: &str, sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut blocks = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take().filter(|path| seen.insert(path.clone())) {
        let Some(text) = sources.get(&path) else { break };
        let outline = Outline::of(text);
        blocks.extend(outline.block_names().map(str::to_owned));
        next = outline.extends.map(|extends| extends.parent.trim_matches(['"', '\'', '`']).into());
    }
    blocks
}

fn name_of(index: usize) -> String {
    format!("{OVERRIDE_PREFIX}{index}")
}

fn name_of_settings(index: usize) -> String {
    format!("{}/settings", name_of(index))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{fault, rendered, told};
    const EXTENDS: &str = "{% extends parent_template %}\n";

    /// Renders one image with these overrides.
    fn one(template: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> =
            overrides.iter().map(|text| format!("{EXTENDS}{text}")).collect();
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        let variables = json!({"packages": ["a", "b"]});
        let components = "{% component list(@packages, @image_name, @customizations) %}\
             {{ packages | customizable(of=\"packages\") | join(sep=\" \") }}\
             {% endcomponent list %}";
        let templates = [("my-app/Dockerfile.tera", template), ("shared.tera", components)];
        rendered(&templates, &overrides, &variables).unwrap().remove(0)
    }

    #[test]
    fn lists_are_changed_in_templates_and_in_components() {
        for list in
            ["{{ packages | customizable(of=\"packages\") | join(sep=\" \") }}", "{{ <list /> }}"]
        {
            let table = [
                ("", "a b"),
                ("{% set my_app_packages_append = ['c'] %}", "a b c"),
                ("{% set my_app_packages_remove = [\"a\", \"x\"] %}", "b"),
                ("{% set my_app_packages_override = ['z'] %}", "z"),
                ("{% set my_app_packages_override = [] %}", ""),
                ("{% set extra = ['c'] %}{% set my_app_packages_append = extra %}", "a b c"),
                (
                    "{% if image_name == 'my-app' %}{% set my_app_packages_append = ['c'] %}{% endif %}",
                    "a b c",
                ),
                (
                    "{% if image_name == 'other' %}{% set my_app_packages_append = ['c'] %}{% endif %}",
                    "a b",
                ),
                ("{# {% set my_app_packages_append = ['c'] %} #}", "a b"),
                ("{% set my_app_pip_packages_append = ['c'] %}", "a b"),
            ];
            for (set, expected) in table {
                assert_eq!(one(list, &[set]), expected, "{set}");
            }
        }
    }

    #[test]
    fn files_are_laid_one_over_the_other() {
        let template = "FROM x\n{% block a %}old{% endblock %} {% block b %}kept{% endblock %}";
        let table: [(&[&str], &str); 7] = [
            (&["{% block a %}new{% endblock %}"], "new kept"),
            (&["{% block a %}{{ super() }}er{% endblock %}"], "older kept"),
            (
                &["{% block a %}1{% endblock %}", "{% block a %}{{ super() }}2{% endblock %}"],
                "12 kept",
            ),
            (&["{% block a %}1{% endblock %}", "{% block b %}2{% endblock %}"], "1 2"),
            (
                &["{% set v = 1 %}", "{% set v = v + 1 %}{% block a %}{{ v }}{% endblock %}"],
                "2 kept",
            ),
            (
                &[
                    "{% block a %}({% block c %}1{% endblock %}){% endblock %}",
                    "{% block c %}2{% endblock %}",
                ],
                "(2) kept",
            ),
            (
                &["text {{ image_name }} {% component c() %}C{% endcomponent c %}\
                   {% block unknown %}{% endblock %}{% block a %}{{ <c /> }}{% raw %}{{ x }}{% endraw %}{% endblock %}"],
                "C{{ x }} kept",
            ),
        ];
        for (overrides, expected) in table {
            assert_eq!(one(template, overrides), format!("FROM x\n{expected}"), "{overrides:?}");
        }
    }

    #[test]
    fn every_image_has_a_start_and_an_end() {
        let template = "FROM x\nLABEL y\n\nRUN z\n\nUSER u";
        let text = "{% block my_app_header %}\nRUN {{ super() }}1\n{% endblock %}\
                    {% block my_app_footer %}RUN {{ <list /> }}{% endblock %}\
                    {% block footer %}\nRUN 3\n{% endblock %}{% set my_app_packages_append = ['c'] %}";
        assert_eq!(
            one(template, &[text]),
            "FROM x\nLABEL y\n\nRUN 1\n\nRUN z\n\nRUN a b\n\nRUN 3\n\nUSER u"
        );
        let again = "{% block footer %}{{ super() }}RUN 4\n{% endblock %}";
        assert!(one(template, &[text, again]).ends_with("RUN 3\nRUN 4\n\nUSER u"));
        assert_eq!(one("FROM x", &["{% block other_footer %}RUN 1{% endblock %}"]), "FROM x");
    }

    #[test]
    fn a_block_that_the_image_has_by_itself_stays_where_it_is() {
        let template = "FROM x\n{% block footer %}RUN 1{% endblock %}\nRUN 2";
        let text = "{% block footer %}{{ super() }}0{% endblock %}";
        assert_eq!(one(template, &[text]), "FROM x\nRUN 10\nRUN 2");
    }

    #[test]
    fn an_image_may_extend_what_the_tree_has() {
        let templates = [
            ("a/Dockerfile.tera", "{% extends \"shared.tera\" %}{% block b %}of a{% endblock %}"),
            ("c/Dockerfile.tera", "{% extends \"shared.tera\" %}"),
            ("shared.tera", "FROM x\n{% block b %}{% endblock %}{% block d %}{% endblock %}"),
        ];
        let text = format!(
            "{EXTENDS}{{% block b %}}new {{{{ super() }}}}{{% endblock %}}\
             {{% block d %}} {{{{ image_name }}}}{{% endblock %}}"
        );
        let texts = rendered(&templates, &[&text], &json!({})).unwrap();
        assert_eq!(texts, ["FROM x\nnew of a a", "FROM x\nnew  c"]);
    }

    #[test]
    fn faults_are_shown_at_their_place() {
        let table = [
            (
                "{% set a = [1 %}",
                "the template can't be parsed: found `%}` but expected ,.",
                "2:15",
            ),
            ("{% block footer %}", "the template can't be parsed: unexpected end of input", "2:17"),
            ("{% set a = b.c %}", "the template can't be rendered: ", "2:12"),
            ("{% set a = b %}", "'a' is set to an undefined value", "2:1"),
            (
                "é{% block b %}é{{ no }}{% endblock %}",
                "the template can't be rendered: variable `no`",
                "2:19",
            ),
            (
                "{% block footer %}{{ no }}{% endblock %}",
                "the template can't be rendered: variable `no`",
                "2:22",
            ),
        ];
        let image = ("a/Dockerfile.tera", "FROM x\n{% block b %}{% endblock %}");
        for (text, message, place) in table {
            let error = fault(&[image], &[&format!("{EXTENDS}{text}")]);
            assert!(error.message.starts_with(message), "{text}: {}", error.message);
            assert_eq!(told(&error), [format!("over:{place}")], "{text}");
        }
        let in_line = format!("{}{{% block b %}}{{{{ no }}}}{{% endblock %}}", EXTENDS.trim_end());
        assert_eq!(told(&fault(&[image], &[&in_line])), ["over:1:46"]);
    }

    #[test]
    fn faults_of_a_list_are_reported_with_its_name() {
        let image = ("a/Dockerfile.tera", "FROM x\n{{ [1] | customizable(of=\"b\") }}");
        let error = fault(&[image], &[&format!("{EXTENDS}{{% set a_b_append = 'c' %}}")]);
        assert!(
            error.message.ends_with("a_b_append is not a list but of type `string`"),
            "{}",
            error.message
        );
        assert_eq!(told(&error), ["Dockerfile.tera:2:10"]);
    }

    #[test]
    fn errors_of_teras_checks_are_reported_with_the_path() {
        let image = ("a/Dockerfile.tera", "FROM x\n");
        let error = fault(&[image], &[&format!("{EXTENDS}{{{{ 1 | unknown }}}}")]);
        assert!(error.message.contains("Unknown filter `unknown`"), "{}", error.message);
        assert!(error.message.contains("--> over:2:8"), "{}", error.message);
        assert_eq!(error.notes, ["in over"]);
    }

    #[test]
    fn the_first_file_says_what_it_extends() {
        let image = ("a/Dockerfile.tera", "FROM x");
        for text in ["", "{% extends 'a/Dockerfile.tera' %}"] {
            let error = fault(&[image], &[text]);
            assert_eq!(error.message, "a template override must extend parent_template");
            assert_eq!(told(&error), ["over:1:1"]);
        }
        let second = "{% block footer %}RUN 1{% endblock %}";
        let texts = rendered(&[image], &[EXTENDS, second], &json!({})).unwrap();
        assert_eq!(texts, ["FROM x\n\nRUN 1"]);
    }
}
