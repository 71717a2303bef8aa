//! # The life of a play
//!
//! An edge speaks to viewers. It terminates RTMP, decides what a name means, paces media, and fetches bytes from shields; it never speaks to
//! S3. This page follows one `play` through the modules, in one direction:
//!
//! ```text
//! viewer
//!   │ TCP
//!   ▼
//! listener ─────────── told apart by the first byte: RTMP, RTMPE, HTTP, policy request, TLS (`tls`) with any of them inside
//!   │    └─ HTTP ─▶ http ─▶ http::tunnel ─▶ transport::tunnel   requests, put in order and joined to one stream
//!   ▼                                             ▼
//! session ◀─ transport::{tcp, tls, tunnel}, and transport::encrypted around any of them
//!   │                   one task a viewer; rtmp::handshake, rtmp::chunk, rtmp::command (all sans-I/O)
//!   │ session::connect  host of tcUrl → distribution (control::client::Catalogue)
//!   │ session::swf      is the player who it must be (only where the distribution asks)
//!   │ session::play     name → candidate keys (session::names); play2 → session::switch, the next file beside this one
//!   │ session::record   what is written down of it ([`log`], then the spool of control::client); nothing is answered before
//!   │ session::authorise  is the name signed by who must (only where the distribution has trusted signers); before every opening, again at each seek
//!   ▼
//! session::opening ──── library: Stat, then media::open (flv, mp4, mp3): index from few ranges
//!   ▼
//! session::playback ─── media::Cursor: samples in sending order; session::pacing: when
//!   │
//!   ▼
//! object::reader ────── window and read-ahead of one viewer
//! object::blocks ────── the edge's block cache, one fetch a block
//! object::source ────── the seam
//!   ▼
//! shield::client ────── consistent-hash ring, channels, failover  ──gRPC──▶  shield ──▶ S3
//! ```
//!
//! and back: bytes arrive as blocks, a sample is a slice of one, a message is a header plus slices ([`session`]'s `outgoing`, [`rtmp::chunk`]), and
//! slices of 1 KiB and more go to the socket by `writev` without being copied ([`transport::tcp`]). For an RTMPE viewer they are copied once, to be
//! encrypted ([`transport::encrypted`]); into an HTTP response they go as [`http`] asks for them.
//!
//! Beside the path stand those who bound it: [`admission`] (who is let in), [`key_exchanges`] (what RTMPE's handshakes may compute),
//! [`signature_checks`] (what signed names may), [`budget`] (memory; [`session`]'s `holding` acts on it), [`egress`] (bytes a second),
//! [`descriptors`] (open files), [`withdrawals`] (a distribution is disabled or deleted), [`drain`] (how an edge stops), [`orders`] (what
//! control wants of it), and [`log`] (what is written down of each viewer). All of them show in [`metrics`].
//!
//! The other way round, [`probe`] is a viewer: it plays a URL and says how that went.
//!
//! The stations, with links: [`listener`], [`session`], [`library`], [`media`], [`object::reader`], [`object::blocks`], [`object::source`],
//! [`shield::client`].
//!
//! An [`Edge`] is built from its [`config::EdgeConfig`], a [`object::RangeSource`] and the catalogue of distributions; sockets are passed in, so tests
//! and standalone run the same code as `penstock-edge`.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use control::client::Catalogue;
use prometheus::Registry;
use proto::purge::Scope;
use proto::v1::Revision;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub mod admission;
pub mod budget;
pub mod config;
pub mod descriptors;
pub mod drain;
pub mod egress;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod key_exchanges;
pub mod library;
pub mod listener;
pub mod log;
pub mod media;
pub mod metrics;
pub mod object;
pub mod orders;
pub mod probe;
pub mod rtmp;
pub mod session;
pub mod signature_checks;
pub mod tls;
pub mod transport;
pub mod withdrawals;

use budget::{Budget, Caps};
use config::EdgeConfig;
use drain::Drain;
use egress::Egress;
use key_exchanges::KeyExchanges;
use library::Library;
use log::{EventSink, Log};
use metrics::Metrics;
use object::RangeSource;
use object::blocks::BlockCache;
use proto::clock::{self, SharedClock};
use session::Shared;
use signature_checks::SignatureChecks;

/// Why an edge can't be built.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A metric of the same name is registered already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The certificates can't be used.
    #[error("edge.tls: {0}")]
    Tls(#[from] tls::CertificateError),
}

/// An edge, ready to serve.
pub struct Edge {
    shared: Arc<Shared>,
    applied: OnceLock<Applied>,
}

/// Who is told what is served by.
type Applied = Box<dyn Fn(Revision) + Send + Sync>;

impl Edge {
    /// An edge that reads from `source`, serves the distributions of `catalogue`, and registers its metrics with `registry`.
    ///
    /// # Errors
    /// When a metric of the same name is registered already, or the configured certificates can't be used.
    pub fn new(
        config: EdgeConfig,
        source: Arc<dyn RangeSource>,
        catalogue: watch::Receiver<Arc<Catalogue>>,
        registry: &Registry,
    ) -> Result<Self, EdgeError> {
        Self::with_clock(config, source, catalogue, registry, clock::system())
    }

