//! Blocks in memory: moka, weighed in bytes.

use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{Block, BlockCache, BlockKey};

/// What an entry costs beside its bytes: keys, table, policy.
const ENTRY_BYTES: u32 = 512;

/// Blocks in memory, the least useful evicted first.
pub struct Memory {
    blocks: Cache<BlockKey, Block>,
}

impl Memory {
    /// A cache of `capacity_bytes`.
    pub fn new(capacity_bytes: u64) -> Self {
        let weigh = |_: &BlockKey, block: &Block| {
            ENTRY_BYTES.saturating_add(u32::try_from(block.data.len()).unwrap_or(u32::MAX))
        };
        // The frequency sketch keeps a hot film from being washed out by one long film played once.
        let blocks = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .build();
        Self { blocks }
    }
}

impl BlockCache for Memory {
    fn get(&self, key: &BlockKey) -> Option<Block> {
        self.blocks.get(key)
    }

    fn insert(&self, key: BlockKey, block: Block) {
        self.blocks.insert(key, block);
    }

    fn forget(&self, key: &BlockKey) -> bool {
        self.blocks.remove(key).is_some()
    }

    fn keys(&self) -> Box<dyn Iterator<Item = Arc<BlockKey>> + Send + '_> {
        Box::new(self.blocks.iter().map(|(key, _)| key))
    }

    fn held(&self) -> (u64, u64) {
        self.blocks.run_pending_tasks();
        (self.blocks.weighted_size(), self.blocks.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proto::object::{ObjectKey, ObjectVersion, OriginId};

    fn key(origin: &OriginId, key: &str, index: u64) -> BlockKey {
        BlockKey {
            version: ObjectVersion { object: ObjectKey::new(origin.clone(), key), version: "v".into() },
            index,
        }
    }

    fn block(len: usize) -> Block {
        Block { data: Bytes::from(vec![0; len]), size_bytes: len as u64, content_type: "".into() }
    }

    #[test]
    fn it_holds_no_more_than_its_bytes() {
        let cache = Memory::new(10 << 20);
        let origin = OriginId::of("a", "");
        for index in 0..100 {
            cache.insert(key(&origin, "film", index), block(1 << 20));
        }
        let (bytes, blocks) = cache.held();
        assert!(bytes <= 10 << 20 && blocks <= 10, "{bytes} bytes in {blocks} blocks");
    }

    #[test]
    fn blocks_are_forgotten_one_by_one_also_while_they_are_walked() {
        let cache = Memory::new(10 << 20);
        let (one, two) = (OriginId::of("a", ""), OriginId::of("a", "key"));
        for origin in [&one, &two] {
            (0..50).for_each(|index| cache.insert(key(origin, "films/a", index), block(10)));
        }
        assert_eq!(cache.keys().count(), 100);
        let dropped =
            cache.keys().filter(|key| key.version.object.origin == one && cache.forget(key)).count();
        assert_eq!(dropped, 50);
        assert!(cache.get(&key(&one, "films/a", 0)).is_none());
        assert!(!cache.forget(&key(&one, "films/a", 0)), "it was not here");
        assert!(cache.get(&key(&two, "films/a", 49)).is_some());
        assert_eq!(cache.keys().count(), 50);
    }
}
