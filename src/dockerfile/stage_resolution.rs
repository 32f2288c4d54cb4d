//! Resolution of stages: which stage or image each `FROM`, `COPY --from` and `RUN --mount` means.
//!
//! The rules are those of BuildKit's `dockerfile2llb`. Where BuildKit refuses a name that the classic
//! builder accepts, the classic builder's meaning is taken, since Kiln serves both.

use std::collections::BTreeMap;
use std::ops::Range;

use super::budget::LexerError;
use super::build_arguments::{Arguments, Declaration, Expanded};
use super::flags::Placed;
use super::parse_error::ParseError;
use super::stages::{Dockerfile, Reference, Stage, StageBase, Trigger, Via};
use crate::image::{ImageRef, Platform, ReferenceError};

/// Name of the empty base.
pub(super) const SCRATCH: &str = "scratch";

/// `FROM` and the instructions that follow it, before expansion.
pub(super) struct StageDraft {
    /// Image or stage as it is written.
    pub(super) image: String,
    /// Bytes of the image.
    pub(super) span: Range<usize>,
    /// Name after `AS`, in lower case.
    pub(super) name: Option<String>,
    /// Value of `--platform`.
    pub(super) platform: Option<Placed>,
    pub(super) uses: Vec<Use>,
    /// Uses of `ONBUILD` instructions.
    pub(super) triggers: Vec<Use>,
    /// Error if the image has several words. It is told unless the expansion of the words tells
    /// more, as that of `${TAG:?give a tag}` does.
    pub(super) refused: Option<ParseError>,
}

impl StageDraft {
    /// Returns the draft of `FROM image`.
    pub(super) fn of(image: String, span: Range<usize>) -> Self {
        let (uses, triggers) = (Vec::new(), Vec::new());
        Self { image, span, name: None, platform: None, uses, triggers, refused: None }
    }
}

/// Name of a stage or of an image in an instruction.
pub(super) struct Use {
    /// Name, or the number of a stage; empty for a mount of the context or of nothing.
    source: String,
    span: Range<usize>,
    via: Via,
}

impl Use {
    /// Returns the use of `source` by an instruction.
    pub(super) fn of(source: Placed, via: Via) -> Self {
        Self { span: source.span(), source: source.text, via }
    }
}

/// Resolves the stages of a Dockerfile with the declarations before them.
///
/// # Errors
/// When a word can't be expanded, a name is not a valid one, or stages depend on each other.
pub(super) fn resolve(
    declarations: &[Declaration],
    drafts: Vec<StageDraft>,
    mut arguments: Arguments<'_>,
) -> Result<Dockerfile, ParseError> {
    for declaration in declarations {
        let declared = arguments.declare(declaration);
        declared.map_err(|error| not_expanded(error, &declaration.span))?;
    }
    let mut resolver = StageResolver::new();
    for draft in &drafts {
        resolver.add_stage(draft, &mut arguments)?;
    }
    for (index, draft) in drafts.iter().enumerate() {
        for one in &draft.uses {
            resolver.add_use(index, one)?;
        }
    }
    resolver.refuse_circles()?;
    for (stage, draft) in drafts.into_iter().enumerate() {
        let triggers = draft.triggers.into_iter().filter(|one| !one.source.is_empty());
        resolver.read.triggers.extend(triggers.map(|one| Trigger {
            source: one.source,
            via: one.via,
            span: one.span,
            stage,
        }));
    }
    resolver.run_triggers()?;
    resolver.refuse_later_stages()?;
    Ok(in_order(resolver.read))
}

/// Returns a Dockerfile with its references in the order of the text, in no more memory than they
/// need: a large tree has thousands of Dockerfiles.
fn in_order(mut read: Dockerfile) -> Dockerfile {
    let mut ordered: Vec<(usize, Reference)> = read.references.into_iter().enumerate().collect();
    ordered.sort_by_key(|(_, reference)| reference.span.start);
    let mut position = vec![0; ordered.len()];
    for (new, (old, _)) in ordered.iter().enumerate() {
        position[*old] = new;
    }
    for stage in &mut read.stages {
        if let StageBase::Image(index) = &mut stage.base {
            *index = position[*index];
        }
    }
    read.references = ordered.into_iter().map(|(_, reference)| reference).collect();
    read.references.shrink_to_fit();
    read.stages.shrink_to_fit();
    read
}

