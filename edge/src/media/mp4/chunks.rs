//! Chunks: where samples stand. `stco` or `co64` gives each chunk's offset, `stsc` how many samples are in it.

use mp4_atom::{Co64, Stco, Stsc};

use super::boxes::{self, invalid};
use crate::media::MediaError;

/// Offsets of chunks, as narrow as the file allows.
#[derive(Debug)]
enum Offsets {
    Narrow(Box<[u32]>),
    Wide(Box<[u64]>),
}

impl Offsets {
    fn read(stbl: &[u8]) -> Result<Self, MediaError> {
        if let Some(body) = boxes::child(stbl, b"stco")? {
            return Ok(Self::Narrow(boxes::decode::<Stco>(body)?.entries.into_boxed_slice()));
        }
        let wide = boxes::decode::<Co64>(boxes::required(stbl, b"co64")?)?.entries;
        if wide.iter().all(|&offset| offset <= u64::from(u32::MAX)) {
            return Ok(Self::Narrow(wide.into_iter().map(|offset| offset as u32).collect()));
        }
        Ok(Self::Wide(wide.into_boxed_slice()))
    }

    fn len(&self) -> usize {
        match self {
            Self::Narrow(offsets) => offsets.len(),
            Self::Wide(offsets) => offsets.len(),
        }
    }

    fn get(&self, chunk: u32) -> u64 {
        match self {
            Self::Narrow(offsets) => offsets.get(chunk as usize).copied().map_or(u64::MAX, u64::from),
            Self::Wide(offsets) => offsets.get(chunk as usize).copied().unwrap_or(u64::MAX),
        }
    }
}

/// Chunks of one number of samples.
#[derive(Clone, Copy, Debug)]
struct Run {
    chunk: u32,
    sample: u32,
    samples_a_chunk: u32,
}

/// The chunks of a track.
#[derive(Debug)]
pub(crate) struct Chunks {
    offsets: Offsets,
    runs: Box<[Run]>,
}

/// A place: a chunk, how many of its samples are left, and where the next one stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChunkPosition {
    run: u32,
    chunk: u32,
    left: u32,
    offset: u64,
}

impl Chunks {
    /// Reads the chunks of a track of `samples` samples and `descriptions` sample descriptions.
    pub(crate) fn read(stbl: &[u8], samples: u32, descriptions: u32) -> Result<Self, MediaError> {
        if samples == 0 {
            return Ok(Self { offsets: Offsets::Narrow(Box::default()), runs: Box::default() });
        }
        let offsets = Offsets::read(stbl)?;
        let count = u32::try_from(offsets.len()).map_err(|_| invalid("stco has too many chunks"))?;
        let entries = boxes::decode::<Stsc>(boxes::required(stbl, b"stsc")?)?.entries;
        let mut runs = Vec::with_capacity(entries.len());
        let mut sample = 0u64;
        for (at, entry) in entries.iter().enumerate() {
            let next = entries.get(at + 1).map_or(u64::from(count) + 1, |next| u64::from(next.first_chunk));
            if at == 0 && entry.first_chunk != 1 {
                return Err(invalid(format!("stsc starts at chunk {}", entry.first_chunk)));
            }
            if u64::from(entry.first_chunk) >= next || next > u64::from(count) + 1 {
                return Err(invalid(format!(
                    "stsc leads from chunk {} to {next} of {count}",
                    entry.first_chunk
                )));
            }
            if entry.samples_per_chunk == 0 {
                return Err(invalid(format!("stsc puts no sample into chunk {}", entry.first_chunk)));
            }
            if entry.sample_description_index == 0 || entry.sample_description_index > descriptions {
                let index = entry.sample_description_index;
                return Err(invalid(format!("stsc names sample description {index} of {descriptions}")));
            }
            if sample < u64::from(samples) {
                let samples_a_chunk = entry.samples_per_chunk;
                runs.push(Run { chunk: entry.first_chunk - 1, sample: sample as u32, samples_a_chunk });
            }
            let chunks = next - u64::from(entry.first_chunk);
            sample = sample.saturating_add(chunks.saturating_mul(u64::from(entry.samples_per_chunk)));
        }
        if sample < u64::from(samples) {
            return Err(invalid(format!("stsc and {count} chunks hold {sample} samples of {samples}")));
        }
        Ok(Self { offsets, runs: runs.into_boxed_slice() })
    }

    /// Memory held, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        let offsets = match &self.offsets {
            Offsets::Narrow(offsets) => size_of_val(&**offsets),
            Offsets::Wide(offsets) => size_of_val(&**offsets),
        };
        offsets + size_of_val(&*self.runs)
    }

    /// Where `sample`'s chunk stands, and the first sample of that chunk. The caller adds what precedes the sample
    /// in it, by [`skip`](Self::skip).
    pub(crate) fn find(&self, sample: u32) -> (ChunkPosition, u32) {
        let at = self.runs.partition_point(|run| run.sample <= sample).saturating_sub(1);
        let Some(run) = self.runs.get(at) else { return (ChunkPosition::default(), 0) };
        let chunks = (sample - run.sample) / run.samples_a_chunk;
        let chunk = run.chunk + chunks;
        let place = ChunkPosition {
            run: at as u32,
            chunk,
            left: run.samples_a_chunk,
            offset: self.offsets.get(chunk),
        };
        (place, run.sample + chunks * run.samples_a_chunk)
    }

    /// Moves on by `samples` samples of the same chunk that take `bytes` bytes.
    pub(crate) fn skip(place: &mut ChunkPosition, samples: u32, bytes: u64) {
        place.left = place.left.saturating_sub(samples);
        place.offset = place.offset.saturating_add(bytes);
    }

    /// Where the sample at a place stands, it being `bytes` long; moves on to the next.
    pub(crate) fn next(&self, place: &mut ChunkPosition, bytes: u32) -> u64 {
        if place.left == 0 {
            place.chunk += 1;
            if self.runs.get(place.run as usize + 1).is_some_and(|next| next.chunk == place.chunk) {
                place.run += 1;
            }
            place.left = self.runs.get(place.run as usize).map_or(1, |run| run.samples_a_chunk);
            place.offset = self.offsets.get(place.chunk);
        }
        let offset = place.offset;
        Self::skip(place, 1, u64::from(bytes));
        offset
    }
}
