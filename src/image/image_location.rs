//! Place where a built image is.

/// Place of an image that need not be built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageLocation {
    /// The engine has the image.
    Engine,
    /// The registry has the image; the engine may lack it.
    Registry,
}
