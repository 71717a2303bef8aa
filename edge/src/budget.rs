//! One accounting of an edge's memory.
//!
//! Everything that grows with what viewers do is charged to an [`Account`]; accounts have caps, and the caps add up to what an
//! operator gives the process. Nothing on the hot path is locked or counted a message: blocks are charged when they arrive and when their
//! last reader lets go, sessions in steps of [`STEP_BYTES`], indexes when they are built.
//!
//! | account | what | cap |
//! |---|---|---|
//! | `block_cache` | blocks in the cache | `cache_bytes`, kept by eviction |
//! | `index_cache` | media indexes in the cache | `index_cache_bytes`, kept by eviction |
//! | `read_ahead` | read-ahead on its way | `read_ahead_total_bytes`; past it none is started |
//! | `demand` | blocks somebody waits for, on their way | `fetches` blocks; more wait their turn |
//! | `parses` | indexes being built | `parse_bytes`; more wait their turn |
//! | `sessions` | what sessions hold beyond the caches: `queues` (connections, queued output, input), `pinned_blocks`, `pinned_indexes` | `session_bytes` |
//!
//! A slice in a session's queue keeps its whole block (1 MiB) alive after the cache has dropped it. Such *pinned* blocks are not
//! estimated: each block carries its charge and gives it back when the last slice is gone, so pinned is what is alive less what is cached.
//!
//! `sessions` is the account that viewers' behaviour fills, and so the one that acts. Its share of the cap is the [`Pressure`]:
//!
//! * from 1/4 on, read-ahead shrinks, down to none at 3/4;
//! * from 1/2 on ([`Pressure::High`]), what slow viewers have queued is copied out of the blocks it pins, and queues are kept short;
//! * from 9/10 on ([`Pressure::Full`]), new connects and plays are refused, and viewers that take nothing for long are closed;
//! * at the cap ([`Pressure::Over`]), connections are closed at accept, plays that have not begun are refused, and viewers that take nothing
//!   for two seconds are closed.
//!
//! Sessions that play and take what they are sent are never touched. Socket buffers, allocator slack and code are not counted: plan for a
//! quarter more than [`Caps::total_bytes`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::range::BLOCK_BYTES;

use crate::config::EdgeConfig;

/// Sessions charge in steps of so many bytes.
pub const STEP_BYTES: u64 = 4 << 10;
/// What a connection takes without any queue: its task, its state, and its part of tables.
pub const CONNECTION_BYTES: u64 = 8 << 10;

/// Bytes in use for one purpose.
#[derive(Debug, Default)]
pub struct Account {
    used: AtomicU64,
}

impl Account {
    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Replaces the figure: for accounts that are counted from time to time.
    pub fn set(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
    }
}

/// Bytes charged to an account until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

impl Charge {
    /// Charges `bytes` to `account`.
    pub fn new(account: &Arc<Account>, bytes: u64) -> Self {
        account.used.fetch_add(bytes, Ordering::Relaxed);
        Self { account: account.clone(), bytes }
    }

    /// Bytes charged.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges exactly `bytes` from now on.
    pub fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            self.account.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.account.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Charges `bytes`, rounded up to whole steps: most calls touch nothing shared.
    pub fn set_in_steps(&mut self, bytes: u64) {
        self.set(bytes.div_ceil(STEP_BYTES) * STEP_BYTES);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Caps of the accounts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Blocks in the cache.
    pub block_cache_bytes: u64,
    /// Indexes in the cache.
    pub index_cache_bytes: u64,
    /// Read-ahead on its way.
    pub read_ahead_bytes: u64,
    /// Blocks that are waited for, on their way.
    pub demand_bytes: u64,
    /// Indexes being built.
    pub parse_bytes: u64,
    /// What sessions hold beyond the caches.
    pub session_bytes: u64,
    /// All of it; at most the sum.
    pub total_bytes: u64,
}

impl Caps {
    /// The caps that `config` sets. Where `memory_bytes` is given, sessions get what it leaves them.
    pub fn of(config: &EdgeConfig) -> Self {
        let mut caps = Self {
            block_cache_bytes: config.cache_bytes,
            index_cache_bytes: config.index_cache_bytes,
            read_ahead_bytes: config.read_ahead_total_bytes,
            demand_bytes: config.fetches as u64 * BLOCK_BYTES,
            parse_bytes: config.parse_bytes,
            session_bytes: config.session_bytes,
            total_bytes: 0,
        };
        let shared = caps.shared_bytes();
        if config.memory_bytes > 0 {
            caps.session_bytes = caps.session_bytes.min(config.memory_bytes.saturating_sub(shared)).max(1);
        }
        caps.total_bytes = shared + caps.session_bytes;
        caps
    }

