//! Byte ranges, and how they fall into blocks, runs and ring segments.
//!
//! * a **block** (1 MiB, aligned) is what caches hold and what one fill brings;
//! * a **run** is a sequence of neighbouring missing blocks fetched by one GET, by default up to 8 MiB;
//! * a **segment** (16 MiB, aligned) is what the ring places, so one long film spreads over shields while a run stays on
//!   one.
//!
//! All arithmetic is on `u64`; ends are exclusive.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;

/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Bytes a single GET brings at most, by default.
pub const RUN_BYTES: u64 = 8 << 20;
/// Bytes of a ring segment.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// `[start, end)` in bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// `[start, end)`; an end before the start makes an empty range.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    /// `len` bytes from `start`.
    pub fn at(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// The part of it inside `[0, size)`.
    pub fn clip(&self, size: u64) -> Self {
        Self::new(self.start.min(size), self.end.min(size))
    }

    /// The indices of the blocks it touches.
    pub fn blocks(&self) -> std::ops::Range<u64> {
        if self.is_empty() {
            return self.start / BLOCK_BYTES..self.start / BLOCK_BYTES;
        }
        self.start / BLOCK_BYTES..(self.end - 1) / BLOCK_BYTES + 1
    }

    /// The smallest range of whole blocks that covers it, clipped to an object of `size` bytes.
    pub fn align(&self, size: u64) -> Self {
        let blocks = self.blocks();
        Self::new(blocks.start * BLOCK_BYTES, blocks.end.saturating_mul(BLOCK_BYTES)).clip(size)
    }

    /// Splits it at multiples of `unit`, in order.
    pub fn split(&self, unit: u64) -> impl Iterator<Item = ByteRange> + use<> {
        let (mut at, end) = (self.start, self.end);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let next = (at / unit + 1).saturating_mul(unit).min(end);
            let part = ByteRange { start: at, end: next };
            at = next;
            Some(part)
        })
    }
}

/// The range of block `index` in an object of `size` bytes; empty past the end.
pub fn block_range(index: u64, size: u64) -> ByteRange {
    ByteRange::at(index.saturating_mul(BLOCK_BYTES), BLOCK_BYTES).clip(size)
}

/// The ring segment that holds byte `offset`.
pub fn segment_of(offset: u64) -> u64 {
    offset / SEGMENT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_split_covers_its_range_without_gap_or_overlap(start in 0u64..1 << 40, len in 0u64..1 << 28, unit in 1u64..1 << 26) {
            let range = ByteRange::at(start, len);
            let mut at = start;
            if len / unit < 10_000 {
                for part in range.split(unit) {
                    prop_assert_eq!(part.start, at);
                    prop_assert!(!part.is_empty());
                    prop_assert_eq!(part.start / unit, (part.end - 1) / unit);
                    at = part.end;
                }
                prop_assert_eq!(at, range.end);
            }
        }

        #[test]
        fn aligned_blocks_cover_the_range(start in 0u64..1 << 40, len in 1u64..1 << 24, size in 1u64..1 << 41) {
            let range = ByteRange::at(start, len).clip(size);
            let aligned = range.align(size);
            prop_assert!(range.is_empty() || (aligned.start <= range.start && aligned.end >= range.end));
            let sum: u64 = range.blocks().map(|i| block_range(i, size).len()).sum();
            prop_assert_eq!(sum, aligned.len());
        }
    }

    #[test]
    fn the_largest_offsets_do_not_overflow() {
        let range = ByteRange::at(u64::MAX - 10, 100);
        assert_eq!(range.end, u64::MAX);
        assert!(range.align(u64::MAX).end == u64::MAX);
        assert!(block_range(u64::MAX, u64::MAX).is_empty());
    }
}
