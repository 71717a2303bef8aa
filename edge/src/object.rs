//! Objects as the edge sees them: bytes of one version, by range.

pub mod read;

pub use read::{ReadAt, ReadError, Slices};
