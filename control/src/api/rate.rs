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
pub struct Rates {
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    requests: f64,
    at: Instant,
}

/// What every account may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: f64,
    /// Requests at once after a rest.
    pub burst: f64,
}

impl Rates {
    /// Counts a request of `account`; whether it is within `rate`.
    pub fn admit(&self, account: &str, rate: Rate) -> bool {
        let now = Instant::now();
        let filled = |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.requests + since * rate.per_second).min(rate.burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT && !buckets.contains_key(account) {
            buckets.retain(|_, bucket| filled(bucket) < rate.burst);
        }
        let bucket = buckets
            .entry(account.to_owned())
            .or_insert_with(|| Bucket { requests: rate.burst, at: now });
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

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_then_the_rate_and_accounts_are_apart() {
        let rates = Rates::default();
        let admitted = |account: &str, n: usize| (0..n).filter(|_| rates.admit(account, RATE)).count();
        assert_eq!(admitted("a", 30), 20);
        assert_eq!(admitted("b", 5), 5);
        tokio::time::advance(Duration::from_millis(1050)).await;
        assert_eq!(admitted("a", 30), 10);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(admitted("a", 30), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_that_are_full_again_are_forgotten() {
        let rates = Rates::default();
        for n in 0..KEPT {
            assert!(rates.admit(&n.to_string(), RATE));
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(rates.admit("one more", RATE));
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
    }
}
