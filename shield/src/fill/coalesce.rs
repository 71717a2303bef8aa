//! The blocks being filled right now, and who waits for them.
//!
//! One lock guards the table. A fill puts its block into the cache *and* leaves the table under that lock, and a
//! lookup that finds no entry looks into the cache under it, so there is no moment in which a block is in neither. An entry
//! leaves only for the fill that made it: after a purge a new fill may hold the same key, and the old one's bytes are
//! then for those who waited, not for the cache.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::object::ObjectVersion;
use proto::purge::Scope;
use proto::v1::Priority;
use tokio::sync::watch;

use super::runs::merge;
use super::{Demanded, FillError};
use crate::cache::{Block, BlockCache, BlockKey, WALK_AT_ONCE};
use crate::metrics::Metrics;

type Outcome = Result<Block, FillError>;

/// A block being filled.
pub(crate) struct Slot {
    pub(crate) key: BlockKey,
    /// The run that brings it.
    pub(crate) run: u64,
    pub(crate) demanded: Demanded,
    /// Whether its run may still be asking other shields, not yet the origin.
    pub(crate) asking: Arc<AtomicBool>,
    outcome: watch::Sender<Option<Outcome>>,
}

/// A block asked for.
pub(crate) enum Pending {
    /// It was cached.
    Here(Block),
    /// A fill brings it.
    Coming(watch::Receiver<Option<Outcome>>),
    /// It is not cached, and only the cache was asked.
    Absent,
}

impl Pending {
    /// The block; `None` if only the cache was asked.
    pub(crate) async fn wait(self) -> Result<Option<Block>, FillError> {
        match self {
            Pending::Here(block) => Ok(Some(block)),
            Pending::Absent => Ok(None),
            Pending::Coming(mut outcome) => match outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or(Err(FillError::Abandoned)).map(Some),
                Err(_) => Err(FillError::Abandoned),
            },
        }
    }
}

/// Which fills a lookup joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Any.
    All,
    /// Those that ask the origin: one that asks other shields may be waiting for the very shield that looks.
    NotAsking,
}

/// How blocks are looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) priority: Priority,
    /// No slots are made.
    pub(crate) cache_only: bool,
    pub(crate) seen: Seen,
    /// New slots' runs begin by asking other shields.
    pub(crate) asking: bool,
}

/// What [`Table::claim`] found and made.
pub(crate) struct Claim {
    /// One a block, in order.
    pub(crate) pending: Vec<Pending>,
    /// Slots the caller must now fill, a run each.
    pub(crate) runs: Vec<VecDeque<Arc<Slot>>>,
    /// Runs of others that were joined.
    pub(crate) joined: Vec<(u64, Demanded)>,
}

/// The blocks being filled.
pub(crate) struct Table {
    slots: Mutex<HashMap<BlockKey, Arc<Slot>>>,
    cache: Arc<dyn BlockCache>,
    metrics: Metrics,
    next_run: AtomicU64,
}

