//! Values as they were given, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::option_definition::Authority;
use crate::diagnostic::{Diagnostic, Place};

/// Origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The option's own default.
    Default,
    /// The manifest of the tree, at this place if it is a file.
    Manifest(Option<Place>),
    /// A configuration file.
    File(Place),
    /// A configuration file that was found in the checkout with this top folder.
    Checkout(Place, Arc<Path>),
    /// The environment variable of this name.
    Environment(String),
    /// The command line, as this flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Manifest(_) => f.write_str("tree"),
            Self::File(place) | Self::Checkout(place, _) => {
                write!(f, "{}:{}", place.path, place.line_number())
            }
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl Origin {
    /// Returns the authority of whoever set the value.
    pub fn authority(&self) -> Authority {
        match self {
            Self::Default | Self::File(_) | Self::Environment(_) | Self::Flag(_) => Authority::User,
            Self::Checkout(..) => Authority::Checkout,
            Self::Manifest(_) => Authority::Tree,
        }
    }

    /// Returns the place in a file, if the value was written in one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) | Self::Checkout(place, _) => Some(place),
            Self::Manifest(place) => place.as_ref(),
            Self::Default | Self::Environment(_) | Self::Flag(_) => None,
        }
    }
}

/// Value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Value as it was written.
    pub value: String,
    /// Origin of the value.
    pub origin: Origin,
}

impl Given {
    /// Returns an error about this value, shown where it was written.
    pub fn refuse(&self, message: impl Into<String>) -> Diagnostic {
        let diagnostic = Diagnostic::new(message);
        match &self.origin {
            Origin::Default => diagnostic,
            Origin::Manifest(None) => diagnostic.note("the value comes from the tree"),
            Origin::Manifest(Some(place)) | Origin::File(place) | Origin::Checkout(place, _) => {
                diagnostic.at(place.clone())
            }
            Origin::Environment(name) => diagnostic.note(format!("the value comes from ${name}")),
            Origin::Flag(flag) => diagnostic.note(format!("the value comes from {flag}")),
        }
    }
}
