//! Differences between the files of two runs.

/// Returns the differences between the files, `(path, text)`, of two runs as a diff with a heading
/// for each file.
pub fn changes(before: &[(String, String)], after: &[(String, String)]) -> String {
    assert_eq!(before.len(), after.len());
    let mut shown = String::new();
    for ((path, old), (same, new)) in before.iter().zip(after) {
        assert_eq!(path, same);
        if old != new {
            let diff = similar::TextDiff::from_lines(old, new);
            shown += &format!("=== {path}\n{}\n", diff.unified_diff().context_radius(2));
        }
    }
    shown
}
