//! A stretch of an object held in one piece while an index is read or a place is sought.
//!
//! Opening and seeking look at many small structures that lie close together. A window reads them in runs, so that they cost
//! few waits, and counts what it read, so that callers can keep to a budget.

use bytes::Bytes;

use crate::object::read::contiguous;
use crate::object::{ReadAt, ReadError};

/// The stretch last read.
#[derive(Debug)]
pub(crate) struct Window {
    /// Bytes asked for when fewer would do; clipped to the object's end.
    pub(crate) ahead_bytes: u64,
    /// Bytes read so far.
    pub(crate) read_bytes: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// An empty window that reads `ahead_bytes` at a time.
    pub(crate) fn new(ahead_bytes: u64) -> Self {
        Self { ahead_bytes, read_bytes: 0, start: 0, bytes: Bytes::new() }
    }

    /// `len` bytes at `offset` if the window holds them all.
    pub(crate) fn get(&self, offset: u64, len: u64) -> Option<Bytes> {
        let from = offset.checked_sub(self.start)?;
        let to = from.checked_add(len)?;
        if to > self.bytes.len() as u64 {
            return None;
        }
        Some(self.bytes.slice(from as usize..to as usize))
    }

    /// Bytes it holds from `offset` on.
    pub(crate) fn left(&self, offset: u64) -> u64 {
        (self.start + self.bytes.len() as u64).saturating_sub(offset.max(self.start))
    }

    /// `len` bytes at `offset`, from the window, or read so that the window then starts at `offset`.
    pub(crate) async fn fetch<R: ReadAt>(
        &mut self,
        reader: &mut R,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, ReadError> {
        if let Some(bytes) = self.get(offset, len) {
            return Ok(bytes);
        }
        let size = reader.size();
        let wanted = len.max(self.ahead_bytes.min(size.saturating_sub(offset)));
        self.bytes = contiguous(reader.read_at(offset, wanted).await?);
        self.start = offset;
        self.read_bytes += wanted;
        self.get(offset, len).ok_or(ReadError::PastEnd { offset, len, size })
    }
}
