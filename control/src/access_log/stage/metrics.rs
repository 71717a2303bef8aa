//! What staging shows of itself, each metric defined once.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// See the help texts.
#[derive(Clone, Debug)]
pub(super) struct StageMetrics {
    segments: IntCounter,
    bytes: IntCounter,
    records: IntCounter,
    pub(super) repeated: IntCounter,
    pub(super) rejoined: IntCounter,
    pub(super) far_off: IntCounter,
    pub(super) failures: IntCounterVec,
}

impl StageMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("penstock_control_log_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let failures = Opts::new(
            "penstock_control_log_stage_failures_total",
            "Segments of access logs that were not staged, by what was in the way: invalid, unverified, bucket, store, conflict",
        );
        let failures = IntCounterVec::new(failures, &["reason"])?;
        registry.register(Box::new(failures.clone()))?;
        // There from the start: an alarm on a rate needs the zero before the one.
        for reason in ["invalid", "unverified", "bucket", "store", "conflict"] {
            failures.with_label_values(&[reason]);
        }
        Ok(Self {
            segments: counter("staged_segments_total", "Segments of access logs staged")?,
            bytes: counter("staged_bytes_total", "Bytes of segments staged")?,
            records: counter("staged_records_total", "Access records in segments staged")?,
            repeated: counter("repeated_segments_total", "Segments that edges handed over again")?,
            rejoined: counter(
                "rejoined_segments_total",
                "Segments that stood in staging and in no ledger when a later one of their spool came, and were entered before it",
            )?,
            far_off: counter(
                "far_off_records_total",
                "Access records staged whose hour is before 2009 or more than 26 h after this replica's: one of the two clocks is wrong",
            )?,
            failures,
        })
    }

    pub(super) fn staged(&self, bytes: u64, records: u64) {
        self.segments.inc();
        self.bytes.inc_by(bytes);
        self.records.inc_by(records);
    }
}
