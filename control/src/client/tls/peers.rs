//! TLS between the boxes, on gRPC: what this process shows to others and whom it trusts, from files that are looked at again while it runs.
//!
//! Both ends take what is current when a connection is opened: a listener wraps what it accepts ([`Tls::accepted`]), a channel what it dials
//! ([`Tls::connect`]). So new files count for new connections, and streams that run go on as they began. CA, certificate and key are three files that
//! are replaced one after the other, or all at once behind a symbolic link (`..data`, as in Kubernetes): they are read until two readings agree, and
//! what doesn't fit together stays unused until the next look. At the start a defect ends the process; later the files in use stay, the defect is
//! logged and counted once, and the next look tries again when something has changed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_util::sync::CancellationToken;

use super::Look;
use super::certificates::read_file;
use super::pair::{PairError, parse};
use super::x509;

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at a listener. One more takes the place of the oldest: who connects and says nothing shuts out nobody.
const HANDSHAKES: usize = 1024;
/// Readings of the files until two agree.
const READINGS: usize = 5;
/// What gRPC is spoken over.
const H2: &[u8] = b"h2";

/// Where a process's certificate is, and whom it trusts: PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificates of the cluster's own CA; during a change of CA of both.
    pub ca: PathBuf,
    /// This process's certificate chain; a server needs one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// How often they are looked at again, in seconds.
    #[serde(default = "reload_seconds")]
    pub reload_seconds: u64,
}

fn reload_seconds() -> u64 {
    10
}

impl Default for TlsFiles {
    fn default() -> Self {
        Self { ca: PathBuf::new(), cert: None, key: None, reload_seconds: reload_seconds() }
    }
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
#[error("tls.{field}{}: {reason}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
pub struct TlsError {
    /// The field of [`TlsFiles`].
    pub field: &'static str,
    /// The file, if it is about one.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub reason: String,
}

fn bad(field: &'static str, path: &Path, reason: impl ToString) -> TlsError {
    TlsError { field, path: Some(path.to_owned()), reason: reason.to_string() }
}

/// The files as they stood at one moment.
#[derive(PartialEq, Eq)]
struct Texts {
    ca: Vec<u8>,
    pair: Option<(Vec<u8>, Vec<u8>)>,
}

impl Texts {
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let pair = self.pair.iter().flat_map(|(cert, key)| [cert, key]);
        for text in std::iter::once(&self.ca).chain(pair) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

impl TlsFiles {
    /// Reads the files; an error names the field.
    pub fn load(&self) -> Result<Tls, TlsError> {
        if self.cert.is_some() != self.key.is_some() {
            let path = self.cert.as_ref().or(self.key.as_ref()).unwrap_or(&self.ca);
            return Err(bad("cert", path, "cert and key come together"));
        }
        if !(1..=86_400).contains(&self.reload_seconds) {
            let reason = format!("{} is not within 1 and 86400", self.reload_seconds);
            return Err(TlsError { field: "reload_seconds", path: None, reason });
        }
        let texts = self.read()?;
        let current = self.build(&texts)?;
        Ok(Tls(Arc::new(Inner {
            files: self.clone(),
            tried: Mutex::new(texts.digest()),
            current: Mutex::new(Arc::new(current)),
        })))
    }

    /// Until two readings agree: one may fall between the replacement of one file and the next.
    fn read(&self) -> Result<Texts, TlsError> {
        let mut texts = self.read_once()?;
        for _ in 1..READINGS {
            let again = self.read_once()?;
            if again == texts {
                break;
            }
            texts = again;
        }
        Ok(texts)
    }

