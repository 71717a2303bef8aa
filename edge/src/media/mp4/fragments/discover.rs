//! Opening a fragmented film: a few reads tell where to start walking, and how long the film is.
//!
//! Read are the boxes between `moov` and the first fragment (where a `sidx` stands), the first fragment, `mfra` if the `sidx`
//! doesn't cover the file, and the last fragment, whose end is the film's. Without any index the last fragment is looked for
//! in the last megabytes; failing that, the announced length serves, or one estimated from the first fragments.

use bytes::Bytes;

use super::segment_index::{self, Clock};
use super::{Fragments, Point};
use crate::media::mp4::LANES_MAX;
use crate::media::mp4::boxes::{self, invalid};
use crate::media::mp4::fragment::{Fragment, FragmentTrack};
use crate::media::mp4::layout::Window;
use crate::media::mp4::moov::Movie;
use crate::media::mp4::walk::{Terrain, Walk};
use crate::media::{Kind, Limits, MediaError};
use crate::object::{ReadAt, read};

/// Boxes looked at between `moov` and the first fragment.
const BOXES_BEFORE_MAX: usize = 64;
/// Fragments read until each track was seen once.
const FIRST_FRAGMENTS_MAX: usize = 8;
/// Fragments walked from the last known point to the end of the file.
const LAST_FRAGMENTS_MAX: usize = 64;
/// How a file without index is searched for its last fragment.
const TAIL_STEP_BYTES: u64 = 1 << 20;
const TAIL_STEPS_MAX: u64 = 8;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// Where fragments are; `None` if there is none.
    pub(crate) fragments: Option<Fragments>,
    /// Where each track's samples end, in its own ticks.
    pub(crate) ends: [Option<u64>; LANES_MAX],
    /// Length in milliseconds, if no end is known.
    pub(crate) estimate_ms: Option<f64>,
    /// Samples and ticks of the first fragments, by track.
    pub(crate) pace: [(u64, u64); LANES_MAX],
    /// Where the first sample of each track stands.
    pub(crate) first_bytes: [Option<u64>; LANES_MAX],
}

/// Looks for the fragments behind `moov`. Sets what only fragments tell of the tracks: how far composition reaches back.
pub(crate) async fn discover<R: ReadAt>(
    reader: &mut R,
    window: &mut Window,
    after_moov: u64,
    movie: &mut Movie,
    limits: &Limits,
) -> Result<Discovered, MediaError> {
    let file_bytes = reader.size();
    let terrain = Terrain {
        file_bytes,
        sample_bytes_max: limits.sample_bytes,
        fragments_max: limits.fragments,
        tracks: movie
            .tracks
            .iter()
            .map(|track| {
                let mut defaults = track.defaults.clone();
                defaults.track_id = track.id;
                FragmentTrack { kind: track.kind, defaults }
            })
            .collect(),
    };
    let clocks: Vec<Clock> = movie
        .tracks
        .iter()
        .map(|t| Clock { track_id: t.id, timescale: t.timescale, timeline: t.timeline })
        .collect();

    // Places and lengths go by pictures and sound; text comes seldom, and may be long over.
    let shown = &clocks[..movie.shown()];
    let ahead = before_first(reader, window, after_moov, shown).await?;
    let mut found = Discovered::default();
    let Some(first) = ahead.moof else { return Ok(found) };
    first_fragments(reader, &terrain, first, movie, &mut found).await?;

    let mut points = ahead.points;
    // `mfra` stands behind the last fragment, so a `sidx` ends before it; a `sidx` of a single segment (DASH) covers next to nothing.
    let mut covered = file_bytes - ahead.end.min(file_bytes) < TAIL_STEP_BYTES;
    if ahead.end < file_bytes {
        let tail = segment_index::read_mfra(reader, shown, limits.index_bytes).await?;
        if tail.len() > points.len() {
            points = tail;
            covered = true;
        }
    }
    points.sort_unstable_by_key(|point| point.offset);
    points.dedup_by_key(|point| point.offset);
    points.retain(|point| point.offset >= after_moov);
    if !points.windows(2).all(|pair| pair[0].time_ms <= pair[1].time_ms) {
        points.clear();
    }

    let last = match points.last().filter(|_| covered) {
        Some(point) => {
            let own = |clock: &Clock| clock.own(point.time_ms);
            Some((Walk::at(point.offset, clocks.iter().map(own)), true))
        }
        None => find_last(reader, &terrain, first).await?,
    };
    let complete = match last {
        Some((walk, knows_time)) => walk_to_end(reader, &terrain, walk, knows_time, &mut found).await?,
        None => false,
    };
    if !complete {
        found.estimate_ms = match movie.announced_ms {
            Some(announced) => Some(announced),
            None => estimate(reader, &terrain, first, shown).await?,
        };
    }
    found.fragments = Some(Fragments::new(terrain, after_moov, points));
    Ok(found)
}

struct Ahead {
    points: Vec<Point>,
    /// Where the index ends.
    end: u64,
    moof: Option<u64>,
}

