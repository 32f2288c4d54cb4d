//! Checks that an image was made from what its fingerprint says: from the images that this run
//! built or found, and not from others to which their tags were moved meanwhile.
//!
//! A Dockerfile refers to images by tags, which anyone can move at any time. So the images are
//! inspected in the engine before and after a build: the layers of the result have to begin with
//! those of its parent, and images from which it only copies files have to be the same both times.

use futures_util::future::try_join_all;

use crate::engine::{Engine, EngineError, Inspected};
use crate::fingerprint::{LABEL, Parts, in_label};
use crate::image::{ImageRef, Platform};
use crate::registry::ImageRegistry;

/// Advice in the error about a moved tag.
const CURE: &str = "run only one build at a time for images with these names; runs with the same --state-dir wait \
                    for each other";

/// Image that another image is made from.
#[derive(Debug, Clone)]
pub(super) struct RequiredImage {
    /// Name of its part in the fingerprint of the other image.
    pub(super) part: String,
    /// Reference by which the engine resolves it.
    pub(super) reference: ImageRef,
    /// True if it is the parent of the other image.
    pub(super) is_parent: bool,
    /// Identity that it has to have.
    pub(super) identity: Identity,
    /// True if this run may give the image further references meanwhile.
    pub(super) is_being_tagged: bool,
}

/// Expected identity of the image under a reference.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// The image that this run built.
    Built {
        /// Image as the engine described it after the build.
        image: Inspected,
        /// Fingerprint of the image; `None` if not all of its parts are known.
        fingerprint: Option<String>,
    },
    /// An image whose label has this fingerprint.
    Carrying(String),
    /// The image that is present when the build begins. It is for the platform of the build.
    Present,
    /// Like `Present`, but for this platform: the engine may use another image for the build.
    PresentFor(Platform),
    /// The engine has a different image for each of several platforms.
    ForEach,
}

/// Images that a build is made from, as inspected before the build.
pub(super) struct Origins<'n>(Vec<Origin<'n>>);

struct Origin<'n> {
    need: &'n RequiredImage,
    image: Option<Inspected>,
    /// Value of its part in the fingerprint; `None` if it is unknown.
    part: Option<String>,
}

impl<'n> Origins<'n> {
    /// Inspects the needed images.
    ///
    /// # Errors
    /// When the engine can't be asked, or has another image than expected.
    pub(super) async fn inspect<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        needs: &'n [RequiredImage],
    ) -> Result<Self, EngineError> {
        Ok(Self(
            try_join_all(needs.iter().map(|need| Origin::inspect(engine, registry, need))).await?,
        ))
    }

    /// Returns the parts of a fingerprint for the images; `None` if one of them is unknown.
    pub(super) fn parts(&self) -> Option<Parts> {
        self.0.iter().map(|origin| Some((origin.need.part.clone(), origin.part.clone()?))).collect()
    }

    /// Returns the parent as inspected before the build; `None` if it was not inspected or found.
    pub(super) fn parent(&self) -> Option<&Inspected> {
        self.0.iter().find(|origin| origin.need.is_parent)?.image.as_ref()
    }

    /// Checks that `built` was made from these images.
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
    async fn inspect<E: Engine>(
        engine: &E,
        registry: &dyn ImageRegistry,
        need: &'n RequiredImage,
    ) -> Result<Self, EngineError> {
        if let Identity::ForEach = need.identity {
            // An unreachable registry does not prevent the build: the part stays unknown.
            let part = registry.digest(&need.reference).await.unwrap_or(None);
            return Ok(Self { need, image: None, part });
        }
        let image = engine.image(&need.reference).await?;
        if let (Identity::PresentFor(platform), Some(found)) = (&need.identity, &image)
            && !found.is_for(platform)
        {
            // The builder does not use this one, but that of the registry.
            let part = registry.digest(&need.reference).await.unwrap_or(None);
            return Ok(Self { need, image: None, part });
        }
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
            Identity::Present | Identity::PresentFor(_) | Identity::ForEach => {
                image.as_ref().map(|image| image.id.clone())
            }
        };
        Ok(Self { need, image, part })
    }

    async fn confirm<E: Engine>(&self, engine: &E, built: &Inspected) -> Result<(), EngineError> {
        // The engine did not describe the image before the build: there is nothing to compare.
        let Some(before) = &self.image else { return Ok(()) };
        let whose = match self.need.identity {
            Identity::Built { .. } => "built",
            _ => "found",
        };
        let after = engine.image(&self.need.reference).await?;
        let is_local = !matches!(self.need.identity, Identity::PresentFor(_));
        if self.need.is_parent && is_local {
            // The layers show which image is the parent, unless the image that is there now has
            // them, too.
            let may_be_on = |image: &Inspected| image.id != before.id && built.is_on(image);
            let is_placed = built.is_on(before) && !after.as_ref().is_some_and(may_be_on);
            return if is_placed { Ok(()) } else { Err(self.need.moved(whose)) };
        }
        // A tag with a new time may have been moved away and back.
        let is_same = |image: &Inspected| {
            image.id == before.id && (self.need.is_being_tagged || image.tagged == before.tagged)
        };
        self.need.expect(whose, after.as_ref(), is_same)
    }
}

impl RequiredImage {
    /// Checks that the image under the reference is the one that this run built or found.
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

    /// Returns the image as the subject of an error about the image made from it.
    fn subject(&self) -> String {
        match self.is_parent {
            true => format!("its parent {}", self.reference),
            false => format!("{}, from which it takes files,", self.reference),
        }
    }
}
