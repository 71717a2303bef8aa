//! The edge's block cache: whole blocks of object versions, weighed in bytes, one in-flight fetch a block.
//!
//! A miss starts a *detached* fill: neighbouring missing blocks become one range read, and each block is handed out as soon as it is
//! whole. The asker only waits on it, so a viewer that leaves strands nobody, and fifty viewers of one film cost one read.
//! The flight's sender lives in the fill task; when that ends without a result (a panic, a cancelled runtime) its waiters are
//! woken with an error and the table entry goes with it.
//!
//! Bounds: cached bytes, fetches under way, bytes of read-ahead under way, all of them in the [`Budget`]. Past the last,
//! read-ahead is simply not started; demand waits its turn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::purge::Scope;
use proto::range::{BLOCK_BYTES, ByteRange, block_range};
use proto::v1::Priority;
use tokio::sync::{Semaphore, watch};

use super::block::Block;
use super::cache::{BlockId, Cache};
use super::{RangeSource, ReadError};
use crate::budget::{Budget, Charge};
use crate::metrics::Metrics;

type Outcome = Option<Result<Block, ReadError>>;
type Flights = Mutex<HashMap<BlockId, Flight>>;

/// A fetch under way.
#[derive(Clone)]
struct Flight {
    outcome: watch::Receiver<Outcome>,
    priority: Priority,
    /// Whether demand, tired of waiting, is fetching the block by itself.
    overtaken: Arc<AtomicBool>,
    /// Where it says so when it has it.
    early: Weak<watch::Sender<Outcome>>,
}

/// Entries that a purge looks at before it lets others have the lock and the thread: well under a millisecond.
pub(crate) const WALK_AT_ONCE: usize = 1024;
/// How long demand waits for somebody's read-ahead before it asks for itself.
const PATIENCE: Duration = Duration::from_millis(300);
/// Times demand asks for a block that was evicted at once or whose fill was somebody's read-ahead and failed.
const ATTEMPTS: usize = 3;

/// The cache. Shared by all sessions of an edge.
pub struct BlockCache {
    source: Arc<dyn RangeSource>,
    blocks: Cache,
    flights: Flights,
    fetches: Semaphore,
    budget: Arc<Budget>,
    /// The newest version of an object that a 412 told us is gone.
    retired: moka::sync::Cache<ObjectKey, Arc<str>>,
    metrics: Arc<Metrics>,
}

/// Wakes waiters and clears the table, whatever ends the fill.
struct Landing {
    cache: Arc<BlockCache>,
    waiting: Vec<(BlockId, Arc<watch::Sender<Outcome>>)>,
    /// What is still on its way.
    charge: Charge,
}

