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
    pub const ALL: [Self; 24] = [
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
                "no image of the tree can be built before it is mended",
            ),
            Self::DockerfileError => (
                "dockerfile-error",
                "a rendered text without `FROM`, or with a reference that can't be read",
                "nor then",
            ),
            Self::DuplicateImage => (
                "duplicate-image",
                "two folders of one name that both make an image",
                "an image is named after its folder",
            ),
            Self::ImageCycle => (
                "image-cycle",
                "images that are built on each other",
                "none of them can be the first",
            ),
            Self::UnknownImage => (
                "unknown-image",
                "`FROM`, `COPY --from` or `RUN --mount=from` of an image of the namespace that the tree does not have",
                "it is a slip, or an image that was removed or renamed",
            ),
            Self::UntaggedBase => (
                "untagged-base",
                "`FROM` of an external image without tag or digest",
                "it means `latest`, which is another image tomorrow",
            ),
            Self::MissingSource => (
                "missing-source",
                "`COPY` or `ADD` of a file that is not in the image's folder, nor fetched for it",
                "the build fails there",
            ),
            Self::UnusedFile => (
                "unused-file",
                "a file in an image's folder that no instruction copies on the bases and types of the run, and that no template mentions, also not by a name that is put together",
                "it changes the image's fingerprint and is of no other use",
            ),
            Self::UnusedTemplate => (
                "unused-template",
                "a template outside of the images' folders that no other includes, imports, extends or takes a component of",
                "nothing of it is in any image",
            ),
            Self::NoProfile => (
                "no-profile",
                "an image that no profile of the tree selects, neither itself nor for what is built on it",
                "who builds by profiles never builds it",
            ),
            Self::UnknownInstruction => (
                "unknown-instruction",
                "a line that begins with no instruction of a Dockerfile",
                "the build fails there; often the line before lacks its `\\`",
            ),
            Self::EmptyInstruction => (
                "empty-instruction",
                "an instruction with nothing behind its keyword",
                "the build fails there",
            ),
            Self::DanglingContinuation => (
                "dangling-continuation",
                "a `\\` at the end of an instruction: an instruction or nothing follows",
                "what follows becomes a part of the command",
            ),
            Self::BlankContinuation => (
                "blank-continuation",
                "an empty line within an instruction",
                "builders warn of it, and are to refuse it one day",
            ),
            Self::TrailingSpace => (
                "trailing-space",
                "white space at the end of a line of a template",
                "nobody sees it; it may end up in the Dockerfile, and its removal then builds the image again",
            ),
            Self::ShellSyntax => (
                "shell-syntax",
                "a `RUN` that the shell can't read (`sh -n`; `bash -n` where `SHELL` says so)",
                "the build fails there",
            ),
            Self::UnattendedInstall => (
                "unattended-install",
                "`apt-get`, `apt`, `dnf`, `yum` or `microdnf` that installs without `-y`",
                "it asks, and nobody answers",
            ),
            Self::AptUpdate => (
                "apt-update",
                "`apt-get install` without `apt-get update` in the same `RUN`",
                "the lists of an earlier layer are gone, or name versions that are",
            ),
            Self::AptLists => (
                "apt-lists",
                "`apt-get update` and `install` without removal of `/var/lib/apt/lists` in the same `RUN`",
                "the lists stay in the image",
            ),
            Self::RelativeWorkdir => (
                "relative-workdir",
                "`WORKDIR` with a relative path before any absolute one in the stage",
                "where it leads is up to the image below",
            ),
            Self::Maintainer => {
                ("maintainer", "`MAINTAINER`", "it is out of use: `LABEL` says the same")
            }
            Self::UnsortedPackages => (
                "unsorted-packages",
                "a list of packages that is in the order of the alphabet neither with nor without regard to case",
                "a sorted list shows what is in it, and is merged without conflicts",
            ),
            Self::RepeatedPackage => (
                "repeated-package",
                "a package that is twice in a list",
                "one of the two is left behind when the other is taken out",
            ),
            Self::UnknownRule => (
                "unknown-rule",
                "a `kiln-lint: allow` of a rule that there is not",
                "it silences nothing",
            ),
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
