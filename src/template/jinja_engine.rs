//! Engine for `Dockerfile.j2`: minijinja, set up to render as Jinja2 does for kolla-build.
//! Undefined variables are empty text, nothing is escaped, one newline at the end of a template is
//! dropped.
//!
//! Owns the differences between the two engines that template trees rely on: the length of an
//! undefined value is 0, strings and concatenated lists are sequences, line ends are normalised,
//! and a no-break space inside a tag is a space. Templates come from third parties: they can read
//! the files of the tree and nothing else.

use std::ops::Range;
use std::sync::Arc;

use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use regex::Regex;

use super::bounds::{TOO_LONG, Text};
use super::list_customization::{customization, customized};
use super::overrides::{Lists, Override};
use super::renderer::Renderer;
use super::rendering_errors::place_of_loop;
use super::template_input::RenderInput;
use super::{jinja_limits, outline};
use crate::diagnostic::{Diagnostic, Place, Result};
use crate::dialect::Functions;
use crate::image::ImageName;
use crate::tree::{Files, Tree};

/// Prefix of the engine's names for the user's override templates.
const OVERRIDE_PREFIX: &str = "override:";

/// Largest depth of calls between templates.
const RECURSION_LIMIT: usize = 200;

/// Largest number of steps of one template: far more than any template that ends takes.
const FUEL: u64 = 50_000_000;

/// Templates of a tree, each parsed at its first use.
pub(super) struct JinjaEngine<'a> {
    environment: Environment<'static>,
    tree: &'a Tree,
    overriding: Option<String>,
}

impl<'a> JinjaEngine<'a> {
    /// Creates an engine with the templates of `tree` and with the variables, functions and
    /// overrides that they are given.
    pub(super) fn new(
        tree: &'a Tree,
        input: &RenderInput,
        overrides: &[Override],
        lists: &Arc<Lists>,
    ) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_debug(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        jinja_limits::add(&mut environment);
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_fuel(Some(FUEL));
        let files = tree.files();
        environment.set_loader(move |path| source(&files, path));
        add_filters(&mut environment, lists);
        add_functions(&mut environment, &input.functions);
        for (name, value) in &input.variables {
            environment.add_global(name.clone(), Value::from(Serde(value)));
        }
        let mut engine = Self { environment, tree, overriding: None };
        engine.lay_over(overrides)?;
        Ok(engine)
    }

    /// Joins the user's overrides into one template and adds it to the environment.
    fn lay_over(&mut self, overrides: &[Override]) -> Result<()> {
        let Some((first, others)) = overrides.split_first() else { return Ok(()) };
        let mut text = first.text.clone();
        for other in others {
            text.push_str(&without_extends(&other.text));
        }
        let name = format!("{OVERRIDE_PREFIX}{}", first.path);
        let added = self.environment.add_template_owned(name.clone(), as_jinja2_reads(text));
        added.map_err(|error| self.explain(&name, &error))?;
        self.overriding = Some(name);
        Ok(())
    }

    /// Converts an error of minijinja into a diagnostic with the paths that the user knows: the
    /// innermost place first, then its callers.
    fn explain(&self, template: &str, error: &Error) -> Diagnostic {
        let mut chain = vec![error];
        while let Some(inner) = chain.last().and_then(|error| {
            std::error::Error::source(*error).and_then(|source| source.downcast_ref::<Error>())
        }) {
            chain.push(inner);
        }
        let innermost = chain[chain.len() - 1];
        let what = match innermost.kind() {
            ErrorKind::SyntaxError => "the template can't be parsed",
            ErrorKind::TemplateNotFound => "a template is missing",
            _ => "the template can't be rendered",
        };
        let detail = match innermost.detail() {
            Some(detail) => detail.to_owned(),
            None => innermost.kind().to_string(),
        };
        let mut diagnostic = Diagnostic::new(format!("{what}: {detail}"));
        for error in chain.iter().rev() {
            match self.place(error) {
                Some(place) if !diagnostic.places.contains(&place) => {
                    diagnostic = diagnostic.at(place);
                }
                _ => {}
            }
        }
        self.add_caller(diagnostic, template)
    }

