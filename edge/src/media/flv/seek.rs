//! Finding the last keyframe at or before a time, reading little.
//!
//! By the file's keyframe index if it proves true. Else by bytes: guess an offset from times known on both sides, find the tag
//! boundary there, narrow; near the target, walk forward over tag headers. If the walk meets no keyframe (a long group of
//! pictures), it starts further back, twice as far each time, and in the end at the start of the file.

use super::header::{Class, HEADER_BYTES, PREVIOUS_BYTES, TagHeader, classify};
use super::{FlvCursor, FlvIndex, advance, resync};
use crate::media::window::Window;
use crate::media::{Kind, Step};
use crate::object::{ReadAt, ReadError};

/// Guesses made at most.
const PROBES: u32 = 10;
/// Near enough to walk.
pub(super) const NEAR_BYTES: u64 = 512 << 10;
/// Bytes a read of the walk.
const RUN_BYTES: u64 = 256 << 10;
/// Most bytes one walk reads.
const WALK_BYTES: u64 = 20 << 20;
/// No further step back is made from beyond this, so that about twice as much is read before the file's start is taken.
const BACK_BYTES: u64 = 16 << 20;
/// How far from its tag's true time an index entry may be.
const INDEX_SLACK_MS: u32 = 1000;
/// How far from it one often is: writers shift times after they made the index.
const INDEX_SKEW_MS: u32 = 100;
/// Entries tried.
const INDEX_ENTRIES: usize = 3;
/// Tags between where an index entry points and its keyframe: configuration, a script.
const INDEX_TAGS: u32 = 8;
/// Bytes read to check an entry.
const INDEX_READ_BYTES: u64 = 8 << 10;

/// Where the tag stands that playing from `target_ms` starts at.
pub(super) async fn place<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    target_ms: u32,
) -> Result<u64, ReadError> {
    match by_index(index, reader, target_ms).await? {
        Some(at) => Ok(at),
        None => by_bytes(index, reader, target_ms).await,
    }
}

/// By the file's index; `None` if there is none or it is wrong here.
async fn by_index<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    target_ms: u32,
) -> Result<Option<u64>, ReadError> {
    let entries = &index.keyframes;
    let after = entries.partition_point(|&(ms, _)| ms <= target_ms.saturating_add(INDEX_SKEW_MS));
    if let (true, Some(&(ms, _))) = (after == entries.len(), entries.last()) {
        // An index that stops early says nothing of what follows.
        let widest = entries.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0);
        if target_ms.saturating_sub(ms) > widest.max(INDEX_SLACK_MS) {
            return Ok(None);
        }
    }
    for &(ms, at) in entries[..after].iter().rev().take(INDEX_ENTRIES) {
        match keyframe_at(index, reader, at).await? {
            Some((_, time_ms)) if time_ms.abs_diff(ms) > INDEX_SLACK_MS => break,
            Some((at, time_ms)) if time_ms <= target_ms => return Ok(Some(at)),
            Some(_) => {}
            None => break,
        }
    }
    Ok(None)
}

