//! Tags around the sound: ID3v2 before it; ID3v1, Lyrics3 and APEv2 after it. Only their sizes matter here.
//!
//! Sources: id3.org's ID3v2.4 structure, 3.1 and 3.4; hydrogenaudio's APEv2 page; Lyrics3 v2.00.

use super::invalid;
use crate::media::MediaError;
use crate::object::read::contiguous;
use crate::object::{ReadAt, ReadError};

/// Bytes of an ID3v2 header.
pub(super) const ID3_HEADER_BYTES: u64 = 10;
const ID3V1_BYTES: u64 = 128;
const APE_FOOTER_BYTES: u64 = 32;
const LYRICS_FOOTER_BYTES: u64 = 15;
/// Tags in a row, at either edge.
const TAGS: u32 = 16;

/// Bytes of the ID3v2 tag whose header starts `bytes`, all included.
pub(super) fn id3v2_bytes(bytes: &[u8]) -> Option<u64> {
    let &[b'I', b'D', b'3', major, minor, flags, s0, s1, s2, s3] = bytes.first_chunk::<10>()? else {
        return None;
    };
    let size = [s0, s1, s2, s3];
    if major == 0xff || minor == 0xff || size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let body = size.iter().fold(0, |sum, byte| sum << 7 | u64::from(*byte));
    let footer = if flags & 0x10 != 0 { ID3_HEADER_BYTES } else { 0 };
    Some(ID3_HEADER_BYTES + body + footer)
}

/// Where the sound may start: after all ID3v2 tags, none of which is read.
pub(super) async fn start<R: ReadAt>(reader: &mut R) -> Result<u64, MediaError> {
    let size = reader.size();
    let mut at = 0;
    for _ in 0..TAGS {
        if at + ID3_HEADER_BYTES > size {
            break;
        }
        let bytes = contiguous(reader.read_at(at, ID3_HEADER_BYTES).await?);
        let Some(len) = id3v2_bytes(&bytes) else { break };
        at += len;
    }
    if at > size {
        return Err(invalid(format!("an ID3 tag that ends at byte {at} of {size}")));
    }
    Ok(at)
}

/// Where the sound ends: before all tags at the end, none of which starts before `start`.
pub(super) async fn end<R: ReadAt>(reader: &mut R, start: u64) -> Result<u64, ReadError> {
    let mut end = reader.size();
    for _ in 0..TAGS {
        let len = ID3V1_BYTES.min(end.saturating_sub(start));
        if len == 0 {
            break;
        }
        let tail = contiguous(reader.read_at(end - len, len).await?);
        match tag_bytes(&tail).filter(|&bytes| bytes > 0 && bytes <= end - start) {
            Some(bytes) => end -= bytes,
            None => break,
        }
    }
    Ok(end)
}

/// Bytes of the tag that ends with `tail`, the last 128 bytes or fewer.
fn tag_bytes(tail: &[u8]) -> Option<u64> {
    if tail.len() as u64 == ID3V1_BYTES && tail.starts_with(b"TAG") {
        return Some(ID3V1_BYTES);
    }
    if let Some(footer) = last(tail, APE_FOOTER_BYTES).filter(|footer| footer.starts_with(b"APETAGEX")) {
        let word = |at: usize| {
            footer.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
        };
        // The size counts items and footer; bit 31 of the flags tells of a header besides.
        let header = if word(20) & 0x8000_0000 != 0 { APE_FOOTER_BYTES } else { 0 };
        return Some(u64::from(word(12)) + header);
    }
    if let Some(footer) = last(tail, LYRICS_FOOTER_BYTES).filter(|footer| footer.ends_with(b"LYRICS200")) {
        let body: u64 = std::str::from_utf8(&footer[..6]).ok()?.parse().ok()?;
        return Some(body + LYRICS_FOOTER_BYTES);
    }
    None
}

fn last(bytes: &[u8], len: u64) -> Option<&[u8]> {
    bytes.get(bytes.len().checked_sub(len as usize)?..)
}
