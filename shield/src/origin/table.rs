//! The origins a shield knows, by id.
//!
//! Control says which (host, credential) pairs exist; each becomes a [`Source`]: the origin and the schedule of its endpoint.
//! An id is a hash of its pair, so a known id never needs to be made again. A pair that can't be used (an unknown credential, a
//! host that fits nothing) is left out and logged once for each change; edges that ask for it hear "unknown origin".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use proto::object::OriginId;

use super::Origin;
use super::endpoint::resolve;
use super::s3::{Clients, S3};
use crate::config::ShieldConfig;
use crate::fill::schedule::Schedule;
use crate::fill::verify::Trust;
use crate::metrics::Metrics;

/// An origin and the bounds it shares with others of its endpoint.
pub(crate) struct Source {
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) schedule: Arc<Schedule>,
    /// Whether its ETags are MD5s.
    pub(crate) trust: Trust,
}

/// The origins a shield knows.
pub(crate) struct Table {
    config: Arc<ShieldConfig>,
    clients: Arc<Clients>,
    metrics: Metrics,
    known: ArcSwap<HashMap<OriginId, Arc<Source>>>,
    schedules: Mutex<HashMap<String, Arc<Schedule>>>,
}

impl Table {
    pub(crate) fn new(config: Arc<ShieldConfig>, metrics: Metrics) -> Self {
        let clients = Arc::new(Clients::new(config.clone()));
        Self { config, clients, metrics, known: ArcSwap::default(), schedules: Mutex::default() }
    }

    pub(crate) fn get(&self, id: &OriginId) -> Option<Arc<Source>> {
        self.known.load().get(id).cloned()
    }

    /// Knows exactly `wanted` from now on.
    pub(crate) fn set(&self, wanted: &HashMap<OriginId, (String, String)>) {
        let before = self.known.load_full();
        let mut after = HashMap::with_capacity(wanted.len());
        for (id, (host, credential)) in wanted {
            if let Some(source) = before.get(id) {
                after.insert(id.clone(), source.clone());
                continue;
            }
            let made = resolve(&self.config, host)
                .map_err(anyhow::Error::from)
                .and_then(|place| Ok(S3::new(self.clients.clone(), place, credential)?));
            match made {
                Ok(origin) => {
                    after.insert(id.clone(), Arc::new(self.source(Arc::new(origin))));
                }
                Err(error) => tracing::warn!(origin = %id, host, credential, %error, "can't use this origin"),
            }
        }
        self.known.store(Arc::new(after));
    }

    /// Knows `origin` as `id` too.
    pub(crate) fn add(&self, id: OriginId, origin: Arc<dyn Origin>) {
        let source = Arc::new(self.source(origin));
        self.known.rcu(|known| {
            let mut after = HashMap::clone(known);
            after.insert(id.clone(), source.clone());
            after
        });
    }

    fn source(&self, origin: Arc<dyn Origin>) -> Source {
        let mut schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        let schedule = schedules
            .entry(origin.endpoint().to_owned())
            .or_insert_with(|| {
                Arc::new(Schedule::new(self.config.connections, self.config.queue, self.metrics.clone()))
            })
            .clone();
        Source { origin, schedule, trust: Trust::default() }
    }
}
