//! Notices about the registries of a run, each of which the user sees once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Notices about registries: all that were ever added, and those not taken yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices(Arc<Mutex<(BTreeSet<String>, Vec<String>)>>);

impl Notices {
    fn locked(&self) -> MutexGuard<'_, (BTreeSet<String>, Vec<String>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a notice, unless the same one was added before.
    pub(super) fn add(&self, text: String) {
        let (seen, untold) = &mut *self.locked();
        if seen.insert(text.clone()) {
            untold.push(text);
        }
    }

    /// Returns the notices that were not taken yet.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.locked().1)
    }
}
