//! The node's own role: keys that the platform gives a process, as cloud platforms do.
//!
//! Where they come from is the platform's matter ([`chain`]): environment variables, a profile, a web identity token (IRSA), the container's
//! credentials endpoint (ECS, EKS Pod Identity) or instance metadata (EC2). Here they are kept, one set for the whole process, for every S3
//! client that signs with them:
//!
//! * they are asked for when they are first needed, never at the start, so an endpoint that is away holds nothing up;
//! * when two thirds of their time are over, at the latest five minutes before their end, the next request sets off a refresh and goes on with
//!   what is there; only when nothing that is valid is there do requests wait;
//! * one refresh is under way at a time, in a task of its own: whoever gives up waiting takes nothing from the others;
//! * keys that the storage refuses are [told](PlatformRole::refused) and asked for anew, however long they should last.
//!
//! Failing: without keys every request that needs them fails with a [`RoleError`], which says why, and is never sent unsigned. The reason is
//! remembered for a few seconds, so an endpoint in trouble is not asked for each request; then the next one asks again. A failed refresh costs
//! nothing while the old keys are valid. No secret is part of any text.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use proto::clock::SharedClock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

mod chain;
mod metrics;
#[cfg(test)]
mod tests;

pub use metrics::RoleMetrics;

/// What an S3 endpoint calls keys that it doesn't take, or takes no longer.
pub const REFUSED_KEYS: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// Longest that the platform may take over keys, all its places together: less than a shield gives one request.
const LOAD: Duration = Duration::from_secs(10);
/// How long a failure is remembered before the platform is asked again.
const REST: Duration = Duration::from_secs(3);
/// Keys are refreshed at the latest so long before their end.
const AHEAD_MS: u64 = 300_000;
/// Keys that end sooner than this are not begun with: the request has to get there, and clocks differ.
const MARGIN_MS: u64 = 3_000;
/// Keys without an end (a profile's, say) are looked up anew after so long: files change.
const ENDLESS_MS: u64 = 300_000;

/// Who gives the keys: the value of a `provider:` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// AWS's places, in the order of its SDKs.
    Aws,
}

/// Why the platform gives no keys.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the platform gives this node no keys: {0}")]
pub struct RoleError(Arc<str>);

impl RoleError {
    pub(crate) fn new(reason: impl Into<Arc<str>>) -> Self {
        Self(reason.into())
    }

    /// The one that is behind `error`, if that is why it happened.
    pub fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

/// Where keys come from.
trait Source: Send + Sync + 'static {
    /// Asks for keys.
    fn load(&self) -> BoxFuture<'static, Result<Credentials, RoleError>>;
}

type Loading = Shared<BoxFuture<'static, Result<Credentials, RoleError>>>;

/// Keys, and when to ask for others.
struct Held {
    credentials: Credentials,
    /// `u64::MAX`: never.
    expires_ms: u64,
    refresh_ms: u64,
    since: Instant,
    refused: bool,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// When the last load failed, and why.
    failed: Option<(Instant, RoleError)>,
    loading: Option<Loading>,
}

struct Inner {
    source: Box<dyn Source>,
    clock: SharedClock,
    metrics: Option<RoleMetrics>,
    state: Mutex<State>,
}

/// The node's own role. Clones share its keys.
#[derive(Clone)]
pub struct PlatformRole(Arc<Inner>);

impl fmt::Debug for PlatformRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlatformRole")
    }
}

impl PlatformRole {
    /// The role that AWS's places give this process. Asks nobody yet.
    pub fn aws(clock: SharedClock, metrics: Option<RoleMetrics>) -> Self {
        Self::of(Box::new(chain::Chain), clock, metrics)
    }

    fn of(source: Box<dyn Source>, clock: SharedClock, metrics: Option<RoleMetrics>) -> Self {
        Self(Arc::new(Inner { source, clock, metrics, state: Mutex::default() }))
    }

    /// Keys that are valid now.
    ///
    /// # Errors
    /// When there are none and the platform gives none.
    pub async fn credentials(&self) -> Result<Credentials, RoleError> {
        let loading = {
            let mut state = self.0.state();
            let now_ms = self.0.clock.now_ms();
            let valid = state.held.as_ref().filter(|held| held.is_good(now_ms));
            let valid = valid.map(|held| (held.credentials.clone(), held.refresh_ms));
            match (valid, &state.failed) {
                (Some((keys, refresh_ms)), _) if now_ms < refresh_ms => return Ok(keys),
                (Some((keys, _)), Some((at, _))) if at.elapsed() < REST => return Ok(keys),
                (None, Some((at, error))) if at.elapsed() < REST => return Err(error.clone()),
                (valid, _) => {
                    let loading = state.loading.get_or_insert_with(|| self.load()).clone();
                    if let Some((keys, _)) = valid {
                        return Ok(keys);
                    }
                    loading
                }
            }
        };
        loading.await
    }

