//! Operations on the images of registries that a run needs, and the configuration of registries
//! that an engine has. Both are traits, so that a run can be tested without a registry.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;

use super::registry_error::Error;
use crate::image::ImageRef;

/// Labels of an image.
pub type Labels = BTreeMap<String, String>;

/// Registries of images, as a run uses them.
pub trait ImageRegistry: Send + Sync {
    /// Returns the digest of `image` in its registry; `None` if the registry does not have it.
    ///
    /// # Errors
    /// When the registry can't be asked.
    fn digest<'a>(&'a self, image: &'a ImageRef) -> BoxFuture<'a, Result<Option<String>, Error>>;

    /// Returns the labels of `image` in its registry; empty if the registry does not have it.
    ///
    /// # Errors
    /// When the registry can't be asked.
    fn labels<'a>(&'a self, image: &'a ImageRef) -> BoxFuture<'a, Result<Labels, Error>>;

    /// Returns the digest of `image` in its registry if it is the image that an engine has under
    /// this `id`; `None` if the registry has another one or none.
    ///
    /// # Errors
    /// When the registry can't be asked.
    fn digest_of_id<'a>(
        &'a self,
        image: &'a ImageRef,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, Error>>;

    /// Checks that the registry of `image` serves the digest that an engine reports to have
    /// pushed, and returns lines for the image's log. If it does not serve the digest at once, it is
    /// asked again for a while: replicas and caches may need some time. A registry that can't be
    /// asked counts as serving it: the engine may reach the registry where this program does not, or
    /// with credentials that only allow pushes.
    ///
    /// # Errors
    /// When the registry serves another image or none.
    fn confirm_pushed<'a>(
        &'a self,
        image: &'a ImageRef,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, NotServed>>;

    /// Joins images of a registry in a manifest list there. Returns the digest of the list.
    ///
    /// # Errors
    /// When the registry does not have one of the images, or refuses or does not serve the list.
    fn push_list<'a>(
        &'a self,
        list: &'a ImageRef,
        images: &'a [ImageRef],
    ) -> BoxFuture<'a, Result<String, PushListError>>;

    /// Takes the notices about registries. Each is returned only once in a run.
    fn take_notices(&self) -> Vec<String>;

    /// Keeps the labels that were read, for later runs.
    fn save_labels(&self);
}

/// Registry that serves another image than it was sent, or none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotServed(pub String);

/// Failure to push a manifest list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushListError {
    /// The registry does not have one of the images, or refuses the list.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The registry does not serve the list.
    #[error(transparent)]
    NotServed(#[from] NotServed),
}

/// Configuration of registries that an engine has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryConfig {
    /// Name under which the credentials for the default registry are stored; empty if the engine
    /// does not report it.
    pub default: String,
    /// True if references without a registry are known to mean the default one.
    pub is_default_known: bool,
    /// Hosts of the registries that the engine uses plain HTTP with.
    pub plain: BTreeSet<String>,
}

/// Engine that knows the configuration of registries.
pub trait EngineConfig: Send + Sync {
    /// Returns the configuration of registries.
    ///
    /// # Errors
    /// When the engine can't be asked.
    fn registry_config(&self) -> BoxFuture<'_, Result<&RegistryConfig, Error>>;
}