    /// Adds the place where `template` calls the macro that holds the error. The engine keeps no
    /// call stack, so the call is searched for in the text; if several calls are possible, all are
    /// named.
    fn add_caller(&self, diagnostic: Diagnostic, template: &str) -> Diagnostic {
        let shown = self.display_path(template);
        if diagnostic.places.iter().any(|place| place.path == shown) {
            return diagnostic;
        }
        let text = self.tree.shown().text(template);
        let calls = match diagnostic.places.last() {
            Some(inner) => calls_of_macro(&inner.source, inner.span.start, &text),
            None => Vec::new(),
        };
        match &calls[..] {
            [] => diagnostic.note(format!("while rendering {shown}")),
            [call] => diagnostic.at(Place::new(shown, text, call.clone()).labelled("called here")),
            several => {
                let lines = several.iter().map(|call| 1 + text[..call.start].matches('\n').count());
                let lines: Vec<_> = lines.map(|line| line.to_string()).collect();
                diagnostic
                    .note(format!("called by {shown}, in one of the lines {}", lines.join(", ")))
            }
        }
    }

    /// Returns the text of an image's own template, which exists because it is what makes the
    /// folder an image.
    fn source(&self, path: &str) -> std::result::Result<String, Error> {
        Ok(source(&self.tree.files(), path)?.unwrap_or_default())
    }

    fn place(&self, error: &Error) -> Option<Place> {
        let (source, path) = (error.template_source()?, self.display_path(error.name()?));
        match (error.range(), error.line()) {
            (Some(span), _) => Some(Place::new(path, source, span)),
            (None, Some(line)) => Some(Place::line(path, source, line)),
            (None, None) => None,
        }
    }

    fn display_path(&self, template: &str) -> String {
        match template.strip_prefix(OVERRIDE_PREFIX) {
            Some(path) => path.to_owned(),
            None => self.tree.display_path(template),
        }
    }
}

impl Renderer for JinjaEngine<'_> {
    fn render(&self, path: &str, image: &ImageName) -> Result<String> {
        let context = minijinja::context! {
            image_name => image.as_str(),
            parent_template => self.overriding.as_ref().map_or(Value::UNDEFINED, |_| path.into()),
        };
        let mut text = Text::default();
        let written = match &self.overriding {
            Some(name) => self
                .environment
                .get_template(name)
                .and_then(|template| template.render_captured_to(context, &mut text).map(|_| ())),
            // Only this image uses its template, so the environment does not keep it.
            None => self.source(path).and_then(|source| {
                let template = self.environment.template_from_named_str(path, &source)?;
                template.render_captured_to(context, &mut text).map(|_| ())
            }),
        };
        let written = written.map_err(|error| self.explain(path, &error));
        let too_long = || {
            let error = Diagnostic::new(format!("the template can't be rendered: {TOO_LONG}"));
            error.at(place_of_loop(self.tree.shown(), path))
        };
        Ok(text.written(written, too_long)?)
    }
}

/// Returns the text of a template in the form that the engine reads; `None` if there is no such
/// file.
fn source(files: &Files, path: &str) -> std::result::Result<Option<String>, Error> {
    let Some(file) = files.get(path) else { return Ok(None) };
    let text = file.text(path).map_err(|error| {
        let said: Vec<_> = error.0.into_iter().map(|error| error.message).collect();
        Error::new(ErrorKind::InvalidOperation, said.join("; "))
    })?;
    outline::check_depth(&text).map_err(|(line, what)| {
        let message = format!("line {line} of '{path}': {what}");
        Error::new(ErrorKind::InvalidOperation, message)
    })?;
    Ok(Some(as_jinja2_reads(text)))
}

