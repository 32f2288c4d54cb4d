//! Action to take on the plan.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::resolver::Resolver;
use crate::settings::given::{Given, Origin};
use crate::settings::types::{GraphFormat, PlanFormat, Target, Task};

/// File name that stands for standard output.
const STDOUT: &str = "-";

impl Resolver<'_> {
    /// Returns the task; if several are requested, the one that kolla-build would choose.
    pub(super) fn task(&mut self) -> Task {
        if self.flag("template_only") {
            Task::TemplateOnly
        } else if let Some(file) = self.path("save_dependency") {
            self.save_dependency(file)
        } else if self.flag("list_images") {
            Task::ListImages
        } else if self.flag("list_dependencies") {
            Task::ListDependencies
        } else if self.flag("plan") {
            Task::Plan(self.plan_format())
        } else {
            Task::Build
        }
    }

    fn save_dependency(&mut self, file: PathBuf) -> Task {
        let ending = file.extension().and_then(OsStr::to_str).unwrap_or_default();
        let of_ending = match ending.to_ascii_lowercase().as_str() {
            "json" => GraphFormat::Json,
            "mmd" | "mermaid" => GraphFormat::Mermaid,
            _ => GraphFormat::Dot,
        };
        let format = match self.given("graph_format").map(|given| given.value).as_deref() {
            Some("dot") => GraphFormat::Dot,
            Some("json") => GraphFormat::Json,
            Some("mermaid") => GraphFormat::Mermaid,
            _ => of_ending,
        };
        let is_stdout = file.as_os_str() == STDOUT;
        let target = if is_stdout { Target::Stdout } else { Target::File(file) };
        Task::SaveDependency(target, format)
    }

    /// Returns the format of the plan: text, unless JSON is requested explicitly. The default of
    /// the option, JSON, holds for the summary only.
    fn plan_format(&mut self) -> PlanFormat {
        match self.given("format") {
            Some(Given { value, origin }) if value == "json" && origin != Origin::Default => {
                PlanFormat::Json
            }
            _ => PlanFormat::Text,
        }
    }
}
