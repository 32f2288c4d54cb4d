//! Output of a run.

use super::resolver::Resolver;
use crate::console::{CiService, Verbosity};
use crate::settings::types::OutputSettings;

impl Resolver<'_> {
    /// Returns the settings of the output.
    pub(super) fn output(&mut self) -> OutputSettings {
        let verbosity = match (self.flag("debug"), self.flag("quiet")) {
            (true, _) => Verbosity::Debug,
            (false, true) => Verbosity::Quiet,
            (false, false) => Verbosity::Normal,
        };
        let json = self.choice("format") == "json";
        let summary_json_file = self.path("summary_json_file").filter(|_| json);
        OutputSettings {
            verbosity,
            work_dir: self.path("work_dir"),
            logs_dir: self.path("logs_dir"),
            summary: self.flag("summary"),
            json: json && summary_json_file.is_none(),
            summary_json_file,
            report: self.path("report"),
            junit: self.path("junit"),
            ci: self.service(),
        }
    }

    /// Returns the service that is named by the option, or else detected by its environment
    /// variable.
    fn service(&mut self) -> Option<CiService> {
        if self.given("ci").is_some() {
            return match self.choice("ci").as_str() {
                "github" => Some(CiService::GitHub),
                "gitlab" => Some(CiService::GitLab),
                _ => None,
            };
        }
        let says_so = |name: &str| self.layers.variable(name) == Some("true");
        match (says_so("GITHUB_ACTIONS"), says_so("GITLAB_CI")) {
            (true, _) => Some(CiService::GitHub),
            (false, true) => Some(CiService::GitLab),
            (false, false) => None,
        }
    }
}