    /// All caps but the sessions'.
    pub fn shared_bytes(&self) -> u64 {
        self.block_cache_bytes
            + self.index_cache_bytes
            + self.read_ahead_bytes
            + self.demand_bytes
            + self.parse_bytes
    }
}

/// How near sessions are to their cap; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Under a half.
    Calm,
    /// From a half on.
    High,
    /// From nine tenths on.
    Full,
    /// At the cap.
    Over,
}

/// The accounts of an edge.
#[derive(Debug)]
pub struct Budget {
    caps: Caps,
    /// Blocks in memory, wherever they are held.
    pub blocks: Arc<Account>,
    /// Blocks in the cache.
    pub cached_blocks: Arc<Account>,
    /// Media indexes in memory, wherever they are held.
    pub indexes: Arc<Account>,
    /// Media indexes in the cache.
    pub cached_indexes: Arc<Account>,
    /// Read-ahead on its way.
    pub read_ahead: Arc<Account>,
    /// Blocks that are waited for, on their way.
    pub demand: Arc<Account>,
    /// Indexes being built.
    pub parses: Arc<Account>,
    /// Connections, their queued output and their input.
    pub queues: Arc<Account>,
}

impl Budget {
    /// Empty accounts under `caps`.
    pub fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self {
            caps,
            blocks: Arc::default(),
            cached_blocks: Arc::default(),
            indexes: Arc::default(),
            cached_indexes: Arc::default(),
            read_ahead: Arc::default(),
            demand: Arc::default(),
            parses: Arc::default(),
            queues: Arc::default(),
        })
    }

    /// The caps.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Bytes of blocks that only sessions still hold.
    pub fn pinned_blocks(&self) -> u64 {
        self.blocks.bytes().saturating_sub(self.cached_blocks.bytes())
    }

    /// Bytes of indexes that only sessions still hold.
    pub fn pinned_indexes(&self) -> u64 {
        self.indexes.bytes().saturating_sub(self.cached_indexes.bytes())
    }

    /// Bytes that sessions hold beyond the caches.
    pub fn session_bytes(&self) -> u64 {
        self.queues.bytes() + self.pinned_blocks() + self.pinned_indexes()
    }

    /// Bytes of everything.
    pub fn total_bytes(&self) -> u64 {
        self.cached_blocks.bytes()
            + self.cached_indexes.bytes()
            + self.read_ahead.bytes()
            + self.demand.bytes()
            + self.parses.bytes()
            + self.session_bytes()
    }

    /// How near sessions are to their cap.
    pub fn pressure(&self) -> Pressure {
        let (used, cap) = (self.session_bytes(), self.caps.session_bytes);
        if used >= cap {
            Pressure::Over
        } else if used >= cap - cap / 10 {
            Pressure::Full
        } else if used >= cap / 2 {
            Pressure::High
        } else {
            Pressure::Calm
        }
    }

    /// Bytes of read-ahead that may be started now.
    pub fn read_ahead_room(&self) -> u64 {
        let (used, quarter) = (self.session_bytes(), (self.caps.session_bytes / 4).max(1));
        let over = used.saturating_sub(quarter).min(2 * quarter);
        let allowed =
            u128::from(self.caps.read_ahead_bytes) * u128::from(2 * quarter - over) / u128::from(2 * quarter);
        (allowed as u64).saturating_sub(self.read_ahead.bytes())
    }

    /// Every account with its bytes and its cap; parts of another account have a cap of 0.
    pub fn figures(&self) -> [(&'static str, u64, u64); 10] {
        let caps = &self.caps;
        [
            ("block_cache", self.cached_blocks.bytes(), caps.block_cache_bytes),
            ("index_cache", self.cached_indexes.bytes(), caps.index_cache_bytes),
            ("read_ahead", self.read_ahead.bytes(), caps.read_ahead_bytes),
            ("demand", self.demand.bytes(), caps.demand_bytes),
            ("parses", self.parses.bytes(), caps.parse_bytes),
            ("sessions", self.session_bytes(), caps.session_bytes),
            ("sessions_queues", self.queues.bytes(), 0),
            ("sessions_pinned_blocks", self.pinned_blocks(), 0),
            ("sessions_pinned_indexes", self.pinned_indexes(), 0),
            ("total", self.total_bytes(), caps.total_bytes),
        ]
    }
}

#[cfg(test)]
mod tests;
