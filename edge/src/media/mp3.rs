//! MP3: MPEG audio layer III frames between whatever tags surround them.
//!
//! A sample is one frame with its header; its time is its number. [`open`] steps over ID3v2 by its size, finds the end before
//! ID3v1 and APE, and learns the number of frames from a Xing, Info or VBRI header; without one, from a few probes whether the
//! bitrate is constant, and else by counting (small files) or from the average (large ones). [`step`] walks frame headers and
//! gets over garbage between frames.
//!
//! Seeking is exact in constant bitrate (arithmetic) and in variable bitrate up to 8 MiB of audio (headers are walked). In
//! larger variable-bitrate files it goes by the header's table of contents, and times after the seek are as good as the
//! table: within about 1 % of the duration; without a table, by the average.
//!
//! How it fails: no layer III frames, or free-format ones, is `NoSupportedTrack`; a cut last frame, or more than 64 KiB of
//! garbage between frames, is `StructureInvalid` where it stands.

use std::sync::Arc;

use bytes::Bytes;

use self::frame::Frame;
use super::window::Window;
use super::{Codec, Container, Index, Kind, Limits, Media, MediaError, Sample, Step, Track};
use crate::object::ReadAt;
use crate::object::read::contiguous;
use crate::rtmp::amf::Value;

mod edges;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod seek;
mod timing;
mod vbr;

#[cfg(test)]
mod tests;

/// Most garbage stepped over in search of a frame.
const GARBAGE_BYTES: u64 = 64 << 10;
/// Beyond it, what confirming a frame at its end takes: two of the longest frames and a header.
const CONFIRM_BYTES: u64 = 4 << 10;
/// What [`step`] asks for when frame headers aren't in memory.
const NEED_BYTES: u64 = 64 << 10;

/// What is known of an MP3 file beyond [`Media`].
#[derive(Debug)]
pub struct Mp3Index {
    /// Where the first frame of sound stands; a Xing, Info or VBRI frame is before it.
    first: u64,
    /// Where sound ends and tags begin.
    end: u64,
    /// The first frame: all others have its version and rate.
    frame: Frame,
    /// Frames, as far as known.
    frames: u64,
    timing: timing::Timing,
}

/// A position at a frame.
#[derive(Clone, Debug)]
pub struct Mp3Cursor {
    offset: u64,
    frame: u64,
}

/// Whether a layer III frame header with a definite bitrate and rate starts `bytes`.
pub fn is_frame_header(bytes: &[u8]) -> bool {
    Frame::parse(bytes).is_some()
}

/// Reads an MP3 file's edges and its Xing, Info or VBRI header.
///
/// # Errors
/// `NoSupportedTrack` if there are no layer III frames of definite bitrate; `StructureInvalid` if nothing follows the tags.
pub async fn open<R: ReadAt>(reader: &mut R, _limits: &Limits) -> Result<Media, MediaError> {
    let start = edges::start(reader).await?;
    let end = edges::end(reader, start).await?;
    if start + 4 > end {
        return Err(invalid(format!("no sound after {start} bytes of tags")));
    }
    let mut window = Window::new(NEED_BYTES);
    let head = window.fetch(reader, start, (GARBAGE_BYTES + CONFIRM_BYTES).min(end - start)).await?;
    let at_end = head.len() as u64 == end - start;
    let Some((pos, frame)) = frame::find(&head, None, at_end) else { return Err(no_frame(&head)) };
    let found = start + pos as u64;

    let header_frame = window.fetch(reader, found, u64::from(frame.len).min(end - found)).await?;
    let header = vbr::parse(&header_frame, &frame);
    let first = if header.is_some() { found + u64::from(frame.len) } else { found };
    if first + 4 > end {
        return Err(invalid("no frame after the one that describes them"));
    }
    let sound = Frame::parse(&window.fetch(reader, first, 4).await?);
    let frame = sound.filter(|sound| sound.fits(&frame)).unwrap_or(frame);
    let mut index = Mp3Index { first, end, frame, frames: 0, timing: timing::Timing::Walk };
    timing::learn(&mut index, reader, header, found).await?;

    let duration_s = index.frames as f64 * f64::from(frame.samples()) / f64::from(frame.rate_hz);
    let metadata = vec![
        ("duration".to_owned(), Value::Number(duration_s)),
        ("audiocodecid".to_owned(), Value::Number(2.0)),
        ("audiosamplerate".to_owned(), Value::Number(f64::from(frame.rate_hz))),
        ("stereo".to_owned(), Value::Boolean(frame.stereo)),
    ];
    let per_second = (end - first.min(end)) as f64 / duration_s.max(1.0);
    Ok(Media {
        container: Container::Mp3,
        duration_ms: duration_s * 1000.0,
        tracks: vec![Track {
            kind: Kind::Audio,
            timescale: frame.rate_hz,
            codec: Codec::Mp3 { flags: frame.flags() },
        }],
        metadata,
        headers: Vec::new(),
        bytes_per_second: (per_second as u64).max(1),
        weight_bytes: size_of::<Media>() + 512 + index.timing.weight_bytes(),
        index: Index::Mp3(index),
    })
}

