//! FLV tag bodies: what heads a sample's stored bytes in an RTMP audio or video message.
//!
//! Source: Adobe's FLV specification 10.1, E.4.2 and E.4.3.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Codec, Kind, Sample, Track};

/// The bytes that precede a sample's stored bytes in its tag body: 0 to 5 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; 5],
    len: u8,
}

impl Head {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// The head of `sample`'s tag body, `track` being the one it belongs to (`None` for FLV, whose tags are stored whole).
pub fn head(track: Option<&Track>, sample: &Sample) -> Head {
    let Some(track) = track else { return Head { bytes: [0; 5], len: 0 } };
    match track.codec {
        Codec::TagBody | Codec::Text { .. } => Head { bytes: [0; 5], len: 0 },
        Codec::Avc { .. } => {
            let cts_ms = i64::from(sample.cts) * 1000 / i64::from(sample.timescale.max(1));
            let cts = (cts_ms.clamp(-(1 << 23), (1 << 23) - 1) as i32).to_be_bytes();
            let frame = if sample.sync { 0x17 } else { 0x27 };
            Head { bytes: [frame, 1, cts[1], cts[2], cts[3]], len: 5 }
        }
        Codec::Aac { .. } => Head { bytes: [0xaf, 1, 0, 0, 0], len: 2 },
        Codec::Mp3 { flags } => Head { bytes: [flags, 0, 0, 0, 0], len: 1 },
    }
}

/// The sequence header message of a track, if its codec has one: (kind, tag body).
pub fn sequence_header(track: &Track) -> Option<(Kind, Bytes)> {
    let mut body = BytesMut::new();
    match &track.codec {
        Codec::Avc { config } => {
            body.put_slice(&[0x17, 0, 0, 0, 0]);
            body.put_slice(config);
        }
        Codec::Aac { config } => {
            body.put_slice(&[0xaf, 0]);
            body.put_slice(config);
        }
        Codec::TagBody | Codec::Mp3 { .. } | Codec::Text { .. } => return None,
    }
    Some((track.kind, body.freeze()))
}
