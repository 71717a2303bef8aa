//! Media files: ranges in, timed samples out. No protocol in here.
//!
//! [`open`] reads the few ranges that hold a file's index and gives a [`Media`]: what the file is, how long, its tracks and
//! metadata. A [`Media`] is immutable and shared by all viewers of an object version. [`Media::cursor`] positions a
//! [`Cursor`] at a time; [`Cursor::step`] then yields [`Sample`]s in the order they are to be sent, without waiting: where bytes
//! of the index itself are missing (FLV tag headers, MP3 frame headers), it says which.
//!
//! A sample names its payload by offset and length; the payload's bytes are read by the session, as slices of blocks.
//! AMF0 appears here as FLV's own metadata format, not as a part of RTMP.

use std::sync::Arc;

use bytes::Bytes;

use crate::object::{ReadAt, ReadError};
use crate::rtmp::amf::Value;

pub mod flv;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub(crate) mod genre;
pub mod id3;
pub mod mp3;
pub mod mp4;
pub mod tag;
pub mod timed_text;
mod window;

/// Why a file can't be played.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum MediaError {
    /// It is damaged, truncated, empty, or lies about its structure.
    #[error("file structure invalid: {0}")]
    StructureInvalid(String),
    /// It is another kind of file, or has no track of a supported codec.
    #[error("no supported track: {0}")]
    NoSupportedTrack(String),
    /// Its bytes can't be had.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// Flash video.
    Flv,
    /// ISO base media: MP4, F4V, M4V, M4A, MOV, 3GP; fragmented or not.
    Mp4,
    /// MPEG audio layer III, with or without ID3.
    Mp3,
    /// The same, of which only the ID3 tags are wanted; see [`id3`].
    Id3,
}

/// What a message carries; also what a viewer may switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Script data (FLV cue points and the like).
    Data,
    /// Timed text, of the text track of that number (from 0).
    Text(u8),
}

/// How a sample's stored bytes become an FLV tag body (the payload of an RTMP audio or video message).
#[derive(Clone, Debug, PartialEq)]
pub enum Codec {
    /// The stored bytes are a tag body already (FLV).
    TagBody,
    /// H.264 in AVCC form; `config` is the avcC record.
    Avc {
        /// AVCDecoderConfigurationRecord.
        config: Bytes,
    },
    /// Raw AAC access units; `config` is the AudioSpecificConfig, explicit SBR untouched.
    Aac {
        /// AudioSpecificConfig.
        config: Bytes,
    },
    /// MP3 frames; the byte that heads each tag body (format, rate, size, channels).
    Mp3 {
        /// FLV's sound flags.
        flags: u8,
    },
    /// Timed text (`tx3g`): no tag body but a text, which [`timed_text`] reads; and what is said of its track beside it.
    Text {
        /// The track's number in its file.
        track_id: u32,
        /// Three letters.
        language: String,
    },
}

/// One track.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Audio, video or text.
    pub kind: Kind,
    /// Ticks a second of this track's sample times.
    pub timescale: u32,
    /// How samples become tag bodies.
    pub codec: Codec,
}

/// One sample (frame, access unit, tag), still in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it is.
    pub kind: Kind,
    /// Decoding time in ticks of `timescale`, counted from the start of the presentation (edit lists applied, never negative).
    pub dts: u64,
    /// Ticks a second.
    pub timescale: u32,
    /// Composition offset in ticks (video).
    pub cts: i32,
    /// Whether decoding can start here: a keyframe. Audio samples are always sync.
    pub sync: bool,
    /// Where the stored bytes stand in the object.
    pub offset: u64,
    /// How many.
    pub len: u32,
}

impl Sample {
    /// Decoding time in milliseconds, rounded down.
    pub fn time_ms(&self) -> u64 {
        let timescale = u64::from(self.timescale.max(1));
        // Whole seconds and the rest apart: exact, without a 128-bit division a sample.
        (self.dts / timescale).saturating_mul(1000).saturating_add(self.dts % timescale * 1000 / timescale)
    }
}

/// Bounds on what a file may make us hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest `moov` box, ID3 tag or FLV script tag read.
    pub index_bytes: u64,
    /// Most samples a track may have.
    pub samples: u64,
    /// Largest sample.
    pub sample_bytes: u32,
    /// Most fragments a seek walks through where no index says where to start; then it settles for an earlier place.
    pub fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { index_bytes: 64 << 20, samples: 20_000_000, sample_bytes: 16 << 20, fragments: 1 << 16 }
    }
}

