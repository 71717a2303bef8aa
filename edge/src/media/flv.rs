//! FLV: tags, played as they are stored.
//!
//! A tag's body is an RTMP message's payload, so a sample is a tag body, whatever its codec. [`open`] reads the start (header,
//! onMetaData, codec configuration) and the end (the last tag's time, which is the duration); nothing between. [`mod@seek`] trusts
//! a keyframe index if the file has one and it proves true, else searches by bytes. [`step`] walks tag headers.
//!
//! How it fails: a file whose tags make no sense is `StructureInvalid` at once. A truncated one plays to its last whole tag and
//! is `StructureInvalid` there. A damaged keyframe index or onMetaData only costs what it was good for. Timestamps are passed
//! on as they are, even if they jump.
//!
//! Known bounds: a codec configuration that changes in mid-file is sent where it stands, so a seek past it misses it.

use std::sync::Arc;

use bytes::Bytes;

use self::header::{Class, HEADER_BYTES, PREVIOUS_BYTES, TagHeader, classify, wants_config};
use self::tail::Tail;
use super::window::Window;
use super::{Container, Index, Kind, Limits, Media, MediaError, Sample, Step};
use crate::object::ReadAt;
use crate::object::read::contiguous;
use crate::rtmp::amf::Value;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod header;
mod metadata;
mod resync;
mod seek;
mod tail;

#[cfg(test)]
mod tests;

/// Bytes of the file header that are defined.
const FILE_HEADER_BYTES: u64 = 9;
/// What [`step`] asks for when tag headers aren't in memory: enough for many small tags.
const NEED_BYTES: u64 = 64 << 10;
/// Most bytes read, script tags aside, in search of codec configuration.
const SCAN_BYTES: u64 = 1 << 20;
/// Most tags looked at in that search.
const SCAN_TAGS: u32 = 512;
/// Media tags of one kind without configuration after which none is expected.
const BARE_TAGS: u32 = 4;
/// Tags after which a kind that the file header denies is taken as absent.
const ABSENT_TAGS: u32 = 16;

/// What is known of an FLV file beyond [`Media`].
#[derive(Debug)]
pub struct FlvIndex {
    size: u64,
    first_tag: u64,
    /// The onMetaData tag that became [`Media::metadata`]; it isn't sent a second time as data.
    metadata_tag: Option<u64>,
    /// As in [`Media::headers`].
    headers: Vec<(Kind, Bytes)>,
    /// Whether video was seen near the start.
    video: bool,
    first_ms: u32,
    last_ms: u32,
    /// The file's own keyframe index, unchecked: (ms, offset).
    keyframes: Vec<(u32, u64)>,
    sample_bytes: u32,
}

impl FlvIndex {
    /// Whether video was seen near the start.
    pub(super) fn has_video(&self) -> bool {
        self.video
    }
}

/// A position at a tag boundary.
#[derive(Clone, Debug)]
pub struct FlvCursor {
    offset: u64,
    /// What the PreviousTagSize before this position should say; unknown after a seek.
    previous: Option<u32>,
    /// Whether a tag is known to start here, whatever its header looks like: a search came upon it.
    proven: bool,
    /// Whether a configuration other than the announced one was yielded: from then on all are. Video, audio.
    reconfigured: [bool; 2],
}

impl FlvCursor {
    fn at(offset: u64) -> Self {
        Self { offset, previous: None, proven: false, reconfigured: [false; 2] }
    }
}

/// What a scan of the first tags found.
#[derive(Default)]
struct Scan {
    pairs: Option<Vec<(String, Value)>>,
    metadata_tag: Option<u64>,
    video: Option<Bytes>,
    audio: Option<Bytes>,
    video_tags: u32,
    audio_tags: u32,
    video_bare: u32,
    audio_bare: u32,
    first_ms: Option<u32>,
}

