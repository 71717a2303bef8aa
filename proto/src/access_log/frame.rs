//! Frames: length, checksum, kind, payload. A frame is whole or it isn't there.
//!
//! A process that dies in a write leaves a *torn* tail: fewer bytes than the length says, or bytes that the checksum does not cover. [`Frames`] gives
//! every frame up to it and then one [`FrameError`] that tells where the good part ends, so that its owner can cut it there. Whether bytes behind
//! a bad frame are good is never asked: a length that is wrong makes all that follows meaningless.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 9;
/// Largest payload of a frame that is written or accepted.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A `SegmentHeader`.
    Header = 1,
    /// An `AccessRecord`.
    Record = 2,
    /// A `SegmentFooter`.
    Footer = 3,
    /// For files of an edge's own that are never shipped; see their owners.
    Private = 16,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Record, Self::Footer, Self::Private].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A frame that was read: its payload is a slice of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub payload: Bytes,
}

/// Why frames end before the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The file ends within a frame that begins here.
    #[error("the frame at byte {at} is cut off")]
    Cut {
        /// Bytes that are good.
        at: usize,
    },
    /// The frame that begins here is not what was written.
    #[error("the frame at byte {at} is damaged")]
    Damaged {
        /// Bytes that are good.
        at: usize,
    },
}

impl FrameError {
    /// Bytes before the bad frame.
    pub fn good_bytes(self) -> usize {
        match self {
            Self::Cut { at } | Self::Damaged { at } => at,
        }
    }
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

/// Appends a frame to `out`. Payloads over [`PAYLOAD_BYTES_MAX`] are a caller's mistake and are cut off by readers.
pub fn put(kind: Kind, payload: &[u8], out: &mut BytesMut) {
    out.reserve(FRAME_HEADER_BYTES + payload.len());
    out.put_u32_le(payload.len() as u32);
    out.put_u32_le(checksum(kind as u8, payload));
    out.put_u8(kind as u8);
    out.put_slice(payload);
}

/// Appends a frame that holds `message`, encoded in place.
pub fn put_message(kind: Kind, message: &impl prost::Message, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, FRAME_HEADER_BYTES);
    out[start + 8] = kind as u8;
    message.encode_raw(out);
    let payload = &out[start + FRAME_HEADER_BYTES..];
    let (length, crc) = (payload.len() as u32, checksum(kind as u8, payload));
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The frames of a file, in order; after an error there are none.
#[derive(Clone, Debug)]
pub struct Frames {
    rest: Bytes,
    at: usize,
}

impl Frames {
    /// The frames of `file`.
    pub fn new(file: Bytes) -> Self {
        Self { rest: file, at: 0 }
    }

    /// Bytes of the frames read so far.
    pub fn good_bytes(&self) -> usize {
        self.at
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.at;
        let mut head = self.rest.clone();
        if head.len() < FRAME_HEADER_BYTES {
            self.rest.clear();
            return Some(Err(FrameError::Cut { at }));
        }
        let (length, crc, kind) = (head.get_u32_le() as usize, head.get_u32_le(), head.get_u8());
        if length > PAYLOAD_BYTES_MAX {
            self.rest.clear();
            return Some(Err(FrameError::Damaged { at }));
        }
        if head.len() < length {
            self.rest.clear();
            return Some(Err(FrameError::Cut { at }));
        }
        let payload = head.split_to(length);
        match Kind::of(kind).filter(|_| checksum(kind, &payload) == crc) {
            Some(kind) => {
                self.rest = head;
                self.at += FRAME_HEADER_BYTES + length;
                Some(Ok(Frame { kind, payload }))
            }
            None => {
                self.rest.clear();
                Some(Err(FrameError::Damaged { at }))
            }
        }
    }
}
