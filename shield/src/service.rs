//! The shield's gRPC face: ranges in, streams of block slices out.
//!
//! A stream (`reading`) asks for a window of blocks at a time and sends one block a message, in order, each as soon as it is
//! whole; the fills of the next blocks run while it sends. It is pulled by the connection's flow control, so a slow edge
//! holds a window of blocks and no more, and all edges together no more than the `budget`; an edge that hangs up ends its stream
//! but no fill. A message is a block because edges work in blocks: a smaller first one would reach no viewer sooner,
//! and cost a copy. `blocks` puts them on the wire without one.
//!
//! The caller's deadline bounds the wait for each next block. A request by another map generation is served all the same:
//! the bytes are right wherever they come from.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use proto::object::{ObjectKey, ObjectVersion, OriginId, check_key};
use proto::purge::Scope;
use proto::range::ByteRange;
use proto::status::{Reason, RemoteError};
use proto::token::{Caller, Role};
use proto::v1::shield_server;
use proto::v1::{PurgeRequest, PurgeResponse, ReadRequest, ReadResponse, StatRequest, StatResponse};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::Shield;
use crate::origin::table::{Known, Source};
use crate::stat::Question;

pub(crate) mod blocks;
pub(crate) mod budget;
mod reading;
mod window;

use reading::{Reading, Wanted};

/// Who may ask for objects; orders to forget come from control alone.
const READERS: &[Role] = &[Role::Edge, Role::Shield];

/// The service over a shield.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shield>);

impl Service {
    fn source(&self, origin: &OriginId) -> Result<Arc<Source>, RemoteError> {
        match self.0.origins.find(origin) {
            Some(Known::Open(source, _)) => Ok(source),
            Some(Known::Refused(reason)) => {
                Err(RemoteError::new(Reason::Forbidden, format!("{origin}: {reason}")))
            }
            None => Err(RemoteError::new(Reason::UnknownOrigin, format!("{origin}: unknown origin"))),
        }
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
        Caller::of(&request)?.expect(READERS, "asking a shield for objects")?;
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
        Caller::of(&request)?.expect(READERS, "asking a shield for objects")?;
        let peer = request.remote_addr().map(|peer| peer.ip());
        let asked = request.into_inner();
        let priority = asked.priority();
        let object = object_of(&asked.origin_id, &asked.key)?;
        if asked.version.is_empty() || asked.start >= asked.end {
            let text = format!("{object}: [{}, {}) of '{}'", asked.start, asked.end, asked.version);
            return Err(RemoteError::new(Reason::Invalid, text).into());
        }
        let source = self.source(&object.origin)?;
        let full = |_| RemoteError::new(Reason::Overloaded, format!("{object}: too many streams are open"));
        let permit = self.0.streams.clone().try_acquire_owned().map_err(full)?;
        let version = ObjectVersion { object, version: asked.version.into() };
        let wanted = Wanted {
            version,
            source,
            range: ByteRange::new(asked.start, asked.end),
            priority,
            cache_only: asked.cache_only,
            deadline: self.deadline(asked.deadline_ms),
        };
        let reading = Reading::new(self.0.clone(), wanted, peer, permit);
        let stream = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(message)) => Some((Ok(message), Some(reading))),
                Ok(None) => None,
                Err(error) => {
                    reading.failed(&error);
                    Some((Err(Status::from(error)), None))
                }
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn purge(&self, request: Request<PurgeRequest>) -> Result<Response<PurgeResponse>, Status> {
        Caller::of(&request)?.expect(&[Role::Control], "purging a shield")?;
        let request = request.into_inner();
        let entries = self.0.purge(&Scope::of_request(&request)).await;
        Ok(Response::new(PurgeResponse { entries }))
    }
}

#[cfg(test)]
mod tests;
