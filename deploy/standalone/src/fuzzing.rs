//! Fuzz targets of the embedded S3, and the stable runs of those whose crates have no folder of their own for them: keys and ranges
//! (`proto`), the declared distributions and the documents of the API (`control`), what S3 says in headers (`shield`). No part of the product.

pub use control::fuzzing::{api_xml, declared};
pub use proto::fuzzing::{keys, ranges};
pub use shield::fuzzing::origin_headers;

pub use crate::s3::fuzz::{s3_keys, s3_listings};

#[cfg(test)]
mod tests;
