//! A reading position: one lane a track, merged by decoding time. Text comes after what is seen and heard at its time, never holds it
//! up, and ends with it.
//!
//! A lane takes its samples from the track's table, then from fragments as the walk comes upon them. A step looks at the
//! heads of the lanes and takes the earlier one; it allocates nothing but the room for a fragment's samples.
//! Where one track's samples stand in fragments of their own, the walk goes ahead until each lane has a head, up to a
//! bound: a track that ends early must not make one viewer walk the whole file.

use std::collections::VecDeque;

use super::sample_table::{RawSample, TablePosition};
use super::walk::{Found, Walk};
use super::{LANES_MAX, Mp4Index, TrackIndex};
use crate::media::{Kind, MediaError, Sample, Step};
use crate::object::ReadAt;

/// How far one lane's queue may lead while another is empty.
const LEAD_MS_MAX: u64 = 10_000;
const LEAD_SAMPLES_MAX: usize = 8192;

/// A reading position in an MP4 file.
#[derive(Clone, Debug, Default)]
pub struct Mp4Cursor {
    /// In the order of the film's tracks.
    lanes: Vec<Lane>,
    /// Where fragments go on; `None` if there are no more.
    walk: Option<Walk>,
}

/// A place in one track.
#[derive(Clone, Debug, Default)]
struct Lane {
    table: TablePosition,
    queue: VecDeque<RawSample>,
    head: Option<Sample>,
    /// Samples of fragments that are due before this time (and place in the file) are passed over. A text that is still on is due then.
    from: u64,
}

impl Lane {
    /// Sees to it that the head is the next sample that has bytes, if one is known.
    fn fill(&mut self, track: &TrackIndex) {
        while self.head.is_none() {
            let raw = match track.table.next(&mut self.table) {
                Some(raw) => raw,
                None => {
                    let Some(raw) = self.queue.pop_front() else { return };
                    let is_past = |raw: &RawSample| track.timeline.place(raw.dts, raw.cts).0 < self.from;
                    let over = match track.kind {
                        Kind::Text(_) => is_past(&raw) && self.queue.front().is_some_and(is_past),
                        _ => is_past(&raw),
                    };
                    if over {
                        continue;
                    }
                    raw
                }
            };
            if raw.len > 0 {
                let mut sample = track.present(&raw);
                if let Kind::Text(_) = track.kind {
                    sample.dts = sample.dts.max(self.from);
                }
                self.head = Some(sample);
            }
        }
    }

    /// Milliseconds of media queued.
    fn lead_ms(&self, track: &TrackIndex) -> u64 {
        match (self.queue.front(), self.queue.back()) {
            (Some(first), Some(last)) => {
                (u128::from(last.dts.saturating_sub(first.dts)) * 1000 / u128::from(track.timescale.max(1)))
                    as u64
            }
            _ => 0,
        }
    }
}

impl TrackIndex {
    /// A sample in times of the presentation.
    pub(super) fn present(&self, raw: &RawSample) -> Sample {
        let (dts, cts) = self.timeline.place(raw.dts, raw.cts);
        Sample {
            kind: self.kind,
            dts,
            timescale: self.timescale,
            cts: if self.kind == Kind::Video { cts } else { 0 },
            sync: raw.sync || self.kind != Kind::Video,
            offset: raw.offset,
            len: raw.len,
        }
    }
}

/// Whether `a` is due before `b`, exactly.
pub(super) fn precedes(a: &Sample, b: &Sample) -> bool {
    u128::from(a.dts) * u128::from(b.timescale) < u128::from(b.dts) * u128::from(a.timescale)
}

impl Mp4Cursor {
    /// A cursor that goes on with these samples of the tables, and with fragments from `walk`.
    pub(super) fn new(index: &Mp4Index, samples: [u32; LANES_MAX], walk: Option<Walk>) -> Self {
        let lanes = index
            .tracks
            .iter()
            .zip(samples)
            .map(|(track, sample)| Lane { table: track.table.position(sample), ..Lane::default() });
        Self { lanes: lanes.collect(), walk }
    }

    /// Passes over what fragments hold of a track before `from`, in ticks of the presentation.
    pub(super) fn pass_over(&mut self, lane: usize, from: u64) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.from = from;
        }
    }

    /// Whether more fragments are to be read before the next sample is chosen.
    fn looks_ahead(&self, index: &Mp4Index) -> bool {
        let lanes = || self.lanes.iter().zip(&index.tracks).take(index.shown);
        let all_empty = lanes().all(|(lane, _)| lane.head.is_none());
        let any_empty = lanes().any(|(lane, _)| lane.head.is_none());
        let bearable = |(lane, track): (&Lane, _)| {
            lane.queue.len() < LEAD_SAMPLES_MAX && lane.lead_ms(track) < LEAD_MS_MAX
        };
        all_empty || any_empty && lanes().all(bearable)
    }
}

/// The lane of text whose head is due first.
fn earliest(texts: &mut [Lane]) -> Option<&mut Lane> {
    texts.iter_mut().filter(|lane| lane.head.is_some()).reduce(|first, other| {
        match (&first.head, &other.head) {
            (Some(head), Some(later)) if precedes(later, head) => other,
            _ => first,
        }
    })
}

/// The next sample of `at`, or what it needs.
pub(super) fn step<R: ReadAt>(
    index: &Mp4Index,
    at: &mut Mp4Cursor,
    reader: &mut R,
) -> Result<Step, MediaError> {
    loop {
        for (lane, track) in at.lanes.iter_mut().zip(&index.tracks) {
            lane.fill(track);
        }
        if let (Some(mut walk), Some(fragments)) = (at.walk, &index.fragments)
            && at.looks_ahead(index)
        {
            let found = walk.next(&fragments.terrain, |offset, len| reader.buffered(offset, len))?;
            at.walk = Some(walk);
            match found {
                Found::Need { offset, len } => return Ok(Step::Need { offset, len }),
                Found::End => at.walk = None,
                Found::Fragment(fragment) => {
                    for (lane, samples) in at.lanes.iter_mut().zip(fragment.samples) {
                        lane.queue.extend(samples);
                    }
                }
            }
            continue;
        }
        let shown = index.shown.min(at.lanes.len());
        let (shown, texts) = at.lanes.split_at_mut(shown);
        let chosen = match shown {
            [lane] => lane,
            [a, b] => match (&a.head, &b.head) {
                (Some(head), Some(other)) if precedes(other, head) => b,
                (None, Some(_)) => b,
                _ => a,
            },
            _ => return Ok(Step::End),
        };
        let Some(next) = &chosen.head else { return Ok(Step::End) };
        if let Some(text) = earliest(texts)
            && text.head.as_ref().is_some_and(|head| precedes(head, next))
        {
            return Ok(text.head.take().map_or(Step::End, Step::Sample));
        }
        return Ok(chosen.head.take().map_or(Step::End, Step::Sample));
    }
}
