//! The certificates a listener serves with: read from their files at the start, and again whenever the files change.
//!
//! At the start a pair that can't be used stops the service. Later it doesn't: the certificates in use stay, the defect is logged and told,
//! and the next look tries again once something has changed. Certificate and key are two files, so one of them may be new while the
//! other is not yet; that too is only a defect until the next look. Running connections keep what they shook hands with.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::ResolvesServerCert;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pair::{ByName, PairError, parse};
use super::x509;

/// A certificate or key file is no longer than this.
const FILE_BYTES: u64 = 1 << 20;

/// Why the configured certificates can't be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is a folder, a pipe, a device.
    #[error("{0}: is no regular file")]
    Special(PathBuf),
    /// A file can't be a certificate or key.
    #[error("{0}: is over {FILE_BYTES} bytes long")]
    Long(PathBuf),
    /// The files can't be used together.
    #[error("certificate {0}: {1}")]
    Pair(PathBuf, PairError),
    /// The protocol can't be set up.
    #[error("tls: {0}")]
    Setup(#[from] rustls::Error),
}

/// The files of all certificates, as they stood at one moment.
struct Files {
    pairs: Vec<Texts>,
    digest: [u8; 32],
}

struct Texts {
    /// `None`: the first, for everybody else.
    name: Option<String>,
    path: PathBuf,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Where one certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name clients ask for (SNI), lower case, `*.` for one label; `None`: the first, for everybody else.
    pub name: Option<String>,
    /// PEM: the certificate, then those that lead from it towards a root.
    pub certificate_file: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
}

/// What a look at the files brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// They were read at the start.
    First,
    /// They have changed, and are used.
    Loaded,
    /// They have changed, and can't be used.
    Failed,
}

impl Look {
    /// As a metric's label.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Loaded => "loaded",
            Self::Failed => "failed",
        }
    }
}

/// What a listener shakes hands with.
pub struct Certificates {
    sources: Vec<Source>,
    tickets: usize,
    current: watch::Sender<Arc<ServerConfig>>,
    /// When the first of them ends, in seconds since 1970.
    ends: Mutex<Option<i64>>,
    /// What was tried last: files that haven't changed are not tried again, nor complained about.
    tried: Mutex<[u8; 32]>,
}

impl Certificates {
    /// Loads `sources`; one of them must be nameless. `tickets` of TLS 1.3 follow each handshake (0: none).
    ///
    /// # Errors
    /// When a file can't be read or a pair can't be used.
    pub fn load(sources: Vec<Source>, tickets: usize) -> Result<Self, CertificateError> {
        let files = read(&sources)?;
        let (current, ends) = build(&files, tickets)?;
        Ok(Self {
            sources,
            tickets,
            current: watch::Sender::new(current),
            ends: Mutex::new(ends),
            tried: Mutex::new(files.digest),
        })
    }

    /// What a handshake that begins now uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.borrow().clone()
    }

    /// When the first of the certificates ends, in seconds since 1970.
    pub fn ends(&self) -> Option<i64> {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files again. `Ok(true)` when there are new certificates, `Ok(false)` when nothing has changed since the last look.
    ///
    /// # Errors
    /// When what has changed can't be used; the certificates in use stay. The same defect is told once.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let files = read(&self.sources);
        let digest = match &files {
            Ok(files) => files.digest,
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        let before =
            std::mem::replace(&mut *self.tried.lock().unwrap_or_else(PoisonError::into_inner), digest);
        if before == digest {
            return Ok(false);
        }
        let (current, ends) = build(&files?, self.tickets)?;
        self.current.send_replace(current);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        Ok(true)
    }

    /// Looks at the files now, away from the runtime's threads; `None` when nothing has changed. A defect is logged.
    pub async fn look(self: &Arc<Self>) -> Option<Look> {
        let own = self.clone();
        match tokio::task::spawn_blocking(move || own.reload()).await {
            Ok(Ok(false)) | Err(_) => None,
            Ok(Ok(true)) => Some(Look::Loaded),
            Ok(Err(error)) => {
                warn!(%error, "changed certificate files can't be used; the certificates in use stay");
                Some(Look::Failed)
            }
        }
    }

    /// Looks at the files every `every` until `shutdown`, and tells of the first look and of every change.
    pub async fn follow(
        self: Arc<Self>,
        every: Duration,
        told: impl Fn(Look, &Self),
        shutdown: CancellationToken,
    ) {
        told(Look::First, &self);
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled() => return,
            }
            if let Some(look) = self.look().await {
                told(look, &self);
            }
        }
    }
}

fn read(sources: &[Source]) -> Result<Files, CertificateError> {
    let mut pairs = Vec::with_capacity(sources.len());
    for source in sources {
        pairs.push(Texts {
            name: source.name.clone(),
            path: source.certificate_file.clone(),
            certificate: read_file(&source.certificate_file)?,
            key: read_file(&source.key_file)?,
        });
    }
    let mut hash = Sha256::new();
    for text in pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    Ok(Files { pairs, digest: hash.finalize().into() })
}

/// The text of a file that may be a symbolic link and is no longer than a certificate file can be.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut text = Vec::new();
    let failed = |error| CertificateError::Read(path.to_owned(), error);
    // Opening a pipe would wait for who writes to it.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(CertificateError::Special(path.to_owned()));
    }
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(CertificateError::Long(path.to_owned()));
    }
    Ok(text)
}

/// What to shake hands with, and when its first certificate ends.
fn build(files: &Files, tickets: usize) -> Result<(Arc<ServerConfig>, Option<i64>), CertificateError> {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let mut first = None;
    let mut named = HashMap::new();
    let mut ends: Option<i64> = None;
    for pair in &files.pairs {
        let key = parse(&pair.certificate, &pair.key, &provider)
            .map_err(|error| CertificateError::Pair(pair.path.clone(), error))?;
        let said = key.cert.first().map(|der| x509::describe(der)).unwrap_or_default();
        let until = said.not_after.map(x509::date).unwrap_or_default();
        info!(file = %pair.path.display(), name = pair.name, subject = said.subject, until, sha256 = said.fingerprint, "certificate loaded");
        ends = [ends, said.not_after].into_iter().flatten().min();
        match &pair.name {
            None => first = Some(Arc::new(key)),
            Some(name) => {
                named.insert(name.clone(), Arc::new(key));
            }
        }
    }
    let Some(first) = first else { return Err(rustls::Error::NoCertificatesPresented.into()) };
    Ok((server_config(provider, Arc::new(ByName::new(first, named)), tickets)?, ends))
}

/// TLS 1.2 and 1.3 with rustls's own choice of ciphers, without client certificates.
///
/// # Errors
/// When rustls refuses its own defaults, which it doesn't.
pub fn server_config(
    provider: Arc<CryptoProvider>,
    resolver: Arc<dyn ResolvesServerCert>,
    tickets: usize,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.send_tls13_tickets = tickets;
    Ok(Arc::new(config))
}
