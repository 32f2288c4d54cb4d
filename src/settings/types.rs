//! The types of values, as oslo.config makes them of a text.

/// Whether Python takes a character for white space: four separators that Unicode does not.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// A text without the white space around it.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}
