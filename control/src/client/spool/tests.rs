//! Tests of the spool: as its users see it here, under faults in the modules.

use std::sync::Arc;

use prometheus::Registry;

use super::drops::Drops;
use super::log::Pulse;
use super::metrics::SpoolMetrics;
use super::writer::Shared;

mod control;
mod copies;
mod damage;
pub(crate) mod events;
mod faults;
pub(crate) mod faulty;
mod folders;
mod forgetful;
mod full_disk;
mod kills;
mod power;
mod readers;
mod threads;
mod world;

/// What a writer shares with nobody.
pub(crate) fn shared(registry: &Registry) -> Shared {
    let metrics = SpoolMetrics::new(registry).unwrap();
    Shared {
        shelf: Arc::default(),
        drops: Arc::new(Drops::new(metrics.clone())),
        pulse: Arc::new(Pulse::new()),
        metrics,
        lag: Arc::default(),
    }
}
