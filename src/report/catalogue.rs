//! Facts about the images of a run that are known before it begins, for the reports: templates,
//! Dockerfiles, and the line of a template that an instruction comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dockerfile;
use crate::image::ImageName;
use crate::template::origin_line;

/// Facts about one image.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Path of its template, as shown to the user.
    pub template: String,
    /// Text of its rendered Dockerfile.
    pub dockerfile: Arc<str>,
    /// External images that it is built on or copies from.
    pub externals: Vec<String>,
}

/// Position of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of the template, as shown to the user.
    pub template: String,
    /// Line of the template, from 1: that of the instruction, or the nearest one above it that the
    /// Dockerfile has unchanged.
    pub template_line: usize,
    /// Line of the Dockerfile, from 1.
    pub line: usize,
    /// Text of that line.
    pub text: String,
}

/// Reads the template of an image; `None` if it can't be read.
pub type ReadTemplate = Box<dyn Fn(&ImageName) -> Option<String> + Send>;

/// Facts about all images.
pub struct Catalogue {
    /// Facts by name of the image.
    pub images: BTreeMap<ImageName, Facts>,
    /// Reads a template. Called only when a position in it is looked for.
    pub read_template: ReadTemplate,
}

impl Catalogue {
    /// Returns the position of `instruction`, as the engine reported it, in the files of an image;
    /// `None` if it can't be found.
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
