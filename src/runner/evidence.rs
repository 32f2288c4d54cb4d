//! Evidence that an image was made from what its fingerprint stands for: from the images that this run
//! built or found, and not from what something else has put under their names meanwhile.
//!
//! A Dockerfile names images by tags, which anybody may move at any time. So the engine is asked for
//! them before a build and after it: the layers of the result have to begin with those of its parent,
//! and images that it only takes files from have to be the same both times.

use futures_util::future::try_join_all;

use crate::engine::{Engine, EngineError, Inspected};
use crate::fingerprint::{LABEL, Parts, in_label};
use crate::image::ImageRef;

/// What to do about tags that something else moves.
const CURE: &str = "let one run at a time make or pull images of these names";

/// An image that another is made from.
#[derive(Debug, Clone)]
pub(super) struct Need {
    /// Name of the part that it is in the other's fingerprint.
    pub(super) part: String,
    /// The reference that the engine is given.
    pub(super) reference: ImageRef,
    /// Whether the other is built on it.
    pub(super) is_parent: bool,
    /// Which image it has to be.
    pub(super) identity: Identity,
    /// Whether this run may give it further references meanwhile.
    pub(super) is_being_tagged: bool,
}

/// Which image has to be under a reference.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// The one that this run built.
    Built {
        /// What the engine has of it.
        image: Inspected,
        /// Its fingerprint, if all that it is made of is known.
        fingerprint: Option<String>,
    },
    /// One that carries this fingerprint.
    Carrying(String),
    /// The one that is there when the build begins. It is an image for the platform of the build.
    Present,
    /// The same, for whichever platform: the engine may take another for the build.
    PresentForSome,
    /// One that the engine has for each of several platforms.
    ForEach,
}

/// The images that a build is made from, as they were before it began.
pub(super) struct Origins<'n>(Vec<Origin<'n>>);

struct Origin<'n> {
    need: &'n Need,
    image: Option<Inspected>,
    /// What stands for it in the fingerprint, if that is known.
    part: Option<String>,
}

impl<'n> Origins<'n> {
    /// Asks the engine for what is needed.
    ///
    /// # Errors
    /// When it can't be asked, or has other images than it should.
    pub(super) async fn of<E: Engine>(engine: &E, needs: &'n [Need]) -> Result<Self, EngineError> {
        Ok(Self(try_join_all(needs.iter().map(|need| Origin::of(engine, need))).await?))
    }

    /// The parts of a fingerprint that the images are; `None` where one of them is not known.
    pub(super) fn parts(&self) -> Option<Parts> {
        self.0.iter().map(|origin| Some((origin.need.part.clone(), origin.part.clone()?))).collect()
    }

    /// The image that is built on.
    pub(super) fn parent(&self) -> Option<&Inspected> {
        self.0.iter().find(|origin| origin.need.is_parent)?.image.as_ref()
    }

    /// Looks whether `built` was made from these images.
    ///
    /// # Errors
    /// When it was not, or the engine can't be asked.
    pub(super) async fn confirm<E: Engine>(
        &self,
        engine: &E,
        built: &Inspected,
    ) -> Result<(), EngineError> {
        try_join_all(self.0.iter().map(|origin| origin.confirm(engine, built))).await.map(drop)
    }
}

impl<'n> Origin<'n> {
    async fn of<E: Engine>(engine: &E, need: &'n Need) -> Result<Self, EngineError> {
        if let Identity::ForEach = need.identity {
            // An image can be built without its registry.
            let part = engine.digest(&need.reference).await.unwrap_or(None);
            return Ok(Self { need, image: None, part });
        }
        let image = engine.image(&need.reference).await?;
        let part = match &need.identity {
            Identity::Built { image: built, fingerprint } => {
                need.expect("built", image.as_ref(), |image| image.id == built.id)?;
                fingerprint.clone()
            }
            Identity::Carrying(fingerprint) => {
                need.expect("found", image.as_ref(), |image| {
                    image.labels.get(LABEL).is_some_and(|label| in_label(label) == fingerprint)
                })?;
                Some(fingerprint.clone())
            }
            Identity::Present | Identity::PresentForSome | Identity::ForEach => {
                image.as_ref().map(|image| image.id.clone())
            }
        };
        Ok(Self { need, image, part })
    }

    async fn confirm<E: Engine>(&self, engine: &E, built: &Inspected) -> Result<(), EngineError> {
        // Nothing was known of it, so that nothing stands for it.
        let Some(before) = &self.image else { return Ok(()) };
        let whose = match self.need.identity {
            Identity::Built { .. } => "built",
            _ => "found",
        };
        let after = engine.image(&self.need.reference).await?;
        let is_local = !matches!(self.need.identity, Identity::PresentForSome);
        if self.need.is_parent && is_local {
            // Its layers tell on which one it is, unless another has all of them, too.
            let may_be_on = |image: &Inspected| image.id != before.id && built.is_on(image);
            let is_placed = built.is_on(before) && !after.as_ref().is_some_and(may_be_on);
            return if is_placed { Ok(()) } else { Err(self.need.moved(whose)) };
        }
        // One that was tagged may have been away and come back.
        let is_same = |image: &Inspected| {
            image.id == before.id && (self.need.is_being_tagged || image.tagged == before.tagged)
        };
        self.need.expect(whose, after.as_ref(), is_same)
    }
}

impl Need {
    /// Expects of the image that is there that it is the one that this run built or found.
    fn expect(
        &self,
        whose: &str,
        image: Option<&Inspected>,
        is_it: impl Fn(&Inspected) -> bool,
    ) -> Result<(), EngineError> {
        match image {
            Some(image) if is_it(image) => Ok(()),
            Some(_) => Err(self.moved(whose)),
            None => Err(EngineError::Moved(format!(
                "{} is no longer in the engine: something else removed it after this run {whose} it",
                self.subject()
            ))),
        }
    }

    fn moved(&self, whose: &str) -> EngineError {
        EngineError::Moved(format!(
            "{} is not the image that this run {whose}: something else moved the tag; {CURE}",
            self.subject()
        ))
    }

    /// The image as the subject of a sentence about the one that is made from it.
    fn subject(&self) -> String {
        match self.is_parent {
            true => format!("its parent {}", self.reference),
            false => format!("{}, from which it takes files,", self.reference),
        }
    }
}
