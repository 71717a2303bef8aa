//! ID3v2.2, 2.3 and 2.4: frames one after the other, of which few are of interest.
//!
//! Frames are stepped over by their length, so a tag of megabytes of pictures costs a few small reads. Compressed and encrypted
//! frames are passed over. A tag of another version, or in the compression 2.2 once meant to define, says nothing.
//!
//! Sources: id3.org's ID3v2.2.0, ID3v2.3.0, ID3v2.4.0 structure and frames. iTunes wrote lengths of 2.4 frames as plain numbers for
//! years; they are told by what stands behind the frame.

use super::body::{Body, resynchronised};
use super::text;
use super::{Field, Tags};
use crate::media::MediaError;
use crate::object::read::contiguous;
use crate::object::{ReadAt, ReadError};

const HEADER_BYTES: u64 = 10;
/// Most frames looked at.
const FRAMES_MAX: usize = 256;
/// How much of a text is read; the rest is cut off.
const TEXT_BYTES_MAX: u64 = 2 << 10;

/// Frames of interest, as 2.2 and as later versions name them.
const FRAMES: [(&[u8], &[u8], Field); 7] = [
    (b"TT2", b"TIT2", Field::Title),
    (b"TP1", b"TPE1", Field::Artist),
    (b"TAL", b"TALB", Field::Album),
    (b"TYE", b"TYER", Field::Year),
    (b"COM", b"COMM", Field::Comment),
    (b"TCO", b"TCON", Field::Genre),
    (b"TRK", b"TRCK", Field::Track),
];

/// Adds what an ID3v2 tag at the file's start says.
pub(super) async fn read<R: ReadAt>(reader: &mut R, tags: &mut Tags) -> Result<(), MediaError> {
    if reader.size() < HEADER_BYTES {
        return Ok(());
    }
    let header = contiguous(reader.read_at(0, HEADER_BYTES).await?);
    let Some(&[b'I', b'D', b'3', version @ 2..=4, _, flags, s0, s1, s2, s3]) = header.first_chunk::<10>()
    else {
        return Ok(());
    };
    let Some(len) = synchsafe([s0, s1, s2, s3]) else { return Ok(()) };
    if version == 2 && flags & 0x40 != 0 {
        return Ok(());
    }
    let end = reader.size().min(HEADER_BYTES + u64::from(len));
    let unsynchronised = flags & 0x80 != 0;
    let mut walk = Walk {
        version,
        // From 2.4 on frames are unsynchronised one by one, and lengths count what is stored.
        frames_unsynchronised: version == 4 && unsynchronised,
        body: Body::new(HEADER_BYTES, end, version < 4 && unsynchronised),
        described: None,
    };
    if version > 2 && flags & 0x40 != 0 && !walk.skip_extended_header(reader).await? {
        return Ok(());
    }
    for _ in 0..FRAMES_MAX {
        if tags.is_complete() || !walk.frame(reader, tags).await? {
            break;
        }
    }
    if let Some(comment) = walk.described {
        tags.set(Field::Comment, &comment);
    }
    Ok(())
}

/// A number of 28 bits in four bytes; `None` if it isn't one.
fn synchsafe(bytes: [u8; 4]) -> Option<u32> {
    bytes.iter().all(|byte| byte & 0x80 == 0).then(|| bytes.iter().fold(0, |sum, &b| sum << 7 | u32::from(b)))
}

