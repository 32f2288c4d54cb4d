//! Input of rendering besides the tree: variables, functions and overrides.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::overrides::Override;
use crate::diagnostic::Diagnostic;
use crate::dialect::{Dialect, Functions, Tables};

/// Variables of templates, by name.
pub type Variables = Map<String, Value>;

/// Everything that rendering needs besides the tree.
#[derive(Debug)]
pub struct RenderInput {
    /// Variables of all images; each image's name is added to them.
    pub variables: Variables,
    /// Functions that templates call.
    pub functions: Arc<Functions>,
    /// Templates that the user lays over every image; they apply together, in this order.
    pub overrides: Vec<Override>,
    /// Build arguments that are declared at the start of every Dockerfile.
    pub build_arguments: Vec<String>,
    /// Reports the template that exceeds a limit of rendering, and ends the program.
    pub give_up: fn(Diagnostic),
}

impl RenderInput {
    /// Returns the input for a template that is rendered by itself: no variables and no
    /// overrides.
    pub(super) fn bare() -> Self {
        let functions = Functions {
            dialect: Dialect::newest(),
            tables: Tables::default(),
            package_type: "deb".to_owned(),
            base: "debian".to_owned(),
            base_tag: "1".to_owned(),
            arch: "x86_64".to_owned(),
            codename: None,
        };
        Self {
            variables: Variables::new(),
            functions: functions.into(),
            overrides: Vec::new(),
            build_arguments: Vec::new(),
            give_up: |_| {},
        }
    }
}
