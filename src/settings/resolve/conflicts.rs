//! Refusal of options that contradict each other, before anything is done; the error says what to
//! change.

use super::resolver::Resolver;
use crate::diagnostic::Diagnostic;
use crate::image::Platform;
use crate::settings::given::{Given, Origin};
use crate::settings::types::{AxisBuildSettings, RunSettings, Task};

impl Resolver<'_> {
    /// Refuses combinations of options that contradict each other.
    pub(super) fn refuse_conflicts(&mut self, run: &RunSettings, build: &AxisBuildSettings) {
        self.refuse_squashing_by_buildkit(build);
        self.refuse_platform_of_another_arch(build);
        self.refuse_format_of_no_graph(&run.task);
        let several_platforms = self.label.tag_suffix.is_some();
        if several_platforms && run.task.is_of_build() && !run.push.is_wanted() {
            let given = self.layers.explicit("platform");
            self.refuse_together(
                given,
                "images of several platforms are joined in a registry",
                "add --push, or build for one --platform",
            );
        }
    }

    fn refuse_squashing_by_buildkit(&mut self, build: &AxisBuildSettings) {
        let asked_for = self.layers.explicit("buildkit").filter(|_| self.flag("buildkit"));
        if build.squash.is_some() && !self.is_podman() && asked_for.is_some() {
            self.refuse_together(
                asked_for,
                "images that BuildKit has built can't be squashed",
                "leave out one of buildkit and squash",
            );
        }
    }

    /// Refuses a graph format on the command line without a request for a graph. A file may set the
    /// format for every run.
    fn refuse_format_of_no_graph(&mut self, task: &Task) {
        let given = self.layers.explicit("graph_format");
        let given = given.filter(|given| matches!(given.origin, Origin::Flag(_)));
        if *task == Task::Build && given.is_some() {
            self.refuse_together(
                given,
                "graph_format has no effect without --save-dependency",
                "add --save-dependency FILE, or - for standard output",
            );
        }
    }

    fn refuse_platform_of_another_arch(&mut self, build: &AxisBuildSettings) {
        let Some(platform) = &build.platform else { return };
        let Some(given) = self.layers.explicit("base_arch") else { return };
        let Some(arch) = self.text("base_arch") else { return };
        if arch != platform.kernel_arch() {
            let message = format!(
                "{platform} has the architecture {}, and base_arch is {arch}",
                platform.kernel_arch()
            );
            self.refuse_together(
                Some(given),
                &message,
                "leave out base_arch: platform determines it",
            );
        }
    }

    fn refuse_together(&mut self, given: Option<Given>, message: &str, cure: &str) {
        let refused = match given {
            Some(given) => given.refuse(message),
            None => Diagnostic::new(message),
        };
        self.refuse(refused.help(cure));
    }

    /// Returns the platform to build for, if one is given.
    pub(super) fn platform(&mut self) -> Option<Platform> {
        let given = self.given("platform").filter(|given| !given.value.is_empty())?;
        let platform = Platform::from_any_name(&given.value);
        if platform.is_err() {
            let message = format!("'{}' is not a platform", given.value);
            self.refuse(given.refuse(message).help("write OS/ARCH, such as linux/arm64"));
        }
        platform.ok()
    }
}
