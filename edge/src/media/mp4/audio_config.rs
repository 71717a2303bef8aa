//! AudioSpecificConfig: what AAC samples are. Only read for metadata; the bytes go to players untouched.
//!
//! Source: ISO/IEC 14496-3, 1.6.2.1.

/// Rates by index.
const RATES_HZ: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// What an AudioSpecificConfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioConfig {
    /// The object type named first: 2 is AAC-LC, 5 HE-AAC, 29 HE-AAC v2.
    pub(crate) object_type: u8,
    /// Samples a second after explicit SBR.
    pub(crate) rate_hz: u32,
    /// Channels as heard; `None` if the stream itself says.
    pub(crate) channels: Option<u16>,
}

impl AudioConfig {
    /// Reads the first fields; `None` if they are cut short or reserved.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bits = Bits { bytes, at: 0 };
        let object_type = bits.object_type()?;
        let mut rate_hz = bits.rate_hz()?;
        let mut channels = match bits.take(4)? {
            0 => None,
            7 => Some(8),
            count @ 1..=6 => Some(count as u16),
            11 => Some(7),
            12 | 14 => Some(8),
            _ => return None,
        };
        if matches!(object_type, 5 | 29) {
            rate_hz = bits.rate_hz()?;
        }
        if object_type == 29 && channels == Some(1) {
            channels = Some(2);
        }
        Some(Self { object_type, rate_hz, channels })
    }

    /// Whether it is AAC; the same box may announce lossless, speech and layered codecs.
    pub(crate) fn is_aac(&self) -> bool {
        matches!(self.object_type, 1..=6 | 17 | 19..=20 | 23 | 29 | 39)
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u8> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)? as u8),
            short => Some(short as u8),
        }
    }

    fn rate_hz(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => RATES_HZ.get(index as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_lc_he_aac_and_he_aac_v2_are_told_apart() {
        let read = |bytes: &[u8]| AudioConfig::read(bytes).map(|c| (c.object_type, c.rate_hz, c.channels));
        assert_eq!(read(&[0x12, 0x10]), Some((2, 44100, Some(2))));
        // HE-AAC: 24 kHz core, 48 kHz heard; then the same core in mono with parametric stereo.
        assert_eq!(read(&[0x2b, 0x11, 0x88, 0x00]), Some((5, 48000, Some(2))));
        assert_eq!(read(&[0xeb, 0x09, 0x88, 0x00]), Some((29, 48000, Some(2))));
        assert_eq!(read(&[0x12]), None);
        assert_eq!(read(&[]), None);
    }
}
