//! Languages of templates, and the names of their files.

/// Language of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Tera.
    Tera,
    /// Jinja2, with the extensions of kolla-build.
    Jinja,
}

impl Language {
    /// Returns the name of the file that makes a folder an image with a template in this language.
    pub fn template(self) -> &'static str {
        match self {
            Self::Tera => "Dockerfile.tera",
            Self::Jinja => "Dockerfile.j2",
        }
    }
}

/// Suffix of files that are templates in Tera.
pub(super) const TERA_SUFFIX: &str = ".tera";
