//! Finding the place for a time: the last keyframe at or before it, and the audio that is due with that keyframe.
//!
//! In a film without fragments that is two binary searches. In fragments it is a walk from the nearest known point; with an
//! index in the file that is the fragment itself, so a seek costs its `moof` and no more.

use super::cursor::Mp4Cursor;
use super::fragment::Fragment;
use super::fragments::segment_index::Clock;
use super::fragments::{Fragments, Point};
use super::sample_table::RawSample;
use super::walk::Walk;
use super::{LANES_MAX, Mp4Index, TrackIndex};
use crate::media::{Kind, MediaError, Sample};
use crate::object::ReadAt;

/// How often a seek starts over from an earlier point, if fragments don't start with keyframes.
const RETREATS_MAX: usize = 8;
/// How far back audio is looked for that is due with a keyframe; fragments take seconds.
const AUDIO_BEFORE_MS_MAX: u64 = 30_000;

/// A cursor for `target_ms`, before the film's end.
pub(super) async fn seek<R: ReadAt>(
    index: &Mp4Index,
    reader: &mut R,
    target_ms: u64,
) -> Result<Mp4Cursor, MediaError> {
    let Some(lead) = index.tracks.first() else { return Ok(Mp4Cursor::default()) };
    if let Some(fragments) = &index.fragments {
        let listed = lead.table.len() > 0 && target_ms < lead.end_ms();
        if !listed && let Some(cursor) = in_fragments(index, fragments, lead, reader, target_ms).await? {
            return Ok(cursor);
        }
    }
    Ok(in_tables(index, lead, target_ms))
}

fn in_tables(index: &Mp4Index, lead: &TrackIndex, target_ms: u64) -> Mp4Cursor {
    let walk = index
        .fragments
        .as_ref()
        .map(|fragments| Walk::at(fragments.first, index.tracks.iter().map(TrackIndex::end)));
    let key = lead
        .last_due(target_ms)
        .and_then(|sample| lead.table.sync_at_or_before(sample))
        .filter(|&sample| sample >= lead.first);
    let start = key.and_then(|key| Some((key, lead.peek(key)?)));
    let samples = match &start {
        Some((key, start)) => {
            // Several samples may be due at 0: what precedes the presentation's start is.
            let mut samples = [0; LANES_MAX];
            samples[0] = if start.dts == 0 { lead.first } else { *key };
            for (sample, track) in samples.iter_mut().zip(&index.tracks).skip(1) {
                *sample = match track.kind {
                    Kind::Text(_) => track.on_at(track.ticks_at(start)),
                    _ => track.first_due_with(start),
                };
            }
            samples
        }
        // Nothing of the leading track is due yet (it starts late): it comes from its first sample on, the other track from
        // what is due now.
        None => {
            let mut samples = [0; LANES_MAX];
            samples[0] = lead.first;
            for (sample, track) in samples.iter_mut().zip(&index.tracks).skip(1) {
                *sample = track.last_due(target_ms).unwrap_or(track.first);
            }
            samples
        }
    };
    let mut cursor = Mp4Cursor::new(index, samples, walk);
    for (lane, track) in index.tracks.iter().enumerate().skip(index.shown) {
        cursor.pass_over(lane, start.as_ref().map_or(0, |(_, start)| track.ticks_at(start)));
    }
    cursor
}

/// A keyframe in a fragment: the walk that comes upon the fragment next, and the frame's time.
struct Start {
    walk: Walk,
    key: Sample,
}

async fn in_fragments<R: ReadAt>(
    index: &Mp4Index,
    fragments: &Fragments,
    lead: &TrackIndex,
    reader: &mut R,
    target_ms: u64,
) -> Result<Option<Mp4Cursor>, MediaError> {
    let mut before = u64::MAX;
    let mut budget = fragments.terrain.fragments_max;
    for _ in 0..RETREATS_MAX {
        let point = fragments.before(target_ms, before);
        let walk = match point {
            Some(point) => walk_from(index, point),
            None => Walk::at(fragments.first, index.tracks.iter().map(TrackIndex::end)),
        };
        if let Some(start) = last_key(fragments, lead, reader, walk, target_ms, &mut budget).await? {
            let ended = index.tracks.iter().map(|track| track.table.len());
            let mut samples = [0; LANES_MAX];
            samples.iter_mut().zip(ended).for_each(|(sample, count)| *sample = count);
            let walk = with_audio_before(index, fragments, lead, &start).unwrap_or(start.walk);
            let mut cursor = Mp4Cursor::new(index, samples, Some(walk));
            cursor.pass_over(0, start.key.dts);
            for (lane, track) in index.tracks.iter().enumerate().skip(1) {
                cursor.pass_over(lane, track.ticks_at(&start.key));
            }
            return Ok(Some(cursor));
        }
        match point {
            Some(point) => before = point.offset,
            None => break,
        }
    }
    Ok(None)
}

