//! Jitter: pauses of different clients, and of one client's reads, must not fall together.
//!
//! A splitmix64 sequence. With a seed given, the same calls in the same order give the same pauses: simulations depend on it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) struct Jitter(AtomicU64);

impl Jitter {
    /// From `seed`; 0 takes one that differs between processes.
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(if seed == 0 { RandomState::new().hash_one("jitter") } else { seed }))
    }

    /// Between a half and the whole of `most`.
    pub(super) fn of(&self, most: Duration) -> Duration {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 24 bits are fine grain enough for a pause.
        most / 2 + (most / 2).mul_f64((z >> 40) as f64 / f64::from(1u32 << 24))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_over_the_upper_half_and_repeat_with_the_seed() {
        let most = Duration::from_secs(2);
        let (one, two) = (Jitter::new(7), Jitter::new(7));
        let pauses: Vec<_> = (0..1000).map(|_| one.of(most)).collect();
        assert!(pauses.iter().all(|p| (most / 2..=most).contains(p)));
        assert!(pauses.iter().all(|p| two.of(most) == *p));
        let mean = pauses.iter().sum::<Duration>() / 1000;
        assert!((1450..1550).contains(&mean.as_millis()), "{mean:?}");
        assert_ne!(Jitter::new(8).of(most), pauses[0]);
    }
}
