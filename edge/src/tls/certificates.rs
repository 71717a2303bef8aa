//! The certificates an edge serves with: read from their files at the start, and again whenever the files change.
//!
//! At the start a pair that can't be used stops the edge. Later it doesn't: the certificates in use stay, the defect is logged and counted,
//! and the next look tries again once something has changed. Certificate and key are two files, so one of them may be new while the
//! other is not yet; that too is only a defect until the next look. Running sessions keep what they shook hands with.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pair::{ByName, PairError, parse};
use super::x509;
use crate::config::tls::TlsConfig;
use crate::metrics::Metrics;

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

/// What an edge shakes hands with.
pub struct Certificates {
    config: TlsConfig,
    current: watch::Sender<Arc<ServerConfig>>,
    /// When the first of them ends, in seconds since 1970.
    ends: Mutex<Option<i64>>,
    /// What was tried last: files that haven't changed are not tried again, nor complained about.
    tried: Mutex<[u8; 32]>,
}

impl Certificates {
    /// Loads what `config` names; `None` if it names nothing.
    ///
    /// # Errors
    /// When a file can't be read or a pair can't be used.
    pub fn load(config: &TlsConfig) -> Result<Option<Self>, CertificateError> {
        let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) else {
            return Ok(None);
        };
        let files = read(config, certificate, key)?;
        let (current, ends) = build(&files)?;
        Ok(Some(Self {
            config: config.clone(),
            current: watch::Sender::new(current),
            ends: Mutex::new(ends),
            tried: Mutex::new(files.digest),
        }))
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
        let (Some(certificate), Some(key)) = (&self.config.certificate_file, &self.config.key_file) else {
            return Ok(false);
        };
        let files = read(&self.config, certificate, key);
        let digest = match &files {
            Ok(files) => files.digest,
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        let before =
            std::mem::replace(&mut *self.tried.lock().unwrap_or_else(PoisonError::into_inner), digest);
        if before == digest {
            return Ok(false);
        }
        let (current, ends) = build(&files?)?;
        self.current.send_replace(current);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        Ok(true)
    }

    /// Looks at the files every `reload_seconds` until `shutdown`.
    pub async fn follow(self: Arc<Self>, metrics: Arc<Metrics>, shutdown: CancellationToken) {
        let publish = |certificates: &Self| {
            metrics.tls_expiry.set(certificates.ends().unwrap_or(0));
        };
        publish(&self);
        let mut tick = interval(Duration::from_secs(self.config.reload_seconds));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled() => return,
            }
            let own = self.clone();
            let outcome = match tokio::task::spawn_blocking(move || own.reload()).await {
                Ok(Ok(false)) | Err(_) => continue,
                Ok(Ok(true)) => {
                    publish(&self);
                    "loaded"
                }
                Ok(Err(error)) => {
                    warn!(%error, "changed certificate files can't be used; the certificates in use stay");
                    "failed"
                }
            };
            metrics.tls_reloads.with_label_values(&[outcome]).inc();
        }
    }
}

fn read(config: &TlsConfig, certificate: &Path, key: &Path) -> Result<Files, CertificateError> {
    let mut pairs = vec![Texts {
        name: None,
        path: certificate.to_owned(),
        certificate: read_file(certificate)?,
        key: read_file(key)?,
    }];
    for named in &config.names {
        pairs.push(Texts {
            name: Some(named.name.clone()),
            path: named.certificate_file.clone(),
            certificate: read_file(&named.certificate_file)?,
            key: read_file(&named.key_file)?,
        });
    }
    let mut hash = Sha256::new();
    for text in pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    Ok(Files { pairs, digest: hash.finalize().into() })
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
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
fn build(files: &Files) -> Result<(Arc<ServerConfig>, Option<i64>), CertificateError> {
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
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName::new(first, named)));
    // Tickets of TLS 1.3 come after the handshake, and librtmp built with GnuTLS (rtmpdump on Debian) takes a read that brings one for a
    // failed read. Sessions are long: resuming them would spare little.
    config.send_tls13_tickets = 0;
    Ok((Arc::new(config), ends))
}

#[cfg(test)]
mod tests;
