//! What the door shakes hands with: the operator's certificate, followed as its files change, or one of the [local authority](super::authority),
//! renewed before it ends.
//!
//! At the start the operator's files must be good. Afterwards nothing takes a certificate away: files that can't be used and a store that is
//! away leave the one in use. Until the first one is there (the store was away at the start, no key for secrets) handshakes are refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::sign::SingleCertAndKey;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::authority::{Authority, AuthorityError, RENEW_SECONDS};
use super::config::DoorConfig;
use crate::api::Context;
use crate::client::tls::certificates::server_config;
use crate::client::tls::{CertificateError, Certificates, Look, Source, x509};

/// Tickets of TLS 1.3 after a handshake: clients that come again for each call resume with them.
const TICKETS: usize = 2;
/// How often a leaf's age is looked at; wall time may jump.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The first and the longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What handshakes use; `None` until there is a certificate.
pub(super) type Current = watch::Sender<Option<Arc<ServerConfig>>>;

/// The certificate and key files the operator named.
type Named = (PathBuf, PathBuf);

/// Reads the files of `named`.
///
/// # Errors
/// When they can't be read or used.
pub(super) fn load(named: &Named) -> Result<Certificates, CertificateError> {
    let (certificate_file, key_file) = named.clone();
    Certificates::load(vec![Source { name: None, certificate_file, key_file }], TICKETS)
}

/// What is in use.
enum Used {
    Nothing,
    Files(Named, Arc<Certificates>),
    Leaf { names: Vec<String>, ends: i64 },
}

/// Keeps `current` until `shutdown`.
pub(super) struct Keeper {
    context: Context,
    config: watch::Receiver<Arc<DoorConfig>>,
    current: Arc<Current>,
    used: Used,
    failures: u32,
}

impl Keeper {
    /// Puts what handshakes use in `current`.
    pub(super) fn new(
        context: Context,
        config: watch::Receiver<Arc<DoorConfig>>,
        current: Arc<Current>,
    ) -> Self {
        Self { context, config, current, used: Used::Nothing, failures: 0 }
    }

    /// Looks at once, when the config changes, when `again` says so, and from time to time.
    pub(super) async fn run(mut self, again: Arc<Notify>, shutdown: CancellationToken) {
        loop {
            let config = self.config.borrow_and_update().clone();
            let wait = match &config.tls {
                Some(named) => {
                    self.files(named).await;
                    config.tls_reload
                }
                None => self.leaf(config.names()).await,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => (),
                () = again.notified() => (),
                changed = self.config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn told(&self, look: Look) {
        self.context.metrics.door.tls_changes.with_label_values(&[look.outcome()]).inc();
    }

    async fn files(&mut self, named: &Named) {
        let (files, look) = match &self.used {
            Used::Files(used, files) if used == named => {
                let Some(look) = files.look().await else { return };
                (files.clone(), look)
            }
            _ => {
                let asked = named.clone();
                match tokio::task::spawn_blocking(move || load(&asked)).await {
                    Ok(Ok(files)) => (Arc::new(files), Look::Loaded),
                    Ok(Err(error)) => {
                        self.told(Look::Failed);
                        warn!(%error, "the new certificate files can't be used; the certificate in use stays");
                        return;
                    }
                    Err(_) => return,
                }
            }
        };
        self.context.metrics.door.tls_expiry.set(files.ends().unwrap_or(0));
        self.current.send_replace(Some(files.current()));
        self.used = Used::Files(named.clone(), files);
        self.told(look);
    }

    /// Sees to it that there is a leaf for `names` that won't end soon; how long to wait before the next look.
    async fn leaf(&mut self, names: Vec<String>) -> Duration {
        let now = i64::try_from(self.context.clock.now_seconds()).unwrap_or(i64::MAX / 2);
        if let Used::Leaf { names: used, ends } = &self.used
            && *used == names
            && *ends - now > RENEW_SECONDS
        {
            return LOOK_EVERY;
        }
        match self.issue(names.clone(), now).await {
            Ok(ends) => {
                info!(
                    names = names.join(","),
                    until = x509::date(ends),
                    "certificate of the local authority issued"
                );
                self.told(Look::Loaded);
                self.context.metrics.door.tls_expiry.set(ends);
                self.used = Used::Leaf { names, ends };
                self.failures = 0;
                LOOK_EVERY
            }
            Err(reason) => {
                if self.failures == 0 {
                    let served = self.current.borrow().is_some();
                    error!(%reason, served, "no certificate of the local authority; without one TLS is refused");
                    self.told(Look::Failed);
                }
                self.failures = self.failures.saturating_add(1);
                (RETRY.0 * 2_u32.pow(self.failures.min(8) - 1)).min(RETRY.1)
            }
        }
    }

    async fn issue(&self, names: Vec<String>, now: i64) -> Result<i64, AuthorityError> {
        let authority = Authority::of_store(&*self.context.store, &self.context.sealer).await?;
        let provider = Arc::new(default_provider());
        let leaf = authority.issue(names, now, &provider)?;
        let resolver = Arc::new(SingleCertAndKey::from(leaf.key));
        self.current.send_replace(Some(server_config(provider, resolver, TICKETS)?));
        Ok(leaf.ends)
    }
}
