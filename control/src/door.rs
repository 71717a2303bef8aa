//! The front door of the control API and the console: one listener for plain HTTP, TLS and CONNECT.
//!
//! Clients come in three ways, told apart by their first byte:
//!
//! | first byte | what it is |
//! |---|---|
//! | `0x16` | TLS, with HTTP inside |
//! | `A`–`Z` | HTTP. From this machine only, unless `api.allow_plain_http`: signatures of 2009 can be replayed |
//! | of these, `CONNECT` | a client that takes the door for a proxy: TLS follows on the same connection, from anywhere |
//!
//! The last is how jets3t gets here unchanged: its endpoint is built in (`https://cloudfront.amazonaws.com`), its proxy is a property. Only
//! CloudFront's name and `api.proxy_hosts` are answered so, and the door is always at the other end itself: it forwards nothing.
//!
//! Inside, `/console` is the console, `/healthz` says that the door is open, `/readyz` that
//! the store has been read, everything else is the API ([`crate::api`]).
//!
//! * [`config`]: what the door lets in; it can change while it is open;
//! * [`connection`]: one connection: first byte, handshake, requests, end;
//! * [`hall`]: where a request goes;
//! * [`census`]: how many are in;
//! * [`patient`]: streams that end when nobody reads;
//! * [`certificate`], [`authority`]: what it shakes hands with.
//!
//! A connection that fails ends alone. Past a limit it is closed without an answer, for nothing is known of it yet; a request past a limit gets an
//! error document. When the door closes, requests under way are finished within a bound, then cut.

pub mod authority;
mod census;
mod certificate;
pub mod config;
mod connection;
mod hall;
mod patient;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{ApiConfig, Context, Desk, Verify};
use crate::client::tls::CertificateError;
use crate::metrics::door::DoorMetrics;
use census::Census;
pub use config::{CLOUDFRONT, DoorConfig};

/// Pause after an accept that failed for want of something, such as open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; in the extensions of every request the console gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address it comes from.
    pub address: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether it came through CONNECT.
    pub tunnelled: bool,
}

/// The API and the console, ready to be served. Clones share everything.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

struct Shared {
    config: watch::Sender<Arc<DoorConfig>>,
    desk: Desk,
    console: Option<Router>,
    metrics: DoorMetrics,
    census: Arc<Census>,
    /// What handshakes use; `None` until there is a certificate.
    tls: Arc<certificate::Current>,
    again: Arc<Notify>,
    connections: TaskTracker,
    context: Context,
}

/// Reads the certificate files that `config` names, if it does.
///
/// # Errors
/// When they can't be used.
pub fn check(config: &DoorConfig) -> Result<(), CertificateError> {
    config.tls.as_ref().map_or(Ok(()), |named| certificate::load(named).map(drop))
}

impl Shared {
    fn config(&self) -> Arc<DoorConfig> {
        self.config.borrow().clone()
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.borrow().clone()
    }
}

impl Door {
    /// The API over `context` for those whom `verify` knows, and `console` at `/console`.
    ///
    /// # Errors
    /// When the certificate files that `config` names can't be used.
    pub fn new(
        context: Context,
        verify: Verify,
        console: Option<Router>,
        config: DoorConfig,
    ) -> Result<Self, CertificateError> {
        let metrics = context.metrics.door.clone();
        let current = Arc::new(watch::Sender::new(None));
        if let Some(named) = &config.tls {
            current.send_replace(Some(certificate::load(named)?.current()));
        }
        let shared = Shared {
            config: watch::Sender::new(Arc::new(config)),
            desk: Desk::new(context.clone(), verify),
            console: console.map(|console| Router::new().nest_service("/console", console)),
            census: Census::new(metrics.connections.clone()),
            metrics,
            tls: current,
            again: Arc::new(Notify::new()),
            connections: TaskTracker::new(),
            context,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Puts `config` and `api` in force for connections and requests that come from now on.
    pub fn reconfigure(&self, config: DoorConfig, api: ApiConfig) {
        self.shared.desk.reconfigure(api);
        self.shared.config.send_if_modified(|known| {
            let changed = **known != config;
            if changed {
                *known = Arc::new(config);
            }
            changed
        });
    }

    /// Looks at the certificate files now.
    pub fn look_again(&self) {
        self.shared.again.notify_one();
    }

    /// Serves `listener` until `shutdown`, then until the requests under way are answered or their time is up.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) {
        let shared = &self.shared;
        // Also ended when this future is dropped.
        let stop = shutdown.child_token();
        let _stopped = stop.clone().drop_guard();
        let keeper =
            certificate::Keeper::new(shared.context.clone(), shared.config.subscribe(), shared.tls.clone());
        tokio::spawn(keeper.run(shared.again.clone(), stop.clone()));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, address)) => connection::begin(shared, stream, address, &stop),
                Err(error) => {
                    shared.metrics.refused.with_label_values(&["accept"]).inc();
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        shared.connections.close();
        let finished = async {
            shared.connections.wait().await;
            shared.desk.finish().await;
        };
        if tokio::time::timeout(shared.config().drain, finished).await.is_err() {
            tracing::warn!(
                "requests of API clients were cut off: they took longer than the door may stay open"
            );
        }
    }
}

#[cfg(test)]
mod tests;
