//! The tunnelled sessions of an edge, by id.
//!
//! A session is bound to nothing but its id: its requests may come on any connection, from any address. So ids are unguessable, an unknown
//! one is refused and counted against the address that named it, and sessions have limits of their own beside those of connections.
//! Sessions are found in shards with a lock each, held for a look-up only.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use rand::Rng;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conversation::{Ended, Limits};
use super::guesses::Guesses;
use super::path::{ID_LEN, Id};
use super::reply::Refusal;
use crate::budget::Budget;
use crate::config::tunnel::TunnelConfig;
use crate::metrics::{Counted, Metrics};
use crate::session::{self, Shared};
use crate::transport::tunnel::{Line, Tunnel};

const SHARDS: usize = 16;
/// How often sessions are looked at for what they wait for too long.
const LOOK: Duration = Duration::from_millis(250);
/// How long a session that was served to its end can still be asked, if its player doesn't know yet.
const LINGER: Duration = Duration::from_secs(10);

type Shard = Mutex<HashMap<Id, Arc<Line>>>;

#[derive(Default)]
struct Census {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Requests so far, by kind.
pub(crate) struct Requests {
    pub(crate) ident: IntCounter,
    pub(crate) open: IntCounter,
    pub(crate) send: IntCounter,
    pub(crate) idle: IntCounter,
    pub(crate) close: IntCounter,
}

/// See the module.
pub struct Tunnels {
    pub(super) shared: Arc<Shared>,
    pub(super) requests: Requests,
    /// The tasks of an edge, which its end waits for.
    tasks: TaskTracker,
    shutdown: CancellationToken,
    shards: [Shard; SHARDS],
    census: Arc<Mutex<Census>>,
    guesses: Mutex<Guesses>,
}

/// Counts a session for as long as its task runs.
struct Place {
    census: Arc<Mutex<Census>>,
    address: IpAddr,
    _counted: Counted,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut census = lock(&self.census);
        census.total -= 1;
        if let Some(of_address) = census.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                census.by_address.remove(&self.address);
            }
        }
    }
}

impl Tunnels {
    /// None yet; their sessions run as tasks of `tasks` until `shutdown`.
    pub fn new(shared: Arc<Shared>, tasks: TaskTracker, shutdown: CancellationToken) -> Arc<Self> {
        let kind = |kind: &str| shared.metrics.tunnel_requests.with_label_values(&[kind]);
        let requests = Requests {
            ident: kind("ident2"),
            open: kind("open"),
            send: kind("send"),
            idle: kind("idle"),
            close: kind("close"),
        };
        let guesses = Mutex::new(Guesses::new(shared.config.tunnel.unknown_per_minute));
        let tunnels = Arc::new(Self {
            requests,
            tasks,
            shutdown,
            shards: std::array::from_fn(|_| Mutex::default()),
            census: Arc::default(),
            guesses,
            shared,
        });
        tunnels.tasks.spawn(look(tunnels.clone()));
        tunnels
    }

    /// Where an edge's memory is accounted.
    pub(crate) fn budget(&self) -> &Budget {
        self.shared.budget()
    }

    /// Where an edge's metrics are.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// How long a connection's first request may take, and each further one.
    pub(crate) fn patience(&self) -> (Duration, Duration) {
        let first = Duration::from_millis(self.shared.config.handshake_timeout_ms);
        (first, first.max(Duration::from_millis(self.config().session_ms)))
    }

    pub(super) fn config(&self) -> &TunnelConfig {
        &self.shared.config.tunnel
    }

    fn shard(&self, id: &Id) -> &Shard {
        // Any character of a random id spreads as well as another.
        &self.shards[usize::from(id[0]) % SHARDS]
    }

    /// The session of that id.
    pub(crate) fn find(&self, id: &Id) -> Option<Arc<Line>> {
        lock(self.shard(id)).get(id).cloned()
    }

    /// Somebody at `address` named a session that isn't there.
    pub(super) fn unknown(&self, address: IpAddr, now: Instant) -> Refusal {
        if lock(&self.guesses).are_too_many(address, now) { Refusal::Guesses } else { Refusal::Unknown }
    }

