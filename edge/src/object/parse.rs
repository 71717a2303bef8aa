//! Room for building media indexes.
//!
//! To parse a `moov` of n bytes takes its blocks (charged as such), one contiguous copy, and the tables made of it: 2n beyond the blocks.
//! A thousand viewers that open a thousand films at once must not need a thousand times that, so parses take their room from one pool
//! and wait for it in turn. Most need one part of [`LEAST_BYTES`]; one that comes upon something longer gives its part back before it asks
//! for more, so two of them can't wait for each other.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::{Account, Charge};

/// Room that every parse takes, and that is enough for reads up to half of it.
pub const LEAST_BYTES: u64 = 1 << 20;
/// What a permit stands for.
const UNIT_BYTES: u64 = 4 << 10;

/// The pool.
#[derive(Clone, Debug)]
pub struct ParseRoom {
    pool: Arc<Semaphore>,
    units: u32,
    account: Arc<Account>,
}

/// One parse's part of it, until dropped.
#[derive(Debug)]
pub struct Parsing {
    room: ParseRoom,
    held: Mutex<Option<(OwnedSemaphorePermit, Charge)>>,
}

impl ParseRoom {
    /// A pool of `bytes`, at least [`LEAST_BYTES`], charged to `account`.
    pub fn new(bytes: u64, account: Arc<Account>) -> Self {
        let units = u32::try_from(bytes.max(LEAST_BYTES) / UNIT_BYTES).unwrap_or(u32::MAX);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { pool: Arc::new(Semaphore::new(units as usize)), units, account }
    }

    /// Waits for room to begin.
    pub async fn begin(&self) -> Parsing {
        let parsing = Parsing { room: self.clone(), held: Mutex::new(None) };
        parsing.hold(LEAST_BYTES).await;
        parsing
    }
}

impl Parsing {
    /// Waits until `len` bytes may be read at once. What is longer than the whole pool gets the whole pool.
    pub async fn admit(&self, len: u64) {
        let wanted = LEAST_BYTES.saturating_add(len.saturating_mul(2));
        let enough = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let has = held.as_ref().map_or(0, |(_, charge)| charge.bytes());
            len <= LEAST_BYTES / 2 || has >= wanted.min(u64::from(self.room.units) * UNIT_BYTES)
        };
        if !enough {
            self.hold(wanted).await;
        }
    }

    async fn hold(&self, bytes: u64) {
        // Given back first: to hold while waiting for more is how two parses would wait for ever.
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.room.units);
        // The pool is never closed.
        if let Ok(permit) = self.room.pool.clone().acquire_many_owned(units).await {
            let charge = Charge::new(&self.room.account, u64::from(units) * UNIT_BYTES);
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((permit, charge));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn long_parses_take_turns_and_a_small_one_fits_beside_them() {
        let account = Arc::<Account>::default();
        let room = ParseRoom::new(24 * MIB, account.clone());
        let first = room.begin().await;
        first.admit(1000).await;
        assert_eq!(account.bytes(), MIB);
        first.admit(10 * MIB).await;
        first.admit(9 * MIB).await;
        assert_eq!(account.bytes(), 21 * MIB);
        let small = room.begin().await;
        assert_eq!(account.bytes(), 22 * MIB);
        let second = room.begin().await;
        let waits = tokio::time::timeout(Duration::from_secs(1), second.admit(10 * MIB)).await;
        assert!(waits.is_err(), "two of 21 MiB do not fit into 24");
        drop((first, small));
        second.admit(10 * MIB).await;
        assert_eq!(account.bytes(), 21 * MIB);
        drop(second);
        assert_eq!(account.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_longer_than_the_pool_gets_all_of_it_alone() {
        let room = ParseRoom::new(2 * MIB, Arc::default());
        let (first, second) = (room.begin().await, room.begin().await);
        let waits = tokio::time::timeout(Duration::from_secs(1), first.admit(64 * MIB)).await;
        assert!(waits.is_err());
        drop(second);
        first.admit(64 * MIB).await;
        first.admit(64 * MIB).await;
    }
}
