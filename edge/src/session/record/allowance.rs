//! How fast one connection may make events: a viewer's 41 bytes of `pause` can become kilobytes on the edge's disk.
//!
//! A connection has so many events a second (`log.events_per_second`) and ten seconds' worth saved. Nothing is lost when they are spent: its commands
//! are left unread, for as long as it takes, so the sender feels it and nobody else does. What ends a session is recorded in any case and
//! may leave a debt.

use tokio::time::{Duration, Instant};

/// Seconds' worth of events that are saved up.
const SAVED_SECONDS: f64 = 10.0;

/// See the module. Starts full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    per_second: f64,
    events: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, events: per_second * SAVED_SECONDS, at: now }
    }

    fn left(&self, now: Instant) -> f64 {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        (self.events + earned).min(self.per_second * SAVED_SECONDS)
    }

    /// An event was recorded.
    pub(super) fn spend(&mut self, now: Instant) {
        (self.events, self.at) = (self.left(now) - 1.0, now);
    }

    /// When there is one again; `None`: there is now.
    pub(super) fn spent_until(&self) -> Option<Instant> {
        // Nearly always so, and without asking for the time.
        if self.events >= 1.0 { None } else { self.spent_until_at(Instant::now()) }
    }

    fn spent_until_at(&self, now: Instant) -> Option<Instant> {
        let missing = 1.0 - self.left(now);
        (missing > 0.0)
            .then(|| now + Duration::from_secs_f64(missing / self.per_second).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_events_a_second_and_ten_seconds_worth_at_once() {
        let start = Instant::now();
        let mut allowance = Allowance::new(4, start);
        for n in 0..40 {
            assert_eq!(allowance.spent_until_at(start), None, "{n}");
            allowance.spend(start);
        }
        let until = allowance.spent_until_at(start).unwrap();
        assert_eq!(until, start + Duration::from_millis(250));
        assert_eq!(allowance.spent_until_at(until), None);
        allowance.spend(until);
        assert!(allowance.spent_until_at(until).is_some());
        // A debt is worked off, and no more is saved than ten seconds' worth.
        (0..8).for_each(|_| allowance.spend(until));
        assert_eq!(allowance.spent_until_at(until), Some(until + Duration::from_millis(2250)));
        let later = until + Duration::from_secs(3600);
        assert!((allowance.left(later) - 40.0).abs() < 1e-9);
    }
}
