//! Control's fuzz targets, which stand beside the parsers they attack; no part of the product.

pub use crate::client::spool::fuzz::log_spool;
pub use crate::declare::fuzz::declared;

/// See [`crate::api::xml::fuzz`].
pub fn api_xml(data: &[u8]) {
    crate::api::xml::fuzz::api_xml(data);
}
