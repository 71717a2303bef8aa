//! What an edge uses of shields.
//!
//! [`ShieldClient`] hides that there are several: it finds the home of the bytes on the [`ring`], talks to it over tuned
//! connections (`channels`, `topology`), notices that it is dead or stuck (`failover`), and goes on with the next one from the next
//! missing byte ([`read`](ShieldClient::read)). An error it returns has been tried elsewhere as far as that makes sense.
//!
//! It follows the shield map as a last value: each call looks at the map of that moment, a stream at each segment.
//!
//! What it does about trouble, each bounded so that it can't make trouble worse:
//!
//! * a shield that is silent is probed; one that is dead is left alone for a while (`breaker`), and found again by probes;
//! * a read that takes unusually long (`latency`) also asks the next shield, for what that has cached (`race`), within a
//!   `budget` of 5 % of all reads;
//! * what failed is asked again, of another shield, within a budget of 20 %, a number of attempts and a deadline (`failover`);
//! * a shield that returns gets its share little by little (`ramp`);
//! * only the home of a block is asked to read S3; another is asked for its cache first, unless the home is dead.
//!
//! Shields use the same code to ask each other after a change of the map (`handover`).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use control::client::credentials::Tls;
use control::client::{Credentials, Dialer};
use prometheus::Registry;
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::range::ByteRange;
use proto::status::{Reason, RemoteError};
use proto::token::Bearer;
use proto::v1::{Priority, ShieldMap};
use tokio::sync::watch;

mod breaker;
mod budget;
mod channels;
pub mod config;
mod failover;
#[cfg(feature = "server")]
pub(crate) mod handover;
mod jitter;
mod latency;
mod race;
mod ramp;
mod read;
pub mod ring;
mod stub;
mod topology;

use crate::metrics::ClientMetrics;
use budget::Budget;
pub use config::ClientConfig;
use jitter::Jitter;
use latency::Latency;
use topology::{Maps, Topology};

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
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
    tls: Option<Tls>,
    map: watch::Receiver<Arc<ShieldMap>>,
    config: ClientConfig,
    dialer: Option<Dialer>,
    metrics: ClientMetrics,
    maps: Mutex<Maps>,
    jitter: Jitter,
    retries: Budget,
    hedges: Budget,
    latency: Latency,
}

impl ShieldClient {
    /// A client that proves itself with `credentials` and follows `map`.
    pub fn new(
        credentials: &Credentials,
        map: watch::Receiver<Arc<ShieldMap>>,
        config: ClientConfig,
        registry: &Registry,
    ) -> Result<Self, ClientError> {
        Self::new_by(credentials, map, config, None, registry)
    }

    /// As [`ShieldClient::new`], reaching shields through `dialer` if there is one.
    pub fn new_by(
        credentials: &Credentials,
        map: watch::Receiver<Arc<ShieldMap>>,
        config: ClientConfig,
        dialer: Option<Dialer>,
        registry: &Registry,
    ) -> Result<Self, ClientError> {
        Self::with_past(credentials, map, config, dialer, registry, 0)
    }

    /// The same, but it remembers the `past` last rings before the current one.
    fn with_past(
        credentials: &Credentials,
        map: watch::Receiver<Arc<ShieldMap>>,
        config: ClientConfig,
        dialer: Option<Dialer>,
        registry: &Registry,
        past: usize,
    ) -> Result<Self, ClientError> {
        config.validate().map_err(ClientError::Config)?;
        let bearer = credentials.peer();
        let metrics = ClientMetrics::new(registry)?;
        let inner = Arc::new(Inner {
            bearer,
            tls: credentials.tls.clone(),
            map: map.clone(),
            metrics,
            maps: Mutex::new(Maps::new(past)),
            jitter: Jitter::new(config.jitter_seed),
            retries: Budget::new(config.retry.percent, config.retry.burst),
            hedges: Budget::new(config.hedge.percent, config.hedge.burst),
            latency: Latency::default(),
            config,
            dialer,
        });
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
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if maps.follow(map, &self.config, self.tls.as_ref(), self.dialer.as_ref()) {
            self.metrics.shields.set(maps.current().len() as i64);
            self.metrics.tripped.set(maps.current().tripped() as i64);
        }
        maps.current().clone()
    }

    fn no_shield(&self, object: &ObjectKey) -> RemoteError {
        RemoteError::new(Reason::Unavailable, format!("{object}: no shield"))
    }
}

#[cfg(feature = "server")]
#[cfg(test)]
mod tests;
