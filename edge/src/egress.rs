//! How fast bytes may leave: an optional cap for the edge and one for each session.
//!
//! A write is paid for after it happened: its cost in time is added to the moment at which everything sent so far is worth its rate
//! (one atomic for the edge, one number for a session), and the session writes again when that moment has come, less
//! [`BURST`]. So the rate holds over any longer time, nothing waits in a queue that could grow, and sessions that all have
//! something to send take turns: who just wrote has the latest moment. With a cap, batches are kept short ([`Egress::batch_bytes`]), so turns are too.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// How far ahead of its rate a sender may be.
const BURST: Duration = Duration::from_millis(100);
/// Sent ahead of the cap by so much, the edge has no room for newcomers.
const SATURATED: Duration = Duration::from_secs(2);
/// No batch is shorter than this because of a cap.
const LEAST_BATCH_BYTES: u64 = 8 << 10;

/// The caps, and how much of the edge's is used up.
#[derive(Debug)]
pub struct Egress {
    epoch: Instant,
    /// Nanoseconds from `epoch` to when all bytes sent are worth the edge's rate.
    paid_until_ns: AtomicU64,
    total_rate: u64,
    session_rate: u64,
}

/// What one session has used up of its own cap.
#[derive(Debug, Default)]
pub struct Paid {
    until: Option<Instant>,
}

fn cost_ns(bytes: u64, rate: u64) -> u64 {
    (u128::from(bytes) * 1_000_000_000 / u128::from(rate)).min(u128::from(u64::MAX)) as u64
}

impl Egress {
    /// Caps in bytes a second; 0 is none.
    pub fn new(total_rate: u64, session_rate: u64) -> Self {
        Self { epoch: Instant::now(), paid_until_ns: AtomicU64::new(0), total_rate, session_rate }
    }

    /// Whether any cap is set.
    pub fn is_capped(&self) -> bool {
        self.total_rate > 0 || self.session_rate > 0
    }

    /// `bytes` were sent at `now` by the session of `paid`. When it may send again, if that is later.
    pub fn pay(&self, bytes: u64, paid: &mut Paid, now: Instant) -> Option<Instant> {
        let mut until = now;
        if self.session_rate > 0 {
            let from = paid.until.map_or(now, |until| until.max(now));
            let own = from + Duration::from_nanos(cost_ns(bytes, self.session_rate));
            paid.until = Some(own);
            until = until.max(own - BURST);
        }
        if self.total_rate > 0 {
            let at = now.duration_since(self.epoch).as_nanos() as u64;
            let cost = cost_ns(bytes, self.total_rate);
            let add = |before: u64| Some(before.max(at).saturating_add(cost));
            let before = self.paid_until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            let all = before.unwrap_or_else(|before| before).max(at).saturating_add(cost);
            until = until.max(self.epoch + Duration::from_nanos(all).saturating_sub(BURST));
        }
        (until > now).then_some(until)
    }

    /// Whether the edge's cap leaves newcomers nothing to send with.
    pub fn is_saturated(&self, now: Instant) -> bool {
        let ahead = Duration::from_nanos(self.paid_until_ns.load(Ordering::Relaxed));
        self.total_rate > 0 && self.epoch + ahead > now + SATURATED
    }

    /// How much a session may queue: `usual`, or a twentieth of a second's worth where that is less.
    pub fn batch_bytes(&self, usual: usize) -> usize {
        let rates = [self.total_rate, self.session_rate].into_iter().filter(|rate| *rate > 0);
        let worth = rates.min().map_or(u64::MAX, |rate| (rate / 20).max(LEAST_BATCH_BYTES));
        usual.min(usize::try_from(worth).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_caps_nobody_waits() {
        let egress = Egress::new(0, 0);
        assert_eq!(egress.pay(u64::MAX, &mut Paid::default(), Instant::now()), None);
        assert!(!egress.is_saturated(Instant::now()) && !egress.is_capped());
        assert_eq!(egress.batch_bytes(256 << 10), 256 << 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_keeps_its_rate_and_may_save_up_no_more_than_a_burst() {
        let egress = Egress::new(0, 100_000);
        let (mut paid, began, mut sent) = (Paid::default(), Instant::now(), 0);
        tokio::time::advance(Duration::from_secs(60)).await;
        while began.elapsed() < Duration::from_secs(70) {
            sent += 5_000;
            if let Some(until) = egress.pay(5_000, &mut paid, Instant::now()) {
                tokio::time::sleep_until(until).await;
            }
        }
        assert!((1_000_000..=1_020_000).contains(&sent), "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_share_the_edge_s_rate_evenly() {
        let egress = std::sync::Arc::new(Egress::new(1_000_000, 0));
        let began = Instant::now();
        let senders: Vec<_> = (0..10)
            .map(|_| {
                let egress = egress.clone();
                tokio::spawn(async move {
                    let (mut sent, mut paid) = (0u64, Paid::default());
                    while began.elapsed() < Duration::from_secs(20) {
                        sent += 10_000;
                        if let Some(until) = egress.pay(10_000, &mut paid, Instant::now()) {
                            tokio::time::sleep_until(until).await;
                        } else {
                            tokio::task::yield_now().await;
                        }
                    }
                    sent
                })
            })
            .collect();
        let mut all = Vec::new();
        for sender in senders {
            all.push(sender.await.unwrap());
        }
        let total: u64 = all.iter().sum();
        assert!((19_900_000..=20_400_000).contains(&total), "{all:?}");
        let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!(most - least <= 200_000, "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_far_ahead_of_its_cap_has_no_room_for_newcomers() {
        let egress = Egress::new(1_000_000, 0);
        let now = Instant::now();
        egress.pay(1_000_000, &mut Paid::default(), now);
        assert!(!egress.is_saturated(now));
        egress.pay(1_500_000, &mut Paid::default(), now);
        assert!(egress.is_saturated(now));
        assert!(!egress.is_saturated(now + Duration::from_secs(1)));
        assert_eq!(egress.batch_bytes(256 << 10), 50_000);
        assert_eq!(Egress::new(1_000_000, 20_000).batch_bytes(256 << 10), 8 << 10);
    }
}
