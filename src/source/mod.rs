//! Sources of images that are installed from source: archives, checkouts and folders that are
//! fetched for one image and put into its build context.
//!
//! An image has at most one own source, and any number of plugins and additions. In the context the
//! own source becomes `<image>-archive`. The others become one `plugins-archive` and one
//! `additions-archive`, with everything unpacked below `plugins/` and `additions/`, in the layout
//! of kolla-build. These two always exist, so that a template can rely on them.

mod archive;
mod blocking;
mod bundle;
mod checkout;
mod configured_source;
mod download;
mod fetch;
mod fetch_error;
mod fetch_limits;
mod image_sources;
mod local;
mod netrc;
mod pip;
mod trusted_certificates;

pub use bundle::bundled;
pub use checkout::top_folder;
pub use configured_source::{Digest, Kind, Source};
pub use fetch_error::FetchError;
pub use fetch_limits::Pace;
pub use image_sources::{
    Fetched, FetchedFile, Fetcher, FromOrigin, ImageSources, archives, declared, fetch, of_image,
    parts,
};
