//! MPEG audio frame headers, layer III.
//!
//! Source: ISO/IEC 11172-3, 2.4.1.3, and 13818-3 for the lower rates; MPEG 2.5 is Fraunhofer's extension.

/// A frame by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    version: Version,
    /// Bits a second.
    pub(super) bitrate_bps: u32,
    /// Samples a second.
    pub(super) rate_hz: u32,
    /// Two channels, in whatever mode.
    pub(super) stereo: bool,
    /// A byte longer than the bitrate asks for, to make up for shorter ones.
    pub(super) padded: bool,
    /// Bytes, header included.
    pub(super) len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Mpeg1,
    Mpeg2,
    Mpeg25,
}

const KBPS_MPEG1: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const KBPS_MPEG2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const RATES_MPEG1: [u32; 3] = [44_100, 48_000, 32_000];

impl Frame {
    /// The frame whose header starts `bytes`; `None` if it isn't one, or not of layer III, or of free format.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[sync, b1, b2, b3] = bytes.first_chunk::<4>()?;
        // Emphasis 2 is reserved: a cheap extra check against chance.
        if sync != 0xff || b1 & 0xe0 != 0xe0 || (b1 >> 1) & 3 != 1 || b3 & 3 == 2 {
            return None;
        }
        let (version, kbps, divisor) = match (b1 >> 3) & 3 {
            3 => (Version::Mpeg1, &KBPS_MPEG1, 1),
            2 => (Version::Mpeg2, &KBPS_MPEG2, 2),
            0 => (Version::Mpeg25, &KBPS_MPEG2, 4),
            _ => return None,
        };
        let bitrate_bps = kbps.get(usize::from(b2 >> 4).checked_sub(1)?)? * 1000;
        let rate_hz = RATES_MPEG1.get(usize::from((b2 >> 2) & 3))? / divisor;
        let slots = if version == Version::Mpeg1 { 144 } else { 72 };
        let padded = b2 & 2 != 0;
        Some(Self {
            version,
            bitrate_bps,
            rate_hz,
            stereo: b3 >> 6 != 3,
            padded,
            len: slots * bitrate_bps / rate_hz + u32::from(padded),
        })
    }

    /// Samples a channel.
    pub(super) fn samples(&self) -> u32 {
        if self.version == Version::Mpeg1 { 1152 } else { 576 }
    }

    /// Whether it can be of one stream with `other`. Channels and bitrate may change within one.
    pub(super) fn fits(&self, other: &Self) -> bool {
        self.version == other.version && self.rate_hz == other.rate_hz
    }

    /// Bytes between header and main data, where a Xing header stands.
    pub(super) fn side_info_bytes(&self) -> usize {
        match (self.version, self.stereo) {
            (Version::Mpeg1, true) => 32,
            (Version::Mpeg1, false) | (_, true) => 17,
            (_, false) => 9,
        }
    }

    /// The lowest and highest bits a second of this version.
    pub(super) fn bitrates_bps(&self) -> (u32, u32) {
        if self.version == Version::Mpeg1 { (32_000, 320_000) } else { (8_000, 160_000) }
    }

    /// FLV's sound flags: format, nearest of the four rates it knows, 16 bit, channels (E.4.2.1).
    pub(super) fn flags(&self) -> u8 {
        let (format, rate) = match self.rate_hz {
            // Format 14 is MP3 at 8 kHz.
            ..=8_000 => (14, 0),
            8_001..=16_537 => (2, 1),
            16_538..=33_075 => (2, 2),
            33_076.. => (2, 3),
        };
        format << 4 | rate << 2 | 2 | u8::from(self.stereo)
    }
}

/// The first frame in `bytes` that others confirm: by up to two that follow it, each of one stream with it, or by ending where
/// `bytes` end if that is the end of the sound (`at_end`). With `like`, only frames of its stream count.
pub(super) fn find(bytes: &[u8], like: Option<&Frame>, at_end: bool) -> Option<(usize, Frame)> {
    let last = bytes.len().checked_sub(4)?;
    (0..=last).find_map(|pos| {
        if bytes[pos] != 0xff {
            return None;
        }
        let frame = Frame::parse(&bytes[pos..]).filter(|frame| like.is_none_or(|like| frame.fits(like)))?;
        confirmed(bytes, pos, &frame, at_end).then_some((pos, frame))
    })
}

fn confirmed(bytes: &[u8], pos: usize, frame: &Frame, at_end: bool) -> bool {
    let mut next = pos + frame.len as usize;
    for link in 0..2 {
        match bytes.get(next..) {
            // Past the bytes at hand.
            None => return link > 0,
            // A few stray bytes before the end of the sound count as the end.
            Some(rest) if rest.len() < 4 => return at_end || link > 0,
            Some(rest) => match Frame::parse(rest) {
                Some(found) if found.fits(frame) => next += found.len as usize,
                _ => return false,
            },
        }
    }
    true
}

/// What a file that starts with `head` is, if it is MPEG audio of a kind that isn't played.
pub(super) fn unsupported(head: &[u8]) -> Option<&'static str> {
    let &[sync, b1, b2, _] = head.first_chunk::<4>()?;
    if sync != 0xff || b1 & 0xe0 != 0xe0 {
        return None;
    }
    match (b1 >> 1) & 3 {
        0 => Some("ADTS, not MPEG layer III"),
        1 if b2 >> 4 == 0 => Some("free-format MPEG layer III"),
        2 => Some("MPEG layer II"),
        3 => Some("MPEG layer I"),
        _ => None,
    }
}
