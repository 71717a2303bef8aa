//! Edit lists: how a track's own times become times of the presentation.
//!
//! Two things are honoured, as players of the era's servers expect: empty edits at the start delay the track, and the first
//! real edit's media time is where the presentation begins. Later edits (a cut montage) are played through. Decoding
//! times before the start become 0, and so do composition times, so that what precedes the start is decoded at once
//! and not heard or seen late.
//!
//! Source: ISO/IEC 14496-12, 8.6.6; 8.6.1.4 for negative composition offsets.

use mp4_atom::Elst;

use super::boxes::invalid;
use crate::media::MediaError;

/// Times beyond this many ticks are lies: at the finest usual timescale, centuries.
const TICKS_MAX: u64 = 1 << 60;

/// A track's own times mapped to the presentation's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// Added to each of the track's times.
    shift: i64,
    /// The track's own time at which the presentation begins.
    start: u64,
    /// Taken from decoding times: the largest negative composition offset, so that no frame is due before its decoding.
    reorder: u32,
}

impl Timeline {
    /// The mapping an edit list asks for, `timescale` being the track's.
    pub(crate) fn new(edits: &Elst, movie_timescale: u32, timescale: u32) -> Result<Self, MediaError> {
        let mut delay = 0u128;
        for edit in &edits.entries {
            match edit.media_time {
                None => delay += u128::from(edit.segment_duration),
                Some(start) => return Self::at(delay, start, movie_timescale, timescale),
            }
        }
        Self::at(delay, 0, movie_timescale, timescale)
    }

    fn at(delay: u128, start: u64, movie_timescale: u32, timescale: u32) -> Result<Self, MediaError> {
        let movie_timescale = u128::from(movie_timescale.max(1));
        let ticks = (delay * u128::from(timescale) + movie_timescale / 2) / movie_timescale;
        if ticks > u128::from(TICKS_MAX) || start > TICKS_MAX {
            return Err(invalid("the edit list shifts a track by centuries"));
        }
        Ok(Self { shift: ticks as i64 - start as i64, start, reorder: 0 })
    }

    /// The same, for a track whose most negative composition offset is `-reorder`.
    pub(crate) fn with_reorder(self, reorder: u32) -> Self {
        Self { reorder, ..self }
    }

    /// Whether decoding times are earlier than the file has them.
    pub(crate) fn reorders(&self) -> bool {
        self.reorder > 0
    }

    /// The track's own time at which the presentation begins.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Presentation times of a sample: decoding time, and composition offset from it.
    pub(crate) fn place(&self, dts: u64, cts: i32) -> (u64, i32) {
        let shifted = (dts.min(TICKS_MAX) as i64).saturating_add(self.shift);
        let decoded = shifted.saturating_sub(i64::from(self.reorder)).max(0);
        let composed = shifted.saturating_add(i64::from(cts)).max(0);
        (decoded as u64, (composed - decoded).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }

    /// The track's own decoding time that becomes `time` of the presentation; `None` if that would be before its first.
    pub(crate) fn own(&self, time: u64) -> Option<u64> {
        let own =
            (time.min(TICKS_MAX) as i64).saturating_sub(self.shift).saturating_add(i64::from(self.reorder));
        u64::try_from(own).ok()
    }

    /// Refuses a decoding time no real file has.
    pub(crate) fn check(dts: u64) -> Result<u64, MediaError> {
        if dts > TICKS_MAX { Err(invalid(format!("a decoding time of {dts} ticks"))) } else { Ok(dts) }
    }
}
