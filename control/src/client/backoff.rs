//! Waiting between attempts: doubling from 200 ms to 5 s, each wait drawn between a half and the whole.
//!
//! The jitter keeps a thousand nodes from returning to a restarted control in one instant.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(5);

/// The wait before the next attempt.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Starts at the shortest wait.
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// After a success: start over.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LAST);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            assert!(backoff.next() <= LAST);
        }
        assert!(backoff.next() >= LAST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
