//! The certificates an edge serves viewers with: what [`control::client::tls`] keeps of the files in the edge's config, told in the edge's
//! metrics.

use std::ops::Deref;
use std::sync::Arc;

use control::client::tls as shared;
pub use control::client::tls::CertificateError;
use control::client::tls::{Look, Source};
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::config::tls::TlsConfig;
use crate::metrics::Metrics;

/// Tickets of TLS 1.3 come after the handshake, and librtmp built with GnuTLS (rtmpdump on Debian) takes a read that brings one for a
/// failed read. Sessions are long: resuming them would spare little.
const TICKETS: usize = 0;

/// What an edge shakes hands with.
pub struct Certificates {
    files: Arc<shared::Certificates>,
    every: Duration,
}

impl Deref for Certificates {
    type Target = shared::Certificates;

    fn deref(&self) -> &shared::Certificates {
        &self.files
    }
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
        let first = Source { name: None, certificate_file: certificate.clone(), key_file: key.clone() };
        let named = config.names.iter().map(|named| Source {
            name: Some(named.name.clone()),
            certificate_file: named.certificate_file.clone(),
            key_file: named.key_file.clone(),
        });
        let sources = std::iter::once(first).chain(named).collect();
        let files = Arc::new(shared::Certificates::load(sources, TICKETS)?);
        Ok(Some(Self { files, every: Duration::from_secs(config.reload_seconds) }))
    }

    /// Looks at the files every `reload_seconds` until `shutdown`.
    pub async fn follow(self: Arc<Self>, metrics: Arc<Metrics>, shutdown: CancellationToken) {
        let told = move |look: Look, files: &shared::Certificates| {
            if look != Look::Failed {
                metrics.tls_expiry.set(files.ends().unwrap_or(0));
            }
            if look != Look::First {
                metrics.tls_reloads.with_label_values(&[look.outcome()]).inc();
            }
        };
        self.files.clone().follow(self.every, told, shutdown).await;
    }
}

#[cfg(test)]
mod tests;
