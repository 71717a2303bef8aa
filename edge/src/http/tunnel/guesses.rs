//! How many sessions that don't exist an address has named.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::time::{Duration, Instant};

/// Addresses are counted for so long.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses counted at once; those beyond share one count.
const ADDRESSES: usize = 4096;

/// Counts by address, begun anew every minute.
pub(crate) struct Guesses {
    most: u32,
    began: Instant,
    counts: HashMap<IpAddr, u32>,
    others: u32,
}

impl Guesses {
    /// An address may name `most` a minute.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, began: Instant::now(), counts: HashMap::new(), others: 0 }
    }

    /// One more of `address`; whether that is too many.
    pub(crate) fn are_too_many(&mut self, address: IpAddr, now: Instant) -> bool {
        if now >= self.began + WINDOW {
            (self.began, self.counts, self.others) = (now, HashMap::new(), 0);
        }
        let room = self.counts.len() < ADDRESSES;
        let count = match self.counts.get_mut(&address) {
            Some(count) => count,
            None if room => self.counts.entry(address).or_default(),
            None => &mut self.others,
        };
        *count = count.saturating_add(1);
        *count > self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_guesses_a_minute_and_memory_is_bounded() {
        let mut guesses = Guesses::new(3);
        let now = Instant::now();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let tried: Vec<bool> = (0..5).map(|_| guesses.are_too_many(address(1), now)).collect();
        assert_eq!(tried, [false, false, false, true, true]);
        assert!(!guesses.are_too_many(address(2), now));
        assert!(!guesses.are_too_many(address(1), now + WINDOW));
        for n in 0..100_000 {
            guesses.are_too_many(address(n), now + WINDOW);
        }
        assert!(guesses.counts.len() <= ADDRESSES);
    }
}
