//! Noticing that a shield is dead, asking another, and knowing when to stop.
//!
//! A killed shield refuses connections at once. A stopped one (or one behind a partition) just stays silent, like one that
//! waits for a slow origin; waiting tells nothing and asking another shield too soon makes S3 serve the same bytes twice. So a
//! silent shield is probed with a question it can answer from memory: if it answers, it is waited for, up to the limit; if
//! it does not, it is dead after [`probe_after_ms`](super::ClientConfig::probe_after_ms) plus
//! [`probe_ms`](super::ClientConfig::probe_ms), and its breaker keeps further calls away.
//!
//! Asking again is bounded three ways: attempts and time without progress (a read that progresses may last for hours), both
//! for the one call; and a budget for all calls together, so that trouble that hits everybody isn't multiplied. Moving on from
//! a dead shield is not charged to the budget: its breaker opens with the first proof, so that costs each call under way one
//! attempt, and those that come later none. While every breaker is open calls wait, and only probes are sent.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::status::{REASON_KEY, Reason, RemoteError};
use proto::v1::StatRequest;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Status;

use super::Inner;
use super::breaker::{Change, Gate};
use super::channels::Node;
use super::topology::Topology;

/// Whose fault a failed attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not the shield's: it answered, but what was asked can't be had.
    None,
    /// Perhaps the shield's: it lives, but was silent or wrong.
    Suspect,
    /// The shield's: it is gone, stopped or leaving.
    Dead,
}

/// A failed attempt at one shield.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RemoteError,
    pub(super) fault: Fault,
}

impl Failure {
    /// A shield that answered wrongly.
    pub(super) fn wrong(text: String) -> Self {
        Self { error: RemoteError::new(Reason::Internal, text), fault: Fault::Suspect }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let error = RemoteError::from(status);
        // A broken connection, or a shield that says it is leaving.
        let fault = if error.reason == Reason::Unavailable { Fault::Dead } else { Fault::None };
        Self { error, fault }
    }
}

/// Counts attempts without progress and says when to give up.
pub(super) struct Patience {
    since: Instant,
    failed: u32,
    origin_failed: u32,
    rounds: u32,
    last: Option<RemoteError>,
}

impl Patience {
    /// Starts now.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), failed: 0, origin_failed: 0, rounds: 0, last: None }
    }

    /// Time left before it is given up.
    pub(super) fn left(&self, inner: &Inner) -> Duration {
        Duration::from_millis(inner.config.deadline_ms).saturating_sub(self.since.elapsed())
    }

    /// Notes a failure; gives it back when it is time to give up.
    pub(super) fn note(&mut self, inner: &Inner, node: &Node, failure: Failure) -> Result<(), RemoteError> {
        inner.judge(node, &failure);
        let Failure { error, fault } = failure;
        if !error.reason.is_worth_another_shield() {
            return Err(error);
        }
        tracing::debug!(shield = node.id, %error, ?fault, "a shield failed");
        self.failed += 1;
        // When S3 fails for two shields it is S3: more attempts would only add to its load.
        self.origin_failed += u32::from(error.reason == Reason::OriginFailed);
        if self.failed >= inner.config.attempts || self.origin_failed >= 2 {
            return Err(error);
        }
        if self.left(inner).is_zero() {
            self.last = Some(error);
            return Err(self.late(inner));
        }
        if fault != Fault::Dead && !inner.retries.take() {
            inner.metrics.retries_refused.inc();
            return Err(error);
        }
        inner.metrics.failovers.inc();
        self.last = Some(error);
        Ok(())
    }

    /// Every shield is being left alone: waits for a change of that, as for another attempt.
    pub(super) fn nobody(&mut self, inner: &Inner, object: &ObjectKey) -> Result<(), RemoteError> {
        self.failed += 1;
        if self.failed < inner.config.attempts {
            return Ok(());
        }
        inner.metrics.attempts.with_label_values(&["none-left"]).inc();
        let none =
            || RemoteError::new(Reason::Unavailable, format!("{object}: every shield is dead or failing"));
        Err(self.last.take().unwrap_or_else(none))
    }

    /// Waits before the shields are asked all over again; not before the first time.
    pub(super) async fn pause(&mut self, inner: &Inner) -> Result<(), RemoteError> {
        if self.rounds > 0 {
            let retry = &inner.config.retry;
            let most = retry.pause_ms.saturating_mul(1 << (self.rounds - 1).min(16)).min(retry.pause_most_ms);
            let pause = inner.jitter.of(Duration::from_millis(most));
            if pause >= self.left(inner) {
                return Err(self.late(inner));
            }
            sleep(pause).await;
        }
        self.rounds += 1;
        Ok(())
    }

    fn late(&mut self, inner: &Inner) -> RemoteError {
        let last = self.last.take().map(|e| e.to_string()).unwrap_or_default();
        let (ms, attempts) = (inner.config.deadline_ms, self.failed);
        RemoteError::new(
            Reason::Deadline,
            format!("nothing came in {ms} ms, {attempts} attempts failed, at last: {last}"),
        )
    }
}

