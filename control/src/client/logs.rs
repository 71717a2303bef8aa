//! An edge's access logs: its spool, and the task that hands over what is in it.
//!
//! [`EdgeLogs::open`] at the start, before viewers are let in; [`EdgeLogs::finish`] after the last session has ended, or its two halves, where
//! something comes between. A spool that can't be opened is an error, and whoever starts an edge is to treat it as one: events would be lost
//! without anybody noticing.

use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;
use serde::Deserialize;

use super::ship::{self, Route, ShipConfig, Shipping};
use super::spool::{self, EventLog, Spool, SpoolConfig, SpoolError};

/// The `logs:` section of an edge's configuration; [`reference()`] describes each field.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the reference describes each field once, for operators and readers alike")]
pub struct EdgeLogsConfig {
    pub enabled: bool,
    pub spool: SpoolConfig,
    pub ship: ShipConfig,
}

impl Default for EdgeLogsConfig {
    fn default() -> Self {
        Self { enabled: true, spool: SpoolConfig::default(), ship: ShipConfig::default() }
    }
}

/// Every field of the section with its unit and default.
pub fn reference() -> String {
    let enabled = "  logs.enabled                false: nothing is recorded, whatever a
                              distribution's logging says                 [default: true]
";
    format!("{enabled}\n{}\n{}", spool::config::REFERENCE, ship::REFERENCE)
}

impl EdgeLogsConfig {
    /// Checks values that types don't; an error begins with the field's name.
    pub fn check(&self) -> Result<(), String> {
        self.spool.check()?;
        self.ship.check()
    }
}

/// Why access logs can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool.
    #[error(
        "the spool (logs.spool.folder): {0}. An edge that can't keep its events does not start, unless logs.enabled is false"
    )]
    Spool(#[from] SpoolError),
    /// The way to control.
    #[error(transparent)]
    Ship(#[from] ship::StartError),
    /// The thread that opens files ended.
    #[error("the spool could not be opened: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Open access logs.
pub struct EdgeLogs {
    spool: Arc<Spool>,
    // Gone once it has been told to come to an end.
    shipping: Option<Shipping<Spool>>,
}

impl EdgeLogs {
    /// Opens the spool, by default in `STATE_DIR/access-log`, writes what an earlier process owed, and starts handing over. `None` if it is not
    /// enabled.
    ///
    /// # Errors
    /// When the spool's folder can't be used, or control's endpoints can't.
    pub async fn open(
        config: EdgeLogsConfig,
        state_dir: &Path,
        route: Route,
        registry: &Registry,
    ) -> Result<Option<Self>, OpenError> {
        let EdgeLogsConfig { enabled, mut spool, ship } = config;
        if !enabled {
            tracing::warn!("logs.enabled is false: this edge records no access events");
            return Ok(None);
        }
        spool.folder.get_or_insert_with(|| state_dir.join("access-log"));
        let opened = tokio::task::spawn_blocking({
            let (node_id, registry) = (route.node_id.clone(), registry.clone());
            move || Spool::open(spool, &node_id, &registry)
        });
        let spool = Arc::new(opened.await??);
        let shipping = Shipping::start(spool.clone(), ship, route, None, registry)?;
        Ok(Some(Self { spool, shipping: Some(shipping) }))
    }

    /// Where sessions record their events.
    pub fn log(&self) -> EventLog {
        self.spool.log()
    }

    /// After the last session: has the rest handed over, within `logs.ship.drain_ms`. Given up on half-way, nothing more is handed over.
    pub async fn hand_over(&mut self) {
        if let Some(shipping) = self.shipping.take() {
            shipping.drain().await;
        }
    }

    /// Sealed segments that control has not acknowledged.
    pub fn segments_left(&self) -> usize {
        self.spool.waiting().segments
    }

    /// Closes the spool; what has not been handed over is there at the next start. False: its disk takes longer than `logs.spool.close_ms`.
    pub async fn close(self) -> bool {
        let Self { spool, shipping } = self;
        drop(shipping);
        spool.close().await
    }

    /// [Hands over](Self::hand_over) what is left and [closes](Self::close) the spool.
    pub async fn finish(logs: Option<Self>) {
        let Some(mut logs) = logs else { return };
        logs.hand_over().await;
        let left = logs.segments_left();
        let closed = logs.close().await;
        tracing::info!(segments_left = left, closed, "access logs are closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::config::fields;

    #[test]
    fn the_reference_names_every_field() {
        for field in fields::of::<EdgeLogsConfig>() {
            let name = format!("  logs.{} ", field.path.join("."));
            assert!(reference().contains(&name), "{name}");
        }
    }

    #[test]
    fn what_is_not_usable_is_named() {
        assert_eq!(EdgeLogsConfig::default().check(), Ok(()));
        let parse =
            |yaml: &str| serde_yaml_ng::from_str::<EdgeLogsConfig>(yaml).unwrap().check().unwrap_err();
        assert!(parse("ship: {call_timeout_ms: 1}").starts_with("logs.ship.call_timeout_ms:"));
        assert!(parse("spool: {segment_bytes: 1}").starts_with("logs.spool.segment_bytes:"));
        assert!(serde_yaml_ng::from_str::<EdgeLogsConfig>("colour: red").is_err());
    }
}
