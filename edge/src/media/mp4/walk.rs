//! Walking forward through the fragments of a film, box by box, as far as bytes are in memory.
//!
//! The walk never waits: it says which bytes it lacks. [`Walk::wait`] does the waiting for who may (opening, seeking).

use super::LANES_MAX;
use super::boxes::{self, HEADER_BYTES_MAX, invalid};
use super::fragment::{Fragment, FragmentTrack};
use crate::media::MediaError;
use crate::object::{ReadAt, Slices, read};

/// Largest `moof` read.
const MOOF_BYTES_MAX: u64 = 16 << 20;

/// Most boxes passed over between two fragments; packagers put a handful there.
const BOXES_MAX: u32 = 1024;

/// What walking needs to know of the film.
#[derive(Clone, Debug)]
pub(crate) struct Terrain {
    /// The file's length.
    pub(crate) file_bytes: u64,
    /// Largest sample.
    pub(crate) sample_bytes_max: u32,
    /// Most fragments walked through in search of a time.
    pub(crate) fragments_max: usize,
    /// The chosen tracks, in the order of the film's lanes.
    pub(crate) tracks: Vec<FragmentTrack>,
}

/// A place between two boxes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    /// Where the next box starts.
    pub(crate) at: u64,
    /// Where each track's samples go on, for fragments that don't say.
    pub(crate) next_dts: [u64; LANES_MAX],
    /// Boxes passed over since the last fragment.
    passed: u32,
}

/// What walking came upon.
#[derive(Debug)]
pub(crate) enum Found {
    /// A fragment; the walk stands behind its `moof`.
    Fragment(Box<Fragment>),
    /// These bytes are needed first.
    Need {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// The file has ended.
    End,
}

impl Walk {
    /// A place where each track's samples go on at these times.
    pub(crate) fn at(offset: u64, dts: impl Iterator<Item = u64>) -> Self {
        let mut walk = Self { at: offset, ..Self::default() };
        walk.next_dts.iter_mut().zip(dts).for_each(|(next, dts)| *next = dts);
        walk
    }

    /// Goes on to the next fragment with what `buffered` has.
    pub(crate) fn next(
        &mut self,
        terrain: &Terrain,
        mut buffered: impl FnMut(u64, u64) -> Option<Slices>,
    ) -> Result<Found, MediaError> {
        loop {
            let available = terrain.file_bytes.saturating_sub(self.at);
            if available < 8 {
                return Ok(Found::End);
            }
            let head = HEADER_BYTES_MAX.min(available);
            let Some(bytes) = buffered(self.at, head) else {
                return Ok(Found::Need { offset: self.at, len: head });
            };
            let header = boxes::header(&read::contiguous(bytes), available)?;
            if header.kind == *b"moof" {
                return self.fragment(header, terrain, buffered);
            }
            self.passed += 1;
            if self.passed > BOXES_MAX {
                return Err(invalid(format!(
                    "over {BOXES_MAX} boxes before byte {} without a fragment",
                    self.at
                )));
            }
            self.at += header.total_bytes;
        }
    }

    fn fragment(
        &mut self,
        header: boxes::Header,
        terrain: &Terrain,
        mut buffered: impl FnMut(u64, u64) -> Option<Slices>,
    ) -> Result<Found, MediaError> {
        if header.total_bytes > MOOF_BYTES_MAX {
            return Err(invalid(format!(
                "moof of {} bytes; at most {MOOF_BYTES_MAX} are read",
                header.total_bytes
            )));
        }
        // Header and body in one range: whoever fetches it can read the header again from the same bytes.
        let Some(bytes) = buffered(self.at, header.total_bytes) else {
            return Ok(Found::Need { offset: self.at, len: header.total_bytes });
        };
        let bytes = read::contiguous(bytes);
        let body = bytes.get(header.header_bytes as usize..).unwrap_or_default();
        let Terrain { file_bytes, sample_bytes_max, tracks, .. } = terrain;
        let fragment = Fragment::read(body, self.at, *file_bytes, *sample_bytes_max, tracks, self.next_dts)?;
        self.at += header.total_bytes;
        self.passed = 0;
        for (next, end) in self.next_dts.iter_mut().zip(fragment.ends) {
            *next = end.unwrap_or(*next);
        }
        Ok(Found::Fragment(Box::new(fragment)))
    }

    /// As [`next`](Self::next), waiting for bytes; `None` at the end.
    pub(crate) async fn wait<R: ReadAt>(
        &mut self,
        terrain: &Terrain,
        reader: &mut R,
    ) -> Result<Option<Fragment>, MediaError> {
        let mut held = (0, bytes::Bytes::new());
        loop {
            let found = self.next(terrain, |offset, len| {
                let start = offset.checked_sub(held.0).filter(|start| start + len <= held.1.len() as u64);
                match start {
                    Some(start) => {
                        Some(std::iter::once(held.1.slice(start as usize..(start + len) as usize)).collect())
                    }
                    None => reader.buffered(offset, len),
                }
            })?;
            match found {
                Found::Fragment(fragment) => return Ok(Some(*fragment)),
                Found::End => return Ok(None),
                Found::Need { offset, len } => {
                    held = (offset, read::contiguous(reader.read_at(offset, len).await?));
                }
            }
        }
    }
}
