//! Sample descriptions (`stsd`): what a track's samples are, and the configuration their decoder needs.
//!
//! H.264 (`avc1`, `avc3`), AAC of all flavours (`mp4a`) and MP3 (`mp4a`, `.mp3`) are supported; another codec is no error
//! but no track. QuickTime's forms are read too: sound descriptions of version 1 and 2, and `esds` inside `wave`.
//! A description that contradicts its own lengths is [`MediaError::StructureInvalid`].
//!
//! `esds` is read here and not by `mp4-atom`, which descends into nested descriptors by recursion without a bound.
//!
//! Source: ISO/IEC 14496-12, 8.5.2; 14496-14, 5.6; 14496-15, 5.3; 14496-1, 7.2.6; QuickTime File Format, "Sound Sample
//! Description"; FLV 10.1, E.4.2 for the sound flags.

use bytes::Bytes;

use super::audio_config::AudioConfig;
use super::boxes::{self, invalid};
use crate::media::{Codec, Kind, MediaError};

/// A supported sample description.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// What turns samples into tag bodies.
    pub(crate) codec: Codec,
    /// The four characters the file names it by.
    pub(crate) sample_type: String,
    /// What else is known.
    pub(crate) details: Details,
}

/// What metadata says of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Details {
    /// H.264.
    Video {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
        /// `profile_idc`.
        profile: u8,
        /// `level_idc`.
        level: u8,
    },
    /// AAC or MP3.
    Audio {
        /// Samples a second, as heard (SBR applied).
        rate_hz: u32,
        /// Channels.
        channels: u16,
        /// AAC's audio object type.
        object_type: Option<u8>,
    },
    /// Timed text.
    Text,
}

/// The first supported description, else the names of those found; with how many there are.
pub(crate) type Described = (Result<Description, String>, u32);

/// Reads the sample descriptions of a track.
pub(crate) fn describe(stsd: &[u8], kind: Kind) -> Result<Described, MediaError> {
    let said = boxes::u32_at(stsd, 4)?;
    let mut names = Vec::new();
    let mut first = None;
    let mut count = 0u32;
    for entry in boxes::children(stsd.get(8..).unwrap_or_default()) {
        let (name, body) = entry?;
        count += 1;
        if first.is_none() {
            first = match kind {
                Kind::Video => video(name, body)?,
                _ => audio(name, body)?,
            };
        }
        if names.len() < 8 {
            names.push(boxes::name(name));
        }
    }
    if count < said || count == 0 {
        return Err(invalid(format!("stsd has {count} descriptions of {said}")));
    }
    Ok((first.ok_or_else(|| names.join(", ")), count))
}

fn video(name: [u8; 4], body: &[u8]) -> Result<Option<Description>, MediaError> {
    if !matches!(&name, b"avc1" | b"avc3") {
        return Ok(None);
    }
    let (width, height) = (boxes::u16_at(body, 24)?, boxes::u16_at(body, 26)?);
    let Some(config) = boxes::child(body.get(78..).unwrap_or_default(), b"avcC")? else { return Ok(None) };
    check_avc(config)?;
    let details = Details::Video { width, height, profile: config[1], level: config[3] };
    let codec = Codec::Avc { config: Bytes::copy_from_slice(config) };
    Ok(Some(Description { codec, sample_type: boxes::name(name), details }))
}

/// Checks that an AVCDecoderConfigurationRecord holds the parameter sets it says it holds.
fn check_avc(config: &[u8]) -> Result<(), MediaError> {
    let [version, _, _, _, _, sequence_sets, ..] = config else { return Err(invalid("avcC is cut short")) };
    if *version != 1 {
        return Err(invalid(format!("avcC has version {version}")));
    }
    let mut at = 6;
    let sets = |count: u8, at: &mut usize| -> Result<(), MediaError> {
        for _ in 0..count {
            *at += 2 + boxes::u16_at(config, *at)? as usize;
            if *at > config.len() {
                return Err(invalid("avcC has a parameter set that passes its end"));
            }
        }
        Ok(())
    };
    sets(sequence_sets & 0x1f, &mut at)?;
    let picture_sets =
        config.get(at).copied().ok_or_else(|| invalid("avcC has no picture parameter sets"))?;
    at += 1;
    sets(picture_sets, &mut at)
}

