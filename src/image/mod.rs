//! Names of images: the short name, from the folder of a template; the reference by which engines
//! and registries know an image; and the rule that turns one into the other.

mod digest;
mod image_name;
mod image_ref;
mod naming;
mod platform;
mod source_name;

pub use digest::Digest;
pub use image_name::ImageName;
pub use image_ref::{ImageRef, ReferenceError};
pub use naming::{Naming, Whereabouts};
pub use platform::Platform;
pub use source_name::SourceName;
