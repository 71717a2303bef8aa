//! Where a file's top-level boxes stand: finds `moov` by headers alone and reads it whole.
//!
//! Media data is stepped over by its length, so a film of any size costs two or three reads: the first bytes, perhaps the
//! bytes after the media data, and `moov`. Fails if there is no `moov`, if it is larger than the limit, or if a box
//! passes the end of the file (a truncated upload).

use bytes::Bytes;

use super::boxes::{self, HEADER_BYTES_MAX, invalid};
use crate::media::{Limits, MediaError};
use crate::object::{ReadAt, read};

/// How much is read at a time while looking at headers. Blocks are larger; this only keeps small files to one read.
const WINDOW_BYTES: u64 = 64 << 10;

/// More top-level boxes than any writer puts before `moov`.
const BOXES_MAX: usize = 1024;

/// The `moov` of a file.
pub(crate) struct Layout {
    /// Where the box starts.
    pub(crate) moov_offset: u64,
    /// Its body.
    pub(crate) moov: Bytes,
    /// Where the next box starts.
    pub(crate) after_moov: u64,
}

/// The bytes last read, so that neighbouring headers cost one read.
pub(crate) struct Window {
    offset: u64,
    bytes: Bytes,
}

impl Window {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Self { offset: 0, bytes: Bytes::new() }
    }

    /// `len` bytes at `offset`, which must lie inside the file.
    pub(crate) async fn read<R: ReadAt>(
        &mut self,
        reader: &mut R,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, MediaError> {
        if let Some(held) = self.held(offset, len) {
            return Ok(held);
        }
        let ahead = len.max(WINDOW_BYTES).min(reader.size().saturating_sub(offset)).max(len);
        self.bytes = read::contiguous(reader.read_at(offset, ahead).await?);
        self.offset = offset;
        Ok(self.bytes.slice(..len as usize))
    }

    fn held(&self, offset: u64, len: u64) -> Option<Bytes> {
        let start = offset.checked_sub(self.offset)?;
        let end = start.checked_add(len)?;
        (end <= self.bytes.len() as u64).then(|| self.bytes.slice(start as usize..end as usize))
    }

    /// The header of the box at `offset`.
    pub(crate) async fn header<R: ReadAt>(
        &mut self,
        reader: &mut R,
        offset: u64,
    ) -> Result<boxes::Header, MediaError> {
        let available = reader.size().saturating_sub(offset);
        let head = self.read(reader, offset, available.min(HEADER_BYTES_MAX)).await?;
        boxes::header(&head, available)
    }
}

/// Finds and reads `moov`.
pub(crate) async fn find_moov<R: ReadAt>(
    reader: &mut R,
    window: &mut Window,
    limits: &Limits,
) -> Result<Layout, MediaError> {
    let size = reader.size();
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        if size - at < 8 {
            return Err(invalid("there is no moov box"));
        }
        let header = window.header(reader, at).await?;
        if header.kind == *b"moov" {
            let body = header.total_bytes - header.header_bytes;
            if body > limits.index_bytes {
                let most = limits.index_bytes;
                return Err(invalid(format!("moov of {body} bytes; at most {most} are read")));
            }
            let moov = window.read(reader, at + header.header_bytes, body).await?;
            return Ok(Layout { moov_offset: at, moov, after_moov: at + header.total_bytes });
        }
        at += header.total_bytes;
    }
    Err(invalid(format!("no moov among the first {BOXES_MAX} boxes")))
}
