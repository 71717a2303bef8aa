//! Chunks: how messages share a connection (RTMP specification 1.0, section 5.3).
//!
//! [`ChunkReader`] assembles what clients send, whatever order they interleave it in and however tersely they head it.
//! [`ChunkWriter`] lays out what this edge sends, one message after another, in a [`Batch`]. Reading fails only when a
//! client has lost the protocol or opens too many chunk streams; what is merely too large is skipped and counted. Writing
//! fails only for messages the format can't hold.

mod batch;
pub(crate) mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use reader::{ChunkReader, ReaderLimits};
pub use writer::{ChunkWriter, OutMessage};

/// Chunk size of both directions until someone says otherwise, in bytes.
pub const INITIAL_CHUNK_SIZE: u32 = 128;

/// Longest message the three-byte length field can announce, and so the largest chunk size that means anything.
pub const MAX_MESSAGE_BYTES: usize = 0xFF_FFFF;

/// A timestamp field with this value says that the real one follows in four bytes.
const EXTENDED: u32 = 0xFF_FFFF;

/// Lowest and highest chunk stream a header can name; below are the codes for its longer forms.
const CSID_RANGE: std::ops::RangeInclusive<u32> = 2..=65_599;

/// The chunk streams this edge sends on. One kind of message keeps to one chunk stream, so that headers stay short.
pub mod csid {
    /// Control messages, types 1 to 6; [`crate::rtmp::control`] writes there, always with full headers.
    pub const CONTROL: u32 = 2;
    /// Commands of the connection.
    pub const COMMAND: u32 = 3;
    /// Data messages: metadata, onPlayStatus.
    pub const DATA: u32 = 4;
    /// Commands of a message stream: onStatus.
    pub const STATUS: u32 = 5;
    /// Audio.
    pub const AUDIO: u32 = 6;
    /// Video.
    pub const VIDEO: u32 = 7;
}

/// Why chunks can't be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A peer opened more chunk streams than [`ReaderLimits::chunk_streams`].
    #[error("peer opened more than {0} chunk streams")]
    TooManyChunkStreams(usize),
    /// A header leaves out a message length that was never given.
    #[error("first chunk on chunk stream {0} has no message header")]
    NoMessageHeader(u32),
    /// A message to send is longer than the format allows.
    #[error("message of {0} bytes is too long to send")]
    MessageTooLong(usize),
    /// A message is to be sent on a chunk stream that is reserved or does not exist.
    #[error("chunk stream {0} is not for messages")]
    ChunkStreamId(u32),
}