/// Where to walk from if the fragment before the keyframe's holds audio that is due with the keyframe. It does where
/// decoding times were moved ahead because of negative composition offsets: the file's writer interleaved by other times.
fn with_audio_before(
    index: &Mp4Index,
    fragments: &Fragments,
    lead: &TrackIndex,
    start: &Start,
) -> Option<Walk> {
    if index.shown < 2 || !lead.timeline.reorders() {
        return None;
    }
    let time_ms = start.key.time_ms();
    let point = fragments.before(time_ms, start.walk.at)?;
    let near = time_ms - point.time_ms <= AUDIO_BEFORE_MS_MAX;
    near.then(|| walk_from(index, point))
}

fn walk_from(index: &Mp4Index, point: Point) -> Walk {
    Walk::at(point.offset, index.tracks.iter().map(|track| track.clock().own(point.time_ms)))
}

/// Walks to the fragment that holds the last keyframe at or before the target, or as far as the budget of fragments goes.
async fn last_key<R: ReadAt>(
    fragments: &Fragments,
    lead: &TrackIndex,
    reader: &mut R,
    mut walk: Walk,
    target_ms: u64,
    budget: &mut usize,
) -> Result<Option<Start>, MediaError> {
    let mut start = None;
    loop {
        // A file of many fragments that are all in memory must not hold up those who share the thread.
        tokio::task::coop::consume_budget().await;
        let Some(left) = budget.checked_sub(1) else { return Ok(start) };
        *budget = left;
        let mut here = walk;
        let Some(fragment) = walk.wait(&fragments.terrain, reader).await? else { return Ok(start) };
        here.at = fragment.offset;
        let Some(first) = fragment.samples[0].first() else { continue };
        let first = lead.present(first);
        if first.sync {
            fragments.learn(Point { offset: fragment.offset, time_ms: first.time_ms() });
        }
        if first.time_ms() > target_ms {
            return Ok(start);
        }
        if let Some(key) = last_sync(&fragment, lead, target_ms) {
            start = Some(Start { walk: here, key });
        }
        let goes_on = fragment.ends[0].is_some_and(|end| lead.clock().ms(end, lead.timescale) <= target_ms);
        if !goes_on {
            return Ok(start);
        }
    }
}

fn last_sync(fragment: &Fragment, lead: &TrackIndex, target_ms: u64) -> Option<Sample> {
    let due = |raw: &RawSample| lead.present(raw).time_ms() <= target_ms;
    let samples = &fragment.samples[0];
    let due = samples.partition_point(due);
    samples[..due].iter().rev().find(|raw| raw.sync && raw.len > 0).map(|raw| lead.present(raw))
}

impl TrackIndex {
    /// This track's clock.
    pub(super) fn clock(&self) -> Clock {
        Clock { track_id: 0, timescale: self.timescale, timeline: self.timeline }
    }

    /// The end of the samples in its table, in its own ticks.
    pub(super) fn end(&self) -> u64 {
        self.table.duration()
    }

    /// The same in milliseconds of the presentation.
    fn end_ms(&self) -> u64 {
        self.clock().ms(self.end(), self.timescale)
    }

    fn peek(&self, sample: u32) -> Option<Sample> {
        self.table.next(&mut self.table.position(sample)).map(|raw| self.present(&raw))
    }

    /// The last sample of its table whose time in milliseconds is `target_ms` or less.
    fn last_due(&self, target_ms: u64) -> Option<u32> {
        if self.table.len() == 0 {
            return None;
        }
        let ticks = ((u128::from(target_ms) + 1) * u128::from(self.timescale) - 1) / 1000;
        let own = self.timeline.own(ticks.min(u128::from(u64::MAX)) as u64)?;
        Some(self.table.at_or_before(own)).filter(|&sample| sample >= self.first)
    }

    /// The text of its table that is on at `ticks` of the presentation.
    fn on_at(&self, ticks: u64) -> u32 {
        self.timeline.own(ticks).map_or(self.first, |own| self.table.at_or_before(own)).max(self.first)
    }

    /// A time of another track's sample, in ticks of this one, rounded up.
    fn ticks_at(&self, start: &Sample) -> u64 {
        let ticks =
            (u128::from(start.dts) * u128::from(self.timescale)).div_ceil(u128::from(start.timescale.max(1)));
        ticks.min(u128::from(u64::MAX)) as u64
    }

    /// The first sample of its table that is due with `start` or later.
    fn first_due_with(&self, start: &Sample) -> u32 {
        match self.ticks_at(start) {
            // Times before the presentation's start count as 0, so there is no first of them but the first.
            0 => self.first,
            ticks => {
                self.timeline.own(ticks).map_or(self.first, |own| self.table.at_or_after(own)).max(self.first)
            }
        }
    }
}