fn not_expanded(LexerError(message): LexerError, span: &Range<usize>) -> ParseError {
    ParseError { message, span: span.clone(), help: None }
}

/// Thing that a number in `COPY --from` may stand for.
#[derive(Debug, Clone)]
enum Numbered {
    Stage(usize),
    Image(ImageRef),
    Scratch,
}

struct StageResolver {
    read: Dockerfile,
    /// Index of the last stage of each name.
    by_name: BTreeMap<String, usize>,
    /// Stages, and behind them every image that an instruction names. BuildKit has them in one
    /// list, and takes a number as an index into it.
    numbered: Vec<Numbered>,
    /// Uses of stages that come after the stage that uses them: both indices, and the place.
    later: Vec<(usize, usize, Range<usize>)>,
}

impl StageResolver {
    fn new() -> Self {
        let read = Dockerfile { stages: Vec::new(), references: Vec::new(), triggers: Vec::new() };
        Self { read, by_name: BTreeMap::new(), numbered: Vec::new(), later: Vec::new() }
    }

    fn add_stage(
        &mut self,
        draft: &StageDraft,
        arguments: &mut Arguments<'_>,
    ) -> Result<(), ParseError> {
        let span = &draft.span;
        let image = arguments.expand(&draft.image).map_err(|error| not_expanded(error, span))?;
        if let Some(refused) = &draft.refused {
            return Err(refused.clone());
        }
        if image.text.is_empty() {
            return Err(blank(&draft.image, &image, span));
        }
        let platform = match &draft.platform {
            Some(written) => Some(platform(written, arguments)?),
            None => None,
        };
        let index = self.read.stages.len();
        // The classic builder finds a stage in any case, BuildKit in lower case alone; to BuildKit
        // any other case is an invalid name of an image.
        let lower = image.text.to_lowercase();
        let (base, platform) = if let Some(&earlier) = self.by_name.get(&lower) {
            (StageBase::Stage(earlier), self.read.stages[earlier].platform.clone())
        } else if image.text == SCRATCH {
            (StageBase::Scratch, platform)
        } else {
            let called = image_called(&image.text, span);
            let called = called.map_err(|error| ParseError { help: cure(&image), ..error })?;
            let reference = self.refer(called, Via::From, span, index);
            self.read.references[reference].platform.clone_from(&platform);
            (StageBase::Image(reference), platform)
        };
        self.read.stages.push(Stage { name: draft.name.clone(), base, platform, uses: Vec::new() });
        self.numbered.push(Numbered::Stage(index));
        if let Some(name) = &draft.name {
            self.by_name.insert(name.clone(), index);
        }
        Ok(())
    }

    /// Adds a reference. Returns its index.
    fn refer(&mut self, image: ImageRef, via: Via, span: &Range<usize>, stage: usize) -> usize {
        let span = span.clone();
        self.read.references.push(Reference { image, via, span, stage, platform: None });
        self.read.references.len() - 1
    }

    /// Adds a use of a stage or an image by the stage `index`.
    fn add_use(&mut self, index: usize, one: &Use) -> Result<(), ParseError> {
        let meant = self.meaning(index, one)?;
        match &meant {
            Numbered::Stage(used) => {
                self.read.stages[index].uses.push(*used);
                if *used >= index {
                    self.later.push((index, *used, one.span.clone()));
                }
                return Ok(());
            }
            Numbered::Image(image) => drop(self.refer(image.clone(), one.via, &one.span, index)),
            Numbered::Scratch => {}
        }
        self.numbered.push(meant);
        Ok(())
    }

    /// Returns what an instruction of the stage `index` means.
    fn meaning(&self, index: usize, one: &Use) -> Result<Numbered, ParseError> {
        if let (Via::Copy, Ok(number)) = (one.via, one.source.parse::<i64>()) {
            let found = usize::try_from(number).ok().and_then(|number| self.numbered.get(number));
            return found.cloned().ok_or_else(|| ParseError {
                message: format!("there is no stage {}", one.source),
                span: one.span.clone(),
                help: None,
            });
        }
        if one.source.is_empty() {
            return Ok(Numbered::Scratch);
        }
        let name = one.source.to_lowercase();
        if let Some(&last) = self.by_name.get(&name) {
            // BuildKit refuses a name that a later stage takes over.
            let is_called = |stage: &Stage| stage.name.as_deref() == Some(name.as_str());
            let earlier = self.read.stages[..index].iter().rposition(is_called);
            return Ok(Numbered::Stage(if last < index { last } else { earlier.unwrap_or(last) }));
        }
        if one.source == SCRATCH {
            return Ok(Numbered::Scratch);
        }
        image_called(&one.source, &one.span).map(Numbered::Image)
    }

