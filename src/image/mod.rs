//! Names of images: the short name, from the folder of a template; the reference by which engines
//! and registries know an image; and the rule that turns one into the other. Also the place where an
//! image is.

mod destinations;
mod digest;
mod image_location;
mod image_name;
mod image_ref;
mod naming;
mod platform;
mod source_name;

pub use destinations::Destinations;
pub use digest::Digest;
pub use image_location::ImageLocation;
pub use image_name::ImageName;
pub use image_ref::{ImageRef, ReferenceError};
pub use naming::Naming;
pub use platform::Platform;
pub use source_name::SourceName;
