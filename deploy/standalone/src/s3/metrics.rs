//! What the endpoint counts: how an origin's economy is judged from outside.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Every metric of the endpoint, defined once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    /// Object bytes handed to clients (headers and XML not counted).
    pub(crate) sent_bytes: IntCounter,
    /// Object bytes taken from clients.
    pub(crate) received_bytes: IntCounter,
    /// Connections open now.
    pub(crate) connections: IntGauge,
    /// Connections turned away at the limit.
    pub(crate) refused_connections: IntCounter,
    /// Bodies cut short because the file changed or failed while it was read.
    pub(crate) broken_bodies: IntCounter,
}

impl Metrics {
    /// Defines and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("penstock_s3_requests_total", "Requests answered by the embedded S3 endpoint"),
            &["operation", "status"],
        )?;
        let bytes = IntCounterVec::new(
            Opts::new("penstock_s3_bytes_total", "Object bytes moved by the embedded S3 endpoint"),
            &["direction"],
        )?;
        let connections =
            IntGauge::new("penstock_s3_connections", "Connections to the embedded S3 endpoint now")?;
        let refused_connections = IntCounter::new(
            "penstock_s3_refused_connections_total",
            "Connections the embedded S3 endpoint turned away at its limit",
        )?;
        let broken_bodies = IntCounter::new(
            "penstock_s3_broken_bodies_total",
            "Responses cut short because the file changed or failed while it was read",
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(refused_connections.clone()))?;
        registry.register(Box::new(broken_bodies.clone()))?;
        Ok(Self {
            requests,
            sent_bytes: bytes.with_label_values(&["sent"]),
            received_bytes: bytes.with_label_values(&["received"]),
            connections,
            refused_connections,
            broken_bodies,
        })
    }

    /// Counts one answer. Operations come from the protocol layer's own list, so the label's values are few.
    pub(crate) fn answer(&self, operation: &str, status: u16) {
        self.requests.with_label_values(&[operation, &status.to_string()]).inc();
    }

    /// Answers of one operation so far.
    pub(crate) fn answered(&self, operation: &str) -> u64 {
        use prometheus::core::Collector;
        let mut total = 0;
        for family in self.requests.collect() {
            for metric in family.get_metric() {
                if metric.get_label().iter().any(|l| l.name() == "operation" && l.value() == operation) {
                    total += metric.get_counter().get_value() as u64;
                }
            }
        }
        total
    }
}
