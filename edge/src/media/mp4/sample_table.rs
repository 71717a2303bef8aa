//! A track's sample table (`stbl`), compact: which sample stands where, how long it is and when it is due.
//!
//! Times stay run-length coded, sizes take four bytes or none, offsets are kept a chunk, composition offsets take a byte a
//! sample where the file uses few different ones (encoders do): about 6 to 13 bytes a sample. All of it is checked
//! against itself and the file's size when it is read, so that walking it later can't fail; any disagreement is
//! [`MediaError::StructureInvalid`] and names the table.
//!
//! Source: ISO/IEC 14496-12, 8.6 and 8.7.

use mp4_atom::{Ctts, Stss, Stsz, StszSamples, Stts};

use super::boxes::{self, invalid};
use super::chunks::{ChunkPosition, Chunks};
use super::run_length::{Run, RunLength, RunPosition};
use crate::media::{Limits, MediaError};

/// A sample in its track's own times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawSample {
    /// Decoding time, ticks.
    pub(crate) dts: u64,
    /// Where it stands in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) len: u32,
    /// Composition offset, ticks.
    pub(crate) cts: i32,
    /// Whether it is a sync sample.
    pub(crate) sync: bool,
}

#[derive(Debug)]
enum Sizes {
    Equal(u32),
    Each(Box<[u32]>),
}

#[derive(Debug)]
enum Composition {
    None,
    /// A byte a sample, into a dictionary of at most 256 offsets.
    Coded {
        codes: Box<[u8]>,
        offsets: Box<[i32]>,
    },
    Runs(RunLength),
}

/// The table.
#[derive(Debug)]
pub(crate) struct SampleTable {
    count: u32,
    sizes: Sizes,
    times: RunLength,
    composition: Composition,
    chunks: Chunks,
    /// Numbers of the sync samples, from 0; `None` if all are.
    sync: Option<Box<[u32]>>,
    reorder: u32,
    /// Sum of all sizes.
    total_bytes: u64,
}

/// A place in the table: the next sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TablePosition {
    sample: u32,
    dts: u64,
    times: RunPosition,
    composition: RunPosition,
    chunk: ChunkPosition,
    next_sync: u32,
}

impl SampleTable {
    /// Reads the table of a track with `descriptions` sample descriptions, in a file of `file_bytes`.
    pub(crate) fn read(
        stbl: &[u8],
        descriptions: u32,
        file_bytes: u64,
        limits: &Limits,
    ) -> Result<Self, MediaError> {
        let (count, sizes) = read_sizes(stbl, limits)?;
        let stts = boxes::decode::<Stts>(boxes::required(stbl, b"stts")?)?.entries;
        let times = RunLength::new(stts.iter().map(|e| Run { count: e.sample_count, value: e.sample_delta }));
        if times.samples() != u64::from(count) {
            return Err(invalid(format!("stts times {} samples of {count}", times.samples())));
        }
        if times.runs().iter().any(|run| run.value > i32::MAX as u32) {
            return Err(invalid("stts has a negative duration"));
        }
        let (composition, reorder) = read_composition(stbl, count)?;
        let mut table = Self {
            count,
            sizes,
            times,
            composition,
            chunks: Chunks::read(stbl, count, descriptions)?,
            sync: read_sync(stbl, count)?,
            reorder,
            total_bytes: 0,
        };
        table.check(file_bytes, limits)?;
        Ok(table)
    }

    /// Walks the whole table once: each sample must lie within the file and be of a bearable length.
    fn check(&mut self, file_bytes: u64, limits: &Limits) -> Result<(), MediaError> {
        let mut at = self.position(0);
        while let Some(sample) = self.next(&mut at) {
            if sample.len > limits.sample_bytes {
                let most = limits.sample_bytes;
                return Err(invalid(format!("stsz has a sample of {} bytes; at most {most}", sample.len)));
            }
            if sample.offset.checked_add(u64::from(sample.len)).is_none_or(|end| end > file_bytes) {
                return Err(invalid(format!(
                    "sample {} at {}+{} passes the end of the file at {file_bytes}",
                    at.sample, sample.offset, sample.len
                )));
            }
            self.total_bytes += u64::from(sample.len);
        }
        Ok(())
    }

    /// How many samples.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// The track's length: the sum of its samples' durations, ticks.
    pub(crate) fn duration(&self) -> u64 {
        self.times.sum()
    }

    /// The sum of its samples' lengths.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The one duration all samples but the last have, if there is one.
    pub(crate) fn steady_duration(&self) -> Option<u32> {
        match self.times.runs() {
            [run] => Some(run.value),
            [run, last] if last.count == 1 => Some(run.value),
            _ => None,
        }
    }