    /// As [`new`](Self::new), with another time of day than the machine's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clock(
        mut config: EdgeConfig,
        source: Arc<dyn RangeSource>,
        catalogue: watch::Receiver<Arc<Catalogue>>,
        registry: &Registry,
        clock: SharedClock,
    ) -> Result<Self, EdgeError> {
        let metrics = Arc::new(Metrics::new(registry)?);
        if config.max_connections == 0 {
            config.max_connections = EdgeConfig::CONNECTIONS;
        }
        metrics.publish_limits(&config);
        let budget = Budget::new(Caps::of(&config));
        let blocks = BlockCache::new(source, budget, config.fetches, metrics.clone());
        let media_limits = media::Limits { index_bytes: config.index_bytes, ..Default::default() };
        let library = Library::new(blocks, media_limits, metrics.clone());
        let egress = Egress::new(config.egress_bytes_per_second, config.session_bytes_per_second);
        let drain = Drain::new(metrics.clone());
        let key_exchanges = KeyExchanges::new(&config.rtmpe, metrics.clone());
        let own_hosts = own_hosts();
        let signature_checks = SignatureChecks::new(config.signature_checks_per_address_per_second);
        let certificates = tls::Certificates::load(&config.tls)?.map(Arc::new);
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                library,
                catalogue,
                metrics,
                own_hosts,
                egress,
                drain,
                key_exchanges,
                certificates,
                clock,
                signature_checks,
                withdrawals: Arc::default(),
                log: Log::default(),
            }),
            applied: OnceLock::new(),
        })
    }

    /// What takes this edge out of service in an orderly way.
    pub fn drain(&self) -> Drain {
        self.shared.drain.clone()
    }

    /// Writes the events of its sessions to `sink`. To be called before it serves; the first sink stays.
    pub fn log_to(&self, sink: Arc<dyn EventSink>) {
        self.shared.log.to(sink);
    }

    /// Tells `applied` each revision that it serves by, once it has carried out all of it. To be called before it serves; the first one stays.
    pub fn tell_applied(&self, applied: impl Fn(Revision) + Send + Sync + 'static) {
        // A second one is nobody's that serves.
        let _ = self.applied.set(Box::new(applied));
    }

    /// What its sessions share: [`session::serve`] serves a viewer whose transport no listener accepted.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Accepts viewers on `listeners` until `shutdown`; then tells every session goodbye and returns when the last has ended.
    pub async fn serve(self, listeners: Vec<TcpListener>, shutdown: CancellationToken) {
        self.shared.drain.serves_until(&shutdown);
        let changes = tokio::spawn(follow_changes(self.shared.clone(), self.applied, shutdown.clone()));
        let gauges = tokio::spawn(refresh_gauges(self.shared.clone(), shutdown.clone()));
        if let Some(certificates) = self.shared.certificates.clone() {
            tokio::spawn(certificates.follow(self.shared.metrics.clone(), shutdown.clone()));
        }
        listener::serve(self.shared, listeners, shutdown).await;
        changes.abort();
        gauges.abort();
    }
}

/// Ends the sessions of what is no longer served, and forgets what control orders to forget.
async fn follow_changes(shared: Arc<Shared>, applied: OnceLock<Applied>, shutdown: CancellationToken) {
    let mut catalogue = shared.catalogue.clone();
    let mut done: HashSet<String> = HashSet::new();
    loop {
        let newest = catalogue.borrow_and_update().clone();
        shared.withdrawals.settle(&newest);
        let new = || newest.purges.iter().filter(|purge| !done.contains(&purge.id));
        let scope = if newest.has_lost_purges(&done) { newest.whole() } else { Scope::of_purges(new()) };
        if !scope.is_empty() {
            tracing::info!(orders = new().count(), revision = newest.revision.number, "purge");
            shared.library.purge(&Arc::new(scope)).await;
        }
        // What control no longer lists it will not list again.
        done = newest.purges.iter().map(|purge| purge.id.clone()).collect();
        // Only now: an invalidation is complete once every node has said so.
        if let Some(applied) = applied.get().filter(|_| !newest.is_empty()) {
            applied(newest.revision.clone());
        }
        tokio::select! {
            changed = catalogue.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

async fn refresh_gauges(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                shared.library.count().await;
                shared.metrics.publish_budget(shared.budget());
            }
            () = shutdown.cancelled() => return,
        }
    }
}

/// The names this machine goes by: its host name, with and without domain.
fn own_hosts() -> Vec<String> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_ascii_lowercase();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    let mut hosts: Vec<String> = [name, short].into_iter().filter(|host| !host.is_empty()).collect();
    hosts.dedup();
    hosts
}
