//! How old the oldest event is that control has not acknowledged, worked out when somebody looks.
//!
//! The writer's thread could not tell while the disk hangs, and just then an operator wants to know. So it only leaves the times of what it has in
//! its hands and in the part, and whoever gathers the metrics takes the earliest of these, of the shelf's, and of what waits in the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};
use proto::clock::SharedClock;

use super::queue::{Event, Queue};
use super::shelf::Shelf;

const NONE: u64 = u64::MAX;

/// Times of events that are the writer's to tell, in ms since 1970.
#[derive(Debug)]
pub(crate) struct Lag {
    hand_ms: AtomicU64,
    part_ms: AtomicU64,
}

impl Default for Lag {
    fn default() -> Self {
        Self { hand_ms: AtomicU64::new(NONE), part_ms: AtomicU64::new(NONE) }
    }
}

impl Lag {
    /// These events are about to be written.
    pub(crate) fn is_in_hand(&self, events: &[Event]) {
        let to_write = events.iter().filter(|event| event.record.target.is_some());
        let first_ms = to_write.map(|event| event.record.time_ms).min();
        self.hand_ms.store(first_ms.unwrap_or(NONE), Ordering::Release);
    }

    /// What was in hand stands or is lost, what was sealed is on the shelf, and this is the earliest event of the part.
    pub(crate) fn is_in_part(&self, first_ms: Option<u64>) {
        self.part_ms.store(first_ms.unwrap_or(NONE), Ordering::Release);
        self.hand_ms.store(NONE, Ordering::Release);
    }

    fn first_ms(&self) -> u64 {
        self.hand_ms.load(Ordering::Acquire).min(self.part_ms.load(Ordering::Acquire))
    }
}

/// The gauge.
#[derive(Debug)]
pub(crate) struct LagGauge {
    gauge: IntGauge,
    lag: Arc<Lag>,
    shelf: Arc<Shelf>,
    queue: Arc<Queue>,
    clock: SharedClock,
}

impl LagGauge {
    /// Has it worked out whenever `registry` is gathered.
    pub(crate) fn register(
        registry: &Registry,
        lag: Arc<Lag>,
        shelf: Arc<Shelf>,
        queue: Arc<Queue>,
        clock: SharedClock,
    ) -> Result<(), prometheus::Error> {
        let gauge = IntGauge::new(
            "penstock_edge_log_oldest_event_age_seconds",
            "Age of the oldest access event that control has not acknowledged; 0 if there is none",
        )?;
        registry.register(Box::new(Self { gauge, lag, shelf, queue, clock }))
    }
}

impl Collector for LagGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // In the order in which events move on, or one could be missed on its way.
        let waits_ms = self.queue.first_ms().unwrap_or(NONE);
        let first_ms = waits_ms.min(self.lag.first_ms());
        let first_ms = first_ms.min(self.shelf.first_ms().unwrap_or(NONE));
        let age_ms = if first_ms == NONE { 0 } else { self.clock.now_ms().saturating_sub(first_ms) };
        self.gauge.set((age_ms / 1000) as i64);
        self.gauge.collect()
    }
}
