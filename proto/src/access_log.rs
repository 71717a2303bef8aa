//! Access logs on their way from an edge to control: records, and the segments that carry them.
//!
//! An edge appends one [`AccessRecord`](crate::v1::AccessRecord) an event to a segment on its disk. When the segment is large or old enough it is
//! *sealed* with a footer that tells what is in it, and never changed again; it is shipped, staged and read as these same bytes. A segment
//! has a name of its own, [`SegmentId`], so handing it over twice is noticed.
//!
//! ```text
//! segment  = header frame, record frames, footer frame
//! frame    = length u32 le │ CRC-32 u32 le │ kind u8 │ payload        length is the payload's; the CRC covers kind and payload
//! payload  = SegmentHeader, AccessRecord or SegmentFooter (protobuf)
//! ```
//!
//! [`frame`] writes and reads frames and finds where a torn file ends; [`segment`] is the whole.

pub mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
pub mod segment;

pub use frame::{Frame, FrameError, Frames};
pub use segment::{Segment, SegmentError, SegmentId, SegmentWriter};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// 2009-01-01T00:00:00Z, in hours since 1970. No edge ran before that: a clock that says less was never set.
pub const FIRST_HOUR: u32 = 341_880;
/// The last hour of the year 9999: dates have four digits.
const LAST_HOUR: u32 = 70_389_527;

/// Whether a clock that was set can say so.
pub fn is_plausible_ms(time_ms: u64) -> bool {
    (FIRST_HOUR..=LAST_HOUR).contains(&hour_of(time_ms))
}

/// The UTC hour of a time, in hours since 1970.
pub fn hour_of(time_ms: u64) -> u32 {
    u32::try_from(time_ms / HOUR_MS).unwrap_or(u32::MAX)
}

/// The first millisecond of an hour.
pub fn hour_starts_ms(hour: u32) -> u64 {
    u64::from(hour) * HOUR_MS
}

#[cfg(test)]
mod tests;
