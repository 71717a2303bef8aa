//! The shield's fuzz targets, which stand beside the parsers they attack; no part of the product.

pub use crate::origin::s3::fuzz::origin_headers;