/// The keyframe an index entry points to, if it does: where it stands and its time.
async fn keyframe_at<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    at: u64,
) -> Result<Option<(u64, u32)>, ReadError> {
    if at < index.first_tag || at + HEADER_BYTES + 2 > index.size {
        return Ok(None);
    }
    let mut window = Window::new(INDEX_READ_BYTES);
    window.fetch(reader, at - PREVIOUS_BYTES, PREVIOUS_BYTES + HEADER_BYTES + 2).await?;
    let bytes = window.fetch(reader, at, HEADER_BYTES + 2).await?;
    let Some(header) = TagHeader::parse(&bytes) else { return Ok(None) };
    let class = classify(Kind::Video, &bytes[HEADER_BYTES as usize..]);
    if !header.plausible() || header.kind() != Some(Kind::Video) || class == Class::Other {
        return Ok(None);
    }
    // Some injectors point at the configuration tag in front of the first keyframe.
    let mut cursor = FlvCursor::at(at);
    for _ in 0..INDEX_TAGS {
        match advance(index, &mut cursor, |offset, len| window.get(offset, len)) {
            Ok(Step::Sample(sample)) if sample.kind == Kind::Video && sample.sync => {
                return Ok(Some((sample.offset - HEADER_BYTES, sample.dts as u32)));
            }
            Ok(Step::Sample(_)) => {}
            Ok(Step::Need { offset, len }) => {
                window.fetch(reader, offset, len.min(INDEX_READ_BYTES)).await?;
            }
            Ok(Step::End) | Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// By bytes.
async fn by_bytes<R: ReadAt>(index: &FlvIndex, reader: &mut R, target_ms: u32) -> Result<u64, ReadError> {
    let mut window = Window::new(0);
    let (mut low, mut low_ms) = (index.first_tag, index.first_ms);
    let (mut high, mut high_ms) = (index.size, index.last_ms.max(target_ms).saturating_add(1));
    let mut last_span = u64::MAX;
    for _ in 0..PROBES {
        let span = high - low;
        let time_ms = u64::from(high_ms.saturating_sub(low_ms)).max(1);
        let wanted_ms = u64::from(target_ms.saturating_sub(low_ms));
        let ahead = (u128::from(span) * u128::from(wanted_ms) / u128::from(time_ms)) as u64;
        if span <= NEAR_BYTES || ahead <= NEAR_BYTES {
            break;
        }
        // Interpolate, a little short so as to land before the target; halve when that didn't help.
        let guess = if span <= last_span / 2 {
            ahead.saturating_sub(NEAR_BYTES / 2).clamp(1, span - 1)
        } else {
            span / 2
        };
        last_span = span;
        let at = low + guess;
        match timed_boundary(index, reader, &mut window, at, high).await? {
            Some((found, ms)) if ms <= target_ms => (low, low_ms) = (found, ms),
            Some((found, ms)) => (high, high_ms) = (found.min(high), ms),
            None => high = at,
        }
    }

    let mut found = walk(index, reader, low, index.size, target_ms).await?;
    let video = index.video || found.video;
    if !video {
        return Ok(found.last.unwrap_or(low));
    }
    let mut top = low;
    let mut step = NEAR_BYTES;
    while found.keyframe.is_none() && top > index.first_tag && low - top < BACK_BYTES {
        step *= 2;
        let from = top.saturating_sub(step).max(index.first_tag);
        let start = if from == index.first_tag {
            Some(from)
        } else {
            resync::boundary(index, reader, &mut window, from, top).await?.map(|(at, _)| at)
        };
        if let Some(start) = start {
            found = walk(index, reader, start, top, target_ms).await?;
        }
        top = start.unwrap_or(from);
    }
    Ok(found.keyframe.unwrap_or(index.first_tag))
}

/// The first audio or video tag at or after `from`: where it stands and its time.
async fn timed_boundary<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    window: &mut Window,
    from: u64,
    until: u64,
) -> Result<Option<(u64, u32)>, ReadError> {
    let Some((mut at, mut header)) = resync::boundary(index, reader, window, from, until).await? else {
        return Ok(None);
    };
    // Script tags often carry no true time.
    while header.kind() == Some(Kind::Data) {
        at += header.stride();
        if at >= until || at + HEADER_BYTES > index.size {
            return Ok(None);
        }
        match TagHeader::parse(&window.fetch(reader, at, HEADER_BYTES).await?) {
            Some(next) if next.plausible() => header = next,
            _ => return Ok(None),
        }
    }
    Ok(Some((at, header.time_ms)))
}

/// What a walk over tag headers met.
#[derive(Default)]
struct Walk {
    /// The last keyframe at or before the target.
    keyframe: Option<u64>,
    /// The last audio tag at or before the target.
    last: Option<u64>,
    /// Whether there was video at all.
    video: bool,
}

/// Walks from the boundary `from` to `until`, the target, or damage.
async fn walk<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    from: u64,
    until: u64,
    target_ms: u32,
) -> Result<Walk, ReadError> {
    let mut found = Walk::default();
    let mut window = Window::new(RUN_BYTES);
    let mut cursor = FlvCursor::at(from);
    while cursor.offset < until && window.read_bytes < WALK_BYTES {
        match advance(index, &mut cursor, |offset, len| window.get(offset, len)) {
            Ok(Step::Sample(sample)) => {
                let at = sample.offset - HEADER_BYTES;
                let late_ms = sample.dts.saturating_sub(u64::from(target_ms));
                found.video |= sample.kind == Kind::Video;
                match sample.kind {
                    Kind::Video if late_ms > 0 => break,
                    // Audio may run ahead of the video beside it.
                    Kind::Audio if late_ms > if index.video { 2000 } else { 0 } => break,
                    Kind::Video if sample.sync => found.keyframe = Some(at),
                    Kind::Audio if late_ms == 0 => found.last = Some(at),
                    _ => {}
                }
            }
            Ok(Step::Need { offset, len }) => {
                window.fetch(reader, offset, len).await?;
            }
            Ok(Step::End) | Err(_) => break,
        }
    }
    Ok(found)
}
