//! Lists that users change by variables: the names of the variables, and their effect.

/// Endings of the variables by which a user changes a list.
pub(super) const CUSTOMIZES: [&str; 3] = ["_override", "_append", "_remove"];

/// Returns the name of the variable by which a user changes the list `what` of an image; `how` is
/// `override`, `append` or `remove`.
pub(super) fn customization(image: &str, what: &str, how: &str) -> String {
    format!("{}_{what}_{how}", image.replace('-', "_"))
}

/// Returns true if a variable of this name changes a list.
pub(super) fn is_customization(name: &str) -> bool {
    CUSTOMIZES.iter().any(|ending| name.ends_with(ending))
}

/// Appends to a list, then removes the first occurrence of each value in `remove`.
pub(super) fn customized<T: PartialEq>(mut list: Vec<T>, append: Vec<T>, remove: &[T]) -> Vec<T> {
    list.extend(append);
    for unwanted in remove {
        if let Some(found) = list.iter().position(|value| value == unwanted) {
            list.remove(found);
        }
    }
    list
}