fn is_id(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

struct Walk {
    version: u8,
    frames_unsynchronised: bool,
    body: Body,
    /// A comment that says what it is about: second choice after one that is just a comment.
    described: Option<String>,
}

impl Walk {
    async fn skip_extended_header<R: ReadAt>(&mut self, reader: &mut R) -> Result<bool, ReadError> {
        let Some(len) = self.body.take(reader, 4).await? else { return Ok(false) };
        let Some(&len) = len.first_chunk::<4>() else { return Ok(false) };
        let rest = match self.version {
            3 => Some(u32::from_be_bytes(len)),
            _ => synchsafe(len).and_then(|len| len.checked_sub(4)),
        };
        match rest {
            Some(rest) => self.body.skip(reader, u64::from(rest)).await,
            None => Ok(false),
        }
    }

    /// Reads one frame, or passes over it; false at the end.
    async fn frame<R: ReadAt>(&mut self, reader: &mut R, tags: &mut Tags) -> Result<bool, ReadError> {
        let old = self.version == 2;
        let Some(header) = self.body.take(reader, if old { 6 } else { 10 }).await? else { return Ok(false) };
        let (id, rest) = header.split_at(if old { 3 } else { 4 });
        if !is_id(id) {
            // Padding, or damage.
            return Ok(false);
        }
        let (len, format) = match *rest {
            [a, b, c] => (u32::from_be_bytes([0, a, b, c]), 0),
            [a, b, c, d, _, format] if self.version == 4 => {
                (self.length(reader, [a, b, c, d]).await?, format)
            }
            [a, b, c, d, _, format] => (u32::from_be_bytes([a, b, c, d]), format),
            _ => return Ok(false),
        };
        let mut left = u64::from(len);
        if left > self.body.left() {
            return Ok(false);
        }
        let recorded = self.version == 4 && id == b"TDRC";
        let field = FRAMES
            .iter()
            .find(|(short, long, _)| id == if old { *short } else { *long })
            .map(|(.., field)| *field)
            .or(recorded.then_some(Field::Year))
            .filter(|field| tags.get(*field).is_none());
        if let Some(field) = field
            && let Some(extra_bytes) = self.extra_bytes(format)
        {
            let Some(bytes) = self.body.take(reader, left.min(TEXT_BYTES_MAX)).await? else {
                return Ok(false);
            };
            left -= bytes.len() as u64;
            let bytes = bytes.get(extra_bytes..).unwrap_or_default();
            if self.frames_unsynchronised || self.version == 4 && format & 0x02 != 0 {
                self.understand(field, &resynchronised(bytes), tags);
            } else {
                self.understand(field, bytes, tags);
            }
        }
        self.body.skip(reader, left).await
    }

    /// The length of a 2.4 frame.
    async fn length<R: ReadAt>(&mut self, reader: &mut R, bytes: [u8; 4]) -> Result<u32, ReadError> {
        let plain = u32::from_be_bytes(bytes);
        let Some(safe) = synchsafe(bytes) else { return Ok(plain) };
        if safe == plain || !self.body.is_plain() || u64::from(safe) == self.body.left() {
            return Ok(safe);
        }
        let frame_follows = |bytes: Option<[u8; 4]>| bytes.is_some_and(|b| is_id(&b) || b == [0; 4]);
        if frame_follows(self.body.peek(reader, u64::from(safe)).await?) {
            return Ok(safe);
        }
        let at_end = u64::from(plain) == self.body.left();
        let other = at_end || frame_follows(self.body.peek(reader, u64::from(plain)).await?);
        Ok(if other { plain } else { safe })
    }

    /// How much stands before a frame's own bytes by its format flags; `None` if they are compressed or encrypted.
    fn extra_bytes(&self, format: u8) -> Option<usize> {
        match self.version {
            2 => Some(0),
            3 if format & 0xc0 != 0 => None,
            3 => Some(usize::from(format & 0x20 != 0)),
            _ if format & 0x0c != 0 => None,
            _ => Some(usize::from(format & 0x40 != 0) + if format & 0x01 != 0 { 4 } else { 0 }),
        }
    }

    fn understand(&mut self, field: Field, bytes: &[u8], tags: &mut Tags) {
        let Some((&encoding, bytes)) = bytes.split_first() else { return };
        if field == Field::Comment {
            // A language of three letters, a description, its terminator, the comment.
            let Some(parts) = bytes.get(3..).and_then(|bytes| text::parts(encoding, bytes)) else { return };
            let [description, values @ ..] = &parts[..] else { return };
            let comment = text::joined(values);
            if description.trim().is_empty() {
                tags.set(field, &comment);
            } else if !description.starts_with("iTun") && !comment.is_empty() {
                // What iTunes notes for itself is nobody's comment.
                self.described.get_or_insert(comment);
            }
            return;
        }
        let Some(mut values) = text::parts(encoding, bytes) else { return };
        if self.version < 4 {
            // What follows a terminator is not for readers.
            values.truncate(1);
        }
        match field {
            Field::Genre => {
                let named: Vec<String> = values.iter().map(|value| text::genre(value)).collect();
                tags.set(field, &text::joined(&named));
            }
            Field::Year => {
                // 2.4 has a whole timestamp: 2009-05-03T12:00.
                let value = text::joined(&values);
                tags.set(field, value.split('-').next().unwrap_or_default());
            }
            _ => tags.set(field, &text::joined(&values)),
        }
    }
}
