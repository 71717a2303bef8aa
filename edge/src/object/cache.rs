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
    /// Each entry's id exactly once, under the ticket it drew when it was put at the back, so in the order of tickets; `None` for what was purged.
    /// The hand takes from the front.
    clock: VecDeque<(u64, Option<BlockId>)>,
    next_ticket: u64,
    /// How many `None` there are in the clock.
    holes: usize,
    charge: Charge,
}

impl Kept {
    fn put_at_back(&mut self, id: BlockId) {
        self.clock.push_back((self.next_ticket, Some(id)));
        self.next_ticket += 1;
    }
}

/// Blocks in memory, at most `capacity_bytes` of them.
pub(super) struct Cache {
    kept: Mutex<Kept>,
    capacity_bytes: u64,
}

impl Cache {
    /// An empty one that keeps its figure in `charge`.
    pub(super) fn new(capacity_bytes: u64, charge: Charge) -> Self {
        let kept = Kept { entries: HashMap::new(), clock: VecDeque::new(), next_ticket: 0, holes: 0, charge };
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
            let Some((_, slot)) = kept.clock.pop_front() else { break };
            let Some(id) = slot else {
                kept.holes -= 1;
                continue;
            };
            let Some(entry) = kept.entries.get_mut(&id) else { continue };
            if std::mem::take(&mut entry.used) {
                kept.put_at_back(id);
            } else if spared < most && entry.block.is_lent() {
                spared += 1;
                kept.put_at_back(id);
            } else if let Some(entry) = kept.entries.remove(&id) {
                bytes -= entry.block.len();
                dropped.push(entry);
            }
        }
        // Last, so that it isn't dropped for itself while all others are lent.
        if let Some(id) = newcomer {
            kept.put_at_back(id);
        }
        kept.charge.set(bytes);
    }

    /// Drops the blocks of versions that fit, among the `most` from ticket `from` on; from which ticket to go on, `None` at the end. What is put
    /// in meanwhile gets a later ticket, and what the hand puts back does too: a walk from 0 to the end meets all that was there when it began.
    pub(super) fn purge(&self, from: u64, most: usize, fits: impl Fn(&ObjectVersion) -> bool) -> Option<u64> {
        // Dropped outside the lock, as above.
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        let Kept { entries, clock, holes, charge, .. } = &mut *kept;
        let mut bytes = charge.bytes();
        let start = clock.partition_point(|(ticket, _)| *ticket < from);
        let end = clock.len().min(start + most);
        for (_, slot) in clock.range_mut(start..end) {
            let Some(id) = slot.take_if(|id| fits(&id.version)) else { continue };
            *holes += 1;
            if let Some(entry) = entries.remove(&id) {
                bytes -= entry.block.len();
                dropped.push(entry);
            }
        }
        charge.set(bytes);
        let next = clock.get(end).map(|(ticket, _)| *ticket);
        // Holes cost no look-up: closing them is quick, and so seldom that the clock stays within twice what it keeps.
        if next.is_none() && *holes > clock.len() / 2 {
            clock.retain(|(_, slot)| slot.is_some());
            *holes = 0;
        }
        next
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
        assert_eq!(setup.cache.purge(0, 100, |version| &*version.object.key == "b"), None);
        assert_eq!((setup.held(), setup.cached.bytes(), setup.alive.bytes()), (vec![1], 100, 100));
        (2..9).for_each(|i| setup.insert(i));
        assert_eq!(setup.held(), [6, 7, 8]);
    }

    #[test]
    fn a_purge_in_steps_meets_all_that_was_there_while_the_hand_goes_on() {
        let (alive, cached) = (Arc::<Account>::default(), Arc::<Account>::default());
        let cache = Cache::new(10_000, Charge::new(&cached, 0));
        let setup = Setup { cache, alive, cached };
        (0..50).for_each(|i| setup.insert(i));
        (100..150).for_each(|i| setup.insert(i));
        // What was used is put back behind what the walk has yet to see.
        (0..200).for_each(|i| drop(setup.cache.get(&id(i))));
        let (mut from, mut steps) = (Some(0), 0);
        while let Some(ticket) = from {
            from = setup.cache.purge(ticket, 7, |version| &*version.object.key == "b");
            // One in, and the hand takes one out for it.
            setup.insert(50 + steps);
            steps += 1;
        }
        assert!(steps >= 14, "{steps}");
        assert!(setup.held().iter().all(|i| *i < 100), "{:?}", setup.held());
        assert_eq!(setup.cached.bytes(), setup.held().len() as u64 * 100);
        let kept = setup.cache.lock();
        assert_eq!(kept.clock.iter().filter(|(_, slot)| slot.is_some()).count(), kept.entries.len());
        assert_eq!(kept.clock.iter().filter(|(_, slot)| slot.is_none()).count(), kept.holes);
        assert!(kept.clock.iter().map(|(ticket, _)| ticket).is_sorted());
    }

    #[test]
    fn blocks_that_come_and_are_purged_again_and_again_leave_no_trail() {
        let setup = setup();
        for round in 0..1000 {
            setup.insert(round % 2);
            setup.insert(100);
            assert_eq!(setup.cache.purge(0, 100, |version| &*version.object.key == "a"), None);
        }
        assert_eq!((setup.held(), setup.cached.bytes()), (vec![100], 100));
        assert!(setup.cache.lock().clock.len() <= 3);
    }
}
