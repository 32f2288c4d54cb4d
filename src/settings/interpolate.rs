//! References to other options within a value: `$name` and `${name}`, as oslo.config reads them.

/// `text` with every reference replaced by what `value_of` knows; `$$` and `\\$` are a dollar sign,
/// and a dollar sign before anything else stands for itself.
///
/// # Errors
/// The first name that `value_of` does not know.
pub(super) fn interpolate(
    text: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let escaped = rest[..at].ends_with('\\');
        result.push_str(rest[..at].strip_suffix('\\').unwrap_or(&rest[..at]));
        rest = &rest[at + 1..];
        if escaped || rest.starts_with('$') {
            result.push('$');
            rest = if escaped { rest } else { &rest[1..] };
            continue;
        }
        match name_at(rest) {
            Some((name, after)) => {
                result.push_str(&value_of(name).ok_or_else(|| name.to_owned())?);
                rest = after;
            }
            None => result.push('$'),
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
            "a" => Some("1".to_owned()),
            "long_name" => Some("2".to_owned()),
            _ => None,
        };
        let table = [
            ("plain", Ok("plain")),
            ("$a/$long_name", Ok("1/2")),
            ("x${a}y", Ok("x1y")),
            ("$$a \\$a", Ok("$a $a")),
            ("$1 $ ${} ${a", Ok("$1 $ ${} ${a")),
            ("$other", Err("other")),
            ("$a.b", Err("a.b")),
        ];
        for (text, expected) in table {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(interpolate(text, &known), expected, "{text}");
        }
    }
}
