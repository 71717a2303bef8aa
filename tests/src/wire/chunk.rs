//! Chunks: a writer that does as told, and a strict reader of what the server sends.

use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

use super::amf::{self, Value};

/// One message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// Chunk stream.
    pub csid: u32,
    /// Form of its first chunk's header, 0 to 3.
    pub form: u8,
    /// Absolute time in ms.
    pub timestamp: u32,
    /// Whether an extended timestamp stood in its first chunk.
    pub extended: bool,
    /// Message type.
    pub type_id: u8,
    /// Message stream.
    pub stream_id: u32,
    /// The assembled payload.
    pub payload: Vec<u8>,
    /// When its last byte was read.
    pub at: Instant,
}

/// A decoded command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// Its transaction id.
    pub tx: f64,
    /// What follows: usually the command object (or null), then arguments.
    pub args: Vec<Value>,
}

impl Message {
    /// The command in a type-20 message, or in a type-17 one (a zero byte first).
    pub fn command(&self) -> Option<Command> {
        let body = match self.type_id {
            20 => &self.payload[..],
            17 => self.payload.strip_prefix(&[0])?,
            _ => return None,
        };
        let mut all = amf::decode_all(body).ok()?.into_iter();
        let (Value::String(name), Value::Number(tx)) = (all.next()?, all.next()?) else { return None };
        Some(Command { name, tx, args: all.collect() })
    }

    /// The information object of an `onStatus`.
    pub fn status(&self) -> Option<Value> {
        let command = self.command()?;
        if command.name == "onStatus" { command.args.into_iter().nth(1) } else { None }
    }

    /// The code of an `onStatus`.
    pub fn status_code(&self) -> Option<String> {
        Some(self.status()?.field("code").to_owned())
    }

    /// A data message: its name and values.
    pub fn data(&self) -> Option<(String, Vec<Value>)> {
        if self.type_id != 18 {
            return None;
        }
        let mut all = amf::decode_all(&self.payload).ok()?.into_iter();
        let Value::String(name) = all.next()? else { return None };
        Some((name, all.collect()))
    }

    /// Whether it is the data message of that name.
    pub fn is_data(&self, name: &str) -> bool {
        self.data().is_some_and(|(n, _)| n == name)
    }

    /// A user control event: its number and what follows.
    pub fn event(&self) -> Option<(u16, &[u8])> {
        if self.type_id != 4 {
            return None;
        }
        let (head, rest) = self.payload.split_at_checked(2)?;
        Some((u16::from_be_bytes([head[0], head[1]]), rest))
    }

    /// Whether it is that user control event about that stream.
    pub fn is_event(&self, number: u16, stream_id: u32) -> bool {
        self.event().is_some_and(|(n, rest)| n == number && rest == stream_id.to_be_bytes())
    }

    /// Audio or video.
    pub fn is_media(&self) -> bool {
        matches!(self.type_id, 8 | 9)
    }

    /// A codec header: AVC configuration or AAC configuration.
    pub fn is_header(&self) -> bool {
        match self.type_id {
            9 => self.payload.len() > 1 && self.payload[0] & 0x0f == 7 && self.payload[1] == 0,
            8 => self.payload.len() > 1 && self.payload[0] >> 4 == 10 && self.payload[1] == 0,
            _ => false,
        }
    }

    /// A picture (not a header, not an end of sequence).
    pub fn is_picture(&self) -> bool {
        self.type_id == 9 && !self.is_header() && self.payload.len() > 5
    }

    /// A picture a decoder can start at.
    pub fn is_keyframe(&self) -> bool {
        self.is_picture() && self.payload[0] >> 4 == 1
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "type {} stream {} csid {} t {}: ",
            self.type_id, self.stream_id, self.csid, self.timestamp
        )?;
        match (self.command(), self.data()) {
            (Some(c), _) => write!(f, "{} {} {:?}", c.name, c.tx, c.args),
            (_, Some((name, values))) => write!(f, "{name} {values:?}"),
            _ => write!(
                f,
                "{} bytes {}",
                self.payload.len(),
                hex::encode(&self.payload[..self.payload.len().min(16)])
            ),
        }
    }
}

/// Writes chunks.
#[derive(Debug)]
pub struct Chunker {
    /// Size used for what follows; tell the server with a type-1 message when changing it.
    pub size: usize,
}

impl Default for Chunker {
    fn default() -> Self {
        Self { size: 128 }
    }
}

impl Chunker {
    /// A basic header, in the shortest form that fits.
    pub fn basic(form: u8, csid: u32) -> Vec<u8> {
        match csid {
            2..=63 => vec![form << 6 | csid as u8],
            64..=319 => vec![form << 6, (csid - 64) as u8],
            _ => vec![form << 6 | 1, (csid - 64) as u8, ((csid - 64) >> 8) as u8],
        }
    }

    /// A type-0 header.
    pub fn header(csid: u32, timestamp: u32, len: usize, type_id: u8, stream_id: u32) -> Vec<u8> {
        let mut out = Self::basic(0, csid);
        out.extend(&timestamp.min(0xff_ffff).to_be_bytes()[1..]);
        out.extend(&(len as u32).to_be_bytes()[1..]);
        out.push(type_id);
        out.extend(stream_id.to_le_bytes());
        if timestamp >= 0xff_ffff {
            out.extend(timestamp.to_be_bytes());
        }
        out
    }

    /// The pieces of a payload: the first without header, each later one with its type-3 header.
    pub fn pieces(&self, csid: u32, timestamp: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        payload
            .chunks(self.size)
            .enumerate()
            .map(|(i, piece)| {
                let mut out = Vec::new();
                if i > 0 {
                    out = Self::basic(3, csid);
                    if timestamp >= 0xff_ffff {
                        out.extend(timestamp.to_be_bytes());
                    }
                }
                out.extend(piece);
                out
            })
            .collect()
    }

