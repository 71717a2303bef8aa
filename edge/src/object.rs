//! Objects as the edge sees them: bytes of one version, by range.
//!
//! ```text
//! session ── ObjectReader (a few blocks, read-ahead) ── BlockCache (shared, weighed) ── RangeSource ── shield
//! ```
//!
//! * [`read`]: how media code reads: waiting ([`ReadAt::read_at`]) or at once ([`ReadAt::buffered`]);
//! * [`reader`]: one viewer's position in one object version, its window of blocks and its read-ahead;
//! * [`blocks`]: the edge's block cache, one in-flight fetch a block however many viewers ask;
//! * [`source`]: the seam towards shields;

pub mod blocks;
pub mod read;
pub mod reader;
pub mod source;

pub use read::{ReadAt, ReadError, Slices};
pub use reader::ObjectReader;
pub use source::RangeSource;
