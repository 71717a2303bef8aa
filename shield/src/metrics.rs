//! Every metric of this crate, each defined once. Names end in their unit; labels are small closed sets, never a
//! distribution, key or session.

#[cfg(feature = "server")]
use control::platform::RoleMetrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// What a shield counts.
#[cfg(feature = "server")]
#[derive(Clone)]
pub(crate) struct Metrics {
    /// Blocks asked for, by how they were found: `hit`, `joined` (a fill was under way), `miss`, or `absent` (a miss of those who
    /// ask only the cache).
    pub(crate) blocks: IntCounterVec,
    /// GETs ended, by outcome: `ok` or the error's kind.
    pub(crate) fills: IntCounterVec,
    /// GETs sent to origins, by priority; resumes included.
    pub(crate) origin_gets: IntCounterVec,
    /// HEADs sent to origins.
    pub(crate) origin_heads: IntCounter,
    /// Bytes of body that origins sent.
    pub(crate) origin_bytes: IntCounter,
    /// Errors of origins, by kind.
    pub(crate) origin_errors: IntCounterVec,
    /// Other shields asked for a run before the origin was: `cached` (its beginning at least) or `not-cached`.
    pub(crate) owner_asks: IntCounterVec,
    /// Bytes other shields had.
    pub(crate) owner_bytes: IntCounter,
    /// Bodies resumed.
    pub(crate) origin_resumes: IntCounter,
    /// Stats answered: `fresh`, `checked`, `stale`, `absent`, `forbidden`, `not-cached` or `failed`.
    pub(crate) stats: IntCounterVec,
    /// Descriptions held.
    pub(crate) stat_entries: IntGauge,
    /// Bytes sent to edges.
    pub(crate) served_bytes: IntCounter,
    /// Streams ended by an error, by reason.
    pub(crate) read_errors: IntCounterVec,
    /// Streams open.
    pub(crate) streams: IntGauge,
    /// Bytes of blocks that streams hold, out of `read.inflight_bytes`.
    pub(crate) held_bytes: IntGauge,
    /// Times a stream had to wait for room in that budget.
    pub(crate) read_waits: IntCounter,
    /// Blocks asked ahead that were taken back from streams whose edge did not read.
    pub(crate) read_taken_back: IntCounter,
    /// Bytes of the block cache.
    pub(crate) cache_bytes: IntGauge,
    /// Blocks in the block cache.
    pub(crate) cache_blocks: IntGauge,
    /// Blocks being filled.
    pub(crate) filling_blocks: IntGauge,
    /// GETs waiting for a connection, by priority.
    pub(crate) queued_fills: prometheus::IntGaugeVec,
    /// GETs under way, by priority.
    pub(crate) running_fills: prometheus::IntGaugeVec,
    /// Entries dropped by purges.
    pub(crate) purged: IntCounter,
    /// Keys that the platform gives.
    pub(crate) role: RoleMetrics,
}

#[cfg(feature = "server")]
impl Metrics {
    pub(crate) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, label: &str| {
            let metric = prometheus::IntGaugeVec::new(Opts::new(name, help), &[label])?;
            r.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            blocks: counters(
                r,
                "penstock_shield_blocks_total",
                "Blocks asked for, by how they were found.",
                "found",
            )?,
            fills: counters(r, "penstock_shield_fills_total", "GETs ended, by outcome.", "outcome")?,
            origin_gets: counters(
                r,
                "penstock_shield_origin_gets_total",
                "GETs sent to origins.",
                "priority",
            )?,
            origin_heads: counter(r, "penstock_shield_origin_heads_total", "HEADs sent to origins.")?,
            origin_bytes: counter(
                r,
                "penstock_shield_origin_received_bytes_total",
                "Bytes of body origins sent.",
            )?,
            origin_errors: counters(r, "penstock_shield_origin_errors_total", "Errors of origins.", "kind")?,
            owner_asks: counters(
                r,
                "penstock_shield_owner_asks_total",
                "Other shields asked for blocks before the origin was.",
                "outcome",
            )?,
            owner_bytes: counter(
                r,
                "penstock_shield_owner_received_bytes_total",
                "Bytes that came from other shields.",
            )?,
            origin_resumes: counter(
                r,
                "penstock_shield_origin_resumes_total",
                "Bodies resumed after they broke.",
            )?,
            stats: counters(r, "penstock_shield_stats_total", "Stats answered, by outcome.", "outcome")?,
            stat_entries: gauge(
                r,
                "penstock_shield_stat_entries",
                "Descriptions held, cached errors included.",
            )?,
            served_bytes: counter(r, "penstock_shield_served_bytes_total", "Bytes sent to edges.")?,
            read_errors: counters(
                r,
                "penstock_shield_read_errors_total",
                "Streams ended by an error.",
                "reason",
            )?,
            streams: gauge(r, "penstock_shield_read_streams", "Streams to edges that are open.")?,
            held_bytes: gauge(
                r,
                "penstock_shield_read_held_bytes",
                "Bytes of blocks that streams to edges hold, out of read.inflight_bytes.",
            )?,
            read_waits: counter(
                r,
                "penstock_shield_read_waits_total",
                "Times a stream waited for room in read.inflight_bytes.",
            )?,
            read_taken_back: counter(
                r,
                "penstock_shield_read_taken_back_blocks_total",
                "Blocks asked ahead that were taken back from streams whose edge did not read.",
            )?,
            cache_bytes: gauge(r, "penstock_shield_cache_bytes", "Bytes of the block cache in use.")?,
            cache_blocks: gauge(r, "penstock_shield_cache_blocks", "Blocks in the block cache.")?,
            filling_blocks: gauge(r, "penstock_shield_filling_blocks", "Blocks being filled.")?,
            queued_fills: gauges(
                "penstock_shield_queued_fills",
                "GETs waiting for a connection.",
                "priority",
            )?,
            running_fills: gauges("penstock_shield_running_fills", "GETs under way.", "priority")?,
            purged: counter(r, "penstock_shield_purged_entries_total", "Entries dropped by purges.")?,
            role: RoleMetrics::new(r, "penstock_shield")?,
        })
    }
}