    /// Begins a session for `viewer`; its id, or why there is none.
    pub(super) fn open(self: &Arc<Self>, viewer: SocketAddr) -> Result<Arc<Line>, Refusal> {
        if self.shutdown.is_cancelled() {
            return Err(Refusal::Closing);
        }
        self.shared.admit_connection().map_err(|_| Refusal::Memory)?;
        let place = self.take_place(viewer.ip().to_canonical())?;
        let config = self.config();
        let idle = Duration::from_millis(config.idle_ms);
        let line = loop {
            let id = random_id();
            let mut shard = lock(self.shard(&id));
            if let std::collections::hash_map::Entry::Vacant(vacant) = shard.entry(id) {
                let line =
                    Line::new(id, Limits::from(config), idle, self.shared.library.blocks().budget().clone());
                break vacant.insert(line).clone();
            }
        };
        // Boxed, because what wraps a future holds it twice.
        let session = Box::pin(session::serve(
            self.shared.clone(),
            Tunnel::new(line.clone()),
            viewer,
            self.shutdown.clone(),
        ));
        let metrics = self.shared.metrics.clone();
        self.tasks.spawn(async move {
            crate::listener::contained(metrics, session).await;
            drop(place);
        });
        Ok(line)
    }

    fn take_place(&self, address: IpAddr) -> Result<Place, Refusal> {
        let config = self.config();
        let most =
            if config.max_sessions == 0 { self.shared.config.max_connections } else { config.max_sessions };
        let mut census = lock(&self.census);
        if census.total >= most {
            return Err(Refusal::Full);
        }
        let of_address = census.by_address.entry(address).or_default();
        if *of_address >= config.max_sessions_per_address {
            return Err(Refusal::FullAddress);
        }
        *of_address += 1;
        census.total += 1;
        let counted = Counted::new(&self.shared.metrics.tunnel_sessions);
        Ok(Place { census: self.census.clone(), address, _counted: counted })
    }

    /// The session is no longer to be found.
    pub(super) fn forget(&self, line: &Line) {
        if lock(self.shard(line.id())).remove(line.id()).is_some() {
            line.gone().cancel();
        }
    }

    /// Ends the sessions that have waited too long, and forgets those that have ended.
    fn look(&self, now: Instant) {
        for shard in &self.shards {
            let lines: Vec<Arc<Line>> = lock(shard).values().cloned().collect();
            for line in lines {
                let before = line.ended();
                let Some((reason, since)) = line.look(now) else { continue };
                if before.is_none() {
                    let label = match reason {
                        Ended::Expired => "tunnel_expired",
                        Ended::Gap => "tunnel_gap",
                        Ended::Lost => "tunnel_lost",
                        Ended::Over => "tunnel_ended",
                    };
                    self.shared.metrics.refused.with_label_values(&[label]).inc();
                    tracing::debug!(label, "a tunnelled session is ended");
                }
                // A gap is told to those who still ask; one that never asked won't.
                let over = reason == Ended::Over && (line.is_told() || line.is_untouched());
                let tell = reason != Ended::Expired && !over;
                if !tell || now >= since + LINGER {
                    self.forget(&line);
                }
            }
        }
    }
}

async fn look(tunnels: Arc<Tunnels>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => tunnels.look(Instant::now()),
            () = tunnels.shutdown.cancelled() => return,
        }
    }
}

fn random_id() -> Id {
    let mut random = rand::rng();
    let mut id = [0; ID_LEN];
    id.fill_with(|| random.sample(rand::distr::Alphanumeric));
    id
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_ids_are_sixteen_characters_and_never_the_same() {
        let ids: std::collections::HashSet<Id> = (0..10_000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().flatten().all(u8::is_ascii_alphanumeric));
        // Every character occurs at every place: 62 choices each make 95 bits.
        for place in 0..ID_LEN {
            let seen: std::collections::HashSet<u8> = ids.iter().map(|id| id[place]).collect();
            assert_eq!(seen.len(), 62);
        }
    }
}
