//! The connections below S3 clients: plain or TLS, one pool for each file of authorities.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::{Builder, tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::access_log::bucket::place::Place;

/// How long an idle connection is kept; under the 20 s or so after which S3 closes it.
const IDLE: Duration = Duration::from_secs(15);
/// Idle connections kept to one host.
const IDLE_MAX: usize = 16;

/// What tells pools apart: TLS or not, and whom it trusts.
type Pool = (bool, Option<PathBuf>);

/// Pools of connections, made when first needed.
#[derive(Default)]
pub(super) struct Connections(Mutex<HashMap<Pool, SharedHttpClient>>);

impl Connections {
    /// Those by which `place` is reached; the error says what is wrong with its file of authorities.
    pub(super) fn to(&self, place: &Place) -> Result<SharedHttpClient, String> {
        let plain = place.endpoint.as_deref().is_some_and(|e| e.starts_with("http://"));
        let key = (plain, place.ca_file.clone().filter(|_| !plain));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&key) {
            return Ok(client.clone());
        }
        let client = pool(&key)?;
        known.insert(key, client.clone());
        Ok(client)
    }
}

fn pool((plain, authorities): &Pool) -> Result<SharedHttpClient, String> {
    let builder = Builder::new().pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_MAX);
    if *plain {
        return Ok(builder.build_http());
    }
    let builder = builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring));
    let Some(path) = authorities else { return Ok(builder.build_https()) };
    let bad = |reason: String| format!("{}: {reason}", path.display());
    let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    // The HTTP client panics over a file it can't read, so look first.
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    if certificates.map_err(|e| bad(e.to_string()))?.is_empty() {
        return Err(bad("holds no certificate".into()));
    }
    let trust = tls::TrustStore::empty().with_pem_certificate(pem);
    let context =
        tls::TlsContext::builder().with_trust_store(trust).build().map_err(|e| bad(e.to_string()))?;
    Ok(builder.tls_context(context).build_https())
}
