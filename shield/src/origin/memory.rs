//! An origin in memory: what the tests of everything above it read.
//!
//! Versions are (shortened) SHA-256 of the bytes, so that equal bytes are one version and changed bytes another, as with S3.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use md5::Md5;
use proto::range::ByteRange;
use proto::v1::Priority;
use sha2::{Digest, Sha256};

use super::{Body, Head, Origin, OriginError, md5_of};

/// Size of the pieces a body comes in.
const PIECE_BYTES: usize = 100_000;

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    version: Arc<str>,
}

/// A bucket in memory. Clones share it.
#[derive(Clone, Default)]
pub struct Memory {
    objects: Arc<Mutex<HashMap<String, Stored>>>,
    max_age: Option<Duration>,
    sums: bool,
}

impl Memory {
    /// An empty bucket.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty bucket whose ETags are MD5s.
    pub fn with_sums() -> Self {
        Self { sums: true, ..Self::default() }
    }

    /// Stores `bytes` under `key` and returns the version's ETag.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Arc<str> {
        let bytes = bytes.into();
        let (digest, len) = match self.sums {
            true => (Md5::digest(&bytes).to_vec(), 16),
            false => (Sha256::digest(&bytes).to_vec(), 8),
        };
        let digits: String = digest.iter().take(len).map(|byte| format!("{byte:02x}")).collect();
        let version: Arc<str> = format!("\"{digits}\"").into();
        let stored = Stored { bytes, version: version.clone() };
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), stored);
        version
    }

    /// Removes `key`.
    pub fn delete(&self, key: &str) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn find(&self, key: &str) -> Result<Stored, OriginError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).cloned().ok_or_else(|| OriginError::NotFound(key.to_owned()))
    }
}

#[async_trait]
impl Origin for Memory {
    fn endpoint(&self) -> &str {
        "memory"
    }

    async fn head(&self, key: &str, if_none_match: Option<&str>) -> Result<Head, OriginError> {
        let stored = self.find(key)?;
        let max_age = self.max_age;
        if if_none_match == Some(&stored.version) {
            return Ok(Head::Unchanged { max_age });
        }
        let size_bytes = stored.bytes.len() as u64;
        Ok(Head::Object { version: stored.version, size_bytes, content_type: "video/x-test".into(), max_age })
    }

    async fn get(
        &self,
        key: &str,
        range: ByteRange,
        if_match: &str,
        _: Priority,
    ) -> Result<Body, OriginError> {
        let stored = self.find(key)?;
        if *stored.version != *if_match {
            return Err(OriginError::VersionRetired(key.to_owned()));
        }
        let size_bytes = stored.bytes.len() as u64;
        let range = range.clip(size_bytes);
        if range.is_empty() {
            return Err(OriginError::PastEnd(key.to_owned()));
        }
        let mut bytes = stored.bytes.slice(range.start as usize..range.end as usize);
        let pieces = std::iter::from_fn(move || {
            (!bytes.is_empty()).then(|| Ok(bytes.split_to(bytes.len().min(PIECE_BYTES))))
        });
        let stream = futures::stream::iter(pieces).boxed();
        Ok(Body { range, size_bytes, content_type: "video/x-test".into(), md5: md5_of(if_match), stream })
    }
}
