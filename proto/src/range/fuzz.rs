//! Fuzz target: range arithmetic, whose numbers come from clients and from S3.

use super::{BLOCK_BYTES, ByteRange, SEGMENT_BYTES, block_range, segment_of};
use crate::fuzzing::Input;

/// Parts examined of a range that splits into very many.
const PARTS: usize = 64;

/// Clipping, aligning and splitting lose and invent no byte, at the largest offsets too.
pub fn ranges(data: &[u8]) {
    let mut input = Input::new(data);
    let near = |input: &mut Input| match input.below(3) {
        0 => input.u64(),
        1 => u64::from(input.u32()),
        // Around the places where arithmetic goes wrong.
        _ => {
            let corner = *input.choose(&[0, BLOCK_BYTES, SEGMENT_BYTES, 1 << 32, i64::MAX as u64, u64::MAX]);
            corner.wrapping_add(u64::from(input.u8())).wrapping_sub(128)
        }
    };
    let (start, len, size, unit) =
        (near(&mut input), near(&mut input), near(&mut input), near(&mut input).max(1));
    let range = ByteRange::at(start, len);
    assert!(range.start == start && range.len() <= len);
    assert_eq!(range.start >= range.end, range.is_empty());

    let clipped = range.clip(size);
    assert!(clipped.start <= clipped.end && clipped.end <= size);
    assert!(clipped.is_empty() || clipped.start >= range.start && clipped.end <= range.end);
    assert_eq!(clipped.clip(size), clipped);

    let aligned = clipped.align(size);
    assert!(aligned.end <= size && aligned.start.is_multiple_of(BLOCK_BYTES) || aligned.is_empty());
    assert!(clipped.is_empty() || aligned.start <= clipped.start && clipped.end <= aligned.end);
    let blocks = clipped.blocks();
    if blocks.end - blocks.start < PARTS as u64 {
        let sum: u64 = blocks.clone().map(|index| block_range(index, size).len()).sum();
        assert_eq!(sum, aligned.len());
    }
    for index in blocks.take(PARTS) {
        let block = block_range(index, size);
        assert!(!block.is_empty() && block.start < clipped.end && block.end > clipped.start);
        assert_eq!(segment_of(block.start), segment_of(block.end - 1), "a block has one home");
    }

    let mut at = range.start;
    for part in range.split(unit).take(PARTS) {
        assert!(part.start == at && part.end > part.start && part.end <= range.end);
        assert_eq!(part.start / unit, (part.end - 1) / unit);
        at = part.end;
    }
    if range.len() / unit < PARTS as u64 - 2 {
        assert_eq!(at, range.end);
    }
}
