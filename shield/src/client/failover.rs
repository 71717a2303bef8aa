//! Noticing that a shield is dead, and asking another.
//!
//! A killed shield refuses connections at once. A stopped one (or one behind a partition) just stays silent, like one that
//! waits for a slow origin; waiting tells nothing and asking another shield too soon makes S3 serve the same bytes twice. So a
//! silent shield is probed with a question it can answer from memory: if it answers, it is waited for, up to the limit; if
//! it does not, it is dead after [`probe_after_ms`](super::ClientConfig::probe_after_ms) plus
//! [`probe_ms`](super::ClientConfig::probe_ms), and asked last for a while.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::status::{REASON_KEY, Reason, RemoteError};
use proto::v1::StatRequest;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Status;

use super::Inner;
use super::channels::Node;

/// Pause before the shields are asked all over again; doubles up to a second.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// A failed attempt at one shield.
pub(super) struct Failure {
    pub(super) error: RemoteError,
    /// Whether the shield itself is at fault, not what it was asked.
    pub(super) dead: bool,
}

impl Failure {
    /// A shield that answered wrongly.
    pub(super) fn wrong(text: String) -> Self {
        Self { error: RemoteError::new(Reason::Internal, text), dead: false }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let error = RemoteError::from(status);
        // A broken connection, or a shield that says it is leaving.
        let dead = error.reason == Reason::Unavailable;
        Self { error, dead }
    }
}

/// Counts attempts in a row and says when to give up.
#[derive(Default)]
pub(super) struct Patience {
    failed: u32,
    origin_failed: u32,
    rounds: u32,
}

impl Patience {
    /// Notes a failure; gives it back when it is time to give up.
    pub(super) fn note(&mut self, inner: &Inner, node: &Node, failure: Failure) -> Result<(), RemoteError> {
        let Failure { error, dead } = failure;
        inner.metrics.attempts.with_label_values(&[error.reason.as_str()]).inc();
        if dead {
            node.failed(&inner.config);
        }
        if !error.reason.is_worth_another_shield() {
            return Err(error);
        }
        tracing::debug!(shield = node.id, %error, dead, "a shield failed");
        self.failed += 1;
        // When S3 fails for two shields it is S3: more attempts would only add to its load.
        self.origin_failed += u32::from(error.reason == Reason::OriginFailed);
        if self.failed >= inner.config.attempts || self.origin_failed >= 2 {
            return Err(error);
        }
        inner.metrics.failovers.inc();
        Ok(())
    }

    /// Waits before the shields are asked all over again.
    pub(super) async fn pause(&mut self) {
        if self.rounds > 0 {
            sleep(ROUND_PAUSE * (1 << (self.rounds - 1).min(3))).await;
        }
        self.rounds += 1;
    }
}

/// Waits for `work` at `node`, but not for a dead shield and not over `limit`.
pub(super) async fn watch_over<T>(
    inner: &Inner,
    node: &Node,
    object: &ObjectKey,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    let deadline = Instant::now() + limit;
    let silence = Duration::from_millis(inner.config.probe_after_ms);
    loop {
        let wake = deadline.min(Instant::now() + silence);
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = sleep_until(wake) => {}
        }
        if Instant::now() >= deadline {
            let text = format!("{object}: shield {} was silent for {} ms", node.id, limit.as_millis());
            return Err(Failure { error: RemoteError::new(Reason::Deadline, text), dead: true });
        }
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            alive = probe(inner, node, object) => if !alive {
                let text = format!("{object}: shield {} does not answer", node.id);
                return Err(Failure { error: RemoteError::new(Reason::Unavailable, text), dead: true });
            }
        }
    }
}

/// Whether the shield answers at all. What it says does not matter.
async fn probe(inner: &Inner, node: &Node, object: &ObjectKey) -> bool {
    let request = StatRequest {
        origin_id: object.origin.as_str().to_owned(),
        key: object.key.to_string(),
        cache_only: true,
        ..Default::default()
    };
    let mut stub = node.stat_stub(&inner.bearer);
    let answer = timeout(Duration::from_millis(inner.config.probe_ms), stub.stat(request)).await;
    let alive = match answer {
        Ok(Ok(_)) => true,
        Ok(Err(status)) => status.metadata().contains_key(REASON_KEY),
        Err(_) => false,
    };
    inner.metrics.probes.with_label_values(&[if alive { "alive" } else { "dead" }]).inc();
    alive
}

/// Describes an object: asks the home of its first segment, then the others.
pub(super) async fn stat(
    inner: &Inner,
    object: &ObjectKey,
    retired: Option<&str>,
) -> Result<ObjectInfo, RemoteError> {
    let mut patience = Patience::default();
    loop {
        patience.pause().await;
        let topology = inner.topology();
        let order = topology.order(object, 0);
        if order.is_empty() {
            return Err(inner.no_shield(object));
        }
        for node in order {
            match stat_at(inner, &node, object, retired, topology.generation()).await {
                Ok(info) => {
                    node.worked();
                    inner.metrics.attempts.with_label_values(&["ok"]).inc();
                    return Ok(info);
                }
                Err(failure) => patience.note(inner, &node, failure)?,
            }
        }
    }
}

async fn stat_at(
    inner: &Inner,
    node: &Node,
    object: &ObjectKey,
    retired: Option<&str>,
    map_generation: u64,
) -> Result<ObjectInfo, Failure> {
    let limit = Duration::from_millis(inner.config.stat_ms);
    let request = StatRequest {
        origin_id: object.origin.as_str().to_owned(),
        key: object.key.to_string(),
        deadline_ms: u32::try_from(inner.config.stat_ms).unwrap_or(u32::MAX),
        map_generation,
        cache_only: false,
        retired_version: retired.unwrap_or_default().to_owned(),
    };
    let mut stub = node.stat_stub(&inner.bearer);
    let answer = watch_over(inner, node, object, limit, stub.stat(request)).await??.into_inner();
    if answer.version.is_empty() {
        return Err(Failure::wrong(format!("{object}: shield {} gave no version", node.id)));
    }
    Ok(ObjectInfo {
        id: ObjectVersion { object: object.clone(), version: answer.version.into() },
        size_bytes: answer.size_bytes,
        content_type: answer.content_type.into(),
    })
}
