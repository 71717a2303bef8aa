//! Messages into chunks.
//!
//! Messages never interleave: a message's chunks follow each other, because some readers hold one message only. Headers
//! are full (type 0) at first, after any jump back or beyond 0xFFFFFF, and on a change of stream; else without stream id
//! (type 1). The two shorter types would save three to seven bytes a message and are left out: clients disagree about
//! what a delta after a full header is. So a delta never wraps and never needs the extended field; an extended timestamp
//! comes with a full header only, and is repeated on every chunk of its message, as Adobe's servers do it.

use bytes::Bytes;

use super::batch::Piece;
use super::{Batch, CSID_RANGE, ChunkError, EXTENDED, INITIAL_CHUNK_SIZE, MAX_MESSAGE_BYTES, csid};
use crate::rtmp::control;

/// A message to send. Its payload is `head` followed by the slices of `payload`.
#[derive(Clone, Copy, Debug)]
pub struct OutMessage<'a> {
    /// Chunk stream: 3 to 65599.
    pub csid: u32,
    /// Milliseconds.
    pub timestamp: u32,
    /// Message type.
    pub type_id: u8,
    /// Message stream.
    pub stream_id: u32,
    /// A few bytes that precede the payload: FLV's tag header before a stored sample.
    pub head: &'a [u8],
    /// Shared slices.
    pub payload: &'a [Bytes],
}

/// What the last header on a chunk stream said.
#[derive(Clone, Copy, Debug)]
struct Last {
    csid: u32,
    timestamp: u32,
    stream_id: u32,
}

/// Writes one connection's outgoing messages.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: u32,
    /// One a chunk stream in use: a handful, chosen by the session.
    last: Vec<Last>,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self { chunk_size: INITIAL_CHUNK_SIZE, last: Vec::new() }
    }
}

impl ChunkWriter {
    /// A writer for a fresh connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of payload a chunk carries at most.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Announces another chunk size (128 to 0xFFFFFF bytes, clamped) and uses it from the next message on. It is never less
    /// than at first, because control messages are laid out in a single chunk whatever the size is.
    pub fn set_chunk_size(&mut self, bytes: u32, out: &mut Batch) {
        let bytes = bytes.clamp(INITIAL_CHUNK_SIZE, MAX_MESSAGE_BYTES as u32);
        control::set_chunk_size(bytes, out);
        self.chunk_size = bytes;
    }

    /// Makes the next message on `csid` carry a full header.
    pub fn forget(&mut self, csid: u32) {
        self.last.retain(|last| last.csid != csid);
    }

    /// Appends a message. Nothing is written when that fails.
    pub fn write(&mut self, out: &mut Batch, message: OutMessage<'_>) -> Result<(), ChunkError> {
        let len = message.payload.iter().map(Bytes::len).fold(message.head.len(), usize::saturating_add);
        let mut chunks = self.begin(out, &message, len)?;
        chunks.copied(message.head);
        for bytes in message.payload {
            chunks.shared(bytes);
        }
        Ok(())
    }

    /// Appends a message whose payload is all that `body` holds; what is shared there stays shared. `body` is empty afterwards, unless
    /// that fails.
    pub fn write_body(
        &mut self,
        out: &mut Batch,
        message: OutMessage<'_>,
        body: &mut Batch,
    ) -> Result<(), ChunkError> {
        let mut chunks = self.begin(out, &message, body.len_bytes())?;
        body.take_pieces(|piece| match piece {
            Piece::Copied(bytes) => chunks.copied(bytes),
            Piece::Shared(bytes) => chunks.shared(bytes),
        });
        Ok(())
    }

    /// Writes the first header of a message of `len` bytes.
    fn begin<'a>(
        &mut self,
        out: &'a mut Batch,
        message: &OutMessage<'_>,
        len: usize,
    ) -> Result<Chunks<'a>, ChunkError> {
        if message.csid == csid::CONTROL || !CSID_RANGE.contains(&message.csid) {
            return Err(ChunkError::ChunkStreamId(message.csid));
        }
        if len > MAX_MESSAGE_BYTES {
            return Err(ChunkError::MessageTooLong(len));
        }
        let extended = self.message_header(out, message, len as u32);
        Ok(Chunks {
            continuation: Header::continuation(message.csid, extended),
            chunk_size: self.chunk_size as usize,
            room: self.chunk_size as usize,
            out,
        })
    }

    /// Writes the first header of a message; returns the extended timestamp to repeat, if there is one.
    fn message_header(&mut self, out: &mut Batch, message: &OutMessage<'_>, len: u32) -> Option<u32> {
        let last = self.last.iter_mut().find(|last| last.csid == message.csid);
        let delta = match &last {
            Some(last) if last.stream_id == message.stream_id => {
                message.timestamp.checked_sub(last.timestamp)
            }
            _ => None,
        }
        .filter(|delta| *delta < EXTENDED);

        let mut header = Header::default();
        header.basic(if delta.is_some() { 1 } else { 0 }, message.csid);
        let field = delta.unwrap_or(message.timestamp).min(EXTENDED);
        header.push(&field.to_be_bytes()[1..]);
        header.push(&len.to_be_bytes()[1..]);
        header.push(&[message.type_id]);
        if delta.is_none() {
            // The one little-endian number in the protocol.
            header.push(&message.stream_id.to_le_bytes());
        }
        let extended = (field == EXTENDED).then_some(message.timestamp);
        if let Some(timestamp) = extended {
            header.push(&timestamp.to_be_bytes());
        }
        out.push_raw(header.bytes());

        match last {
            Some(last) => (last.timestamp, last.stream_id) = (message.timestamp, message.stream_id),
            None => self.last.push(Last {
                csid: message.csid,
                timestamp: message.timestamp,
                stream_id: message.stream_id,
            }),
        }
        extended
    }
}

/// The payload of one message, cut into chunks.
struct Chunks<'a> {
    out: &'a mut Batch,
    continuation: Header,
    chunk_size: usize,
    /// Bytes the chunk under way can still take.
    room: usize,
}

impl Chunks<'_> {
    fn copied(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.next(bytes.len()));
            self.out.push_raw(now);
            bytes = later;
        }
    }

    fn shared(&mut self, bytes: &Bytes) {
        let mut at = 0;
        while at < bytes.len() {
            let len = self.next(bytes.len() - at);
            self.out.push_part(bytes, at, at + len);
            at += len;
        }
    }

    /// How many of `len` bytes (not 0) come next; begins a chunk when the last one is full.
    fn next(&mut self, len: usize) -> usize {
        if self.room == 0 {
            self.out.push_raw(self.continuation.bytes());
            self.room = self.chunk_size;
        }
        let len = len.min(self.room);
        self.room -= len;
        len
    }
}

/// A chunk header under construction: 3 + 11 + 4 bytes at most.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    bytes: [u8; 18],
    len: usize,
}

impl Header {
    fn continuation(csid: u32, extended: Option<u32>) -> Self {
        let mut header = Self::default();
        header.basic(3, csid);
        if let Some(timestamp) = extended {
            header.push(&timestamp.to_be_bytes());
        }
        header
    }

    fn basic(&mut self, format: u8, csid: u32) {
        let format = format << 6;
        match csid {
            0..64 => self.push(&[format | csid as u8]),
            64..320 => self.push(&[format, (csid - 64) as u8]),
            _ => self.push(&[format | 1, (csid - 64) as u8, ((csid - 64) >> 8) as u8]),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
