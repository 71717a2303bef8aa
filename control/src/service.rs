//! The control service: one replica of it, with its store, mirror and gRPC port.
//!
//! [`Control::new`] joins the parts, [`Control::serve`] runs them until shutdown. Every replica is equal; any number may
//! run over one store. Before the store has been read once, subscriptions wait and the operator's calls are refused as
//! unavailable; later, a store that is away fails only what must write.

mod access;
mod access_logs;
mod calls;
mod lending;
mod operator;
mod rights;
mod secrets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::Either;
use prometheus::Registry;
use proto::clock::SharedClock;
use proto::distribution::is_host;
use proto::token::MasterToken;
use proto::v1::control_server::ControlServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::access_log::config::LogsConfig;
use crate::access_log::stage::Stage;
use crate::access_log::tail::Tails;
use crate::accounts::{AccountLimits, Accounts};
use crate::api::{ApiConfig, Context};
use crate::client::credentials::Tls;
use crate::declare::{self, Applied, ApplyError, DeclaredSet};
use crate::lifecycle::Report;
use crate::lifecycle::keep::Keeper;
use crate::membership;
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::mirror::view::View;
use crate::publish::PublishConfig;
use crate::seal::Sealer;
use crate::shields::Shields;
use crate::store::Store;
use calls::Calls;

/// How a replica works. The defaults suit a cluster and standalone alike.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// The zone of generated domains.
    pub zone: String,
    /// A node's lease without another Register.
    pub lease: Duration,
    /// How long an order to forget is kept for nodes that are away.
    pub purge_ttl: Duration,
    /// Changes kept for subscribers that resume.
    pub history: usize,
    /// How often the store is listed whole and compared with what the watch told.
    pub compare_every: Duration,
    /// How subscriptions are served.
    pub publish: PublishConfig,
    /// How many accounts and access keys there may be.
    pub accounts: AccountLimits,
    /// TLS on the gRPC port and towards shields; `None`: neither.
    pub tls: Option<Tls>,
    /// Seals the secrets of access keys and opens those of origins that shields are sent; without a key neither can be made.
    pub sealer: Sealer,
    /// Wall time.
    pub clock: SharedClock,
    /// A node whose lease lapsed holds up Deployed for this long.
    pub exclude_after: Duration,
    /// An excluded node is forgotten after it has been away for this long.
    pub forget_after: Duration,
    /// A live node that has not moved on for this long is named as hanging.
    pub hang_after: Duration,
    /// The declarative file this replica follows; while there is one, no other is applied by a call.
    pub distributions_file: Option<PathBuf>,
    /// Taking and delivering access logs; `None`: this replica does neither.
    pub logs: Option<LogsConfig>,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            zone: "penstock.localhost".into(),
            lease: Duration::from_secs(8),
            purge_ttl: Duration::from_secs(24 * 3600),
            history: 1024,
            compare_every: Duration::from_secs(180),
            publish: PublishConfig::default(),
            accounts: AccountLimits::default(),
            tls: None,
            sealer: Sealer::none(),
            clock: proto::clock::system(),
            exclude_after: Duration::from_secs(120),
            forget_after: Duration::from_secs(24 * 3600),
            hang_after: Duration::from_secs(30),
            distributions_file: None,
            logs: None,
        }
    }
}

/// Why a replica can't start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The zone is no host name.
    #[error("zone: '{0}' is not a lower-case host name")]
    Zone(String),
    /// The metrics exist already in this registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The port broke.
    #[error("the gRPC port: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// One replica. Clones are the same replica.
#[derive(Clone)]
pub struct Control {
    store: Store,
    config: ControlConfig,
    metrics: Metrics,
    views: watch::Sender<Arc<View>>,
    reports: watch::Sender<Arc<BTreeMap<String, Report>>>,
    stage: Option<Stage>,
    tails: Option<Tails>,
}

impl Control {
    /// A replica over `store`; nothing runs yet.
    pub fn new(store: Store, config: ControlConfig, registry: &Registry) -> Result<Self, ControlError> {
        if !is_host(&config.zone) {
            return Err(ControlError::Zone(config.zone));
        }
        let metrics = Metrics::new(registry)?;
        let (views, reports) = (watch::Sender::new(Arc::new(View::default())), watch::Sender::default());
        let (stage, tails) = match &config.logs {
            None => (None, None),
            Some(logs) => {
                let (bucket, prefix) = (logs.staging.clone(), logs.staging_prefix.clone());
                let tails = Tails::new(store.clone(), bucket.clone(), prefix.clone(), registry)?;
                let stage = Stage::new(store.clone(), bucket, prefix, config.clock.clone(), registry)?;
                (Some(stage), Some(tails))
            }
        };
        Ok(Self { store, config, metrics, views, reports, stage, tails })
    }

