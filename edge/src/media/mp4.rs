//! ISO base media: MP4, F4V, M4V, M4A, MOV and 3GP, fragmented or not.
//!
//! ```text
//! layout ── finds moov by box headers, reads it whole
//! moov ──── picks the first supported video and audio track: codec, edit_list, sample_table; and text tracks beside them
//! fragments ─ what stands behind moov in fragmented films: discover at open, walk while playing
//! seek, cursor ─ from a time to a place; from a place to samples, both tracks merged by decoding time
//! ```
//!
//! Opening reads the index and checks it against the file's size, so a truncated or lying file fails here, as
//! [`MediaError::StructureInvalid`], and not in mid-play. The exception are fragments: they are read when they are due,
//! and checked then.
//!
//! Sources: ISO/IEC 14496-12, -14, -15; QuickTime File Format; Adobe's F4V specification 10.1.

use std::sync::Arc;

use super::{Codec, Container, Index, Kind, Limits, Media, MediaError, Step, Track, tag};
use crate::object::ReadAt;
use crate::object::read::contiguous;
use crate::rtmp::amf::Value;
use fragments::Fragments;
use fragments::discover::{self, Discovered};
use moov::{Movie, MovieTrack};
use sample_table::SampleTable;

mod audio_config;
mod boxes;
mod chapters;
mod chunks;
mod codec;
mod cursor;
mod edit_list;
mod fragment;
mod fragments;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod layout;
mod metadata;
mod moov;
mod run_length;
mod sample_table;
mod seek;
mod tags;
#[cfg(test)]
mod tests;
mod text_track;
mod walk;

pub use cursor::Mp4Cursor;

/// Most text tracks sent beside pictures and sound.
const TEXT_TRACKS_MAX: usize = 4;
/// Most tracks of a film.
const LANES_MAX: usize = 2 + TEXT_TRACKS_MAX;

/// The index of an MP4 file: where each track's samples are.
#[derive(Debug)]
pub struct Mp4Index {
    /// In the order of [`Media::tracks`].
    tracks: Vec<TrackIndex>,
    /// How many of them are pictures and sound; the rest is text.
    shown: usize,
    fragments: Option<Fragments>,
}

/// The index of one track.
#[derive(Debug)]
struct TrackIndex {
    kind: Kind,
    timescale: u32,
    timeline: edit_list::Timeline,
    table: SampleTable,
    /// The first sample that is played: what an edit list cuts off before it is passed over.
    first: u32,
}

/// Opens a file that starts like ISO base media.
///
/// # Errors
/// [`MediaError::StructureInvalid`] if boxes are missing, lie or pass the file's end; [`MediaError::NoSupportedTrack`] if no
/// track is H.264, AAC or MP3; [`MediaError::Read`] if bytes can't be had.
pub async fn open<R: ReadAt>(reader: &mut R, limits: &Limits) -> Result<Media, MediaError> {
    let mut window = layout::Window::new();
    let found = layout::find_moov(reader, &mut window, limits).await?;
    let mut movie = moov::read(&found.moov, reader.size(), limits)?;
    drop(found.moov);
    let behind = if movie.fragmented {
        discover::discover(reader, &mut window, found.after_moov, &mut movie, limits).await?
    } else {
        Discovered::default()
    };
    read_mp3_flags(reader, &mut movie, &behind).await?;
    let chapters = std::mem::take(&mut movie.chapters).read(reader).await?;
    assemble(movie, behind, chapters, found.moov_offset, reader.size())
}

/// MP3's rate and channels from its first frame: sample descriptions are not to be trusted (ffmpeg writes two channels into
/// every MP4).
async fn read_mp3_flags<R: ReadAt>(
    reader: &mut R,
    movie: &mut Movie,
    behind: &Discovered,
) -> Result<(), MediaError> {
    for (track, fragment) in movie.tracks.iter_mut().zip(behind.first_bytes) {
        if !matches!(track.description.codec, Codec::Mp3 { .. }) {
            continue;
        }
        let listed =
            track.table.next(&mut track.table.position(0)).filter(|raw| raw.len >= 4).map(|raw| raw.offset);
        let Some(offset) = listed.or(fragment).filter(|offset| offset + 4 <= reader.size()) else { continue };
        let frame = contiguous(reader.read_at(offset, 4).await?);
        if let Some((rate_hz, channels)) = codec::mp3_frame(&frame) {
            track.description = codec::mp3(&track.description.sample_type, rate_hz, channels);
        }
    }
    Ok(())
}

