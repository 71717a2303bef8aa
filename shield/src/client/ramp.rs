//! Easing a shield that returns into its share.
//!
//! A shield that joins, or comes back from the dead, would get an eighth of all reads in one moment, with cold caches and
//! connections not yet made. But all edges must keep agreeing on a block's home, or it is fetched twice; so placement
//! doesn't change while it warms up. What grows is how many reads it gets *at a time* from each client. One that finds no room
//! asks the next owner, which served these bytes until now, for what it has cached; only what that lacks goes to the
//! returning shield after all, in its turn, and after a short wait even without one. So the ramp delays reads a
//! little, moves hits elsewhere, and never makes anyone but the home read S3.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::config::SlowStart;

/// One shield's ramp.
#[derive(Default)]
pub(super) struct Ramp {
    /// When it returned; `None` once it bears its whole share.
    since: Mutex<Option<Instant>>,
    running: AtomicU32,
    left: Notify,
}

/// A read at the shield. Dropping it makes room for another.
pub(super) struct Turn(Arc<Ramp>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.left.notify_one();
    }
}

impl Ramp {
    /// It returned now.
    pub(super) fn start(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Reads it may get at a time now; `None` for any number.
    fn limit(&self, config: &SlowStart) -> Option<u32> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let age = since.as_ref()?.elapsed();
        let whole = Duration::from_millis(config.ms);
        if age >= whole {
            *since = None;
            return None;
        }
        let grown = f64::from(config.last - config.first) * age.div_duration_f64(whole);
        Some(config.first + grown as u32)
    }

    /// Whether it is still limited.
    pub(super) fn is_limited(&self, config: &SlowStart) -> bool {
        self.limit(config).is_some()
    }

    /// Whether a read would have to wait.
    pub(super) fn is_full(&self, config: &SlowStart) -> bool {
        self.limit(config).is_some_and(|most| self.running.load(Ordering::Relaxed) >= most)
    }

    /// A turn, if there is room.
    fn try_enter(self: &Arc<Self>, config: &SlowStart) -> Option<Turn> {
        let most = self.limit(config).unwrap_or(u32::MAX);
        let add = |running: u32| (running < most).then(|| running + 1);
        let entered = self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        entered.then(|| Turn(self.clone()))
    }

    /// A turn, waited for; taken anyway after the configured wait.
    pub(super) async fn enter(self: &Arc<Self>, config: &SlowStart) -> Turn {
        let waited = timeout(Duration::from_millis(config.wait_ms), async {
            loop {
                // Registered before the look, so that no leave between is missed. The ramp itself grows without telling: look
                // again now and then.
                let left = self.left.notified();
                if let Some(turn) = self.try_enter(config) {
                    return turn;
                }
                let _ = timeout(Duration::from_millis(50), left).await;
            }
        });
        match waited.await {
            Ok(turn) => turn,
            Err(_) => {
                self.running.fetch_add(1, Ordering::Relaxed);
                Turn(self.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn room_grows_evenly_and_then_has_no_end() {
        let config = SlowStart { ms: 10_000, first: 4, last: 104, wait_ms: 250 };
        let ramp = Arc::new(Ramp::default());
        assert!(!ramp.is_limited(&config));
        ramp.start();
        let mut turns = Vec::new();
        for (second, room) in [(0, 4), (1, 14), (5, 54), (9, 94)] {
            tokio::time::sleep_until(Instant::now() + Duration::from_secs(second) - ramp.age()).await;
            while let Some(turn) = ramp.try_enter(&config) {
                turns.push(turn);
            }
            assert_eq!(turns.len(), room, "after {second} s");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        turns.extend((0..500).filter_map(|_| ramp.try_enter(&config)));
        assert_eq!(turns.len(), 594);
        turns.clear();
        assert_eq!(ramp.running.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_without_room_waits_for_one_that_leaves_but_not_for_long() {
        let config = SlowStart { ms: 1_000_000, first: 1, last: 2, wait_ms: 250 };
        let ramp = Arc::new(Ramp::default());
        ramp.start();
        let first = ramp.enter(&config).await;
        let begun = Instant::now();
        let second = ramp.enter(&config).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(250));
        let leave = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop((first, second));
        };
        let begun = Instant::now();
        let (_third, ()) = tokio::join!(ramp.enter(&config), leave);
        assert_eq!(begun.elapsed(), Duration::from_millis(20));
    }

    impl Ramp {
        fn age(&self) -> Duration {
            self.since.lock().unwrap().map_or(Duration::ZERO, |since| since.elapsed())
        }
    }
}
