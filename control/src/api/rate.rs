//! How fast an account may ask: a bucket of requests for each, filled at a steady rate.
//!
//! Only requests whose signature held are counted, so nobody can use up another's share; strangers are bounded by connections.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Buckets kept; when there are more, those that are full again go.
const KEPT: usize = 4096;

/// The buckets of all accounts that asked lately.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    requests: f64,
    at: Instant,
}

/// What every account may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// Requests a second in the long run.
    pub(crate) per_second: f64,
    /// Requests at once after a rest.
    pub(crate) burst: f64,
}

impl Rates {
    /// Counts a request of `account` at `now`; whether it is within `rate`.
    pub(crate) fn admit(&self, account: &str, rate: Rate, now: Instant) -> bool {
        let filled = |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.requests + since * rate.per_second).min(rate.burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT && !buckets.contains_key(account) {
            buckets.retain(|_, bucket| filled(bucket) < rate.burst);
        }
        let bucket =
            buckets.entry(account.to_owned()).or_insert_with(|| Bucket { requests: rate.burst, at: now });
        let requests = filled(bucket);
        let admitted = requests >= 1.0;
        *bucket = Bucket { requests: if admitted { requests - 1.0 } else { requests }, at: now };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 20.0 };

    #[test]
    fn a_burst_is_let_through_then_the_rate_and_accounts_are_apart() {
        let (rates, start) = (Rates::default(), Instant::now());
        let admitted = |account: &str, n: usize, after_ms: u64| {
            let now = start + Duration::from_millis(after_ms);
            (0..n).filter(|_| rates.admit(account, RATE, now)).count()
        };
        assert_eq!(admitted("a", 30, 0), 20);
        assert_eq!(admitted("b", 5, 0), 5);
        assert_eq!(admitted("a", 30, 1050), 10);
        assert_eq!(admitted("a", 30, 61_050), 20);
        // A clock that seems to go back gives nothing.
        assert_eq!(admitted("a", 30, 0), 0);
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (rates, start) = (Rates::default(), Instant::now());
        for n in 0..KEPT {
            assert!(rates.admit(&n.to_string(), RATE, start));
        }
        assert!(rates.admit("one more", RATE, start + Duration::from_secs(60)));
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
    }
}
