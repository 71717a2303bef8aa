//! Every metric of the edge, defined once, with its unit.
//!
//! No distribution, key or session appears in a label: their number is the viewers' to choose.

use prometheus::{
    Counter, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, exponential_buckets,
};

use crate::budget::Budget;

/// Counts in a gauge for as long as it lives, whatever ends it.
pub struct Counted(IntGauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The edge's metrics.
pub struct Metrics {
    /// Connections open now.
    pub connections: IntGauge,
    /// Connections accepted, by protocol as their first bytes tell: `rtmp`, `rtmpe`, `http`, `policy`; within TLS `rtmps`, `rtmpes`, `https`, `policy`.
    pub accepted: IntCounterVec,
    /// What was refused or ended by us (connections, requests, plays, playlist items, handshakes), by reason.
    pub refused: IntCounterVec,
    /// Connects rejected, by code: CloudFront's, and ServerDraining, ServerBusy, SwfVerificationFailed.
    pub rejected: IntCounterVec,
    /// Sessions whose connect was accepted, now.
    pub sessions: IntGauge,
    /// Sessions that run through HTTP, now, connected or not.
    pub tunnel_sessions: IntGauge,
    /// Requests of tunnels, by kind.
    pub tunnel_requests: IntCounterVec,
    /// Streams playing now.
    pub playing: IntGauge,
    /// Plays started, by container.
    pub plays: IntCounterVec,
    /// Plays that failed, by status code sent.
    pub play_errors: IntCounterVec,
    /// Commands understood, by name (unknown ones as `other`).
    pub commands: IntCounterVec,
    /// Bytes written to viewers.
    pub sent_bytes: IntCounter,
    /// Bytes read from viewers.
    pub received_bytes: IntCounter,
    /// Time from a play command to its first media message written, in seconds.
    pub first_media_seconds: Histogram,
    /// Time a stream waited for bytes that were not in memory, in seconds.
    pub wait_seconds: Histogram,
    /// Demand for blocks found in the edge's cache.
    pub block_hits: IntCounter,
    /// Demand for blocks not found.
    pub block_misses: IntCounter,
    /// Range reads sent to shields, by priority.
    pub fetches: IntCounterVec,
    /// Bytes shields sent.
    pub fetched_bytes: IntCounter,
    /// Range reads that failed for good.
    pub fetch_errors: IntCounter,
    /// Opens served from the last known description because no shield answered.
    pub stale_opens: IntCounter,
    /// Time to read a media index, in seconds.
    pub index_seconds: Histogram,
    /// Messages over the size limit that were skipped.
    pub oversized_messages: IntCounter,
    /// Seeks and unpauses that came within `seek_interval_ms` of the last one and had to wait, or were replaced while they did.
    pub deferred_seeks: IntCounter,
    /// Switches to another file of the same film that took place.
    pub switches: IntCounter,
    /// Times viewers were told that they don't keep up.
    pub insufficient_bandwidth: IntCounter,
    /// Bytes of blocks cached.
    pub cache_bytes: IntGauge,
    /// Bytes in use, by account of the memory budget.
    pub memory_bytes: IntGaugeVec,
    /// Caps of those accounts; 0 for one that is part of another.
    pub memory_cap_bytes: IntGaugeVec,
    /// Times a slow viewer's queue was copied out of the blocks it held.
    pub detached: IntCounter,
    /// Names asked for at distributions with trusted signers (plays, seeks, lengths), by outcome: `allowed`, or why not.
    pub authorisations: IntCounterVec,
    /// Key exchanges of RTMPE handshakes that wait or run, now.
    pub key_exchanges: IntGauge,
    /// Time from when a key exchange was asked for to its outcome, in seconds.
    pub key_exchange_seconds: Histogram,
    /// Sessions that ended in a panic.
    pub panics: IntCounter,
    /// Seconds that sessions were held back by egress caps, added up.
    pub throttled_seconds: Counter,
    /// 1 for the phase of the edge's life, by name.
    pub drain_phase: IntGaugeVec,
    /// Seconds that each phase of the drain took.
    pub drain_seconds: GaugeVec,
    /// Configured limits, by name, in each limit's own unit.
    pub limits: IntGaugeVec,
    /// Changes of the certificate files, by whether they were `loaded` or `failed`.
    pub tls_reloads: IntCounterVec,
    /// When the first certificate ends, in seconds since 1970; 0 without any.
    pub tls_expiry: IntGauge,
    /// How long sessions were there, from their first byte on, in seconds, by how they ended.
    pub session_seconds: HistogramVec,
    /// How long events held their viewers' bytes back, in seconds.
    pub log_hold_seconds: Histogram,
    /// Texts that were too long for a field of an access log, and cut.
    pub log_cut: IntCounter,
    /// Times a viewer's commands were left unread because it makes events too fast.
    pub log_paced: IntCounter,
}

impl Metrics {
    /// Defines and registers them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let metric = IntCounter::new(format!("penstock_edge_{name}"), help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let counters = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let metric = IntCounterVec::new(Opts::new(format!("penstock_edge_{name}"), help), &[label])?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let metric = IntGauge::new(format!("penstock_edge_{name}"), help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let histogram = |name: &str, help: &str| -> prometheus::Result<Histogram> {
            let buckets = exponential_buckets(0.005, 2.0, 14)?;
            let metric = Histogram::with_opts(
                HistogramOpts::new(format!("penstock_edge_{name}"), help).buckets(buckets),
            )?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauges = |name: &str, help: &str, label: &str| -> prometheus::Result<IntGaugeVec> {
            let metric = IntGaugeVec::new(Opts::new(format!("penstock_edge_{name}"), help), &[label])?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let throttled_seconds = Counter::new(
            "penstock_edge_egress_throttled_seconds_total",
            "Time sessions were held back by egress caps, added up",
        )?;
        registry.register(Box::new(throttled_seconds.clone()))?;
        let drain_seconds = GaugeVec::new(
            Opts::new("penstock_edge_drain_phase_seconds", "Time each phase of the drain took"),
            &["phase"],
        )?;
        registry.register(Box::new(drain_seconds.clone()))?;
        let session_seconds = HistogramVec::new(
            HistogramOpts::new("penstock_edge_session_seconds", "Session length by how it ended")
                .buckets(exponential_buckets(1.0, 4.0, 8)?),
            &["end"],
        )?;
        registry.register(Box::new(session_seconds.clone()))?;
        let log_hold_seconds = Histogram::with_opts(
            HistogramOpts::new("penstock_edge_log_hold_seconds", "How long events held viewers' bytes back")
                .buckets(exponential_buckets(0.0001, 4.0, 8)?),
        )?;
        registry.register(Box::new(log_hold_seconds.clone()))?;
        Ok(Self {
            connections: gauge("connections", "Connections open now")?,
            accepted: counters("accepted_total", "Connections by protocol of their first bytes", "protocol")?,
            refused: counters(
                "refused_total",
                "Connections refused or ended by the edge, by reason",
                "reason",
            )?,
            rejected: counters("rejected_total", "Connects rejected, by code", "code")?,
            sessions: gauge("sessions", "Sessions connected now")?,
            tunnel_sessions: gauge("tunnel_sessions", "Sessions that run through HTTP, now")?,
            tunnel_requests: counters("tunnel_requests_total", "Requests of tunnels, by kind", "kind")?,
            playing: gauge("playing_streams", "Streams playing now")?,
            plays: counters("plays_total", "Plays started, by container", "container")?,
            play_errors: counters("play_errors_total", "Plays that failed, by status code", "code")?,
            commands: counters("commands_total", "Commands by name", "command")?,
            sent_bytes: counter("sent_bytes_total", "Bytes written to viewers")?,
            received_bytes: counter("received_bytes_total", "Bytes read from viewers")?,
            first_media_seconds: histogram(
                "first_media_seconds",
                "From a play command to its first media message",
            )?,
            wait_seconds: histogram("wait_seconds", "Time a stream waited for bytes not in memory")?,
            block_hits: counter("block_hits_total", "Demand for blocks that were cached")?,
            block_misses: counter("block_misses_total", "Demand for blocks that were not cached")?,
            fetches: counters("fetches_total", "Range reads sent to shields, by priority", "priority")?,
            fetched_bytes: counter("fetched_bytes_total", "Bytes received from shields")?,
            fetch_errors: counter("fetch_errors_total", "Range reads that failed for good")?,
            stale_opens: counter("stale_opens_total", "Opens served from memory because no shield answered")?,
            index_seconds: histogram("index_seconds", "Time to read a media index")?,
            oversized_messages: counter("oversized_messages_total", "Messages over the size limit, skipped")?,
            deferred_seeks: counter(
                "deferred_seeks_total",
                "Seeks and unpauses that came too fast and waited",
            )?,
            switches: counter("switches_total", "Switches to another file of the same film that took place")?,
            insufficient_bandwidth: counter(
                "insufficient_bandwidth_total",
                "Times viewers were told that they don't keep up",
            )?,
            cache_bytes: gauge("cache_bytes", "Bytes of blocks cached")?,
            memory_bytes: gauges("memory_bytes", "Bytes in use, by account of the memory budget", "account")?,
            memory_cap_bytes: gauges(
                "memory_cap_bytes",
                "Caps of the accounts of memory; 0 for a part of another",
                "account",
            )?,
            detached: counter(
                "detached_batches_total",
                "Times a slow viewer's queue was copied out of the blocks it held",
            )?,
            authorisations: counters(
                "authorisations_total",
                "Names asked for at distributions with trusted signers, by outcome",
                "outcome",
            )?,
            key_exchanges: gauge("key_exchanges", "Key exchanges of RTMPE that wait or run")?,
            key_exchange_seconds: histogram(
                "key_exchange_seconds",
                "From when a key exchange was asked for to its outcome",
            )?,
            panics: counter("session_panics_total", "Connections and sessions that ended in a panic")?,
            throttled_seconds,
            drain_phase: gauges("drain_phase", "1 for the phase of the edge's life", "phase")?,
            drain_seconds,
            limits: gauges("limit", "Configured limits, by name", "limit")?,
            tls_reloads: counters(
                "tls_reloads_total",
                "Changes of the certificate files, by outcome",
                "outcome",
            )?,
            tls_expiry: gauge(
                "tls_certificate_expiry_timestamp_seconds",
                "When the first certificate ends, in seconds since 1970; 0 without any",
            )?,
            session_seconds,
            log_hold_seconds,
            log_cut: counter("log_cut_fields_total", "Texts cut to fit a field of an access log")?,
            log_paced: counter(
                "log_paced_total",
                "Times commands were left unread, because their viewer makes events too fast",
            )?,
        })
    }

    /// Shows the configured limits as gauges.
    pub fn publish_limits(&self, config: &crate::config::EdgeConfig) {
        let limits = [
            ("max_connections", config.max_connections as u64),
            ("max_connections_per_address", config.max_connections_per_address as u64),
            ("max_streams", config.max_streams as u64),
            ("max_playlist", config.max_playlist as u64),
            ("message_bytes", config.message_bytes as u64),
            ("batch_bytes", config.batch_bytes as u64),
            ("cache_bytes", config.cache_bytes),
            ("index_cache_bytes", config.index_cache_bytes),
            ("read_ahead_viewer_bytes", config.read_ahead_viewer_bytes),
            ("read_ahead_total_bytes", config.read_ahead_total_bytes),
            ("fetches", config.fetches as u64),
            ("egress_bytes_per_second", config.egress_bytes_per_second),
            ("session_bytes_per_second", config.session_bytes_per_second),
            ("rtmpe_dh_concurrency", config.rtmpe.concurrency() as u64),
            ("rtmpe_dh_queue", config.rtmpe.dh_queue as u64),
            ("rtmpe_dh_per_address_per_second", u64::from(config.rtmpe.dh_per_address_per_second)),
            ("rtmpe_buffer_bytes", config.rtmpe.buffer_bytes as u64),
            (
                "signature_checks_per_address_per_second",
                u64::from(config.signature_checks_per_address_per_second),
            ),
            ("tunnel_window", config.tunnel.window),
            ("tunnel_body_bytes", config.tunnel.body_bytes as u64),
            ("tunnel_input_bytes", config.tunnel.input_bytes as u64),
            ("tunnel_response_bytes", config.tunnel.response_bytes as u64),
            ("tunnel_max_sessions_per_address", config.tunnel.max_sessions_per_address as u64),
            ("tunnel_unknown_per_minute", u64::from(config.tunnel.unknown_per_minute)),
            ("log_field_bytes", config.log.field_bytes as u64),
        ];
        for (name, value) in limits {
            self.limits.with_label_values(&[name]).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// Shows the accounts of memory as they are now.
    pub fn publish_budget(&self, budget: &Budget) {
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        for (account, bytes, cap_bytes) in budget.figures() {
            self.memory_bytes.with_label_values(&[account]).set(gauge(bytes));
            self.memory_cap_bytes.with_label_values(&[account]).set(gauge(cap_bytes));
        }
        self.cache_bytes.set(gauge(budget.cached_blocks.bytes()));
    }
}