    fn read_once(&self) -> Result<Texts, TlsError> {
        let read = |field, path: &Path| {
            read_file(path).map_err(|error| TlsError {
                field,
                // The error names the file.
                path: None,
                reason: error.to_string(),
            })
        };
        let pair = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read("cert", cert)?, read("key", key)?)),
            _ => None,
        };
        Ok(Texts { ca: read("ca", &self.ca)?, pair })
    }

    fn build(&self, texts: &Texts) -> Result<Current, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(default_provider());
        let roots = Arc::new(roots(&self.ca, &texts.ca)?);
        let path = self.cert.as_deref().unwrap_or(&self.ca);
        let unusable = |error: rustls::Error| bad("cert", path, error);
        let own = match &texts.pair {
            None => None,
            Some((cert, key)) => {
                let parsed = parse(cert, key, &provider).map_err(|error| match &self.key {
                    Some(key) if matches!(error, PairError::Pem("the key file", _)) => bad("key", key, error),
                    _ => bad("cert", path, error),
                })?;
                Some(Arc::new(parsed))
            }
        };
        let said = own.as_deref().and_then(describe);
        if let Some(said) = &said {
            let until = said.not_after.map(x509::date).unwrap_or_default();
            tracing::info!(
                file = %path.display(), subject = said.subject, until, sha256 = said.fingerprint, "gRPC certificate loaded"
            );
        }
        let dials = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots.clone());
        let mut dials = match &own {
            Some(own) => dials.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone()))),
            None => dials.with_no_client_auth(),
        };
        dials.alpn_protocols = vec![H2.to_vec()];
        let accepts = match &own {
            None => None,
            Some(own) => {
                // Clients may present theirs, or a token instead.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| bad("ca", &self.ca, error))?;
                let mut config = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(unusable)?
                    .with_client_cert_verifier(verifier)
                    .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone())));
                config.alpn_protocols = vec![H2.to_vec()];
                Some(Arc::new(config))
            }
        };
        Ok(Current { dials: Arc::new(dials), accepts, ends: said.and_then(|said| said.not_after) })
    }
}

fn describe(own: &CertifiedKey) -> Option<x509::Description> {
    own.cert.first().map(|der| x509::describe(der))
}

/// Those whom certificates are trusted from; one that can't be parsed stands for none.
fn roots(path: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad("ca", path, format!("is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(bad("ca", path, "holds no PEM block CERTIFICATE"));
    }
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => return Err(bad("ca", path, "holds no certificate that can be used")),
        (_, 0) => (),
        (_, ignored) => {
            tracing::warn!(file = %path.display(), ignored, "certificates that can't be used are left out")
        }
    }
    Ok(roots)
}

/// What connections that open now shake hands with.
struct Current {
    dials: Arc<ClientConfig>,
    /// `None` without a certificate.
    accepts: Option<Arc<ServerConfig>>,
    /// When the certificate ends, in seconds since 1970.
    ends: Option<i64>,
}

struct Inner {
    files: TlsFiles,
    /// What was tried last: files that haven't changed are not tried again, nor complained about.
    tried: Mutex<[u8; 32]>,
    current: Mutex<Arc<Current>>,
}

/// TLS as a process speaks it to others of its cluster. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is in there.
        f.write_str("Tls")
    }
}

impl Tls {
    /// Whether it has a certificate of its own.
    pub fn has_certificate(&self) -> bool {
        self.0.files.cert.is_some()
    }

    fn current(&self) -> Arc<Current> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files now. `Ok(true)` when there is something new, `Ok(false)` when nothing has changed since the last look.
    ///
    /// # Errors
    /// When what has changed can't be used; what is in use stays. The same defect is told once.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let texts = self.0.files.read();
        let digest = match &texts {
            Ok(texts) => texts.digest(),
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        let before =
            std::mem::replace(&mut *self.0.tried.lock().unwrap_or_else(PoisonError::into_inner), digest);
        if before == digest {
            return Ok(false);
        }
        let current = Arc::new(self.0.files.build(&texts?)?);
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(true)
    }