    /// Adds what the `ONBUILD` instructions of a stage refer to, to the stages that are based on it.
    fn run_triggers(&mut self) -> Result<(), ParseError> {
        for index in 0..self.read.stages.len() {
            let StageBase::Stage(base) = self.read.stages[index].base else { continue };
            let of_base = self.read.triggers.iter().filter(|trigger| trigger.stage == base);
            let run = |trigger: &Trigger| Use {
                source: trigger.source.clone(),
                span: trigger.span.clone(),
                via: trigger.via,
            };
            for one in of_base.map(run).collect::<Vec<_>>() {
                // A trigger is read where it is run, so an invalid one counts in a stage that is built.
                if let Err(error) = self.add_use(index, &one)
                    && self.read.needed_stages()[index]
                {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Refuses stages that copy from each other.
    fn refuse_circles(&self) -> Result<(), ParseError> {
        let circle = self.later.iter().find(|(user, used, _)| self.reaches(*used, *user));
        match circle {
            None => Ok(()),
            Some((_, _, span)) => Err(ParseError {
                message: "the stages copy from each other".to_owned(),
                span: span.clone(),
                help: Some("let one of them copy from earlier stages alone".to_owned()),
            }),
        }
    }

    /// Returns true if the stage `from` uses the stage `to`, directly or indirectly, or is it.
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut seen = vec![false; self.read.stages.len()];
        let mut open = vec![from];
        while let Some(index) = open.pop() {
            if index == to {
                return true;
            }
            if !std::mem::replace(&mut seen[index], true) {
                open.extend(&self.read.stages[index].uses);
            }
        }
        false
    }

    /// Refuses uses of later stages by stages that are built.
    fn refuse_later_stages(&self) -> Result<(), ParseError> {
        if self.later.is_empty() {
            return Ok(());
        }
        let needed = self.read.needed_stages();
        match self.later.iter().find(|(user, _, _)| needed[*user]) {
            None => Ok(()),
            Some((_, used, span)) => {
                let named =
                    self.read.stages[*used].name.clone().unwrap_or_else(|| used.to_string());
                Err(ParseError {
                    message: format!(
                        "the stage {named} does not come before the stage that uses it"
                    ),
                    span: span.clone(),
                    help: Some("move it before this stage".to_owned()),
                })
            }
        }
    }
}

fn image_called(name: &str, span: &Range<usize>) -> Result<ImageRef, ParseError> {
    name.parse().map_err(|error: ReferenceError| ParseError {
        message: error.to_string(),
        span: span.clone(),
        help: None,
    })
}

/// Expands and parses the value of `FROM --platform`.
fn platform(written: &Placed, arguments: &mut Arguments<'_>) -> Result<Platform, ParseError> {
    let span = written.span();
    let value = arguments.expand(&written.text).map_err(|error| not_expanded(error, &span))?;
    value.text.parse().map_err(|_| ParseError {
        message: format!("'{}' is not a platform", value.text),
        span: span.clone(),
        help: Some("write OS/ARCH, such as linux/arm64".to_owned()),
    })
}

/// Returns the error for a `FROM` whose image comes to nothing.
fn blank(written: &str, image: &Expanded<'_>, span: &Range<usize>) -> ParseError {
    let message = format!("FROM names no image: '{written}' is empty");
    ParseError { message, span: span.clone(), help: cure(image) }
}

/// Returns the advice to set a variable that has no value; `None` if all have one.
fn cure(image: &Expanded<'_>) -> Option<String> {
    let name = image.unset.first()?;
    Some(format!(
        "give '{name}' a value with --build-args {name}:VALUE, or a default before the first FROM: \
         ARG {name}=value"
    ))
}
