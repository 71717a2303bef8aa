//! The shield's gRPC face: ranges in, streams of block slices out.
//!
//! A stream asks for a window of blocks at a time and sends one block a message, in order, each as soon as it is whole; the
//! fills of the next blocks run while it sends. It is pulled by the connection's flow control, so a slow edge holds a window
//! of blocks and no more, and an edge that hangs up ends its stream but no fill. The caller's deadline bounds the wait for
//! each next block. A request by another map generation is served all the same: the bytes are right wherever they come from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use proto::object::{ObjectKey, ObjectVersion, OriginId, check_key};
use proto::range::{BLOCK_BYTES, ByteRange, block_range};
use proto::status::{Reason, RemoteError};
use proto::v1::shield_server;
use proto::v1::{
    Priority, PurgeRequest, PurgeResponse, ReadRequest, ReadResponse, StatRequest, StatResponse,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};

use crate::Shield;
use crate::fill::coalesce::Pending;
use crate::origin::table::Source;
use crate::stat::Question;

/// The service over a shield.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shield>);

impl Service {
    fn source(&self, origin: &OriginId) -> Result<Arc<Source>, RemoteError> {
        let unknown = || RemoteError::new(Reason::UnknownOrigin, format!("{origin}: unknown origin"));
        self.0.origins.get(origin).ok_or_else(unknown)
    }

    fn deadline(&self, deadline_ms: u32) -> Duration {
        let own = self.0.config.read.deadline_ms;
        Duration::from_millis(u64::from(if deadline_ms == 0 { own } else { deadline_ms.min(own) }))
    }
}

fn object_of(origin_id: &str, key: &str) -> Result<ObjectKey, RemoteError> {
    check_key(key)
        .map_err(|e| RemoteError::new(Reason::Invalid, format!("'{}': {e}", key.escape_default())))?;
    Ok(ObjectKey::new(OriginId::from_wire(origin_id), key))
}

#[tonic::async_trait]
impl shield_server::Shield for Service {
    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatResponse>, Status> {
        let request = request.into_inner();
        let object = object_of(&request.origin_id, &request.key)?;
        let source = self.source(&object.origin)?;
        let retired = (!request.retired_version.is_empty()).then_some(request.retired_version.as_str());
        let deadline = Instant::now() + self.deadline(request.deadline_ms);
        let question = Question { object: &object, retired, cache_only: request.cache_only, deadline };
        let (description, fresh_for) = self.0.stats.stat(&source, question).await?;
        Ok(Response::new(StatResponse {
            version: description.version.to_string(),
            size_bytes: description.size_bytes,
            content_type: description.content_type.to_string(),
            fresh_for_ms: u64::try_from(fresh_for.as_millis()).unwrap_or(u64::MAX),
        }))
    }

    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let priority = request.priority();
        let object = object_of(&request.origin_id, &request.key)?;
        if request.version.is_empty() || request.start >= request.end {
            let text = format!("{object}: [{}, {}) of '{}'", request.start, request.end, request.version);
            return Err(RemoteError::new(Reason::Invalid, text).into());
        }
        let source = self.source(&object.origin)?;
        let full = |_| RemoteError::new(Reason::Overloaded, format!("{object}: too many streams are open"));
        let permit = self.0.streams.clone().try_acquire_owned().map_err(full)?;
        let range = ByteRange::new(request.start, request.end);
        let reading = Reading {
            deadline: self.deadline(request.deadline_ms),
            version: ObjectVersion { object, version: request.version.into() },
            shield: self.0.clone(),
            source,
            range,
            next_block: range.blocks().start,
            priority,
            cache_only: request.cache_only,
            pending: VecDeque::new(),
            described: false,
            _permit: permit,
        };
        self.0.metrics.streams.inc();
        let stream = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(message)) => Some((Ok(message), Some(reading))),
                Ok(None) => None,
                Err(error) => {
                    reading.shield.metrics.read_errors.with_label_values(&[error.reason.as_str()]).inc();
                    Some((Err(Status::from(error)), None))
                }
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn purge(&self, request: Request<PurgeRequest>) -> Result<Response<PurgeResponse>, Status> {
        let request = request.into_inner();
        let entries = self.0.purge(&OriginId::from_wire(&request.origin_id), &request.key_prefix);
        Ok(Response::new(PurgeResponse { entries }))
    }
}

/// One stream to an edge.
struct Reading {
    shield: Arc<Shield>,
    source: Arc<Source>,
    version: ObjectVersion,
    range: ByteRange,
    /// The first block not yet asked for.
    next_block: u64,
    priority: Priority,
    cache_only: bool,
    /// Longest wait for one block.
    deadline: Duration,
    /// Blocks asked for, with their indices.
    pending: VecDeque<(u64, Pending)>,
    /// Whether the first message, which describes the object, is out.
    described: bool,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.shield.metrics.streams.dec();
    }
}

impl Reading {
    /// Keeps blocks coming while earlier ones are sent.
    fn ask_ahead(&mut self) {
        let last = self.range.blocks().end;
        let window = self.shield.config.read.window_blocks;
        // Refilled when a quarter is left rather than block by block, so that misses still merge into long GETs.
        if self.next_block >= last || self.pending.len() as u64 > window / 4 {
            return;
        }
        let blocks = self.next_block..last.min(self.next_block.saturating_add(window));
        self.next_block = blocks.end;
        let asked = self.shield.fills.ask(
            &self.source,
            &self.version,
            blocks.clone(),
            self.priority,
            self.cache_only,
        );
        self.pending.extend(blocks.zip(asked));
    }

    async fn next(&mut self) -> Result<Option<ReadResponse>, RemoteError> {
        self.ask_ahead();
        let Some((index, pending)) = self.pending.pop_front() else { return Ok(None) };
        if index * BLOCK_BYTES >= self.range.end {
            return Ok(None);
        }
        let at = || format!("{} block {index}", self.version.object);
        let late = |_| RemoteError::new(Reason::Deadline, format!("{}: not here in time", at()));
        let block =
            timeout(self.deadline, pending.wait()).await.map_err(late)?.map_err(|e| e.to_remote(&at()))?;
        let block =
            block.ok_or_else(|| RemoteError::new(Reason::NotCached, format!("{}: not cached", at())))?;
        let size_bytes = block.size_bytes;
        if self.cache_only && self.range.start < size_bytes {
            // Another shield, which asks in whole blocks and doesn't know the size.
            self.range.end = self.range.end.min(size_bytes);
        }
        if self.range.end > size_bytes {
            let text = format!("{}: the object has {size_bytes} bytes, {} were asked", at(), self.range.end);
            return Err(RemoteError::new(Reason::Invalid, text));
        }
        let whole = block_range(index, size_bytes);
        let wanted = ByteRange::new(whole.start.max(self.range.start), whole.end.min(self.range.end));
        let data: Bytes =
            block.data.slice((wanted.start - whole.start) as usize..(wanted.end - whole.start) as usize);
        debug_assert!(data.len() as u64 <= BLOCK_BYTES);
        self.shield.metrics.served_bytes.inc_by(data.len() as u64);
        let first = !std::mem::replace(&mut self.described, true);
        Ok(Some(ReadResponse {
            offset: wanted.start,
            data,
            version: if first { self.version.version.to_string() } else { String::new() },
            size_bytes,
            content_type: if first { block.content_type.to_string() } else { String::new() },
        }))
    }
}
