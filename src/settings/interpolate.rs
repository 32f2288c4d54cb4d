//! References to other options within a value: `$name` and `${name}`, with the syntax of
//! oslo.config.

/// Returns `text` with every reference replaced by the result of `value_of` for its name. `$$` and
/// `\\$` are a dollar sign, and a dollar sign before anything else stands for itself.
///
/// # Errors
/// The first error of `value_of`.
pub(super) fn interpolate<E>(
    text: &str,
    mut value_of: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    // Escapes are replaced first: the dollar sign of an escape may follow another one.
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

/// Returns the name at the beginning of a text, in braces or bare, and the rest of the text.
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