/// Reads an FLV file's start and end.
///
/// # Errors
/// `StructureInvalid` if there is no tag, or the first isn't one; `NoSupportedTrack` if there is only script, or tags are encrypted.
pub async fn open<R: ReadAt>(reader: &mut R, limits: &Limits) -> Result<Media, MediaError> {
    let size = reader.size();
    let mut window = Window::new(NEED_BYTES);
    if size < FILE_HEADER_BYTES {
        return Err(invalid("no room for a file header"));
    }
    let head = window.fetch(reader, 0, FILE_HEADER_BYTES).await?;
    let (Some(b"FLV"), Some(&flags), Some(offset)) =
        (head.first_chunk::<3>(), head.get(4), head.last_chunk::<4>())
    else {
        return Err(invalid("no file header"));
    };
    let data_offset = u64::from(u32::from_be_bytes(*offset));
    let first_tag = data_offset + PREVIOUS_BYTES;
    if data_offset < FILE_HEADER_BYTES || first_tag + HEADER_BYTES > size {
        return Err(invalid(format!("no tag after a data offset of {data_offset} in {size} bytes")));
    }
    let mut index = FlvIndex {
        size,
        first_tag,
        metadata_tag: None,
        headers: Vec::new(),
        video: false,
        first_ms: 0,
        last_ms: 0,
        keyframes: Vec::new(),
        sample_bytes: limits.sample_bytes,
    };
    let scan = scan(reader, &mut window, &index, flags, limits).await?;
    index.metadata_tag = scan.metadata_tag;
    index.video = scan.video_tags > 0;
    index.first_ms = scan.first_ms.unwrap_or(0);
    let video = scan.video.map(|body| (Kind::Video, body));
    let audio = scan.audio.map(|body| (Kind::Audio, body));
    index.headers = video.into_iter().chain(audio).collect();

    let mut pairs = scan.pairs.unwrap_or_default();
    index.keyframes = metadata::keyframes(&pairs, size);
    let own_s = metadata::duration_s(&pairs);
    let tail = match tail::find(&index, reader).await? {
        Some(tail) => tail,
        // Nothing to be learnt from the end: the file's word is all there is.
        None => {
            let claimed = (own_s.unwrap_or(0.0) * 1000.0) as u32;
            let last_ms = claimed.max(index.first_ms);
            Tail { last_ms, final_ms: last_ms, shown_ms: last_ms }
        }
    };
    index.last_ms = tail.last_ms;
    let duration_s = own_s.filter(|&s| agrees(s, tail)).unwrap_or(f64::from(tail.final_ms) / 1000.0);
    metadata::set_duration_s(&mut pairs, duration_s);
    let duration_ms = duration_s * 1000.0;

    let header_bytes: usize = index.headers.iter().map(|(_, body)| body.len()).sum();
    Ok(Media {
        container: Container::Flv,
        duration_ms,
        tracks: Vec::new(),
        bytes_per_second: ((size as f64 / duration_s.max(1.0)) as u64).max(1),
        weight_bytes: size_of::<Media>()
            + metadata::weight_bytes(&pairs)
            + header_bytes
            + index.keyframes.len() * size_of::<(u32, u64)>(),
        metadata: pairs,
        headers: index.headers.clone(),
        index: Index::Flv(index),
    })
}

/// Whether a file's own duration fits what its end shows. If it does it stays as it is, so that onMetaData is the file's own.
fn agrees(own_s: f64, tail: Tail) -> bool {
    let frame_ms = f64::from(tail.shown_ms - tail.last_ms).max(100.0);
    let last_ms = f64::from(tail.last_ms);
    (last_ms - frame_ms..=last_ms + frame_ms + 1.0).contains(&(own_s * 1000.0))
}

/// Looks through the first tags for onMetaData and codec configuration.
async fn scan<R: ReadAt>(
    reader: &mut R,
    window: &mut Window,
    index: &FlvIndex,
    flags: u8,
    limits: &Limits,
) -> Result<Scan, MediaError> {
    let mut scan = Scan::default();
    let mut cursor = FlvCursor::at(index.first_tag);
    let mut budget = SCAN_BYTES;
    let mut tags = 0;
    while tags < SCAN_TAGS && !scan.settled(flags, tags) && window.read_bytes <= budget {
        let sample = match advance(index, &mut cursor, |offset, len| window.get(offset, len)) {
            Ok(Step::Sample(sample)) => sample,
            Ok(Step::Need { offset, len }) => {
                window.fetch(reader, offset, len).await?;
                continue;
            }
            Ok(Step::End) => break,
            // What stands before the damage plays.
            Err(MediaError::StructureInvalid(_)) if scan.first_ms.is_some() => break,
            Err(error) => return Err(error),
        };
        tags += 1;
        let len = u64::from(sample.len);
        if sample.kind == Kind::Data {
            if scan.pairs.is_none() && len <= limits.index_bytes {
                budget += len;
                let body = window.fetch(reader, sample.offset, len).await?;
                scan.pairs = metadata::parse(&body);
                scan.metadata_tag = scan.pairs.as_ref().map(|_| sample.offset - HEADER_BYTES);
            }
            continue;
        }
        scan.first_ms.get_or_insert(sample.dts as u32);
        let head = window.fetch(reader, sample.offset, len.min(2)).await?;
        let config = classify(sample.kind, &head) == Class::Config;
        let bare = head.first().is_none_or(|&first| !wants_config(sample.kind, first));
        let (found, seen, without) = match sample.kind {
            Kind::Video => (&mut scan.video, &mut scan.video_tags, &mut scan.video_bare),
            _ => (&mut scan.audio, &mut scan.audio_tags, &mut scan.audio_bare),
        };
        *seen += 1;
        if config && found.is_none() {
            // A copy: a slice would keep the whole window alive.
            *found = Some(Bytes::copy_from_slice(&window.fetch(reader, sample.offset, len).await?));
        } else {
            *without += if bare { BARE_TAGS } else { 1 };
        }
    }
    if scan.first_ms.is_none() {
        return Err(MediaError::NoSupportedTrack("no audio or video tags".into()));
    }
    Ok(scan)
}

