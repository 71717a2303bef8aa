//! Fuzz targets of the embedded S3, and the stable runs of those whose crates have no folder of their own for them: keys, ranges and segments
//! of access logs (`proto`), the declared distributions, the documents of the API and an edge's spool (`control`), what S3 says in headers
//! (`shield`). No part of the product.

pub use control::fuzzing::{api_xml, declared, log_spool};
pub use proto::fuzzing::{keys, log_segments, ranges};
pub use shield::fuzzing::origin_headers;

pub use crate::s3::fuzz::{s3_keys, s3_listings};

#[cfg(test)]
mod tests;