/// A cursor at the last frame at or before `target_ms`; see the module for how exact.
pub async fn seek<R: ReadAt>(
    media: &Arc<Media>,
    index: &Mp3Index,
    reader: &mut R,
    target_ms: u64,
) -> Result<Mp3Cursor, MediaError> {
    if target_ms as f64 > media.duration_ms {
        return Ok(Mp3Cursor { offset: index.end, frame: index.frames });
    }
    seek::place(index, reader, target_ms).await
}

/// The next frame.
///
/// # Errors
/// `StructureInvalid` where the last frame is cut, or garbage doesn't end.
pub fn step<R: ReadAt>(index: &Mp3Index, at: &mut Mp3Cursor, reader: &mut R) -> Result<Step, MediaError> {
    advance(index, at, |offset, len| reader.buffered(offset, len).map(contiguous))
}

/// The next frame by what `peek` has in memory.
fn advance(
    index: &Mp3Index,
    at: &mut Mp3Cursor,
    mut peek: impl FnMut(u64, u64) -> Option<Bytes>,
) -> Result<Step, MediaError> {
    loop {
        let left = index.end.saturating_sub(at.offset);
        if left < 4 {
            return Ok(Step::End);
        }
        let Some(bytes) = peek(at.offset, left.min(edges::ID3_HEADER_BYTES)) else {
            return Ok(Step::Need { offset: at.offset, len: left.min(NEED_BYTES) });
        };
        if let Some(frame) = Frame::parse(&bytes).filter(|frame| frame.fits(&index.frame)) {
            if u64::from(frame.len) > left {
                return Err(invalid(format!("cut short in the frame at byte {}", at.offset)));
            }
            let sample = Sample {
                kind: Kind::Audio,
                dts: at.frame * u64::from(frame.samples()),
                timescale: frame.rate_hz,
                cts: 0,
                sync: true,
                offset: at.offset,
                len: frame.len,
            };
            at.offset += u64::from(frame.len);
            at.frame += 1;
            return Ok(Step::Sample(sample));
        }
        // Files glued together have tags in their middle.
        if let Some(len) = edges::id3v2_bytes(&bytes) {
            at.offset = at.offset.saturating_add(len);
            continue;
        }
        let span = left.min(GARBAGE_BYTES + CONFIRM_BYTES);
        let Some(bytes) = peek(at.offset, span) else {
            return Ok(Step::Need { offset: at.offset, len: span });
        };
        match frame::find(&bytes, Some(&index.frame), span == left) {
            Some((pos, _)) => at.offset += pos as u64,
            None if span == left => return Ok(Step::End),
            None => return Err(invalid(format!("no frame within 64 KiB of byte {}", at.offset))),
        }
    }
}

/// Why no frame was found in the bytes where the first should be.
fn no_frame(head: &[u8]) -> MediaError {
    if Frame::parse(head).is_some() {
        return invalid("cut short in its first frame");
    }
    let what = frame::unsupported(head).unwrap_or("no MPEG layer III frames");
    MediaError::NoSupportedTrack(what.into())
}

fn invalid(what: impl Into<String>) -> MediaError {
    MediaError::StructureInvalid(what.into())
}
