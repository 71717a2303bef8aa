//! Handing sealed segments over to control: the oldest first, each until it is acknowledged, to any replica.
//!
//! An acknowledgement means that the segment stands in the operator's bucket and in the ledger; only then is it forgotten here, and only then the
//! next one's turn. (Control's high-water marks build on that order.) An answer that is lost makes us hand the same segment over again, which
//! control notices by its name.
//!
//! Whatever fails is tried again for ever, at the next endpoint, after a wait that grows to five seconds: a control that is away, one without a
//! staging bucket, a token that was changed. Only a segment that control says it will never take, because it is damaged or is not this edge's,
//! is set aside, so that it holds up none behind it.
//!
//! At a clean stop [`Shipping::drain`] has what is left sealed and handed over, as far as its time allows; the rest is on the disk for the next start.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use proto::access_log::SegmentId;
use proto::status::{Reason, RemoteError};
use proto::v1::{ShipRequest, ShipResponse};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::admin::{self, ConnectError, LogClient};
use super::backoff::Backoff;
use super::credentials::Credentials;
use super::dial::Dialer;
use super::spool::SealedSegment;

mod metrics;
mod source;

use metrics::ShipMetrics;
pub use source::SegmentSource;

/// Every field with its unit and default, for the reference of whoever has this section.
pub const REFERENCE: &str = "\
Sealed segments of access events are handed over to control.

  logs.ship.call_timeout_ms   a control that has not acknowledged a segment
                              by then is left for the next one, ms        [default: 60000]
  logs.ship.drain_ms          at a stop, what is left is handed over for
                              so long; the rest waits for the next
                              start, ms                                   [default: 4000]
";

/// See [`REFERENCE`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct ShipConfig {
    pub call_timeout_ms: u64,
    pub drain_ms: u64,
}

impl Default for ShipConfig {
    fn default() -> Self {
        Self { call_timeout_ms: 60_000, drain_ms: 4_000 }
    }
}

impl ShipConfig {
    /// Checks values that types don't; an error begins with the field's name.
    pub fn check(&self) -> Result<(), String> {
        let within = [
            ("call_timeout_ms", self.call_timeout_ms, 100, 600_000),
            ("drain_ms", self.drain_ms, 0, 600_000),
        ];
        for (field, value, least, most) in within {
            if !(least..=most).contains(&value) {
                return Err(format!("logs.ship.{field}: {value} is not within {least} and {most}"));
            }
        }
        Ok(())
    }
}

/// The longest wait between two attempts while an edge stops.
const HURRY: Duration = Duration::from_millis(250);

/// The task that hands segments over. Dropped, it stops where it is; nothing is lost by that.
pub struct Shipping<S> {
    spool: Arc<S>,
    draining: CancellationToken,
    config: ShipConfig,
    task: JoinHandle<()>,
}

impl<S> Drop for Shipping<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whose segments are handed over, and to whom.
#[derive(Clone, Debug)]
pub struct Route {
    /// The edge's node id.
    pub node_id: String,
    /// Control's endpoints, as in [`NodeConfig`](super::NodeConfig).
    pub control: Vec<String>,
    /// What the edge proves itself with.
    pub credentials: Credentials,
}

impl<S: SegmentSource> Shipping<S> {
    /// Starts handing over what `spool` has sealed, through `dialer` if there is one. Must be called inside a runtime. Metrics begin
    /// with `penstock_edge_log_ship`.
    ///
    /// # Errors
    /// When an endpoint can't be used or the registry has the metrics already.
    pub fn start(
        spool: Arc<S>,
        config: ShipConfig,
        route: Route,
        dialer: Option<&Dialer>,
        registry: &Registry,
    ) -> Result<Self, StartError> {
        let clients = route.control.iter().map(|endpoint| {
            let client = admin::access_logs(endpoint, &route.credentials, dialer)?;
            Ok((endpoint.clone(), client))
        });
        let clients = clients.collect::<Result<Vec<_>, ConnectError>>()?;
        if clients.is_empty() {
            return Err(StartError::NoEndpoint);
        }
        let draining = CancellationToken::new();
        let shipper = Shipper {
            spool: spool.clone(),
            node_id: route.node_id,
            at: rand::random_range(0..clients.len()),
            clients,
            call: Duration::from_millis(config.call_timeout_ms),
            metrics: ShipMetrics::new(registry)?,
            draining: draining.clone(),
            backoff: Backoff::new(),
            failing: false,
        };
        Ok(Self { spool, draining, config, task: tokio::spawn(shipper.run()) })
    }

