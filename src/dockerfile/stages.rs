//! Stages and references of a Dockerfile, and which of them its image needs.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::image::{ImageRef, Platform};
use crate::words::words;

words! {
    /// Instruction that refers to an image; the word is the instruction as it is written.
    #[derive(Hash)]
    pub enum Via {
        /// `FROM image`
        From = "FROM",
        /// `COPY --from=image` (or `ADD --from`)
        Copy = "COPY --from",
        /// `RUN --mount=from=image`
        Mount = "RUN --mount=from",
    }
}

/// Values besides the text that decide what a Dockerfile refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingInput {
    /// Build arguments of the user, which replace the defaults of `ARG`.
    pub build_args: BTreeMap<String, String>,
    /// Platform to build for, `TARGETPLATFORM`.
    pub target: Platform,
    /// Platform of the engine, `BUILDPLATFORM`.
    pub build: Platform,
}

impl Default for ReadingInput {
    /// Returns the input without build arguments, for an engine on the architecture of this
    /// machine.
    fn default() -> Self {
        let host = Platform::of_host();
        Self { build_args: BTreeMap::new(), target: host.clone(), build: host }
    }
}

/// Image outside of the Dockerfile that the Dockerfile refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Image that is referred to.
    pub image: ImageRef,
    /// Instruction that refers to the image.
    pub via: Via,
    /// Bytes of the text that name the image.
    pub span: Range<usize>,
    /// Index of the stage that refers to the image.
    pub stage: usize,
    /// Platform of `FROM --platform`, which the image is asked for; `None` for the platform that is
    /// built for.
    pub platform: Option<Platform>,
}

/// Base of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBase {
    /// Empty base, `scratch`.
    Scratch,
    /// Earlier stage, by index.
    Stage(usize),
    /// Image, by its index in [`Dockerfile::references`].
    Image(usize),
}

/// One `FROM` and the instructions that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Name after `AS`, in lower case.
    pub name: Option<String>,
    /// Base that the stage starts from.
    pub base: StageBase,
    /// Platform of `FROM --platform`, or of the stage that this one is based on; `None` if neither
    /// names one.
    pub platform: Option<Platform>,
    /// Indices of the stages that its instructions copy from or mount.
    pub uses: Vec<usize>,
}

/// `ONBUILD` instruction that refers to an image or to a stage of the Dockerfile that it is run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Stage or image that is named.
    pub source: String,
    /// Instruction that names it.
    pub via: Via,
    /// Bytes of the text that name it.
    pub span: Range<usize>,
    /// Index of the stage whose image has the trigger.
    pub stage: usize,
}

/// Stages and references of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// Stages, in order; at least one.
    pub stages: Vec<Stage>,
    /// All images that the Dockerfile refers to, in order of appearance; an image may appear more
    /// than once. A builder that builds every stage needs them all.
    pub references: Vec<Reference>,
    /// References of `ONBUILD` instructions, which images that are based on a stage need.
    pub triggers: Vec<Trigger>,
}

impl Dockerfile {
    /// Returns the parent: the image that the last stage is based on, directly or through other
    /// stages. `None` for `scratch`.
    pub fn parent(&self) -> Option<&Reference> {
        let mut stage = self.stages.last()?;
        loop {
            match stage.base {
                StageBase::Scratch => return None,
                StageBase::Image(index) => return self.references.get(index),
                StageBase::Stage(earlier) => stage = &self.stages[earlier],
            }
        }
    }

    /// Returns for each stage whether the last one needs it, directly or indirectly. BuildKit and
    /// Podman build only these stages; the classic builder builds all.
    pub fn needed_stages(&self) -> Vec<bool> {
        let mut needed = vec![false; self.stages.len()];
        let mut open: Vec<usize> = self.stages.len().checked_sub(1).into_iter().collect();
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut needed[index], true) {
                continue;
            }
            let stage = &self.stages[index];
            open.extend(&stage.uses);
            if let StageBase::Stage(base) = stage.base {
                open.push(base);
            }
        }
        needed
    }

    /// Returns the references of the stages that the last stage needs, in order of appearance.
    pub fn needed_references(&self) -> impl Iterator<Item = &Reference> {
        let needed = self.needed_stages();
        self.references.iter().filter(move |reference| needed[reference.stage])
    }

    /// Returns the triggers that the image has: those of the last stage.
    pub fn own_triggers(&self) -> impl Iterator<Item = &Trigger> {
        let last = self.stages.len().saturating_sub(1);
        self.triggers.iter().filter(move |trigger| trigger.stage == last)
    }

    /// Returns the image that a trigger of a base image refers to when it is run in a stage of this
    /// Dockerfile; `None` for a stage of it, for `scratch` and for a name that is not valid.
    pub fn triggered(&self, trigger: &Trigger) -> Option<ImageRef> {
        let name = trigger.source.to_lowercase();
        let is_stage = trigger.source.parse::<usize>().is_ok()
            || self.stages.iter().any(|stage| stage.name.as_deref() == Some(name.as_str()));
        if is_stage || trigger.source == "scratch" {
            return None;
        }
        trigger.source.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn only_what_the_last_stage_needs_is_needed() {
        let text = "FROM a:1 AS debug\nFROM b:1 AS tools\nFROM tools AS built\nCOPY --from=c:1 / /\n\
                    FROM --platform=linux/s390x d:1\nRUN --mount=from=built true\n";
        let read = parse(text, &ReadingInput::default()).unwrap();
        let needed: Vec<_> = read.needed_references().map(|one| one.image.to_string()).collect();
        assert_eq!(needed, ["b:1", "c:1", "d:1"]);
        assert_eq!(read.needed_stages(), [false, true, true, true]);
        let platforms = read.references.iter().map(|one| one.platform.as_ref());
        let platforms: Vec<_> = platforms.map(|one| one.map(ToString::to_string)).collect();
        assert_eq!(platforms, [None, None, None, Some("linux/s390x".to_owned())]);
    }
}
