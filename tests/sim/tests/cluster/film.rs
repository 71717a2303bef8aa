//! FLV files in memory, each sample of which says which film, version and place it belongs to.
//!
//! The rest of a sample is noise from its own seed, so bytes of another version or place can't pass for it.

use std::sync::Arc;

use bytes::Bytes;
use tests::wire::amf::{self, Value};

/// Milliseconds between two pictures, and between two sounds.
const PICTURE_MS: u32 = 80;
const SOUND_MS: u32 = 100;
/// Pictures between two keyframes.
const KEY_EVERY: u32 = 25;
const SOUND_BYTES: usize = 300;
/// Bytes that head a sample: what the codec wants, then film, version and index.
const PICTURE_HEAD: usize = 5 + 8;
const SOUND_HEAD: usize = 2 + 8;

/// What a film is like, whatever its version.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id: u16,
    /// Which bucket it is in.
    pub(crate) bucket: usize,
    pub(crate) key: String,
    pub(crate) seconds: u32,
    pub(crate) bytes: usize,
    /// Whether it carries an index of its keyframes.
    pub(crate) indexed: bool,
}

/// One picture or sound, in file order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The message type: 8 or 9.
    pub(crate) kind: u8,
    pub(crate) time_ms: u32,
    pub(crate) keyframe: bool,
    /// Where its body stands in the file.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One version of a film.
#[derive(Debug)]
pub(crate) struct Film {
    pub(crate) spec: Spec,
    pub(crate) version: u16,
    pub(crate) etag: Arc<str>,
    pub(crate) bytes: Bytes,
    pub(crate) samples: Vec<Sample>,
    /// Codec configurations: video, audio.
    pub(crate) headers: [Vec<u8>; 2],
}

/// What a sample says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) film: u16,
    pub(crate) version: u16,
    pub(crate) index: u32,
}

/// The mark in the body of a message of `kind`.
pub(crate) fn mark_of(kind: u8, body: &[u8]) -> Option<Mark> {
    let at = if kind == 9 { PICTURE_HEAD - 8 } else { SOUND_HEAD - 8 };
    let b = body.get(at..at + 8)?;
    Some(Mark {
        film: u16::from_be_bytes([b[0], b[1]]),
        version: u16::from_be_bytes([b[2], b[3]]),
        index: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
    })
}

/// Whether a message is a codec configuration.
pub(crate) fn is_header(kind: u8, body: &[u8]) -> bool {
    body.len() > 1 && body[1] == 0 && (kind == 9 && body[0] & 15 == 7 || kind == 8 && body[0] >> 4 == 10)
}

/// A tag that is to be written: kind, time, whether a keyframe, bytes of its body.
type Planned = (u8, u32, bool, usize);

fn plan(spec: &Spec, version: u16) -> Vec<Planned> {
    let end_ms = spec.seconds * 1000;
    let (pictures, sounds) = (end_ms / PICTURE_MS, end_ms / SOUND_MS);
    let room = spec.bytes.saturating_sub(sounds as usize * SOUND_BYTES) / pictures as usize;
    // Versions differ in length, or a mix-up of two could go unnoticed.
    let room = room + usize::from(version) * 16;
    let picture = |n: u32| {
        let keyframe = n.is_multiple_of(KEY_EVERY);
        (9, n * PICTURE_MS, keyframe, if keyframe { room * 2 } else { room - room / 24 })
    };
    let mut all: Vec<Planned> =
        (0..pictures).map(picture).chain((0..sounds).map(|n| (8, n * SOUND_MS, true, SOUND_BYTES))).collect();
    all.sort_by_key(|&(kind, time, ..)| (time, std::cmp::Reverse(kind)));
    all
}

fn put_tag(out: &mut Vec<u8>, kind: u8, time_ms: u32, body: &[u8]) {
    out.push(kind);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    let time = time_ms.to_be_bytes();
    out.extend([time[1], time[2], time[3], time[0], 0, 0, 0]);
    out.extend(body);
    out.extend((body.len() as u32 + 11).to_be_bytes());
}

