//! What `onMetaData` says of an MP4 file: the keys Flash Media Server sends for such files, in its order.
//!
//! Only keys that apply are present. Everything comes from the file alone, so the message is the same bytes for every play
//! (resuming clients compare it). Codecs are named by FLV's numbers, which clients that read them expect.

use super::codec::Details;
use crate::media::Codec;
use crate::rtmp::amf::Value;

/// One track, for metadata.
#[derive(Debug)]
pub(crate) struct Described<'a> {
    /// What its samples are.
    pub(crate) codec: &'a Codec,
    /// More of that.
    pub(crate) details: Details,
    /// The four characters the file names its codec by.
    pub(crate) sample_type: &'a str,
    /// Ticks a second.
    pub(crate) timescale: u32,
    /// Its length in ticks.
    pub(crate) length: u64,
    /// Three letters.
    pub(crate) language: &'a str,
    /// Samples a second, on average.
    pub(crate) samples_a_second: Option<f64>,
}

/// The keys and values, `duration` first.
pub(crate) fn metadata(duration_ms: f64, moov_offset: u64, tracks: &[Described]) -> Vec<(String, Value)> {
    let number = |key: &str, value: f64| (key.to_owned(), Value::Number(value));
    let mut keys = vec![number("duration", duration_ms / 1000.0), number("moovPosition", moov_offset as f64)];
    let (mut codecs, mut profiles, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for track in tracks {
        match track.details {
            Details::Video { width, height, profile, level } => {
                keys.push(number("width", f64::from(width)));
                keys.push(number("height", f64::from(height)));
                codecs.push(number("videocodecid", 7.0));
                profiles.push(number("avcprofile", f64::from(profile)));
                profiles.push(number("avclevel", f64::from(level)));
                if let Some(rate) = track.samples_a_second {
                    rates.push(number("videoframerate", (rate * 1000.0).round() / 1000.0));
                }
            }
            Details::Audio { rate_hz, channels, object_type } => {
                let mp3 = matches!(track.codec, Codec::Mp3 { .. });
                codecs.push(number("audiocodecid", if mp3 { 2.0 } else { 10.0 }));
                if let Some(object_type) = object_type {
                    profiles.push(number("aacaot", f64::from(object_type)));
                }
                rates.push(number("audiosamplerate", f64::from(rate_hz)));
                rates.push(number("audiochannels", f64::from(channels)));
            }
            Details::Text => {}
        }
    }
    keys.extend(codecs);
    keys.extend(profiles);
    keys.extend(rates);
    keys.push(("trackinfo".into(), Value::StrictArray(tracks.iter().map(track_info).collect())));
    keys
}

fn track_info(track: &Described) -> Value {
    let description = vec![("sampletype".to_owned(), Value::String(track.sample_type.to_owned()))];
    Value::Object(vec![
        ("length".into(), Value::Number(track.length as f64)),
        ("timescale".into(), Value::Number(f64::from(track.timescale))),
        ("language".into(), Value::String(track.language.to_owned())),
        ("sampledescription".into(), Value::StrictArray(vec![Value::Object(description)])),
    ])
}
