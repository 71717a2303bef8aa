//! What an operator sees of a spool, each metric defined once; but its lag, which is [`super::lag`]'s.

use super::log::DropReason;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Values of the label `event`, by the number of the event.
const EVENTS: [&str; 9] =
    ["other", "connect", "disconnect", "play", "stop", "pause", "unpause", "seek", "request"];

/// See the help texts.
#[derive(Clone, Debug)]
pub(crate) struct SpoolMetrics {
    // By the event's number: a look into the vector's map would cost more than all else that is counted.
    events: Vec<IntCounter>,
    pub(crate) bytes: IntCounter,
    pub(crate) spool_bytes: IntGauge,
    pub(crate) waiting: IntGauge,
    dropped: IntCounterVec,
    pub(crate) late: IntCounter,
    pub(crate) queue_events: IntGauge,
    pub(crate) sessions: IntGauge,
    pub(crate) recovered: IntCounter,
    pub(crate) torn_tails: IntCounter,
    pub(crate) damaged: IntCounter,
    pub(crate) disk_failures: IntCounter,
}

impl SpoolMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("penstock_edge_log_{name}"), help);
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(opts(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(opts(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(opts(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let events = counters("events_total", "Access events written to the spool", "event")?;
        let metrics = Self {
            events: EVENTS.iter().map(|event| events.with_label_values(&[*event])).collect(),
            bytes: counter("bytes_total", "Bytes of access events written to the spool")?,
            spool_bytes: gauge("spool_bytes", "Bytes of the spool's files")?,
            waiting: gauge("segments_waiting", "Sealed segments that control has not acknowledged")?,
            dropped: counters(
                "dropped_events_total",
                "Access events lost, by reason: queue_full, disk_full, disk_failed, spool_full, damaged (they, or all of their segment, can't be read any more), \
                 refused (control will never take it), too_long, closed",
                "reason",
            )?,
            late: counter(
                "late_events_total",
                "Access events that answers to players went out without waiting for",
            )?,
            queue_events: gauge("queue_events", "Access events waiting for the disk")?,
            sessions: gauge("open_sessions", "Sessions with a connect and no disconnect yet")?,
            recovered: counter(
                "recovered_events_total",
                "Stops and disconnects written at start for sessions that an earlier process left open",
            )?,
            torn_tails: counter("torn_tails_total", "Unfinished writes cut off at start")?,
            damaged: counter("damaged_segments_total", "Sealed segments set aside because they are damaged")?,
            disk_failures: counter("disk_failures_total", "Operations on the spool's folder that failed")?,
        };
        // There from the start: an alarm on a rate needs the zero before the one.
        for reason in DropReason::ALL {
            metrics.dropped.with_label_values(&[reason.label()]);
        }
        Ok(metrics)
    }

    /// Counts an event written.
    pub(crate) fn event(&self, event: i32) {
        let at = usize::try_from(event).unwrap_or(0);
        if let Some(counter) = self.events.get(at).or(self.events.first()) {
            counter.inc();
        }
    }

    /// Counts events lost.
    pub(crate) fn dropped(&self, reason: DropReason, events: u64) {
        self.dropped.with_label_values(&[reason.label()]).inc_by(events);
    }

    #[cfg(test)]
    pub(crate) fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped.with_label_values(&[reason.label()]).get()
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::AccessEvent;

    use super::EVENTS;

    #[test]
    fn every_event_is_counted_under_its_name() {
        for (number, name) in EVENTS.iter().enumerate().skip(1) {
            let event = AccessEvent::try_from(number as i32).unwrap();
            assert_eq!(event.as_str_name(), format!("ACCESS_EVENT_{}", name.to_uppercase()));
        }
        assert!(AccessEvent::try_from(EVENTS.len() as i32).is_err(), "an event that has no name here");
    }
}
