//! What shipping shows of itself, each metric defined once. How old the oldest event is that waits, the spool tells.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use proto::status::Reason;

/// See the help texts.
#[derive(Clone, Debug)]
pub(super) struct ShipMetrics {
    segments: IntCounter,
    bytes: IntCounter,
    repeated: IntCounter,
    pub(super) refused: IntCounter,
    failures: IntCounterVec,
    seconds: Histogram,
}

impl ShipMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("penstock_edge_log_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let failures = Opts::new(
            "penstock_edge_log_ship_failures_total",
            "Attempts to hand a segment of access events over to control that failed, by reason",
        );
        let failures = IntCounterVec::new(failures, &["reason"])?;
        registry.register(Box::new(failures.clone()))?;
        let seconds = HistogramOpts::new(
            "penstock_edge_log_ship_seconds",
            "Time from handing a segment over to its acknowledgement, in seconds",
        );
        let seconds =
            Histogram::with_opts(seconds.buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]))?;
        registry.register(Box::new(seconds.clone()))?;
        for reason in [Reason::Unavailable, Reason::Deadline, Reason::Overloaded] {
            failures.with_label_values(&[reason.as_str()]);
        }
        Ok(Self {
            segments: counter(
                "shipped_segments_total",
                "Segments of access events that control acknowledged",
            )?,
            bytes: counter("shipped_bytes_total", "Bytes of segments that control acknowledged")?,
            repeated: counter(
                "ship_repeated_segments_total",
                "Acknowledged segments that control had before",
            )?,
            refused: counter(
                "ship_refused_segments_total",
                "Segments that control will never take, set aside",
            )?,
            failures,
            seconds,
        })
    }

    pub(super) fn shipped(&self, bytes: u64, repeated: bool, took: Duration) {
        self.segments.inc();
        self.bytes.inc_by(bytes);
        self.repeated.inc_by(u64::from(repeated));
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, reason: Reason) {
        self.failures.with_label_values(&[reason.as_str()]).inc();
    }
}
