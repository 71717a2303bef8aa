//! Chapters: where a film's parts begin, and what they are called.
//!
//! Nero's list (`chpl`) stands in `moov` and costs nothing. QuickTime keeps the names as samples of a text track that the others refer to;
//! they are read when the film is opened, if that takes one read or a few. What is damaged, or scattered over the file, is left out:
//! chapters are a courtesy.
//!
//! Sources: QuickTime File Format, "Chapter Lists"; for `chpl`, what ffmpeg writes and reads.

use mp4_atom::Mdhd;

use super::boxes;
use super::sample_table::SampleTable;
use super::text_track;
use crate::media::{Limits, MediaError, timed_text};
use crate::object::ReadAt;
use crate::object::read::contiguous;
use crate::rtmp::amf::Value;

/// Most chapters told.
const CHAPTERS_MAX: usize = 255;
/// Longest name told, in bytes; the rest is cut off.
const NAME_BYTES_MAX: usize = 255;
/// Most bytes read of a chapter track in one go.
const STRETCH_BYTES_MAX: u64 = 256 << 10;
/// Most reads of names that stand apart.
const READS_MAX: usize = 16;
/// `chpl` counts in tenths of microseconds.
const TICKS_A_SECOND: f64 = 1e7;

/// A chapter: its start in seconds, and its name.
pub(super) type Chapter = (f64, String);

/// What `moov` says of chapters.
#[derive(Debug, Default)]
pub(super) enum Chapters {
    /// Nothing.
    #[default]
    None,
    /// All of it.
    Listed(Vec<Chapter>),
    /// Where the samples are that name them.
    Track {
        /// Ticks a second.
        timescale: u32,
        /// The samples.
        table: SampleTable,
    },
}

/// Looks for chapters in a `moov` body.
pub(super) fn find(moov: &[u8], file_bytes: u64, limits: &Limits) -> Chapters {
    let listed = listed(moov).unwrap_or_default();
    if !listed.is_empty() {
        return Chapters::Listed(listed);
    }
    let ids = text_track::chapter_tracks(moov);
    let limits = Limits { samples: CHAPTERS_MAX as u64, sample_bytes: 4096, ..limits.clone() };
    text_track::traks(moov)
        .filter(|trak| text_track::id(trak).is_some_and(|id| ids.contains(&id)))
        .find_map(|trak| track(trak, file_bytes, &limits).ok().flatten())
        .unwrap_or_default()
}

fn listed(moov: &[u8]) -> Option<Vec<Chapter>> {
    let udta = boxes::child(moov, b"udta").ok().flatten()?;
    let chpl = boxes::child(udta, b"chpl").ok().flatten()?;
    let mut rest = chpl.get(if *chpl.first()? == 0 { 4 } else { 8 }..)?;
    let (&count, entries) = rest.split_first()?;
    rest = entries;
    let mut chapters = Vec::new();
    for _ in 0..count {
        let Some((start, after)) = rest.split_first_chunk::<8>() else { break };
        let Some((&len, after)) = after.split_first() else { break };
        let Some((name, after)) = after.split_at_checked(usize::from(len)) else { break };
        chapters.push((
            u64::from_be_bytes(*start) as f64 / TICKS_A_SECOND,
            String::from_utf8_lossy(name).into_owned(),
        ));
        rest = after;
    }
    Some(chapters)
}

fn track(trak: &[u8], file_bytes: u64, limits: &Limits) -> Result<Option<Chapters>, MediaError> {
    let mdia = boxes::required(trak, b"mdia")?;
    let handler = boxes::array::<4>(boxes::required(mdia, b"hdlr")?, 8)?;
    if !matches!(&handler, b"text" | b"sbtl") {
        // Pictures of chapters are chapters too.
        return Ok(None);
    }
    let stbl = boxes::required(boxes::required(mdia, b"minf")?, b"stbl")?;
    let timescale = boxes::decode::<Mdhd>(boxes::required(mdia, b"mdhd")?)?.timescale;
    let descriptions = boxes::u32_at(boxes::required(stbl, b"stsd")?, 4)?;
    let table = SampleTable::read(stbl, descriptions, file_bytes, limits)?;
    Ok((timescale > 0 && table.len() > 0).then_some(Chapters::Track { timescale, table }))
}

impl Chapters {
    /// All chapters, their names read if need be.
    pub(super) async fn read<R: ReadAt>(self, reader: &mut R) -> Result<Vec<Chapter>, MediaError> {
        let (timescale, table) = match self {
            Self::None => return Ok(Vec::new()),
            Self::Listed(chapters) => return Ok(chapters),
            Self::Track { timescale, table } => (timescale, table),
        };
        let mut position = table.position(0);
        let samples: Vec<_> = std::iter::from_fn(|| table.next(&mut position)).take(CHAPTERS_MAX).collect();
        let start = samples.iter().map(|sample| sample.offset).min().unwrap_or(0);
        let end = samples.iter().map(|sample| sample.offset + u64::from(sample.len)).max().unwrap_or(0);
        let together = end - start <= STRETCH_BYTES_MAX;
        if !together && samples.len() > READS_MAX {
            return Ok(Vec::new());
        }
        let whole =
            if together { contiguous(reader.read_at(start, end - start).await?) } else { Default::default() };
        let mut chapters = Vec::with_capacity(samples.len());
        for sample in samples {
            let bytes = if together {
                let from = (sample.offset - start) as usize;
                whole.slice(from..from + sample.len as usize)
            } else {
                contiguous(reader.read_at(sample.offset, u64::from(sample.len)).await?)
            };
            chapters.push((sample.dts as f64 / f64::from(timescale), timed_text::text(&bytes)));
        }
        Ok(chapters)
    }
}

/// The chapters as metadata has them.
pub(super) fn value(chapters: Vec<Chapter>) -> Value {
    let chapter = |(seconds, mut name): Chapter| {
        cut(&mut name, NAME_BYTES_MAX);
        Value::object([("time", Value::Number(seconds)), ("name", Value::String(name))])
    };
    Value::StrictArray(chapters.into_iter().map(chapter).collect())
}

/// Cuts a text to at most `bytes`, between two characters.
pub(super) fn cut(text: &mut String, bytes: usize) {
    while text.len() > bytes {
        text.pop();
    }
}
