//! `RUN --mount`, as far as it says which files a command can read.

use super::flags::{Placed, fields};

/// Mount of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Type in lower case, `bind` by default.
    pub kind: String,
    /// Stage or image that is mounted; `None` for the context.
    pub from: Option<String>,
    /// Path of what is mounted, `/` by default.
    pub source: String,
}

impl Mount {
    /// Reads the value of `--mount`; `None` if it is no list of fields.
    pub(super) fn read(value: &Placed) -> Option<Self> {
        let mut mount = Self { kind: "bind".to_owned(), from: None, source: "/".to_owned() };
        for field in fields(value)? {
            let Some((key, value)) = field.split_value() else { continue };
            match key.to_ascii_lowercase().as_str() {
                "type" => mount.kind = value.text.to_ascii_lowercase(),
                "from" => mount.from = Some(value.text).filter(|from| !from.is_empty()),
                "source" | "src" => mount.source = value.text,
                _ => {}
            }
        }
        Some(mount)
    }
}
