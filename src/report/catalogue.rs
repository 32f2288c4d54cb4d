//! What is known of the images of a run before it begins, for those who tell of it: where their
//! templates are, what came of these, and where in them an instruction stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dockerfile;
use crate::image::ImageName;
use crate::template::origin_line;

/// What is known of an image.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What its template is called.
    pub template: String,
    /// Its Dockerfile.
    pub dockerfile: Arc<str>,
    /// The images outside of the tree that it is built on or copies from.
    pub externals: Vec<String>,
}

/// Where an instruction stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the template is called.
    pub template: String,
    /// The line of the template, from 1, or the nearest above that is in the Dockerfile as it is.
    pub template_line: usize,
    /// The line of the Dockerfile, from 1.
    pub line: usize,
    /// That line.
    pub text: String,
}

/// Reads the template of an image; `None` if it can't.
pub type ReadTemplate = Box<dyn Fn(&ImageName) -> Option<String> + Send>;

/// What is known of the images.
pub struct Catalogue {
    /// By name.
    pub images: BTreeMap<ImageName, Facts>,
    /// Templates are read only where something is to be found in them.
    pub read_template: ReadTemplate,
}

impl Catalogue {
    /// Where the `instruction` of an image stands, as its engine told it; `None` where that can't be
    /// found.
    pub fn place(&self, name: &ImageName, instruction: &str) -> Option<Place> {
        let facts = self.images.get(name)?;
        let line = dockerfile::line_of(&facts.dockerfile, instruction)?;
        let template = (self.read_template)(name);
        let origin = template.map(|template| origin_line(&template, &facts.dockerfile, line));
        Some(Place {
            template: facts.template.clone(),
            template_line: origin.unwrap_or(1),
            line,
            text: facts.dockerfile.lines().nth(line - 1).unwrap_or_default().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_found_in_dockerfile_and_template() {
        let template = "FROM {{ base }}\n\n# why\nRUN apt-get install {{ app }} \\\n    && true\n";
        let facts = Facts {
            template: "tree/app/Dockerfile.tera".to_owned(),
            dockerfile: "FROM debian:1\n\nRUN apt-get install app \\\n    && true\n".into(),
            externals: Vec::new(),
        };
        let catalogue = Catalogue {
            images: BTreeMap::from([(ImageName::new("app"), facts)]),
            read_template: Box::new(|_| Some(template.to_owned())),
        };
        let place = |instruction: &str| catalogue.place(&ImageName::new("app"), instruction);
        let found = place("RUN apt-get install app     && true").unwrap();
        assert_eq!((found.line, found.text.as_str()), (3, "RUN apt-get install app \\"));
        assert_eq!(found.template, "tree/app/Dockerfile.tera");
        assert_eq!(found.template_line, 4);
        assert_eq!(place("RUN something else"), None);
        assert_eq!(catalogue.place(&ImageName::new("other"), "RUN x"), None);
    }
}
