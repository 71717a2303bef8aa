//! Metrics of the front door: connections, handshakes, requests.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// See the help texts.
#[derive(Clone, Debug)]
pub(crate) struct DoorMetrics {
    pub(crate) connections: IntGauge,
    pub(crate) refused: IntCounterVec,
    pub(crate) tunnels: IntCounterVec,
    pub(crate) handshake_failures: IntCounter,
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) throttled: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) body_bytes: IntGauge,
    pub(crate) tls_expiry: IntGauge,
    pub(crate) tls_changes: IntCounterVec,
}

impl DoorMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("penstock_control_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("penstock_control_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(format!("penstock_control_{name}"), help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let seconds = HistogramOpts::new(
            "penstock_control_api_request_seconds",
            "From a request's body to its answer, by resource",
        )
        .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0]);
        let request_seconds = HistogramVec::new(seconds, &["resource"])?;
        registry.register(Box::new(request_seconds.clone()))?;
        Ok(Self {
            connections: gauge("api_connections", "Connections of API clients and browsers open")?,
            refused: counters(
                "api_refused_connections_total",
                "Connections closed before they could ask, by reason",
                &["reason"],
            )?,
            tunnels: counters("api_tunnels_total", "CONNECT requests, by outcome", &["outcome"])?,
            handshake_failures: counter(
                "api_tls_handshake_failures_total",
                "TLS handshakes of API clients that failed",
            )?,
            requests: counters(
                "api_requests_total",
                "Requests answered, by resource and status",
                &["resource", "status"],
            )?,
            request_seconds,
            throttled: counter(
                "api_throttled_total",
                "Requests refused because their account asks too fast",
            )?,
            panics: counter("api_panics_total", "Requests that ended in a panic")?,
            body_bytes: gauge("api_body_bytes", "Bytes of request bodies held")?,
            tls_expiry: gauge(
                "api_tls_expiry_seconds",
                "When the first of the API's certificates ends, in seconds since 1970",
            )?,
            tls_changes: counters(
                "api_tls_changes_total",
                "Certificates put in use and certificates that could not be, by outcome",
                &["outcome"],
            )?,
        })
    }
}
