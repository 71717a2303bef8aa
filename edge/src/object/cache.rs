//! The blocks an edge keeps: a clock over whole blocks, weighed in bytes.
//!
//! Exact and at once: an evicted block is out of the accounts when `insert` returns, and a purge has happened when it returns. That is
//! why this is not a general cache library: those evict in the background and may refuse a block that was just fetched, which for
//! read-ahead means fetching twice.
//!
//! Eviction takes the oldest block that was not asked for since the hand last passed. Blocks that sessions hold are passed over
//! for a while, because dropping them frees nothing and costs the next viewer a fetch; after [`SPARED`] of them the oldest goes
//! anyway, so that one insert stays cheap.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::object::ObjectVersion;

use super::block::Block;
use crate::budget::Charge;

/// Lent blocks that one eviction passes over at most.
const SPARED: usize = 64;

/// Names one block of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlockId {
    pub(super) version: ObjectVersion,
    pub(super) index: u64,
}

struct Entry {
    block: Block,
    /// Asked for since the hand last passed.
    used: bool,
}

struct Kept {
    entries: HashMap<BlockId, Entry>,
    /// Each entry's id exactly once; the hand takes from the front.
    clock: VecDeque<BlockId>,
    charge: Charge,
}

/// Blocks in memory, at most `capacity_bytes` of them.
pub(super) struct Cache {
    kept: Mutex<Kept>,
    capacity_bytes: u64,
}

impl Cache {
    /// An empty one that keeps its figure in `charge`.
    pub(super) fn new(capacity_bytes: u64, charge: Charge) -> Self {
        let kept = Kept { entries: HashMap::new(), clock: VecDeque::new(), charge };
        Self { kept: Mutex::new(kept), capacity_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block that is here, which counts as a use.
    pub(super) fn get(&self, id: &BlockId) -> Option<Block> {
        let mut kept = self.lock();
        let entry = kept.entries.get_mut(id)?;
        entry.used = true;
        Some(entry.block.clone())
    }

    /// Whether a block is here; no use of it.
    pub(super) fn contains(&self, id: &BlockId) -> bool {
        self.lock().entries.contains_key(id)
    }

    /// Keeps `block`, and drops others for it.
    pub(super) fn insert(&self, id: BlockId, block: Block) {
        // Dropped outside the lock: freeing megabytes takes a while.
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        let mut bytes = kept.charge.bytes() + block.len();
        // A block that is here already is replaced where it stands.
        let old = kept.entries.insert(id.clone(), Entry { block, used: false });
        let newcomer = old.is_none().then_some(id);
        if let Some(old) = old {
            bytes -= old.block.len();
            dropped.push(old);
        }
        let (mut spared, most) = (0, SPARED.min(kept.clock.len()));
        while bytes > self.capacity_bytes {
            let Some(id) = kept.clock.pop_front() else { break };
            let Some(entry) = kept.entries.get_mut(&id) else { continue };
            if std::mem::take(&mut entry.used) {
                kept.clock.push_back(id);
            } else if spared < most && entry.block.is_lent() {
                spared += 1;
                kept.clock.push_back(id);
            } else if let Some(entry) = kept.entries.remove(&id) {
                bytes -= entry.block.len();
                dropped.push(entry);
            }
        }
        // Last, so that it isn't dropped for itself while all others are lent.
        kept.clock.extend(newcomer);
        kept.charge.set(bytes);
    }

    /// Drops the blocks of versions that fit.
    pub(super) fn purge(&self, fits: impl Fn(&ObjectVersion) -> bool) {
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        let Kept { entries, clock, charge } = &mut *kept;
        let mut bytes = charge.bytes();
        clock.retain(|id| {
            let goes = fits(&id.version);
            if goes && let Some(entry) = entries.remove(id) {
                bytes -= entry.block.len();
                dropped.push(entry);
            }
            !goes
        });
        charge.set(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proto::object::{ObjectKey, OriginId};

    use super::*;
    use crate::budget::Account;

    struct Setup {
        cache: Cache,
        alive: Arc<Account>,
        cached: Arc<Account>,
    }

    /// A cache for three blocks of 100 bytes.
    fn setup() -> Setup {
        let (alive, cached) = (Arc::<Account>::default(), Arc::<Account>::default());
        Setup { cache: Cache::new(300, Charge::new(&cached, 0)), alive, cached }
    }

    impl Setup {
        fn insert(&self, index: u64) {
            self.cache.insert(id(index), Block::new(vec![index as u8; 100].into(), &self.alive));
        }

        fn held(&self) -> Vec<u64> {
            (0..200).filter(|i| self.cache.contains(&id(*i))).collect()
        }
    }

    fn id(index: u64) -> BlockId {
        let object = ObjectKey::new(OriginId::from_wire("o"), if index < 100 { "a" } else { "b" });
        BlockId { version: ObjectVersion { object, version: "v".into() }, index }
    }

    #[test]
    fn the_oldest_unused_block_goes_first() {
        let setup = setup();
        (0..3).for_each(|i| setup.insert(i));
        assert!(setup.cache.get(&id(0)).is_some());
        setup.insert(3);
        assert_eq!(setup.held(), [0, 2, 3]);
        setup.insert(4);
        setup.insert(5);
        assert_eq!(setup.held(), [3, 4, 5], "a use is worth one round");
        assert_eq!((setup.alive.bytes(), setup.cached.bytes()), (300, 300));
    }

    #[test]
    fn a_lent_block_is_passed_over_and_a_cache_of_lent_ones_still_keeps_its_bound() {
        let setup = setup();
        (0..3).for_each(|i| setup.insert(i));
        let mut lent: Vec<Bytes> = vec![setup.cache.get(&id(0)).unwrap().lend()];
        setup.insert(3);
        setup.insert(4);
        assert_eq!(setup.held(), [0, 3, 4]);
        lent.extend([3, 4].map(|i| setup.cache.get(&id(i)).unwrap().lend()));
        for index in 5..9 {
            setup.insert(index);
            lent.push(setup.cache.get(&id(index)).unwrap().lend());
        }
        assert_eq!((setup.held().len(), setup.cached.bytes()), (3, 300));
        assert_eq!(setup.alive.bytes(), 700, "what sessions pin is counted");
        drop(lent);
        assert_eq!(setup.alive.bytes(), 300);
    }

    #[test]
    fn a_purge_has_happened_when_it_returns_and_a_block_put_twice_counts_once() {
        let setup = setup();
        setup.insert(1);
        setup.insert(1);
        setup.insert(101);
        assert_eq!(setup.cached.bytes(), 200);
        setup.cache.purge(|version| &*version.object.key == "b");
        assert_eq!((setup.held(), setup.cached.bytes(), setup.alive.bytes()), (vec![1], 100, 100));
        (2..9).for_each(|i| setup.insert(i));
        assert_eq!(setup.held(), [6, 7, 8]);
    }
}
