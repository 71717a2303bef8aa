//! FLV tag headers, and what the first bytes of a tag body say.
//!
//! Sources: Adobe's FLV specification 10.1, annexes E.3 and E.4; Enhanced RTMP v2 for the extended headers.

use crate::media::Kind;

/// Bytes of a tag header.
pub(super) const HEADER_BYTES: u64 = 11;
/// Bytes of the PreviousTagSize after each tag, and before the first.
pub(super) const PREVIOUS_BYTES: u64 = 4;

/// A tag header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TagHeader {
    type_byte: u8,
    stream_id: u32,
    /// Bytes of the body.
    pub(super) size: u32,
    /// Milliseconds: 24 bits and their 8-bit extension.
    pub(super) time_ms: u32,
}

impl TagHeader {
    /// The header at the start of `bytes`; `None` if they are fewer than 11.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[type_byte, s1, s2, s3, t1, t2, t3, t0, i1, i2, i3] = bytes.first_chunk::<11>()?;
        Some(Self {
            type_byte,
            stream_id: u32::from_be_bytes([0, i1, i2, i3]),
            size: u32::from_be_bytes([0, s1, s2, s3]),
            time_ms: u32::from_be_bytes([t0, t1, t2, t3]),
        })
    }

    /// What it carries; `None` for a type the specification doesn't define.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.type_byte & 0x1f {
            8 => Some(Kind::Audio),
            9 => Some(Kind::Video),
            18 => Some(Kind::Data),
            _ => None,
        }
    }

    /// Whether the body is encrypted (the filter bit).
    pub(super) fn filtered(&self) -> bool {
        self.type_byte & 0x20 != 0
    }

    /// Whether this looks like a tag header by itself: a defined type, reserved bits and stream id 0.
    pub(super) fn plausible(&self) -> bool {
        self.kind().is_some() && self.type_byte & 0xc0 == 0 && self.stream_id == 0
    }

    /// What the PreviousTagSize after this tag says.
    pub(super) fn previous(&self) -> u32 {
        self.size + HEADER_BYTES as u32
    }

    /// Bytes from this tag's start to the next one's.
    pub(super) fn stride(&self) -> u64 {
        HEADER_BYTES + u64::from(self.size) + PREVIOUS_BYTES
    }
}

/// What a tag is to a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Codec configuration (a sequence header).
    Config,
    /// A picture decoding can start at.
    Keyframe,
    /// Anything else.
    Other,
}

/// What a tag is, by the first two bytes of its body (fewer if it is shorter).
pub(super) fn classify(kind: Kind, body: &[u8]) -> Class {
    let (Some(&first), second) = (body.first(), body.get(1)) else { return Class::Other };
    match kind {
        Kind::Video if first & 0x80 != 0 => match first & 0x0f {
            0 | 5 => Class::Config,
            2 | 4 => Class::Other,
            _ if (first >> 4) & 7 == 1 => Class::Keyframe,
            _ => Class::Other,
        },
        Kind::Video if has_packet_type(first) => match second {
            Some(0) => Class::Config,
            Some(1) if first >> 4 == 1 => Class::Keyframe,
            _ => Class::Other,
        },
        Kind::Video if first >> 4 == 1 => Class::Keyframe,
        Kind::Audio if first >> 4 == 9 && first & 0x0f == 0 => Class::Config,
        Kind::Audio if first >> 4 == 10 && second == Some(&0) => Class::Config,
        _ => Class::Other,
    }
}

/// Whether a codec, by the first byte of a tag body, has a configuration tag of its own.
pub(super) fn wants_config(kind: Kind, first: u8) -> bool {
    match kind {
        Kind::Video => first & 0x80 != 0 || has_packet_type(first),
        Kind::Audio => matches!(first >> 4, 9 | 10),
        Kind::Data | Kind::Text(_) => false,
    }
}

/// AVC, and the two codecs that were given unofficial numbers with AVC's layout (HEVC 12, AV1 13).
fn has_packet_type(first: u8) -> bool {
    matches!(first & 0x0f, 7 | 12 | 13)
}

/// The composition offset of an AVC picture in milliseconds, by the first five bytes of its body; 0 for others.
pub(super) fn composition_ms(kind: Kind, body: &[u8]) -> i32 {
    match body.first_chunk::<5>() {
        Some(&[first, 1, a, b, c]) if kind == Kind::Video && first & 0x80 == 0 && has_packet_type(first) => {
            i32::from_be_bytes([a, b, c, 0]) >> 8
        }
        _ => 0,
    }
}
