//! Takes an RTMP chunk stream apart as it comes, without keeping media.
//!
//! [`Reader::feed`] is given whatever a read returned. A message's payload is hashed (if asked) and dropped slice by slice; only
//! the bodies of commands and control messages are gathered. What is kept between two reads is a few words a chunk stream
//! and at most one cut header. All four header forms, extended timestamps (repeated on type-3 chunks), interleaved
//! chunk streams and SetChunkSize are understood. An error ends the session: the stream can't be followed any more.

use std::fmt;

/// Longest body gathered; commands and metadata are far shorter.
const LONGEST_BODY: u32 = 1 << 20;
/// Longest chunk header: 3 bytes of basic header, 11 of message header, 4 of extended timestamp.
const LONGEST_HEADER: usize = 18;

/// What is known of a message when its last byte has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type: 8 audio, 9 video, 18 data, 20 command, below 8 control.
    pub kind: u8,
    /// Its time in ms, as the stream counts.
    pub time_ms: u32,
    /// Length of its payload.
    pub bytes: u32,
    /// CRC-32 of its payload without the first byte (which names frame type and codec, and which servers word differently for
    /// the same MP4 frame: nginx-rtmp calls all but keyframes disposable); 0 if hashing is off.
    pub hash: u32,
    /// The first two bytes of its payload (0 where there are none): what tells codec headers from frames.
    pub lead: [u8; 2],
}

/// Who is told of messages.
pub trait Sink {
    /// A whole message has come. `body` is empty for audio and video.
    fn message(&mut self, message: Message, body: &[u8]);
}

/// Why a stream can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A chunk stream that never began opened with a short header.
    NoHeader,
    /// SetChunkSize names a size that can't be.
    ChunkSize(u32),
    /// A control or command message is longer than 1 MiB.
    Long(u32),
    /// More than 64 chunk streams.
    Streams,
    /// A new message began inside another one on the same chunk stream.
    Torn,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => write!(f, "chunk stream without a full header"),
            Self::ChunkSize(size) => write!(f, "chunk size {size}"),
            Self::Long(bytes) => write!(f, "message of {bytes} bytes"),
            Self::Streams => write!(f, "over 64 chunk streams"),
            Self::Torn => write!(f, "message torn by another"),
        }
    }
}

/// One chunk stream.
#[derive(Clone, Debug, Default)]
struct Stream {
    id: u32,
    time: u32,
    delta: u32,
    bytes: u32,
    kind: u8,
    extended: bool,
    lead: [u8; 2],
    /// Bytes of the message under way still to come; `None` between messages.
    left: Option<u32>,
    hash: u32,
    body: Vec<u8>,
}

/// Where one connection's chunk stream stands.
#[derive(Clone, Debug)]
pub struct Reader {
    streams: Vec<Stream>,
    chunk_bytes: u32,
    /// The stream of the chunk under way and its bytes still to come.
    current: usize,
    chunk_left: u32,
    cut: [u8; LONGEST_HEADER],
    cut_len: usize,
    hashing: bool,
}

/// A chunk's header as it stands on the wire.
struct Header {
    length: usize,
    form: u8,
    id: u32,
    time: u32,
    bytes: u32,
    kind: u8,
    extended: bool,
}

impl Reader {
    /// A stream at its beginning.
    pub fn new(hashing: bool) -> Self {
        Self {
            streams: Vec::new(),
            chunk_bytes: 128,
            current: 0,
            chunk_left: 0,
            cut: [0; LONGEST_HEADER],
            cut_len: 0,
            hashing,
        }
    }

