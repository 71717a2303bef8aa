//! The movie box: picks the first supported video and audio track and reads what each needs.
//!
//! A track of another kind, or whose codec isn't supported, is passed over without a look at its tables. A chosen track
//! whose boxes are missing or disagree is [`MediaError::StructureInvalid`]; a movie without any supported
//! track is [`MediaError::NoSupportedTrack`] and names what was found. Text tracks come beside what is played; none is ever an
//! error.

use mp4_atom::{Elst, Mdhd, Mehd, Mvhd, Tkhd, Trex};

use super::boxes::{self, invalid};
use super::chapters::{self, Chapters};
use super::codec::{self, Description};
use super::edit_list::Timeline;
use super::sample_table::SampleTable;
use super::{tags, text_track};
use crate::media::{Kind, Limits, MediaError};
use crate::rtmp::amf::Value;

/// A chosen track.
#[derive(Debug)]
pub(crate) struct MovieTrack {
    /// Audio, video or text.
    pub(crate) kind: Kind,
    /// The number fragments name it by.
    pub(crate) id: u32,
    /// Ticks a second.
    pub(crate) timescale: u32,
    /// Three letters, or "und".
    pub(crate) language: String,
    /// What its samples are.
    pub(crate) description: Description,
    /// From its own times to the presentation's.
    pub(crate) timeline: Timeline,
    /// Its samples, as far as `moov` lists them.
    pub(crate) table: SampleTable,
    /// What fragments leave out.
    pub(crate) defaults: Trex,
}

/// The movie.
#[derive(Debug)]
pub(crate) struct Movie {
    /// Video, then audio, then text.
    pub(crate) tracks: Vec<MovieTrack>,
    /// Whether fragments may follow.
    pub(crate) fragmented: bool,
    /// Where its parts begin.
    pub(crate) chapters: Chapters,
    /// What it says of itself, by four-character keys.
    pub(crate) tags: Vec<(String, Value)>,
    /// Length in milliseconds that a fragmented movie announces, if it does.
    pub(crate) announced_ms: Option<f64>,
}

impl Movie {
    /// How many of the tracks are pictures and sound; text comes after them.
    pub(crate) fn shown(&self) -> usize {
        self.tracks.iter().take_while(|track| !matches!(track.kind, Kind::Text(_))).count()
    }
}

/// Reads a `moov` body.
pub(crate) fn read(moov: &[u8], file_bytes: u64, limits: &Limits) -> Result<Movie, MediaError> {
    let mvhd = boxes::decode::<Mvhd>(boxes::required(moov, b"mvhd")?)?;
    let mvex = boxes::child(moov, b"mvex")?;
    let (mut video, mut audio) = (None, None);
    let mut passed_over = Vec::new();
    for found in boxes::children(moov) {
        let (kind, trak) = found?;
        if kind != *b"trak" {
            continue;
        }
        let mdia = boxes::required(trak, b"mdia")?;
        let (kind, slot) = match &boxes::array::<4>(boxes::required(mdia, b"hdlr")?, 8)? {
            b"vide" => (Kind::Video, &mut video),
            b"soun" => (Kind::Audio, &mut audio),
            _ => continue,
        };
        if slot.is_some() {
            continue;
        }
        match read_track(trak, mdia, kind, &mvhd, mvex.is_some(), file_bytes, limits)? {
            Ok(track) => *slot = Some(track),
            Err(why) if passed_over.len() < 8 => passed_over.push(why),
            Err(_) => {}
        }
    }
    let mut tracks: Vec<MovieTrack> = video.into_iter().chain(audio).collect();
    if tracks.is_empty() {
        return Err(MediaError::NoSupportedTrack(if passed_over.is_empty() {
            "the movie has neither video nor audio".into()
        } else {
            passed_over.join("; ")
        }));
    }
    tracks.extend(text_track::read_all(moov, &mvhd, mvex.is_some(), file_bytes, limits));
    let mut announced_ms = None;
    if let Some(mvex) = mvex {
        for found in boxes::children(mvex) {
            match found? {
                (kind, body) if kind == *b"trex" => {
                    let trex = boxes::decode::<Trex>(body)?;
                    if let Some(track) = tracks.iter_mut().find(|track| track.id == trex.track_id) {
                        track.defaults = trex;
                    }
                }
                (kind, body) if kind == *b"mehd" => {
                    let ticks = boxes::decode::<Mehd>(body)?.fragment_duration;
                    announced_ms =
                        (ticks > 0).then(|| ticks as f64 * 1000.0 / f64::from(mvhd.timescale.max(1)));
                }
                _ => {}
            }
        }
    }
    let chapters = chapters::find(moov, file_bytes, limits);
    Ok(Movie { tracks, fragmented: mvex.is_some(), chapters, tags: tags::read(moov), announced_ms })
}

/// One track; the inner error says why it can't be played.
fn read_track(
    trak: &[u8],
    mdia: &[u8],
    kind: Kind,
    mvhd: &Mvhd,
    fragmented: bool,
    file_bytes: u64,
    limits: &Limits,
) -> Result<Result<MovieTrack, String>, MediaError> {
    let stbl = boxes::required(boxes::required(mdia, b"minf")?, b"stbl")?;
    let (described, descriptions) = codec::describe(boxes::required(stbl, b"stsd")?, kind)?;
    let description = match described {
        Ok(description) => description,
        Err(names) => return Ok(Err(format!("codec {names}"))),
    };
    let mdhd = boxes::decode::<Mdhd>(boxes::required(mdia, b"mdhd")?)?;
    if mdhd.timescale == 0 {
        return Err(invalid("mdhd has a timescale of 0"));
    }
    let table = SampleTable::read(stbl, descriptions, file_bytes, limits)?;
    if table.len() == 0 && !fragmented {
        return Ok(Err(format!("{} without samples", description.sample_type)));
    }
    // QuickTime of old counts PCM frames instead of packets in sound tracks of constant rate; those have "samples" of one byte.
    if kind == Kind::Audio && table.equal_size() == Some(1) && table.len() > 0 {
        return Ok(Err(format!("{} in packets of constant size", description.sample_type)));
    }
    let timeline = timeline(trak, mvhd, mdhd.timescale)?;
    Ok(Ok(MovieTrack {
        kind,
        id: boxes::decode::<Tkhd>(boxes::required(trak, b"tkhd")?)?.track_id,
        timescale: mdhd.timescale,
        language: language(&mdhd.language),
        description,
        timeline: timeline.with_reorder(table.reorder()),
        table,
        defaults: Trex::default(),
    }))
}

/// What a track's edit list asks for.
pub(super) fn timeline(trak: &[u8], mvhd: &Mvhd, timescale: u32) -> Result<Timeline, MediaError> {
    let edits = match boxes::child(trak, b"edts")? {
        Some(edts) => boxes::child(edts, b"elst")?.map(boxes::decode::<Elst>).transpose()?,
        None => None,
    };
    match edits {
        Some(edits) => Timeline::new(&edits, mvhd.timescale, timescale),
        None => Ok(Timeline::default()),
    }
}

/// QuickTime's numbered languages decode to no letters; they become "und".
pub(super) fn language(code: &str) -> String {
    if code.len() == 3 && code.bytes().all(|b| b.is_ascii_lowercase()) { code.into() } else { "und".into() }
}
