//! Objects as the edge sees them: bytes of one version, by range.
//!
//! ```text
//! session ── ObjectReader (a few blocks, read-ahead) ── BlockCache (shared, weighed) ── RangeSource ── shield
//! ```
//!
//! * [`read`]: how media code reads: waiting ([`ReadAt::read_at`]) or at once ([`ReadAt::buffered`]);
//! * [`reader`]: one viewer's position in one object version, its window of blocks and its read-ahead;
//! * [`blocks`]: the edge's block cache, one in-flight fetch a block however many viewers ask;
//! * `cache`, `block`: the blocks kept, each charged to the [`Budget`](crate::budget::Budget) while anybody holds a byte of it;
//! * [`parse`]: how much may be held while media indexes are built;
//! * [`source`]: the seam towards shields.

mod block;
pub mod blocks;
mod cache;
pub mod parse;
pub mod read;
pub mod reader;
pub mod source;

pub use read::{ReadAt, ReadError, Slices};
pub use reader::ObjectReader;
pub use source::RangeSource;
