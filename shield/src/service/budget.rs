//! What all streams to edges may hold at once.
//!
//! A block counts while a stream holds it: asked ahead (from the moment it is asked for, though its bytes may take a while), and
//! from its sending until the connection has written it. It counts though the cache may hold the same bytes: what the
//! cache evicts meanwhile, only the stream holds. Everything together stays within `read.inflight_bytes`, whatever edges and
//! origins do:
//!
//! * Blocks asked ahead get half of it. Short of that, a stream asks for fewer, down to the one it needs next, for which
//!   it waits without holding anything: streams that wait for a stalled origin don't stand in the way of others.
//! * Blocks asked ahead by streams whose edge has not read for a while are taken back when others are short; such a stream
//!   asks again when it goes on.
//! * A stopped edge holds what its connections hold until they time out. So that this is never everything, blocks being
//!   sent to one peer address get at most half as well.
//! * A stream that finds no room to send its block waits; after `read.busy_ms` its edge hears "overloaded" and goes to
//!   another shield.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use proto::range::BLOCK_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::window::Window;
use crate::config::Reads;
use crate::metrics::Metrics;

/// How long an edge has not read before what its stream asked ahead may be taken back.
const SLOW: Duration = Duration::from_millis(200);
/// How often streams are looked through for that, while one waits for room.
const LOOK: Duration = Duration::from_millis(50);

/// The budget of one shield.
pub(crate) struct Budget {
    blocks: usize,
    total: Arc<Semaphore>,
    /// The part of it for blocks asked ahead.
    ahead: Arc<Semaphore>,
    /// The part of it for blocks being sent to a peer that has streams open.
    peers: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    windows: Mutex<HashMap<u64, Arc<Window>>>,
    next_window: AtomicU64,
    looked: Mutex<Option<Instant>>,
    busy: Duration,
    metrics: Metrics,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Budget {
    pub(crate) fn new(config: &Reads, metrics: Metrics) -> Self {
        let blocks = usize::try_from(config.inflight_bytes / BLOCK_BYTES).unwrap_or(usize::MAX);
        // A semaphore's own bound is far above any memory.
        let blocks = blocks.clamp(2, Semaphore::MAX_PERMITS);
        Self {
            blocks,
            total: Arc::new(Semaphore::new(blocks)),
            ahead: Arc::new(Semaphore::new(blocks / 2)),
            peers: Mutex::default(),
            windows: Mutex::default(),
            next_window: AtomicU64::new(0),
            looked: Mutex::default(),
            busy: Duration::from_millis(config.busy_ms),
            metrics,
        }
    }

    /// Bytes held now, in whole blocks.
    pub(crate) fn held_bytes(&self) -> u64 {
        (self.blocks - self.total.available_permits()) as u64 * BLOCK_BYTES
    }

    /// The account of a new stream to `peer` that will hold `window`. A peer without an address has no bound of its own.
    pub(super) fn open(self: &Arc<Self>, peer: Option<IpAddr>, window: Arc<Window>) -> Account {
        let id = self.next_window.fetch_add(1, Ordering::Relaxed);
        lock(&self.windows).insert(id, window);
        Account { id, peer: peer.map(|peer| self.room_of(peer)), budget: self.clone() }
    }

    fn room_of(&self, peer: IpAddr) -> Arc<Semaphore> {
        let mut peers = lock(&self.peers);
        if let Some(room) = peers.get(&peer).and_then(Weak::upgrade) {
            return room;
        }
        peers.retain(|_, room| room.strong_count() > 0);
        let room = Arc::new(Semaphore::new(self.blocks / 2));
        peers.insert(peer, Arc::downgrade(&room));
        room
    }

    /// Takes back what slow streams asked ahead, unless that was just done.
    fn take_back(&self) {
        let now = Instant::now();
        {
            let mut looked = lock(&self.looked);
            if looked.is_some_and(|at| now < at + LOOK) {
                return;
            }
            *looked = Some(now);
        }
        let windows: Vec<_> = lock(&self.windows).values().cloned().collect();
        let taken: usize = windows.iter().map(|window| window.take_back(now, SLOW)).sum();
        self.metrics.read_taken_back.inc_by(taken as u64);
    }
}

/// One stream's part in the budget.
pub(super) struct Account {
    id: u64,
    peer: Option<Arc<Semaphore>>,
    budget: Arc<Budget>,
}

impl Drop for Account {
    fn drop(&mut self) {
        lock(&self.budget.windows).remove(&self.id);
    }
}

impl Account {
    /// Room to ask for up to `most` blocks ahead: as much as there is.
    pub(super) fn ahead(&self, most: usize) -> Vec<Hold> {
        let take = || {
            let ahead = self.budget.ahead.clone().try_acquire_owned().ok()?;
            let total = self.budget.total.clone().try_acquire_owned().ok()?;
            Some(Hold { _ahead: Some(ahead), _peer: None, total: Some(total) })
        };
        let holds: Vec<_> = std::iter::from_fn(take).take(most).collect();
        if holds.is_empty() {
            self.budget.take_back();
        }
        holds
    }

    /// Room to send a block now, which may have been asked ahead with `hold`; gives that back if there is none.
    pub(super) fn try_send(&self, hold: Option<Hold>) -> Result<Hold, Option<Hold>> {
        let peer = match &self.peer {
            Some(room) => match room.clone().try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return Err(hold),
            },
            None => None,
        };
        let total = match hold {
            Some(hold) => hold.total,
            None => Some(self.budget.total.clone().try_acquire_owned().map_err(|_| None)?),
        };
        Ok(Hold { _ahead: None, _peer: peer, total })
    }

    /// Room to send a block, waiting for it, but not longer than `read.busy_ms`.
    pub(super) async fn send(&self, hold: Option<Hold>) -> Option<Hold> {
        self.budget.metrics.read_waits.inc();
        let give_up = Instant::now() + self.budget.busy;
        // What was held for asking ahead stays held as that until there is room to send.
        let mut room = pin!(async {
            let peer = match &self.peer {
                Some(room) => room.clone().acquire_owned().await.ok(),
                None => None,
            };
            let total = match hold {
                Some(hold) => hold.total,
                None => self.budget.total.clone().acquire_owned().await.ok(),
            };
            Hold { _ahead: None, _peer: peer, total }
        });
        loop {
            self.budget.take_back();
            tokio::select! {
                biased;
                room = &mut room => return Some(room),
                () = sleep(LOOK) => {}
            }
            if Instant::now() >= give_up {
                return None;
            }
        }
    }
}

/// Room for one block, until it is dropped. (The semaphores are never closed: waiting for a permit brings one.)
pub(super) struct Hold {
    _ahead: Option<OwnedSemaphorePermit>,
    _peer: Option<OwnedSemaphorePermit>,
    total: Option<OwnedSemaphorePermit>,
}

impl Hold {
    /// `data`, with its room: given back when the last clone of the bytes is gone.
    pub(super) fn over(self, data: Bytes) -> Bytes {
        Bytes::from_owner(Held { data, _hold: self })
    }
}

struct Held {
    data: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