fn audio(name: [u8; 4], body: &[u8]) -> Result<Option<Description>, MediaError> {
    let sample_type = boxes::name(name);
    match &name {
        b".mp3" | b"mp3 " | b"ms\0U" => {
            let sound = Sound::read(body)?;
            Ok(Some(mp3(&sample_type, sound.rate_hz, sound.channels)))
        }
        b"mp4a" => {
            let sound = Sound::read(body)?;
            let Some(esds) = find_esds(body, sound.extensions) else { return Ok(None) };
            let Some((object_type, config)) = decoder_config(esds)? else { return Ok(None) };
            match object_type {
                0x69 | 0x6b => Ok(Some(mp3(&sample_type, sound.rate_hz, sound.channels))),
                0x40 | 0x66 | 0x67 | 0x68 => {
                    let Some(aac) = AudioConfig::read(config).filter(AudioConfig::is_aac) else {
                        return Ok(None);
                    };
                    let details = Details::Audio {
                        rate_hz: aac.rate_hz,
                        channels: aac.channels.unwrap_or(sound.channels),
                        object_type: Some(aac.object_type),
                    };
                    let codec = Codec::Aac { config: Bytes::copy_from_slice(config) };
                    Ok(Some(Description { codec, sample_type, details }))
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// The fixed part of a sound description.
struct Sound {
    rate_hz: u32,
    channels: u16,
    /// Where boxes follow it.
    extensions: usize,
}

impl Sound {
    fn read(body: &[u8]) -> Result<Self, MediaError> {
        let plain = Self {
            rate_hz: boxes::u32_at(body, 24)? >> 16,
            channels: boxes::u16_at(body, 16)?,
            extensions: 28,
        };
        match boxes::u16_at(body, 8)? {
            1 => Ok(Self { extensions: 44, ..plain }),
            2 => {
                let rate = f64::from_bits(u64::from_be_bytes(boxes::array(body, 32)?));
                let channels = boxes::u32_at(body, 40)?.min(u32::from(u16::MAX)) as u16;
                // A cast from a float saturates, and turns what is no number into 0.
                Ok(Self { rate_hz: rate as u32, channels, extensions: 64 })
            }
            _ => Ok(plain),
        }
    }
}

/// `esds` among the boxes of a sound description, or in QuickTime's `wave` there. ISO's own version 1 has no extra
/// fields where QuickTime's has, so the boxes are looked for at both places.
fn find_esds(body: &[u8], extensions: usize) -> Option<&[u8]> {
    [extensions, 28].into_iter().find_map(|at| {
        let rest = body.get(at..)?;
        let direct = boxes::child(rest, b"esds").ok().flatten();
        direct.or_else(|| boxes::child(boxes::child(rest, b"wave").ok().flatten()?, b"esds").ok().flatten())
    })
}

/// The object type and the decoder's own configuration of an `esds`.
fn decoder_config(esds: &[u8]) -> Result<Option<(u8, &[u8])>, MediaError> {
    let Some(stream) = find_descriptor(esds.get(4..).unwrap_or_default(), 0x03)? else { return Ok(None) };
    let flags = stream.get(2).copied().unwrap_or(0);
    let mut at = 3;
    if flags & 0x80 != 0 {
        at += 2;
    }
    if flags & 0x40 != 0 {
        at += 1 + stream.get(at).copied().unwrap_or(0) as usize;
    }
    if flags & 0x20 != 0 {
        at += 2;
    }
    let Some(decoder) = find_descriptor(stream.get(at..).unwrap_or_default(), 0x04)? else { return Ok(None) };
    let Some(&object_type) = decoder.first() else { return Ok(None) };
    let config = find_descriptor(decoder.get(13..).unwrap_or_default(), 0x05)?.unwrap_or_default();
    Ok(Some((object_type, config)))
}

/// The body of the first descriptor with `tag`.
fn find_descriptor(mut rest: &[u8], tag: u8) -> Result<Option<&[u8]>, MediaError> {
    while let Some((&found, after)) = rest.split_first() {
        let mut length = 0usize;
        let mut at = 0;
        loop {
            let byte = after.get(at).copied().ok_or_else(|| invalid("esds ends within a length"))?;
            length = length << 7 | usize::from(byte & 0x7f);
            at += 1;
            if byte & 0x80 == 0 || at == 4 {
                break;
            }
        }
        let body =
            after.get(at..at + length).ok_or_else(|| invalid("esds has a descriptor that passes its end"))?;
        if found == tag {
            return Ok(Some(body));
        }
        rest = &after[at + length..];
    }
    Ok(None)
}

/// A description of MP3.
pub(crate) fn mp3(sample_type: &str, rate_hz: u32, channels: u16) -> Description {
    Description {
        codec: Codec::Mp3 { flags: mp3_flags(rate_hz, channels) },
        sample_type: sample_type.to_owned(),
        details: Details::Audio { rate_hz, channels, object_type: None },
    }
}

/// Rate and channels by the header of an MPEG audio frame.
pub(crate) fn mp3_frame(header: &[u8]) -> Option<(u32, u16)> {
    let &[0xff, version, rate, mode, ..] = header else { return None };
    let rate_hz = [44100, 48000, 32000].get(usize::from(rate >> 2 & 3))?;
    // MPEG-1, 2 and 2.5: each of half the rate of the one before.
    let halvings = match version {
        0xf8..=0xff => 0,
        0xf0..=0xf7 => 1,
        0xe0..=0xe7 => 2,
        _ => return None,
    };
    Some((rate_hz >> halvings, if mode >> 6 == 3 { 1 } else { 2 }))
}

/// FLV's sound flags for MP3. FLV knows four rates (and 8 kHz as a format of its own); others take the nearest above,
/// since decoders go by the frame headers.
fn mp3_flags(rate_hz: u32, channels: u16) -> u8 {
    let (format, rate) = match rate_hz {
        0..=8000 => (14u8, 0u8),
        8001..=12000 => (2, 1),
        12001..=24000 => (2, 2),
        _ => (2, 3),
    };
    format << 4 | rate << 2 | 1 << 1 | u8::from(channels != 1)
}