impl Inner {
    /// Tells a shield's breaker of a failure.
    pub(super) fn judge(&self, node: &Node, failure: &Failure) {
        let reason = failure.error.reason;
        self.metrics.attempts.with_label_values(&[reason.as_str()]).inc();
        let now = Instant::now();
        let change = match failure.fault {
            // A shield that is full is neither healthy nor to be emptied onto the next one.
            Fault::None if reason == Reason::Overloaded => None,
            Fault::None => node.breaker.worked(now, &self.config.breaker),
            Fault::Suspect => node.breaker.failed(false, now, &self.config.breaker, &self.jitter),
            Fault::Dead => node.breaker.failed(true, now, &self.config.breaker, &self.jitter),
        };
        self.changed(node, change);
    }

    /// Tells a shield's breaker of a success.
    pub(super) fn worked(&self, node: &Node) {
        self.metrics.attempts.with_label_values(&["ok"]).inc();
        self.changed(node, node.breaker.worked(Instant::now(), &self.config.breaker));
    }

    fn changed(&self, node: &Node, change: Option<Change>) {
        let Some(change) = change else { return };
        let name = match change {
            Change::Opened => "open",
            Change::HalfOpened => "half-open",
            Change::Closed => "closed",
        };
        self.metrics.breaker_changes.with_label_values(&[name]).inc();
        self.metrics.tripped.set(self.topology().tripped() as i64);
        match change {
            Change::Opened => {
                tracing::warn!(shield = node.id, "a shield fails and is left alone for a while");
            }
            Change::HalfOpened => (),
            Change::Closed => {
                tracing::info!(shield = node.id, "a shield is back");
                node.ramp.start();
            }
        }
    }

    /// Whom to ask for a segment, in order: the home first; shields whose breaker is open are left out, and probed when due. Should
    /// that leave nobody, they are probed sooner.
    pub(super) fn askable(
        self: &Arc<Self>,
        topology: &Topology,
        object: &ObjectKey,
        segment: u64,
    ) -> Vec<Arc<Node>> {
        let now = Instant::now();
        let nodes: Vec<_> = topology.order(object, segment).collect();
        let passes = |node: &&Arc<Node>| match node.breaker.gate(now) {
            Gate::Pass => true,
            Gate::Shut => false,
            Gate::Probe => {
                self.knock(node, object);
                false
            }
        };
        let askable: Vec<Arc<Node>> = nodes.iter().copied().filter(passes).cloned().collect();
        if askable.is_empty() {
            nodes.iter().filter(|n| n.breaker.hurry(now)).for_each(|node| self.knock(node, object));
        }
        askable
    }

    /// Finds out in the background whether a shield is back.
    pub(super) fn knock(self: &Arc<Self>, node: &Arc<Node>, object: &ObjectKey) {
        let (inner, node, object) = (self.clone(), node.clone(), object.clone());
        tokio::spawn(async move {
            let alive = probe(&inner, &node, &object).await;
            let change = node.breaker.probed(alive, Instant::now(), &inner.config.breaker, &inner.jitter);
            // One that stays shut is no news.
            inner.changed(&node, change.filter(|_| alive));
        });
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
            let error = RemoteError::new(Reason::Deadline, text);
            return Err(Failure { error, fault: Fault::Suspect });
        }
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            alive = Box::pin(probe(inner, node, object)) => if !alive {
                let text = format!("{object}: shield {} does not answer", node.id);
                let error = RemoteError::new(Reason::Unavailable, text);
                return Err(Failure { error, fault: Fault::Dead });
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

/// Describes an object: asks the home of its first segment, then the others. No other is asked for its cache first: what it
/// remembers may have been refused to the home since, and a HEAD costs S3 little.
pub(super) async fn stat(
    inner: &Arc<Inner>,
    object: &ObjectKey,
    retired: Option<&str>,
) -> Result<ObjectInfo, RemoteError> {
    inner.retries.pay_in();
    let mut patience = Patience::new();
    loop {
        patience.pause(inner).await?;
        let topology = inner.topology();
        if topology.is_empty() {
            return Err(inner.no_shield(object));
        }
        let mut asked = false;
        for node in inner.askable(&topology, object, 0) {
            if !node.breaker.enter(Instant::now()) {
                continue;
            }
            asked = true;
            let limit = Duration::from_millis(inner.config.stat_ms).min(patience.left(inner));
            match stat_at(inner, &node, object, retired, topology.generation(), limit).await {
                Ok(info) => {
                    inner.worked(&node);
                    return Ok(info);
                }
                Err(failure) => patience.note(inner, &node, failure)?,
            }
        }
        if !asked {
            patience.nobody(inner, object)?;
        }
    }
}

async fn stat_at(
    inner: &Inner,
    node: &Node,
    object: &ObjectKey,
    retired: Option<&str>,
    map_generation: u64,
    limit: Duration,
) -> Result<ObjectInfo, Failure> {
    let request = StatRequest {
        origin_id: object.origin.as_str().to_owned(),
        key: object.key.to_string(),
        deadline_ms: told(limit),
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

/// The deadline a shield is told: a little before ours, so that one whose origin is slow says so before it counts as silent.
pub(super) fn told(limit: Duration) -> u32 {
    let ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    ms.saturating_sub((ms / 10).min(500)).max(1)
}