    /// How far the most negative composition offset reaches back, ticks.
    pub(crate) fn reorder(&self) -> u32 {
        self.reorder
    }

    /// The length all samples have, if the file gives one for all.
    pub(crate) fn equal_size(&self) -> Option<u32> {
        match self.sizes {
            Sizes::Equal(size) => Some(size),
            Sizes::Each(_) => None,
        }
    }

    /// Memory held, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        let sizes = match &self.sizes {
            Sizes::Equal(_) => 0,
            Sizes::Each(sizes) => size_of_val(&**sizes),
        };
        let composition = match &self.composition {
            Composition::None => 0,
            Composition::Coded { codes, offsets } => codes.len() + size_of_val(&**offsets),
            Composition::Runs(runs) => runs.weight_bytes(),
        };
        let sync = self.sync.as_ref().map_or(0, |sync| size_of_val(&**sync));
        size_of::<Self>()
            + sizes
            + composition
            + sync
            + self.times.weight_bytes()
            + self.chunks.weight_bytes()
    }

    /// The last sample whose decoding time is `dts` or less; 0 if there is none.
    pub(crate) fn at_or_before(&self, dts: u64) -> u32 {
        self.times.find_sum(dts).min(self.count.saturating_sub(1))
    }

    /// The first sample whose decoding time is `dts` or more; the count of samples if there is none.
    pub(crate) fn at_or_after(&self, dts: u64) -> u32 {
        if dts > self.duration() {
            return self.count;
        }
        match dts.checked_sub(1) {
            Some(before) if self.count > 0 => self.at_or_before(before) + 1,
            _ => 0,
        }
    }

    /// The last sync sample that is `sample` or before it and has bytes: an empty one isn't sent, so nothing could start with it.
    pub(crate) fn sync_at_or_before(&self, sample: u32) -> Option<u32> {
        let has_bytes = |number: &u32| match &self.sizes {
            Sizes::Equal(size) => *size > 0,
            Sizes::Each(sizes) => sizes.get(*number as usize).is_some_and(|&size| size > 0),
        };
        match &self.sync {
            None => (0..=sample).rev().find(has_bytes),
            Some(sync) => {
                let after = sync.partition_point(|&number| number <= sample);
                sync.get(..after)?.iter().rev().copied().find(has_bytes)
            }
        }
    }

    /// The place of `sample`. Costs a binary search and a walk within one chunk.
    pub(crate) fn position(&self, sample: u32) -> TablePosition {
        let (times, dts) = self.times.find_sample(sample);
        let composition = match &self.composition {
            Composition::Runs(runs) => runs.find_sample(sample).0,
            _ => RunPosition::default(),
        };
        let (mut chunk, first) = self.chunks.find(sample.min(self.count.saturating_sub(1)));
        let past = match &self.sizes {
            Sizes::Equal(size) => u64::from(sample - first) * u64::from(*size),
            Sizes::Each(sizes) => sizes
                .get(first as usize..sample as usize)
                .map_or(0, |sizes| sizes.iter().map(|&size| u64::from(size)).sum()),
        };
        Chunks::skip(&mut chunk, sample - first, past);
        let next_sync = self.sync.as_ref().map_or(0, |sync| sync.partition_point(|&number| number < sample));
        TablePosition { sample, dts, times, composition, chunk, next_sync: next_sync as u32 }
    }

    /// The sample at a place, moving on to the next; `None` at the end.
    pub(crate) fn next(&self, at: &mut TablePosition) -> Option<RawSample> {
        if at.sample >= self.count {
            return None;
        }
        let len = match &self.sizes {
            Sizes::Equal(size) => *size,
            Sizes::Each(sizes) => sizes.get(at.sample as usize).copied()?,
        };
        let cts = match &self.composition {
            Composition::None => 0,
            Composition::Coded { codes, offsets } => {
                let code = codes.get(at.sample as usize).copied().unwrap_or(0);
                offsets.get(code as usize).copied().unwrap_or(0)
            }
            Composition::Runs(runs) => runs.next(&mut at.composition) as i32,
        };
        let sync = match &self.sync {
            None => true,
            Some(sync) => {
                let hit = sync.get(at.next_sync as usize) == Some(&at.sample);
                at.next_sync += u32::from(hit);
                hit
            }
        };
        let sample = RawSample { dts: at.dts, offset: self.chunks.next(&mut at.chunk, len), len, cts, sync };
        at.dts = at.dts.saturating_add(u64::from(self.times.next(&mut at.times)));
        at.sample += 1;
        Some(sample)
    }
}

