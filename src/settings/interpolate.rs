//! References to other options within a value: `$name` and `${name}`, as oslo.config reads them.

/// `text` with every reference replaced by what `value_of` makes of the name; `$$` and `\\$` are a
/// dollar sign, and a dollar sign before anything else stands for itself.
///
/// # Errors
/// The first that `value_of` has.
pub(super) fn interpolate<E>(
    text: &str,
    mut value_of: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    // Not both at once: the dollar sign that an escape leaves may stand after another one.
    let text = text.replace("\\$", "$$");
    let mut result = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = name_at(rest) {
            result.push_str(&value_of(name)?);
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// The name that a text begins with, in braces or bare, and what comes after it.
fn name_at(text: &str) -> Option<(&str, &str)> {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let (inner, braced) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    if !inner.starts_with(is_start) {
        return None;
    }
    let end = inner.find(|c| !is_part(c)).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    match braced {
        true => Some((name, after.strip_prefix('}')?)),
        false => Some((name, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced() {
        let known = |name: &str| match name {
            "a" => Ok("1".to_owned()),
            "long_name" => Ok("2".to_owned()),
            _ => Err(name.to_owned()),
        };
        let table = [
            ("plain", Ok("plain")),
            ("$a/$long_name", Ok("1/2")),
            ("x${a}y", Ok("x1y")),
            ("$$a \\$a", Ok("$a $a")),
            ("$\\$a \\\\$a", Ok("$1 \\$a")),
            ("$1 $ ${} ${a", Ok("$1 $ ${} ${a")),
            ("$other", Err("other")),
            ("$a.b", Err("a.b")),
        ];
        for (text, expected) in table {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(interpolate(text, known), expected, "{text}");
        }
    }
}