    /// Takes all of `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.chunk_left > 0 {
                let now = bytes.len().min(self.chunk_left as usize);
                let (slice, rest) = bytes.split_at(now);
                bytes = rest;
                self.payload(slice, sink)?;
                continue;
            }
            if self.cut_len == 0 {
                if let Some(header) = self.header(bytes) {
                    bytes = &bytes[header.length..];
                    self.begin(header, sink)?;
                    continue;
                }
                self.cut[..bytes.len()].copy_from_slice(bytes);
                self.cut_len = bytes.len();
                return Ok(());
            }
            let had = self.cut_len;
            let more = bytes.len().min(LONGEST_HEADER - had);
            self.cut[had..had + more].copy_from_slice(&bytes[..more]);
            let whole = self.cut;
            match self.header(&whole[..had + more]) {
                Some(header) => {
                    bytes = &bytes[header.length - had..];
                    self.cut_len = 0;
                    self.begin(header, sink)?;
                }
                None => {
                    self.cut_len = had + more;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|s| s.id == id)
    }

    /// The header `b` starts with, if all of it is there.
    #[inline]
    fn header(&self, b: &[u8]) -> Option<Header> {
        let first = *b.first()?;
        let (id, mut at) = match first & 63 {
            0 => (64 + u32::from(*b.get(1)?), 2),
            1 => (64 + u32::from(*b.get(1)?) + 256 * u32::from(*b.get(2)?), 3),
            n => (u32::from(n), 1),
        };
        let form = first >> 6;
        let (mut time, mut bytes, mut kind) = (0, 0, 0);
        let three = |at: usize| b.get(at..at + 3).map(|b| u32::from_be_bytes([0, b[0], b[1], b[2]]));
        if form < 3 {
            time = three(at)?;
            at += 3;
        }
        if form < 2 {
            bytes = three(at)?;
            kind = *b.get(at + 3)?;
            at += 4;
        }
        if form == 0 {
            at += 4;
        }
        let extended = match form {
            3 => self.find(id).is_some_and(|n| self.streams[n].extended),
            _ => time == 0xff_ffff,
        };
        if extended {
            time = u32::from_be_bytes(b.get(at..at + 4)?.try_into().ok()?);
            at += 4;
        }
        (b.len() >= at).then_some(Header { length: at, form, id, time, bytes, kind, extended })
    }

    fn begin(&mut self, header: Header, sink: &mut impl Sink) -> Result<(), Broken> {
        let known = match self.streams.get(self.current) {
            Some(stream) if stream.id == header.id => Some(self.current),
            _ => self.find(header.id),
        };
        self.current = match known {
            Some(n) => n,
            None if header.form != 0 => return Err(Broken::NoHeader),
            None if self.streams.len() == 64 => return Err(Broken::Streams),
            None => {
                self.streams.push(Stream { id: header.id, ..Stream::default() });
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[self.current];
        if header.form < 3 {
            if stream.left.is_some() {
                return Err(Broken::Torn);
            }
            stream.extended = header.extended;
            stream.delta = header.time;
            if header.form < 2 {
                (stream.bytes, stream.kind) = (header.bytes, header.kind);
            }
        }
        if stream.left.is_none() {
            stream.time = if header.form == 0 { header.time } else { stream.time.wrapping_add(stream.delta) };
            stream.left = Some(stream.bytes);
            (stream.hash, stream.lead) = (0, [0; 2]);
            if !matches!(stream.kind, 8 | 9) && stream.bytes > LONGEST_BODY {
                return Err(Broken::Long(stream.bytes));
            }
        }
        self.chunk_left = stream.left.unwrap_or(0).min(self.chunk_bytes);
        if self.chunk_left == 0 { self.payload(&[], sink) } else { Ok(()) }
    }

    #[inline]
    fn payload(&mut self, slice: &[u8], sink: &mut impl Sink) -> Result<(), Broken> {
        let stream = &mut self.streams[self.current];
        let left = stream.left.unwrap_or(0);
        let seen = (stream.bytes - left) as usize;
        if seen < 2 {
            for (place, byte) in stream.lead[seen..].iter_mut().zip(slice) {
                *place = *byte;
            }
        }
        if matches!(stream.kind, 8 | 9) {
            if self.hashing {
                let mut hasher = crc32fast::Hasher::new_with_initial(stream.hash);
                hasher.update(if seen == 0 { slice.get(1..).unwrap_or_default() } else { slice });
                stream.hash = hasher.finalize();
            }
        } else {
            stream.body.extend_from_slice(slice);
        }
        self.chunk_left -= slice.len() as u32;
        let left = left - slice.len() as u32;
        stream.left = Some(left);
        if left > 0 {
            return Ok(());
        }
        stream.left = None;
        let body = std::mem::take(&mut stream.body);
        let Stream { kind, time, bytes, hash, lead, .. } = *stream;
        if let (1, [a, b, c, d, ..]) = (kind, body.as_slice()) {
            let size = u32::from_be_bytes([*a, *b, *c, *d]);
            if size == 0 || size > 0x7fff_ffff {
                return Err(Broken::ChunkSize(size));
            }
            self.chunk_bytes = size;
        }
        sink.message(Message { kind, time_ms: time, bytes, hash, lead }, &body);
        Ok(())
    }
}

/// Appends one message of at most 128 bytes a chunk, with a full header, as a client sends it.
pub fn write(out: &mut Vec<u8>, chunk_stream: u8, kind: u8, message_stream: u32, body: &[u8]) {
    let length = (body.len() as u32).to_be_bytes();
    out.extend([chunk_stream, 0, 0, 0, length[1], length[2], length[3], kind]);
    out.extend(message_stream.to_le_bytes());
    for (n, slice) in body.chunks(128).enumerate() {
        if n > 0 {
            out.push(0xc0 | chunk_stream);
        }
        out.extend_from_slice(slice);
    }
}

#[cfg(test)]
mod tests;
