//! What hourly files show of themselves.

use prometheus::{IntCounter, IntGauge, Registry};

/// See the help texts.
#[derive(Clone, Debug)]
pub(super) struct HourlyMetrics {
    pub(super) files: IntCounter,
    pub(super) records: IntCounter,
    pub(super) skipped: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) given_up: IntCounter,
    pub(super) waiting: IntGauge,
}

impl HourlyMetrics {
    /// Registers all of them.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("penstock_control_log_hourly_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let waiting = IntGauge::new(
            "penstock_control_log_hourly_waiting_hours",
            "Hours of distributions whose Parquet file is not made, or not anew",
        )?;
        registry.register(Box::new(waiting.clone()))?;
        Ok(Self {
            files: counter("files_total", "Parquet files put")?,
            records: counter("records_total", "Records in them")?,
            skipped: counter("skipped_total", "Log files and lines that could not be read for them")?,
            failures: counter(
                "failures_total",
                "Attempts that failed: the bucket refused, or did not answer",
            )?,
            given_up: counter("given_up_total", "Hours that were given up after a week of attempts")?,
            waiting,
        })
    }
}
