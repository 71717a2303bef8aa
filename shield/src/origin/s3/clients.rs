//! S3 clients: how they connect, sign, time out and retry.
//!
//! TLS is rustls with ring everywhere. Two HTTP clients an endpoint, one for demand and one for read-ahead, shared by all
//! origins behind that endpoint whatever their credential; an S3 client on top is light.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Config, Credentials, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
    retry::{RetryConfig, RetryPartition},
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{Builder, tls};
use control::platform::{PlatformRole, Provider, RoleMetrics};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::config::{CredentialConfig, ShieldConfig};
use crate::origin::endpoint::Place;
use crate::origin::keys::Keys;

/// How long keys read from files are used before the files are read again.
const KEYS_AGE: Duration = Duration::from_secs(300);
/// How long an idle connection to an origin is kept; under the 20 s or so after which S3 closes it.
const IDLE: Duration = Duration::from_secs(15);

/// Why an origin can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The distribution names a credential the shield does not have.
    #[error("credential '{0}' is not configured at this shield")]
    UnknownCredential(String),
    /// The file of authorities can't be used.
    #[error("{}: {reason}", path.display())]
    BadAuthorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// The two clients of one origin, and the region they sign for.
pub(super) struct Pair {
    pub(super) demand: Client,
    pub(super) read_ahead: Client,
    pub(super) region: String,
    /// Which keys the clients began with, where keys can change.
    pub(super) keys: Option<KeysDigest>,
}

/// Tells whether two sets of keys are the same, without being one.
pub(super) type KeysDigest = [u8; 32];

#[derive(Clone)]
struct Http {
    demand: SharedHttpClient,
    read_ahead: SharedHttpClient,
}

/// Makes S3 clients; keeps the HTTP clients below them.
pub struct Clients {
    config: Arc<ShieldConfig>,
    /// What the platform gives this node; asked only for those whose keys come from there.
    role: PlatformRole,
    http: Mutex<HashMap<(String, Option<PathBuf>), Http>>,
}

impl Clients {
    /// Clients that connect and sign as `config` says.
    pub fn new(config: Arc<ShieldConfig>) -> Self {
        Self::metered(config, None)
    }

    /// The same; what becomes of the platform's keys is counted.
    pub(crate) fn metered(config: Arc<ShieldConfig>, metrics: Option<RoleMetrics>) -> Self {
        let role = PlatformRole::aws(proto::clock::system(), metrics);
        Self { config, role, http: Mutex::default() }
    }

    /// The node's role, if that is where `keys` come from.
    pub(super) fn role_of(&self, keys: &Keys) -> Option<&PlatformRole> {
        keys.configured().and_then(|keys| keys.provider).map(|Provider::Aws| &self.role)
    }

    /// The configured credential of this name (empty: none).
    pub(super) fn configured(&self, credential: &str) -> Result<Keys, ClientError> {
        if credential.is_empty() {
            return Ok(Keys::Anonymous);
        }
        let unknown = || ClientError::UnknownCredential(credential.to_owned());
        let keys = self.config.credentials.get(credential).cloned().ok_or_else(unknown)?;
        Ok(Keys::Configured(credential.to_owned(), keys))
    }

    pub(super) fn pair(&self, place: &Place, region: &str, keys: &Keys) -> Result<Pair, ClientError> {
        let http = self.http(place, region)?;
        Ok(Pair {
            demand: self.client(place, region, keys, http.demand),
            read_ahead: self.client(place, region, keys, http.read_ahead),
            region: region.to_owned(),
            keys: self.keys_now(keys),
        })
    }

    /// The keys that files hold at this moment; `None` if they aren't kept in files, or can't be read.
    pub(super) fn keys_now(&self, keys: &Keys) -> Option<KeysDigest> {
        let keys = keys.configured().filter(|keys| keys.changes())?;
        let (id, secret, token) = (keys.id().ok()?, keys.secret().ok()?, keys.session_token().ok()?);
        let mut digest = Sha256::new();
        for part in [id, secret, token.unwrap_or_default()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Some(digest.finalize().into())
    }

    fn http(&self, place: &Place, region: &str) -> Result<Http, ClientError> {
        let endpoint = place.endpoint.clone().unwrap_or_else(|| format!("aws:{region}"));
        let mut known = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (endpoint, place.ca_file.clone());
        if let Some(http) = known.get(&key) {
            return Ok(http.clone());
        }
        let bounds = self.config.connections;
        let http = Http {
            demand: http_client(place, bounds.demand + bounds.stat)?,
            read_ahead: http_client(place, bounds.read_ahead)?,
        };
        known.insert(key, http.clone());
        Ok(http)
    }

    fn client(&self, place: &Place, region: &str, keys: &Keys, http: SharedHttpClient) -> Client {
        let timeouts = &self.config.timeouts;
        let connect = Duration::from_millis(timeouts.connect_ms);
        let first_byte = Duration::from_millis(timeouts.first_byte_ms);
        let times = TimeoutConfig::builder()
            .connect_timeout(connect)
            .read_timeout(first_byte)
            .operation_attempt_timeout(connect + first_byte)
            .build();
        let mut config = Config::builder()
            .behavior_version_latest()
            .http_client(http)
            .region(Region::new(region.to_owned()))
            .force_path_style(place.path_style)
            .timeout_config(times)
            .retry_config(RetryConfig::standard().with_max_attempts(timeouts.attempts))
            // The SDK's allowance of retries is kept by this name: an endpoint in trouble must not use up another's.
            .retry_partition(RetryPartition::new(place.name()))
            // Bodies are watched by the fill, which also resumes them.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // A range has no checksum of its own, and endpoints other than AWS stumble over the headers.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &place.endpoint {
            config = config.endpoint_url(endpoint);
        }
        config = match keys {
            Keys::Anonymous => config.allow_no_auth(),
            Keys::Configured(_, own) | Keys::Role(own) => match self.role_of(keys) {
                // It keeps them itself, one set for all clients.
                Some(role) => {
                    config.identity_cache(IdentityCache::no_cache()).credentials_provider(role.clone())
                }
                None => config.credentials_provider(Kept(own.clone())),
            },
            // Others come as another set of keys, so these never change.
            Keys::Identity(secret) => {
                let (id, secret) = (&secret.access_key_id, &secret.secret_access_key);
                config.credentials_provider(Credentials::new(id, secret, None, None, "penstock"))
            }
        };
        Client::from_conf(config.build())
    }
}

fn http_client(place: &Place, idle_connections: usize) -> Result<SharedHttpClient, ClientError> {
    let builder = Builder::new().pool_idle_timeout(IDLE).pool_max_idle_per_host(idle_connections);
    if place.endpoint.as_deref().is_some_and(|e| e.starts_with("http://")) {
        return Ok(builder.build_http());
    }
    let builder = builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring));
    let Some(path) = &place.ca_file else { return Ok(builder.build_https()) };
    let bad = |reason: String| ClientError::BadAuthorities { path: path.clone(), reason };
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

/// Keys from the configuration; those in files are read anew every few minutes, so that they can be rotated.
#[derive(Debug)]
struct Kept(CredentialConfig);

impl Kept {
    fn read(&self) -> Result<Credentials, CredentialsError> {
        let broken = CredentialsError::provider_error;
        let (id, secret) = (self.0.id().map_err(broken)?, self.0.secret().map_err(broken)?);
        let token = self.0.session_token().map_err(broken)?;
        let expires = self.0.changes().then(|| SystemTime::now() + KEYS_AGE);
        Ok(Credentials::new(id, secret, token, expires, "penstock"))
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.read())
    }
}