async fn before_first<R: ReadAt>(
    reader: &mut R,
    window: &mut Window,
    mut at: u64,
    clocks: &[Clock],
) -> Result<Ahead, MediaError> {
    let file_bytes = reader.size();
    let mut ahead = Ahead { points: Vec::new(), end: 0, moof: None };
    let mut counts_by = None;
    for _ in 0..BOXES_BEFORE_MAX {
        if file_bytes - at < 8 {
            break;
        }
        let header = window.header(reader, at).await?;
        let after = at + header.total_bytes;
        match &header.kind {
            b"moof" => {
                ahead.moof = Some(at);
                break;
            }
            b"sidx" => {
                // At most 65535 references of 12 bytes, and a header.
                let body = header.total_bytes - header.header_bytes;
                if body > 1 << 20 {
                    return Err(invalid(format!("sidx of {body} bytes")));
                }
                let body = window.read(reader, at + header.header_bytes, body).await?;
                let segments = segment_index::read_sidx(&body, after, file_bytes, clocks)?;
                // Several tracks may have one each; the first track's is the one to seek by.
                let leads = Some(segments.track_id) == clocks.first().map(|clock| clock.track_id);
                if counts_by.is_none() || leads {
                    counts_by = Some(segments.track_id);
                    ahead.points = segments.points;
                    ahead.end = segments.end;
                }
            }
            _ => {}
        }
        at = after;
    }
    Ok(ahead)
}

/// Reads the first fragments, until each track was seen.
async fn first_fragments<R: ReadAt>(
    reader: &mut R,
    terrain: &Terrain,
    first: u64,
    movie: &mut Movie,
    found: &mut Discovered,
) -> Result<(), MediaError> {
    let mut walk = Walk::at(first, std::iter::empty());
    for _ in 0..FIRST_FRAGMENTS_MAX {
        let Some(fragment) = walk.wait(terrain, reader).await? else { break };
        for (lane, track) in movie.tracks.iter_mut().enumerate() {
            let samples = &fragment.samples[lane];
            let (Some(head), Some(end)) = (samples.first(), fragment.ends[lane]) else { continue };
            let ticks = end.saturating_sub(head.dts);
            found.pace[lane].0 += samples.len() as u64;
            found.pace[lane].1 += ticks;
            found.first_bytes[lane] = found.first_bytes[lane].or(Some(head.offset));
            if track.kind == Kind::Video && track.table.len() == 0 {
                let least = samples.iter().map(|sample| sample.cts).min().unwrap_or(0).min(0);
                track.timeline = track.timeline.with_reorder(least.unsigned_abs().min(1 << 28));
            }
        }
        note_ends(&fragment, found);
        if (0..movie.shown()).all(|lane| found.pace[lane].0 > 0) {
            break;
        }
    }
    Ok(())
}

/// The film's length, if it goes on as it starts.
async fn estimate<R: ReadAt>(
    reader: &mut R,
    terrain: &Terrain,
    first: u64,
    clocks: &[Clock],
) -> Result<Option<f64>, MediaError> {
    let mut walk = Walk::at(first, std::iter::empty());
    let mut ends = [None; LANES_MAX];
    for _ in 0..FIRST_FRAGMENTS_MAX {
        let Some(fragment) = walk.wait(terrain, reader).await? else { break };
        // What precedes this fragment in the file are the samples of those before it.
        if ends.iter().take(clocks.len()).all(Option::is_some) {
            let bytes = fragment.offset.saturating_sub(first).max(1);
            let ms = ends.iter().flatten().fold(0, |longest, &ms| u64::max(longest, ms));
            return Ok(Some(ms as f64 * (terrain.file_bytes - first) as f64 / bytes as f64));
        }
        for ((ms, end), clock) in ends.iter_mut().zip(fragment.ends).zip(clocks) {
            *ms = end.map(|end| clock.ms(end, clock.timescale)).or(*ms);
        }
    }
    Ok(None)
}

fn note_ends(fragment: &Fragment, found: &mut Discovered) {
    for (end, new) in found.ends.iter_mut().zip(fragment.ends) {
        *end = (*end).max(new);
    }
}

/// Walks from the last known fragment on; whether it came to the file's end.
async fn walk_to_end<R: ReadAt>(
    reader: &mut R,
    terrain: &Terrain,
    mut walk: Walk,
    knows_time: bool,
    found: &mut Discovered,
) -> Result<bool, MediaError> {
    for _ in 0..LAST_FRAGMENTS_MAX {
        match walk.wait(terrain, reader).await? {
            Some(fragment) if fragment.timed || knows_time => note_ends(&fragment, found),
            Some(_) => return Ok(false),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Looks for the last fragment in the last megabytes of a file that has no index; if it doesn't say its time, it isn't known.
async fn find_last<R: ReadAt>(
    reader: &mut R,
    terrain: &Terrain,
    first: u64,
) -> Result<Option<(Walk, bool)>, MediaError> {
    let mut end = terrain.file_bytes;
    for _ in 0..TAIL_STEPS_MAX {
        let start = end.saturating_sub(TAIL_STEP_BYTES).max(first);
        // The signature of a fragment takes 16 bytes; those of one that straddles two steps are read with the earlier step.
        let len = (end - start + 16).min(terrain.file_bytes - start);
        let bytes: Bytes = read::contiguous(reader.read_at(start, len).await?);
        for at in (0..bytes.len().saturating_sub(16)).rev() {
            if &bytes[at + 4..at + 8] != b"moof" || &bytes[at + 12..at + 16] != b"mfhd" {
                continue;
            }
            let offset = start + at as u64;
            let whole = boxes::header(&bytes[at..], terrain.file_bytes - offset);
            if whole.is_ok_and(|header| header.total_bytes >= 24) {
                return Ok(Some((Walk::at(offset, std::iter::empty()), offset == first)));
            }
        }
        if start == first {
            break;
        }
        end = start;
    }
    Ok(None)
}
