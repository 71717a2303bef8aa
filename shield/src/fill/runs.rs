//! Neighbouring missing blocks, merged to GETs.
//!
//! A run never crosses a ring segment: what lies beyond belongs to another shield.

use std::ops::Range;

use proto::range::{BLOCK_BYTES, SEGMENT_BYTES};

const SEGMENT_BLOCKS: u64 = SEGMENT_BYTES / BLOCK_BYTES;

/// Groups ascending block indices into runs of at most `run_blocks`.
pub(crate) fn merge(missing: impl IntoIterator<Item = u64>, run_blocks: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for index in missing {
        match runs.last_mut() {
            Some(run)
                if run.end == index
                    && run.end - run.start < run_blocks
                    && run.start / SEGMENT_BLOCKS == index / SEGMENT_BLOCKS =>
            {
                run.end += 1;
            }
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_merge_up_to_a_run() {
        assert_eq!(merge([0, 1, 2, 5, 6, 9], 8), [0..3, 5..7, 9..10]);
        assert_eq!(merge(0..20, 8), [0..8, 8..16, 16..20]);
        assert_eq!(merge(12..20, 8), [12..16, 16..20]);
        assert_eq!(merge([], 8), []);
    }

    proptest! {
        #[test]
        fn runs_hold_each_block_once(blocks in proptest::collection::btree_set(0u64..200, 0..100), run in 1u64..20) {
            let runs = merge(blocks.iter().copied(), run);
            prop_assert!(runs.iter().all(|r| r.end - r.start <= run));
            prop_assert_eq!(runs.into_iter().flatten().collect::<Vec<_>>(), blocks.into_iter().collect::<Vec<_>>());
        }
    }
}
