//! What delivering access logs shows of itself. What staging shows is beside it, in [`super::stage`].

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::ledger::books::Backlog;

/// Values of the label `reason` of refused deliveries: the [kinds](super::bucket::BucketError::kind) of what a bucket says, and what
/// [`super::deliver`] finds before it asks one.
pub(crate) const REFUSALS: [&str; 8] =
    ["refused", "missing", "throttled", "away", "grant", "unknown", "lost", "damaged"];

/// See the help texts.
#[derive(Clone, Debug)]
pub(crate) struct MergeMetrics {
    pub(crate) records: IntCounter,
    pub(crate) bytes: IntCounter,
    pub(crate) files: IntCounter,
    pub(crate) refusals: IntCounterVec,
    pub(crate) held: IntCounter,
    pub(crate) dropped_files: IntCounter,
    pub(crate) dropped_records: IntCounter,
    pub(crate) lost_segments: IntCounter,
    pub(crate) lost_records: IntCounter,
    pub(crate) unreadable: IntCounter,
    pub(crate) conflicts: IntCounter,
    pub(crate) retired: IntCounter,
    pub(crate) adopted: IntCounter,
    pub(crate) swept: IntCounter,
    pub(crate) segment_reads: IntCounter,
    pub(crate) segment_read_bytes: IntCounter,
    pub(crate) cache_bytes: IntGauge,
    pub(crate) under_way: IntGauge,
    groups_waiting: IntGauge,
    groups_refused: IntGauge,
    records_waiting: IntGauge,
    oldest_waiting: IntGauge,
    staged_segments: IntGauge,
    staged_bytes: IntGauge,
    held_files: IntGauge,
    held_bytes: IntGauge,
}

impl MergeMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("penstock_control_log_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("penstock_control_log_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let refusals = IntCounterVec::new(
            Opts::new(
                "penstock_control_log_refused_deliveries_total",
                "Log files that their bucket did not take, by reason: refused, missing, throttled, away, grant, unknown (an edge names a place that control never had \
                 the distribution log to), lost (a staged segment is gone), damaged",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(refusals.clone()))?;
        // There from the start: an alarm on a rate needs the zero before the one.
        for reason in REFUSALS {
            refusals.with_label_values(&[reason]);
        }
        Ok(Self {
            records: counter("delivered_records_total", "Access records in log files that stand")?,
            bytes: counter("delivered_bytes_total", "Bytes of log files that stand, compressed")?,
            files: counter("delivered_files_total", "Log files that stand")?,
            refusals,
            held: counter("held_files_total", "Log files put into staging because their bucket refuses")?,
            dropped_files: counter(
                "undeliverable_files_total",
                "Log files given up because their bucket refused for too long",
            )?,
            dropped_records: counter("undeliverable_records_total", "Access records in log files given up")?,
            lost_segments: counter(
                "lost_segments_total",
                "Staged segments, and held files, that log files go without because staging has them no more, or damaged; once a file",
            )?,
            lost_records: counter(
                "lost_records_total",
                "Access records in them: at most so many are in no log file",
            )?,
            unreadable: counter(
                "unreadable_segments_total",
                "Reads of staged segments that found none, or a damaged one",
            )?,
            conflicts: counter(
                "ledger_conflicts_total",
                "Transactions of the log ledger that another replica was quicker than",
            )?,
            retired: counter("retired_segments_total", "Staged segments that every group has, deleted")?,
            adopted: counter(
                "adopted_segments_total",
                "Segments found in staging and in no ledger, and entered in it",
            )?,
            swept: counter("swept_objects_total", "Objects found in staging that nobody needs, deleted")?,
            segment_reads: counter("segment_reads_total", "Segments read from staging to be merged")?,
            segment_read_bytes: counter("segment_read_bytes_total", "Bytes of them")?,
            cache_bytes: gauge("segment_cache_bytes", "Bytes of segments in memory to be merged")?,
            under_way: gauge("merges_under_way", "Groups that are being merged or delivered")?,
            groups_waiting: gauge("groups_waiting", "Groups that have records to be delivered")?,
            groups_refused: gauge("groups_refused", "Groups among them whose bucket refused the last file")?,
            records_waiting: gauge("records_waiting", "Access records staged and not delivered")?,
            oldest_waiting: gauge(
                "oldest_waiting_seconds",
                "Age of the earliest event among them; files held for a bucket that refuses are left out",
            )?,
            staged_segments: gauge("staged_segments", "Segments in staging that some group still needs")?,
            staged_bytes: gauge("staged_bytes", "Bytes of them")?,
            held_files: gauge("held_files", "Log files in staging whose bucket refuses them")?,
            held_bytes: gauge("held_bytes", "Bytes of their records")?,
        })
    }

    /// Shows what waits.
    pub(crate) fn show(&self, backlog: &Backlog, now_ms: u64) {
        self.groups_waiting.set(backlog.groups as i64);
        self.groups_refused.set(backlog.refused_groups as i64);
        self.records_waiting.set(backlog.records as i64);
        let age_ms = backlog.first_ms.map_or(0, |first_ms| now_ms.saturating_sub(first_ms));
        self.oldest_waiting.set((age_ms / 1000) as i64);
        self.staged_segments.set(backlog.staged_segments as i64);
        self.staged_bytes.set(backlog.staged_bytes as i64);
        self.held_files.set(backlog.held_files as i64);
        self.held_bytes.set(backlog.held_bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::bucket::BucketError;

    #[test]
    fn every_reason_of_a_refusal_is_there_at_zero_and_in_the_help_text() {
        let registry = Registry::new();
        let metrics = MergeMetrics::new(&registry).unwrap();
        let families = registry.gather();
        let name = "penstock_control_log_refused_deliveries_total";
        let family =
            families.iter().find(|family| family.name() == name).expect("there before the first refusal");
        let mut shown: Vec<_> = family.get_metric().iter().map(|m| m.get_label()[0].value()).collect();
        shown.sort_unstable();
        let mut reasons = REFUSALS.to_vec();
        reasons.sort_unstable();
        assert_eq!(shown, reasons);
        for reason in REFUSALS {
            assert!(family.help().contains(reason), "{reason}");
            assert_eq!(metrics.refusals.with_label_values(&[reason]).get(), 0);
        }
        let refused = |code: &str| BucketError::Refused { what: String::new(), code: code.into() };
        for error in [refused("AccessDenied"), refused("SlowDown"), BucketError::Missing(String::new())] {
            assert!(REFUSALS.contains(&error.kind()), "{error}");
        }
    }
}
