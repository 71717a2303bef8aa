//! The session's end of a spool: events go in, and nobody waits who doesn't want to.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use proto::v1::AccessRecord;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::drops::Drops;
use super::metrics::SpoolMetrics;
use super::queue::{Event, Progress, Queue};

/// Why an event is lost. Each is a value of the label `reason` of `penstock_edge_log_dropped_events_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The disk is too slow: no room in the queue before it.
    QueueFull,
    /// No room on the disk, and no sealed segment to give up for it.
    DiskFull,
    /// The disk failed.
    DiskFailed,
    /// The spool was at its bound: the segment the event stood in was its oldest.
    SpoolFull,
    /// What the event stood in can't be read any more: the whole segment, or its own place in one.
    Damaged,
    /// Control will never take the segment the event stood in.
    Refused,
    /// The event is longer than a segment may hold.
    TooLong,
    /// The spool is closed.
    Closed,
}

impl DropReason {
    pub(crate) const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::DiskFull,
        Self::DiskFailed,
        Self::SpoolFull,
        Self::Damaged,
        Self::Refused,
        Self::TooLong,
        Self::Closed,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::DiskFailed => "disk_failed",
            Self::SpoolFull => "spool_full",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::TooLong => "too_long",
            Self::Closed => "closed",
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the disk (written, or synced if the spool is durable).
    Stands,
    /// The disk takes longer than an answer may wait. The event may still come to stand.
    Late,
    /// It is lost, and counted.
    Dropped(DropReason),
}

impl Outcome {
    /// Whether the event counts.
    pub fn stands(self) -> bool {
        self == Self::Stands
    }
}

/// Between two lines about events that are late. The first comes at once.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Tells how far the writer is, so that not everybody waits in turn for a disk that hangs.
#[derive(Debug)]
pub(crate) struct Pulse {
    batches: AtomicU64,
    stuck_at: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { batches: AtomicU64::new(0), stuck_at: AtomicU64::new(u64::MAX), told: Mutex::default() }
    }

    /// The writer has finished something.
    pub(crate) fn beat(&self) {
        self.batches.fetch_add(1, Ordering::Release);
    }

    /// Answers go without their events until the next beat. Said before the first of them goes: where a process's log has no such line, each answer
    /// it gave has its event in the spool, however the process ends.
    fn stuck(&self) {
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (*told(), Instant::now());
        if before.is_none_or(|before| now.duration_since(before) >= LINE_EVERY) {
            tracing::warn!("the spool's disk is slow: players are answered before their access events stand");
            // Only now: whoever is late at the same time says it too rather than answering before the line is out.
            *told() = Some(now);
        }
        self.stuck_at.store(self.batches.load(Ordering::Acquire), Ordering::Release);
    }

    fn is_stuck(&self) -> bool {
        self.stuck_at.load(Ordering::Acquire) == self.batches.load(Ordering::Acquire)
    }
}

/// Takes the events of all sessions; cheap to clone.
#[derive(Clone, Debug)]
pub struct EventLog {
    pub(crate) queue: Arc<Queue>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) drops: Arc<Drops>,
    pub(crate) metrics: SpoolMetrics,
    pub(crate) wait: Duration,
}

impl EventLog {
    /// Records an event. Returns at once; what is returned tells when the event stands, and need not be waited for.
    ///
    /// A session is open from its first event (`status` "") to its `DISCONNECT`; it must have one `client_id` all along. If this process
    /// dies in between, the next one writes what is missing: a STOP for each stream with a PLAY and no STOP, and the DISCONNECT.
    ///
    /// An event without a `target` is not written: its distribution isn't logged any more. Such an event tells all the same where the
    /// session is, so a session that had events written should go on recording them to its end.
    pub fn record(&self, record: AccessRecord) -> Written {
        let (written, told) = oneshot::channel();
        match self.queue.put(Event { record, written }) {
            Ok(()) => Written(State::Waiting {
                told,
                late: None,
                pulse: Arc::clone(&self.pulse),
                metrics: self.metrics.late.clone(),
                wait: self.wait,
            }),
            Err(reason) => {
                // The writer may be the one that hangs: it can't show this.
                self.metrics.queue_events.set(self.queue.len() as i64);
                self.drops.count(reason, 1);
                Written(State::Done(Outcome::Dropped(reason)))
            }
        }
    }

    /// Tells how far an open session has come: what its DISCONNECT will say if this process dies now. To be called at least every
    /// eight seconds for a session whose count has changed; sessions without an event in the spool are not kept.
    pub fn progress(&self, client_id: &str, time_ms: u64, sc_bytes: u64) {
        self.queue.progress(client_id, Progress { time_ms, sc_bytes });
    }
}

/// Resolves once an event stands or is lost, within `wait_ms`. To be polled within a tokio runtime.
#[derive(Debug)]
#[must_use = "an answer that promises an event waits for this; drop it where nothing does"]
pub struct Written(State);

#[derive(Debug)]
enum State {
    Done(Outcome),
    Waiting {
        told: oneshot::Receiver<Outcome>,
        // Made on the first wait: most events are not waited for, or stand by then.
        late: Option<Pin<Box<Sleep>>>,
        pulse: Arc<Pulse>,
        metrics: prometheus::IntCounter,
        wait: Duration,
    },
}

impl Written {
    /// What is already known: for logs that keep nothing, and for tests of what waits for events.
    pub fn known(outcome: Outcome) -> Self {
        Self(State::Done(outcome))
    }
}

impl Future for Written {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = match &mut self.0 {
            State::Done(outcome) => *outcome,
            State::Waiting { told, late, pulse, metrics, wait } => match Pin::new(told).poll(context) {
                Poll::Ready(told) => told.unwrap_or(Outcome::Dropped(DropReason::Closed)),
                Poll::Pending => {
                    if !pulse.is_stuck() {
                        let late = late.get_or_insert_with(|| Box::pin(sleep(*wait)));
                        ready!(late.as_mut().poll(context));
                        pulse.stuck();
                    }
                    metrics.inc();
                    Outcome::Late
                }
            },
        };
        // Whoever asks again hears the same.
        self.0 = State::Done(outcome);
        Poll::Ready(outcome)
    }
}
