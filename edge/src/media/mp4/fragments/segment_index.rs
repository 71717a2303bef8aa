//! Indexes that fragmented files carry: `sidx` behind `moov`, `mfra` at the end of the file.
//!
//! A `sidx` that points past the file's end means that the file was cut: [`MediaError::StructureInvalid`]. An `mfra` is a
//! courtesy at the file's end; one that makes no sense is not used.
//!
//! Source: ISO/IEC 14496-12, 8.16.3, 8.8.9 to 8.8.11.

use mp4_atom::{Sidx, Tfra};

use super::Point;
use crate::media::MediaError;
use crate::media::mp4::boxes::{self, invalid};
use crate::media::mp4::edit_list::Timeline;
use crate::object::{ReadAt, read};

/// A track, as far as indexes concern it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The number indexes name it by.
    pub(crate) track_id: u32,
    /// Ticks a second.
    pub(crate) timescale: u32,
    /// From its own times to the presentation's.
    pub(crate) timeline: Timeline,
}

impl Clock {
    /// The decoding time, in this track's own ticks, that is due at a time of the presentation.
    pub(crate) fn own(&self, time_ms: u64) -> u64 {
        let ticks = u128::from(time_ms) * u128::from(self.timescale) / 1000;
        self.timeline.own(ticks.min(u128::from(u64::MAX)) as u64).unwrap_or(0)
    }

    /// A time of this track, given in ticks of `timescale`, as milliseconds of the presentation.
    pub(crate) fn ms(&self, ticks: u64, timescale: u32) -> u64 {
        let own = u128::from(ticks) * u128::from(self.timescale) / u128::from(timescale.max(1));
        let (dts, _) = self.timeline.place(own.min(u128::from(u64::MAX)) as u64, 0);
        (u128::from(dts) * 1000 / u128::from(self.timescale.max(1))) as u64
    }
}

/// What a `sidx` gives.
#[derive(Debug)]
pub(super) struct Segments {
    /// Where its subsegments start.
    pub(super) points: Vec<Point>,
    /// The end of the last subsegment in the file.
    pub(super) end: u64,
    /// The track it counts by.
    pub(super) track_id: u32,
}

/// Reads a `sidx` whose box ends at `after`.
pub(super) fn read_sidx(
    body: &[u8],
    after: u64,
    file_bytes: u64,
    clocks: &[Clock],
) -> Result<Segments, MediaError> {
    let sidx = boxes::decode::<Sidx>(body)?;
    let clock = clocks.iter().find(|clock| clock.track_id == sidx.reference_id).or(clocks.first());
    let mut offset = after.saturating_add(sidx.first_offset);
    let mut time = sidx.earliest_presentation_time;
    let mut points = Vec::with_capacity(sidx.references.len());
    for reference in &sidx.references {
        let end = offset.saturating_add(u64::from(reference.referenced_size));
        if end > file_bytes {
            return Err(invalid(format!("sidx leads to {end}, past the end of the file at {file_bytes}")));
        }
        if let Some(clock) = clock {
            points.push(Point { offset, time_ms: clock.ms(time, sidx.timescale) });
        }
        offset = end;
        time = time.saturating_add(u64::from(reference.subsegment_duration));
    }
    Ok(Segments { points, end: offset, track_id: sidx.reference_id })
}

/// Reads `mfra` at the file's end, if there is one; points of the first of `clocks` it knows.
pub(super) async fn read_mfra<R: ReadAt>(
    reader: &mut R,
    clocks: &[Clock],
    index_bytes: u64,
) -> Result<Vec<Point>, MediaError> {
    let file_bytes = reader.size();
    let Some(tail) = file_bytes.checked_sub(16) else { return Ok(Vec::new()) };
    let mfro = read::contiguous(reader.read_at(tail, 16).await?);
    if mfro.get(4..8) != Some(b"mfro") {
        return Ok(Vec::new());
    }
    let len = u64::from(boxes::u32_at(&mfro, 12)?);
    let Some(offset) = file_bytes.checked_sub(len).filter(|_| len >= 24 && len <= index_bytes) else {
        return Ok(Vec::new());
    };
    let whole = read::contiguous(reader.read_at(offset, len).await?);
    if whole.get(4..8) != Some(b"mfra") {
        return Ok(Vec::new());
    }
    let mut best: Option<(usize, Vec<Point>)> = None;
    for found in boxes::children(&whole[8..]) {
        let Ok((kind, body)) = found else { break };
        if kind != *b"tfra" {
            continue;
        }
        let Ok(tfra) = boxes::decode::<Tfra>(body) else { continue };
        let Some(rank) = clocks.iter().position(|clock| clock.track_id == tfra.track_id) else { continue };
        if best.as_ref().is_some_and(|(held, _)| *held <= rank) {
            continue;
        }
        let clock = clocks[rank];
        let points = tfra
            .entries
            .iter()
            .map(|entry| Point { offset: entry.moof_offset, time_ms: clock.ms(entry.time, clock.timescale) });
        best = Some((rank, points.filter(|point| point.offset < file_bytes).collect()));
    }
    Ok(best.map(|(_, points)| points).unwrap_or_default())
}
