//! A shield: caches, origins and fills, put together and served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use control::client::catalogue::Access;
use control::client::{Credentials, Dialer, OriginEntry};
use futures::Stream;
use futures::future::Either;
use prometheus::Registry;
use proto::object::OriginId;
use proto::purge::Scope;
use proto::token::BadToken;
use proto::v1::ShieldMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use crate::cache::BlockCache;
use crate::cache::memory::Memory;
use crate::client::ClientError;
use crate::client::handover::Owners;
use crate::config::{ConfigError, ShieldConfig};
use crate::fill::{Fills, coalesce};
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::origin::table::{Stale, Table};
use crate::service::Service;
use crate::service::blocks::Door;
use crate::service::budget::Budget;
use crate::stat::Stats;

/// Flow-control windows wide enough for a block under way on each of many streams.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams on one connection; edges spread over several connections.
const CONNECTION_STREAMS: u32 = 1024;
const FRAME_BYTES: u32 = 1 << 20;
/// How often a silent edge is pinged, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How often gauges of the caches are refreshed.
const GAUGES: Duration = Duration::from_secs(2);

/// Why a shield can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A field of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A metric registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Why a shield stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The token is no shield's.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The listener or the server on it.
    #[error("gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A shield. It knows no origin until it is told some.
pub struct Shield {
    pub(crate) config: Arc<ShieldConfig>,
    pub(crate) origins: Table,
    pub(crate) stats: Arc<Stats>,
    pub(crate) fills: Fills,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) metrics: Metrics,
    blocks: Arc<coalesce::Table>,
    cache: Arc<dyn BlockCache>,
}

impl Shield {
    /// A shield by `config`, its metrics in `registry`.
    pub fn new(config: ShieldConfig, registry: &Registry) -> Result<Arc<Self>, StartError> {
        config.validate()?;
        let config = Arc::new(config);
        let metrics = Metrics::new(registry)?;
        let cache: Arc<dyn BlockCache> = Arc::new(Memory::new(config.cache_bytes));
        let blocks = Arc::new(coalesce::Table::new(cache.clone(), metrics.clone()));
        let stats = Arc::new(Stats::new(config.clone(), metrics.clone()));
        Ok(Arc::new(Self {
            origins: Table::new(config.clone(), metrics.clone()),
            fills: Fills::new(&config, blocks.clone(), stats.clone(), metrics.clone()),
            streams: Arc::new(Semaphore::new(config.read.streams)),
            budget: Arc::new(Budget::new(&config.read, metrics.clone())),
            stats,
            blocks,
            cache,
            metrics,
            config,
        }))
    }

    /// From now on exactly these origins are known, each read by the keys that `access` gives it.
    ///
    /// One that can't be used is logged and left out; the next call tries it again. Bytes cached of an origin that is gone
    /// stay until they are evicted, unreachable; what an origin access identity opened is forgotten when it may be read no longer.
    pub async fn set_origins(&self, origins: &HashMap<OriginId, OriginEntry>, access: &Access) {
        for (id, stale) in self.origins.set(origins, access) {
            let entries = match stale {
                Stale::Everything => self.purge(&Scope::whole(&id)).await,
                // Bytes that were read by the old keys are the same under the new ones, if those may read them: the next HEAD tells.
                Stale::Descriptions => self.stats.purge(&Scope::whole(&id)).await,
            };
            tracing::info!(origin = %id, ?stale, entries, "the keys of an origin changed");
        }
    }

    /// Adds an origin that is not S3 (until the next [`set_origins`](Self::set_origins)).
    pub fn add_origin(&self, id: OriginId, origin: impl Origin) {
        self.origins.add(id, Arc::new(origin));
    }

    /// Forgets what is cached of what `scope` names: blocks, descriptions and cached errors. Fills under way still reach those who wait, but not
    /// the cache. Readers are served meanwhile. Returns how many entries there were.
    pub async fn purge(&self, scope: &Scope) -> u64 {
        let entries = self.stats.purge(scope).await + self.blocks.purge(scope).await;
        self.metrics.purged.inc_by(entries);
        entries
    }

    /// From now on other shields of `map` are asked for what they have before S3 is, when the map says that they may have it. This
    /// shield is `own_id` there; others are reached through `dialer` if there is one. To be called once, before it serves.
    pub fn follow_map(
        &self,
        own_id: &str,
        credentials: &Credentials,
        map: watch::Receiver<Arc<ShieldMap>>,
        dialer: Option<Dialer>,
        registry: &Registry,
    ) -> Result<(), ClientError> {
        let owners = Owners::new(own_id, credentials, map, &self.config.peers, dialer, registry)?;
        self.fills.owners.get_or_init(|| Arc::new(owners));
        Ok(())
    }

    /// Serves gRPC on `listener` to the peers that `credentials` can check, until `shutdown`; then streams get the configured time to end.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        credentials: &Credentials,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.serve_connections(connections, credentials, shutdown).await
    }

    /// As [`Shield::serve`], on connections accepted elsewhere.
    pub async fn serve_connections<C, E>(
        self: Arc<Self>,
        connections: impl Stream<Item = Result<C, E>>,
        credentials: &Credentials,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let drain = Duration::from_millis(self.config.read.drain_ms);
        let service = InterceptedService::new(Door::new(Service(self.clone())), credentials.guard()?);
        let router = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(CONNECTION_STREAMS)
            // Edges have proved themselves and give up what they no longer need (viewers leave, another shield was faster): a burst of
            // that is no attack, and closing the connection over it would hit every other viewer.
            .http2_max_pending_accept_reset_streams(Some(CONNECTION_STREAMS as usize))
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_service(service);
        let stopped = shutdown.clone().cancelled_owned();
        let serving = match &credentials.tls {
            Some(tls) => {
                Either::Left(router.serve_with_incoming_shutdown(tls.accepted(connections), stopped))
            }
            None => Either::Right(router.serve_with_incoming_shutdown(connections, stopped)),
        };
        let overdue = async {
            shutdown.cancelled().await;
            sleep(drain).await;
        };
        tokio::select! {
            ended = serving => Ok(ended?),
            () = overdue => {
                tracing::warn!(drain_ms = drain.as_millis() as u64, "streams were still open at the end of the drain time");
                Ok(())
            }
            () = self.keep_gauges() => Ok(()),
        }
    }

    async fn keep_gauges(&self) {
        let mut ticks = interval(GAUGES);
        loop {
            ticks.tick().await;
            let (bytes, blocks) = self.cache.held();
            self.metrics.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            self.metrics.cache_blocks.set(i64::try_from(blocks).unwrap_or(i64::MAX));
            self.metrics.held_bytes.set(i64::try_from(self.budget.held_bytes()).unwrap_or(i64::MAX));
            self.metrics.stat_entries.set(i64::try_from(self.stats.held()).unwrap_or(i64::MAX));
        }
    }
}