/// Returns a template's text with line ends and white space in tags as Jinja2 reads them.
fn as_jinja2_reads(mut text: String) -> String {
    const NO_BREAK_SPACE: char = '\u{a0}';
    if text.contains('\r') {
        text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    if !text.contains(NO_BREAK_SPACE) {
        return text;
    }
    let mut read = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let open = |rest: &str| {
        let braces = rest.match_indices('{').map(|(at, _)| at);
        braces.into_iter().find(|at| rest[at + 1..].starts_with(['%', '{']))
    };
    while let Some(start) = open(rest) {
        let close = if rest[start..].starts_with("{%") { "%}" } else { "}}" };
        let end = rest[start..].find(close).map_or(rest.len(), |end| start + end);
        read.push_str(&rest[..start]);
        read.push_str(&rest[start..end].replace(NO_BREAK_SPACE, " "));
        rest = &rest[end..];
    }
    read + rest
}

/// Returns the calls in `caller` of the macro of `library` that holds the byte `offset`. If there
/// are none, returns the calls of a macro that calls that one, directly or not.
fn calls_of_macro(library: &str, offset: usize, caller: &str) -> Vec<Range<usize>> {
    let definition = Regex::new(r"\{%-?\s*macro\s+(\w+)").expect("a literal");
    let macros: Vec<(usize, &str)> = definition
        .captures_iter(library)
        .filter_map(|found| Some((found.get(0)?.start(), found.get(1)?.as_str())))
        .collect();
    let around = |offset: usize| macros.iter().rev().find(|(start, _)| *start <= offset);
    let mut open: Vec<&str> = around(offset).map(|(_, name)| *name).into_iter().collect();
    let mut seen = Vec::new();
    while let Some(name) = open.pop() {
        let call = Regex::new(&format!(r"\b{name}\s*\(")).expect("a name is not a pattern");
        let calls: Vec<_> = call.find_iter(caller).map(|found| found.range()).collect();
        if !calls.is_empty() {
            return calls;
        }
        seen.push(name);
        let callers = call.find_iter(library).filter_map(|found| around(found.start()));
        open.extend(callers.map(|(_, name)| *name).filter(|name| !seen.contains(name)));
    }
    Vec::new()
}

/// Returns a template without the lines of its `extends` tags.
fn without_extends(text: &str) -> String {
    let extends = |line: &str| {
        line.ends_with('\n')
            && line.find("{%").is_some_and(|start| line[start..].contains("extends"))
    };
    text.split_inclusive('\n').filter(|line| !extends(line)).collect()
}

fn add_filters(environment: &mut Environment<'static>, lists: &Arc<Lists>) {
    let lists = Arc::clone(lists);
    environment.add_filter("customizable", move |state: &State, list: Value, what: &str| {
        customizable(state, list, what, &lists)
    });
    for name in ["length", "count"] {
        environment.add_filter(name, |value: Value| length(&value));
    }
    environment.add_test("sequence", |value: Value| is_sequence(&value));
}

/// Returns true if a value has a length and members: Jinja2's definition of a sequence.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Seq | Iterable | Map | String | Undefined)
}

/// Returns the length of a value; 0 if it is undefined.
fn length(value: &Value) -> std::result::Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    value.len().ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, format!("a {} has no length", value.kind()))
    })
}

/// Applies the variables `<image>_<what>_override`, `_append` and `_remove` to a list. An undefined
/// list stays undefined.
fn customizable(
    state: &State,
    list: Value,
    what: &str,
    lists: &Lists,
) -> std::result::Result<Value, Error> {
    if list.is_undefined() {
        return Ok(list);
    }
    let image = state.lookup("image_name").map(|name| name.to_string()).unwrap_or_default();
    lists.note(&image, what);
    let variable = |how: &str| state.lookup(&customization(&image, what, how));
    if let Some(instead) = variable("override") {
        return Ok(instead);
    }
    let (append, remove) = (variable("append"), variable("remove"));
    if append.is_none() && remove.is_none() {
        return Ok(list);
    }
    let values = |list: &Value| list.try_iter().map(Iterator::collect::<Vec<Value>>);
    let given = |list: Option<Value>| list.as_ref().map_or(Ok(Vec::new()), values);
    Ok(customized(values(&list)?, given(append)?, &given(remove)?).into())
}

fn add_functions(environment: &mut Environment<'static>, functions: &Arc<Functions>) {
    let refuse = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    environment.add_function("raise_error", move |message: Value| {
        Err::<Value, _>(refuse(message.to_string()))
    });
    let known = Arc::clone(functions);
    environment.add_function(
        "debian_package_install",
        move |packages: Value, clean: Option<bool>, named: Kwargs| {
            let named_clean = named.get::<Option<bool>>("clean_package_cache")?;
            named.assert_all_used()?;
            let clean = clean.or(named_clean).unwrap_or(true);
            Ok::<_, Error>(known.install_packages(&texts(&packages)?, clean))
        },
    );
    let known = Arc::clone(functions);
    environment.add_function("handle_repos", move |names: Value, mode: &str| {
        if !matches!(names.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Err(refuse("handle_repos takes a list of repositories".to_owned()));
        }
        known.handle_repos(&texts(&names)?, mode).map_err(refuse)
    });
    let known = Arc::clone(functions);
    environment.add_function("cleanup_repos", move || known.cleanup_repos().map_err(refuse));
}

