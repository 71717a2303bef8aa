//! Events lost: counted each, told of now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::log::DropReason;
use super::metrics::SpoolMetrics;

/// Between two lines about one reason. The first comes at once: an operator should not wait to hear that logs are being lost.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Reason {
    untold: u64,
    told: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Drops {
    metrics: SpoolMetrics,
    reasons: Mutex<BTreeMap<&'static str, Reason>>,
}

impl Drops {
    pub(crate) fn new(metrics: SpoolMetrics) -> Self {
        Self { metrics, reasons: Mutex::default() }
    }

    /// Counts `events` lost.
    pub(crate) fn count(&self, reason: DropReason, events: u64) {
        if events == 0 {
            return;
        }
        self.metrics.dropped(reason, events);
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let about = reasons.entry(reason.label()).or_default();
        about.untold += events;
        let now = Instant::now();
        if about.told.is_none_or(|told| now.duration_since(told) >= LINE_EVERY) {
            about.told = Some(now);
            let events = std::mem::take(&mut about.untold);
            drop(reasons);
            tell(reason.label(), events);
        }
    }

    /// Tells what was counted since a line, where one is due; `all`: even if not.
    pub(crate) fn tell(&self, all: bool) {
        let now = Instant::now();
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, about) in reasons.iter_mut() {
            let due = all || about.told.is_none_or(|told| now.duration_since(told) >= LINE_EVERY);
            if due && about.untold > 0 {
                about.told = Some(now);
                tell(reason, std::mem::take(&mut about.untold));
            }
        }
    }
}

fn tell(reason: &str, events: u64) {
    tracing::warn!(reason, events, "access events are lost");
}