impl Scan {
    /// Whether nothing more is to be learnt, `tags` having been seen of a file with these header flags.
    fn settled(&self, flags: u8, tags: u32) -> bool {
        let done = |config: &Option<Bytes>, bare: u32, seen: u32, flag: u8| {
            config.is_some() || bare >= BARE_TAGS || (seen == 0 && flags & flag == 0 && tags >= ABSENT_TAGS)
        };
        done(&self.video, self.video_bare, self.video_tags, 1)
            && done(&self.audio, self.audio_bare, self.audio_tags, 4)
    }
}

/// A cursor at the last keyframe at or before `target_ms`: see [`Media::cursor`].
pub async fn seek<R: ReadAt>(
    media: &Arc<Media>,
    index: &FlvIndex,
    reader: &mut R,
    target_ms: u64,
) -> Result<FlvCursor, MediaError> {
    let end_ms = media.duration_ms.max(f64::from(index.last_ms));
    if target_ms as f64 > end_ms {
        return Ok(FlvCursor::at(index.size));
    }
    if target_ms <= u64::from(index.first_ms) {
        return Ok(FlvCursor::at(index.first_tag));
    }
    let target_ms = u32::try_from(target_ms).unwrap_or(u32::MAX);
    let place = seek::place(index, reader, target_ms).await?;
    Ok(FlvCursor { proven: true, ..FlvCursor::at(place) })
}

/// The next tag.
///
/// # Errors
/// `StructureInvalid` where the file is cut or no tag stands where one should; `NoSupportedTrack` at an encrypted tag.
pub fn step<R: ReadAt>(index: &FlvIndex, at: &mut FlvCursor, reader: &mut R) -> Result<Step, MediaError> {
    advance(index, at, |offset, len| reader.buffered(offset, len).map(contiguous))
}

/// The next tag by what `peek` has in memory. The cursor moves only past what was judged whole.
fn advance(
    index: &FlvIndex,
    at: &mut FlvCursor,
    mut peek: impl FnMut(u64, u64) -> Option<Bytes>,
) -> Result<Step, MediaError> {
    while at.offset < index.size {
        let start = at.offset;
        let left = index.size - start;
        if left < HEADER_BYTES {
            return Err(cut(start));
        }
        let from = start - PREVIOUS_BYTES;
        // With the PreviousTagSize before, and the two bytes of body that tell a configuration.
        let Some(bytes) = peek(from, PREVIOUS_BYTES + (HEADER_BYTES + 2).min(left)) else {
            return Ok(Step::Need { offset: from, len: NEED_BYTES.min(index.size - from) });
        };
        let (previous, rest) = bytes.split_at(PREVIOUS_BYTES as usize);
        let Some(header) = TagHeader::parse(rest) else { return Err(cut(start)) };
        let linked = at.previous.is_some_and(|size| previous == size.to_be_bytes());
        if !header.plausible() && !linked && !at.proven {
            return Err(invalid(format!("no tag at byte {start}")));
        }
        if header.stride() - PREVIOUS_BYTES > left {
            return Err(cut(start));
        }
        if header.size > index.sample_bytes {
            return Err(invalid(format!("a tag of {} bytes at byte {start}", header.size)));
        }
        if header.filtered() {
            return Err(MediaError::NoSupportedTrack(format!("an encrypted tag at byte {start}")));
        }
        let mut next = FlvCursor {
            offset: start + header.stride(),
            previous: Some(header.previous()),
            proven: false,
            reconfigured: at.reconfigured,
        };
        let kind = match header.kind() {
            Some(kind) if header.size > 0 && index.metadata_tag != Some(start) => kind,
            // Nothing to send: a type not defined yet, an empty tag, or the onMetaData sent already.
            _ => {
                *at = next;
                continue;
            }
        };
        let head = &rest[HEADER_BYTES as usize..];
        let class = classify(kind, &head[..head.len().min(header.size as usize)]);
        let offset = start + HEADER_BYTES;
        if class == Class::Config {
            let reconfigured = &mut next.reconfigured[usize::from(kind == Kind::Audio)];
            let announced = index.headers.iter().find(|(k, _)| *k == kind).map(|(_, body)| body);
            if let Some(announced) = announced.filter(|body| body.len() == header.size as usize)
                && !*reconfigured
            {
                let len = u64::from(header.size);
                let Some(body) = peek(offset, len) else { return Ok(Step::Need { offset, len }) };
                if body == *announced {
                    *at = next;
                    continue;
                }
            }
            *reconfigured = announced.is_some();
        }
        *at = next;
        return Ok(Step::Sample(Sample {
            kind,
            dts: u64::from(header.time_ms),
            timescale: 1000,
            cts: 0,
            sync: kind == Kind::Audio || class == Class::Keyframe,
            offset,
            len: header.size,
        }));
    }
    Ok(Step::End)
}

fn invalid(what: impl Into<String>) -> MediaError {
    MediaError::StructureInvalid(what.into())
}

fn cut(at: u64) -> MediaError {
    invalid(format!("cut short in the tag at byte {at}"))
}