/// An opened file: immutable, shared by all viewers of one object version.
#[derive(Debug)]
pub struct Media {
    /// What it is.
    pub container: Container,
    /// End of the last sample, in milliseconds.
    pub duration_ms: f64,
    /// Video then audio; at most one of each: the first supported ones; then text tracks. Empty for FLV files, whose tags say themselves what they are.
    pub tracks: Vec<Track>,
    /// The keys and values of onMetaData, in order; `duration` is always there, in seconds. Of a file
    /// opened for its tags: the properties of onId3.
    pub metadata: Vec<(String, Value)>,
    /// Codec configuration messages that precede media after every play and seek: (kind, tag body), video first.
    pub headers: Vec<(Kind, Bytes)>,
    /// Bytes of media a second, on average; never 0. Read-ahead is sized by it.
    pub bytes_per_second: u64,
    /// Memory this index holds, in bytes; the cache of indexes weighs by it.
    pub weight_bytes: usize,
    /// The container's own index.
    pub index: Index,
}

/// A container's own index.
#[derive(Debug)]
pub enum Index {
    /// FLV.
    Flv(flv::FlvIndex),
    /// MP4.
    Mp4(mp4::Mp4Index),
    /// MP3.
    Mp3(mp3::Mp3Index),
    /// Tags alone: no samples.
    Tags,
}

/// What a cursor found next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The next sample to send. Its payload may or may not be in memory.
    Sample(Sample),
    /// The cursor needs these bytes of the file before it can go on; ask again when they are in memory.
    Need {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// The file has ended.
    End,
}

/// A reading position in a [`Media`]. Cloning one is cheap and gives an independent position.
#[derive(Clone, Debug)]
pub struct Cursor {
    media: Arc<Media>,
    at: Position,
}

#[derive(Clone, Debug)]
enum Position {
    Flv(flv::FlvCursor),
    Mp4(mp4::Mp4Cursor),
    Mp3(mp3::Mp3Cursor),
    Nowhere,
}

/// Tells what kind of file this is by its first bytes.
///
/// `head` is the first 12 or more bytes (fewer if the file is shorter).
pub fn sniff(head: &[u8]) -> Option<Container> {
    if head.starts_with(b"FLV") {
        return Some(Container::Flv);
    }
    if head.len() >= 8
        && matches!(
            &head[4..8],
            b"ftyp" | b"moov" | b"mdat" | b"free" | b"skip" | b"wide" | b"pnot" | b"styp" | b"uuid"
        )
    {
        return Some(Container::Mp4);
    }
    if head.starts_with(b"ID3") || mp3::is_frame_header(head) {
        return Some(Container::Mp3);
    }
    None
}

/// Opens a file: finds out what it is by its first bytes (never by its name) and reads its index from few ranges.
pub async fn open<R: ReadAt>(reader: &mut R, limits: &Limits) -> Result<Media, MediaError> {
    let size = reader.size();
    if size == 0 {
        return Err(MediaError::StructureInvalid("the file is empty".into()));
    }
    let head = crate::object::read::contiguous(reader.read_at(0, size.min(16)).await?);
    match sniff(&head) {
        Some(Container::Flv) => flv::open(reader, limits).await,
        Some(Container::Mp4) => mp4::open(reader, limits).await,
        Some(Container::Mp3 | Container::Id3) => mp3::open(reader, limits).await,
        None => Err(MediaError::NoSupportedTrack("not FLV, MP4 or MP3".into())),
    }
}

impl Media {
    /// Whether there are pictures.
    pub fn has_video(&self) -> bool {
        match &self.index {
            Index::Flv(index) => index.has_video(),
            _ => self.tracks.iter().any(|track| track.kind == Kind::Video),
        }
    }

    /// A cursor whose first video sample is the last keyframe at or before `target_ms` (audio from the same place in time). A target past
    /// the end gives a cursor that ends at once. Media without video starts at the last sample at or before the target.
    pub async fn cursor<R: ReadAt>(
        self: &Arc<Self>,
        reader: &mut R,
        target_ms: u64,
    ) -> Result<Cursor, MediaError> {
        let at = match &self.index {
            Index::Flv(index) => Position::Flv(flv::seek(self, index, reader, target_ms).await?),
            Index::Mp4(index) => Position::Mp4(mp4::seek(self, index, reader, target_ms).await?),
            Index::Mp3(index) => Position::Mp3(mp3::seek(self, index, reader, target_ms).await?),
            Index::Tags => Position::Nowhere,
        };
        Ok(Cursor { media: self.clone(), at })
    }
}

impl Cursor {
    /// The file this is a position in.
    pub fn media(&self) -> &Arc<Media> {
        &self.media
    }

    /// The next sample, in sending order (by decoding time across tracks). Never waits.
    pub fn step<R: ReadAt>(&mut self, reader: &mut R) -> Result<Step, MediaError> {
        match (&mut self.at, &self.media.index) {
            (Position::Flv(at), Index::Flv(index)) => flv::step(index, at, reader),
            (Position::Mp4(at), Index::Mp4(index)) => mp4::step(&self.media, index, at, reader),
            (Position::Mp3(at), Index::Mp3(index)) => mp3::step(index, at, reader),
            _ => Ok(Step::End),
        }
    }
}
