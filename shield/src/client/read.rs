//! One range of one version as a single stream, whichever shields it takes.
//!
//! The range is split at ring segments, and each segment asked of its home. What comes is checked: the version in the
//! first message, and that each slice starts where the last one ended. A stream that breaks, ends early or falls silent is
//! taken up at the next missing byte by the next shield, so the reader sees neither a gap nor a byte twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use proto::object::ObjectVersion;
use proto::range::{ByteRange, SEGMENT_BYTES, segment_of};
use proto::status::RemoteError;
use proto::v1::{Priority, ReadRequest};

use super::Inner;
use super::channels::Node;
use super::failover::{Failure, Patience, watch_over};
use super::stub::Blocks;

/// A stream being read.
struct Open {
    node: Arc<Node>,
    messages: Blocks,
    /// Where the segment, or the range, ends.
    end: u64,
    first: bool,
}

struct Reader {
    inner: Arc<Inner>,
    version: ObjectVersion,
    /// What is still to come.
    left: ByteRange,
    priority: Priority,
    open: Option<Open>,
    /// Shields not yet asked in this round, for the segment of `left.start`.
    order: VecDeque<Arc<Node>>,
    generation: u64,
    patience: Patience,
}

/// `range` of `version`, in order.
pub(super) fn stream(
    inner: Arc<Inner>,
    version: ObjectVersion,
    range: ByteRange,
    priority: Priority,
) -> impl Stream<Item = Result<(u64, Bytes), RemoteError>> + Send + 'static + use<> {
    let reader = Reader {
        inner,
        version,
        left: range,
        priority,
        open: None,
        order: VecDeque::new(),
        generation: 0,
        patience: Patience::default(),
    };
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(slice)) => Some((Ok(slice), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<(u64, Bytes)>, RemoteError> {
        while !self.left.is_empty() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let node = self.next_node().await?;
                    match self.open_at(&node).await {
                        Ok(open) => open,
                        Err(failure) => {
                            self.patience.note(&self.inner, &node, failure)?;
                            continue;
                        }
                    }
                }
            };
            match self.slice(&mut open).await {
                Ok(slice) => {
                    let at = self.left.start;
                    self.left.start += slice.len() as u64;
                    self.inner.metrics.received_bytes.inc_by(slice.len() as u64);
                    if open.first {
                        open.first = false;
                        open.node.worked();
                        self.inner.metrics.attempts.with_label_values(&["ok"]).inc();
                    }
                    // Progress: a later failure starts over with patience and with the segment's home.
                    self.patience = Patience::default();
                    self.order.clear();
                    if self.left.start < open.end {
                        self.open = Some(open);
                    }
                    return Ok(Some((at, slice)));
                }
                Err(failure) => self.patience.note(&self.inner, &open.node, failure)?,
            }
        }
        Ok(None)
    }

    async fn next_node(&mut self) -> Result<Arc<Node>, RemoteError> {
        if self.order.is_empty() {
            self.patience.pause().await;
            let topology = self.inner.topology();
            self.generation = topology.generation();
            self.order = topology.order(&self.version.object, segment_of(self.left.start)).into();
        }
        self.order.pop_front().ok_or_else(|| self.inner.no_shield(&self.version.object))
    }

    async fn open_at(&self, node: &Arc<Node>) -> Result<Open, Failure> {
        let object = &self.version.object;
        let segment_end = (segment_of(self.left.start) + 1).saturating_mul(SEGMENT_BYTES);
        let end = self.left.end.min(segment_end);
        let request = ReadRequest {
            origin_id: object.origin.as_str().to_owned(),
            key: object.key.to_string(),
            version: self.version.version.to_string(),
            start: self.left.start,
            end,
            priority: self.priority.into(),
            deadline_ms: u32::try_from(self.inner.config.first_message_ms).unwrap_or(u32::MAX),
            cache_only: false,
            map_generation: self.generation,
        };
        let mut stub = node.read_stub(self.priority, &self.inner.bearer);
        let limit = Duration::from_millis(self.inner.config.first_message_ms);
        let answer = watch_over(&self.inner, node, object, limit, stub.read(request)).await??;
        Ok(Open { node: node.clone(), messages: answer.into_inner(), end, first: true })
    }

    /// The next slice of an open stream, checked.
    async fn slice(&self, open: &mut Open) -> Result<Bytes, Failure> {
        let object = &self.version.object;
        let config = &self.inner.config;
        let limit = Duration::from_millis(if open.first { config.first_message_ms } else { config.stall_ms });
        let message = watch_over(&self.inner, &open.node, object, limit, open.messages.message()).await??;
        let wrong = |what: String| Failure::wrong(format!("{object}: shield {} {what}", open.node.id));
        let Some(message) = message else {
            return Err(wrong(format!("ended at byte {} of {}", self.left.start, open.end)));
        };
        if open.first && message.version != *self.version.version {
            return Err(wrong(format!("sent version {} for {}", message.version, self.version.version)));
        }
        let got = ByteRange::at(message.offset, message.data.len() as u64);
        if got.start != self.left.start || got.is_empty() || got.end > open.end {
            return Err(wrong(format!("sent [{}, {}) at byte {}", got.start, got.end, self.left.start)));
        }
        Ok(message.data)
    }
}
