//! Where a file's content ends: its last whole tag, found from the back.

use super::header::{HEADER_BYTES, PREVIOUS_BYTES, TagHeader, composition_ms};
use super::{FlvCursor, FlvIndex, advance, resync};
use crate::media::window::Window;
use crate::media::{Kind, Step};
use crate::object::{ReadAt, ReadError};

/// Bytes read to follow the chain of PreviousTagSize back from the end.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes searched for the last whole tag when that chain is broken.
const SEARCH_BYTES: u64 = 1 << 20;
/// Tags looked at from the back: enough to see both kinds and their spacing.
const TAGS: usize = 64;
/// Times this far apart aren't those of neighbouring frames.
const JUMP_MS: u32 = 1000;

/// The end of the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The latest time of an audio or video tag, in ms.
    pub(super) last_ms: u32,
    /// The time of the very last one, by which players reckon the length of a file that doesn't tell it; `last_ms` if the file
    /// ends in a jump back.
    pub(super) final_ms: u32,
    /// Until when its content may show: composition offset and a frame's length added.
    pub(super) shown_ms: u32,
}

/// Times of the last tags.
#[derive(Default)]
struct Times {
    /// Of the last tag in the file.
    final_ms: Option<u32>,
    last_ms: u32,
    composed_ms: u32,
    /// The latest and the second latest time, audio and video.
    kinds: [[Option<u32>; 2]; 2],
}

impl Times {
    /// Adds a tag; `final_ms` is the caller's to keep.
    fn add(&mut self, kind: Kind, time_ms: u32, body: &[u8]) {
        let latest = match kind {
            Kind::Audio => &mut self.kinds[0],
            Kind::Video => &mut self.kinds[1],
            Kind::Data | Kind::Text(_) => return,
        };
        self.last_ms = self.last_ms.max(time_ms);
        let composition = composition_ms(kind, body).max(0) as u32;
        self.composed_ms = self.composed_ms.max(time_ms.saturating_add(composition));
        match *latest {
            [Some(first), _] if time_ms > first => *latest = [Some(time_ms), Some(first)],
            [Some(first), second] if time_ms < first && second.is_none_or(|s| time_ms > s) => {
                latest[1] = Some(time_ms);
            }
            [None, _] => latest[0] = Some(time_ms),
            _ => {}
        }
    }

    fn tail(&self) -> Option<Tail> {
        let gap = |pair: &[Option<u32>; 2]| match *pair {
            [Some(a), Some(b)] => (a - b).min(JUMP_MS),
            _ => 0,
        };
        let frame_ms = self.kinds.iter().map(gap).max().unwrap_or(0);
        let shown_ms = self.composed_ms.max(self.last_ms).saturating_add(frame_ms);
        let last_ms = self.last_ms;
        let final_ms = self.final_ms?;
        let final_ms = if last_ms - final_ms <= JUMP_MS { final_ms } else { last_ms };
        Some(Tail { last_ms, final_ms, shown_ms })
    }
}

/// The end of the content; `None` if no whole audio or video tag is found near the end.
pub(super) async fn find<R: ReadAt>(index: &FlvIndex, reader: &mut R) -> Result<Option<Tail>, ReadError> {
    if let Some(tail) = backward(index, reader).await? {
        return Ok(Some(tail));
    }
    forward(index, reader).await
}

/// Follows PreviousTagSize back from the end: what a whole file allows.
async fn backward<R: ReadAt>(index: &FlvIndex, reader: &mut R) -> Result<Option<Tail>, ReadError> {
    let start = index.size.saturating_sub(TAIL_BYTES).max(index.first_tag);
    let mut window = Window::new(TAIL_BYTES);
    window.fetch(reader, start, index.size - start).await?;
    let mut times = Times::default();
    let mut end = index.size;
    for seen in 0..TAGS {
        let Some(previous) = end.checked_sub(PREVIOUS_BYTES).and_then(|at| window.get(at, PREVIOUS_BYTES))
        else {
            break;
        };
        let len = u64::from(previous.first_chunk().map_or(0, |size| u32::from_be_bytes(*size)));
        let Some(at) = end.checked_sub(PREVIOUS_BYTES + len).filter(|&at| at >= index.first_tag) else {
            break;
        };
        let wanted = (HEADER_BYTES + 5).min(end - at);
        let bytes = match window.get(at, wanted) {
            Some(bytes) => bytes,
            // The last tag is larger than the tail: worth a read of its own. Earlier ones aren't.
            None if seen == 0 => Window::new(wanted).fetch(reader, at, wanted).await?,
            None => break,
        };
        let Some(header) = TagHeader::parse(&bytes) else { break };
        if u64::from(header.previous()) != len || !header.plausible() {
            break;
        }
        if let Some(kind) = header.kind() {
            let body = &bytes[HEADER_BYTES as usize..];
            if kind != Kind::Data {
                times.final_ms.get_or_insert(header.time_ms);
            }
            times.add(kind, header.time_ms, &body[..body.len().min(header.size as usize)]);
        }
        end = at;
    }
    Ok(times.tail())
}

/// Looks for tags from a megabyte before the end up to the cut.
async fn forward<R: ReadAt>(index: &FlvIndex, reader: &mut R) -> Result<Option<Tail>, ReadError> {
    let start = index.size.saturating_sub(SEARCH_BYTES).max(index.first_tag);
    let mut window = Window::new(SEARCH_BYTES);
    let at = if start == index.first_tag {
        start
    } else {
        window.fetch(reader, start, index.size - start).await?;
        match resync::boundary(index, reader, &mut window, start, index.size).await? {
            Some((at, _)) => at,
            None => return Ok(None),
        }
    };
    let mut cursor = FlvCursor::at(at);
    let mut times = Times::default();
    loop {
        match advance(index, &mut cursor, |offset, len| window.get(offset, len)) {
            Ok(Step::Sample(sample)) => {
                let head = window.get(sample.offset, u64::from(sample.len.min(5))).unwrap_or_default();
                if sample.kind != Kind::Data {
                    times.final_ms = Some(sample.dts as u32);
                }
                times.add(sample.kind, sample.dts as u32, &head);
            }
            Ok(Step::Need { offset, len }) => {
                window.fetch(reader, offset, len).await?;
            }
            Ok(Step::End) | Err(_) => return Ok(times.tail()),
        }
    }
}
