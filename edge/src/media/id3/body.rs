//! A tag's body, read by ranges as it is walked.
//!
//! In tags of version 2.2 and 2.3 that are *unsynchronised*, each `ff` that could be taken for the start of a sound frame is followed by
//! a `00` that doesn't count; lengths count without it, so such a tag can only be walked byte by byte. Other tags are stepped through.
//! The walk ends after [`READ_BYTES_MAX`].

use crate::media::window::Window;
use crate::object::{ReadAt, ReadError};

/// How much is read at a time: a tag without pictures in one go.
const AHEAD_BYTES: u64 = 8 << 10;
/// Most bytes read of one tag.
pub(super) const READ_BYTES_MAX: u64 = 2 << 20;

/// A position in a tag's body.
pub(super) struct Body {
    window: Window,
    at: u64,
    end: u64,
    unsynchronised: bool,
    /// The last byte taken was `ff`.
    after_ff: bool,
}

impl Body {
    /// The body that stands at `at..end`.
    pub(super) fn new(at: u64, end: u64, unsynchronised: bool) -> Self {
        Self { window: Window::new(AHEAD_BYTES), at, end, unsynchronised, after_ff: false }
    }

    /// Stored bytes left.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Whether stored lengths are what lies between two frames: not in an unsynchronised body.
    pub(super) fn is_plain(&self) -> bool {
        !self.unsynchronised
    }

    /// The next `len` bytes; `None` if there are fewer, or too much was read.
    pub(super) async fn take<R: ReadAt>(
        &mut self,
        reader: &mut R,
        len: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        if len > self.left() || self.window.read_bytes > READ_BYTES_MAX {
            return Ok(None);
        }
        if self.is_plain() {
            let bytes = self.window.fetch(reader, self.at, len).await?;
            self.at += len;
            return Ok(Some(bytes.to_vec()));
        }
        let mut taken = Vec::new();
        Ok(self.decode(reader, len, |byte| taken.push(byte)).await?.then_some(taken))
    }

    /// Passes over `len` bytes; false if there are fewer, or too much was read.
    pub(super) async fn skip<R: ReadAt>(&mut self, reader: &mut R, len: u64) -> Result<bool, ReadError> {
        if len > self.left() {
            return Ok(false);
        }
        if self.is_plain() {
            self.at += len;
            return Ok(true);
        }
        self.decode(reader, len, |_| {}).await
    }

    /// Four bytes that stand `ahead` of here, in a plain body.
    pub(super) async fn peek<R: ReadAt>(
        &mut self,
        reader: &mut R,
        ahead: u64,
    ) -> Result<Option<[u8; 4]>, ReadError> {
        if ahead.checked_add(4).is_none_or(|end| end > self.left()) || self.window.read_bytes > READ_BYTES_MAX
        {
            return Ok(None);
        }
        let bytes = self.window.fetch(reader, self.at + ahead, 4).await?;
        Ok(bytes.first_chunk().copied())
    }

    /// Hands on `len` bytes of an unsynchronised body, whether there are so many.
    async fn decode<R: ReadAt>(
        &mut self,
        reader: &mut R,
        mut len: u64,
        mut each: impl FnMut(u8),
    ) -> Result<bool, ReadError> {
        while len > 0 {
            let stretch = self.left().min(AHEAD_BYTES);
            if stretch == 0 || self.window.read_bytes > READ_BYTES_MAX {
                return Ok(false);
            }
            let held = self.window.get(self.at, 1).is_some();
            let stretch = if held { self.window.left(self.at).min(stretch) } else { stretch };
            let bytes = self.window.fetch(reader, self.at, stretch).await?;
            for &byte in &bytes {
                if len == 0 {
                    break;
                }
                self.at += 1;
                if !(std::mem::replace(&mut self.after_ff, byte == 0xff) && byte == 0) {
                    each(byte);
                    len -= 1;
                }
            }
        }
        Ok(true)
    }
}

/// `bytes` without the zeros that unsynchronisation put behind each `ff`.
pub(super) fn resynchronised(bytes: &[u8]) -> Vec<u8> {
    let mut after_ff = false;
    let counts = |byte: &u8| !(std::mem::replace(&mut after_ff, *byte == 0xff) && *byte == 0);
    bytes.iter().copied().filter(counts).collect()
}
