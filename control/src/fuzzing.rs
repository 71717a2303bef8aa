//! Control's fuzz targets, which stand beside the parsers they attack; no part of the product.

pub use crate::declare::fuzz::declared;
