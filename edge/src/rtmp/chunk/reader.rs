//! Chunks into messages.
//!
//! Each chunk stream assembles its own message, so clients may interleave as they like. Memory follows the bytes that have
//! arrived, never the length a header claims: a message longer than the cap, or one that would exceed what all chunk
//! streams together may hold, is read over without being kept, counted, and the connection goes on.
//!
//! Headers are read as tolerantly as real clients need: a stream may begin with a type-1 header (its stream id is then 0),
//! deltas wrap modulo 2^32, a continuation may or may not repeat an extended timestamp, and a full header that repeats
//! itself in mid-message continues that message. Set Chunk Size and Abort are applied here and not handed on.

use std::collections::HashMap;

use bytes::{Buf, BytesMut};

use super::{ChunkError, EXTENDED, INITIAL_CHUNK_SIZE, MAX_MESSAGE_BYTES};
use crate::rtmp::message::{Message, type_id};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

/// Bounds on what a peer may make the reader hold.
#[derive(Clone, Copy, Debug)]
pub struct ReaderLimits {
    /// Longest message kept, in bytes; longer ones are skipped.
    pub message_bytes: usize,
    /// Most chunk streams in use.
    pub chunk_streams: usize,
    /// Most bytes of unfinished messages, over all chunk streams.
    pub in_flight_bytes: usize,
}

impl Default for ReaderLimits {
    fn default() -> Self {
        Self { message_bytes: 64 << 10, chunk_streams: 64, in_flight_bytes: 256 << 10 }
    }
}

/// Reads one connection's incoming messages.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ReaderLimits,
    chunk_size: usize,
    streams: HashMap<u32, ChunkStream>,
    /// The chunk whose payload is being read.
    current: Option<Chunk>,
    /// Bytes of unfinished messages held now.
    in_flight_bytes: usize,
    skipped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    csid: u32,
    left: usize,
}

/// What a chunk stream's last message header said, and the message it began.
#[derive(Debug, Default)]
struct ChunkStream {
    head: Head,
    /// Timestamp of the last message begun, deltas added up.
    timestamp: u32,
    assembly: Option<Assembly>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    /// The timestamp or delta as sent, taken from the extended field where there is one.
    time: u32,
    /// Whether it was in the extended field, so that continuations repeat it.
    extended: bool,
    len: usize,
    type_id: u8,
    stream_id: u32,
}

#[derive(Debug)]
struct Assembly {
    /// What has arrived, unless the message is being skipped.
    kept: Option<BytesMut>,
    /// What has not arrived.
    left: usize,
}

/// A chunk header, read but not applied.
#[derive(Clone, Copy, Debug)]
struct ChunkHeader {
    format: u8,
    csid: u32,
    head: Head,
    /// Bytes it takes.
    size: usize,
}

impl ChunkReader {
    /// A reader for a fresh connection.
    pub fn new(limits: ReaderLimits) -> Self {
        Self {
            limits,
            chunk_size: INITIAL_CHUNK_SIZE as usize,
            streams: HashMap::new(),
            current: None,
            in_flight_bytes: 0,
            skipped: 0,
        }
    }

