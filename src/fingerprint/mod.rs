//! Fingerprints: one digest of everything that determines an image. An image with the same
//! fingerprint need not be built.
//!
//! A fingerprint covers the files of the context, with the Dockerfile, the identities of the
//! sources, the build options that change the result, and for each image that it refers to that
//! one's fingerprint, or the engine's id if it is an external image. No part depends on the clock,
//! and a fingerprint is never shortened. `label` stores short forms of the parts next to it, to
//! show what changed.

mod input_digest;
mod label;

pub use input_digest::{
    BASE, BUILD_ARGUMENT, Change, Difference, Digester, FILE, Fingerprint, FingerprintedParts,
    IMAGE, Parts, differences, digest,
};
pub use label::{LABEL, in_label, is_verified};
