//! Items for the integration tests and the fuzzers. They are not an interface: any of them may
//! change in any release.

pub mod diagnostic {
    pub use crate::diagnostic::{Diagnostic, Diagnostics};
}

pub mod dockerfile {
    pub use crate::dockerfile::{ReadingInput, parse};
}

pub mod event {
    pub use crate::event::{Aside, BuiltImage, Event, Outcome, Pushed, SetAside, ToBuild, Warning};
}

pub mod fuzzing {
    pub use crate::fuzzing::{
        READERS, archive, challenge, dockerfile_text, ini_file, jinja, manifest, names, reference,
        tera, writer, yaml_file,
    };
}

pub mod image {
    pub use crate::image::{ImageName, ImageRef, SourceName};
}

pub mod lint {
    pub use crate::lint::Rule;
}

pub mod name_pattern {
    pub use crate::name_pattern::NamePattern;
}

pub mod report {
    pub use crate::report::Subscriber;
    pub use crate::report::catalogue::{Catalogue, Facts};
    pub use crate::report::html::page;
    pub use crate::report::record::Record;
}

pub mod settings {
    pub use crate::settings::ini::{Entry as IniEntry, parse as parse_ini};
    pub use crate::settings::option_definition::{Authority, Effect, Kind, Opt, OptionDefault};
    pub use crate::settings::options::{OPTIONS, option};
    pub use crate::settings::{AxisSettings, Layers, Profiles, RunSettings, overlays, settle};
}

pub mod source {
    pub use crate::source::{Digest, Kind, Pace, Source, fetch, of_image};
}

pub mod tree {
    pub use crate::tree::{Manifest, Tree, UserVariables};
}

pub mod yaml {
    pub use crate::dialect::yaml::{Yaml, parse};
}
