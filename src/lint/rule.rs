//! Table of the rules.

/// Rule of `kiln lint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Template that can't be parsed or rendered.
    RenderError,
    /// Rendered text that is not a Dockerfile.
    DockerfileError,
    /// Two folders that make images of the same name.
    DuplicateImage,
    /// Cycle of images.
    ImageCycle,
    /// Reference to an image in the tree's namespace that the tree does not have.
    UnknownImage,
    /// External image without a tag.
    UntaggedBase,
    /// `COPY` or `ADD` of a file that does not exist.
    MissingSource,
    /// File that nothing refers to.
    UnusedFile,
    /// Template that belongs to no image and that no other template uses.
    UnusedTemplate,
    /// Image that no profile selects.
    NoProfile,
    /// Word in the place of an instruction that is not one.
    UnknownInstruction,
    /// Instruction without arguments.
    EmptyInstruction,
    /// Instruction or flag that the builder does not have.
    NewerFrontend,
    /// Line that ends in a continuation without a next line.
    DanglingContinuation,
    /// Empty line within an instruction.
    BlankContinuation,
    /// White space at the end of a line.
    TrailingSpace,
    /// Command that the shell can't parse.
    ShellSyntax,
    /// Installation that asks for confirmation.
    UnattendedInstall,
    /// Installation from package lists of an earlier layer.
    AptUpdate,
    /// Package lists that stay in the image.
    AptLists,
    /// Relative working folder, which depends on the parent.
    RelativeWorkdir,
    /// Deprecated instruction `MAINTAINER`.
    Maintainer,
    /// List of packages that is not sorted.
    UnsortedPackages,
    /// Package that is twice in a list.
    RepeatedPackage,
    /// Remark that allows an unknown rule.
    UnknownRule,
}

impl Rule {
    /// All rules, in the order in which they are listed.
    pub const ALL: [Self; 25] = [
        Self::RenderError,
        Self::DockerfileError,
        Self::DuplicateImage,
        Self::ImageCycle,
        Self::UnknownImage,
        Self::UntaggedBase,
        Self::MissingSource,
        Self::UnusedFile,
        Self::UnusedTemplate,
        Self::NoProfile,
        Self::UnknownInstruction,
        Self::EmptyInstruction,
        Self::NewerFrontend,
        Self::DanglingContinuation,
        Self::BlankContinuation,
        Self::TrailingSpace,
        Self::ShellSyntax,
        Self::UnattendedInstall,
        Self::AptUpdate,
        Self::AptLists,
        Self::RelativeWorkdir,
        Self::Maintainer,
        Self::UnsortedPackages,
        Self::RepeatedPackage,
        Self::UnknownRule,
    ];

    /// Returns the name by which the rule is selected and silenced.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the description of the rule's findings, as a part of a sentence.
    pub fn finds(self) -> &'static str {
        self.row().1
    }

    /// Returns the reason for the rule.
    pub fn reason(self) -> &'static str {
        self.row().2
    }

    /// Returns the rule with this name; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::RenderError => (
                "render-error",
                "a template that can't be parsed or rendered",
                "no image of the tree can be built until it is fixed",
            ),
            Self::DockerfileError => (
                "dockerfile-error",
                "a rendered Dockerfile without `FROM`, or with a reference that can't be parsed",
                "the image can't be built",
            ),
            Self::DuplicateImage => (
                "duplicate-image",
                "two image folders with the same name",
                "an image is named after its folder, and names must be unique",
            ),
            Self::ImageCycle => (
                "image-cycle",
                "a cycle of images that need each other",
                "no image of the cycle can be built first",
            ),
            Self::UnknownImage => (
                "unknown-image",
                "`FROM`, `COPY --from` or `RUN --mount=from` of an image in the tree's namespace that the tree does not have",
                "the name is misspelt, or the image was removed or renamed",
            ),
            Self::UntaggedBase => (
                "untagged-base",
                "`FROM` of a base image without tag or digest",
                "the default tag is `latest`, which can change at any time",
            ),
            Self::MissingSource => (
                "missing-source",
                "`COPY` or `ADD` of a file that is neither in the image's folder nor one of its sources",
                "the build fails",
            ),
            Self::UnusedFile => (
                "unused-file",
                "a file in an image's folder that no instruction copies or mounts on the bases and types of the run, and that no template mentions, not even by a composed name",
                "it changes the image's fingerprint and has no other effect",
            ),
            Self::UnusedTemplate => (
                "unused-template",
                "a template outside of the image folders that no other template includes, imports, extends or uses a component of",
                "it contributes to no image",
            ),
            Self::NoProfile => (
                "no-profile",
                "an image that no profile of the tree selects, neither directly nor as an ancestor",
                "it is never built by profiles",
            ),
            Self::UnknownInstruction => (
                "unknown-instruction",
                "a line that does not begin with a Dockerfile instruction",
                "the build fails; often the previous line lacks its `\\`",
            ),
            Self::EmptyInstruction => {
                ("empty-instruction", "an instruction without arguments", "the build fails")
            }
            Self::NewerFrontend => (
                "newer-frontend",
                "a flag, here-document or git repository that the frontend of `# syntax`, the engine of `--engine-version` or the classic builder does not have",
                "the build fails",
            ),
            Self::DanglingContinuation => (
                "dangling-continuation",
                "a `\\` at the end of the last line of an instruction",
                "the next line becomes a part of the command",
            ),
            Self::BlankContinuation => (
                "blank-continuation",
                "an empty line within an instruction",
                "builders warn about it and plan to reject it",
            ),
            Self::TrailingSpace => (
                "trailing-space",
                "whitespace at the end of a line of a template",
                "it is invisible and can get into the Dockerfile; removing it later rebuilds the image",
            ),
            Self::ShellSyntax => (
                "shell-syntax",
                "a command of `RUN` that its shell can't parse (`sh -n` or `bash -n`)",
                "the build fails",
            ),
            Self::UnattendedInstall => (
                "unattended-install",
                "`apt-get`, `apt`, `dnf`, `yum` or `microdnf` that installs without `-y`",
                "it asks for confirmation, and the build fails",
            ),
            Self::AptUpdate => (
                "apt-update",
                "`apt-get install` without `apt-get update` in the same `RUN`",
                "the package lists of an earlier layer may be removed or out of date",
            ),
            Self::AptLists => (
                "apt-lists",
                "`apt-get update` and `install` without removing `/var/lib/apt/lists` in the same `RUN`",
                "the package lists stay in the image and make it larger",
            ),
            Self::RelativeWorkdir => (
                "relative-workdir",
                "`WORKDIR` with a relative path before any absolute one in the stage",
                "the resulting path depends on the parent image",
            ),
            Self::Maintainer => ("maintainer", "`MAINTAINER`", "it is deprecated: use a `LABEL`"),
            Self::UnsortedPackages => (
                "unsorted-packages",
                "a list of packages that is not sorted alphabetically, with or without regard to case",
                "a sorted list is easier to read, and changes to it merge without conflicts",
            ),
            Self::RepeatedPackage => (
                "repeated-package",
                "a package that occurs twice in a list",
                "removing one entry leaves the other",
            ),
            Self::UnknownRule => {
                ("unknown-rule", "a `kiln-lint: allow` of an unknown rule", "it has no effect")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_by_its_name() {
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(rule));
        }
        assert_eq!(Rule::named("no-such-rule"), None);
    }
}
