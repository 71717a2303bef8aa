//! What an edge uses of shields.
//!
//! [`ShieldClient`] hides that there are several: it finds the home of the bytes on the [`ring`], talks to it over tuned
//! connections (`channels`, `topology`), notices that it is dead or stuck (`failover`), and goes on with the next one from the next
//! missing byte ([`read`](ShieldClient::read)). An error it returns has been tried elsewhere as far as that makes sense.
//!
//! It follows the shield map as a last value: each call looks at the map of that moment, a stream at each segment.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use control::client::Dialer;
use prometheus::Registry;
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::range::ByteRange;
use proto::status::{Reason, RemoteError};
use proto::token::{BadToken, Bearer};
use proto::v1::{Priority, ShieldMap};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

mod channels;
mod failover;
mod read;
pub mod ring;
mod topology;

use crate::metrics::ClientMetrics;
use topology::Topology;

/// How an edge talks to shields.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Connections to each shield for demand (default 2, at most 16). One connection is about one core's worth.
    pub demand_connections: usize,
    /// Connections to each shield for read-ahead (default 1, at most 16).
    pub read_ahead_connections: usize,
    /// Milliseconds to connect (default 2,000).
    pub connect_ms: u64,
    /// Milliseconds of silence after which a shield is probed (default 1,200).
    pub probe_after_ms: u64,
    /// Milliseconds a probed shield has to answer before it counts as dead (default 600).
    pub probe_ms: u64,
    /// Milliseconds a living shield gets for a description (default 10,000).
    pub stat_ms: u64,
    /// Milliseconds a living shield gets until a stream's first bytes (default 8,000).
    pub first_message_ms: u64,
    /// Milliseconds a living shield gets between two messages of a stream (default 5,000).
    pub stall_ms: u64,
    /// Attempts in a row that may fail before the caller hears of it (default 6).
    pub attempts: u32,
    /// Milliseconds a shield that failed is asked last; doubles with each failure in a row (default 1,000).
    pub avoid_ms: u64,
    /// Most milliseconds a shield that failed is asked last (default 10,000).
    pub avoid_most_ms: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            demand_connections: 2,
            read_ahead_connections: 1,
            connect_ms: 2_000,
            probe_after_ms: 1_200,
            probe_ms: 600,
            stat_ms: 10_000,
            first_message_ms: 8_000,
            stall_ms: 5_000,
            attempts: 6,
            avoid_ms: 1_000,
            avoid_most_ms: 10_000,
        }
    }
}

impl ClientConfig {
    /// Checks every field; the error names the first that is wrong.
    pub fn validate(&self) -> Result<(), String> {
        for (field, value) in [
            ("demand_connections", self.demand_connections),
            ("read_ahead_connections", self.read_ahead_connections),
        ] {
            if !(1..=16).contains(&value) {
                return Err(format!("{field}: must be 1 to 16"));
            }
        }
        for (field, value) in [
            ("connect_ms", self.connect_ms),
            ("probe_after_ms", self.probe_after_ms),
            ("probe_ms", self.probe_ms),
            ("stat_ms", self.stat_ms),
            ("first_message_ms", self.first_message_ms),
            ("stall_ms", self.stall_ms),
            ("attempts", self.attempts.into()),
        ] {
            if value == 0 {
                return Err(format!("{field}: must be at least 1"));
            }
        }
        Ok(())
    }
}

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node token.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// A field of the configuration.
    #[error("{0}")]
    Config(String),
    /// A metric registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// All shields of a cluster as one. Cheap to clone.
#[derive(Clone)]
pub struct ShieldClient {
    inner: Arc<Inner>,
}

struct Inner {
    bearer: Bearer,
    map: watch::Receiver<Arc<ShieldMap>>,
    config: ClientConfig,
    dialer: Option<Dialer>,
    metrics: ClientMetrics,
    topology: Mutex<Arc<Topology>>,
}

impl ShieldClient {
    /// A client that carries `token` and follows `map`.
    pub fn new(
        token: &str,
        map: watch::Receiver<Arc<ShieldMap>>,
        config: ClientConfig,
        registry: &Registry,
    ) -> Result<Self, ClientError> {
        Self::new_by(token, map, config, None, registry)
    }

    /// As [`ShieldClient::new`], reaching shields through `dialer` if there is one.
    pub fn new_by(
        token: &str,
        map: watch::Receiver<Arc<ShieldMap>>,
        config: ClientConfig,
        dialer: Option<Dialer>,
        registry: &Registry,
    ) -> Result<Self, ClientError> {
        config.validate().map_err(ClientError::Config)?;
        let bearer = Bearer::new(token)?;
        let metrics = ClientMetrics::new(registry)?;
        let inner =
            Arc::new(Inner { bearer, map: map.clone(), config, dialer, metrics, topology: Mutex::default() });
        tokio::spawn(keep_topology(map, Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Describes the current version of an object. `retired` names a version the caller saw refused
    /// ([`Reason::VersionRetired`]): an answer older than that refusal is not given again.
    pub async fn stat(&self, object: &ObjectKey, retired: Option<&str>) -> Result<ObjectInfo, RemoteError> {
        failover::stat(&self.inner, object, retired).await
    }

    /// Streams `range` (clipped to `size`, the object's length) of one version, in order and without gaps, as slices with
    /// their offsets. An error ends the stream; what came before it is right.
    pub fn read(
        &self,
        version: &ObjectVersion,
        size: u64,
        range: ByteRange,
        priority: Priority,
    ) -> impl futures::Stream<Item = Result<(u64, bytes::Bytes), RemoteError>> + Send + 'static + use<> {
        read::stream(self.inner.clone(), version.clone(), range.clip(size), priority)
    }

    /// Whether any shield can be asked now.
    pub fn has_shields(&self) -> bool {
        !self.inner.topology().is_empty()
    }
}

/// Follows the map without being asked, so that what operators see of it doesn't wait for a viewer.
async fn keep_topology(mut map: watch::Receiver<Arc<ShieldMap>>, inner: Weak<Inner>) {
    loop {
        map.borrow_and_update();
        match inner.upgrade() {
            Some(inner) => drop(inner.topology()),
            None => return,
        }
        if map.changed().await.is_err() {
            return;
        }
    }
}

impl Inner {
    /// Nodes and ring of the map of this moment.
    fn topology(&self) -> Arc<Topology> {
        let map = self.map.borrow().clone();
        let mut current = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.is_of(&map) {
            *current = Arc::new(Topology::new(map, &current, &self.config, self.dialer.as_ref()));
            self.metrics.shields.set(current.len() as i64);
        }
        current.clone()
    }

    fn no_shield(&self, object: &ObjectKey) -> RemoteError {
        RemoteError::new(Reason::Unavailable, format!("{object}: no shield"))
    }
}

#[cfg(feature = "server")]
#[cfg(test)]
mod tests;
