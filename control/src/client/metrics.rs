//! The metrics of a node's side of control, each defined once. All carry the constant label `role`, so that an edge and
//! a shield in one process (standalone) can share a registry.

use super::catalogue::Catalogue;
use prometheus::{IntCounter, IntGauge, Opts, Registry};

/// See the help texts.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics {
    pub(crate) connected: IntGauge,
    pub(crate) revision: IntGauge,
    pub(crate) distributions: IntGauge,
    pub(crate) refused: IntGauge,
    pub(crate) signers: IntGauge,
    pub(crate) origin_secrets: IntGauge,
    pub(crate) grants: IntGauge,
    pub(crate) generation: IntGauge,
    pub(crate) snapshots: IntCounter,
    pub(crate) deltas: IntCounter,
    pub(crate) stale: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) heartbeats: IntCounter,
    pub(crate) heartbeat_failures: IntCounter,
    pub(crate) save_failures: IntCounter,
}

impl ClientMetrics {
    /// Registers all of them for `role`.
    pub(crate) fn new(registry: &Registry, role: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| {
            Opts::new(format!("penstock_control_client_{name}"), help).const_label("role", role)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(opts(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(opts(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            connected: gauge("connected", "1 while a subscription to control is up to date")?,
            revision: gauge("revision", "Config revision this node knows")?,
            distributions: gauge("distributions", "Distributions in service on this node")?,
            refused: gauge(
                "refused_distributions",
                "Distributions this node refuses: invalid, or needing a feature it lacks",
            )?,
            signers: gauge("signers", "Accounts whose public keys this node knows")?,
            origin_secrets: gauge("origin_secrets", "Origin secrets this node was sent (shields only)")?,
            grants: gauge("grants", "Grants this node was sent (shields only)")?,
            generation: gauge("shield_map_generation", "Generation of the shield map this node knows")?,
            snapshots: counter("snapshots_total", "Full snapshots applied")?,
            deltas: counter("deltas_total", "Changes applied")?,
            stale: counter(
                "stale_events_total",
                "Events ignored because they were older than what is known",
            )?,
            failures: counter(
                "subscription_failures_total",
                "Subscriptions that could not be made or broke",
            )?,
            heartbeats: counter("heartbeats_total", "Register calls that succeeded")?,
            heartbeat_failures: counter("heartbeat_failures_total", "Register calls that failed")?,
            save_failures: counter("save_failures_total", "Times the last known good could not be written")?,
        })
    }

    /// Shows what is known.
    pub(crate) fn show(&self, catalogue: &Catalogue) {
        self.revision.set(catalogue.revision.number as i64);
        self.distributions.set(catalogue.distributions.len() as i64);
        self.refused.set(catalogue.refused.len() as i64);
        self.signers.set(catalogue.access.signers.len() as i64);
        self.origin_secrets.set(catalogue.access.origin_secrets.len() as i64);
        self.grants.set(catalogue.access.grants.len() as i64);
    }
}