impl Landing {
    /// Ends the first `n` flights with `result`.
    fn settle(&mut self, n: usize, mut result: impl FnMut(usize) -> Result<Block, ReadError>) {
        for (i, (id, sender)) in self.waiting.drain(..n).enumerate() {
            // The order matters: a block is in the cache before its flight leaves the table, so no asker can miss both.
            sender.send_replace(Some(result(i)));
            lock(&self.cache.flights).remove(&id);
        }
        self.charge.set(self.waiting.len() as u64 * BLOCK_BYTES);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let left = self.waiting.len();
        self.settle(left, |_| Err(ReadError::Unavailable("the fill was abandoned".into())));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockCache {
    /// An empty cache in front of `source`, bounded by `budget`, with at most `fetches` range reads under way.
    pub fn new(
        source: Arc<dyn RangeSource>,
        budget: Arc<Budget>,
        fetches: usize,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let charge = Charge::new(&budget.cached_blocks, 0);
        Arc::new(Self {
            source,
            blocks: Cache::new(budget.caps().block_cache_bytes, charge),
            flights: Mutex::default(),
            fetches: Semaphore::new(fetches),
            budget,
            retired: moka::sync::Cache::new(10_000),
            metrics,
        })
    }

    /// The source behind the cache.
    pub fn source(&self) -> &Arc<dyn RangeSource> {
        &self.source
    }

    /// The accounts it is charged to.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// A block that is in memory.
    pub fn get(&self, version: &ObjectVersion, index: u64) -> Option<Bytes> {
        self.blocks.get(&BlockId { version: version.clone(), index }).map(|block| block.lend())
    }

    /// One block, fetching it if need be.
    pub async fn block(self: &Arc<Self>, info: &ObjectInfo, index: u64) -> Result<Bytes, ReadError> {
        let id = BlockId { version: info.id.clone(), index };
        if let Some(block) = self.blocks.get(&id) {
            self.metrics.block_hits.inc();
            return Ok(block.lend());
        }
        self.metrics.block_misses.inc();
        let mut failed = ReadError::Unavailable("the block was evicted at once".into());
        for _ in 0..ATTEMPTS {
            let Some(flight) = self.start(info, index..index + 1, Priority::Demand).pop() else {
                // It landed between the look and the start.
                match self.blocks.get(&id) {
                    Some(block) => return Ok(block.lend()),
                    None => continue,
                }
            };
            let own = flight.priority == Priority::Demand;
            let outcome = if own { landed(flight).await } else { self.overtake(info, index, flight).await };
            match outcome {
                // A read-ahead may be refused where demand is not: asked again, now for ourselves.
                Err(error @ ReadError::Unavailable(_)) if !own => failed = error,
                outcome => return outcome.map(|block| block.lend()),
            }
        }
        Err(failed)
    }

    /// Waits for somebody's read-ahead. Past [`PATIENCE`] the first who waits has the block fetched as demand, for all who wait: at the
    /// shield that promotes the read-ahead it joins. Should that fail, the read-ahead is still waited for.
    async fn overtake(
        self: &Arc<Self>,
        info: &ObjectInfo,
        index: u64,
        flight: Flight,
    ) -> Result<Block, ReadError> {
        let ahead = landed(flight.clone());
        tokio::pin!(ahead);
        if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut ahead).await {
            return outcome;
        }
        if let Some(early) = flight.early.upgrade()
            && !flight.overtaken.swap(true, Ordering::AcqRel)
        {
            tokio::spawn(overtaking(self.clone(), info.clone(), index, early, flight.overtaken.clone()));
        }
        ahead.await
    }

    /// Starts fetching what of `range` a viewer waits for, unless it is cached or on its way; never waits.
    pub fn demand(self: &Arc<Self>, info: &ObjectInfo, range: ByteRange) {
        if !range.is_empty() {
            self.start(info, range.blocks(), Priority::Demand);
        }
    }

    /// Starts fetching what of `range` is neither cached nor on its way, at low priority; never waits, and does nothing past the budget.
    pub fn read_ahead(self: &Arc<Self>, info: &ObjectInfo, range: ByteRange) {
        let mut blocks = range.clip(info.size_bytes).blocks();
        blocks.end = blocks.end.min(blocks.start + self.budget.read_ahead_room() / BLOCK_BYTES);
        if !blocks.is_empty() {
            self.start(info, blocks, Priority::ReadAhead);
        }
    }

    /// Forgets the blocks of what `scope` names.
    pub async fn purge(&self, scope: &Scope) {
        let mut from = Some(0);
        while let Some(ticket) = from {
            from = self.blocks.purge(ticket, WALK_AT_ONCE, |version| scope.covers(&version.object));
            tokio::task::yield_now().await;
        }
    }

    /// The version of `object` known to be gone, if any.
    pub fn retired(&self, object: &ObjectKey) -> Option<Arc<str>> {
        self.retired.get(object)
    }

    /// Takes flights for the missing blocks among `blocks` and spawns one fill for each run of them. Returns all flights, own and foreign.
    fn start(
        self: &Arc<Self>,
        info: &ObjectInfo,
        blocks: std::ops::Range<u64>,
        priority: Priority,
    ) -> Vec<Flight> {
        let mut receivers = Vec::new();
        let mut runs: Vec<Vec<(BlockId, Arc<watch::Sender<Outcome>>)>> = Vec::new();
        {
            let mut flights = lock(&self.flights);
            let mut joined = false;
            for index in blocks {
                let id = BlockId { version: info.id.clone(), index };
                // Under the table's lock the cache is asked again: a fill may have landed meanwhile.
                if self.blocks.contains(&id) {
                    joined = false;
                    continue;
                }
                if let Some(flight) = flights.get(&id) {
                    receivers.push(flight.clone());
                    joined = false;
                    continue;
                }
                let (sender, outcome) = watch::channel(None);
                let (sender, overtaken) = (Arc::new(sender), Arc::default());
                let flight = Flight { outcome, priority, overtaken, early: Arc::downgrade(&sender) };
                flights.insert(id.clone(), flight.clone());
                receivers.push(flight);
                match runs.last_mut() {
                    Some(run) if joined => run.push((id, sender)),
                    _ => runs.push(vec![(id, sender)]),
                }
                joined = true;
            }
        }
        for waiting in runs {
            let account = match priority {
                Priority::ReadAhead => &self.budget.read_ahead,
                Priority::Demand => &self.budget.demand,
            };
            let charge = Charge::new(account, waiting.len() as u64 * BLOCK_BYTES);
            let landing = Landing { cache: self.clone(), waiting, charge };
            tokio::spawn(fill(landing, info.clone(), priority));
        }
        receivers
    }
}

/// What a flight brings.
async fn landed(mut flight: Flight) -> Result<Block, ReadError> {
    let outcome = match flight.outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone(),
        Err(_) => None,
    };
    outcome.unwrap_or_else(|| Err(ReadError::Unavailable("the fill was abandoned".into())))
}