    /// A whole message.
    pub fn message(&self, csid: u32, timestamp: u32, type_id: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Self::header(csid, timestamp, payload.len(), type_id, stream_id);
        self.pieces(csid, timestamp, payload).iter().for_each(|p| out.extend(p));
        out
    }
}

#[derive(Clone, Debug, Default)]
struct Lane {
    timestamp: u32,
    delta: u32,
    extended: bool,
    len: usize,
    type_id: u8,
    stream_id: u32,
    seen: bool,
    form: u8,
    payload: Vec<u8>,
}

/// Reads chunks; any departure from the protocol is an error.
#[derive(Debug)]
pub struct Dechunker {
    size: usize,
    held: Vec<u8>,
    lanes: HashMap<u32, Lane>,
}

impl Default for Dechunker {
    fn default() -> Self {
        Self { size: 128, held: Vec::new(), lanes: HashMap::new() }
    }
}

impl Dechunker {
    /// Takes bytes, gives the messages they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, String> {
        self.held.extend(bytes);
        let mut done = Vec::new();
        let mut used = 0;
        while let Some((n, message)) = self.chunk(used)? {
            used += n;
            done.extend(message);
        }
        self.held.drain(..used);
        Ok(done)
    }

    /// One chunk at `from`, or `None` if it isn't whole yet.
    fn chunk(&mut self, from: usize) -> Result<Option<(usize, Option<Message>)>, String> {
        let b = &self.held[from..];
        let Some(&first) = b.first() else { return Ok(None) };
        let (form, mut at) = (first >> 6, 1);
        let csid = match first & 0x3f {
            0 if b.len() >= 2 => {
                at = 2;
                64 + u32::from(b[1])
            }
            1 if b.len() >= 3 => {
                at = 3;
                64 + u32::from(b[1]) + 256 * u32::from(b[2])
            }
            0 | 1 => return Ok(None),
            n => u32::from(n),
        };
        let head = [11, 7, 3, 0][usize::from(form)];
        if b.len() < at + head {
            return Ok(None);
        }
        let lane = self.lanes.entry(csid).or_default();
        let fresh = lane.payload.is_empty();
        if form > 0 && !lane.seen {
            return Err(format!("chunk stream {csid} begins with a header of form {form}"));
        }
        if form < 3 && !fresh {
            return Err(format!("chunk stream {csid}: a new message inside another"));
        }
        let h = &b[at..at + head];
        at += head;
        let be24 = |h: &[u8]| u32::from(h[0]) << 16 | u32::from(h[1]) << 8 | u32::from(h[2]);
        let mut time = if form < 3 { be24(h) } else { 0 };
        let extended = if form < 3 { time == 0xff_ffff } else { lane.extended };
        if extended {
            let Some(four) = b.get(at..at + 4) else { return Ok(None) };
            at += 4;
            let wide = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
            if form == 3 && !fresh && wide != if lane.form == 0 { lane.timestamp } else { lane.delta } {
                return Err(format!(
                    "chunk stream {csid}: extended timestamp {wide} not repeated on a type-3 chunk"
                ));
            }
            time = wide;
        }
        let (len, type_id) = if form < 2 { (be24(&h[3..]) as usize, h[6]) } else { (lane.len, lane.type_id) };
        let have = if fresh { 0 } else { lane.payload.len() };
        let piece = (len - have).min(self.size);
        if b.len() < at + piece {
            return Ok(None);
        }
        if fresh {
            match form {
                0 => {
                    lane.timestamp = time;
                    lane.delta = 0;
                    lane.stream_id = u32::from_le_bytes([h[7], h[8], h[9], h[10]]);
                }
                1 | 2 => {
                    lane.delta = time;
                    lane.timestamp = lane.timestamp.wrapping_add(time);
                }
                _ => lane.timestamp = lane.timestamp.wrapping_add(lane.delta),
            }
            (lane.len, lane.type_id, lane.extended, lane.form, lane.seen) =
                (len, type_id, extended, form, true);
        }
        lane.payload.extend(&b[at..at + piece]);
        if lane.payload.len() < len {
            return Ok(Some((at + piece, None)));
        }
        let message = Message {
            csid,
            form: lane.form,
            timestamp: lane.timestamp,
            extended: lane.extended,
            type_id,
            stream_id: lane.stream_id,
            payload: std::mem::take(&mut lane.payload),
            at: Instant::now(),
        };
        if type_id == 1 && message.payload.len() == 4 {
            let size = u32::from_be_bytes([
                message.payload[0],
                message.payload[1],
                message.payload[2],
                message.payload[3],
            ]);
            if size == 0 || size > 0xff_ffff {
                return Err(format!("chunk size {size}"));
            }
            self.size = size as usize;
        }
        Ok(Some((at + piece, Some(message))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_writes_the_reader_reads() {
        let writer = Chunker { size: 100 };
        for timestamp in [0, 0xff_fffe, 0xff_ffff, 0x1_0000_0000u64 as u32, 0x0123_4567] {
            for csid in [2, 63, 64, 319, 320, 65_599] {
                let payload: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
                let bytes = writer.message(csid, timestamp, 9, 1, &payload);
                let mut reader = Dechunker { size: 100, ..Default::default() };
                let mut found = Vec::new();
                for byte in bytes {
                    found.extend(reader.push(&[byte]).unwrap());
                }
                assert_eq!(found.len(), 1);
                assert_eq!(
                    (found[0].csid, found[0].timestamp, &found[0].payload),
                    (csid, timestamp, &payload)
                );
            }
        }
    }
}
