//! Streams of one part of a range, and the race between two of them.
//!
//! A read that takes longer than 95 in 100 do ([`Latency`](super::latency::Latency)) may be stuck behind a slow shield, or may
//! wait for S3 as it must. Asking a second shield tells which, if that is asked only for what it has cached: if it has the bytes it
//! streams them and the first stream is dropped; if not it says so at once, S3 hears of none of it, and the first is waited for.
//! The later slices of a stream get the longest delay there is: they are behind others already.
//!
//! Only demand is hedged. Nobody waits for read-ahead; who comes to wait for it asks anew.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::object::ObjectVersion;
use proto::range::{ByteRange, segment_of};
use proto::status::Reason;
use proto::v1::{Priority, ReadRequest};
use tokio::time::{Instant, sleep};

use super::Inner;
use super::channels::Node;
use super::failover::{Failure, Fault, told, watch_over};
use super::ramp::Turn;
use super::stub::Blocks;

/// A stream being read.
pub(super) struct Open {
    pub(super) node: Arc<Node>,
    pub(super) cache_only: bool,
    messages: Blocks,
    /// What is still to come of it.
    pub(super) left: ByteRange,
    /// Of the object, from the first message.
    pub(super) size_bytes: u64,
    /// Of the object, from the first message.
    pub(super) content_type: String,
    first: bool,
    _turn: Option<Turn>,
}

/// A slice and the stream it came from.
pub(super) type Slice = Result<(Open, Bytes), Failure>;

/// One version being read.
pub(super) struct Job {
    pub(super) inner: Arc<Inner>,
    pub(super) version: ObjectVersion,
    pub(super) priority: Priority,
}

/// One shield to be asked.
pub(super) struct Ask {
    pub(super) node: Arc<Node>,
    pub(super) cache_only: bool,
    /// Of the map the shield was chosen by.
    pub(super) generation: u64,
}

impl Job {
    /// Asks for `range` and waits for its first slice.
    pub(super) async fn begin(
        &self,
        ask: &Ask,
        range: ByteRange,
        limit: Duration,
        turn: Option<Turn>,
    ) -> Slice {
        let object = &self.version.object;
        let request = ReadRequest {
            origin_id: object.origin.as_str().to_owned(),
            key: object.key.to_string(),
            version: self.version.version.to_string(),
            start: range.start,
            end: range.end,
            priority: self.priority.into(),
            deadline_ms: told(limit),
            cache_only: ask.cache_only,
            map_generation: ask.generation,
        };
        let begun = Instant::now();
        let mut stub = ask.node.read_stub(self.priority, &self.inner.bearer);
        let answer = watch_over(&self.inner, &ask.node, object, limit, stub.read(request)).await??;
        let open = Open {
            node: ask.node.clone(),
            cache_only: ask.cache_only,
            messages: answer.into_inner(),
            left: range,
            size_bytes: 0,
            content_type: String::new(),
            first: true,
            _turn: turn,
        };
        self.more(open, limit.saturating_sub(begun.elapsed())).await
    }

    /// The next slice of an open stream, checked: its version, its place.
    pub(super) async fn more(&self, mut open: Open, limit: Duration) -> Slice {
        let object = &self.version.object;
        let message = watch_over(&self.inner, &open.node, object, limit, open.messages.message()).await??;
        let wrong = |what: String| Failure::wrong(format!("{object}: shield {} {what}", open.node.id));
        let Some(message) = message else {
            return Err(wrong(format!("ended at byte {} of {}", open.left.start, open.left.end)));
        };
        if open.first && message.version != *self.version.version {
            return Err(wrong(format!("sent version {} for {}", message.version, self.version.version)));
        }
        let got = ByteRange::at(message.offset, message.data.len() as u64);
        if got.start != open.left.start || got.is_empty() || got.end > open.left.end {
            return Err(wrong(format!("sent [{}, {}) at byte {}", got.start, got.end, open.left.start)));
        }
        if std::mem::replace(&mut open.first, false) {
            if open.cache_only {
                // A shield that doesn't know the object's size yet asks past its end, and gets what there is.
                open.left.end = open.left.end.min(message.size_bytes.max(got.end));
            }
            open.size_bytes = message.size_bytes;
            open.content_type = message.content_type;
            self.inner.worked(&open.node);
        }
        open.left.start = got.end;
        self.inner.metrics.received_bytes.inc_by(got.len());
        Ok((open, message.data))
    }

    /// `slice`, which `node` is to bring, or what another has cached of `range`, if that is faster.
    pub(super) async fn race(
        &self,
        node: &Arc<Node>,
        range: ByteRange,
        delay: Option<Duration>,
        slice: impl Future<Output = Slice>,
    ) -> Slice {
        let mut slice = pin!(slice);
        let Some(delay) = delay.filter(|_| self.priority == Priority::Demand) else { return slice.await };
        tokio::select! {
            biased;
            done = &mut slice => return done,
            () = sleep(delay) => {}
        }
        let Some(second) = self.second(node, range.start) else { return slice.await };
        let limit = Duration::from_millis(self.inner.config.first_message_ms);
        // Boxed: few reads come here, all would carry the room for it.
        let mut hedge = Box::pin(self.begin(&second, range, limit, None));
        let ended = |how: &str| self.inner.metrics.hedges.with_label_values(&[how]).inc();
        tokio::select! {
            biased;
            done = &mut slice => {
                ended("late");
                return done;
            }
            hedge = &mut hedge => match hedge {
                Ok(won) => {
                    ended("won");
                    return Ok(won);
                }
                Err(failure) => {
                    ended(if failure.error.reason == Reason::NotCached { "not-cached" } else { "failed" });
                    self.note_cache_only(&second, failure);
                }
            }
        }
        slice.await
    }

    /// Whom to ask beside `node`, if there is one and the budget allows it.
    fn second(&self, node: &Arc<Node>, at: u64) -> Option<Ask> {
        let topology = self.inner.topology();
        let second = topology
            .order(&self.version.object, segment_of(at))
            .find(|n| !Arc::ptr_eq(n, node) && !n.breaker.is_tripped())?;
        if !self.inner.hedges.take() {
            self.inner.metrics.hedges_refused.inc();
            return None;
        }
        Some(Ask { node: second.clone(), cache_only: true, generation: topology.generation() })
    }

    /// A shield that was only asked for its cache did not bring the bytes. Nothing but its death says anything of it: it may have
    /// joined a fill that takes its time.
    pub(super) fn note_cache_only(&self, ask: &Ask, mut failure: Failure) {
        if failure.fault == Fault::Suspect && failure.error.reason == Reason::Deadline {
            failure.fault = Fault::None;
        }
        self.inner.judge(&ask.node, &failure);
    }

    /// When a first slice takes so long that another shield is asked.
    pub(super) fn first_delay(&self) -> Option<Duration> {
        let hedge = &self.inner.config.hedge;
        let p95 = self.inner.latency.p95(hedge.samples)?;
        let (floor, ceiling) = (Duration::from_millis(hedge.floor_ms), self.later_delay());
        (hedge.percent > 0).then(|| p95.clamp(floor, ceiling))
    }

    /// The same for a later slice.
    pub(super) fn later_delay(&self) -> Duration {
        Duration::from_millis(self.inner.config.hedge.ceiling_ms)
    }
}