/// Number and sizes of the samples: `stsz`, or the packed `stz2`.
fn read_sizes(stbl: &[u8], limits: &Limits) -> Result<(u32, Sizes), MediaError> {
    let (count, sizes) = if let Some(body) = boxes::child(stbl, b"stsz")? {
        let said = boxes::u32_at(body, 8)?;
        check_count(said, limits)?;
        match boxes::decode::<Stsz>(body)?.samples {
            StszSamples::Identical { count, size } => (count, Sizes::Equal(size)),
            StszSamples::Different { sizes } => (said, Sizes::Each(sizes.into_boxed_slice())),
        }
    } else {
        let body = boxes::required(stbl, b"stz2")?;
        let bits = body.get(7).copied().unwrap_or(0);
        let said = boxes::u32_at(body, 8)?;
        check_count(said, limits)?;
        let packed = body.get(12..).unwrap_or_default();
        let sizes: Vec<u32> = match bits {
            4 => packed
                .iter()
                .flat_map(|b| [u32::from(b >> 4), u32::from(b & 15)])
                .take(said as usize)
                .collect(),
            8 => packed.iter().map(|&b| u32::from(b)).take(said as usize).collect(),
            16 => packed
                .chunks_exact(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                .take(said as usize)
                .collect(),
            _ => return Err(invalid(format!("stz2 has sizes of {bits} bits"))),
        };
        if sizes.len() != said as usize {
            return Err(invalid(format!("stz2 has {} sizes of {said}", sizes.len())));
        }
        (said, Sizes::Each(sizes.into_boxed_slice()))
    };
    Ok((count, sizes))
}

fn check_count(count: u32, limits: &Limits) -> Result<(), MediaError> {
    if u64::from(count) > limits.samples {
        return Err(invalid(format!("stsz has {count} samples; at most {} are held", limits.samples)));
    }
    Ok(())
}

/// Composition offsets, and how far the most negative one reaches.
fn read_composition(stbl: &[u8], count: u32) -> Result<(Composition, u32), MediaError> {
    let Some(body) = boxes::child(stbl, b"ctts")? else { return Ok((Composition::None, 0)) };
    let entries = boxes::decode::<Ctts>(body)?.entries;
    // Version 0 is unsigned, but QuickTime wrote signed offsets into it; offsets of 2^31 ticks don't occur otherwise.
    let runs =
        RunLength::new(entries.iter().map(|e| Run { count: e.sample_count, value: e.sample_offset as u32 }));
    drop(entries);
    if runs.samples() > u64::from(count) {
        return Err(invalid(format!("ctts composes {} samples of {count}", runs.samples())));
    }
    let least = runs.runs().iter().map(|run| run.value as i32).min().unwrap_or(0);
    // A shift of more than 2^28 ticks would be no reordering but damage.
    if least < -(1 << 28) {
        return Err(invalid(format!("ctts has an offset of {least}")));
    }
    let reorder = least.min(0).unsigned_abs();
    if runs.runs().iter().all(|run| run.value == 0) {
        return Ok((Composition::None, 0));
    }
    let mut offsets: Vec<i32> = Vec::new();
    for run in runs.runs() {
        let value = run.value as i32;
        if offsets.len() > 256 {
            break;
        }
        if !offsets.contains(&value) {
            offsets.push(value);
        }
    }
    if offsets.len() > 255 || runs.weight_bytes() <= count as usize {
        return Ok((Composition::Runs(runs), reorder));
    }
    let mut codes = Vec::with_capacity(count as usize);
    for run in runs.runs() {
        let code = offsets.iter().position(|&value| value == run.value as i32).unwrap_or(0) as u8;
        codes.resize(codes.len() + run.count as usize, code);
    }
    if codes.len() < count as usize {
        // A short table: the rest is composed when it is decoded.
        let code = offsets.iter().position(|&value| value == 0).unwrap_or(offsets.len());
        if code == offsets.len() {
            offsets.push(0);
        }
        codes.resize(count as usize, code as u8);
    }
    let (codes, offsets) = (codes.into_boxed_slice(), offsets.into_boxed_slice());
    Ok((Composition::Coded { codes, offsets }, reorder))
}

fn read_sync(stbl: &[u8], count: u32) -> Result<Option<Box<[u32]>>, MediaError> {
    let Some(body) = boxes::child(stbl, b"stss")? else { return Ok(None) };
    let mut numbers = boxes::decode::<Stss>(body)?.entries;
    let ascending = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || numbers.first() == Some(&0) || numbers.last().is_some_and(|&last| last > count) {
        return Err(invalid(format!("stss is not an ascending list of samples 1 to {count}")));
    }
    numbers.iter_mut().for_each(|number| *number -= 1);
    if numbers.len() == count as usize {
        return Ok(None);
    }
    Ok(Some(numbers.into_boxed_slice()))
}
