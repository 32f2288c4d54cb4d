//! Bounds the size of a text or a list that one call of a Jinja2 filter can make.
//!
//! The watchdog notices memory that grows step by step. A single allocation that is too large
//! aborts the process without naming a template. The engine bounds the results of `*` and `range`;
//! this module bounds everything else that takes a size as a number.

use std::sync::LazyLock;

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};
use minijinja_contrib::pycompat::unknown_method_callback;
use regex::bytes::Regex;

/// Largest width, depth or number of parts that a template may ask for.
const LARGEST: u64 = 10_000;

/// Widths and precisions in a format that have five or more digits, or that are passed as
/// arguments. The pattern matches bytes: compiling a class of all characters but one takes longer
/// than reading all formats.
static WIDE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"(?-u)%(\([^)]*\))?[-+ #0]*([0-9]*\.)?(\*|[0-9]{5,})|\{[^{}]*:[^{}]*([0-9]{5,}|\{)";
    Regex::new(pattern).expect("a literal")
});

/// Bounds the filters and methods of `environment` that take a size.
pub(super) fn add(environment: &mut Environment<'static>) {
    let sized = [
        ("batch", Value::from_function(filters::batch)),
        ("indent", Value::from_function(filters::indent)),
        ("slice", Value::from_function(filters::slice)),
        ("tojson", Value::from_function(filters::tojson)),
    ];
    for (name, filter) in sized {
        environment.add_filter(
            name,
            move |state: &mut State, value: Value, arguments: Rest<ValueOrKwargs>| {
                let arguments = arguments.into_values();
                if arguments.iter().any(holds_large) {
                    return Err(too_large(name));
                }
                let all: Vec<Value> = std::iter::once(value).chain(arguments).collect();
                filter.call(state, &all)
            },
        );
    }
    let format = Value::from_function(filters::format);
    environment.add_filter(
        "format",
        move |state: &mut State, value: Value, arguments: Rest<ValueOrKwargs>| {
            refuse_wide(&value)?;
            let all: Vec<Value> = std::iter::once(value).chain(arguments.into_values()).collect();
            format.call(state, &all)
        },
    );
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        if method == "format" {
            refuse_wide(value)?;
        }
        unknown_method_callback(state, value, method, arguments)
    });
}

fn refuse_wide(format: &Value) -> Result<(), Error> {
    match format.as_str() {
        Some(text) if WIDE.is_match(text.as_bytes()) => Err(too_large("format")),
        _ => Ok(()),
    }
}

fn too_large(name: &str) -> Error {
    let message = format!("{name} is limited to {LARGEST} items at once");
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Returns true if an argument, or one of the named arguments that it holds, is a number above
/// [`LARGEST`].
fn holds_large(argument: &Value) -> bool {
    if argument.is_kwargs() {
        let names = argument.try_iter().into_iter().flatten();
        return names.filter_map(|name| argument.get_item(&name).ok()).any(|one| holds_large(&one));
    }
    argument.kind() == ValueKind::Number
        && !matches!(u64::try_from(argument.clone()), Ok(number) if number <= LARGEST)
        && !matches!(i64::try_from(argument.clone()), Ok(number) if number < 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fault, rendered};

    #[test]
    fn nothing_large_is_made_at_once() {
        for template in [
            "{{ 'ab' | indent(1000000000000) }}",
            "{{ 'ab' | indent(width=1000000000000) }}",
            "{{ [1] | batch(1000000000000, 'x') }}",
            "{{ [1] | slice(1000000000000) }}",
            "{{ [1] | tojson(indent=1000000000000) }}",
            "{{ '%1000000000000d' | format(1) }}",
            "{{ '%-.1000000000000f' | format(1) }}",
            "{{ '%(a)1000000000000d' | format(a=1) }}",
            "{{ '%*d' | format(1000000000000, 1) }}",
            "{{ '{:>1000000000000}'.format(1) }}",
            "{{ '{a:.1000000000000f}'.format(a=1) }}",
            "{{ '{:{}}'.format(1, 1000000000000) }}",
            "{{ 'x' * 1000000000000 }}",
            "{{ [1] * 1000000000000 }}",
        ] {
            let error = fault(&[("a/Dockerfile.j2", &format!("FROM x\n{template}"))], &[]);
            let is_meant = error.message.contains("limited to 10000 items at once")
                || error.message.contains("too large");
            assert!(is_meant, "{template}: {}", error.message);
            assert_eq!(error.places[0].line_number(), 2, "{template}");
        }
    }

    #[test]
    fn usual_values_are_made() {
        let template = "{{ 'a\nb' | indent(2) }} {{ [1, 2, 3] | batch(2, 0) | list }} \
                        {{ [1, 2] | slice(2) | list }} {{ '%5.1f|%s' | format(1.25, 123456) }} \
                        {{ '{:>3}|{}'.format(1, 123456) }} {{ {'a': 1} | tojson(indent=1) }}";
        let texts = rendered(&[("a/Dockerfile.j2", template)], &[], &serde_json::json!({}));
        assert_eq!(
            texts.unwrap(),
            ["a\n  b [[1, 2], [3, 0]] [[1], [2]]   1.2|123456   1|123456 {\n \"a\": 1\n}"]
        );
    }
}