fn assemble(
    mut movie: Movie,
    behind: Discovered,
    chapters: Vec<chapters::Chapter>,
    moov_offset: u64,
    file_bytes: u64,
) -> Result<Media, MediaError> {
    let shown = movie.shown();
    let listed: u64 = movie.tracks[..shown].iter().map(|track| track.table.total_bytes()).sum();
    if behind.fragments.is_none() && listed == 0 {
        return Err(boxes::invalid("no track has a sample"));
    }
    let lengths: Vec<u64> =
        movie.tracks.iter().zip(behind.ends).map(|(track, end)| length(track, end)).collect();
    let known = movie.tracks[..shown]
        .iter()
        .zip(&lengths)
        .map(|(track, length)| end_ms(track, *length))
        .fold(0.0, f64::max);
    let duration_ms = behind.estimate_ms.map_or(known, |estimate| estimate.max(known));

    let described: Vec<metadata::Described> = movie
        .tracks
        .iter()
        .zip(&lengths)
        .zip(behind.pace)
        .map(|((track, &length), pace)| metadata::Described {
            codec: &track.description.codec,
            details: track.description.details,
            sample_type: &track.description.sample_type,
            timescale: track.timescale,
            length,
            language: &track.language,
            samples_a_second: samples_a_second(track, pace),
        })
        .collect();
    let mut metadata = metadata::metadata(duration_ms, moov_offset, &described);
    let more_bytes = chapters.iter().map(|(_, name)| 192 + name.len()).sum::<usize>()
        + movie.tags.iter().map(|(_, value)| 96 + value.as_str().map_or(0, str::len)).sum::<usize>();
    if !chapters.is_empty() {
        metadata.push(("chapters".to_owned(), chapters::value(chapters)));
    }
    if !movie.tags.is_empty() {
        metadata.push(("tags".to_owned(), Value::Object(std::mem::take(&mut movie.tags))));
    }
    let tracks: Vec<Track> = movie
        .tracks
        .iter()
        .map(|t| Track { kind: t.kind, timescale: t.timescale, codec: t.description.codec.clone() })
        .collect();
    let headers: Vec<_> = tracks.iter().filter_map(tag::sequence_header).collect();

    let index = Mp4Index {
        tracks: movie.tracks.into_iter().map(TrackIndex::new).collect(),
        shown,
        fragments: behind.fragments,
    };
    let configs = tracks.iter().map(|track| match &track.codec {
        Codec::Avc { config } | Codec::Aac { config } => config.len(),
        Codec::TagBody | Codec::Mp3 { .. } | Codec::Text { .. } => 0,
    });
    // Metadata takes about 1 KiB a track.
    let weight_bytes = size_of::<Media>()
        + 1024 * tracks.len().max(2)
        + more_bytes
        + 2 * configs.sum::<usize>()
        + index.weight_bytes();
    let bytes_per_second = (file_bytes as f64 * 1000.0 / duration_ms.max(1.0)) as u64;
    Ok(Media {
        container: Container::Mp4,
        duration_ms,
        tracks,
        metadata,
        headers,
        bytes_per_second: bytes_per_second.max(1),
        weight_bytes,
        index: Index::Mp4(index),
    })
}

/// A track's end in its own ticks.
fn length(track: &MovieTrack, fragments_end: Option<u64>) -> u64 {
    track.table.duration().max(fragments_end.unwrap_or(0))
}

/// When the last sample of a track ends, in milliseconds of the presentation.
fn end_ms(track: &MovieTrack, length: u64) -> f64 {
    track.timeline.place(length, 0).0 as f64 * 1000.0 / f64::from(track.timescale)
}

fn samples_a_second(track: &MovieTrack, pace: (u64, u64)) -> Option<f64> {
    let timescale = f64::from(track.timescale);
    if let Some(duration) = track.table.steady_duration().filter(|&duration| duration > 0) {
        return Some(timescale / f64::from(duration));
    }
    let (samples, ticks) = match track.table.len() {
        0 => pace,
        count => (u64::from(count), track.table.duration()),
    };
    (samples > 0 && ticks > 0).then(|| samples as f64 * timescale / ticks as f64)
}

impl TrackIndex {
    fn new(track: MovieTrack) -> Self {
        let MovieTrack { kind, timescale, timeline, table, .. } = track;
        let first = first_played(kind, timescale, timeline.start(), &table);
        Self { kind, timescale, timeline, table, first }
    }
}

/// The first sample an edit list leaves: video from the last keyframe shown at the start or before it, audio from a second
/// before it, so that decoders have what they need to begin (players that read edit lists keep the same).
fn first_played(kind: Kind, timescale: u32, start: u64, table: &SampleTable) -> u32 {
    if table.len() == 0 {
        return 0;
    }
    if let Kind::Text(_) = kind {
        return table.at_or_before(start);
    }
    if kind == Kind::Audio {
        return table.at_or_after(start.saturating_sub(u64::from(timescale))).min(table.len() - 1);
    }
    let mut candidate = table.sync_at_or_before(table.at_or_before(start));
    while let Some(sample) = candidate {
        let shown = table
            .next(&mut table.position(sample))
            .map_or(0, |raw| raw.dts.saturating_add_signed(raw.cts.into()));
        if shown <= start || sample == 0 {
            return sample;
        }
        candidate = table.sync_at_or_before(sample - 1);
    }
    0
}

impl Mp4Index {
    /// Memory held, in bytes.
    fn weight_bytes(&self) -> usize {
        let tables: usize = self.tracks.iter().map(|track| track.table.weight_bytes()).sum();
        tables + self.fragments.as_ref().map_or(0, Fragments::weight_bytes)
    }
}

/// A cursor for a time; see [`Media::cursor`].
///
/// # Errors
/// Only films with fragments are read from, and can fail as [`open`] does.
pub async fn seek<R: ReadAt>(
    media: &Arc<Media>,
    index: &Mp4Index,
    reader: &mut R,
    target_ms: u64,
) -> Result<Mp4Cursor, MediaError> {
    if target_ms > 0 && target_ms as f64 >= media.duration_ms {
        return Ok(Mp4Cursor::default());
    }
    seek::seek(index, reader, target_ms).await
}

/// The next sample; see [`Cursor::step`](super::Cursor::step).
///
/// # Errors
/// [`MediaError::StructureInvalid`] if a fragment lies.
pub fn step<R: ReadAt>(
    _media: &Media,
    index: &Mp4Index,
    at: &mut Mp4Cursor,
    reader: &mut R,
) -> Result<Step, MediaError> {
    cursor::step(index, at, reader)
}