    /// Has what was recorded so far sealed and handed over, in `drain_ms` at most, and stops. Returns how many segments are left for the next start.
    pub async fn drain(mut self) -> usize {
        let hand_over = async {
            if !self.spool.seal().await {
                tracing::warn!(
                    "the last access events could not be sealed in time; the next start will find them"
                );
            }
            self.draining.cancel();
            // It ends by itself once nothing is left; it doesn't panic.
            let _ = (&mut self.task).await;
        };
        let within = Duration::from_millis(self.config.drain_ms);
        let _ = tokio::time::timeout(within, hand_over).await;
        self.task.abort();
        let left = self.spool.waiting();
        if left > 0 {
            tracing::warn!(segments = left, "access events are left for the next start");
        }
        left
    }
}

/// Why shipping can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An endpoint can't be used.
    #[error("control: {0}")]
    Connect(#[from] ConnectError),
    /// There is none.
    #[error("control: names no endpoint")]
    NoEndpoint,
    /// The metrics exist already in this registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What became of an attempt.
enum Attempt {
    /// The segment is done with.
    Done,
    /// It is to be tried again.
    Failed(RemoteError),
}

struct Shipper<S> {
    spool: Arc<S>,
    node_id: String,
    clients: Vec<(String, LogClient)>,
    at: usize,
    call: Duration,
    metrics: ShipMetrics,
    draining: CancellationToken,
    backoff: Backoff,
    failing: bool,
}

impl<S: SegmentSource> Shipper<S> {
    async fn run(mut self) {
        loop {
            if self.draining.is_cancelled() && self.spool.waiting() == 0 {
                return;
            }
            let segment = tokio::select! {
                segment = self.spool.next_sealed() => segment,
                // Whether anything is left is asked again: the last one may be set aside by the spool itself.
                () = self.idle() => continue,
            };
            // After a failure the spool is asked again: it may have had to give this segment up meanwhile.
            match self.attempt(&segment).await {
                Attempt::Done => {
                    self.backoff.reset();
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("access events are handed over again");
                    }
                }
                Attempt::Failed(error) => {
                    // A control that said nothing in time may be staging it.
                    if error.reason != Reason::Deadline {
                        self.spool.not_taken(&segment.id);
                    }
                    self.wait_after(&segment.id, error).await;
                }
            }
        }
    }

    async fn idle(&self) {
        match self.draining.is_cancelled() {
            true => tokio::time::sleep(HURRY).await,
            false => self.draining.cancelled().await,
        }
    }

    async fn attempt(&mut self, segment: &SealedSegment) -> Attempt {
        let body = match tokio::fs::read(&segment.path).await {
            Ok(body) => body,
            // Given up by a spool at its bound.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.spool.forget(&segment.id);
                return Attempt::Done;
            }
            Err(error) => {
                let text = format!("{}: {error}", segment.path.display());
                return Attempt::Failed(RemoteError::new(Reason::Internal, text));
            }
        };
        let began = tokio::time::Instant::now();
        let error = match self.call(body).await {
            Ok(answer) => {
                self.metrics.shipped(segment.bytes, answer.repeated, began.elapsed());
                self.spool.forget(&segment.id);
                tracing::debug!(segment = %segment.id, repeated = answer.repeated, "handed over");
                return Attempt::Done;
            }
            Err(error) => error,
        };
        // What this edge may not say for another will never be taken from it. For itself it may once its token is right.
        let foreign =
            matches!(error.reason, Reason::Denied | Reason::Forbidden) && segment.id.edge_id != self.node_id;
        if error.reason == Reason::Invalid || foreign {
            let (path, records) = (segment.path.display(), segment.records);
            tracing::error!(segment = %segment.id, %path, records, %error, "control will not take this segment: it is set aside");
            self.metrics.refused.inc();
            self.spool.set_aside(segment);
            return Attempt::Done;
        }
        Attempt::Failed(error)
    }

    async fn call(&self, body: Vec<u8>) -> Result<ShipResponse, RemoteError> {
        let mut request = tonic::Request::new(ShipRequest { segment: body.into() });
        request.set_timeout(self.call);
        let mut client = self.clients[self.at].1.clone();
        match tokio::time::timeout(self.call, client.ship(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(RemoteError::from),
            Err(_) => Err(RemoteError::new(Reason::Deadline, "control did not acknowledge it in time")),
        }
    }

    async fn wait_after(&mut self, id: &SegmentId, error: RemoteError) {
        self.metrics.failed(error.reason);
        let endpoint = &self.clients[self.at].0;
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(segment = %id, %endpoint, %error, "not handed over");
        } else {
            tracing::warn!(segment = %id, %endpoint, %error, "access events can't be handed over; they wait on the disk");
        }
        self.at = (self.at + 1) % self.clients.len();
        let wait = self.backoff.next();
        if self.draining.is_cancelled() {
            tokio::time::sleep(wait.min(HURRY)).await;
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => (),
            () = self.draining.cancelled() => (),
        }
    }
}

#[cfg(test)]
mod tests;