/// Returns the members of a list as text; an undefined list has none.
fn texts(list: &Value) -> std::result::Result<Vec<String>, Error> {
    if list.is_undefined() {
        return Ok(Vec::new());
    }
    Ok(list.try_iter()?.map(|value| value.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{fault, rendered, told};

    fn one(template: &str) -> String {
        let variables = json!({"yes": true, "nothing": null, "packages": ["a", "b"]});
        rendered(&[("my-app/Dockerfile.j2", template)], &[], &variables).unwrap().remove(0)
    }

    #[test]
    fn templates_mean_what_they_mean_to_jinja2() {
        let table = [
            ("FROM {{ unknown }}x\n", "FROM x"),
            ("a\n\n", "a\n"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("{%\u{a0}if yes %}a{{\u{a0}'\u{a0}' }}{% endif %}\u{a0}", "a \u{a0}"),
            ("{{ unknown | length }}", "0"),
            ("{{ unknown is sequence }} {{ ([1] + [2]) is sequence }}", "True True"),
            ("{{ 'x' is sequence }} {{ 1 is sequence }}", "True False"),
            ("{{ yes }} {{ nothing }} {{ packages }}", "True None ['a', 'b']"),
            ("{{ '<&>' }}", "<&>"),
            ("{{ 'abc'.startswith('ab') }}", "True"),
            ("{{ (['x'] * packages | length) | join }}", "xx"),
            ("{{ debian_package_install([]) }}", ""),
            ("{{ debian_package_install(unknown) }}", ""),
        ];
        for (template, expected) in table {
            assert_eq!(one(template), expected, "{template}");
        }
    }

    #[test]
    fn lists_are_customised_by_variables() {
        let list = "{{ packages | customizable('packages') | join(' ') }}";
        let with = |set: &str| one(&format!("{{% set {set} %}}{list}"));
        assert_eq!(one(list), "a b");
        assert_eq!(with("my_app_packages_append = ['c']"), "a b c");
        assert_eq!(with("my_app_packages_remove = ['a', 'x']"), "b");
        assert_eq!(with("my_app_packages_override = ['z']"), "z");
        assert_eq!(with("other_packages_append = ['c']"), "a b");
        assert_eq!(one("{{ unknown | customizable('packages') is defined }}"), "False");
    }

    #[test]
    fn overrides_fill_the_blocks_of_every_image() {
        let template =
            "FROM x\n{% block header %}old{% endblock %}\n{% block b %}kept{% endblock %}";
        let overrides = [
            "{% extends parent_template %}\n{% block header %}new {{ super() }}{% endblock %}\n",
            "{% extends parent_template %}\n{% block b %}{{ image_name }}{% endblock %}\n",
        ];
        let images = [("a/Dockerfile.j2", template), ("c/Dockerfile.j2", "FROM y")];
        let texts = rendered(&images, &overrides, &json!({})).unwrap();
        assert_eq!(texts, ["FROM x\nnew old\na", "FROM y"]);
    }

    #[test]
    fn an_error_in_a_macro_is_shown_with_its_caller() {
        let macros = "{% macro outer() %}{{ inner() }}{% endmacro %}\n\
                      {% macro inner() %}\n{{ raise_error('no') }}{% endmacro %}";
        let image = "FROM x\n{% import 'macros.j2' as m with context %}\n{{ m.outer() }}";
        let error = fault(&[("macros.j2", macros), ("a/Dockerfile.j2", image)], &[]);
        assert_eq!(error.message, "the template can't be rendered: no");
        assert_eq!(told(&error), ["macros.j2:3:4", "Dockerfile.j2:3:6"]);
    }

    #[test]
    fn shared_fault_is_reported_once() {
        let image = "FROM x\n{% import 'macros.j2' as m %}\n{{ m.m() }}";
        let macros = "{% macro m() %}{{ raise_error('no') }}{% endmacro %}";
        let templates =
            [("macros.j2", macros), ("a/Dockerfile.j2", image), ("b/Dockerfile.j2", image)];
        let errors = rendered(&templates, &[], &json!({})).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].notes, ["one other image fails for the same reason"]);
    }

    #[test]
    fn nothing_outside_the_tree_is_reached() {
        for path in ["/etc/passwd", "../../../../../../etc/passwd", "./a/Dockerfile.j2"] {
            let image = format!("FROM x\n{{% include '{path}' %}}");
            let error = fault(&[("a/Dockerfile.j2", &image)], &[]);
            assert!(error.message.starts_with("a template is missing"), "{}", error.message);
        }
    }

    #[test]
    fn a_template_without_end_is_ended() {
        let deep = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
        let error_of_deep = fault(&[("a/Dockerfile.j2", deep)], &[]);
        assert!(error_of_deep.message.contains("recursion"), "{}", error_of_deep.message);
        let long = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let error_of_long = fault(&[("a/Dockerfile.j2", long)], &[]);
        assert!(error_of_long.message.contains("fuel"), "{}", error_of_long.message);
    }

    #[test]
    fn an_error_that_the_engine_puts_behind_the_text_is_shown() {
        let unclosed = "FROM x\r\n{% set a = 1 -%}{% raw %}{{}} { x% endraw %}{{ a }}\n";
        let error = fault(&[("a/Dockerfile.j2", unclosed)], &[]);
        assert!(error.message.starts_with("the template can't be parsed"), "{}", error.message);
        let place = &error.places[0];
        assert!(place.source.get(place.span.clone()).is_some());
    }
}
