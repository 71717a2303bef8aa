//! Where blocks stay.
//!
//! [`BlockCache`] is the seam: [`memory`] is the one there is, a disk below it comes later. A block's key starts with its
//! origin, which stands for the credential too, so a block read with one credential is never found through another. A block
//! belongs to one version and never changes; freshness is a matter of the `stat` cache alone.

use std::sync::Arc;

use bytes::Bytes;
use proto::object::ObjectVersion;

pub mod memory;

/// Entries of a cache that a purge looks at before it lets others have the thread: well under a millisecond.
pub(crate) const WALK_AT_ONCE: usize = 1024;

/// Names one block of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// The object's version.
    pub version: ObjectVersion,
    /// Which block, counted from 0.
    pub index: u64,
}

/// A block and what its messages say of the object. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its bytes: 1 MiB, or less at the object's end.
    pub data: Bytes,
    /// The whole object's length in bytes.
    pub size_bytes: u64,
    /// `Content-Type`, empty for none.
    pub content_type: Arc<str>,
}

/// A bounded store of blocks. It may forget any block at any time, and never alters one.
pub trait BlockCache: Send + Sync + 'static {
    /// The block, if it is here. Must not block for I/O: fills ask under a lock.
    fn get(&self, key: &BlockKey) -> Option<Block>;
    /// Keeps a block.
    fn insert(&self, key: BlockKey, block: Block);
    /// Forgets a block; whether it was here.
    fn forget(&self, key: &BlockKey) -> bool;
    /// The blocks that are here and stay while it is walked. The walk is long: it must hold nobody up, nor be held up by changes.
    fn keys(&self) -> Box<dyn Iterator<Item = Arc<BlockKey>> + Send + '_>;
    /// Bytes held, and blocks.
    fn held(&self) -> (u64, u64);
}