    /// Looks at the files every `reload_seconds`, and at each SIGHUP, until `shutdown`.
    pub async fn follow(self, metrics: TlsMetrics, shutdown: CancellationToken) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP can't be caught; gRPC certificates are looked at by time only");
                None
            }
        };
        metrics.expiry.set(self.current().ends.unwrap_or(0));
        let mut tick = interval(Duration::from_secs(self.0.files.reload_seconds));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tick.tick() => (),
                () = hung_up => (),
                () = shutdown.cancelled() => return,
            }
            let own = self.clone();
            // Files may lie on a mount that hangs.
            let look = match tokio::task::spawn_blocking(move || own.reload()).await {
                Ok(Ok(false)) | Err(_) => continue,
                Ok(Ok(true)) => {
                    metrics.expiry.set(self.current().ends.unwrap_or(0));
                    tracing::info!("new connections of gRPC use the changed TLS files");
                    Look::Loaded
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the changed TLS files of gRPC can't be used; those in use stay");
                    Look::Failed
                }
            };
            metrics.reloads.with_label_values(&[look.outcome()]).inc();
        }
    }

    /// `connections`, each once it has shaken hands; those that fail to are left out.
    pub fn accepted<C, E>(
        &self,
        connections: impl Stream<Item = Result<C, E>>,
    ) -> impl Stream<Item = Result<server::TlsStream<C>, E>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut turns = VecDeque::<CancellationToken>::new();
        let handshakes = connections.map(move |connection| {
            let current = self.current();
            if turns.len() == HANDSHAKES
                && let Some(oldest) = turns.pop_front()
            {
                oldest.cancel();
            }
            let displaced = CancellationToken::new();
            turns.push_back(displaced.clone());
            async move {
                let connection = match connection {
                    Ok(connection) => connection,
                    Err(error) => return Some(Err(error)),
                };
                let accepts = current.accepts.clone()?;
                let shaken = timeout(HANDSHAKE, TlsAcceptor::from(accepts).accept(connection));
                let shaken = tokio::select! {
                    biased;
                    shaken = shaken => shaken,
                    () = displaced.cancelled() => {
                        tracing::debug!("a peer's TLS handshake made room for a newer one");
                        return None;
                    }
                };
                match shaken {
                    Ok(Ok(stream)) => Some(Ok(stream)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a peer's TLS handshake failed");
                        None
                    }
                    Err(_) => {
                        tracing::debug!("a peer's TLS handshake took too long");
                        None
                    }
                }
            }
        });
        // Those that were displaced end when they are next looked at: hence the double.
        handshakes.buffer_unordered(2 * HANDSHAKES).filter_map(std::future::ready)
    }

    /// Shakes hands over `stream` with a server that must have a certificate for `host`.
    ///
    /// # Errors
    /// When it has none, or doesn't speak HTTP/2.
    pub async fn connect<C>(&self, host: &str, stream: C) -> io::Result<client::TlsStream<C>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(self.current().dials.clone());
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
        let stream = timeout(HANDSHAKE, connector.connect(name, stream)).await.map_err(late)??;
        if stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server speaks no HTTP/2"));
        }
        Ok(stream)
    }
}

/// Follows the files of `tls` ([`Tls::follow`]). Without any, SIGHUP is caught all the same: who tells every box to look at its files must end none.
pub async fn follow(tls: Option<Tls>, metrics: TlsMetrics, shutdown: CancellationToken) {
    match tls {
        Some(tls) => tls.follow(metrics, shutdown).await,
        // Caught once, it stays so for the life of the process.
        None => drop(signal(SignalKind::hangup())),
    }
}

/// How the files fare.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    reloads: IntCounterVec,
    expiry: IntGauge,
}

impl TlsMetrics {
    /// Registers them for a process in `role`.
    pub fn new(registry: &Registry, role: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| {
            Opts::new(format!("penstock_control_grpc_tls_{name}"), help).const_label("role", role)
        };
        let reloads = IntCounterVec::new(
            opts("reloads_total", "Times changed TLS files of gRPC were found, by outcome (loaded, failed)"),
            &["outcome"],
        )?;
        let expiry = IntGauge::with_opts(opts(
            "certificate_expiry_timestamp_seconds",
            "When this process's gRPC certificate ends; 0 without one",
        ))?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(expiry.clone()))?;
        // There from the start, so that an alarm has what to compare with.
        for look in [Look::Loaded, Look::Failed] {
            reloads.with_label_values(&[look.outcome()]);
        }
        Ok(Self { reloads, expiry })
    }
}

#[cfg(test)]
mod tests;
