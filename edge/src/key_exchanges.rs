//! Who may make the edge compute a key exchange, and where it is computed.
//!
//! A packet of 1.5 KB makes an RTMPE server raise two 1024-bit numbers to a power: the cheapest way there is to keep it busy. So
//! those powers are taken on threads of their own, a few at a time, and sessions wait for them, not the threads that serve
//! viewers; and three bounds stand before them:
//!
//! | bound | refused as |
//! |---|---|
//! | `rtmpe.dh_per_address_per_second`, with two seconds' worth at once | `key_exchange_rate` |
//! | `rtmpe.dh_queue` waiting for `rtmpe.dh_concurrency` at work | `key_exchange_queue` |
//! | `handshake_timeout_ms` in all | `handshake_timeout` |
//!
//! Refused is closed: a client that waits for an encrypted answer understands nothing else. An IPv6 network of 64 bits counts as one
//! address, because one host may have all of it. The table of addresses is bounded too: who is not in it has not been seen for
//! a while, and when there are more addresses than places the queue bounds them all alike.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use crate::config::rtmpe::RtmpeConfig;
use crate::metrics::{Counted, Metrics};
use crate::rtmp::handshake::{Exchanged, KeyExchange};

/// How much of its rate an address may use at once.
const BURST: Duration = Duration::from_secs(2);
/// How often a full table is searched for addresses to forget.
const SWEEP: Duration = Duration::from_secs(1);

/// A key exchange that waits or runs. `None` when its thread is lost. Dropping it gives up its place, if it hasn't begun.
pub type Pending = BoxFuture<'static, Option<Exchanged>>;

/// Why a key exchange isn't begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its address asks too often.
    Rate,
    /// Too many wait already.
    Queue,
}

impl Refusal {
    /// Its label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Rate => "key_exchange_rate",
            Self::Queue => "key_exchange_queue",
        }
    }
}

/// The edge's key exchanges.
pub struct KeyExchanges {
    /// For each that waits or runs.
    places: Arc<Semaphore>,
    /// For each that runs.
    threads: Arc<Semaphore>,
    rates: Option<Mutex<Rates>>,
    metrics: Arc<Metrics>,
}

impl KeyExchanges {
    /// None yet, within the bounds of `config`.
    pub fn new(config: &RtmpeConfig, metrics: Arc<Metrics>) -> Self {
        let threads = config.concurrency();
        let rates = (config.dh_per_address_per_second > 0)
            .then(|| Mutex::new(Rates::new(config.dh_per_address_per_second, config.dh_addresses)));
        Self {
            places: Arc::new(Semaphore::new(threads + config.dh_queue)),
            threads: Arc::new(Semaphore::new(threads)),
            rates,
            metrics,
        }
    }

    /// Takes all threads, until the returned is dropped.
    #[cfg(test)]
    pub(crate) fn occupy(&self) -> Vec<tokio::sync::OwnedSemaphorePermit> {
        std::iter::from_fn(|| self.threads.clone().try_acquire_owned().ok()).collect()
    }

    /// Begins `work` for a viewer at `address`. The caller counts a refusal.
    pub fn begin(&self, address: IpAddr, work: KeyExchange) -> Result<Pending, Refusal> {
        if let Some(rates) = &self.rates {
            let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
            if !rates.allow(network_of(address), Instant::now()) {
                return Err(Refusal::Rate);
            }
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refusal::Queue)?;
        let (threads, metrics) = (self.threads.clone(), self.metrics.clone());
        let counted = Counted::new(&metrics.key_exchanges);
        let asked = Instant::now();
        Ok(Box::pin(async move {
            let thread = threads.acquire_owned().await.ok()?;
            // What has begun is finished, so it keeps its place and its thread even if nobody waits any more.
            let run = move || {
                let exchanged = work.run();
                drop((place, thread, counted));
                exchanged
            };
            let exchanged = tokio::task::spawn_blocking(run).await.ok()?;
            metrics.key_exchange_seconds.observe(asked.elapsed().as_secs_f64());
            Some(exchanged)
        }))
    }
}

/// What counts as one address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// How often addresses have asked lately.
pub(crate) struct Rates {
    /// What one costs.
    cost: Duration,
    most: usize,
    /// Until when an address has used up its rate. One whose time has come is as good as forgotten.
    used_until: HashMap<IpAddr, Instant>,
    swept_at: Option<Instant>,
}

impl Rates {
    pub(crate) fn new(per_second: u32, most: usize) -> Self {
        Self { cost: Duration::from_secs(1) / per_second, most, used_until: HashMap::new(), swept_at: None }
    }

    /// Whether `address` may ask once more at `now`; if so, it has.
    pub(crate) fn allow(&mut self, address: IpAddr, now: Instant) -> bool {
        if let Some(until) = self.used_until.get_mut(&address) {
            let next = (*until).max(now) + self.cost;
            let allowed = next <= now + BURST;
            if allowed {
                *until = next;
            }
            return allowed;
        }
        if self.used_until.len() >= self.most && self.swept_at.is_none_or(|at| now >= at + SWEEP) {
            self.swept_at = Some(now);
            self.used_until.retain(|_, until| *until > now);
        }
        if self.used_until.len() < self.most {
            self.used_until.insert(address, now + self.cost);
        }
        true
    }
}

#[cfg(test)]
mod tests;