fn metadata(spec: &Spec, keyframes: &[(u32, usize)]) -> Vec<u8> {
    let mut fields = vec![
        ("duration".to_owned(), Value::Number(f64::from(spec.seconds))),
        ("width".to_owned(), Value::Number(640.0)),
    ];
    if spec.indexed {
        let times = keyframes.iter().map(|(ms, _)| Value::Number(f64::from(*ms) / 1000.0)).collect();
        let places = keyframes.iter().map(|(_, at)| Value::Number(*at as f64)).collect();
        let index =
            vec![("times".into(), Value::Strict(times)), ("filepositions".into(), Value::Strict(places))];
        fields.push(("keyframes".into(), Value::Object(index)));
    }
    let mut out = Vec::new();
    amf::encode(&"onMetaData".into(), &mut out);
    amf::encode(&Value::Ecma(fields), &mut out);
    out
}

/// Noise that depends on every argument.
fn fill(out: &mut Vec<u8>, len: usize, mut state: u64) {
    let end = out.len() + len;
    while out.len() < end {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(end);
}

impl Film {
    /// Makes a version of a film.
    pub(crate) fn make(spec: &Spec, version: u16) -> Arc<Self> {
        let stamp = [spec.id.to_be_bytes(), version.to_be_bytes()].concat();
        let headers =
            [[&[0x17, 0, 0, 0, 0][..], &stamp].concat(), [&[0xaf, 0, 0x12, 0x10][..], &stamp].concat()];
        let planned = plan(spec, version);
        let keyframes: Vec<usize> =
            (0..planned.len()).filter(|i| planned[*i].0 == 9 && planned[*i].2).collect();
        // The index's length doesn't depend on its numbers, so it can be measured first and filled in last.
        let blank: Vec<(u32, usize)> = keyframes.iter().map(|_| (0, 0)).collect();
        let media_at =
            13 + 15 + metadata(spec, &blank).len() + headers.iter().map(|h| h.len() + 15).sum::<usize>();
        let mut at = media_at;
        let starts: Vec<usize> = planned
            .iter()
            .map(|tag| {
                let start = at;
                at += tag.3 + 15;
                start
            })
            .collect();
        let index: Vec<(u32, usize)> = keyframes.iter().map(|i| (planned[*i].1, starts[*i])).collect();

        let mut bytes = Vec::with_capacity(at);
        bytes.extend(*b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00");
        put_tag(&mut bytes, 18, 0, &metadata(spec, &index));
        put_tag(&mut bytes, 9, 0, &headers[0]);
        put_tag(&mut bytes, 8, 0, &headers[1]);
        assert_eq!(bytes.len(), media_at);
        let seed = u64::from(spec.id) << 32 | u64::from(version) << 16 | 1;
        let (mut samples, mut body) = (Vec::with_capacity(planned.len()), Vec::new());
        for (i, (kind, time_ms, keyframe, len)) in planned.into_iter().enumerate() {
            body.clear();
            match kind {
                9 => body.extend([if keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0]),
                _ => body.extend([0xaf, 1]),
            }
            body.extend(&stamp);
            body.extend((i as u32).to_be_bytes());
            let noise = len - body.len();
            fill(&mut body, noise, seed.wrapping_add(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let start = bytes.len() + 11;
            put_tag(&mut bytes, kind, time_ms, &body);
            samples.push(Sample { kind, time_ms, keyframe, start, end: start + len });
        }
        Arc::new(Self {
            spec: spec.clone(),
            version,
            etag: format!("\"{}-{}\"", spec.id, version).into(),
            bytes: bytes.into(),
            samples,
            headers,
        })
    }

    /// The sample that play from `target_ms` must begin with: the last keyframe at or before it.
    pub(crate) fn entry(&self, target_ms: u32) -> usize {
        let entry = |s: &Sample| s.kind == 9 && s.keyframe && s.time_ms <= target_ms;
        self.samples.iter().rposition(entry).unwrap_or(0)
    }

    /// A sample's body.
    pub(crate) fn body(&self, index: usize) -> &[u8] {
        let sample = &self.samples[index];
        &self.bytes[sample.start..sample.end]
    }

    /// Its length in ms.
    pub(crate) fn duration_ms(&self) -> u32 {
        self.spec.seconds * 1000
    }
}
