//! The origins a shield knows, by id.
//!
//! Control says which (host, credential) pairs exist and who reads them; each becomes a [`Source`]: the origin and the schedule of its
//! endpoint. An id is a hash of its pair, so a known one is made again only when its keys change: who reads through the old one reads on. A
//! pair that can't be used (an unknown credential, a host that fits nothing) is left out and logged once for each change; edges that ask
//! for it hear "unknown origin". One that may not be used ([`keys`](super::keys)) is kept as refused: edges hear "forbidden".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use control::client::OriginEntry;
use control::client::catalogue::Access;
use proto::object::OriginId;

use super::Origin;
use super::endpoint::resolve;
use super::keys::{IDENTITY, Keys, NoKeys, choose};
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

/// An origin known by its id.
#[derive(Clone)]
pub(crate) enum Known {
    /// It may be read.
    Open(Arc<Source>, Keys),
    /// It may not, because of this.
    Refused(Arc<str>),
}

/// What a change of the table makes worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// What was said of objects under other keys.
    Descriptions,
    /// Everything: nobody may read it any more.
    Everything,
}

/// The origins a shield knows.
pub(crate) struct Table {
    config: Arc<ShieldConfig>,
    clients: Arc<Clients>,
    metrics: Metrics,
    known: ArcSwap<HashMap<OriginId, Known>>,
    schedules: Mutex<HashMap<String, Arc<Schedule>>>,
}

impl Table {
    pub(crate) fn new(config: Arc<ShieldConfig>, metrics: Metrics) -> Self {
        let clients = Arc::new(Clients::metered(config.clone(), Some(metrics.role.clone())));
        Self { config, clients, metrics, known: ArcSwap::default(), schedules: Mutex::default() }
    }

    pub(crate) fn find(&self, id: &OriginId) -> Option<Known> {
        self.known.load().get(id).cloned()
    }

    #[cfg(test)]
    pub(crate) fn get(&self, id: &OriginId) -> Option<Arc<Source>> {
        match self.find(id) {
            Some(Known::Open(source, _)) => Some(source),
            _ => None,
        }
    }

    /// Knows exactly `wanted` from now on; tells what of the caches that makes worthless.
    pub(crate) fn set(
        &self,
        wanted: &HashMap<OriginId, OriginEntry>,
        access: &Access,
    ) -> Vec<(OriginId, Stale)> {
        let before = self.known.load_full();
        let mut after = HashMap::with_capacity(wanted.len());
        let mut stale = Vec::new();
        for (id, entry) in wanted {
            let known = before.get(id);
            match self.know(entry, access, known) {
                Ok(now) => {
                    stale.extend(
                        known.and_then(|known| compare(known, &now)).map(|stale| (id.clone(), stale)),
                    );
                    after.insert(id.clone(), now);
                }
                Err(error) => {
                    let OriginEntry { host, credential, .. } = entry;
                    tracing::warn!(origin = %id, host, credential, %error, "can't use this origin");
                }
            }
        }
        // What an identity opened must not outlive it: the same id may come back, and be somebody else's to grant.
        let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
        let gone =
            gone.filter(|(_, known)| matches!(known, Known::Open(_, Keys::Identity(_) | Keys::Role(_))));
        stale.extend(gone.map(|(id, _)| (id.clone(), Stale::Everything)));
        self.known.store(Arc::new(after));
        stale
    }

    fn know(&self, entry: &OriginEntry, access: &Access, known: Option<&Known>) -> anyhow::Result<Known> {
        let place = resolve(&self.config, &entry.host)?;
        let keys = match choose(&self.config, access, &place.bucket, &entry.credential, &entry.accounts) {
            Ok(keys) => keys,
            Err(NoKeys::Denied(reason)) => {
                if !matches!(known, Some(Known::Refused(told)) if **told == *reason) {
                    tracing::warn!(host = entry.host, reason, "this origin may not be read");
                }
                return Ok(Known::Refused(reason.into()));
            }
            Err(unknown) => return Err(unknown.into()),
        };
        if let Some(known @ Known::Open(_, had)) = known
            && *had == keys
        {
            return Ok(known.clone());
        }
        if entry.credential.starts_with(IDENTITY) {
            tracing::info!(
                host = entry.host,
                credential = entry.credential,
                keys = keys.name(),
                "keys of an origin"
            );
        }
        let origin = S3::with_keys(self.clients.clone(), place, keys.clone())?;
        Ok(Known::Open(Arc::new(self.source(Arc::new(origin))), keys))
    }

    /// Knows `origin` as `id` too.
    pub(crate) fn add(&self, id: OriginId, origin: Arc<dyn Origin>) {
        let known = Known::Open(Arc::new(self.source(origin)), Keys::Anonymous);
        self.known.rcu(|all| {
            let mut after = HashMap::clone(all);
            after.insert(id.clone(), known.clone());
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

/// What is worth nothing any more when `before` becomes `now`.
fn compare(before: &Known, now: &Known) -> Option<Stale> {
    match (before, now) {
        (Known::Open(..), Known::Refused(_)) => Some(Stale::Everything),
        (Known::Open(_, before), Known::Open(_, now)) if before != now => Some(Stale::Descriptions),
        _ => None,
    }
}
