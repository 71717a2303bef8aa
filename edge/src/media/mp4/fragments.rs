//! The fragments of a film, as far as they are known: where to start walking for a given time.
//!
//! What an index in the file says (`sidx`, `mfra`) is kept as it is; what walks come upon is remembered beside it, within a
//! bound, by whichever viewer walked there, so that the next one starts closer. Nothing here is exact: a point
//! is a fragment that starts at or before a time, and the walk from there finds the sample.

use std::sync::{Mutex, PoisonError};

use super::walk::Terrain;

pub(crate) mod discover;
pub(crate) mod segment_index;

/// Most points remembered; when they are as many, each second one is forgotten.
const LEARNED_MAX: usize = 4096;

/// A fragment that can be started at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Where its `moof` (or a box before it) starts.
    pub(crate) offset: u64,
    /// When it starts, milliseconds of the presentation.
    pub(crate) time_ms: u64,
}

/// Where fragments are.
#[derive(Debug)]
pub(crate) struct Fragments {
    /// How to read them.
    pub(crate) terrain: Terrain,
    /// Where the first can be found: the end of `moov`.
    pub(crate) first: u64,
    /// What the file's index says, ascending.
    points: Box<[Point]>,
    /// What walks found, ascending. Held for a binary search or an insertion, never across a wait.
    learned: Mutex<Vec<Point>>,
}

impl Fragments {
    /// Fragments behind `first`, with the points the file's index gives, ascending.
    pub(crate) fn new(terrain: Terrain, first: u64, points: Vec<Point>) -> Self {
        Self { terrain, first, points: points.into_boxed_slice(), learned: Mutex::default() }
    }

    /// The nearest known point at or before a time, and before `offset`.
    pub(crate) fn before(&self, time_ms: u64, offset: u64) -> Option<Point> {
        let last = |points: &[Point]| {
            let at = points.partition_point(|point| point.time_ms <= time_ms && point.offset < offset);
            at.checked_sub(1).and_then(|at| points.get(at)).copied()
        };
        let learned = last(&self.learned.lock().unwrap_or_else(PoisonError::into_inner));
        last(&self.points).into_iter().chain(learned).max_by_key(|point| point.offset)
    }

    /// Remembers a fragment that starts with a sync sample.
    pub(crate) fn learn(&self, found: Point) {
        if self.points.binary_search_by_key(&found.offset, |point| point.offset).is_ok() {
            return;
        }
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(at) = learned.binary_search_by_key(&found.offset, |point| point.offset) else { return };
        let after = at == 0 || learned.get(at - 1).is_some_and(|point| point.time_ms <= found.time_ms);
        if !after || learned.get(at).is_some_and(|point| point.time_ms < found.time_ms) {
            return;
        }
        learned.insert(at, found);
        if learned.len() >= LEARNED_MAX {
            let mut keep = false;
            learned.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Memory held at most, in bytes: what may yet be learned counts, because the weight of an index is taken once.
    pub(crate) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.points) + LEARNED_MAX * size_of::<Point>()
    }
}
