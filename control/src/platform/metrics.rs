//! What the node's role shows of itself: whether the platform gives keys, and until when those that are held last.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// See the help texts.
#[derive(Clone, Debug)]
pub struct RoleMetrics {
    loads: IntCounterVec,
    expiry: IntGauge,
}

impl RoleMetrics {
    /// Registers them; their names begin with `whose`, such as `penstock_shield`.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry, whose: &str) -> Result<Self, prometheus::Error> {
        let loads = IntCounterVec::new(
            Opts::new(
                format!("{whose}_role_loads_total"),
                "Times the platform was asked for keys of the node's role, by outcome: ok or failed.",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(loads.clone()))?;
        let expiry = IntGauge::new(
            format!("{whose}_role_expiry_timestamp_seconds"),
            "When the newest keys of the node's role end, in seconds since 1970; 0 without any, or if they don't.",
        )?;
        registry.register(Box::new(expiry.clone()))?;
        Ok(Self { loads, expiry })
    }

    /// Counts a load: `None` failed; `u64::MAX` gave keys that don't end.
    pub(super) fn count(&self, expires_ms: Option<u64>) {
        self.loads.with_label_values(&[if expires_ms.is_some() { "ok" } else { "failed" }]).inc();
        if let Some(ms) = expires_ms {
            let seconds = if ms == u64::MAX { 0 } else { ms / 1000 };
            self.expiry.set(i64::try_from(seconds).unwrap_or_default());
        }
    }
}