    /// Bytes of payload a chunk carries, as the peer last said.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Messages that were too large and have been read over.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of unfinished messages held.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Takes bytes from the front of `input` until a message is complete; `None` asks for more bytes. After an error the
    /// connection has lost its place and can only be closed.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            let chunk = match self.current {
                Some(chunk) => chunk,
                None => {
                    let Some(header) = self.header(input)? else { return Ok(None) };
                    input.advance(header.size);
                    self.begin_chunk(header)?
                }
            };
            let Some(stream) = self.streams.get_mut(&chunk.csid) else { return Ok(None) };
            let Some(assembly) = &mut stream.assembly else { return Ok(None) };

            let arrived = chunk.left.min(input.len());
            assembly.left -= arrived;
            if let Some(kept) = &mut assembly.kept {
                if self.in_flight_bytes + arrived > self.limits.in_flight_bytes {
                    self.in_flight_bytes -= kept.len();
                    self.skipped += 1;
                    assembly.kept = None;
                } else {
                    self.in_flight_bytes += arrived;
                    kept.extend_from_slice(&input[..arrived]);
                }
            }
            input.advance(arrived);
            if arrived < chunk.left {
                self.current = Some(Chunk { left: chunk.left - arrived, ..chunk });
                return Ok(None);
            }
            self.current = None;
            if assembly.left > 0 {
                continue;
            }
            let kept = assembly.kept.take();
            stream.assembly = None;
            if let Some(kept) = kept {
                self.in_flight_bytes -= kept.len();
                let message = Message {
                    timestamp: stream.timestamp,
                    type_id: stream.head.type_id,
                    stream_id: stream.head.stream_id,
                    payload: kept.freeze(),
                };
                if let Some(message) = self.apply(message) {
                    return Ok(Some(message));
                }
            }
        }
    }

    /// Applies what concerns chunks; hands on everything else.
    fn apply(&mut self, message: Message) -> Option<Message> {
        match message.type_id {
            type_id::SET_CHUNK_SIZE => {
                if let Some(size) = first_u32(&message.payload) {
                    self.chunk_size = (size as usize & 0x7FFF_FFFF).clamp(1, MAX_MESSAGE_BYTES);
                }
                None
            }
            type_id::ABORT => {
                let stream = first_u32(&message.payload).and_then(|csid| self.streams.get_mut(&csid));
                if let Some(stream) = stream {
                    self.in_flight_bytes -= stream.discard();
                }
                None
            }
            _ => Some(message),
        }
    }

    /// Starts or continues a message on the header's chunk stream; returns the chunk that is to be read.
    fn begin_chunk(&mut self, header: ChunkHeader) -> Result<Chunk, ChunkError> {
        let ChunkHeader { format, csid, head, .. } = header;
        if !self.streams.contains_key(&csid) && self.streams.len() >= self.limits.chunk_streams {
            return Err(ChunkError::TooManyChunkStreams(self.limits.chunk_streams));
        }
        let stream = self.streams.entry(csid).or_default();
        let continues = stream.assembly.is_some()
            && (format == 3 || (format == 0 && stream.head == head && stream.timestamp == head.time));
        if !continues {
            self.in_flight_bytes -= stream.discard();
            stream.timestamp = if format == 0 { head.time } else { stream.timestamp.wrapping_add(head.time) };
            stream.head = head;
            let fits = head.len <= self.limits.message_bytes;
            self.skipped += u64::from(!fits);
            stream.assembly = Some(Assembly { kept: fits.then(BytesMut::new), left: head.len });
        }
        let left = stream.assembly.as_ref().map_or(0, |assembly| assembly.left).min(self.chunk_size);
        Ok(Chunk { csid, left })
    }

    /// Reads the chunk header at the front of `input`, if it is there as a whole.
    fn header(&self, input: &[u8]) -> Result<Option<ChunkHeader>, ChunkError> {
        let Some(first) = input.first() else { return Ok(None) };
        let format = first >> 6;
        let (csid, basic) = match (first & 0x3F, input) {
            (0, [_, low, ..]) => (64 + u32::from(*low), 2),
            (1, [_, low, high, ..]) => (64 + u32::from(*low) + (u32::from(*high) << 8), 3),
            (0 | 1, _) => return Ok(None),
            (csid, _) => (u32::from(csid), 1),
        };
        let stream = self.streams.get(&csid);
        if stream.is_none() && format > 1 {
            return Err(ChunkError::NoMessageHeader(csid));
        }
        let fields = [11, 7, 3, 0][usize::from(format)];
        let Some(field) = input.get(basic..basic + fields) else { return Ok(None) };
        let rest = &input[basic + fields..];

        let mut head = stream.map_or_else(Head::default, |stream| stream.head);
        if let [a, b, c, ..] = field {
            head.time = u32::from_be_bytes([0, *a, *b, *c]);
            head.extended = head.time == EXTENDED;
        }
        if let [_, _, _, a, b, c, type_id, ..] = field {
            head.len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            head.type_id = *type_id;
        }
        if let [.., a, b, c, d] = field
            && format == 0
        {
            head.stream_id = u32::from_le_bytes([*a, *b, *c, *d]);
        }
        let mut size = basic + fields;
        if head.extended && format == 3 {
            match repeats(rest, head.time) {
                Some(true) => size += 4,
                Some(false) => {}
                None => return Ok(None),
            }
        } else if head.extended {
            let Some(time) = first_u32(rest) else { return Ok(None) };
            head.time = time;
            size += 4;
        }
        Ok(Some(ChunkHeader { format, csid, head, size }))
    }
}

impl ChunkStream {
    /// Drops the unfinished message; returns how many bytes were held for it.
    fn discard(&mut self) -> usize {
        self.assembly.take().and_then(|assembly| assembly.kept).map_or(0, |kept| kept.len())
    }
}

/// Whether a continuation repeats the extended timestamp: the specification says it must, some clients don't. `None` while
/// too little has arrived to tell.
fn repeats(rest: &[u8], time: u32) -> Option<bool> {
    let time = time.to_be_bytes();
    let len = rest.len().min(4);
    if rest[..len] != time[..len] {
        return Some(false);
    }
    (len == 4).then_some(true)
}

fn first_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}