/// What a client of shields counts.
#[derive(Clone)]
pub(crate) struct ClientMetrics {
    /// Attempts at one shield, by outcome: `ok`, the reason it failed, or `none-left` (all are left alone).
    pub(crate) attempts: IntCounterVec,
    /// Times work moved on to another shield.
    pub(crate) failovers: IntCounter,
    /// Probes of a silent shield, by outcome: `alive` or `dead`.
    pub(crate) probes: IntCounterVec,
    /// Bytes received.
    pub(crate) received_bytes: IntCounter,
    /// Shields in the map.
    pub(crate) shields: IntGauge,
    /// Shields whose breaker isn't closed.
    pub(crate) tripped: IntGauge,
    /// Breakers' changes: to `open`, `half-open` or `closed`.
    pub(crate) breaker_changes: IntCounterVec,
    /// Second shields asked before the first had failed, by how it ended: `won`, `not-cached`, `late` (the first was
    /// faster) or `failed`.
    pub(crate) hedges: IntCounterVec,
    /// Times a second shield was due but the budget was spent.
    pub(crate) hedges_refused: IntCounter,
    /// Times work was given up because the budget of retries was spent.
    pub(crate) retries_refused: IntCounter,
    /// Reads that a returning shield had no room for.
    pub(crate) eased: IntCounter,
}

impl ClientMetrics {
    pub(crate) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            attempts: counters(
                r,
                "penstock_shield_client_attempts_total",
                "Attempts at one shield.",
                "outcome",
            )?,
            failovers: counter(
                r,
                "penstock_shield_client_failovers_total",
                "Times work moved to another shield.",
            )?,
            probes: counters(
                r,
                "penstock_shield_client_probes_total",
                "Probes of a silent shield.",
                "outcome",
            )?,
            received_bytes: counter(
                r,
                "penstock_shield_client_received_bytes_total",
                "Bytes received from shields.",
            )?,
            shields: gauge(r, "penstock_shield_client_shields", "Shields in the current map.")?,
            tripped: gauge(
                r,
                "penstock_shield_client_breakers_open",
                "Shields left alone because they fail.",
            )?,
            breaker_changes: counters(
                r,
                "penstock_shield_client_breaker_changes_total",
                "Changes of shields' breakers.",
                "to",
            )?,
            hedges: counters(
                r,
                "penstock_shield_client_hedges_total",
                "Second shields asked before the first had failed, by how it ended.",
                "outcome",
            )?,
            hedges_refused: counter(
                r,
                "penstock_shield_client_hedges_refused_total",
                "Hedges not sent because their budget was spent.",
            )?,
            retries_refused: counter(
                r,
                "penstock_shield_client_retries_refused_total",
                "Work given up because the budget of retries was spent.",
            )?,
            eased: counter(
                r,
                "penstock_shield_client_eased_reads_total",
                "Reads that a returning shield had no room for, tried in the next one's cache first.",
            )?,
        })
    }
}
