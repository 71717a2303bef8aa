//! Whom a shield asks before it asks S3.
//!
//! The ring gives each segment one home, but the bytes may be elsewhere: with the home of the map before, when a shield
//! joined or is leaving; with the home itself, when an edge asks another shield because it can't reach the home or has an older map;
//! with the next on the ring, which stood in while this shield was down. They are asked for what they have cached, at
//! most two of them, and only then S3. In a cluster whose map has been still for a while nobody is asked, as nobody else can have it.
//!
//! Two shields may ask each other for the same block at the same moment. So that neither waits for the other, a fill that
//! is still asking is visible to such a question only at the block's home (see [`Owners::is_home`]): the others say "not cached", and
//! the home's fill, which both then wait for, goes on to S3. Should two maps make each believe that it is the home, the
//! limit of the question ends the wait.
//!
//! A shield that does not answer costs one fill a second, once: then its breaker is open.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use control::client::{Credentials, Dialer};
use prometheus::Registry;
use proto::object::{ObjectKey, ObjectVersion};
use proto::range::ByteRange;
use proto::v1::{Priority, ShieldMap};
use tokio::sync::watch;
use tokio::time::Instant;

use super::breaker::Gate;
use super::channels::Node;
use super::config::{ClientConfig, Hedge};
use super::race::{Ask, Job, Open};
use super::{ClientError, Inner, ShieldClient};
use crate::config::Peers;

/// Rings remembered: a map that flaps faster than this is no use anyway.
const PAST: usize = 4;
/// Owners asked for one run of blocks.
const OWNERS: usize = 2;

/// The other shields that may hold what this one lacks.
pub(crate) struct Owners {
    inner: Arc<Inner>,
    own_id: String,
    window: Duration,
    wait: Duration,
    started: Instant,
}

/// One of them.
pub(crate) struct Owner(Arc<Node>);

/// What another shield has cached, as it comes.
pub(crate) struct Cached {
    job: Job,
    ask: Ask,
    wait: Duration,
    next: Option<(Open, Bytes)>,
}

impl Owners {
    /// The other shields of `map`, for the one called `own_id`. Metrics are those of any client of shields.
    pub(crate) fn new(
        own_id: &str,
        credentials: &Credentials,
        map: watch::Receiver<Arc<ShieldMap>>,
        config: &Peers,
        dialer: Option<Dialer>,
        registry: &Registry,
    ) -> Result<Self, ClientError> {
        let client = ClientConfig {
            demand_connections: 1,
            read_ahead_connections: 1,
            connect_ms: 500,
            // Neighbours: a second's silence is long, and S3 is the alternative.
            probe_after_ms: 500,
            probe_ms: 500,
            first_message_ms: config.wait_ms,
            stall_ms: config.wait_ms,
            hedge: Hedge { percent: 0, ..Hedge::default() },
            ..ClientConfig::default()
        };
        let client = ShieldClient::with_past(credentials, map, client, dialer, registry, PAST)?;
        Ok(Self {
            inner: client.inner,
            own_id: own_id.to_owned(),
            window: Duration::from_millis(config.handover_ms),
            wait: Duration::from_millis(config.wait_ms),
            started: Instant::now(),
        })
    }

    /// Longest that others may take over one run.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }

    /// Whether this shield is the segment's home, as far as it knows.
    pub(crate) fn is_home(&self, object: &ObjectKey, segment: u64) -> bool {
        self.inner.topology().order(object, segment).next().is_none_or(|home| home.id == self.own_id)
    }

    /// Who else may hold the segment, likeliest first.
    pub(crate) fn of(&self, object: &ObjectKey, segment: u64) -> Vec<Owner> {
        let topology = self.inner.topology();
        let mut owners: Vec<Arc<Node>> = topology.order(object, segment).take(1).cloned().collect();
        // Before the process knew of any other map, the next one was the home.
        if self.started.elapsed() < self.window {
            owners.extend(topology.order(object, segment).find(|node| node.id != self.own_id).cloned());
        }
        {
            let since = Instant::now().checked_sub(self.window);
            let mut maps = self.inner.maps.lock().unwrap_or_else(PoisonError::into_inner);
            owners.extend(maps.past(since).filter_map(|past| past.order(object, segment).next().cloned()));
        }
        let mut found: Vec<Owner> = Vec::new();
        for owner in owners {
            let known = found.iter().any(|known| known.0.id == owner.id);
            let here = topology.nodes().any(|node| Arc::ptr_eq(node, &owner));
            if owner.id == self.own_id || known || !here || found.len() == OWNERS {
                continue;
            }
            match owner.breaker.gate(Instant::now()) {
                Gate::Pass => found.push(Owner(owner)),
                Gate::Shut => (),
                Gate::Probe => self.inner.knock(&owner, object),
            }
        }
        found
    }

    /// What `owner` has cached of `range`, from its start up to the first byte it lacks. `None` if it lacks the first.
    pub(crate) async fn read(
        &self,
        owner: &Owner,
        version: &ObjectVersion,
        range: ByteRange,
        priority: Priority,
    ) -> Option<Cached> {
        let job = Job { inner: self.inner.clone(), version: version.clone(), priority };
        let generation = self.inner.topology().generation();
        let ask = Ask { node: owner.0.clone(), cache_only: true, generation };
        if !owner.0.breaker.enter(Instant::now()) {
            return None;
        }
        match job.begin(&ask, range, self.wait, None).await {
            Ok(next) => Some(Cached { job, ask, wait: self.wait, next: Some(next) }),
            Err(failure) => {
                job.note_cache_only(&ask, failure);
                None
            }
        }
    }
}

impl Cached {
    /// The object's size in bytes and its `Content-Type`.
    pub(crate) fn object(&self) -> (u64, Arc<str>) {
        self.next
            .as_ref()
            .map_or_else(|| (0, "".into()), |(open, _)| (open.size_bytes, open.content_type.as_str().into()))
    }

    /// The next slice; `None` where what is cached ends.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let (open, slice) = self.next.take()?;
        if !open.left.is_empty() {
            match self.job.more(open, self.wait).await {
                Ok(next) => self.next = Some(next),
                Err(failure) => self.job.note_cache_only(&self.ask, failure),
            }
        }
        Some(slice)
    }
}
