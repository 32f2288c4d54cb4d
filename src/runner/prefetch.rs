//! Prefetch of sources: chooses the image whose sources are fetched next, and keeps the contexts
//! that wait for a thread.
//!
//! Fetches have their own limit, so that no build thread waits for a download, and so do the
//! contexts that wait, whose fetched files take room on the disk. Images that could be built now are
//! fetched first. Images that wait for others may take half of the room: the other half is always
//! left for the images that can free room by being built.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::AbortHandle;

use super::worker::Packed;
use crate::event::Outcome;
use crate::graph::Index;

/// Largest number of images whose sources are fetched at the same time.
const FETCHES: usize = 4;

/// Prefetch state of the images with sources, from the first fetch to the start of the last build.
pub(super) struct Prefetch {
    /// Largest number of images that are fetched and still wait for others. The limit for all images
    /// is twice as large.
    room: usize,
    /// Images whose fetch has not begun, in the order in which they can be built.
    to_fetch: Vec<Index>,
    fetching: BTreeMap<Index, AbortHandle>,
    fetched: BTreeMap<Index, Result<Packed, Outcome>>,
}

impl Prefetch {
    /// Creates the state for the images `to_fetch`, in the order in which they can be built, and
    /// for as many parallel builds as there are `threads`.
    pub(super) fn new(threads: usize, to_fetch: Vec<Index>) -> Self {
        Self { room: threads, to_fetch, fetching: BTreeMap::new(), fetched: BTreeMap::new() }
    }

    /// Returns the image to fetch next; `None` if there is none or no room. `ready` are the images
    /// that could be built now, in their order.
    pub(super) fn next(&self, ready: impl Iterator<Item = Index> + Clone) -> Option<Index> {
        let kept: BTreeSet<Index> =
            self.fetching.keys().chain(self.fetched.keys()).copied().collect();
        if self.fetching.len() >= FETCHES || kept.len() >= 2 * self.room {
            return None;
        }
        let is_to_fetch = |image: &Index| self.to_fetch.contains(image);
        ready.clone().find(is_to_fetch).or_else(|| {
            let waiting = kept.len() - ready.filter(|image| kept.contains(image)).count();
            self.to_fetch.first().filter(|_| waiting < self.room).copied()
        })
    }

    /// Records that the fetch for an image has begun.
    pub(super) fn started(&mut self, image: Index, fetch: AbortHandle) {
        self.to_fetch.retain(|other| *other != image);
        self.fetching.insert(image, fetch);
    }

    /// Stores the result of a fetch, unless the fetch was cancelled.
    pub(super) fn finished(&mut self, image: Index, result: Result<Packed, Outcome>) {
        if self.fetching.remove(&image).is_some() {
            self.fetched.insert(image, result);
        }
    }

    /// Returns true if a build of the image would not have to wait for a fetch.
    pub(super) fn is_ready(&self, image: Index) -> bool {
        !self.to_fetch.contains(&image) && !self.fetching.contains_key(&image)
    }

    /// Takes the result of an image's fetch; `None` if nothing had to be fetched.
    pub(super) fn take(&mut self, image: Index) -> Option<Result<Packed, Outcome>> {
        self.fetched.remove(&image)
    }

    /// Cancels the fetch, and drops its result, of an image that will not be built.
    pub(super) fn give_up(&mut self, image: Index) {
        self.to_fetch.retain(|other| *other != image);
        self.fetched.remove(&image);
        if let Some(fetch) = self.fetching.remove(&image) {
            fetch.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    /// Begins all fetches that are allowed. Returns their images in order.
    fn begin_all(prefetch: &mut Prefetch, ready: &[Index], runtime: &Runtime) -> Vec<Index> {
        let next = std::iter::from_fn(|| {
            let image = prefetch.next(ready.iter().copied())?;
            prefetch.started(image, runtime.spawn(std::future::pending::<()>()).abort_handle());
            Some(image)
        });
        next.collect()
    }

    fn nothing() -> Result<Packed, Outcome> {
        Err(Outcome::Error(String::new()))
    }

    #[test]
    fn buildable_images_are_prefetched_first() {
        let runtime = runtime();
        let mut prefetch = Prefetch::new(2, (0..9).collect());
        assert_eq!(begin_all(&mut prefetch, &[7], &runtime), [7, 0, 1]);
        [0, 1].into_iter().for_each(|image| prefetch.finished(image, nothing()));
        assert_eq!(begin_all(&mut prefetch, &[7], &runtime), [0; 0]);
        assert_eq!(begin_all(&mut prefetch, &[7, 5], &runtime), [5]);
        assert_eq!(begin_all(&mut prefetch, &[7, 5, 4], &runtime), [0; 0]);
        prefetch.finished(7, nothing());
        assert!(prefetch.is_ready(7) && !prefetch.is_ready(5) && !prefetch.is_ready(4));
        assert!(prefetch.take(7).is_some());
        assert_eq!(begin_all(&mut prefetch, &[5, 4], &runtime), [4]);
    }

    #[test]
    fn fetches_are_bounded_whatever_room_there_is() {
        let runtime = runtime();
        let mut prefetch = Prefetch::new(50, (0..50).collect());
        assert_eq!(begin_all(&mut prefetch, &[], &runtime).len(), FETCHES);
        prefetch.give_up(0);
        prefetch.finished(0, nothing());
        assert!(prefetch.take(0).is_none(), "what was given up is not kept");
        assert_eq!(begin_all(&mut prefetch, &[], &runtime), [FETCHES]);
    }
}