impl Table {
    pub(crate) fn new(cache: Arc<dyn BlockCache>, metrics: Metrics) -> Self {
        Self { slots: Mutex::default(), cache, metrics, next_run: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlockKey, Arc<Slot>>> {
        // Nothing below panics half-way through a change, so a poisoned table is still whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks up every block of `blocks` and makes slots for those that nobody fills yet (none with `how.cache_only`). If any is missing
    /// and the object is to be fetched whole, slots are made for what is missing of `whole`.
    pub(crate) fn claim(
        &self,
        version: &ObjectVersion,
        blocks: Range<u64>,
        whole: Option<Range<u64>>,
        run_blocks: u64,
        how: How,
    ) -> Claim {
        let mut claim = Claim { pending: Vec::new(), runs: Vec::new(), joined: Vec::new() };
        let mut missing = Vec::new();
        let (mut hits, mut joins) = (0, 0);
        let key = |index| BlockKey { version: version.clone(), index };
        let mut slots = self.lock();
        for index in blocks.clone() {
            let key = key(index);
            let slot = slots.get(&key);
            let slot = slot.filter(|s| how.seen == Seen::All || !s.asking.load(Ordering::Acquire));
            let pending = if let Some(slot) = slot {
                joins += 1;
                if claim.joined.last().is_none_or(|(run, _)| *run != slot.run) {
                    claim.joined.push((slot.run, slot.demanded.clone()));
                }
                Pending::Coming(slot.outcome.subscribe())
            } else if let Some(block) = self.cache.get(&key) {
                hits += 1;
                Pending::Here(block)
            } else {
                missing.push(index);
                Pending::Absent
            };
            claim.pending.push(pending);
        }
        self.metrics.blocks.with_label_values(&["hit"]).inc_by(hits);
        self.metrics.blocks.with_label_values(&["joined"]).inc_by(joins);
        // Whoever asks only the cache expects to miss: counted apart, or hedges would spoil the hit ratio.
        let missed = if how.cache_only { "absent" } else { "miss" };
        self.metrics.blocks.with_label_values(&[missed]).inc_by(missing.len() as u64);
        if how.cache_only {
            return claim;
        }
        if let Some(whole) = whole.filter(|_| !missing.is_empty()) {
            let lacks = |index: &u64| match blocks.contains(index) {
                true => missing.contains(index),
                false => !slots.contains_key(&key(*index)) && self.cache.get(&key(*index)).is_none(),
            };
            missing = whole.filter(lacks).collect();
        }
        for run in merge(missing, run_blocks) {
            let id = self.next_run.fetch_add(1, Ordering::Relaxed);
            let demanded: Demanded = Arc::new(AtomicBool::new(how.priority == Priority::Demand));
            let asking = Arc::new(AtomicBool::new(how.asking));
            let made = run.map(|index| {
                let (outcome, receiver) = watch::channel(None);
                let (demanded, asking) = (demanded.clone(), asking.clone());
                let slot = Arc::new(Slot { key: key(index), run: id, demanded, asking, outcome });
                slots.insert(slot.key.clone(), slot.clone());
                if blocks.contains(&index) {
                    claim.pending[(index - blocks.start) as usize] = Pending::Coming(receiver);
                }
                slot
            });
            claim.runs.push(made.collect());
        }
        self.metrics.filling_blocks.set(slots.len() as i64);
        claim
    }

    /// Ends a slot: the block is cached (unless the slot was purged meanwhile), then its waiters hear.
    pub(crate) fn finish(&self, slot: &Arc<Slot>, outcome: Outcome) {
        {
            let mut slots = self.lock();
            if slots.get(&slot.key).is_some_and(|current| Arc::ptr_eq(current, slot)) {
                if let Ok(block) = &outcome {
                    self.cache.insert(slot.key.clone(), block.clone());
                }
                slots.remove(&slot.key);
                self.metrics.filling_blocks.set(slots.len() as i64);
            }
        }
        slot.outcome.send_replace(Some(outcome));
    }

    /// Caches blocks that nobody asked for and that came with those of `slot`, unless it was purged meanwhile.
    pub(crate) fn keep(&self, slot: &Arc<Slot>, blocks: impl Iterator<Item = (u64, Block)>) {
        let slots = self.lock();
        if !slots.get(&slot.key).is_some_and(|current| Arc::ptr_eq(current, slot)) {
            return;
        }
        for (index, block) in blocks {
            let key = BlockKey { version: slot.key.version.clone(), index };
            if !slots.contains_key(&key) {
                self.cache.insert(key, block);
            }
        }
    }

    /// Forgets what `scope` names, and sees to it that fills under way are not cached; how many blocks.
    ///
    /// The lock is held for the fills alone. Whoever claims while the cache is walked may still find an old block, as just before the purge; what
    /// a fill brings meanwhile is new, and if it is dropped too, that costs a fetch.
    pub(crate) async fn purge(&self, scope: &Scope) -> u64 {
        let mut dropped = {
            let mut slots = self.lock();
            let before = slots.len();
            slots.retain(|key, _| !scope.covers(&key.version.object));
            self.metrics.filling_blocks.set(slots.len() as i64);
            (before - slots.len()) as u64
        };
        let mut keys = self.cache.keys();
        while let Some(first) = keys.next() {
            let some = std::iter::once(first).chain(keys.by_ref().take(WALK_AT_ONCE - 1));
            for key in some {
                dropped += u64::from(scope.covers(&key.version.object) && self.cache.forget(&key));
            }
            tokio::task::yield_now().await;
        }
        dropped
    }
}