    /// Makes the store's declared distributions those of `set`; see [`crate::declare`]. Needs the store, not
    /// [`Control::serve`].
    pub async fn apply(&self, set: &DeclaredSet) -> Result<Applied, ApplyError> {
        let result = declare::apply(&*self.store, set, &self.config.zone).await;
        let outcome = match &result {
            Ok(applied) if applied.is_unchanged() => "unchanged",
            Ok(_) => "changed",
            Err(ApplyError::Invalid { .. }) => "invalid",
            Err(_) => "failed",
        };
        self.metrics.applies.with_label_values(&[outcome]).inc();
        result
    }

    /// Counts a declarative file that could not even be read as one.
    pub(crate) fn count_unreadable(&self) {
        self.metrics.applies.with_label_values(&["invalid"]).inc();
    }

    /// Shows whether what the declarative file says is not in force.
    pub(crate) fn alarm(&self, rejected: bool) {
        self.metrics.declared_rejected.set(i64::from(rejected));
    }

    /// What the API and the console of this replica work on. Shields let control in by what it derives from `master`.
    pub fn context(
        &self,
        config: ApiConfig,
        clock: SharedClock,
        sealer: Sealer,
        master: &MasterToken,
    ) -> Context {
        Context {
            store: self.store.clone(),
            views: self.views.subscribe(),
            config: Arc::new(config),
            clock,
            sealer,
            metrics: self.metrics.clone(),
            shields: Shields::new(master, self.config.tls.clone()),
        }
    }

    /// Makes and changes accounts and access keys.
    pub fn accounts(&self) -> Accounts {
        let ControlConfig { sealer, clock, accounts, .. } = &self.config;
        Accounts::new(self.store.clone(), sealer.clone(), clock.clone(), *accounts)
    }

    /// Returns once the store has been read and its config can be published.
    pub async fn loaded(&self) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.views.subscribe().wait_for(|view| view.is_loaded()).await;
    }

    /// How nodes stand as this replica sees it, by id.
    pub fn reports(&self) -> watch::Receiver<Arc<BTreeMap<String, Report>>> {
        self.reports.subscribe()
    }

    /// What this replica knows, as it changes.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Follows the store and serves gRPC on `listener`, to callers with tokens derived from `master` or certificates of the cluster's CA, until `shutdown`; then ends subscriptions.
    pub async fn serve(
        &self,
        listener: TcpListener,
        master: &MasterToken,
        shutdown: CancellationToken,
    ) -> Result<(), ControlError> {
        self.serve_connections(TcpListenerStream::new(listener), master, shutdown).await
    }

    /// As [`Control::serve`], on connections accepted elsewhere.
    pub async fn serve_connections<C, E>(
        &self,
        connections: impl Stream<Item = Result<C, E>>,
        master: &MasterToken,
        shutdown: CancellationToken,
    ) -> Result<(), ControlError>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Also ended when this future is dropped.
        let stop = shutdown.child_token();
        let _stopped = stop.clone().drop_guard();
        let mirror = Mirror::new(
            self.store.clone(),
            self.views.clone(),
            self.metrics.clone(),
            self.config.compare_every,
            self.config.history,
        );
        tokio::spawn(mirror.run(stop.clone()));
        tokio::spawn(membership::keep_shield_map(
            self.store.clone(),
            self.views.subscribe(),
            self.config.lease,
            stop.clone(),
        ));
        let keeper = Keeper {
            store: self.store.clone(),
            views: self.views.subscribe(),
            clock: self.config.clock.clone(),
            metrics: self.metrics.clone(),
            lease: self.config.lease,
            exclude_after: self.config.exclude_after,
            forget_after: self.config.forget_after,
            hang_after: self.config.hang_after,
            reports: self.reports.clone(),
        };
        tokio::spawn(keeper.run(stop.clone()));
        let calls = Calls {
            store: self.store.clone(),
            config: self.config.clone(),
            metrics: self.metrics.clone(),
            views: self.views.subscribe(),
            accounts: self.accounts(),
            reports: self.reports.subscribe(),
            shields: Shields::new(master, self.config.tls.clone()),
            shutdown: stop.clone(),
        };
        let logs = access_logs::Logs {
            stage: self.stage.clone(),
            tails: self.tails.clone(),
            store: self.store.clone(),
            clock: self.config.clock.clone(),
            views: self.views.subscribe(),
            shutdown: stop.clone(),
        };
        let router = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .tcp_nodelay(true)
            .add_service(ControlServer::with_interceptor(calls, master.guard()))
            .add_service(access_logs::server(logs, self.config.logs.as_ref(), master));
        let stopped = stop.clone().cancelled_owned();
        let server = match &self.config.tls {
            Some(tls) => {
                Either::Left(router.serve_with_incoming_shutdown(tls.accepted(connections), stopped))
            }
            None => Either::Right(router.serve_with_incoming_shutdown(connections, stopped)),
        };
        let grace = async {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        tokio::select! {
            result = server => result?,
            // A peer that holds its connection open must not hold up the stop.
            () = grace => (),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
