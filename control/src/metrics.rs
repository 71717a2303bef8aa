//! Control's metrics, each defined once.

pub(crate) mod door;
pub(crate) mod nodes;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// See the help texts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) store_up: IntGauge,
    pub(crate) store_failures: IntCounter,
    pub(crate) resyncs: IntCounter,
    pub(crate) repairs: IntCounter,
    pub(crate) new_store_ids: IntCounter,
    pub(crate) damaged: IntGauge,
    pub(crate) revision: IntGauge,
    pub(crate) distributions: IntGauge,
    pub(crate) purges_kept: IntGauge,
    pub(crate) signers: IntGauge,
    pub(crate) origin_secrets: IntGauge,
    pub(crate) grants: IntGauge,
    pub(crate) unopened_secrets: IntCounter,
    pub(crate) members: IntGaugeVec,
    pub(crate) nodes: nodes::NodeMetrics,
    pub(crate) exclusions: IntCounter,
    pub(crate) deployed_floor: IntGauge,
    pub(crate) lagging: IntGauge,
    pub(crate) generation: IntGauge,
    pub(crate) history: IntGauge,
    pub(crate) subscribers: IntGauge,
    pub(crate) dropped_subscribers: IntCounter,
    pub(crate) snapshots: IntCounter,
    pub(crate) deltas: IntCounter,
    pub(crate) registers: IntCounter,
    pub(crate) refused_registers: IntCounter,
    pub(crate) purges: IntCounter,
    pub(crate) unreached_shields: IntCounter,
    pub(crate) applies: IntCounterVec,
    pub(crate) declared_rejected: IntGauge,
    pub(crate) door: door::DoorMetrics,
    pub(crate) api_refusals: IntCounterVec,
}

impl Metrics {
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
        let members = IntGaugeVec::new(
            Opts::new("penstock_control_members", "Live nodes by role and state"),
            &["role", "state"],
        )?;
        registry.register(Box::new(members.clone()))?;
        let applies = IntCounterVec::new(
            Opts::new("penstock_control_applies_total", "Declarative files applied, by outcome"),
            &["outcome"],
        )?;
        registry.register(Box::new(applies.clone()))?;
        let api_refusals = IntCounterVec::new(
            Opts::new(
                "penstock_control_api_refusals_total",
                "API requests and logins refused for their signature, by code",
            ),
            &["code"],
        )?;
        registry.register(Box::new(api_refusals.clone()))?;
        Ok(Self {
            store_up: gauge("store_up", "1 while the store is followed")?,
            store_failures: counter("store_failures_total", "Calls and watches of the store that failed")?,
            resyncs: counter("store_resyncs_total", "Full lists read because the watch could not go on")?,
            repairs: counter(
                "store_repairs_total",
                "Times the periodic list differed from what the watch had told",
            )?,
            new_store_ids: counter(
                "store_id_renewals_total",
                "Times the store's history was found running backwards",
            )?,
            damaged: gauge("damaged_documents", "Documents in the store that can't be read")?,
            revision: gauge("revision", "Config revision published")?,
            distributions: gauge("distributions", "Distributions published")?,
            purges_kept: gauge("purges", "Orders to forget that are still kept")?,
            signers: gauge("signers", "Accounts whose public keys are published")?,
            origin_secrets: gauge("origin_secrets", "Origin secrets published to shields")?,
            grants: gauge("grants", "Grants of the nodes' own role published to shields")?,
            unopened_secrets: counter(
                "unopened_secrets_total",
                "Times an origin secret could not be opened and was withheld from a shield",
            )?,
            members,
            nodes: nodes::NodeMetrics::new(registry)?,
            exclusions: counter("exclusions_total", "Nodes excluded because they were away for too long")?,
            deployed_floor: gauge(
                "deployed_floor",
                "Highest revision that every node that counts has applied",
            )?,
            lagging: gauge("lagging_members", "Live nodes that have not applied the published revision")?,
            generation: gauge("shield_map_generation", "Generation of the shield map published")?,
            history: gauge("history_deltas", "Changes kept for subscribers that resume")?,
            subscribers: gauge("subscribers", "Subscriptions open")?,
            dropped_subscribers: counter(
                "dropped_subscribers_total",
                "Subscriptions ended because the reader was too slow",
            )?,
            snapshots: counter("snapshots_total", "Full snapshots sent")?,
            deltas: counter("deltas_total", "Changes sent")?,
            registers: counter("registers_total", "Register calls accepted")?,
            refused_registers: counter("refused_registers_total", "Register calls refused or failed")?,
            purges: counter("purges_total", "Purge calls carried out")?,
            unreached_shields: counter("unreached_shields_total", "Shields a Purge call did not reach")?,
            applies,
            declared_rejected: gauge(
                "declared_rejected",
                "1 while the declarative file as it is now was not applied; what was before stays in force",
            )?,
            door: door::DoorMetrics::new(registry)?,
            api_refusals,
        })
    }
}
