//! How long a first slice takes, so that one which takes unusually long is noticed.
//!
//! The last [`SAMPLES`] times are kept and their 95th percentile worked out anew every sixteenth: often enough to follow a
//! day's changes, too seldom to cost anything. Times of reads that a hedge ended early count as what they took so far, or a
//! slow shield would lower the measure it is judged by.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Times kept.
pub(super) const SAMPLES: usize = 256;
/// Times between two computations.
const STEP: usize = 16;

/// The last times to first slice of one client.
#[derive(Default)]
pub(super) struct Latency {
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    /// Microseconds, at most [`SAMPLES`]; overwritten in a circle.
    micros: Vec<u32>,
    /// Times noted so far.
    noted: usize,
    p95_micros: u32,
}

impl Latency {
    pub(super) fn note(&self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = times.noted % SAMPLES;
        match times.micros.get_mut(slot) {
            Some(old) => *old = micros,
            None => times.micros.push(micros),
        }
        times.noted += 1;
        if times.noted < STEP || times.noted.is_multiple_of(STEP) {
            let mut sorted = times.micros.clone();
            let rank = sorted.len() * 95 / 100;
            times.p95_micros = *sorted.select_nth_unstable(rank).1;
        }
    }

    /// The 95th percentile, once `least` times were noted.
    pub(super) fn p95(&self, least: usize) -> Option<Duration> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        (times.noted >= least).then(|| Duration::from_micros(times.p95_micros.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_95th_percentile_follows_the_last_times() {
        let latency = Latency::default();
        let ms = Duration::from_millis;
        (0..19).for_each(|_| latency.note(ms(10)));
        assert_eq!(latency.p95(20), None);
        latency.note(ms(10));
        assert_eq!(latency.p95(20), Some(ms(10)));
        // One in ten is slow: the percentile shows it; one in a hundred: it does not.
        (0..SAMPLES).for_each(|i| latency.note(ms(if i % 10 == 0 { 900 } else { 10 })));
        assert_eq!(latency.p95(20), Some(ms(900)));
        (0..SAMPLES).for_each(|i| latency.note(ms(if i % 100 == 0 { 900 } else { 7 })));
        assert_eq!(latency.p95(20), Some(ms(7)));
        (0..SAMPLES).for_each(|_| latency.note(Duration::MAX));
        assert!(latency.p95(20).unwrap() > Duration::from_secs(3600));
    }
}
