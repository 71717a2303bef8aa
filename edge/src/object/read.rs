//! Reading one object version: the two ways media code gets its bytes.
//!
//! [`ReadAt::read_at`] waits for bytes (opening a file, seeking); [`ReadAt::buffered`] answers at once from what is in memory
//! (the hot path: no future, no lock, no allocation a sample). Both give [`Slices`]: views into cached blocks, never
//! copies.

use std::future::Future;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// A byte range as views into one to three cached blocks, in order.
pub type Slices = SmallVec<[Bytes; 3]>;

/// Why bytes can't be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// No such object, or no such bucket.
    #[error("not found: {0}")]
    NotFound(String),
    /// The origin refuses access.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The object was replaced since it was opened.
    #[error("the object was replaced: {0}")]
    Retired(String),
    /// No shield could serve it, or S3 failed.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The range passes the object's end.
    #[error("bytes {offset}+{len} pass the end of an object of {size} bytes")]
    PastEnd {
        /// First byte asked.
        offset: u64,
        /// Bytes asked.
        len: u64,
        /// The object's size.
        size: u64,
    },
}

/// Bytes of one object version.
pub trait ReadAt: Send {
    /// The object's length in bytes.
    fn size(&self) -> u64;

    /// Exactly `len` bytes at `offset`, waiting for them.
    fn read_at(&mut self, offset: u64, len: u64) -> impl Future<Output = Result<Slices, ReadError>> + Send;

    /// Exactly `len` bytes at `offset` if all of them are in memory now. A range past the end is `None`.
    fn buffered(&mut self, offset: u64, len: u64) -> Option<Slices>;
}

/// One contiguous `Bytes` of `slices`: no copy when there is one slice.
pub fn contiguous(slices: Slices) -> Bytes {
    if slices.len() == 1 {
        return slices.into_iter().next().unwrap_or_default();
    }
    let mut out = BytesMut::with_capacity(slices.iter().map(Bytes::len).sum());
    for slice in &slices {
        out.extend_from_slice(slice);
    }
    out.freeze()
}

/// An object that is all in memory: for tests and fuzzing.
#[derive(Clone, Debug)]
pub struct InMemory {
    /// The object's bytes.
    pub bytes: Bytes,
    /// How often `read_at` was called, and for how many bytes: what "reads little" is checked by.
    pub reads: Vec<(u64, u64)>,
    /// Whether `buffered` has everything (true) or only what `read_at` brought (false).
    pub all_buffered: bool,
}

impl InMemory {
    /// An object of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), reads: Vec::new(), all_buffered: true }
    }

    fn slice(&self, offset: u64, len: u64) -> Option<Slices> {
        let end = offset.checked_add(len)?;
        if end > self.bytes.len() as u64 {
            return None;
        }
        Some(smallvec::smallvec![self.bytes.slice(offset as usize..end as usize)])
    }
}

impl ReadAt for InMemory {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read_at(&mut self, offset: u64, len: u64) -> Result<Slices, ReadError> {
        self.reads.push((offset, len));
        self.slice(offset, len).ok_or(ReadError::PastEnd { offset, len, size: self.size() })
    }

    fn buffered(&mut self, offset: u64, len: u64) -> Option<Slices> {
        let covered = |&(o, l): &(u64, u64)| o <= offset && offset.saturating_add(len) <= o.saturating_add(l);
        if self.all_buffered || self.reads.iter().any(covered) { self.slice(offset, len) } else { None }
    }
}