    /// The id of the keys that are held, if any are.
    pub fn key_id(&self) -> Option<String> {
        self.0.state().held.as_ref().map(|held| held.credentials.access_key_id().to_owned())
    }

    /// Notes that an endpoint doesn't take the keys with this id (its answer was one of [`REFUSED_KEYS`]): they are not used again before
    /// the platform was asked. Keys that came just now stay, or an endpoint that refuses everybody would have the platform asked for
    /// each request.
    pub fn refused(&self, key_id: &str) {
        let mut state = self.0.state();
        let held = state.held.as_mut().filter(|held| held.credentials.access_key_id() == key_id);
        if let Some(held) = held.filter(|held| !held.refused && held.since.elapsed() >= REST) {
            tracing::warn!(access_key_id = key_id, "keys of the node's role are refused, asking for others");
            held.refused = true;
        }
    }

    /// Other keys than those of `key_id`, which an endpoint refused; `None` if the platform has none.
    pub async fn instead_of(&self, key_id: &str) -> Option<Credentials> {
        self.refused(key_id);
        self.credentials().await.ok().filter(|keys| keys.access_key_id() != key_id)
    }

    /// Begins to load, in a task that nobody's leaving ends.
    fn load(&self) -> Loading {
        let role = self.clone();
        let task = tokio::spawn(async move {
            // One more task: whatever becomes of it, the state must not say for ever that a load is under way.
            let asked = tokio::spawn(role.0.source.load());
            let ends = asked.abort_handle();
            let outcome = match tokio::time::timeout(LOAD, asked).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(RoleError::new("asking for them broke off")),
                Err(_) => {
                    ends.abort();
                    Err(RoleError::new(format!("no answer within {} s", LOAD.as_secs())))
                }
            };
            role.0.loaded(outcome)
        });
        let ended = || Err(RoleError::new("the process is ending"));
        async move { task.await.unwrap_or_else(|_| ended()) }.boxed().shared()
    }
}

impl ProvideCredentials for PlatformRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let keys = async { self.credentials().await.map_err(CredentialsError::provider_error) };
        future::ProvideCredentials::new(keys)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the outcome of a load.
    fn loaded(&self, outcome: Result<Credentials, RoleError>) -> Result<Credentials, RoleError> {
        let now_ms = self.clock.now_ms();
        let outcome = outcome.and_then(|keys| Held::new(keys, now_ms));
        let mut state = self.state();
        state.loading = None;
        if let Some(metrics) = &self.metrics {
            metrics.count(outcome.as_ref().map(|held| held.expires_ms).ok());
        }
        match outcome {
            Ok(held) => {
                let keys = held.credentials.clone();
                let access_key_id = keys.access_key_id();
                let known =
                    state.held.as_ref().is_some_and(|h| h.credentials.access_key_id() == access_key_id);
                if state.failed.take().is_some() || !known {
                    let valid_s = (held.expires_ms < u64::MAX).then(|| (held.expires_ms - now_ms) / 1000);
                    tracing::info!(access_key_id, valid_s, "keys of the node's role");
                }
                state.held = Some(held);
                Ok(keys)
            }
            Err(error) => {
                let held = state.held.as_ref().is_some_and(|held| held.is_good(now_ms));
                tracing::warn!(%error, old_keys_are_valid = held, "no keys for the node's role");
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Held {
    fn new(credentials: Credentials, now_ms: u64) -> Result<Self, RoleError> {
        let until = credentials.expiry().map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default());
        let expires_ms = until.map_or(u64::MAX, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let left_ms = expires_ms.saturating_sub(now_ms);
        if left_ms == 0 {
            return Err(RoleError::new("those it gave have expired"));
        }
        let refresh_ms = match expires_ms {
            u64::MAX => now_ms.saturating_add(ENDLESS_MS),
            _ => now_ms + (left_ms - AHEAD_MS.min(left_ms / 3)).max(1_000),
        };
        Ok(Self { credentials, expires_ms, refresh_ms, since: Instant::now(), refused: false })
    }

    fn is_good(&self, now_ms: u64) -> bool {
        !self.refused && now_ms.saturating_add(MARGIN_MS) < self.expires_ms
    }
}