/// Reads one block as demand and hands it to those who wait for a read-ahead of it. Beside the `fetches` turnstile, which the overtaken may be
/// holding shut; there is one of it a flight.
async fn overtaking(
    cache: Arc<BlockCache>,
    info: ObjectInfo,
    index: u64,
    early: Arc<watch::Sender<Outcome>>,
    overtaken: Arc<AtomicBool>,
) {
    let _charge = Charge::new(&cache.budget.demand, BLOCK_BYTES);
    cache.metrics.fetches.with_label_values(&[priority_label(Priority::Demand)]).inc();
    let range = block_range(index, info.size_bytes);
    let mut stream = cache.source.read(&info.id, info.size_bytes, range, Priority::Demand);
    let mut part = Part::default();
    while let Some(Ok((_, bytes))) = stream.next().await {
        cache.metrics.fetched_bytes.inc_by(bytes.len() as u64);
        part.push(bytes);
    }
    match part.take(range.len()) {
        Some(bytes) => {
            let block = Block::new(bytes, &cache.budget.blocks);
            cache.blocks.insert(BlockId { version: info.id.clone(), index }, block.clone());
            early.send_replace(Some(Ok(block)));
        }
        None => overtaken.store(false, Ordering::Release),
    }
}

/// Reads the run of blocks that `landing` waits for, and hands each out as soon as it is whole.
async fn fill(mut landing: Landing, info: ObjectInfo, priority: Priority) {
    let cache = landing.cache.clone();
    let Ok(_permit) = cache.fetches.acquire().await else { return };
    let (Some(first), Some(last)) = (landing.waiting.first(), landing.waiting.last()) else { return };
    let mut index = first.0.index;
    let range = ByteRange::new(index * BLOCK_BYTES, block_range(last.0.index, info.size_bytes).end);
    cache.metrics.fetches.with_label_values(&[priority_label(priority)]).inc();

    let mut stream = cache.source.read(&info.id, info.size_bytes, range, priority);
    let mut part = Part::default();
    while !landing.waiting.is_empty() {
        let failed = match stream.next().await {
            Some(Ok((_, bytes))) => {
                cache.metrics.fetched_bytes.inc_by(bytes.len() as u64);
                part.push(bytes);
                while let Some(bytes) = part.take(block_range(index, info.size_bytes).len()) {
                    let block = Block::new(bytes, &cache.budget.blocks);
                    cache.blocks.insert(BlockId { version: info.id.clone(), index }, block.clone());
                    landing.settle(1, |_| Ok(block.clone()));
                    index += 1;
                    if landing.waiting.is_empty() {
                        return;
                    }
                }
                continue;
            }
            Some(Err(error)) => error,
            None => ReadError::Unavailable(format!("{}: the range {range:?} ended early", info.id.object)),
        };
        if matches!(failed, ReadError::Retired(_)) {
            cache.retired.insert(info.id.object.clone(), info.id.version.clone());
        }
        cache.metrics.fetch_errors.inc();
        let left = landing.waiting.len();
        landing.settle(left, |_| Err(failed.clone()));
    }
}

fn priority_label(priority: Priority) -> &'static str {
    match priority {
        Priority::Demand => "demand",
        Priority::ReadAhead => "read_ahead",
    }
}

/// Bytes of the block being assembled.
#[derive(Default)]
struct Part {
    pieces: Vec<Bytes>,
    len: u64,
}

impl Part {
    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len() as u64;
            self.pieces.push(bytes);
        }
    }

    /// The first `want` bytes as one `Bytes`, if that many are there: without a copy when one message brought them (the usual case).
    fn take(&mut self, want: u64) -> Option<Bytes> {
        if want == 0 || self.len < want {
            return None;
        }
        self.len -= want;
        let want = want as usize;
        if self.pieces[0].len() == want {
            return Some(self.pieces.remove(0));
        }
        let mut block = BytesMut::with_capacity(want);
        while block.len() < want {
            let take = self.pieces[0].len().min(want - block.len());
            block.extend_from_slice(&self.pieces[0].split_to(take));
            if self.pieces[0].is_empty() {
                self.pieces.remove(0);
            }
        }
        Some(block.freeze())
    }
}

#[cfg(test)]
mod tests;
