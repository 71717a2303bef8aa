//! Text tracks: `tx3g` samples that are sent beside what they belong to.
//!
//! They are guests: one that is damaged, in another format, or larger than a text can be, is passed over, and the film plays without it.
//! Tracks that hold the chapters of another are not shown.
//!
//! Source: ISO/IEC 14496-12, 8.3.3; 3GPP TS 26.245, 5.16; QuickTime File Format, "Chapter Lists".

use mp4_atom::{Mdhd, Mvhd, Tkhd, Trex};

use super::TEXT_TRACKS_MAX;
use super::boxes::{self, invalid};
use super::codec::{Description, Details};
use super::moov::{self, MovieTrack};
use super::sample_table::SampleTable;
use crate::media::{Codec, Kind, Limits, MediaError};

/// Longest text, its styles included.
pub(super) const SAMPLE_BYTES_MAX: u32 = 64 << 10;
/// Most texts of a track: some four bytes of index each.
const SAMPLES_MAX: u64 = 200_000;

/// The text tracks of a `moov` body.
pub(super) fn read_all(
    moov: &[u8],
    mvhd: &Mvhd,
    fragmented: bool,
    file_bytes: u64,
    limits: &Limits,
) -> Vec<MovieTrack> {
    let chapters = chapter_tracks(moov);
    let limits = Limits {
        samples: limits.samples.min(SAMPLES_MAX),
        sample_bytes: limits.sample_bytes.min(SAMPLE_BYTES_MAX),
        ..limits.clone()
    };
    let mut tracks = Vec::new();
    for trak in traks(moov) {
        if tracks.len() == TEXT_TRACKS_MAX {
            break;
        }
        match read(trak, mvhd, fragmented, file_bytes, &limits, tracks.len() as u8) {
            Ok(Some(track)) if !chapters.contains(&track.id) => tracks.push(track),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a text track is passed over"),
        }
    }
    tracks
}

/// The tracks of a `moov` body.
pub(super) fn traks(moov: &[u8]) -> impl Iterator<Item = &[u8]> {
    boxes::children(moov).map_while(Result::ok).filter(|(kind, _)| kind == b"trak").map(|(_, trak)| trak)
}

/// A track's number.
pub(super) fn id(trak: &[u8]) -> Option<u32> {
    boxes::decode::<Tkhd>(boxes::child(trak, b"tkhd").ok().flatten()?).ok().map(|tkhd| tkhd.track_id)
}

/// The numbers of tracks that others name as their chapters.
pub(super) fn chapter_tracks(moov: &[u8]) -> Vec<u32> {
    let named = |trak| {
        let tref = boxes::child(trak, b"tref").ok().flatten()?;
        boxes::child(tref, b"chap").ok().flatten()
    };
    let ids = traks(moov).filter_map(named).flat_map(|chap| {
        chap.chunks_exact(4).take(TEXT_TRACKS_MAX).map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]]))
    });
    ids.take(64).collect()
}

/// One track, if it holds timed text.
fn read(
    trak: &[u8],
    mvhd: &Mvhd,
    fragmented: bool,
    file_bytes: u64,
    limits: &Limits,
    number: u8,
) -> Result<Option<MovieTrack>, MediaError> {
    let mdia = boxes::required(trak, b"mdia")?;
    let handler = boxes::array::<4>(boxes::required(mdia, b"hdlr")?, 8)?;
    if !matches!(&handler, b"text" | b"sbtl" | b"subt" | b"clcp") {
        return Ok(None);
    }
    let stbl = boxes::required(boxes::required(mdia, b"minf")?, b"stbl")?;
    let stsd = boxes::required(stbl, b"stsd")?;
    let mut descriptions = 0;
    for found in boxes::children(stsd.get(8..).unwrap_or_default()) {
        let (name, _) = found?;
        if name != *b"tx3g" {
            return Ok(None);
        }
        descriptions += 1;
    }
    if descriptions == 0 {
        return Ok(None);
    }
    let mdhd = boxes::decode::<Mdhd>(boxes::required(mdia, b"mdhd")?)?;
    if mdhd.timescale == 0 {
        return Err(invalid("mdhd has a timescale of 0"));
    }
    let table = SampleTable::read(stbl, descriptions, file_bytes, limits)?;
    if table.len() == 0 && !fragmented {
        return Ok(None);
    }
    let id = boxes::decode::<Tkhd>(boxes::required(trak, b"tkhd")?)?.track_id;
    let language = moov::language(&mdhd.language);
    Ok(Some(MovieTrack {
        kind: Kind::Text(number),
        id,
        timescale: mdhd.timescale,
        description: Description {
            codec: Codec::Text { track_id: id, language: language.clone() },
            sample_type: "tx3g".to_owned(),
            details: Details::Text,
        },
        language,
        timeline: moov::timeline(trak, mvhd, mdhd.timescale)?,
        table,
        defaults: Trex::default(),
    }))
}
